//! The proxy as who started it sees it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::counts::Counts;
use crate::error::{BenchError, during};
use crate::process::{Process, command};

/// How long the proxy may take to answer a command.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The running proxy. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Process,
    address: SocketAddr,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Proxy {
    /// Starts it in front of `upstream`.
    pub(crate) async fn start(upstream: SocketAddr, folder: &Path) -> Result<Self, BenchError> {
        let program = std::env::current_exe().map_err(during("finding this program"))?;
        let mut command = command(program, folder);
        command.args(["proxy", "--upstream", &upstream.to_string()]);
        let mut process = Process::start_piped("proxy", folder, command)?;
        let pipes = (process.child().stdin.take(), process.child().stdout.take());
        let (Some(input), Some(output)) = pipes else {
            return Err(BenchError::Ended { name: "proxy".to_owned(), log: process.log() });
        };
        let mut output = BufReader::new(output).lines();
        let line = next_line(&mut output, &process).await?;
        let address =
            line.parse().map_err(|_| BenchError::Unexpected { what: "the proxy's address".to_owned(), text: line })?;
        Ok(Self { process, address, input, output })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Delays the answers to requests that come from now on.
    pub(crate) async fn set_delay(&mut self, milliseconds: u64) -> Result<(), BenchError> {
        match self.ask(&format!("delay {milliseconds}")).await?.as_str() {
            "ok" => Ok(()),
            other => Err(BenchError::Unexpected { what: "the proxy's answer".to_owned(), text: other.to_owned() }),
        }
    }

    /// What has come so far.
    pub(crate) async fn counts(&mut self) -> Result<Counts, BenchError> {
        let text = self.ask("counts").await?;
        serde_json::from_str(&text).map_err(|source| BenchError::Json { what: "the proxy's counts".to_owned(), source })
    }

    async fn ask(&mut self, command: &str) -> Result<String, BenchError> {
        self.input.write_all(format!("{command}\n").as_bytes()).await.map_err(during("writing to the proxy"))?;
        next_line(&mut self.output, &self.process).await
    }
}

async fn next_line(output: &mut Lines<BufReader<ChildStdout>>, process: &Process) -> Result<String, BenchError> {
    let line = timeout(ANSWER_LIMIT, output.next_line())
        .await
        .map_err(|_| BenchError::TimedOut { what: "the proxy's answer".to_owned(), limit: ANSWER_LIMIT })?
        .map_err(during("reading from the proxy"))?;
    line.ok_or_else(|| BenchError::Ended { name: "proxy".to_owned(), log: process.log() })
}
