//! What a handle reads from.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tidegate_store::{ETag, ObjectKey, ObjectStore, StoreError};

use super::pace::Latency;
use super::share::Share;
use super::verify::Expected;
use crate::metrics::Metrics;

/// The one version of an object that a handle reads.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) key: ObjectKey,
    pub(crate) share: Share,
    pub(crate) latency: Mutex<Latency>,
    pub(crate) metrics: Metrics,
    etag: Mutex<ETag>,
    /// Size of the object, in bytes.
    size: u64,
    /// Its checksum, once that was asked for.
    sum: OnceLock<Expected>,
}

impl Source {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        key: ObjectKey,
        (etag, size): (ETag, u64),
        (share, latency): (Share, Latency),
        metrics: Metrics,
    ) -> Self {
        let (etag, latency) = (Mutex::new(etag), Mutex::new(latency));
        Self { store, key, share, latency, metrics, etag, size, sum: OnceLock::new() }
    }

    /// What requests took so far.
    pub(crate) fn latency(&self) -> MutexGuard<'_, Latency> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version's tag.
    pub(crate) fn etag(&self) -> ETag {
        self.tag().clone()
    }

    /// Notes what the store says, or is going to say, of the checksum of the whole.
    pub(crate) fn note_sum(&self, sum: &Expected) {
        let _ = self.sum.set(sum.clone());
    }

    /// Whether the store was asked for the checksum of the whole.
    pub(crate) fn is_sum_asked(&self) -> bool {
        self.sum.get().is_some()
    }

    /// Goes on with the version that took the place of the one with this tag, if it has the same bytes. Whether
    /// there is one: whoever sets attributes copies the object onto itself, which gives one of several parts
    /// another tag.
    pub(crate) async fn follow(&self, gone: &ETag) -> bool {
        if self.etag() != *gone {
            // Another range has gone on already.
            return true;
        }
        let Some(asked) = self.sum.get() else { return false };
        let Some(expected) = asked.clone().await else { return false };
        let now = async {
            let meta = self.store.head(&self.key).await?;
            let sum = self.store.checksum(&self.key, Some(&meta.etag)).await?;
            Ok::<_, StoreError>((meta, sum))
        };
        match now.await {
            Ok((meta, Some(sum))) if meta.size == self.size && sum == expected => {
                *self.tag() = meta.etag;
                true
            }
            _ => false,
        }
    }

    fn tag(&self) -> MutexGuard<'_, ETag> {
        self.etag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
