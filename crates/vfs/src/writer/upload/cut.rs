//! What outlives an upload's session: made durable by fsync, left behind when the session is cut, and
//! gone on with by another.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use tidegate_store::{BaseVersion, Body, ByteRange, GuardedParts, Multipart, Tail, UploadState};

use super::{Beginning, Upload};
use crate::error::{FsError, FsErrorKind};
use crate::journal::{Durable, Earlier, Interrupted, Keeper, Point, Uploads, earlier, fenced, left};
use crate::writer::transfer::Journalling;

impl Upload {
    /// Gives it an entry in the journal once it has a part, or is slow to have one. `earlier` is what was there before, on its way out.
    /// `base` is the version that it goes on behind.
    pub(crate) fn journalled(
        mut self,
        uploads: &Arc<Uploads>,
        earlier: Option<Earlier>,
        base: Option<BaseVersion>,
    ) -> Self {
        if uploads.are_kept() {
            let (uploads, hint) = (Arc::clone(uploads), self.hint);
            let (keeper, announced, rewritten) = (None, None, None);
            let journalling = Journalling { uploads, hint, base, earlier, keeper, announced, rewritten };
            self.transfer.keep_journal(journalling);
        }
        self
    }

    /// Its entry in the journal, if it has one.
    pub(crate) fn keeper(&self) -> BoxFuture<'static, Option<Arc<Keeper>>> {
        self.transfer.keeper()
    }

    /// The same if it is known at once.
    pub(crate) fn keeper_now(&self) -> Option<Arc<Keeper>> {
        self.transfer.keeper_now()
    }

    /// Resolves once nobody goes on with what the store has of it: it is written to somewhere else from now on.
    ///
    /// # Errors
    /// Any that the journal gives.
    pub(crate) async fn outdate(&mut self) -> Result<(), FsError> {
        while let Some(marking) = self.transfer.rewriting()? {
            marking.await;
        }
        Ok(())
    }

    /// Makes all bytes durable that were taken without a gap from the beginning on: they outlive the node,
    /// and whoever goes on with the upload finds them.
    ///
    /// # Errors
    /// The latched failure; `Unavailable` without a journal; any that store and journal give.
    pub(crate) async fn persist(&mut self) -> Result<(), FsError> {
        self.check()?;
        if self.keep(UploadState::Running).await? || self.end() == self.beginning.len {
            Ok(())
        } else {
            Err(FsError::new(FsErrorKind::Unavailable, "the server can't note this upload at the moment; try again"))
        }
    }

    /// Lets other nodes know of it if it takes long to fill its first part; resolves once they do, or can't. `None` if
    /// there is nothing to do.
    pub(crate) fn announce(&mut self) -> Option<BoxFuture<'static, ()>> {
        let has_bytes = self.failed.is_none() && self.end() > self.beginning.len;
        if has_bytes { self.transfer.announce(&self.attributes) } else { None }
    }

    /// Leaves what is there to another session, and gives up what is of no use to one.
    pub(crate) async fn cut(mut self: Box<Self>) {
        // What failed for a passing reason can be gone on with later; the parts before the failure are there.
        let is_worth_it = self.check().err().is_none_or(|error| error.kind() == FsErrorKind::Unavailable);
        match if is_worth_it { self.keep(UploadState::Cut).await } else { Ok(false) } {
            Ok(true) => {
                self.target.metrics.uploads_cut.inc();
                self.transfer.leave();
            }
            Err(error) if error.kind() == FsErrorKind::Unavailable && self.transfer.is_journalled() => {
                tracing::warn!(key = %self.target.key, error = %error, "the last bytes of an upload that was cut are lost");
                self.transfer.leave();
            }
            // Another session has it, with its parts.
            Err(error) if error.kind() == FsErrorKind::Conflict => self.transfer.leave(),
            Ok(false) | Err(_) => self.transfer.abort().await,
        }
    }

    /// Leaves what the store has already to another session, at once.
    pub(crate) fn drop_memory(self: Box<Self>) {
        if self.transfer.is_journalled() {
            self.transfer.leave();
        }
    }

    /// Gives it up for what takes its place, with what fsync has kept of it. `before` is what it took the place of.
    pub(crate) fn give_way(self: Box<Self>, before: Option<Earlier>) -> Earlier {
        let keeper = self.keeper();
        earlier(async move {
            self.abandon().await;
            let left = left(before).await;
            match keeper.await {
                Some(keeper) => keeper.give_up().await.or(left),
                None => left,
            }
        })
    }

    async fn keep(&mut self, state: UploadState) -> Result<bool, FsError> {
        self.send_first_again().await?;
        match (self.close_groups_early(), state) {
            // What of it is not in a part of the upload is lost.
            (Err(error), UploadState::Cut) => {
                tracing::warn!(key = %self.target.key, error = %error, "the last parts of an upload that was cut are lost");
            }
            (closed, _) => closed?,
        }
        self.transfer.all_landed().await.or_else(|error| match state {
            UploadState::Cut => Ok(()),
            UploadState::Running => Err(error),
        })?;
        // Without a part in the store, a version that is to be copied is as good as there.
        let reached = if self.transfer.is_begun() { self.transfer.reached() } else { self.beginning.len };
        // Of what it goes on behind, not everything may be copied yet.
        let bytes = match reached.checked_sub(self.beginning.len) {
            Some(position) => self.rest_from(position),
            None => Vec::new(),
        };
        let rest: Body = bytes.into_iter().collect();
        // Also where it fails, and nobody knows whether it was noted.
        self.noted = self.noted.max(reached + rest.len());
        self.transfer.note((reached, rest), &self.attributes, state).await
    }

    /// All that is here without a gap from a position on.
    fn rest_from(&mut self, position: u64) -> Vec<Bytes> {
        let mut bytes = self.assembly.run_from(position);
        let end = position + bytes.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        bytes.extend(self.spill.iter().filter(|(offset, _)| *offset == end).map(|(_, data)| data.clone()));
        bytes
    }

    /// Goes on with what another session has left.
    pub(crate) fn resume(&mut self, keeper: Arc<Keeper>, multipart: Option<&Multipart>, durable: Durable) {
        let parts = durable.parts.into_iter().take(usize::from(self.beginning.parts)).collect();
        self.transfer.resume(keeper, multipart, parts);
    }

    /// Takes the bytes of a tail as if the client had sent them, waiting where need be.
    ///
    /// # Errors
    /// As [`Upload::admit`]; any that the store gives.
    pub(crate) async fn feed(&mut self, tail: &Tail, range: Range<u64>) -> Result<(), FsError> {
        let (mut at, len) = (range.start, range.end - range.start);
        let asked = ByteRange::new(at.saturating_sub(tail.offset), len);
        let store = Arc::clone(&self.target.store);
        let mut body = store.get(&tail.key, Some(asked), None).await?.body;
        while let Some(chunk) = body.try_next().await? {
            let len = chunk.len() as u64;
            self.take(at, chunk).await?;
            at += len;
        }
        self.noted = at;
        if at < range.end {
            return Err(FsError::new(FsErrorKind::Unavailable, "the rest of the upload could not be read; try again"));
        }
        Ok(())
    }
}

/// Fixes in the journal where an upload is gone on with, before its first part is sent.
///
/// # Errors
/// `Conflict` if somebody else has it by now; any that the journal gives.
pub(crate) async fn settle(interrupted: &Interrupted, point: Point) -> Result<(), FsError> {
    let (parts, end, to) = match point {
        Point::Anew => return Ok(()),
        Point::Behind { parts, end, .. } => (parts, end, end),
        Point::InTail { parts, end, to } => (parts, end, to),
    };
    let guarded = GuardedParts { after: parts, until: interrupted.durable.guarded_until(), parts: Vec::new() };
    let settled = interrupted.keeper.change(|record| {
        record.state = UploadState::Running;
        if let Some(multipart) = &mut record.multipart {
            multipart.guarded = Some(guarded);
        }
        record.tail = record.tail.take().filter(|_| to > end).map(|tail| {
            // Its last byte is written once more, where the size that is shown says; until then it is durable.
            let len = if to + 1 == tail.offset + tail.len { tail.len } else { to - tail.offset };
            Tail { len, ..tail }
        });
    });
    if settled.await? { Ok(()) } else { Err(fenced()) }
}

impl Point {
    /// What an upload begins with that goes on there.
    pub(crate) fn beginning(self, interrupted: &Interrupted) -> Beginning {
        let (parts, end, overlap) = match self {
            Self::Anew => return Beginning::default(),
            Self::Behind { parts, end, overlap } => (parts, end, overlap),
            Self::InTail { parts, end, .. } => (parts, end, 0),
        };
        match &interrupted.record.base {
            Some(base) if interrupted.record.multipart.is_none() => Beginning::of_version(base.size),
            _ => Beginning::there(parts, end, overlap),
        }
    }
}
