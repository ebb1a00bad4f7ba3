//! Puts a node together: the one place that knows all parts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use thiserror::Error;
use tidegate_aws::{Aws, ConnectError};
use tidegate_sftp::Shutdown;
use tidegate_ssh::{BindError, ClusterState, HostKeyError, HostKeySet, Server};
use tidegate_store::cached::{CachedAccounts, CachedObjectStores};
use tidegate_store::metered::{
    MeteredDataKeys, MeteredDirectory, MeteredJournal, MeteredLeases, MeteredLoginFailures, MeteredObjectStore,
    MeteredObjectStores, MeteredUsage,
};
use tidegate_store::{Directory, HostKeyStore, ObjectStores};
use tidegate_vfs::{Reaped, Services, Vfs};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::admin::{self, Scrapes, SidePort};
use crate::build_info::BuildInfo;
use crate::config::Config;
use crate::guarded_stores::GuardedObjectStores;
use crate::host_keys::{self, LocationError, Refresh, Sealed};
use crate::readiness::Readiness;
use crate::shutdown::{self, Ending};
use crate::telemetry;

/// How long a node that ends takes at most to tell what its last requests changed in the usage of
/// tenants with a quota, and in the journal of uploads.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Why there is no node.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// The clients of the services could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The host keys are there but can't be used, or the services that hold them do not answer.
    #[error("the host keys can't be loaded")]
    HostKeys(#[from] HostKeyError),
    /// The SFTP listener.
    #[error("the SFTP listener (ssh.listen)")]
    Listen(#[source] BindError),
    /// Where the host keys lie is not set.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// Two parts registered the same metric.
    #[error("the metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
    /// The cluster has none, and this node must not make them.
    #[error(
        "the cluster \"{cluster}\" has no host keys in s3://{bucket}/{key}; run: tidegate hostkey init --config FILE \
         (or set host_keys.auto_init = true)"
    )]
    NoHostKeys {
        /// The cluster.
        cluster: String,
        /// The bucket.
        bucket: String,
        /// The object.
        key: String,
    },
    /// The side port.
    #[error(transparent)]
    SidePort(#[from] admin::BindError),
}

/// A node whose ports are open, and which accepts no connection yet.
pub struct Node {
    server: Server,
    host_public_keys: Vec<String>,
    refresh: Refresh,
    readiness: Readiness,
    vfs: Vfs,
    /// Removes what nobody resumes, for as long as this lives.
    reaper: AbortOnDropHandle<()>,
    drain: shutdown::Config,
    side_port: RunningSidePort,
}

/// A node that serves.
pub struct RunningNode {
    serving: JoinHandle<()>,
    /// Ends the looks for changed host keys when it is dropped.
    refreshing: DropGuard,
    shutdown: Shutdown,
    readiness: Readiness,
    vfs: Vfs,
    /// Removes what nobody resumes, for as long as this lives.
    reaper: AbortOnDropHandle<()>,
    drain: shutdown::Config,
    side_port: RunningSidePort,
}

/// The side port in its own task; dropping this ends it.
struct RunningSidePort {
    address: SocketAddr,
    stop: DropGuard,
    scrapes: Scrapes,
    task: JoinHandle<()>,
}

/// Builds every part of a node and opens its ports, the side port first, so that `/readyz` can
/// tell what the rest is waiting for.
///
/// # Errors
/// See [`ComposeError`]. A node that can't load its host keys does not come to be.
pub async fn compose(config: &Config) -> Result<Node, ComposeError> {
    let registry = Registry::new();
    BuildInfo::CURRENT.register(&registry)?;
    registry.register(Box::new(ProcessCollector::for_self()))?;
    telemetry::register(&registry)?;
    let store_metrics = tidegate_store::Metrics::register(&registry)?;
    let vfs_metrics = tidegate_vfs::Metrics::register(&registry)?;
    let sftp_metrics = tidegate_sftp::Metrics::register(&registry)?;
    let ssh_metrics = tidegate_ssh::Metrics::register(&registry)?;
    let host_key_metrics = host_keys::Metrics::register(&registry)?;

    let readiness = Readiness::register(&registry)?;
    let side_port = RunningSidePort::start(&config.admin, registry.clone(), readiness.clone()).await?;

    let aws = Aws::connect(&config.aws).await?;
    let (sealed, host_keys) = host_keys(config, &aws, &store_metrics).await?;
    readiness.host_keys_loaded();

    let stores = Arc::new(MeteredObjectStores::new(tenant_stores(config, &aws, &store_metrics), store_metrics.clone()));
    let stores = Arc::new(GuardedObjectStores::new(stores, config.host_keys.clone()));
    let usage = Arc::new(MeteredUsage::new(aws.usage(), store_metrics.clone()));
    let journal = Arc::new(MeteredJournal::new(aws.journal(), store_metrics.clone()));
    let services = Services { stores, usage: Some(usage), journal: Some(journal) };
    let vfs = Vfs::over(services, config.vfs.clone(), vfs_metrics);
    let directory = Arc::new(MeteredDirectory::new(aws.directory(), store_metrics.clone()));
    let shared = ClusterState {
        accounts: Arc::new(CachedAccounts::new(directory, &config.accounts, store_metrics.clone())),
        leases: Arc::new(MeteredLeases::new(aws.leases(), store_metrics.clone())),
        login_failures: Arc::new(MeteredLoginFailures::new(aws.login_failures(), store_metrics)),
    };
    let reaping = reap(vfs.clone(), aws.directory(), config.vfs.reap_interval);
    let reaper = AbortOnDropHandle::new(tokio::spawn(reaping));
    let server = Server::bind(
        config.ssh.clone(),
        &host_keys,
        shared,
        vfs.clone(),
        (config.sftp.clone(), sftp_metrics),
        ssh_metrics,
    )
    .await
    .map_err(|error| match error {
        BindError::HostKeys(error) => ComposeError::HostKeys(error),
        error => ComposeError::Listen(error),
    })?;
    let host_public_keys = host_keys.public_keys();
    let interval = config.host_keys.refresh_interval;
    let refresh = Refresh::new(sealed, server.host_keys(), host_keys, interval, host_key_metrics);
    Ok(Node { server, host_public_keys, refresh, readiness, vfs, reaper, drain: config.drain.clone(), side_port })
}

/// The tenants' stores: with credentials for each apart if there is a role for that, else with the node's own.
fn tenant_stores(config: &Config, aws: &Aws, metrics: &tidegate_store::Metrics) -> Arc<dyn ObjectStores> {
    let role = &config.aws.tenant_role;
    match aws.tenant_object_stores(metrics.clone()) {
        Some(stores) => {
            let (capacity, idle) = (role.max_tenants, role.idle_timeout);
            info!(role = role.arn, "each tenant's files are reached with credentials of its own");
            Arc::new(CachedObjectStores::new(stores, capacity, idle, metrics.clone()))
        }
        None => aws.object_stores(),
    }
}

async fn host_keys(
    config: &Config,
    aws: &Aws,
    metrics: &tidegate_store::Metrics,
) -> Result<(Sealed, HostKeySet), ComposeError> {
    let bucket = config.host_keys.bucket()?;
    let object = config.host_keys.store(aws)?;
    let metered_bucket = MeteredObjectStore::new(aws.bucket(bucket), metrics.clone());
    let sealed = Sealed {
        store: HostKeyStore::new(Arc::new(metered_bucket), object.key().clone()),
        data_keys: Arc::new(MeteredDataKeys::new(config.host_keys.data_keys(aws)?, metrics.clone())),
        cluster: config.cluster.clone(),
    };
    let keys = if config.host_keys.auto_init {
        sealed.init().await?
    } else {
        sealed.load().await?.ok_or_else(|| ComposeError::NoHostKeys {
            cluster: config.cluster.clone(),
            bucket: bucket.to_owned(),
            key: sealed.store.key().to_string(),
        })?
    };
    host_keys::tell(&sealed.cluster, &keys);
    Ok((sealed, keys))
}

impl Node {
    /// Where SFTP clients connect, with the real port.
    pub fn sftp_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where health and metrics are, with the real port.
    pub fn admin_addr(&self) -> SocketAddr {
        self.side_port.address
    }

    /// The public parts of the host keys that it begins with, in OpenSSH's format.
    pub fn host_public_keys(&self) -> &[String] {
        &self.host_public_keys
    }

    /// Begins to serve.
    pub fn start(self) -> RunningNode {
        let Self { server, refresh, readiness, vfs, reaper, drain, side_port, .. } = self;
        let shutdown = Shutdown { drain: CancellationToken::new(), deadline: CancellationToken::new() };
        let sftp = server.local_addr();
        let serving = tokio::spawn(server.serve(shutdown.clone()));
        let stop = CancellationToken::new();
        tokio::spawn(refresh.run(stop.clone()));
        readiness.listening();
        info!(version = BuildInfo::CURRENT.version, %sftp, admin = %side_port.address, "the node serves");
        RunningNode { serving, refreshing: stop.drop_guard(), shutdown, readiness, vfs, reaper, drain, side_port }
    }
}

impl RunningNode {
    /// Serves until a signal, drains, and closes the side port last.
    pub async fn run(self, signals: &mut (impl Stream<Item = &'static str> + Unpin)) -> Ending {
        let Self { serving, refreshing, shutdown, readiness, vfs, reaper, drain, mut side_port } = self;
        let served = async {
            if let Err(error) = serving.await {
                error!(%error, "the SFTP server ended with a panic");
            }
        };
        let told = async {
            settle(&vfs).await;
            side_port.scrapes.next().await;
        };
        let ending = shutdown::supervise(served, told, signals, &readiness, &shutdown, &drain).await;
        drop(refreshing);
        settle(&vfs).await;
        drop(reaper);
        info!(?ending, "the node has ended");
        side_port.stop().await;
        ending
    }
}

/// Tells what the last requests changed in the usage of tenants with a quota, and what is to go from the journal.
async fn settle(vfs: &Vfs) {
    let (usage, journal) = tokio::join!(
        tokio::time::timeout(SETTLE_MAX, vfs.settle_usage()),
        tokio::time::timeout(SETTLE_MAX, vfs.settle_journal()),
    );
    if usage.is_err() {
        warn!("what this node's last requests changed is not in the tenants' usage until it is counted anew");
    }
    if journal.is_err() {
        warn!("uploads that were replaced or removed may stay in the journal until they expire: it does not answer");
    }
}

/// Removes what nobody resumes, for ever.
async fn reap(vfs: Vfs, directory: Arc<dyn Directory>, interval: Duration) {
    loop {
        // Nodes that were started together do not ask at the same moment.
        tokio::time::sleep(interval.mul_f64(rand::random_range(0.5..1.0))).await;
        match vfs.reap(directory.as_ref(), interval).await {
            Ok(Some(Reaped { removed, tails, failed, .. })) if removed + tails + failed > 0 => {
                info!(removed, tails, failed, "uploads that nobody has resumed in time");
            }
            Ok(_) => {}
            Err(error) => warn!(error = %error.report(), "expired uploads can't be removed now"),
        }
    }
}

impl RunningSidePort {
    async fn start(config: &admin::Config, registry: Registry, readiness: Readiness) -> Result<Self, admin::BindError> {
        let port = SidePort::bind(config, registry, readiness).await?;
        let address = port.local_addr();
        let stop = CancellationToken::new();
        let scrapes = port.scrapes();
        let task = tokio::spawn(port.serve(stop.clone()));
        Ok(Self { address, stop: stop.drop_guard(), scrapes, task })
    }

    async fn stop(self) {
        drop(self.stop);
        // A panic there has been reported by the runtime, and the node is ending anyway.
        let _ = self.task.await;
    }
}
