//! The ends of uploads, which fill no part: objects beside the files, until their upload has no need of them.
//! And the sweep that removes them, and what else a node that died has left there.
//!
//! A tail is stored before the journal names it, and removed after the journal has forgotten it, so a node that
//! dies in between leaves one that nobody knows. An entry expires at the latest when its upload is as old as one
//! may be, and its tail was stored at most moments before the upload was begun: whatever is older than that, and
//! a day for clocks that differ, can be gone on with by nobody. The same holds for groups of parts that a node
//! had not copied to their upload yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tidegate_store::{
    Body, Condition, JournalEntry, ListRequest, ObjectAttributes, ObjectKey, ObjectStore, StoreResult, Tail, Tenant,
    TenantName, limits,
};
use tokio::time::Instant;

use super::Uploads;
use crate::hidden::Hidden;

/// For clocks that differ, and for a tail that is stored before its upload has an entry.
const SLACK: Duration = Duration::from_secs(24 * 3600);

/// How long a node leaves a tenant alone all of whose tails it has looked at.
const REST: Duration = Duration::from_secs(24 * 3600);

impl Uploads {
    /// Stores bytes behind an upload's parts as an object of their own, which begin at `offset`.
    ///
    /// # Errors
    /// Any that the store gives.
    pub(crate) async fn put_tail(&self, offset: u64, body: Body) -> StoreResult<Tail> {
        let key = self.hidden.new_tail()?;
        let (len, checksum) = (body.len(), body.checksum());
        self.store.put(&key, body, checksum, &ObjectAttributes::default(), &Condition::Always).await?;
        Ok(Tail { key, offset, len })
    }

    /// Removes bytes that [`Uploads::put_tail`] has stored and nobody needs any more.
    pub(crate) async fn remove_tail(&self, tail: &Tail) {
        remove_tail(&*self.store, tail).await;
    }
}

pub(super) async fn remove_tail(store: &dyn ObjectStore, tail: &Tail) {
    if let Err(error) = store.delete(&tail.key).await {
        tracing::warn!(key = %tail.key, error = %error.report(), "the end of an upload stays beside the files for now");
    }
}

/// How far this node has looked through the tenants' tails. Holds a line for each tenant that it has looked at.
#[derive(Debug, Default)]
pub(crate) struct Sweeps(Mutex<HashMap<TenantName, Sweep>>);

#[derive(Debug)]
enum Sweep {
    /// To be gone on with behind this key.
    Behind(String),
    /// All were looked at.
    RestsUntil(Instant),
}

/// What of one page is too old for any upload.
#[derive(Debug)]
pub(crate) struct OldTails {
    keys: HashSet<ObjectKey>,
    /// Where the next page begins.
    next: Option<String>,
}

impl Sweeps {
    /// Asks for the next page of a tenant's tails; `None` if all were looked at lately.
    pub(crate) fn next(&self, tenant: &Tenant) -> Option<ListRequest> {
        let start_after = match self.lock().get(&tenant.name) {
            Some(Sweep::RestsUntil(until)) if Instant::now() < *until => return None,
            Some(Sweep::Behind(key)) => Some(key.clone()),
            Some(Sweep::RestsUntil(_)) | None => None,
        };
        let (prefix, limit) = (Hidden::beside(&tenant.prefix).prefix().to_owned(), limits::LIST_MAX);
        Some(ListRequest { prefix, delimited: false, limit, continuation: None, start_after })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantName, Sweep>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OldTails {
    /// Those of a page that were stored before any upload that is at most `age_max` old.
    ///
    /// # Errors
    /// Any that the store gives.
    pub(crate) async fn look(
        store: &dyn ObjectStore,
        tenant: &Tenant,
        page: &ListRequest,
        age_max: Duration,
    ) -> StoreResult<Self> {
        let hidden = Hidden::beside(&tenant.prefix);
        let page = store.list(page).await?;
        let now = store.now().unwrap_or_else(SystemTime::now);
        let is_old = |stored| now.duration_since(stored).is_ok_and(|age| age > age_max + SLACK);
        let next = page.objects.last().filter(|_| page.next.is_some()).map(|last| last.key.as_str().to_owned());
        let old =
            page.objects.into_iter().filter(|object| is_old(object.last_modified) && !hidden.is_lasting(&object.key));
        Ok(Self { keys: old.map(|object| object.key).collect(), next })
    }

    /// Leaves out what an entry names: it may have been written under another greatest age.
    pub(crate) fn spare(&mut self, entry: &JournalEntry) {
        if let Some(tail) = &entry.record.tail {
            self.keys.remove(&tail.key);
        }
    }

    /// Removes those that are left. Tells how many. The same page comes again if that fails.
    ///
    /// # Errors
    /// Any that the store gives.
    pub(crate) async fn remove(
        self,
        sweeps: &Sweeps,
        tenant: &TenantName,
        store: &dyn ObjectStore,
    ) -> StoreResult<u64> {
        for key in &self.keys {
            store.delete(key).await?;
        }
        let done = self.next.map_or_else(|| Sweep::RestsUntil(Instant::now() + REST), Sweep::Behind);
        sweeps.lock().insert(tenant.clone(), done);
        Ok(self.keys.len() as u64)
    }
}
