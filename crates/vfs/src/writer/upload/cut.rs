//! What outlives an upload's session: made durable by fsync, left behind when the session is cut, and
//! gone on with by another.

use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt;
use tidegate_store::{Body, ByteRange, GuardedParts, Multipart, Tail, UploadState};

use super::{Beginning, Upload};
use crate::error::{FsError, FsErrorKind};
use crate::journal::{Durable, Interrupted, Keeper, Point, fenced};
use crate::writer::Admission;

impl Upload {
    /// Makes all bytes durable that were taken without a gap from the beginning on: they outlive the node,
    /// and whoever goes on with the upload finds them.
    ///
    /// # Errors
    /// The latched failure; `Unsupported` without a journal; any that store and journal give.
    pub(crate) async fn persist(&mut self) -> Result<(), FsError> {
        self.check()?;
        if self.keep(UploadState::Running).await? || self.end() == self.beginning.len {
            Ok(())
        } else {
            Err(FsError::new(FsErrorKind::Unavailable, "the server can't note this upload at the moment; try again"))
        }
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

    async fn keep(&mut self, state: UploadState) -> Result<bool, FsError> {
        let landed = self.transfer.all_landed().await;
        if state == UploadState::Running {
            landed?;
        }
        self.send_first_again().await?;
        self.transfer.all_landed().await.or_else(|error| match state {
            UploadState::Cut => Ok(()),
            UploadState::Running => Err(error),
        })?;
        // Without a part in the store, a version that is to be copied is as good as there.
        let reached = if self.transfer.is_begun() { self.transfer.reached() } else { self.beginning.len };
        let Some(position) = reached.checked_sub(self.beginning.len) else {
            return self.transfer.note(None, &self.attributes, state).await;
        };
        let mut bytes = self.assembly.run_from(position);
        let end = position + bytes.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        bytes.extend(self.spill.iter().filter(|(offset, _)| *offset == end).map(|(_, data)| data.clone()));
        let body: Body = bytes.into_iter().collect();
        if body.is_empty() {
            return self.transfer.note(None, &self.attributes, state).await;
        }
        let tail = self.target.uploads.put_tail(reached, body).await?;
        let noted = self.transfer.note(Some(tail.clone()), &self.attributes, state).await;
        let is_known = match &noted {
            Ok(is_known) => *is_known,
            // Whether it is in the journal is not known.
            Err(error) => error.kind() != FsErrorKind::Conflict,
        };
        if !is_known {
            self.target.uploads.remove_tail(&tail).await;
        }
        noted
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
            let len = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            while let Admission::Wait(wait) = self.admit(at, len)? {
                wait.await;
            }
            self.write(at, chunk)?;
            at += u64::from(len);
        }
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
            let len = to - tail.offset;
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
