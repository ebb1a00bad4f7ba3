//! What another session has left of an upload, or still has: how it is shown, and taken over.

use std::sync::Arc;

use tidegate_store::{Generation, JournalEntry, ObjectMeta, StoreErrorKind, StoreResult, UploadRecord};

use super::durable::{Durable, is_live};
use super::keeper::Keeper;
use super::{ATTEMPTS, Uploads, contended};
use crate::error::FsError;

/// An upload that somebody has taken over and may go on with.
#[derive(Debug)]
pub(crate) struct Interrupted {
    pub(crate) durable: Durable,
    pub(crate) record: UploadRecord,
    pub(crate) keeper: Arc<Keeper>,
}

/// What there was of an upload that another session had.
#[derive(Debug)]
pub(crate) enum TakenOver {
    /// It was begun, and nothing of it is durable: a file without a byte, which is begun anew.
    Empty,
    Interrupted(Box<Interrupted>),
    Nothing,
}

impl Uploads {
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

    /// What STAT shows of an upload where the file is as `found` says, and what its entry says; `None` if there is none.
    /// 0 where nothing of it is durable: what is published counts then, if anything is.
    ///
    /// # Errors
    /// Any that the store and the journal give.
    pub(crate) async fn shown(
        &self,
        mut entry: JournalEntry,
        found: Option<&ObjectMeta>,
    ) -> StoreResult<Option<(UploadRecord, u64)>> {
        for _ in 0..ATTEMPTS {
            if !is_live(&entry.record, found) {
                return Ok(None);
            }
            let Some(durable) = self.durable(&entry.record).await? else { return Ok(None) };
            if durable.has_its_tail() {
                return Ok(Some((entry.record, durable.shown())));
            }
            // An fsync may have stored a longer one in its place since the entry was read.
            match self.read(&entry.key).await? {
                Some(now) if now.record.tail != entry.record.tail => entry = now,
                _ => return Ok((!durable.is_gone()).then(|| (entry.record, durable.shown()))),
            }
        }
        Ok(None)
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
    ) -> Result<TakenOver, FsError> {
        if !is_live(&entry.record, found) {
            self.drop_entry(&entry).await;
            return Ok(TakenOver::Nothing);
        }
        let mine = self.seize(&entry).await?.ok_or_else(contended)?;
        // Only now: what its owner sent and wrote before is there, and nothing is begun behind it.
        let durable = if is_live(&mine.record, found) { self.durable(&mine.record).await? } else { None };
        match durable {
            Some(durable) if durable.is_something() => {
                let record = mine.record.clone();
                let keeper = Arc::new(Keeper::new(Arc::clone(self), mine));
                Ok(TakenOver::Interrupted(Box::new(Interrupted { durable, record, keeper })))
            }
            durable => {
                self.drop_entry(&mine).await;
                Ok(if durable.is_some_and(|durable| !durable.is_gone()) {
                    TakenOver::Empty
                } else {
                    TakenOver::Nothing
                })
            }
        }
    }

    /// Takes the entry of an upload from whoever has it, and gives it with all that was written to it until then;
    /// `None` if somebody else has it by now.
    pub(super) async fn seize(&self, entry: &JournalEntry) -> StoreResult<Option<JournalEntry>> {
        let Some(journal) = &self.journal else { return Ok(None) };
        let seized = journal.take_over(&self.tenant, &entry.key, entry.generation, Generation::fresh()).await?;
        if seized.is_some() {
            self.lose(entry.generation);
        }
        Ok(seized)
    }

    /// Lets the session know that had an upload, if it is one of this node.
    pub(super) fn lose(&self, generation: Generation) {
        if self.owners.lose(generation) {
            self.metrics.uploads_fenced.inc();
        }
    }
}

/// `None` for what the store does not have.
fn if_there<T>(found: StoreResult<T>) -> StoreResult<Option<T>> {
    match found {
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
