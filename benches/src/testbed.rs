//! What all servers share: the object store, the proxy in front of it, keys and folders.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::cli::RunArgs;
use crate::client::make_key;
use crate::error::{BenchError, during};
use crate::process::{self, Process, command};
use crate::proxy::Proxy;

/// How long a server may take to serve.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// Below this prefix of the bucket lie the files that all servers serve.
pub(crate) const PREFIX: &str = "bench";

/// What `dev-store` writes into its ready file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StoreReady {
    /// URL of the S3 store.
    pub(crate) s3: String,
    /// URL of the DynamoDB store.
    pub(crate) dynamodb: String,
    /// The access key of both.
    pub(crate) access_key: String,
    /// Its secret.
    pub(crate) secret_key: String,
    /// A bucket that exists.
    pub(crate) bucket: String,
    /// A table that exists.
    pub(crate) table: String,
}

/// The running parts that all servers share. Dropping it ends them, and removes what they kept.
#[derive(Debug)]
pub(crate) struct Testbed {
    // Fields drop in this order: processes end before their folder goes.
    /// The proxy, through which every server reaches the store.
    pub(crate) proxy: Proxy,
    store: Process,
    /// Where the store is.
    pub(crate) ready: StoreReady,
    /// The program under test.
    pub(crate) tidegate: PathBuf,
    /// Who runs this: the user that sshd lets in.
    pub(crate) system_user: String,
    folder: TempDir,
}

impl Testbed {
    /// Starts store and proxy and makes keys.
    pub(crate) async fn start(args: &RunArgs) -> Result<Self, BenchError> {
        let tidegate = find_tidegate(args.tidegate.clone())?;
        let folder = tempfile::Builder::new()
            .prefix("tidegate-bench-")
            .tempdir_in(&args.work_dir)
            .map_err(during(format!("making a folder in {}", args.work_dir.display())))?;
        let path = folder.path().to_owned();
        let (store, ready) = start_store(&tidegate, &path).await?;
        let upstream: Option<SocketAddr> = ready.s3.strip_prefix("http://").and_then(|address| address.parse().ok());
        let upstream = upstream
            .ok_or_else(|| BenchError::Unexpected { what: "the store's address".to_owned(), text: ready.s3.clone() })?;
        let proxy = Proxy::start(upstream, &path).await?;
        make_key(&path.join("client_key")).await?;
        make_key(&path.join("host_key")).await?;
        let mut id = command("id", &path);
        id.arg("-un");
        let system_user = process::run(id, START_LIMIT).await?.trim().to_owned();
        Ok(Self { proxy, store, ready, tidegate, system_user, folder })
    }

    /// Everything lies below it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder below it.
    pub(crate) fn make_folder(&self, name: &str) -> Result<PathBuf, BenchError> {
        let path = self.folder().join(name);
        std::fs::create_dir_all(&path).map_err(during(path.display().to_string()))?;
        Ok(path)
    }

    /// Removes what a client has received and nobody has looked at, so that the next step does not
    /// take it for its own.
    pub(crate) fn remove_received(&self) -> Result<(), BenchError> {
        let folder = self.make_folder("client")?;
        for entry in std::fs::read_dir(&folder).map_err(during(folder.display().to_string()))? {
            let path = entry.map_err(during(folder.display().to_string()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with("received") {
                continue;
            }
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(during(path.display().to_string()))?;
        }
        Ok(())
    }

    /// The private key of clients; the public one has `.pub` behind its name.
    pub(crate) fn client_key(&self) -> PathBuf {
        self.folder().join("client_key")
    }

    /// The Ed25519 host key of the peers.
    pub(crate) fn host_key(&self) -> PathBuf {
        self.folder().join("host_key")
    }

    /// The URL under which servers reach S3.
    pub(crate) fn s3_url(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    /// The store's process id.
    pub(crate) fn store_pid(&self) -> u32 {
        self.store.pid()
    }

    /// Ends store and proxy in order.
    pub(crate) async fn stop(self) {
        drop(self.proxy);
        self.store.stop().await;
    }
}

fn find_tidegate(named: Option<PathBuf>) -> Result<PathBuf, BenchError> {
    let path = match named {
        Some(path) => path,
        None => std::env::current_exe().map_err(during("finding this program"))?.with_file_name("tidegate"),
    };
    path.canonicalize().map_err(during(format!("{} (cargo build --release -p tidegate-node makes it)", path.display())))
}

async fn start_store(tidegate: &Path, folder: &Path) -> Result<(Process, StoreReady), BenchError> {
    let ready_file = folder.join("store.json");
    let mut command = command(tidegate, folder);
    command.arg("dev-store").arg("--data").arg(folder.join("store")).arg("--ready-file").arg(&ready_file);
    let mut store = Process::start("store", folder, command)?;
    // The file appears as a whole.
    let read = async |_: &str| std::fs::read(&ready_file).ok();
    let json = store.until("it serves", START_LIMIT, read).await?;
    let ready = serde_json::from_slice(&json)
        .map_err(|source| BenchError::Json { what: "the store's ready file".to_owned(), source })?;
    Ok((store, ready))
}
