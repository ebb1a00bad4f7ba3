//! lftp, which speaks SFTP through OpenSSH's transport.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::client::{Output, run};
use crate::node::Login;
use crate::openssh::Ssh;

/// lftp for one login.
#[derive(Debug)]
pub struct Lftp {
    ssh: Ssh,
    address: String,
    user: String,
}

impl Lftp {
    /// lftp with its defaults, but for the key that its `ssh` uses.
    pub fn new(login: &Login) -> Self {
        let address = format!("sftp://{}:{}", login.address.ip(), login.port());
        Self { ssh: Ssh::new(login), address, user: login.user.clone() }
    }

    /// Connects and runs one line of commands in the client's folder.
    pub fn run(&self, commands: &str) -> Output {
        run(&mut self.command(commands), "", Duration::from_secs(120))
    }

    /// The same as a command that is not run yet.
    pub fn command(&self, commands: &str) -> Command {
        let ssh = self.ssh.ssh_command();
        let options: Vec<_> = ssh.get_args().map(|argument| argument.to_string_lossy()).collect();
        let script = format!(
            "set cmd:fail-exit yes; set net:max-retries 1; set sftp:auto-confirm yes; \
             set sftp:connect-program \"ssh -a -x {}\"; open -u {},none {}; {commands}",
            options.join(" "),
            self.user,
            self.address
        );
        let mut command = Command::new("lftp");
        command.env("HOME", self.folder()).current_dir(self.folder()).args(["--norc", "-c", &script]);
        command
    }

    /// A folder for the client's files.
    pub fn folder(&self) -> &Path {
        self.ssh.folder()
    }
}
