//! Counts and times the calls of the journal of uploads.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::account::TenantName;
use crate::error::StoreResult;
use crate::journal::{Generation, Journal, JournalEntry, JournalPage};
use crate::metrics::Metrics;
use crate::object::ObjectKey;

const SERVICE: &str = "journal";

/// A journal whose calls are counted as the service `journal`.
pub struct MeteredJournal {
    inner: Arc<dyn Journal>,
    metrics: Metrics,
}

impl MeteredJournal {
    /// Counts the calls of `inner` in `metrics`.
    pub fn new(inner: Arc<dyn Journal>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl fmt::Debug for MeteredJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredJournal").field(&self.inner).finish()
    }
}

#[async_trait]
impl Journal for MeteredJournal {
    async fn read(&self, tenant: &TenantName, key: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        self.metrics.measure(SERVICE, "read", self.inner.read(tenant, key)).await
    }

    async fn replace(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<Option<JournalEntry>> {
        self.metrics.measure(SERVICE, "replace", self.inner.replace(tenant, entry)).await
    }

    async fn create(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        self.metrics.measure(SERVICE, "create", self.inner.create(tenant, entry)).await
    }

    async fn update(&self, tenant: &TenantName, expected: Generation, entry: &JournalEntry) -> StoreResult<bool> {
        self.metrics.measure(SERVICE, "update", self.inner.update(tenant, expected, entry)).await
    }

    async fn take_over(
        &self,
        tenant: &TenantName,
        key: &ObjectKey,
        expected: Generation,
        mine: Generation,
    ) -> StoreResult<Option<JournalEntry>> {
        self.metrics.measure(SERVICE, "take_over", self.inner.take_over(tenant, key, expected, mine)).await
    }

    async fn remove(&self, tenant: &TenantName, key: &ObjectKey, generation: Generation) -> StoreResult<bool> {
        self.metrics.measure(SERVICE, "remove", self.inner.remove(tenant, key, generation)).await
    }

    async fn remove_expired(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        self.metrics.measure(SERVICE, "remove_expired", self.inner.remove_expired(tenant, entry)).await
    }

    async fn rename(
        &self,
        tenant: &TenantName,
        from: &JournalEntry,
        to: &JournalEntry,
        over: Option<Generation>,
    ) -> StoreResult<bool> {
        self.metrics.measure(SERVICE, "rename", self.inner.rename(tenant, from, to, over)).await
    }

    async fn list(&self, tenant: &TenantName, prefix: &str, after: Option<&ObjectKey>) -> StoreResult<JournalPage> {
        self.metrics.measure(SERVICE, "list", self.inner.list(tenant, prefix, after)).await
    }

    async fn claim_reaping(&self, now: u64, until: u64) -> StoreResult<bool> {
        self.metrics.measure(SERVICE, "claim_reaping", self.inner.claim_reaping(now, until)).await
    }
}
