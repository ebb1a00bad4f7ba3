//! What the transport is set up with for each connection: settings, and the host keys of the moment.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::{MethodKind, MethodSet, SshId};

use crate::algorithms;
use crate::config::Config;
use crate::host_keys::{HostKeyError, HostKeySet};

/// What clients are told we are. Without a version: it would help nobody but attackers.
const SERVER_ID: &str = "SSH-2.0-Tidegate";

/// Answers that may wait for the transport on one connection, in packets of the client's size
/// (32 KiB for most).
const OUTGOING_PACKETS: usize = 16;

/// The host keys that a server shows to new connections. Connections that run keep those they began
/// with: a client that exchanges keys again expects the same one. Cheap to clone; clones share the keys.
#[derive(Clone)]
pub struct OfferedHostKeys(Arc<Offered>);

struct Offered {
    config: Config,
    transport: RwLock<Arc<russh::server::Config>>,
}

impl OfferedHostKeys {
    pub(crate) fn new(config: &Config, keys: &HostKeySet) -> Result<Self, HostKeyError> {
        let transport = RwLock::new(with_keys(config, keys)?);
        Ok(Self(Arc::new(Offered { config: config.clone(), transport })))
    }

    /// Shows these keys from the next connection on.
    ///
    /// # Errors
    /// [`HostKeyError::NothingOffered`] if none of them would be shown; the old ones are kept then.
    pub fn replace(&self, keys: &HostKeySet) -> Result<(), HostKeyError> {
        let transport = with_keys(&self.0.config, keys)?;
        *self.0.transport.write().unwrap_or_else(PoisonError::into_inner) = transport;
        Ok(())
    }

    /// The settings of a connection that begins now.
    pub(crate) fn transport(&self) -> Arc<russh::server::Config> {
        Arc::clone(&self.0.transport.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for OfferedHostKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfferedHostKeys").finish_non_exhaustive()
    }
}

fn with_keys(config: &Config, keys: &HostKeySet) -> Result<Arc<russh::server::Config>, HostKeyError> {
    let keys = keys.offered(config.ecdsa_host_key);
    if keys.is_empty() { Err(HostKeyError::NothingOffered) } else { Ok(Arc::new(transport(config, keys))) }
}

/// The transport's settings. Its own time-outs are a second line: a connection that the client
/// stopped reading from ends by `inactivity_timeout`, because nothing else runs on it then.
fn transport(config: &Config, keys: Vec<PrivateKey>) -> russh::server::Config {
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
        keys,
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
