//! OpenSSH's client programs, with their defaults, in a home of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Output, run};
use crate::node::Login;

/// OpenSSH's clients for one login. The host keys of the first connection are remembered, so that
/// a later connection to a node with others fails, as it would for a person.
#[derive(Debug)]
pub struct Ssh {
    login: Login,
    home: TempDir,
    limit: Duration,
    host_key_checking: &'static str,
}

impl Ssh {
    /// Clients for `login`, each run within a minute.
    ///
    /// # Panics
    /// If no temporary folder can be made.
    pub fn new(login: &Login) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        Self { login: login.clone(), home, limit: Duration::from_secs(60), host_key_checking: "accept-new" }
    }

    /// The same with no trust in a first connection: only hosts in the file `known_hosts` of the
    /// client's folder are known. OpenSSH takes the first value of an option, so that this can't be
    /// said behind it.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.host_key_checking = "yes";
        self
    }

    /// The same with another limit for each run.
    #[must_use]
    pub fn limited_to(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A folder for the client's files.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// A file in that folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs `sftp -b -` with these lines, in the client's folder. It stops at the first that fails.
    pub fn sftp(&self, batch: &str) -> Output {
        self.sftp_with(&[], batch)
    }

    /// The same with more arguments for `sftp`.
    pub fn sftp_with(&self, arguments: &[&str], batch: &str) -> Output {
        let mut command = self.sftp_command();
        let mut output = run(command.args(arguments).args(["-b", "-"]).arg(self.target()), batch, self.limit);
        // Batch mode repeats every line of its input.
        output.stdout = output.stdout.split_inclusive('\n').filter(|line| !line.starts_with("sftp> ")).collect();
        output
    }

    /// Runs `scp` with these arguments in the client's folder; a path of the server is
    /// `[Ssh::target]:PATH`.
    pub fn scp(&self, arguments: &[&str]) -> Output {
        let mut command = self.program("scp");
        command.args(["-P", &self.login.port().to_string()]).args(arguments);
        run(&mut command, "", self.limit)
    }

    /// `sftp` with the login's options, but without its destination ([`Ssh::target`]).
    pub fn sftp_command(&self) -> Command {
        let mut command = self.program("sftp");
        command.args(["-P", &self.login.port().to_string()]);
        command
    }

    /// Runs `ssh OPTIONS… USER@HOST REMOTE…`.
    pub fn ssh(&self, options: &[&str], remote: &[&str]) -> Output {
        run(self.ssh_command().args(options).arg(self.target()).args(remote), "", self.limit)
    }

    /// `ssh` with the login's options, but without its destination ([`Ssh::target`]).
    pub fn ssh_command(&self) -> Command {
        let mut command = self.program("ssh");
        command.args(["-p", &self.login.port().to_string()]);
        command
    }

    /// `ssh` that connects its standard input and output to the SFTP subsystem: a pipe of plain
    /// SFTP packets over a real SSH transport.
    pub fn subsystem(&self) -> Command {
        self.subsystem_with::<&str>(&[])
    }

    /// The same with more arguments for `ssh`.
    pub fn subsystem_with<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = self.ssh_command();
        command.args(arguments).arg("-s").arg(self.target()).arg("sftp");
        command
    }

    /// `USER@HOST`.
    pub fn target(&self) -> String {
        format!("{}@{}", self.login.user, self.login.address.ip())
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.current_dir(self.home.path()).args(["-F", "none", "-i"]).arg(&self.login.identity_file);
        for option in ["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "ConnectTimeout=20"] {
            command.args(["-o", option]);
        }
        command.arg("-o").arg(format!("StrictHostKeyChecking={}", self.host_key_checking));
        let hosts = self.home.path().join("known_hosts");
        command.arg("-o").arg(format!("UserKnownHostsFile={}", hosts.display()));
        command
    }
}

/// Makes a key pair without passphrase; `options` are ssh-keygen's, such as `-t ed25519`. The
/// public key lies beside it, with `.pub` behind its name.
///
/// # Panics
/// If ssh-keygen fails.
pub fn keygen(path: &Path, options: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-C", "test", "-f"]).arg(path).args(options);
    run(&mut command, "", Duration::from_secs(60)).ok();
}
