//! The clients: OpenSSH's, and lftp over OpenSSH's transport.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::error::{BenchError, during};
use crate::process::{command, run};

/// The cipher of all measurements, and that for servers without it: rclone 1.60 knows only the
/// lighter one of 128 bits.
pub(crate) const CIPHERS: &str = "aes256-gcm@openssh.com,aes128-gcm@openssh.com";

/// How often is looked whether all clients have logged in.
const GATE_PAUSE: Duration = Duration::from_millis(10);

/// Who logs in where. Remote paths of clients are relative to where the session starts.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    /// The user name.
    pub(crate) user: String,
    /// The private key.
    pub(crate) key: PathBuf,
    /// The client's own folder, where local paths begin.
    pub(crate) folder: PathBuf,
    /// How long one command may take.
    pub(crate) limit: Duration,
}

/// What a client of `sftp` has done.
#[derive(Debug)]
pub(crate) struct Finished {
    /// When it had logged in, in Unix seconds.
    pub(crate) begin: f64,
    /// When its last command was done, in Unix seconds.
    pub(crate) end: f64,
    /// Its standard output.
    pub(crate) output: String,
}

impl Finished {
    /// How long its commands took, without logging in.
    pub(crate) fn seconds(&self) -> f64 {
        self.end - self.begin
    }
}

impl Login {
    /// Runs `sftp` with these commands; it stops at the first that fails.
    pub(crate) async fn sftp(&self, commands: &[String]) -> Result<Finished, BenchError> {
        self.batch(&self.batch_folder()?, &[], commands).await
    }

    /// Runs several `sftp`, each with commands of its own; all of them succeed, or it fails. They
    /// begin at once, when the last has logged in.
    pub(crate) async fn sftp_at_once(&self, batches: Vec<Vec<String>>) -> Result<Vec<Finished>, BenchError> {
        let gate = self.batch_folder()?;
        let (open, count) = (gate.path().join("open"), batches.len());
        let mut running = JoinSet::new();
        for (n, batch) in batches.into_iter().enumerate() {
            let (login, folder) = (self.clone(), self.batch_folder()?);
            let here = format!("!touch {}", gate.path().join(n.to_string()).display());
            let wait =
                format!("!until [ -e {} ] || [ ! -e {} ]; do sleep 0.02; done", open.display(), gate.path().display());
            running.spawn(async move { login.batch(&folder, &[here, wait], &batch).await });
        }
        let opened = async {
            while std::fs::read_dir(gate.path()).is_ok_and(|entries| entries.count() < count) {
                sleep(GATE_PAUSE).await;
            }
            std::fs::write(&open, "").map_err(during("letting the clients begin"))?;
            std::future::pending().await
        };
        let finished = async {
            let mut finished = Vec::with_capacity(count);
            while let Some(done) = running.join_next().await {
                finished.push(done.map_err(|error| during("waiting for clients")(error.into()))??);
            }
            Ok(finished)
        };
        // A client that fails ends both, and with them all the other clients.
        tokio::select! {
            result = finished => result,
            error = opened => error,
        }
    }

    fn batch_folder(&self) -> Result<TempDir, BenchError> {
        tempfile::Builder::new()
            .prefix("batch-")
            .tempdir_in(&self.folder)
            .map_err(during("making a folder for a batch"))
    }

    async fn batch(&self, folder: &TempDir, before: &[String], commands: &[String]) -> Result<Finished, BenchError> {
        let file = |name: &str| folder.path().join(name);
        // The client itself tells when it begins and when it has ended: how long a login takes is a
        // row of its own.
        let stamp = |name: &str| format!("!date +%s.%N > {}", file(name).display());
        let lines = [before, &[stamp("begin")], commands, &[stamp("end")]].concat();
        std::fs::write(file("batch"), lines.join("\n")).map_err(during("writing a batch"))?;
        let mut command = command("sftp", &self.folder);
        command.arg("-q").arg("-b").arg(file("batch")).args(["-P", &self.port.to_string()]).args(self.options());
        command.arg(self.target());
        let output = run(command, self.limit).await?;
        let (begin, end) = (moment(&file("begin"))?, moment(&file("end"))?);
        Ok(Finished { begin, end, output })
    }

    /// Runs lftp's `mirror` upwards: everything in the local folder, over this many connections.
    /// Gives seconds, with those that logins take: lftp logs in when it needs a connection.
    pub(crate) async fn lftp_mirror(&self, local: &str, remote: &str, connections: u32) -> Result<f64, BenchError> {
        let script = format!(
            "set cmd:fail-exit yes; set net:max-retries 1; set sftp:auto-confirm yes; \
             set sftp:connect-program \"ssh -a -x {}\"; open -u {},none sftp://127.0.0.1:{}; \
             mirror -R --parallel={connections} {local} {remote}",
            self.options().join(" "),
            self.user,
            self.port,
        );
        let mut command = command("lftp", &self.folder);
        command.args(["--norc", "-c", &script]);
        let start = Instant::now();
        run(command, self.limit).await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// `ssh` with the SFTP subsystem on its standard input and output.
    pub(crate) fn subsystem(&self) -> Command {
        let mut command = command("ssh", &self.folder);
        command.args(["-p", &self.port.to_string()]).args(self.options()).args(["-s", &self.target(), "sftp"]);
        command
    }

    fn target(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = ["-F", "none", "-c", CIPHERS, "-i"].map(str::to_owned).into();
        options.push(self.key.display().to_string());
        for option in [
            "BatchMode=yes",
            "ConnectTimeout=20",
            "HostKeyAlgorithms=ssh-ed25519",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "LogLevel=ERROR",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options
    }
}

/// The Unix time that `date` has written.
fn moment(path: &Path) -> Result<f64, BenchError> {
    let text = std::fs::read_to_string(path).map_err(during("reading when a client began or ended"))?;
    text.trim().parse().map_err(|_| BenchError::Unexpected { what: "the time of day".to_owned(), text })
}

/// Makes an Ed25519 key pair without passphrase; the public half gets `.pub` behind its name.
pub(crate) async fn make_key(path: &Path) -> Result<(), BenchError> {
    let home = path.parent().unwrap_or(Path::new("/"));
    let mut command = command("ssh-keygen", home);
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"]).arg(path);
    run(command, Duration::from_secs(30)).await.map(drop)
}
