//! A journal that keeps nobody waiting: while the service behind it does not answer, sessions go on without.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidegate_store::{
    Generation, Journal, JournalEntry, JournalPage, ObjectKey, StoreError, StoreErrorKind, StoreResult, TenantName,
};
use tokio::time::Instant;

/// How long a look at the journal may take, of which each STAT, OPEN and part of an upload needs one.
const LOOK_WAIT: Duration = Duration::from_secs(2);

/// How long a change may take: what is cut or made durable by fsync waits for it.
const CHANGE_WAIT: Duration = Duration::from_secs(5);

/// How long nobody asks a journal that did not answer: long enough that an outage costs few waits, short
/// enough that its end is noticed at once.
const REST: Duration = Duration::from_secs(5);

/// The journal, each call of which ends in time.
pub(crate) struct BoundedJournal {
    inner: Arc<dyn Journal>,
    /// Until when nobody looks.
    rests: Mutex<Option<Instant>>,
}

impl BoundedJournal {
    pub(crate) fn new(inner: Arc<dyn Journal>) -> Self {
        Self { inner, rests: Mutex::new(None) }
    }

    fn is_at_rest(&self) -> bool {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    /// Refused at once while the journal rests.
    async fn look<T>(&self, call: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        if self.is_at_rest() { Err(unavailable()) } else { self.bounded(LOOK_WAIT, call).await }
    }

    /// Tried in any case: more depends on it than on a look.
    async fn change<T>(&self, call: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        self.bounded(CHANGE_WAIT, call).await
    }

    async fn bounded<T>(&self, wait: Duration, call: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        let answer = tokio::time::timeout(wait, call).await.unwrap_or_else(|_| Err(unavailable()));
        let rests = answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Unavailable);
        *self.rests.lock().unwrap_or_else(PoisonError::into_inner) = rests.then(|| Instant::now() + REST);
        answer
    }
}

impl fmt::Debug for BoundedJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoundedJournal").field(&self.inner).finish()
    }
}

fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "journal").with_source("the journal of uploads does not answer")
}

#[async_trait]
impl Journal for BoundedJournal {
    async fn read(&self, tenant: &TenantName, key: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        self.look(self.inner.read(tenant, key)).await
    }

    async fn replace(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<Option<JournalEntry>> {
        self.look(self.inner.replace(tenant, entry)).await
    }

    async fn create(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        self.change(self.inner.create(tenant, entry)).await
    }

    async fn update(&self, tenant: &TenantName, expected: Generation, entry: &JournalEntry) -> StoreResult<bool> {
        self.change(self.inner.update(tenant, expected, entry)).await
    }

    async fn take_over(
        &self,
        tenant: &TenantName,
        key: &ObjectKey,
        expected: Generation,
        mine: Generation,
    ) -> StoreResult<Option<JournalEntry>> {
        self.change(self.inner.take_over(tenant, key, expected, mine)).await
    }

    async fn remove(&self, tenant: &TenantName, key: &ObjectKey, generation: Generation) -> StoreResult<bool> {
        self.look(self.inner.remove(tenant, key, generation)).await
    }

    async fn remove_expired(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        self.look(self.inner.remove_expired(tenant, entry)).await
    }

    async fn rename(
        &self,
        tenant: &TenantName,
        from: &JournalEntry,
        to: &JournalEntry,
        over: Option<Generation>,
    ) -> StoreResult<bool> {
        self.change(self.inner.rename(tenant, from, to, over)).await
    }

    async fn list(&self, tenant: &TenantName, prefix: &str, after: Option<&ObjectKey>) -> StoreResult<JournalPage> {
        self.look(self.inner.list(tenant, prefix, after)).await
    }

    async fn claim_reaping(&self, now: u64, until: u64) -> StoreResult<bool> {
        self.look(self.inner.claim_reaping(now, until)).await
    }
}

#[cfg(test)]
mod tests {
    use tidegate_store::conformance;
    use tidegate_store::memory::MemoryJournal;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_a_journal_as_any_other() {
        conformance::journal(Arc::new(BoundedJournal::new(Arc::new(MemoryJournal::new())))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_is_left_alone_for_a_while() {
        let journal = BoundedJournal::new(Arc::new(MemoryJournal::new()));
        let start = Instant::now();
        assert!(journal.look(std::future::pending::<StoreResult<()>>()).await.is_err());
        assert_eq!(start.elapsed(), LOOK_WAIT);
        for _ in 0..100 {
            assert!(journal.look(async { Ok(()) }).await.is_err(), "nobody waits for it now");
        }
        assert_eq!(start.elapsed(), LOOK_WAIT);
        tokio::time::advance(REST).await;
        assert!(journal.look(async { Ok(()) }).await.is_ok());
        assert!(journal.change(std::future::pending::<StoreResult<()>>()).await.is_err());
        assert!(journal.look(async { Ok(()) }).await.is_err());
        assert!(journal.change(async { Ok(()) }).await.is_ok(), "a change is tried, and its answer ends the rest");
        assert!(journal.look(async { Ok(()) }).await.is_ok());
    }
}
