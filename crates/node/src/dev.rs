//! `tidegate dev` and `tidegate dev-store`: everything on one machine, on loopback only, kept in
//! one folder. The node reaches its stores through the same clients as in production.

mod demo;
mod files;
mod ready;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use futures::Stream;
use serde::Serialize;
use serde_json::json;
use thiserror::Error;
use tidegate_aws::{Aws, ConnectError};
use tidegate_embedded::{Config as EmbeddedConfig, Embedded, StartError};
use tidegate_store::StoreError;
use toml::{Table, Value};
use tracing::info;

use crate::atomic_file;
use crate::cli::{DevArgs, DevStoreArgs, StorePorts};
use crate::compose::{ComposeError, Node, compose};
use crate::config::{Config, Environment, LoadError};
use crate::host_keys::Seal;
use crate::shutdown::{Ending, next_signal};
use files::DataFiles;
use ready::{Ready, StoreReady};

/// The bucket that holds everything in `dev`.
const BUCKET: &str = "tidegate-dev";
/// The table in `dev`.
const TABLE: &str = "tidegate-dev";
/// The cluster's name in `dev`.
const CLUSTER: &str = "dev";

/// Why `dev` ended without having served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DevError {
    /// The node.
    #[error("the node can't serve")]
    Compose(#[from] ComposeError),
    /// A setting from the environment does not work together with the rest.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The clients of the stores.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The SFTP server stopped by itself.
    #[error("the SFTP server has stopped without being told to")]
    Ended,
    /// A file below the data folder, the ready file or standard output.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The demo user's key.
    #[error(transparent)]
    Key(#[from] demo::KeyError),
    /// The stores did not start.
    #[error("the stores can't start")]
    Stores(#[from] StartError),
    /// The stores run, but something in them could not be made.
    #[error("{action} failed")]
    Prepare {
        /// What was tried.
        action: &'static str,
        /// What the store said.
        source: StoreError,
    },
}

/// What `dev` takes from the environment: everything but where its own parts are. Lines of text, no
/// wait at the end and silence about refused conditions, which the DynamoDB store warns of, are the
/// defaults here.
///
/// # Errors
/// If a `TIDEGATE_*` variable is no setting or does not fit.
pub fn base_config(environment: &Environment) -> Result<Config, LoadError> {
    let section = |settings: &[(&str, &str)]| {
        Value::Table(settings.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect())
    };
    let log = section(&[("format", "text"), ("level", "info,dynoxide=error")]);
    let drain = section(&[("delay", "0s")]);
    let defaults = Table::from_iter([("log".to_owned(), log), ("drain".to_owned(), drain)]);
    Config::over(defaults, environment)
}

/// Runs the stores and a node until a signal.
///
/// # Errors
/// See [`DevError`].
pub async fn dev(
    args: &DevArgs,
    base: Config,
    signals: &mut (impl Stream<Item = &'static str> + Unpin),
) -> Result<(), DevError> {
    // A script that waits for the file must not find that of an earlier run.
    files::remove(args.ready_file.as_deref())?;
    let embedded = start_stores(&args.data, args.stores).await?;
    let prepared = tokio::select! {
        node = prepare(args, base, &embedded) => node.map(Some),
        _ = next_signal(signals) => Ok(None),
    };
    let result = match prepared {
        Ok(Some(node)) => match serve(args, &embedded, node, signals).await {
            Ok(Ending::Unasked) => Err(DevError::Ended),
            Ok(Ending::Drained | Ending::Cut) => Ok(()),
            Err(error) => Err(error),
        },
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    embedded.shutdown().await;
    result
}

/// Runs the stores alone until a signal.
///
/// # Errors
/// See [`DevError`].
pub async fn dev_store(
    args: &DevStoreArgs,
    signals: &mut (impl Stream<Item = &'static str> + Unpin),
) -> Result<(), DevError> {
    files::remove(args.ready_file.as_deref())?;
    let embedded = start_stores(&args.data, args.stores).await?;
    let aws = Aws::connect(&aws_config(tidegate_aws::Config::default(), &embedded)).await?;
    make_bucket_and_table(&aws).await?;
    let stores = StoreReady::new(&embedded);
    publish(args.ready_file.as_deref(), &stores)?;
    println(&format!("s3={}\ndynamodb={}\n", stores.s3, stores.dynamodb))?;
    info!(s3 = stores.s3, dynamodb = stores.dynamodb, "the stores serve");
    let signal = next_signal(signals).await;
    info!(signal, "the stores end");
    embedded.shutdown().await;
    Ok(())
}

/// Makes what a node needs in the stores, and the node.
async fn prepare(args: &DevArgs, base: Config, embedded: &Embedded) -> Result<Node, DevError> {
    let files = DataFiles::new(&args.data);
    let config = dev_config(base, args, embedded, &files)?;
    let aws = Aws::connect(&config.aws).await?;
    make_bucket_and_table(&aws).await?;
    demo::make(aws.directory().as_ref(), &files, BUCKET).await?;
    let node = compose(&config).await?;
    files.write_config(&config_file(&config)?)?;
    files.write_known_hosts(node.sftp_addr().port(), node.host_public_keys())?;
    Ok(node)
}

/// Tells where everything is, and serves until a signal.
async fn serve(
    args: &DevArgs,
    embedded: &Embedded,
    node: Node,
    signals: &mut (impl Stream<Item = &'static str> + Unpin),
) -> Result<Ending, DevError> {
    let (sftp, admin) = (node.sftp_addr(), node.admin_addr());
    let node = node.start();
    let files = DataFiles::new(&args.data);
    // The file first: who reads the lines finds it there.
    let ready = Ready::new(sftp, admin, StoreReady::new(embedded), &files)?;
    publish(args.ready_file.as_deref(), &ready)?;
    println(&files.welcome(sftp, admin))?;
    Ok(node.run(signals).await)
}

async fn start_stores(data: &Path, ports: StorePorts) -> Result<Embedded, DevError> {
    let StorePorts { s3_port, dynamodb_port } = ports;
    Ok(Embedded::start(EmbeddedConfig { data_dir: data.to_owned(), s3_port, dynamodb_port }).await?)
}

async fn make_bucket_and_table(aws: &Aws) -> Result<(), DevError> {
    let failed = |action| move |source| DevError::Prepare { action, source };
    aws.create_bucket(BUCKET).await.map_err(failed("making the bucket"))?;
    aws.create_table().await.map_err(failed("making the table"))
}

/// How the node reaches the embedded stores.
fn aws_config(base: tidegate_aws::Config, embedded: &Embedded) -> tidegate_aws::Config {
    let endpoints = tidegate_aws::Endpoints {
        s3: Some(embedded.s3_url()),
        dynamodb: Some(embedded.dynamodb_url()),
        ..tidegate_aws::Endpoints::default()
    };
    tidegate_aws::Config {
        region: Some(embedded.region().to_owned()),
        endpoints,
        path_style: true,
        table: TABLE.to_owned(),
        kms_key_id: None,
        access_key_id: Some(embedded.access_key().to_owned()),
        secret_access_key: Some(embedded.secret_key().into()),
        ..base
    }
}

fn dev_config(base: Config, args: &DevArgs, embedded: &Embedded, files: &DataFiles<'_>) -> Result<Config, DevError> {
    let mut config = base;
    config.cluster = CLUSTER.to_owned();
    config.ssh.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, args.sftp_port));
    config.admin.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, args.admin_port));
    config.aws = aws_config(config.aws, embedded);
    config.host_keys.bucket = Some(BUCKET.to_owned());
    config.host_keys.auto_init = true;
    config.host_keys.seal = Seal::LocalFile;
    config.host_keys.local_file = Some(files.root_key()?);
    config.validate().map_err(LoadError::Invalid)?;
    Ok(config)
}

/// A configuration with which administrative commands, and more nodes, find these stores.
fn config_file(config: &Config) -> Result<String, DevError> {
    let secret = config.aws.secret_access_key.as_ref().map(|secret| secret.expose());
    let tables = json!({
        "cluster": config.cluster,
        "admin": { "listen": "127.0.0.1:0" },
        "aws": {
            "region": config.aws.region,
            "path_style": config.aws.path_style,
            "table": config.aws.table,
            "access_key_id": config.aws.access_key_id,
            "secret_access_key": secret,
            "endpoints": { "s3": config.aws.endpoints.s3, "dynamodb": config.aws.endpoints.dynamodb },
        },
        "host_keys": {
            "bucket": config.host_keys.bucket,
            "key": config.host_keys.key,
            "seal": config.host_keys.seal,
            "local_file": config.host_keys.local_file,
        },
        "ssh": { "listen": "127.0.0.1:0" },
    });
    toml::to_string(&tables).map_err(|error| io::Error::other(error).into())
}

/// Publishes where everything is, once it serves.
fn publish(path: Option<&Path>, ready: &impl Serialize) -> Result<(), DevError> {
    let Some(path) = path else { return Ok(()) };
    let mut json = serde_json::to_vec_pretty(ready).map_err(io::Error::from)?;
    json.push(b'\n');
    Ok(atomic_file::write(path, &json, atomic_file::PRIVATE)?)
}

/// To standard output at once, whoever reads there or not.
fn println(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}
