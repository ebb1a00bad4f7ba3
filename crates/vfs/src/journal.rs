//! Uploads that outlive their session and their node, as one session sees them.
//!
//! An upload has an entry in the journal from before its first part, or from its second second, to its end.
//! Whoever opens its file without TRUNC takes the entry over and goes on; from that moment on, the one before
//! is refused: at its next request, once the journal's word is heard, and in any case before its next part and
//! before completion. TRUNC, REMOVE and a file that is renamed onto it drop it.

mod bounded;
mod durable;
mod in_directory;
mod interrupted;
mod keeper;
mod owed;
mod owners;
mod tails;

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::{
    BaseVersion, Condition, Generation, Journal, JournalEntry, ObjectAttributes, ObjectKey, ObjectStore, StoreError,
    StoreResult, StoredPart, Tail, TenantName, Upload, UploadRecord, UploadState, UserName,
};

pub(crate) use self::bounded::BoundedJournal;
pub(crate) use self::durable::{Durable, Point};
pub(crate) use self::interrupted::{Interrupted, TakenOver};
pub(crate) use self::keeper::{Keeper, fenced};
pub(crate) use self::owed::{Earlier, Obsolete, Owed, earlier, left};
pub(crate) use self::owners::Owners;
use self::tails::remove_tail;
pub(crate) use self::tails::{OldTails, Sweeps};
use crate::aborting::abort;
use crate::attributes::unix_now;
use crate::error::{FsError, FsErrorKind};
use crate::hidden::Hidden;
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
    hidden: Hidden,
    life: Life,
    owed: Arc<Owed>,
    owners: Arc<Owners>,
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

impl Uploads {
    /// Those of a tenant, whose files `hidden` lies beside, for one user.
    pub(crate) fn new(
        journal: Option<Arc<dyn Journal>>,
        store: Arc<dyn ObjectStore>,
        (tenant, user): (TenantName, UserName),
        hidden: Hidden,
        life: Life,
        (owed, owners): (Arc<Owed>, Arc<Owners>),
    ) -> Arc<Self> {
        let metrics = owed.metrics().clone();
        Arc::new(Self { journal, store, tenant, user, hidden, life, owed, owners, metrics })
    }

    /// Where the server's own objects lie.
    pub(crate) fn hidden(&self) -> &Hidden {
        &self.hidden
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
                    self.lose(before.generation);
                    self.metrics.interrupted_dropped.inc();
                    let uploads = Arc::clone(self);
                    tokio::spawn(async move { uploads.clear(&before.record).await });
                }
                Some(Arc::new(Keeper::new(Arc::clone(self), entry)))
            }
            Err(error) => {
                self.not_journalled(&error);
                None
            }
        }
    }

    /// Counts and logs that an upload goes on without an entry.
    pub(crate) fn not_journalled(&self, error: &StoreError) {
        self.metrics.unjournalled.inc();
        tracing::warn!(error = %error.report(), "an upload is not in the journal: if it is cut, it can't be resumed");
    }

    /// Enters an upload of which nothing is durable yet, where there is no other of the file but such as are to go.
    ///
    /// # Errors
    /// As [`Uploads::enter_without_parts`].
    pub(crate) async fn announce(
        self: &Arc<Self>,
        new: NewUpload,
        left: Option<Obsolete>,
    ) -> Result<Arc<Keeper>, FsError> {
        // A journal that did not answer is not asked for a while, and CLOSE waits for the answer.
        if self.read(&new.key).await?.is_some_and(|there| !left.is_some_and(|left| left.covers(&there))) {
            return Err(fenced());
        }
        self.enter_without_parts(new, None, UploadState::Running, left).await
    }

    /// Enters an upload that has no parts, where there is no other of the file but such as are to go: what `left`
    /// says, and what this node owes.
    ///
    /// # Errors
    /// Any that the journal gives; `Conflict` if there is another.
    pub(crate) async fn enter_without_parts(
        self: &Arc<Self>,
        new: NewUpload,
        tail: Option<Tail>,
        state: UploadState,
        left: Option<Obsolete>,
    ) -> Result<Arc<Keeper>, FsError> {
        let Some(journal) = &self.journal else { return Err(not_kept()) };
        let key = new.key.clone();
        let record = UploadRecord { tail, ..self.record(new, state) };
        let entry = JournalEntry { key, generation: Generation::fresh(), record };
        for _ in 0..ATTEMPTS {
            let created = journal.create(&self.tenant, &entry).await;
            if created.is_err() && entry.record.holds_nothing() {
                // It may be there all the same, and nobody would ever take it out.
                self.owe(&entry.key, Obsolete::Seen(entry.generation));
            }
            if created? {
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

    /// RENAME of what another session has, or has left: it has another name from now on, and no owner. `change` says
    /// what else is changed of it. What is on that name already is dropped. `false` if somebody else has it.
    ///
    /// # Errors
    /// Any that the journal gives.
    pub(crate) async fn rename(
        &self,
        entry: &JournalEntry,
        to: &ObjectKey,
        change: impl FnOnce(&mut UploadRecord),
    ) -> StoreResult<bool> {
        // Its owner may be writing to it. What would be renamed as it was read would lack that.
        let Some(mut seized) = self.seize(entry).await? else { return Ok(false) };
        change(&mut seized.record);
        Ok(self.move_entry(&seized, to).await?.is_some())
    }

    /// The same for who has it, which gets it as it is then; `None` if somebody else has it.
    ///
    /// # Errors
    /// Any that the journal gives.
    async fn move_entry(&self, entry: &JournalEntry, to: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        let Some(journal) = &self.journal else { return Ok(None) };
        for _ in 0..ATTEMPTS {
            let before = journal.read(&self.tenant, to).await?;
            let over = before.as_ref().map(|before| before.generation);
            let begun = self.counts_from(to, entry.record.begun);
            let record = UploadRecord { begun, ..entry.record.clone() };
            let moved = JournalEntry { key: to.clone(), generation: Generation::fresh(), record };
            if journal.rename(&self.tenant, entry, &moved, over).await? {
                if let Some(before) = before {
                    self.lose(before.generation);
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
