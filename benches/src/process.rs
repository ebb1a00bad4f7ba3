//! Processes of ours: servers that run in the background, and clients that run to their end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::error::{BenchError, during};

/// How long a server may take to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How often something is looked at that is waited for.
const POLL: Duration = Duration::from_millis(20);

/// A server in the background. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    pid: u32,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to `NAME.log` in `folder`.
    pub(crate) fn start(name: &str, folder: &Path, mut command: Command) -> Result<Self, BenchError> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).map_err(during(log.display().to_string()))?;
        let same = file.try_clone().map_err(during(log.display().to_string()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(same);
        Self::spawn(name, log, command)
    }

    /// The same for one that talks to us: its standard input and output are pipes.
    pub(crate) fn start_piped(name: &str, folder: &Path, mut command: Command) -> Result<Self, BenchError> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).map_err(during(log.display().to_string()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        Self::spawn(name, log, command)
    }

    fn spawn(name: &str, log: PathBuf, mut command: Command) -> Result<Self, BenchError> {
        let child = command.kill_on_drop(true).spawn().map_err(during(format!("starting {name}")))?;
        let pid = child.id().ok_or_else(|| BenchError::Ended { name: name.to_owned(), log: String::new() })?;
        Ok(Self { name: name.to_owned(), pid, child, log })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The pipes, if it was started with them.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Asks `probe` until it gives something, as long as the process lives and `limit` has not passed.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut probe: impl AsyncFnMut(&str) -> Option<T>,
    ) -> Result<T, BenchError> {
        let deadline = Instant::now() + limit;
        loop {
            let log = self.log();
            if let Some(value) = probe(&log).await {
                return Ok(value);
            }
            let ended = self.child.try_wait().map_err(during(format!("asking after {}", self.name)))?;
            if ended.is_some() {
                return Err(BenchError::Ended { name: self.name.clone(), log: tail(&self.log()) });
            }
            if Instant::now() > deadline {
                return Err(BenchError::TimedOut { what: format!("{}: {what}", self.name), limit });
            }
            sleep(POLL).await;
        }
    }

    /// Asks it to end, waits, and kills it if that takes too long.
    pub(crate) async fn stop(mut self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // Not yet waited for, so the id is still its own.
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        self.ended(STOP_LIMIT).await;
    }

    /// Waits until it ends by itself, and kills it if that takes too long.
    pub(crate) async fn ended(&mut self, limit: Duration) {
        if timeout(limit, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Runs a client to its end and gives its standard output.
///
/// # Errors
/// If it fails, or is not done after `limit`: it is killed then.
pub(crate) async fn run(mut command: Command, limit: Duration) -> Result<String, BenchError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(during(format!("starting {program}")))?;
    let output = match timeout(limit, child.wait_with_output()).await {
        Ok(output) => output.map_err(during(format!("waiting for {program}")))?,
        Err(_) => return Err(BenchError::TimedOut { what: program, limit }),
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let output_end = tail(&format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)));
        return Err(BenchError::Failed { program, status: output.status, output: output_end });
    }
    Ok(stdout)
}

/// A command in an environment of its own: what the shell has set reaches no server and no client.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", home)
        .env("LC_ALL", "C.UTF-8")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(home);
    command
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Command {
        let mut command = command("sh", folder);
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_client_that_hangs_is_ended_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(shell(folder.path(), "exec sleep 60"), Duration::from_millis(100)).await.unwrap_err();
        assert!(error.to_string().starts_with("sh was not done"), "{error}");
    }

    #[tokio::test]
    async fn a_client_that_fails_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(shell(folder.path(), "echo broken >&2; exit 3"), Duration::from_secs(10)).await.unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
        let done = run(shell(folder.path(), "echo fine"), Duration::from_secs(10)).await.unwrap();
        assert_eq!(done, "fine\n");
    }

    #[tokio::test]
    async fn a_server_that_ends_early_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start("early", folder.path(), shell(folder.path(), "echo no port")).unwrap();
        let never = process.until("it serves", Duration::from_secs(10), async |_| None::<()>).await.unwrap_err();
        assert!(never.to_string().contains("no port"), "{never}");
    }

    #[tokio::test]
    async fn a_server_is_asked_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
        let mut process = Process::start("server", folder.path(), shell(folder.path(), script)).unwrap();
        let up = async |log: &str| log.contains("up").then_some(());
        process.until("it serves", Duration::from_secs(10), up).await.unwrap();
        let log = process.log.clone();
        process.stop().await;
        assert_eq!(fs::read_to_string(log).unwrap(), "up\nbye\n");
    }
}
