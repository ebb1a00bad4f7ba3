//! Both servers as one thing that starts and stops.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::credentials::Credentials;
use crate::data_folder::{DataFolder, DataFolderError, InUse};
use crate::s3;

/// How long the servers may take to end when they are stopped.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the data lies and where the servers listen.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder for all data; created with mode 0700 if it is not there. One process at a time.
    pub data_dir: PathBuf,
    /// The TCP port of the S3 server on 127.0.0.1; 0 takes a free one.
    pub s3_port: u16,
    /// The TCP port of the DynamoDB server on 127.0.0.1; 0 takes a free one.
    pub dynamodb_port: u16,
}

/// Why the servers can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The port can't be listened on.
    #[error("{server} can't listen on 127.0.0.1:{port}")]
    Bind {
        /// "the embedded S3 server" or "the embedded DynamoDB server".
        server: &'static str,
        /// The port asked for.
        port: u16,
        /// What failed.
        source: io::Error,
    },
    /// The file with the access key can't be read or made.
    #[error("the credentials in {path} can't be used")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The folder can't be used.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The DynamoDB server's database can't be opened.
    #[error("the database {path} can't be opened")]
    Database {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The S3 server's store can't be opened.
    #[error("the objects in {path} can't be opened")]
    Objects {
        /// The folder.
        path: PathBuf,
        /// What failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The running servers. [`Embedded::shutdown`] ends them and waits; dropping this ends them too.
#[derive(Debug)]
pub struct Embedded {
    s3: SocketAddr,
    dynamodb: SocketAddr,
    credentials: Credentials,
    stop: DropGuard,
    servers: [JoinHandle<()>; 2],
    folder_in_use: InUse,
}

impl Embedded {
    /// Starts both servers. They serve when this returns.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (opened, s3_port, dynamodb_port) = (Opened::new(config.data_dir), config.s3_port, config.dynamodb_port);
        let Opened { folder, credentials, store, database, folder_in_use } = opened.await?;
        let s3_listener = listen("the embedded S3 server", s3_port).await?;
        let dynamodb_listener = listen("the embedded DynamoDB server", dynamodb_port).await?;
        let (s3, dynamodb) = (local_addr(&s3_listener, s3_port)?, local_addr(&dynamodb_listener, dynamodb_port)?);

        let stop = CancellationToken::new();
        let protocol = s3::protocol(store, &credentials);
        let s3_server = tokio::spawn(s3::serve(s3_listener, protocol, stop.clone()));
        let stopped = stop.clone().cancelled_owned();
        let dynamodb_server = tokio::spawn(async move {
            if let Err(error) = dynoxide::server::serve_with_shutdown(dynamodb_listener, database, stopped).await {
                tracing::error!(error, "the embedded DynamoDB server failed");
            }
            drop(folder);
        });
        Ok(Self {
            s3,
            dynamodb,
            credentials,
            stop: stop.drop_guard(),
            servers: [s3_server, dynamodb_server],
            folder_in_use,
        })
    }

    /// The S3 endpoint; addressed path-style.
    pub fn s3_url(&self) -> String {
        format!("http://{}", self.s3)
    }

    /// The DynamoDB endpoint. It asks for a signature and does not verify it.
    pub fn dynamodb_url(&self) -> String {
        format!("http://{}", self.dynamodb)
    }

    /// The access key that requests to the S3 server are signed with; the same at every start.
    pub fn access_key(&self) -> &str {
        self.credentials.access_key()
    }

    /// The secret to the access key.
    pub fn secret_key(&self) -> &str {
        self.credentials.secret_key()
    }

    /// The region that both servers say they are in.
    pub fn region(&self) -> &'static str {
        s3::REGION
    }

    /// Lets running requests end, for some seconds, and frees the folder.
    pub async fn shutdown(self) {
        let Self { stop, servers, mut folder_in_use, .. } = self;
        drop(stop);
        let ended = async {
            for server in servers {
                if let Err(error) = server.await {
                    tracing::error!(%error, "an embedded server ended with a panic");
                }
            }
            folder_in_use.ended().await;
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            tracing::warn!("the embedded servers did not end in time");
        }
    }
}

/// What lies in the folder, opened.
struct Opened {
    folder: Arc<DataFolder>,
    credentials: Credentials,
    store: Arc<s3::Store>,
    database: dynoxide::Database,
    folder_in_use: InUse,
}

impl Opened {
    async fn new(path: PathBuf) -> Result<Self, StartError> {
        let named = path.clone();
        tokio::task::spawn_blocking(move || Self::open(&path))
            .await
            .unwrap_or_else(|error| Err(DataFolderError::Io { path: named, source: io::Error::other(error) }.into()))
    }

    fn open(path: &Path) -> Result<Self, StartError> {
        let (folder, folder_in_use) = DataFolder::open(path)?;
        let path = folder.path().join("credentials.json");
        let credentials =
            Credentials::load_or_make(&path).map_err(|source| StartError::Credentials { path, source })?;
        let path = folder.path().join("s3");
        let objects = |source: Box<dyn Error + Send + Sync>| StartError::Objects { path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(|source| objects(source.into()))?;
        let (store, swept) = s3::Store::open(&path, Arc::clone(&folder)).map_err(|source| objects(source.into()))?;
        if swept.bodies_removed > 0 {
            tracing::info!(bodies = swept.bodies_removed, "removed what unfinished requests had left");
        }
        let path = folder.path().join("dynamodb.sqlite");
        let database = dynoxide::Database::new(&path.to_string_lossy())
            .map_err(|source| StartError::Database { path, source: source.to_string().into() })?;
        Ok(Self { folder, credentials, store, database, folder_in_use })
    }
}

async fn listen(server: &'static str, port: u16) -> Result<TcpListener, StartError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| StartError::Bind { server, port, source })
}

fn local_addr(listener: &TcpListener, port: u16) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Bind { server: "an embedded server", port, source })
}
