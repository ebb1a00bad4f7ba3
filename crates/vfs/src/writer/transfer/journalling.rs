//! What a transfer has to do with the journal of uploads.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, ready};
use tidegate_store::{
    BaseVersion, Body, Condition, Multipart, ObjectAttributes, ObjectKey, PartNumber, StoredPart, Tail, Upload,
    UploadRecord, UploadState,
};

use super::landings::Landed;
use super::{Begun, Running, Target, Transfer, interrupted, upload_error};
use crate::error::{FsError, FsErrorKind};
use crate::journal::{Earlier, Keeper, NewUpload, Uploads, fenced, left};

/// How an upload gets its entry.
#[derive(Clone)]
pub(crate) struct Journalling {
    pub(crate) uploads: Arc<Uploads>,
    /// The final size as the client told it; 0 if it did not.
    pub(crate) hint: u64,
    /// What it goes on behind.
    pub(crate) base: Option<BaseVersion>,
    /// An earlier upload of the file that is being dropped.
    pub(crate) earlier: Option<Earlier>,
    /// The entry that it has before it has a part: as others left it, or as fsync made it.
    pub(crate) keeper: Option<Arc<Keeper>>,
    /// The same, made only to let others know of the upload; or why there is none.
    pub(crate) announced: Option<Announced>,
    /// Resolves once the entry says that what the store has was written to again.
    pub(crate) rewritten: Option<Shared<BoxFuture<'static, Result<(), FsError>>>>,
}

/// Resolves once an upload has an entry, or can't have one.
type Announced = Shared<BoxFuture<'static, Result<Arc<Keeper>, FsError>>>;

impl Journalling {
    fn new_upload(&self, (key, condition): (ObjectKey, Condition), attributes: ObjectAttributes) -> NewUpload {
        NewUpload { key, condition, attributes, hint: self.hint, base: self.base.clone() }
    }

    /// The entry that it has before it has a part.
    async fn early(&self) -> Option<Arc<Keeper>> {
        match (&self.keeper, &self.announced) {
            (Some(keeper), _) => Some(Arc::clone(keeper)),
            (None, Some(announced)) => announced.clone().await.ok(),
            (None, None) => None,
        }
    }

    /// The same if it is known at once.
    fn early_now(&self) -> Option<Arc<Keeper>> {
        let announced = || self.announced.as_ref()?.peek()?.as_ref().ok().cloned();
        self.keeper.clone().or_else(announced)
    }

    /// Enters a multipart upload that was just begun.
    pub(super) async fn enter(
        self,
        target: &Target,
        destination: (ObjectKey, Condition),
        upload: &Upload,
        attributes: ObjectAttributes,
    ) -> Result<Option<Arc<Keeper>>, FsError> {
        left(self.earlier.clone()).await;
        let Some(keeper) = self.early().await else {
            return Ok(self.uploads.enter(self.new_upload(destination, attributes), upload).await);
        };
        let holds_nothing = keeper.holds_nothing().await;
        let multipart = Multipart { upload: upload.clone(), attributes, guarded: None };
        let entered = keeper.change(|record| record.multipart = Some(multipart)).await;
        match entered {
            Ok(true) => Ok(Some(keeper)),
            Err(error) if holds_nothing => {
                // As one that was never announced: it goes on without an entry.
                self.uploads.not_journalled(&error);
                keeper.give_up().await;
                Ok(None)
            }
            refused => {
                // Nobody knows of it: what the entry has can still be gone on with.
                let _ = target.store.abort_upload(upload).await;
                refused?;
                Err(fenced())
            }
        }
    }
}

/// Makes sure that an upload still is this session's before a part is sent. Where the journal does not answer,
/// that there is no part of this number which it would take the place of.
pub(super) async fn confirm_part(keeper: &Keeper, upload: &Upload, number: PartNumber) -> Result<(), FsError> {
    if keeper.confirm().await? || keeper.is_free(upload, number).await.map_err(upload_error)? {
        return Ok(());
    }
    Err(undecided())
}

/// The same before it is published. Where the journal does not answer, that the store has no parts but those
/// that `landed`: somebody at a node that reaches the journal may have taken the upload over.
pub(super) async fn confirm_whole(keeper: &Keeper, upload: &Upload, landed: &[Landed]) -> Result<(), FsError> {
    if keeper.confirm().await? || keeper.is_alone(upload, landed).await.map_err(upload_error)? {
        return Ok(());
    }
    Err(undecided())
}

fn undecided() -> FsError {
    FsError::new(
        FsErrorKind::Conflict,
        "another session seems to have opened this file for writing, and the server can't find out; nothing was stored",
    )
}

/// How long an upload is open without a part before others are told of it.
const ANNOUNCED_AFTER: Duration = Duration::from_secs(1);

impl Transfer {
    /// Gives an upload that has been open for a while and has no part yet its entry, so that other nodes know of it.
    /// Resolves once that is done, or can't be; `None` if there is nothing to do.
    pub(in crate::writer) fn announce(&mut self, attributes: &ObjectAttributes) -> Option<BoxFuture<'static, ()>> {
        if self.begun.is_some() || self.landings.opened.elapsed() < ANNOUNCED_AFTER {
            return None;
        }
        let journalling = self.journalling.as_mut()?;
        // Where the journal did not answer it is tried again. Where it has another upload, that stays.
        let is_tried = journalling.announced.as_ref().is_some_and(|announced| {
            announced
                .peek()
                .is_none_or(|tried| !tried.as_ref().is_err_and(|error| error.kind() != FsErrorKind::Conflict))
        });
        // What goes on behind a version would be shown as that.
        if is_tried || journalling.keeper.is_some() || journalling.base.is_some() {
            return None;
        }
        let new = journalling.new_upload(self.target.destination.now(), attributes.clone());
        let (uploads, earlier) = (Arc::clone(&journalling.uploads), journalling.earlier.clone());
        let announcing = tokio::spawn(async move { uploads.announce(new, left(earlier).await).await });
        let announced = announcing.map(|announced| announced.unwrap_or_else(|_| Err(interrupted()))).boxed().shared();
        journalling.announced = Some(announced.clone());
        Some(announced.map(|_| ()).boxed())
    }

    /// What takes the entry of an upload that has nothing durable out of the journal: nobody could go on with it.
    pub(super) fn take_announced(&mut self) -> Option<BoxFuture<'static, ()>> {
        let journalling = self.journalling.take().filter(|journalling| journalling.announced.is_some())?;
        if journalling.early_now().is_some_and(|keeper| keeper.is_over()) {
            return None;
        }
        let giving_up = async move {
            if let Some(keeper) = journalling.early().await
                && keeper.holds_nothing().await
            {
                keeper.give_up().await;
            }
        };
        Some(giving_up.boxed())
    }

    /// Goes on with an upload that another session has begun.
    pub(in crate::writer) fn resume(
        &mut self,
        keeper: Arc<Keeper>,
        multipart: Option<&Multipart>,
        parts: Vec<StoredPart>,
    ) {
        let Some(multipart) = multipart else {
            if let Some(journalling) = &mut self.journalling {
                journalling.keeper = Some(keeper);
            }
            return;
        };
        let running = Running { upload: multipart.upload.clone(), keeper: Some(keeper) };
        let upload = ready(Ok(running)).boxed().shared();
        // So that it can be looked at at once.
        let _ = upload.clone().now_or_never();
        self.begun = Some(Begun { upload, attributes: multipart.attributes.clone() });
        self.landings.state().landed.extend(parts.into_iter().map(|part| {
            let checksum = part.checksum;
            (part, checksum)
        }));
    }

    /// How much of the file the store has as parts without a gap from the beginning on, in bytes.
    pub(in crate::writer) fn reached(&self) -> u64 {
        let landed = self.landed();
        let without_gap = landed.iter().zip(1_u16..).take_while(|((part, _), number)| part.number.number() == *number);
        without_gap.map(|((part, _), _)| part.size).sum()
    }

    /// Says in the entry that what the store has, as a part or a tail, is written to again, before that is accepted: it
    /// is old from then on. Gives what to wait for.
    ///
    /// # Errors
    /// Where the entry could not be made to say so: `Conflict` if somebody else has the upload; any that the
    /// journal gives. Accepted all the same, the write would be missing from what others go on with.
    pub(in crate::writer) fn rewriting(&mut self) -> Result<Option<BoxFuture<'static, ()>>, FsError> {
        let keeper = self.keeper();
        let Some(journalling) = &mut self.journalling else { return Ok(None) };
        let marking = journalling.rewritten.get_or_insert_with(|| {
            let marking = tokio::spawn(async move {
                // Without an entry nobody goes on with it.
                let Some(keeper) = keeper.await else { return Ok(()) };
                if keeper.change(|record| record.is_rewritten = true).await? { Ok(()) } else { Err(fenced()) }
            });
            marking.map(|marked| marked.unwrap_or_else(|_| Err(interrupted()))).boxed().shared()
        });
        match marking.peek() {
            Some(marked) => marked.clone().map(|()| None),
            None => Ok(Some(marking.clone().map(|_| ()).boxed())),
        }
    }

    /// Stores the bytes that lie behind the parts from `offset` on, and writes down what is durable. Tells
    /// whether anybody can go on with it.
    ///
    /// # Errors
    /// `Conflict` if another session has the upload; any that store and journal give.
    pub(in crate::writer) async fn note(
        &mut self,
        (offset, rest): (u64, Body),
        attributes: &ObjectAttributes,
        state: UploadState,
    ) -> Result<bool, FsError> {
        let Some(uploads) = self.journalling.as_ref().map(|journalling| Arc::clone(&journalling.uploads)) else {
            return Ok(false);
        };
        let tail = if rest.is_empty() { None } else { Some(uploads.put_tail(offset, rest).await?) };
        let noted = self.note_tail(tail.clone(), attributes, state).await;
        let is_in_use = match &noted {
            Ok(is_known) => *is_known,
            // Whether it is in the journal is not known.
            Err(error) => error.kind() != FsErrorKind::Conflict,
        };
        if let Some(tail) = tail.filter(|_| !is_in_use) {
            uploads.remove_tail(&tail).await;
        }
        noted
    }

    async fn note_tail(
        &mut self,
        tail: Option<Tail>,
        attributes: &ObjectAttributes,
        state: UploadState,
    ) -> Result<bool, FsError> {
        let Some(journalling) = &mut self.journalling else { return Ok(false) };
        let keeper = match &self.begun {
            // None if it was begun while the journal did not answer.
            Some(begun) => match begun.upload.clone().await?.keeper {
                Some(keeper) => Some(keeper),
                None => return Ok(false),
            },
            None => journalling.early().await,
        };
        let (key, condition) = self.target.destination.now();
        let is_nothing = self.begun.is_none() && journalling.base.is_none() && tail.is_none();
        let keeper = match (keeper, tail) {
            (Some(keeper), None) if is_nothing && state == UploadState::Cut => {
                keeper.give_up().await;
                return Ok(false);
            }
            (Some(keeper), tail) => {
                let change = |record: &mut UploadRecord| {
                    record.state = state;
                    record.attributes = attributes.clone();
                    record.condition = condition;
                    record.tail = tail;
                    record.is_rewritten = false;
                };
                if !keeper.change(change).await? {
                    return Err(fenced());
                }
                keeper
            }
            (None, Some(tail)) => {
                let left = left(journalling.earlier.clone()).await;
                let new = journalling.new_upload((key, condition), attributes.clone());
                journalling.uploads.enter_without_parts(new, Some(tail), state, left).await?
            }
            (None, None) => return Ok(false),
        };
        // A RENAME may have come behind the look at its name, or found no answer of the journal.
        let (key, condition) = self.target.destination.now();
        keeper.rename(&key, condition).await?;
        journalling.rewritten = None;
        journalling.keeper = Some(keeper);
        Ok(true)
    }

    /// Stops, and leaves what the store has to whoever goes on with it.
    pub(in crate::writer) fn leave(mut self) {
        self.begun = None;
        self.journalling = None;
    }

    /// The upload's entry, once it has begun.
    pub(in crate::writer) fn keeper(&self) -> BoxFuture<'static, Option<Arc<Keeper>>> {
        match &self.begun {
            Some(begun) => begun.upload.clone().map(|running| running.ok()?.keeper).boxed(),
            None => match self.journalling.clone() {
                Some(journalling) => async move { journalling.early().await }.boxed(),
                None => ready(None).boxed(),
            },
        }
    }

    /// The same if it is known at once.
    pub(in crate::writer) fn keeper_now(&self) -> Option<Arc<Keeper>> {
        match &self.begun {
            Some(begun) => begun.upload.peek()?.as_ref().ok()?.keeper.clone(),
            None => self.journalling.as_ref()?.early_now(),
        }
    }

    /// Before a request takes effect: as [`Keeper::stands`].
    ///
    /// # Errors
    /// `Conflict` if another session has the upload.
    pub(in crate::writer) fn stands(&self) -> Result<Option<BoxFuture<'static, ()>>, FsError> {
        self.keeper_now().map_or(Ok(None), |keeper| keeper.stands())
    }

    /// The entry that it has before it has a part.
    pub(super) async fn early(&self) -> Option<Arc<Keeper>> {
        self.journalling.as_ref()?.early().await
    }

    /// Whether the upload has an entry, so that what the store has of it is of use.
    pub(in crate::writer) fn is_journalled(&self) -> bool {
        let begun = self.begun.as_ref().and_then(|begun| begun.upload.peek());
        begun.is_some_and(|running| running.as_ref().is_ok_and(|running| running.keeper.is_some()))
    }

    pub(super) async fn earlier_dropped(&self) {
        left(self.journalling.as_ref().and_then(|journalling| journalling.earlier.clone())).await;
    }

    /// The file was published: its entry is of no use any more.
    pub(super) async fn left_the_journal(&self, keeper: Option<Arc<Keeper>>) {
        let keeper = match keeper {
            Some(keeper) => Some(keeper),
            None => self.early().await,
        };
        if let Some(keeper) = keeper {
            keeper.end().await;
        }
    }
}
