//! A running node and how to log in to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::binary::tidegate;
use crate::http;
use crate::process::Process;
use crate::wait::{until, until_ok};

/// Who logs in where.
#[derive(Clone, Debug)]
pub struct Login {
    /// The node's SFTP address.
    pub address: SocketAddr,
    /// The user name.
    pub user: String,
    /// The file with the private key.
    pub identity_file: PathBuf,
}

impl Login {
    /// The port alone.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// What a node writes into its ready file. `dev` says more than `serve`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "docs/CONFIGURATION.md documents the fields")]
pub struct Ready {
    pub sftp: SocketAddr,
    pub admin: String,
    pub pid: u32,
    pub s3: Option<String>,
    pub dynamodb: Option<String>,
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub bucket: Option<String>,
    pub table: Option<String>,
    pub user: Option<String>,
    pub identity_file: Option<PathBuf>,
}

impl Ready {
    fn nowhere() -> Self {
        Self {
            sftp: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: String::new(),
            pid: 0,
            s3: None,
            dynamodb: None,
            access_key: None,
            secret_key: None,
            bucket: None,
            table: None,
            user: None,
            identity_file: None,
        }
    }
}

/// The two addresses in the log line of a node that serves.
fn serving_line(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| line.get(name)?.as_str()?.parse().ok();
    (line.get("message")?.as_str()? == "the node serves").then_some(())?;
    Some((address("sftp")?, address("admin")?))
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    process: Process,
    ready: Ready,
}

impl Node {
    /// Starts `tidegate dev` on the folder `data` and waits until it serves.
    ///
    /// # Panics
    /// If it does not within a minute.
    pub fn dev(data: &Path) -> Self {
        Self::dev_with(data, &[])
    }

    /// The same with variables in its environment.
    ///
    /// # Panics
    /// If it does not serve within a minute.
    pub fn dev_with(data: &Path, variables: &[(&str, &str)]) -> Self {
        let folder = data.parent().expect("the folder lies in one of the test's own");
        let mut command = tidegate(folder);
        command.arg("dev").arg("--data").arg(data).args(["--sftp-port", "0", "--admin-port", "0"]);
        command.envs(variables.iter().copied());
        let file = folder.join("dev.ready");
        command.arg("--ready-file").arg(&file);
        let mut process = Process::start("dev", folder, &mut command);
        let pid = process.pid();
        let ready = until("dev serves", Duration::from_secs(60), || {
            process.assert_running();
            let ready: Ready = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            // The file of an earlier run stays until this one begins.
            (ready.pid == pid).then_some(ready)
        });
        Self { process, ready }
    }

    /// Starts `command`, a `tidegate serve`, and waits for the line that says where it serves.
    pub(crate) fn serve(name: &str, folder: &Path, mut command: Command) -> Self {
        let mut process = Process::start(name, folder, &mut command);
        let (sftp, admin) = until(&format!("{name} serves"), Duration::from_secs(60), || {
            process.assert_running();
            process.log().lines().find_map(serving_line)
        });
        let ready = Ready { sftp, admin: format!("http://{admin}"), pid: process.pid(), ..Ready::nowhere() };
        Self { process, ready }
    }

    /// What the ready file says.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The address of the side port.
    ///
    /// # Panics
    /// If it is none.
    pub fn admin_address(&self) -> SocketAddr {
        let address = self.ready.admin.trim_start_matches("http://").trim_end_matches('/');
        address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// The login that `dev` made.
    ///
    /// # Panics
    /// If this is no `dev` node.
    pub fn login(&self) -> Login {
        Login {
            address: self.ready.sftp,
            user: self.ready.user.clone().expect("dev names its user"),
            identity_file: self.ready.identity_file.clone().expect("dev names its identity file"),
        }
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until it has logged this: its log is written by a thread of its own.
    ///
    /// # Panics
    /// If it has not within ten seconds; the message says what it has logged instead.
    pub fn wait_for_log(&self, text: &str) {
        until_ok("the log", Duration::from_secs(10), || {
            let log = self.log();
            if log.contains(text) { Ok(()) } else { Err(format!("has {text:?}:\n{log}")) }
        });
    }

    /// GET on the side port; `None` if it does not answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        http::get(&format!("{}{path}", self.ready.admin.trim_end_matches('/')))
    }

    /// The value of a metric's sample, by its name and labels as they stand in the text; 0 if it
    /// is not there yet.
    ///
    /// # Panics
    /// If the side port does not answer.
    pub fn metric(&self, sample: &str) -> f64 {
        let (status, text) = self.get("/metrics").expect("the side port answers");
        assert_eq!(status, 200);
        text.lines()
            .filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))
            .map(|value| value.parse::<f64>().expect("a sample's value is a number"))
            .sum()
    }
}
