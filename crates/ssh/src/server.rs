//! The SSH server of a node.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tidegate_sftp::Shutdown;
use tidegate_store::{Accounts, Leases, LoginFailures};
use tidegate_vfs::Vfs;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::accounting::Outcome;
use crate::admission::{Admission, LoginPlace, Place};
use crate::authentication::Authenticator;
use crate::config::{Config, ConfigError};
use crate::host_keys::{HostKeyError, HostKeySet};
use crate::listener;
use crate::listener::Refusals;
use crate::lock_outs::LockOuts;
use crate::metrics::Metrics;
use crate::sessions::Sessions;
use crate::subsystem::Subsystem;
use crate::transport::OfferedHostKeys;

/// How long after the shutdown's deadline [`Server::serve`] waits for the last connections.
const LAST_WAIT: Duration = Duration::from_secs(8);

/// A server that listens already and serves when told to.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    parts: Parts,
}

struct Parts {
    config: Config,
    host_keys: OfferedHostKeys,
    shared: ClusterState,
    subsystem: Subsystem,
    metrics: Metrics,
}

/// What the nodes of a cluster share, as far as logins need it.
#[derive(Clone, Debug)]
pub struct ClusterState {
    /// Who may log in.
    pub accounts: Arc<dyn Accounts>,
    /// How many sessions each node has.
    pub leases: Arc<dyn Leases>,
    /// Who failed to log in.
    pub login_failures: Arc<dyn LoginFailures>,
}

/// What all connections share.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) host_keys: OfferedHostKeys,
    pub(crate) authenticator: Authenticator,
    pub(crate) admission: Admission,
    pub(crate) sessions: Sessions,
    pub(crate) lock_outs: Arc<LockOuts>,
    pub(crate) subsystem: Subsystem,
    pub(crate) metrics: Metrics,
    pub(crate) refusals: Refusals,
    pub(crate) shutdown: Shutdown,
}

/// Why a server could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// A setting can't work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no host key to show.
    #[error(transparent)]
    HostKeys(#[from] HostKeyError),
    /// The address is in use, forbidden or not ours.
    #[error("can't listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Server {
    /// Listens on the configured address. Connections wait in the kernel until
    /// [`Server::serve`].
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(
        config: Config,
        keys: &HostKeySet,
        shared: ClusterState,
        vfs: Vfs,
        (sftp_config, sftp_metrics): (tidegate_sftp::Config, tidegate_sftp::Metrics),
        metrics: Metrics,
    ) -> Result<Self, BindError> {
        config.validate()?;
        let host_keys = OfferedHostKeys::new(&config, keys)?;
        let failed = |source| BindError::Listen { address: config.listen, source };
        let listener = listener::listen(config.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let subsystem = Subsystem::new(vfs, sftp_config, sftp_metrics);
        Ok(Self { listener, address, parts: Parts { config, host_keys, shared, subsystem, metrics } })
    }

    /// Where it listens, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The host keys that are shown to new connections, to be exchanged while it serves.
    pub fn host_keys(&self) -> OfferedHostKeys {
        self.parts.host_keys.clone()
    }

    /// Serves until `shutdown.drain` or `shutdown.deadline`, then closes the listener and returns
    /// when the last connection is gone; at the latest a few seconds after the deadline.
    pub async fn serve(self, shutdown: Shutdown) {
        let Parts { config, host_keys, shared: ClusterState { accounts, leases, login_failures }, subsystem, metrics } =
            self.parts;
        let closed = CancellationToken::new();
        let lock_outs = LockOuts::start(config.lock_out.clone(), login_failures, metrics.clone(), closed.child_token());
        let node = Arc::new(Node {
            host_keys,
            authenticator: Authenticator::new(accounts, config.account_lookup_timeout, config.auth_rejection_delay),
            admission: Admission::new(&config),
            sessions: Sessions::new(leases, config.session_lease, metrics.clone()),
            lock_outs,
            subsystem,
            metrics,
            refusals: Refusals::default(),
            shutdown: shutdown.clone(),
            config,
        });
        let connections = TaskTracker::new();
        info!(message = "listening for SFTP connections", address = %self.address);
        listener::accept(Arc::clone(&node), self.listener, &connections).await;
        connections.close();
        info!(message = "no longer accepting connections", open = connections.len());
        let late = async {
            shutdown.deadline.cancelled().await;
            tokio::time::sleep(LAST_WAIT).await;
        };
        tokio::select! {
            () = connections.wait() => {}
            () = late => warn!(message = "connections did not end in time", open = connections.len()),
        }
        closed.cancel();
        node.sessions.close().await;
    }
}

impl Node {
    /// Places for a new connection of a client, or why it gets none.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<(Place, LoginPlace), Outcome> {
        if self.lock_outs.refuses(client) {
            return Err(Outcome::LockedOut);
        }
        self.admission.admit(client)
    }
}
