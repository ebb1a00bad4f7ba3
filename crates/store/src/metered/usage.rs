//! Counts and times the calls of the counters of usage.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::account::TenantName;
use crate::error::StoreResult;
use crate::metrics::Metrics;
use crate::usage::{Recount, UsageDelta, UsageFigures, UsageStore};

const SERVICE: &str = "usage";

/// Counters of usage whose calls are counted as the service `usage`.
pub struct MeteredUsage {
    inner: Arc<dyn UsageStore>,
    metrics: Metrics,
}

impl MeteredUsage {
    /// Counts the calls of `inner` in `metrics`.
    pub fn new(inner: Arc<dyn UsageStore>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl fmt::Debug for MeteredUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredUsage").field(&self.inner).finish()
    }
}

#[async_trait]
impl UsageStore for MeteredUsage {
    async fn read(&self, tenant: &TenantName) -> StoreResult<UsageFigures> {
        self.metrics.measure(SERVICE, "read", self.inner.read(tenant)).await
    }

    async fn add(&self, tenant: &TenantName, delta: UsageDelta) -> StoreResult<UsageFigures> {
        self.metrics.measure(SERVICE, "add", self.inner.add(tenant, delta)).await
    }

    async fn begin_recount(&self, tenant: &TenantName, recount: &Recount) -> StoreResult<bool> {
        self.metrics.measure(SERVICE, "begin_recount", self.inner.begin_recount(tenant, recount)).await
    }

    async fn finish_recount(
        &self,
        tenant: &TenantName,
        recount: &Recount,
        correction: UsageDelta,
    ) -> StoreResult<bool> {
        let finished = self.inner.finish_recount(tenant, recount, correction);
        self.metrics.measure(SERVICE, "finish_recount", finished).await
    }

    async fn forget_count(&self, tenant: &TenantName) -> StoreResult<()> {
        self.metrics.measure(SERVICE, "forget_count", self.inner.forget_count(tenant)).await
    }
}
