//! The counters of usage in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::lock;
use crate::account::TenantName;
use crate::error::StoreResult;
use crate::usage::{Recount, UsageDelta, UsageFigures, UsageStore};

/// Counters of usage in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryUsage {
    records: Arc<Mutex<HashMap<TenantName, Record>>>,
}

#[derive(Debug, Default)]
struct Record {
    figures: UsageFigures,
    recount: Option<Recount>,
}

impl MemoryUsage {
    /// No counter.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl UsageStore for MemoryUsage {
    async fn read(&self, tenant: &TenantName) -> StoreResult<UsageFigures> {
        Ok(lock(&self.records).get(tenant).map(|record| record.figures).unwrap_or_default())
    }

    async fn add(&self, tenant: &TenantName, delta: UsageDelta) -> StoreResult<UsageFigures> {
        let mut records = lock(&self.records);
        let figures = &mut records.entry(tenant.clone()).or_default().figures;
        figures.used = figures.used.plus(delta);
        Ok(*figures)
    }

    async fn begin_recount(&self, tenant: &TenantName, recount: &Recount) -> StoreResult<bool> {
        let mut records = lock(&self.records);
        let holder = &mut records.entry(tenant.clone()).or_default().recount;
        let is_free = holder.as_ref().is_none_or(|held| held.token == recount.token || held.until <= recount.now);
        if is_free {
            *holder = Some(recount.clone());
        }
        Ok(is_free)
    }

    async fn finish_recount(
        &self,
        tenant: &TenantName,
        recount: &Recount,
        correction: UsageDelta,
    ) -> StoreResult<bool> {
        let mut records = lock(&self.records);
        let record = records.entry(tenant.clone()).or_default();
        if record.recount.as_ref().is_none_or(|held| held.token != recount.token) {
            return Ok(false);
        }
        record.recount = None;
        record.figures = UsageFigures { used: record.figures.used.plus(correction), counted: Some(recount.now) };
        Ok(true)
    }

    async fn forget_count(&self, tenant: &TenantName) -> StoreResult<()> {
        if let Some(record) = lock(&self.records).get_mut(tenant) {
            record.figures.counted = None;
        }
        Ok(())
    }
}
