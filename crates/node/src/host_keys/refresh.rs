//! How a node that runs follows the cluster's host keys.
//!
//! It asks for the version of the object and opens it only if that is another one, so that KMS is
//! called once for each change. Whatever fails, the node goes on with the keys that it has.

use std::sync::Arc;
use std::time::Duration;

use tidegate_ssh::{HostKeyError, HostKeySet, OfferedHostKeys, init_host_keys, load_host_keys};
use tidegate_store::{DataKeys, ETag, HostKeyStore};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Metrics;

/// How much earlier than asked for a look may come, as a part of the interval.
const JITTER: f64 = 0.25;

/// The cluster's sealed host keys and what opens them.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) store: HostKeyStore,
    pub(crate) data_keys: Arc<dyn DataKeys>,
    pub(crate) cluster: String,
}

/// Keeps the keys that a server shows the same as those in the store.
pub(crate) struct Refresh {
    sealed: Sealed,
    offered: OfferedHostKeys,
    interval: Duration,
    metrics: Metrics,
    current: HostKeySet,
    /// A version that can't be used: not opened again until it is replaced.
    unusable: Option<ETag>,
    /// What was warned of last, to be said once.
    warned: Option<String>,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The object is gone.
    Missing,
    /// Other keys were there, and are shown now.
    Replaced,
    /// S3 or KMS did not answer.
    Unavailable,
    /// The node has what the store holds.
    Unchanged,
    /// What the store holds is damaged, another cluster's, of a later format or offers nothing.
    Unusable,
}

impl Outcome {
    pub(super) const ALL: [Self; 5] =
        [Self::Missing, Self::Replaced, Self::Unavailable, Self::Unchanged, Self::Unusable];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Replaced => "replaced",
            Self::Unavailable => "unavailable",
            Self::Unchanged => "unchanged",
            Self::Unusable => "unusable",
        }
    }

    /// Whether the node has what the store holds.
    pub(super) fn is_current(self) -> bool {
        matches!(self, Self::Replaced | Self::Unchanged)
    }

    fn of_error(error: &HostKeyError) -> Self {
        match error {
            HostKeyError::Missing => Self::Missing,
            HostKeyError::Sealing { .. } | HostKeyError::Store { .. } => Self::Unavailable,
            _ => Self::Unusable,
        }
    }
}

impl Sealed {
    /// The keys; `None` if there are none.
    pub(crate) async fn load(&self) -> Result<Option<HostKeySet>, HostKeyError> {
        load_host_keys(&self.store, self.data_keys.as_ref(), &self.cluster).await
    }

    /// The keys, made if there are none.
    pub(crate) async fn init(&self) -> Result<HostKeySet, HostKeyError> {
        init_host_keys(&self.store, self.data_keys.as_ref(), &self.cluster).await
    }

    async fn version(&self) -> Result<Option<ETag>, HostKeyError> {
        self.store.version().await.map_err(|source| HostKeyError::Store { action: "read", source })
    }
}

impl Refresh {
    /// Of a server that shows `current`.
    pub(crate) fn new(
        sealed: Sealed,
        offered: OfferedHostKeys,
        current: HostKeySet,
        interval: Duration,
        metrics: Metrics,
    ) -> Self {
        metrics.has(&current);
        Self { sealed, offered, interval, metrics, current, unusable: None, warned: None }
    }

    /// Looks again and again until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(self.pause())).await.is_some() {
            if stop.run_until_cancelled(self.look()).await.is_none() {
                return;
            }
        }
    }

    fn pause(&self) -> Duration {
        self.interval.mul_f64(1.0 - JITTER * rand::random::<f64>())
    }

    /// Looks once.
    async fn look(&mut self) -> Outcome {
        let outcome = match self.follow().await {
            Ok(outcome) => outcome,
            Err(error) => {
                let outcome = Outcome::of_error(&error);
                let text = match outcome {
                    // Not the advice to make some, which is for clusters that never had any.
                    Outcome::Missing => "the object is gone; put its last version back".to_owned(),
                    _ => error.to_string(),
                };
                self.warn(outcome, text);
                outcome
            }
        };
        if outcome.is_current() {
            self.unusable = None;
            if self.warned.take().is_some() {
                info!(revision = self.current.revision(), "the host keys can be read again");
            }
        }
        self.metrics.refreshed(outcome);
        outcome
    }

    async fn follow(&mut self) -> Result<Outcome, HostKeyError> {
        let version = self.sealed.version().await?.ok_or(HostKeyError::Missing)?;
        if self.current.version() == Some(&version) {
            return Ok(Outcome::Unchanged);
        }
        if self.unusable.as_ref() == Some(&version) {
            return Ok(Outcome::Unusable);
        }
        let loaded = self.sealed.load().await.and_then(|keys| keys.ok_or(HostKeyError::Missing));
        let shown = loaded.and_then(|keys| self.offered.replace(&keys).map(|()| keys));
        match shown {
            Ok(keys) => {
                self.replace(keys);
                Ok(Outcome::Replaced)
            }
            Err(error) => {
                self.unusable = (Outcome::of_error(&error) == Outcome::Unusable).then_some(version);
                Err(error)
            }
        }
    }

    fn replace(&mut self, keys: HostKeySet) {
        let (before, revision) = (self.current.revision(), keys.revision());
        if revision < before {
            warn!(revision, before, "the host keys in the store are older than those this node had");
        }
        if !keys.keys().iter().any(|key| self.current.key(&key.fingerprint()).is_some()) {
            warn!(
                revision,
                before, "none of the host keys was there before: clients that know the old ones refuse to connect"
            );
        }
        info!(revision, before, "the host keys have changed; new connections are shown these");
        tell(&self.sealed.cluster, &keys);
        self.metrics.has(&keys);
        self.current = keys;
    }

    fn warn(&mut self, outcome: Outcome, error: String) {
        if self.warned.as_ref() != Some(&error) {
            warn!(
                result = outcome.as_str(),
                error,
                revision = self.current.revision(),
                "the host keys in the store can't be used; the node goes on with those it has"
            );
            self.warned = Some(error);
        }
    }
}

/// Logs what the node has.
pub(crate) fn tell(cluster: &str, keys: &HostKeySet) {
    for key in keys.keys() {
        let (algorithm, fingerprint, state) = (key.algorithm(), key.fingerprint(), key.state().as_str());
        info!(cluster, algorithm, fingerprint, state, "host key loaded");
    }
}

#[cfg(test)]
mod tests;
