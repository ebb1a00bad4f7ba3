//! A process of the test's own, with what it printed.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait::until;

/// A running process. Dropping it kills and reaps it; if the test is failing then, the end of what
/// it printed is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; everything it prints goes to `NAME.log` in `folder`.
    ///
    /// # Panics
    /// If it can't be started: the message names the program.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        Self::start_with_input(name, folder, command, Stdio::null())
    }

    /// The same with a standard input.
    pub(crate) fn start_with_input(name: &str, folder: &Path, command: &mut Command, input: Stdio) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let child = command
            .stdin(input)
            .stdout(file.try_clone().expect("a handle can be cloned"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        Self { name: name.to_owned(), child, log }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether it is still there; fails the test with its output if it ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be asked") {
            panic!("{} ended with {status}:\n{}", self.name, tail(&self.log()));
        }
    }

    /// Sends a signal by name: `TERM`, `KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "signal {name} reaches {}", self.name);
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it is still there after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        until(&format!("{} ends", self.name), limit, || child.try_wait().expect("a child can be asked"))
    }

    /// The most memory it ever had resident, in bytes: VmHWM without the pages of files. These are
    /// its program, of which a debug build has 46 MiB and a release build a fraction.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process is there");
        let bytes = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
        };
        bytes("VmHWM:") - bytes("RssFile:")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            let _ = self.child.kill();
        }
        let status = self.child.wait();
        if std::thread::panicking() {
            let how = match status {
                Ok(status) if status.signal().is_some() && ended.is_none() => "was running".to_owned(),
                Ok(status) => format!("ended with {status}"),
                Err(error) => error.to_string(),
            };
            eprintln!("---- {} {how}; the end of its output:\n{}", self.name, tail(&self.log()));
        }
    }
}

fn tail(text: &str) -> String {
    const LINES: usize = 60;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
