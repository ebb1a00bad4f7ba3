//! OpenSSH's and rclone's programs as clients. How far a run that failed had come, nobody knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tidegate_tests::{Login, Output, Rclone, Ssh, try_client};

use super::client::{Client, Told};
use crate::history::{Sight, recognise};

/// How long a run may take before its client is killed.
const LIMIT: Duration = Duration::from_secs(15);

/// What a run says that did one change.
fn told(output: Option<&Output>, is_missing: impl FnOnce(&Output) -> bool) -> Told {
    match output {
        Some(output) if output.status.success() => Told::Done,
        Some(output) if is_missing(output) => Told::Missing,
        _ => Told::InDoubt,
    }
}

fn content_of(file: &Path) -> Sight {
    recognise(&fs::read(file).expect("a client that succeeds leaves the file"))
        .map_or_else(Sight::Damaged, Sight::Whole)
}

/// One run of `sftp` for each.
impl Client for Ssh {
    fn publish(&mut self, path: &str, content: &[u8]) -> Told {
        fs::write(self.file("up"), content).expect("a file can be written");
        told(batch(self, &format!("put up {path}")).as_ref(), |_| false)
    }

    fn fetch(&mut self, path: &str) -> Option<Sight> {
        let output = batch(self, &format!("get {path} down"))?;
        match output.status.success() {
            true => Some(content_of(&self.file("down"))),
            false => is_no_such_file(&output).then_some(Sight::Absent),
        }
    }

    fn remove(&mut self, path: &str) -> Told {
        told(batch(self, &format!("rm {path}")).as_ref(), is_no_such_file)
    }

    fn rename(&mut self, from: &str, to: &str) -> Option<Told> {
        Some(told(batch(self, &format!("rename {from} {to}")).as_ref(), is_no_such_file))
    }

    fn names(&mut self, directory: &str) -> Option<BTreeSet<String>> {
        // With its path: of a bare `ls` that fails, sftp says so, but ends as if it had not.
        let output = batch(self, &format!("ls -1 {directory}")).filter(|output| output.status.success())?;
        let listed = output.stdout.lines().filter(|line| !line.starts_with("sftp> "));
        Some(listed.filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect())
    }
}

fn batch(ssh: &Ssh, lines: &str) -> Option<Output> {
    fs::write(ssh.file("batch"), format!("{lines}\n")).expect("a file can be written");
    let mut command = ssh.sftp_command();
    command.args(["-b", "batch"]).arg(ssh.target());
    try_client(&mut command, LIMIT).ok()
}

/// Whether the server answered SSH_FX_NO_SUCH_FILE. That OpenSSH says "not found" tells less: it does so
/// behind any answer to its LSTAT.
fn is_no_such_file(output: &Output) -> bool {
    output.status.code() == Some(1) && output.stderr.contains("No such file or directory")
}

/// One run of `rclone` for each.
pub(crate) struct Copier(Rclone);

impl Copier {
    pub(crate) fn new(login: &Login) -> Self {
        Self(Rclone::on_node(login))
    }

    fn run(&self, arguments: &[&str]) -> Option<Output> {
        let mut command = self.0.command();
        // A file that is sent again by itself would be a second upload of the same content.
        command.args(["--low-level-retries", "1", "--contimeout", "5s", "--timeout", "8s", "--ignore-times"]);
        try_client(command.args(arguments), LIMIT).ok()
    }
}

impl Client for Copier {
    fn publish(&mut self, path: &str, content: &[u8]) -> Told {
        fs::write(self.0.folder().join("up"), content).expect("a file can be written");
        told(self.run(&["copyto", "up", &format!("sftp:{path}")]).as_ref(), |_| false)
    }

    fn fetch(&mut self, path: &str) -> Option<Sight> {
        let output = self.run(&["copyto", &format!("sftp:{path}"), "down"])?;
        match output.status.code() {
            Some(0) => Some(content_of(&self.0.folder().join("down"))),
            _ => is_missing(&output).then_some(Sight::Absent),
        }
    }

    fn remove(&mut self, path: &str) -> Told {
        told(self.run(&["deletefile", &format!("sftp:{path}")]).as_ref(), is_missing)
    }

    /// It removes the target before.
    fn rename(&mut self, _from: &str, _to: &str) -> Option<Told> {
        None
    }

    fn names(&mut self, directory: &str) -> Option<BTreeSet<String>> {
        let output = self.run(&["lsf", "--files-only", &format!("sftp:{directory}")])?;
        output.status.success().then(|| output.stdout.lines().map(str::to_owned).collect())
    }

    fn removes_behind_failure(&self) -> bool {
        true
    }
}

/// Codes of rclone: 3 for a directory that was not found, 4 for a file.
fn is_missing(output: &Output) -> bool {
    matches!(output.status.code(), Some(3 | 4))
}
