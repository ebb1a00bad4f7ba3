//! Removes uploads that were cut and that nobody has resumed in time, over the whole cluster, and the ends of
//! uploads that nobody knows any more.
//!
//! Every node runs a reaper; the journal lets one of them work at a time. More than one do no harm: an entry
//! is removed only as it was read, and what its upload has in the store only by who removed the entry.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tidegate_store::{Directory, Journal, ObjectStores, StoreResult, Tenant, UploadState};
use tokio::sync::OnceCell;

use crate::attributes::unix_now;
use crate::journal::{OldTails, clear, give_up};
use crate::vfs::Vfs;

/// Tenants that are gone through at once.
const TENANTS_AT_ONCE: usize = 8;

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Uploads that were removed.
    pub removed: u64,
    /// Ends of uploads that nobody knew any more, and that were removed.
    pub tails: u64,
    /// Uploads that were cut and can be resumed.
    pub waiting: u64,
    /// Tenants whose uploads could not be looked at.
    pub failed: u64,
}

impl Vfs {
    /// Removes what has expired, unless another node has done so within `interval`: `None` then, and
    /// where no journal is kept.
    ///
    /// # Errors
    /// Any that the journal gives for the claim, and the directory for the tenants. What can't be removed
    /// of one tenant is left to the next round.
    pub async fn reap(&self, directory: &dyn Directory, interval: Duration) -> StoreResult<Option<Reaped>> {
        let Some(journal) = self.journal() else { return Ok(None) };
        let now = unix_now();
        if !journal.claim_reaping(now, now.saturating_add(interval.as_secs())).await? {
            self.metrics().interrupted.set(0);
            return Ok(None);
        }
        let (mut reaped, mut after) = (Reaped::default(), None);
        loop {
            let page = directory.tenants(after.as_deref()).await?;
            let rounds = page.items.into_iter().map(|tenant| {
                let (vfs, journal) = (self.clone(), Arc::clone(&journal));
                async move { vfs.reap_tenant(journal, &tenant).await }
            });
            let mut rounds = stream::iter(rounds).buffer_unordered(TENANTS_AT_ONCE);
            while let Some(round) = rounds.next().await {
                match round {
                    Ok(round) => {
                        reaped.removed += round.removed;
                        reaped.tails += round.tails;
                        reaped.waiting += round.waiting;
                    }
                    Err(error) => {
                        reaped.failed += 1;
                        tracing::warn!(error = %error.report(), "a tenant's expired uploads can't be removed now");
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                self.metrics().interrupted.set(i64::try_from(reaped.waiting).unwrap_or(i64::MAX));
                return Ok(Some(reaped));
            }
        }
    }

    async fn reap_tenant(&self, journal: Arc<dyn Journal>, tenant: &Tenant) -> StoreResult<Reaped> {
        let (mut reaped, mut after, metrics) = (Reaped::default(), None, self.metrics());
        let opened = OnceCell::new();
        // A tenant without any uploads, and whose tails were looked at, costs no store.
        let store = || opened.get_or_try_init(|| self.store_of(tenant));
        let mut old = match self.sweeps().next(tenant) {
            Some(page) => Some(OldTails::look(&**store().await?, tenant, &page, self.upload_age_max()).await?),
            None => None,
        };
        loop {
            let page = journal.list(&tenant.name, "", after.as_ref()).await?;
            let now = unix_now();
            for entry in &page.entries {
                if let Some(old) = &mut old {
                    old.spare(entry);
                }
                if entry.record.expires > now {
                    reaped.waiting += u64::from(entry.record.state == UploadState::Cut);
                    continue;
                }
                let store = store().await?;
                if journal.remove_expired(&tenant.name, entry).await? {
                    clear(&**store, metrics, &entry.record).await;
                    reaped.removed += 1;
                    metrics.uploads_expired.inc();
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if let Some(old) = old {
            reaped.tails = old.remove(self.sweeps(), &tenant.name, &**store().await?).await?;
            metrics.tails_removed.inc_by(reaped.tails);
        }
        Ok(reaped)
    }
}

/// Removes one upload of a tenant from the journal and the store; `false` if there is none.
///
/// # Errors
/// Any that the services give.
pub async fn abort_upload(
    stores: &dyn ObjectStores,
    journal: Arc<dyn Journal>,
    tenant: &Tenant,
    entry: &tidegate_store::JournalEntry,
) -> StoreResult<bool> {
    let store = stores.open(tenant).await?;
    if !journal.remove(&tenant.name, &entry.key, entry.generation).await? {
        return Ok(false);
    }
    give_up(&*store, &entry.record).await?;
    Ok(true)
}
