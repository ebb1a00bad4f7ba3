//! The SSH server of a node.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use russh::{MethodKind, MethodSet, SshId};
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
use crate::algorithms;
use crate::authentication::Authenticator;
use crate::config::{Config, ConfigError};
use crate::host_keys::HostKeySet;
use crate::listener;
use crate::listener::Refusals;
use crate::lock_outs::LockOuts;
use crate::metrics::Metrics;
use crate::sessions::Sessions;
use crate::subsystem::Subsystem;

/// What clients are told we are. Without a version: it would help nobody but attackers.
const SERVER_ID: &str = "SSH-2.0-Tidegate";

/// Answers that may wait for the transport on one connection, in packets of the client's size
/// (32 KiB for most).
const OUTGOING_PACKETS: usize = 16;

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
    transport: russh::server::Config,
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
    pub(crate) transport: Arc<russh::server::Config>,
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
        keys: HostKeySet,
        shared: ClusterState,
        vfs: Vfs,
        (sftp_config, sftp_metrics): (tidegate_sftp::Config, tidegate_sftp::Metrics),
        metrics: Metrics,
    ) -> Result<Self, BindError> {
        config.validate()?;
        let failed = |source| BindError::Listen { address: config.listen, source };
        let listener = listener::listen(config.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let transport = transport(&config, &keys);
        let subsystem = Subsystem::new(vfs, sftp_config, sftp_metrics);
        Ok(Self { listener, address, parts: Parts { config, transport, shared, subsystem, metrics } })
    }

    /// Where it listens, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown.drain` or `shutdown.deadline`, then closes the listener and returns
    /// when the last connection is gone; at the latest a few seconds after the deadline.
    pub async fn serve(self, shutdown: Shutdown) {
        let Parts { config, transport, shared: ClusterState { accounts, leases, login_failures }, subsystem, metrics } =
            self.parts;
        let closed = CancellationToken::new();
        let lock_outs = LockOuts::start(config.lock_out.clone(), login_failures, metrics.clone(), closed.child_token());
        let node = Arc::new(Node {
            transport: Arc::new(transport),
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

/// The transport's settings. Its own time-outs are a second line: a connection that the client
/// stopped reading from ends by `inactivity_timeout`, because nothing else runs on it then.
fn transport(config: &Config, keys: &HostKeySet) -> russh::server::Config {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let silence = config
        .idle_timeout
        .saturating_add(config.keepalive_interval.saturating_mul(config.keepalive_max.saturating_add(1)));
    let buffered = config.channel_buffer.as_u64() / u64::from(Config::MAX_PACKET);
    russh::server::Config {
        server_id: SshId::Standard(SERVER_ID.into()),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: config.auth_rejection_delay,
        // The question which methods there are tells nothing of anybody: answered at once, it
        // saves every login the delay.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: keys.private_keys(config.ecdsa_host_key),
        certificates: Vec::new(),
        limits: russh::Limits::default(),
        window_size: u32::try_from(config.window.as_u64()).unwrap_or(u32::MAX),
        maximum_packet_size: Config::MAX_PACKET,
        channel_buffer_size: usize::try_from(buffered).unwrap_or(usize::MAX).max(2),
        event_buffer_size: OUTGOING_PACKETS,
        preferred: algorithms::preferred(config.nist_key_exchange),
        // The first question counts as an attempt in the transport.
        max_auth_attempts: count(config.max_auth_attempts).saturating_add(1),
        // Longer than `idle_timeout`, which alone knows of sessions that wait for bandwidth. A client
        // that lives answers keep-alives meanwhile.
        inactivity_timeout: Some(silence),
        keepalive_interval: Some(config.keepalive_interval),
        keepalive_max: count(config.keepalive_max),
        nodelay: true,
    }
}
