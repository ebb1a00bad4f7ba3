//! A client program that runs to its end within a limit.

use std::fs::File;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a client ended and what it printed.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Fails the test unless the client succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}\n---- out\n{}\n---- err\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// Its standard output as JSON, once it has succeeded.
    ///
    /// # Panics
    /// If it has not, or this is none.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.ok().stdout;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Fails the test if the client succeeded.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(!self.status.success(), "succeeded\n---- out\n{}\n---- err\n{}", self.stdout, self.stderr);
        self
    }
}

/// A client that was killed, since it was not done within its limit, and what it had printed.
#[derive(Debug)]
pub struct Unfinished {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a client without input.
///
/// # Panics
/// If it can't be started, or is not done after `limit` (it is killed then).
pub fn run_client(command: &mut Command, limit: Duration) -> Output {
    run(command, "", limit)
}

/// Runs a client without input that may be stuck for good.
///
/// # Errors
/// If it is not done after `limit`: it is killed then.
///
/// # Panics
/// If it can't be started.
pub fn try_client(command: &mut Command, limit: Duration) -> Result<Output, Unfinished> {
    attempt(command, "", limit)
}

/// Runs a client, with `input` on its standard input.
///
/// # Panics
/// If it can't be started, or is not done after `limit` (it is killed then).
pub(crate) fn run(command: &mut Command, input: &str, limit: Duration) -> Output {
    attempt(command, input, limit).unwrap_or_else(|Unfinished { stdout, stderr }| {
        let program = command.get_program().display();
        panic!("{program} was not done after {limit:?}\n---- out\n{stdout}\n---- err\n{stderr}")
    })
}

fn attempt(command: &mut Command, input: &str, limit: Duration) -> Result<Output, Unfinished> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("in"), input).expect("the input can be written");
    // Files instead of pipes: a client that prints much does not wait for a reader.
    let started = command
        .stdin(File::open(at("in")).map_or_else(|_| Stdio::null(), Stdio::from))
        .stdout(File::create(at("out")).expect("a file can be made"))
        .stderr(File::create(at("err")).expect("a file can be made"))
        .spawn();
    let mut child =
        started.unwrap_or_else(|error| panic!("{}: {error}; tests/setup installs it", command.get_program().display()));
    let read = |name: &str| {
        std::fs::read(at(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Unfinished { stdout: read("out"), stderr: read("err") });
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok(Output { status, stdout: read("out"), stderr: read("err") })
}
