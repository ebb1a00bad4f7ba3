//! A journal that fails, or lets something happen, when a test wants it to.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tidegate_store::memory::MemoryJournal;
use tidegate_store::{
    Generation, Journal, JournalEntry, JournalPage, ObjectKey, StoreError, StoreErrorKind, StoreResult, TenantName,
};

/// What goes wrong at a node's journal, which others may reach all the while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing is answered.
    Away,
    /// Reading takes for ever.
    Silent,
    /// Entries are read, but neither made nor changed.
    NoChange,
    /// Nothing is removed, and all else works.
    NoRemoval,
    #[default]
    None,
    /// Changes are refused, as if another session had the entry.
    Refused,
}

type Event = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Clones are one journal in the same trouble.
#[derive(Clone, Default)]
pub(crate) struct ScriptedJournal {
    inner: MemoryJournal,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    trouble: Trouble,
    behind_list: Option<Event>,
    behind_read: Option<BoxFuture<'static, ()>>,
    all_may_reap: bool,
    reads: u64,
    changes: u64,
}

impl ScriptedJournal {
    pub(crate) fn new(inner: MemoryJournal) -> Self {
        Self { inner, script: Arc::default() }
    }

    pub(crate) fn unreachable() -> Self {
        let journal = Self::default();
        journal.is_in(Trouble::Away);
        journal
    }

    pub(crate) fn is_in(&self, trouble: Trouble) {
        self.script.lock().unwrap().trouble = trouble;
    }

    /// As if every claim of reaping came when that of the one before had ended.
    pub(crate) fn all_may_reap(&self) {
        self.script.lock().unwrap().all_may_reap = true;
    }

    /// Between the reading of each page and what is done with it.
    pub(crate) fn behind_list(&self, event: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.script.lock().unwrap().behind_list = Some(Arc::new(event));
    }

    /// Between the next reading of an entry and what is done with it.
    pub(crate) fn behind_read(&self, event: impl Future<Output = ()> + Send + 'static) {
        self.script.lock().unwrap().behind_read = Some(Box::pin(event));
    }

    /// How many entries were asked for.
    pub(crate) fn reads(&self) -> u64 {
        self.script.lock().unwrap().reads
    }

    fn read_only(&self) -> StoreResult<&MemoryJournal> {
        self.answering(self.script.lock().unwrap().trouble != Trouble::Away)
    }

    /// How often something was to be changed.
    pub(crate) fn changes(&self) -> u64 {
        self.script.lock().unwrap().changes
    }

    fn changed(&self) -> StoreResult<&MemoryJournal> {
        self.script.lock().unwrap().changes += 1;
        let trouble = self.script.lock().unwrap().trouble;
        self.answering(!matches!(trouble, Trouble::Away | Trouble::NoChange))
    }

    fn answering(&self, answers: bool) -> StoreResult<&MemoryJournal> {
        if answers { Ok(&self.inner) } else { Err(StoreError::new(StoreErrorKind::Unavailable, "journal")) }
    }
}

impl fmt::Debug for ScriptedJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScriptedJournal").field(&self.inner).finish()
    }
}

#[async_trait]
impl Journal for ScriptedJournal {
    async fn read(&self, tenant: &TenantName, key: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        self.script.lock().unwrap().reads += 1;
        if self.script.lock().unwrap().trouble == Trouble::Silent {
            std::future::pending::<()>().await;
        }
        let read = self.read_only()?.read(tenant, key).await;
        let event = self.script.lock().unwrap().behind_read.take();
        if let Some(event) = event {
            event.await;
        }
        read
    }
    async fn replace(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<Option<JournalEntry>> {
        self.changed()?.replace(tenant, entry).await
    }
    async fn create(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        self.changed()?.create(tenant, entry).await
    }
    async fn update(&self, tenant: &TenantName, expected: Generation, entry: &JournalEntry) -> StoreResult<bool> {
        if self.script.lock().unwrap().trouble == Trouble::Refused {
            return Ok(false);
        }
        self.changed()?.update(tenant, expected, entry).await
    }
    async fn take_over(
        &self,
        tenant: &TenantName,
        key: &ObjectKey,
        expected: Generation,
        mine: Generation,
    ) -> StoreResult<Option<JournalEntry>> {
        self.changed()?.take_over(tenant, key, expected, mine).await
    }
    async fn remove(&self, tenant: &TenantName, key: &ObjectKey, generation: Generation) -> StoreResult<bool> {
        if self.script.lock().unwrap().trouble == Trouble::NoRemoval {
            // Unlike one of an outage, an error that does not have the node leave the journal alone for a while.
            return Err(StoreError::new(StoreErrorKind::Throttled, "journal"));
        }
        self.changed()?.remove(tenant, key, generation).await
    }
    async fn remove_expired(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        self.changed()?.remove_expired(tenant, entry).await
    }
    async fn rename(
        &self,
        tenant: &TenantName,
        from: &JournalEntry,
        to: &JournalEntry,
        over: Option<Generation>,
    ) -> StoreResult<bool> {
        self.changed()?.rename(tenant, from, to, over).await
    }
    async fn list(&self, tenant: &TenantName, prefix: &str, after: Option<&ObjectKey>) -> StoreResult<JournalPage> {
        let page = self.read_only()?.list(tenant, prefix, after).await;
        let event = self.script.lock().unwrap().behind_list.clone();
        if let Some(event) = event {
            event().await;
        }
        page
    }
    async fn claim_reaping(&self, now: u64, until: u64) -> StoreResult<bool> {
        let claimed = self.changed()?.claim_reaping(now, until).await?;
        Ok(claimed || self.script.lock().unwrap().all_may_reap)
    }
}
