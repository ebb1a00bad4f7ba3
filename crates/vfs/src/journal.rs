//! Uploads that outlive their session and their node, as one session sees them.
//!
//! A multipart upload has an entry in the journal from before its first part to its end. Whoever opens its
//! file without TRUNC takes the entry over and goes on; from that moment on, the one before is refused
//! before its next part and before completion. TRUNC, REMOVE and a file that is renamed onto it drop it.

mod bounded;
mod durable;
mod in_directory;
mod keeper;
mod owed;
mod tails;

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::{
    BaseVersion, Condition, Generation, Journal, JournalEntry, ObjectAttributes, ObjectKey, ObjectMeta, ObjectStore,
    StoreErrorKind, StoreResult, StoredPart, Tail, TenantName, Upload, UploadRecord, UploadState, UserName,
};

pub(crate) use self::bounded::BoundedJournal;
pub(crate) use self::durable::{Durable, Point, is_live};
pub(crate) use self::keeper::{Keeper, fenced};
pub(crate) use self::owed::{Earlier, Obsolete, Owed, earlier, left};
pub(crate) use self::tails::{OldTails, Sweeps};
use self::tails::{remove_tail, tails_of};
use crate::aborting::abort;
use crate::attributes::unix_now;
use crate::error::{FsError, FsErrorKind};
use crate::metrics::Metrics;

/// How often a RENAME of an upload, or one that has no parts yet, looks again at what is in its way.
const ATTEMPTS: usize = 3;

/// How long an upload stays in the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// From the last time that something was written to it.
    pub(crate) idle: Duration,
    /// From its begin, in any case: the store removes parts by then, whatever the journal says.
    pub(crate) whole: Duration,
}

/// A tenant's uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    /// `None` where no journal is kept: every upload ends with its session.
    journal: Option<Arc<dyn Journal>>,
    store: Arc<dyn ObjectStore>,
    tenant: TenantName,
    user: UserName,
    /// What the keys of tails begin with.
    tails: String,
    life: Life,
    owed: Arc<Owed>,
    metrics: Metrics,
}

/// What is known of an upload when it is begun.
#[derive(Clone, Debug)]
pub(crate) struct NewUpload {
    pub(crate) key: ObjectKey,
    pub(crate) condition: Condition,
    pub(crate) attributes: ObjectAttributes,
    pub(crate) hint: u64,
    pub(crate) base: Option<BaseVersion>,
}

/// An upload that somebody has taken over and may go on with.
#[derive(Debug)]
pub(crate) struct Interrupted {
    pub(crate) durable: Durable,
    pub(crate) record: UploadRecord,
    pub(crate) keeper: Arc<Keeper>,
}

impl Uploads {
    /// Those of a tenant whose files lie under `prefix`, for one user.
    pub(crate) fn new(
        journal: Option<Arc<dyn Journal>>,
        store: Arc<dyn ObjectStore>,
        (tenant, user): (TenantName, UserName),
        prefix: &str,
        life: Life,
        owed: Arc<Owed>,
    ) -> Arc<Self> {
        let metrics = owed.metrics().clone();
        Arc::new(Self { journal, store, tenant, user, tails: tails_of(prefix), life, owed, metrics })
    }

    /// Whether a journal is kept.
    pub(crate) fn are_kept(&self) -> bool {
        self.journal.is_some()
    }

    /// The upload of a file, if one runs or was cut that is not to go.
    ///
    /// # Errors
    /// Any that the journal gives.
    pub(crate) async fn read(&self, key: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        Ok(self.read_any(key).await?.filter(|entry| !self.is_owed(entry)))
    }

    /// The same, though it is to go.
    async fn read_any(&self, key: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        let Some(journal) = &self.journal else { return Ok(None) };
        let entry = journal.read(&self.tenant, key).await?;
        Ok(entry.filter(|entry| entry.record.expires > unix_now()))
    }

    /// Those below a directory's marker.
    ///
    /// # Errors
    /// Any that the journal gives.
    pub(crate) async fn below(&self, marker: &ObjectKey) -> StoreResult<Vec<JournalEntry>> {
        let (mut found, mut after) = (Vec::new(), None);
        let Some(journal) = &self.journal else { return Ok(found) };
        loop {
            let page = journal.list(&self.tenant, marker.as_str(), after.as_ref()).await?;
            found.extend(page.entries.into_iter().filter(|entry| !self.is_owed(entry)));
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// What of an upload is durable; `None` if the store does not have it any more.
    ///
    /// # Errors
    /// Any that the store gives.
    pub(crate) async fn durable(&self, record: &UploadRecord) -> StoreResult<Option<Durable>> {
        let listed = async {
            match &record.multipart {
                None => Ok(Some(Vec::new())),
                Some(multipart) => if_there(self.parts(&multipart.upload).await),
            }
        };
        // Not even what STAT shows may rest on the word of the entry. CLOSE removes the tail first where the journal
        // does not answer: whoever went on at a size that the tail gave would leave a hole before that.
        let tail = async {
            match &record.tail {
                None => Ok(None),
                Some(tail) => Ok(if_there(self.store.head(&tail.key).await)?.map(|_| tail)),
            }
        };
        let (listed, tail) = futures::try_join!(listed, tail)?;
        Ok(listed.map(|listed| Durable::of(record, tail, listed)))
    }

    /// The parts that the store has of an upload.
    ///
    /// # Errors
    /// Any that the store gives; `NotFound` if it does not have the upload any more.
    pub(crate) async fn parts(&self, upload: &Upload) -> StoreResult<Vec<StoredPart>> {
        let (mut parts, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list_parts(upload, after).await?;
            parts.extend(page.parts);
            after = page.next;
            if after.is_none() {
                return Ok(parts);
            }
        }
    }

    /// What STAT shows of an upload where the file is as `found` says; `None` if that is what counts.
    ///
    /// # Errors
    /// Any that the store gives.
    pub(crate) async fn shown(&self, entry: &JournalEntry, found: Option<&ObjectMeta>) -> StoreResult<Option<u64>> {
        if !is_live(&entry.record, found) {
            return Ok(None);
        }
        let durable = self.durable(&entry.record).await?;
        Ok(durable.filter(Durable::is_something).map(|durable| durable.shown()))
    }

    /// Takes an upload over, if it can be gone on with where the file is as `found` says. Its owner is
    /// refused from now on. One that is of no use is dropped.
    ///
    /// # Errors
    /// `Unavailable` if others take it over at the same moment; any that the journal and the store give.
    pub(crate) async fn take_over(
        self: &Arc<Self>,
        entry: JournalEntry,
        found: Option<&ObjectMeta>,
    ) -> Result<Option<Interrupted>, FsError> {
        let Some(journal) = &self.journal else { return Ok(None) };
        if !is_live(&entry.record, found) {
            self.drop_entry(&entry).await;
            return Ok(None);
        }
        let mine = JournalEntry { generation: Generation::fresh(), ..entry.clone() };
        if !journal.update(&self.tenant, entry.generation, &mine).await? {
            return Err(contended());
        }
        // Only now: what its owner sent before is there, and nothing is begun behind it.
        match self.durable(&mine.record).await?.filter(Durable::is_something) {
            Some(durable) => {
                let record = mine.record.clone();
                Ok(Some(Interrupted { durable, record, keeper: Arc::new(Keeper::new(Arc::clone(self), mine)) }))
            }
            None => {
                self.drop_entry(&mine).await;
                Ok(None)
            }
        }
    }

    /// Gives up what the store has of an upload.
    pub(crate) async fn clear(&self, record: &UploadRecord) {
        clear(&*self.store, &self.metrics, record).await;
    }

    /// Enters an upload, in the place of any other of the file, which is dropped. Without an answer of the
    /// journal the upload goes on without an entry, and ends with its session.
    pub(crate) async fn enter(self: &Arc<Self>, new: NewUpload, upload: &Upload) -> Option<Arc<Keeper>> {
        let journal = self.journal.as_ref()?;
        let multipart =
            tidegate_store::Multipart { upload: upload.clone(), attributes: new.attributes.clone(), guarded: None };
        let key = new.key.clone();
        let record = UploadRecord { multipart: Some(multipart), ..self.record(new, UploadState::Running) };
        let entry = JournalEntry { key, generation: Generation::fresh(), record };
        match journal.replace(&self.tenant, &entry).await {
            Ok(before) => {
                if let Some(before) = before {
                    self.metrics.interrupted_dropped.inc();
                    let uploads = Arc::clone(self);
                    tokio::spawn(async move { uploads.clear(&before.record).await });
                }
                Some(Arc::new(Keeper::new(Arc::clone(self), entry)))
            }
            Err(error) => {
                self.metrics.unjournalled.inc();
                tracing::warn!(error = %error.report(), "an upload is not in the journal: if it is cut, it can't be resumed");
                None
            }
        }
    }

    /// Enters an upload that has no parts, where there is no other of the file but such as are to go: what `left`
    /// says, and what this node owes.
    ///
    /// # Errors
    /// Any that the journal gives; `Conflict` if there is another.
    pub(crate) async fn enter_tail(
        self: &Arc<Self>,
        new: NewUpload,
        tail: Tail,
        state: UploadState,
        left: Option<Obsolete>,
    ) -> Result<Arc<Keeper>, FsError> {
        let Some(journal) = &self.journal else { return Err(not_kept()) };
        let key = new.key.clone();
        let record = UploadRecord { tail: Some(tail), ..self.record(new, state) };
        let entry = JournalEntry { key, generation: Generation::fresh(), record };
        for _ in 0..ATTEMPTS {
            if journal.create(&self.tenant, &entry).await? {
                return Ok(Arc::new(Keeper::new(Arc::clone(self), entry)));
            }
            let Some(before) = self.read_any(&entry.key).await? else { continue };
            if !left.is_some_and(|left| left.covers(&before)) && !self.is_owed(&before) {
                break;
            }
            self.try_drop(&before).await?;
        }
        Err(fenced())
    }

    /// An upload has another name from now on, which is given. What is on that name already is dropped.
    /// `None` if somebody else has it.
    ///
    /// # Errors
    /// Any that the journal gives.
    pub(crate) async fn rename(&self, entry: &JournalEntry, to: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        let Some(journal) = &self.journal else { return Ok(None) };
        for _ in 0..ATTEMPTS {
            let before = journal.read(&self.tenant, to).await?;
            let over = before.as_ref().map(|before| before.generation);
            let begun = self.counts_from(to, entry.record.begun);
            let record = UploadRecord { begun, ..entry.record.clone() };
            let moved = JournalEntry { key: to.clone(), generation: Generation::fresh(), record };
            if journal.rename(&self.tenant, entry, &moved, over).await? {
                if let Some(before) = before {
                    self.metrics.interrupted_dropped.inc();
                    self.clear(&before.record).await;
                }
                return Ok(Some(moved));
            }
        }
        Ok(None)
    }

    fn record(&self, new: NewUpload, state: UploadState) -> UploadRecord {
        let begun = self.counts_from(&new.key, self.now());
        UploadRecord {
            user: self.user.clone(),
            state,
            begun,
            expires: self.expiry(begun),
            hint: new.hint,
            attributes: new.attributes,
            condition: new.condition,
            base: new.base,
            multipart: None,
            tail: None,
            is_rewritten: false,
        }
    }

    /// Until when an upload that was begun then lives if it is written to now.
    fn expiry(&self, begun: u64) -> u64 {
        (unix_now() + self.life.idle.as_secs()).min(begun + self.life.whole.as_secs())
    }
}

/// `None` for what the store does not have.
fn if_there<T>(found: StoreResult<T>) -> StoreResult<Option<T>> {
    match found {
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Gives up what a store has of an upload, and counts and logs what it keeps.
pub(crate) async fn clear(store: &dyn ObjectStore, metrics: &Metrics, record: &UploadRecord) {
    match (&record.multipart, &record.tail) {
        (Some(multipart), _) => abort(&multipart.upload.key, metrics, give_up(store, record)).await,
        (None, Some(tail)) => remove_tail(store, tail).await,
        (None, None) => {}
    }
}

/// Removes what a store has of an upload: parts and tail, whatever becomes of the other.
///
/// # Errors
/// Any that the store gives.
pub(crate) async fn give_up(store: &dyn ObjectStore, record: &UploadRecord) -> StoreResult<()> {
    let parts = async {
        match &record.multipart {
            Some(multipart) => store.abort_upload(&multipart.upload).await,
            None => Ok(()),
        }
    };
    let tail = async {
        match &record.tail {
            Some(tail) => store.delete(&tail.key).await,
            None => Ok(()),
        }
    };
    let (parts, tail) = futures::join!(parts, tail);
    parts.and(tail)
}

/// What those hear who want an upload that another session takes over.
pub(crate) fn contended() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "another session opens this file at the same moment; try again")
}

fn not_kept() -> FsError {
    FsError::unsupported("this server keeps no journal of uploads: what is written is durable once the file is closed")
}
