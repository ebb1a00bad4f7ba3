//! One upload's entry in the journal, and whether it still is this session's.

use std::sync::Arc;

use tidegate_store::{
    Checksum, Condition, JournalEntry, ObjectKey, PartNumber, StoreResult, StoredPart, Tail, Upload, UploadRecord,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::owners::Standing;
use super::{Obsolete, Uploads};
use crate::error::{FsError, FsErrorKind};

/// Keeps the entry of an upload that this session has.
#[derive(Debug)]
pub(crate) struct Keeper {
    uploads: Arc<Uploads>,
    entry: Mutex<JournalEntry>,
    pub(super) standing: Arc<Standing>,
}

impl Keeper {
    pub(super) fn new(uploads: Arc<Uploads>, entry: JournalEntry) -> Self {
        let standing = Standing::new();
        uploads.owners.insert(entry.generation, &standing);
        Self { uploads, entry: Mutex::new(entry), standing }
    }

    /// Before anything is done that another owner would notice: whether the upload still is this
    /// session's; `false` if the journal does not answer. That says nothing against sending a part: the tags
    /// of the parts keep two owners' apart at completion.
    ///
    /// # Errors
    /// `Conflict` if somebody else has it.
    pub(crate) async fn confirm(&self) -> Result<bool, FsError> {
        let Some(journal) = &self.uploads.journal else { return Ok(true) };
        let (begun, expires) = loop {
            if self.standing.is_lost() {
                return Err(fenced());
            }
            let asked = Instant::now();
            let (key, generation, times) = {
                let entry = self.entry.lock().await;
                (entry.key.clone(), entry.generation, (entry.record.begun, entry.record.expires))
            };
            match journal.read(&self.uploads.tenant, &key).await {
                Ok(Some(entry)) if entry.generation == generation => {
                    self.standing.asked(asked);
                    break times;
                }
                // A RENAME of this session has moved it meanwhile.
                Ok(_) if self.entry.lock().await.generation != generation => {}
                Ok(_) => {
                    self.lose();
                    return Err(fenced());
                }
                Err(_) => return Ok(false),
            }
        };
        if self.uploads.expiry(begun).saturating_sub(expires) > self.uploads.life.idle.as_secs() / 2 {
            // An upload that takes days lives on.
            let _ = self.change(|_| {}).await;
        }
        Ok(true)
    }

    /// Asks the store where the journal does not answer: whether it has no parts of the upload but `mine`.
    /// Whoever has taken the upload over and sent other bytes is found out by that.
    ///
    /// # Errors
    /// Any that the store gives; `NotFound` if it does not have the upload any more.
    pub(crate) async fn is_alone(&self, upload: &Upload, mine: &[(StoredPart, Option<Checksum>)]) -> StoreResult<bool> {
        let is_mine =
            |part: &StoredPart| mine.iter().any(|(own, _)| (own.number, &own.etag) == (part.number, &part.etag));
        Ok(self.found(self.uploads.parts(upload).await?.iter().all(is_mine)))
    }

    /// The same before a part is sent: whether it takes the place of none. The first may be sent again, and where
    /// an earlier owner went on there may be parts that do not count.
    ///
    /// # Errors
    /// As [`Keeper::is_alone`].
    pub(crate) async fn is_free(&self, upload: &Upload, number: PartNumber) -> StoreResult<bool> {
        if number == PartNumber::FIRST || is_guarded(&self.entry.lock().await.record, number) {
            return Ok(true);
        }
        let page = self.uploads.store.list_parts(upload, PartNumber::new(number.number() - 1)).await?;
        Ok(self.found(page.parts.first().is_none_or(|part| part.number != number)))
    }

    /// Notes that an upload was found to be another's, unless it is this session's.
    fn found(&self, is_mine: bool) -> bool {
        if !is_mine {
            self.lose();
        }
        is_mine
    }

    fn lose(&self) {
        if self.standing.lose() {
            self.uploads.metrics.uploads_fenced.inc();
        }
    }

    /// Whether nothing is durable of the upload, as far as the entry knows.
    pub(crate) async fn holds_nothing(&self) -> bool {
        self.entry.lock().await.record.holds_nothing()
    }

    /// Whether the entry is another session's by now, or gone.
    pub(crate) fn is_over(&self) -> bool {
        self.standing.is_over()
    }

    /// Notes a part that has landed, where the store's word alone would not do.
    ///
    /// # Errors
    /// `Conflict` if somebody else has the upload; any that the journal gives.
    pub(crate) async fn landed(&self, part: &StoredPart) -> Result<(), FsError> {
        let number = part.number.number();
        if !is_guarded(&self.entry.lock().await.record, part.number) {
            return Ok(());
        }
        let kept = self.change(|record| {
            if let Some(guarded) = record.multipart.as_mut().and_then(|multipart| multipart.guarded.as_mut()) {
                guarded.parts.retain(|(earlier, _)| *earlier != number);
                guarded.parts.push((number, part.etag.clone()));
            }
        });
        if kept.await? { Ok(()) } else { Err(fenced()) }
    }

    /// Changes the entry and lets it live on; `false` if somebody else has it.
    ///
    /// # Errors
    /// Any that the journal gives.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut UploadRecord)) -> StoreResult<bool> {
        let Some(journal) = &self.uploads.journal else { return Ok(true) };
        let mut entry = self.entry.lock().await;
        if self.standing.is_lost() {
            return Ok(false);
        }
        let mut changed = entry.clone();
        change(&mut changed.record);
        changed.record.expires = self.uploads.expiry(changed.record.begun);
        let asked = Instant::now();
        let is_mine = journal.update(&self.uploads.tenant, entry.generation, &changed).await?;
        if is_mine {
            let stays = |tail: &Tail| changed.record.tail.as_ref().is_some_and(|now| now.key == tail.key);
            let obsolete = entry.record.tail.clone().filter(|tail| !stays(tail));
            *entry = changed;
            drop(entry);
            self.standing.asked(asked);
            self.remove(obsolete).await;
        } else {
            self.lose();
        }
        Ok(is_mine)
    }

    /// The file has this name by now, and is published where `condition` holds.
    ///
    /// # Errors
    /// Any that the journal gives.
    pub(crate) async fn rename(&self, to: &ObjectKey, condition: Condition) -> StoreResult<()> {
        let mut entry = self.entry.lock().await;
        if entry.key == *to {
            return Ok(());
        }
        let mut changed = entry.clone();
        changed.record.condition = condition;
        if let Some(moved) = self.uploads.move_entry(&changed, to).await? {
            self.uploads.owners.remove(entry.generation);
            self.uploads.owners.insert(moved.generation, &self.standing);
            *entry = moved;
        }
        Ok(())
    }

    /// Takes the entry out: the upload was published, or its parts are gone.
    pub(crate) async fn end(&self) {
        let Some(journal) = &self.uploads.journal else { return };
        if self.standing.is_lost() {
            return;
        }
        self.standing.end();
        let entry = self.entry.lock().await;
        match journal.remove(&self.uploads.tenant, &entry.key, entry.generation).await {
            Ok(true) => {}
            // It is another's, with all that is left of it.
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(key = %entry.key, error = %error.report(), "an upload's entry stays for now");
                self.uploads.owe(&entry.key, Obsolete::Seen(entry.generation));
            }
        }
        // Also where the entry stays: with neither parts nor tail in the store it shows nothing. Whoever may have taken
        // it over meanwhile finds what the tail held in the file, which was stored later than the upload was begun.
        self.remove(entry.record.tail.clone()).await;
    }

    /// Takes the entry out and gives up what the store has of the upload. Tells what could not be.
    pub(crate) async fn give_up(&self) -> Option<Obsolete> {
        if self.standing.is_lost() {
            return None;
        }
        self.standing.end();
        let entry = self.entry.lock().await.clone();
        self.uploads.drop_or_tell(&entry).await
    }

    async fn remove(&self, tail: Option<Tail>) {
        if let Some(tail) = tail {
            self.uploads.remove_tail(&tail).await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.uploads.owners.remove(self.entry.get_mut().generation);
    }
}

/// Whether an earlier owner may have a part of this number.
fn is_guarded(record: &UploadRecord, number: PartNumber) -> bool {
    let guarded = record.multipart.as_ref().and_then(|multipart| multipart.guarded.as_ref());
    guarded.is_some_and(|guarded| (guarded.after + 1..=guarded.until).contains(&number.number()))
}

/// What the owner before hears.
pub(crate) fn fenced() -> FsError {
    FsError::new(
        FsErrorKind::Conflict,
        "another session has opened this file for writing or removed it; this upload is at its end",
    )
}
