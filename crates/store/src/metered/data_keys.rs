//! Counts and times the calls of a guardian of data keys.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::data_keys::{DataKey, DataKeys, EncryptionContext};
use crate::error::StoreResult;
use crate::metrics::Metrics;

const SERVICE: &str = "data-keys";

/// Data keys whose calls are counted as the service `data-keys`.
pub struct MeteredDataKeys {
    inner: Arc<dyn DataKeys>,
    metrics: Metrics,
}

impl MeteredDataKeys {
    /// Counts the calls of `inner` in `metrics`.
    pub fn new(inner: Arc<dyn DataKeys>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl fmt::Debug for MeteredDataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredDataKeys").field(&self.inner).finish()
    }
}

#[async_trait]
impl DataKeys for MeteredDataKeys {
    async fn generate(&self, context: &EncryptionContext) -> StoreResult<DataKey> {
        self.metrics.measure(SERVICE, "generate", self.inner.generate(context)).await
    }

    async fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> StoreResult<Zeroizing<[u8; 32]>> {
        self.metrics.measure(SERVICE, "unwrap", self.inner.unwrap(wrapped, context)).await
    }
}
