//! A file that is changed in place: its bytes until they are published.
//!
//! What a client writes lies in memory for as long as it takes to bring it to the node's scratch space;
//! all else is that of the version that the file had, and is read from there when it is asked for. A READ
//! sees the file as it was when it arrived: writes to the scratch file wait for the reads before them.

mod content;
mod extents;
mod plan;
mod publish;
mod scratch;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tidegate_store::limits;
use tokio::sync::oneshot;

pub(crate) use self::content::Base;
use self::content::{Content, Hold};
use self::extents::Extents;
pub(crate) use self::plan::copies_of_beginning;
pub(crate) use self::publish::Publication;
pub(crate) use self::scratch::{Scratch, ScratchFile};
pub use self::view::View;
use crate::assembly::too_large;
use crate::error::{FsError, FsErrorKind};
use crate::reader::ReadData;
use crate::shares::Grant;
use crate::writer::{Admission, Memory};

/// What one file may have in memory on its way to scratch, if the node has so much.
const BUFFER: u64 = 1 << 20;

/// What a write takes beside its bytes, in memory.
const WRITE_COST: u64 = 128;

/// How many separate runs of written bytes one file may have: some 6 MiB of bookkeeping.
const RUNS_MAX: usize = 65_536;

/// What the disk allocates at once: a run counts for one of these more than it has bytes.
const BLOCK: u64 = 4 << 10;

/// What is kept of a file that is changed in place.
#[derive(Debug)]
pub(crate) struct Edit {
    content: Content,
    hole_max: u64,
    memory: Arc<Memory>,
    buffer_max: u64,
    buffer: Option<Grant>,
    /// What the writes that are in memory take.
    buffered: u64,
    /// Counts writes.
    turn: u64,
    /// The least size since the last publication began.
    cut: u64,
    /// Where the scratch file has to be cut before more is written to it.
    scratch_cut: Option<u64>,
    flushing: bool,
    /// A write was admitted and is to come: a flush or a publication that ends in between leaves it its
    /// memory.
    awaits_write: bool,
    /// Bytes in the scratch file that nothing refers to any more.
    garbage: u64,
    /// Lives as long as the reads that began since the last flush, which waits for their end.
    reads: Hold,
    reads_ended: oneshot::Receiver<()>,
    failed: Option<FsError>,
}

/// Bytes on their way to scratch.
pub(crate) struct Flush {
    scratch: Arc<ScratchFile>,
    cut: Option<u64>,
    writes: Vec<(u64, Bytes)>,
    turn: u64,
    reads_ended: oneshot::Receiver<()>,
}

impl Flush {
    /// Brings them there, behind the reads that began before.
    pub(crate) async fn run(self) -> Flushed {
        let Self { scratch, cut, writes, turn, reads_ended } = self;
        // Nobody sends: the other end is dropped with the last of them.
        let _ = reads_ended.await;
        let stored = tokio::task::spawn_blocking(move || scratch.store(cut, &writes)).await;
        Flushed { turn, result: stored.unwrap_or_else(|_| Err(interrupted())) }
    }
}

/// What became of them.
pub(crate) struct Flushed {
    turn: u64,
    result: Result<(), FsError>,
}

impl Edit {
    /// A file that shows the first `base_end` bytes of its base. `memory` is its own.
    pub(crate) fn new(
        base: Option<Arc<Base>>,
        base_end: u64,
        scratch: &Scratch,
        memory: Memory,
        hole_max: u64,
    ) -> Self {
        let content =
            Content { base, base_end, size: base_end, extents: Extents::default(), scratch: Arc::new(scratch.file()) };
        let buffer_max = BUFFER.min(memory.total() / 4);
        let (reads, reads_ended) = hold();
        Self {
            content,
            hole_max,
            memory: Arc::new(memory),
            buffer_max,
            buffer: None,
            buffered: 0,
            turn: 0,
            cut: base_end,
            scratch_cut: None,
            flushing: false,
            awaits_write: false,
            garbage: 0,
            reads,
            reads_ended,
            failed: None,
        }
    }

    /// The size of the file.
    pub(crate) fn size(&self) -> u64 {
        self.content.size
    }

    /// Whether all bytes are those of the base.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.content.is_unchanged()
    }

    /// Whether nothing was written, so that what comes may go straight to the store.
    pub(crate) fn is_untouched(&self) -> bool {
        self.content.extents.is_empty() && !self.flushing && self.failed.is_none()
    }

    /// Whether something is on its way to scratch.
    pub(crate) fn is_flushing(&self) -> bool {
        self.flushing
    }

    /// Takes bytes that are here, and brings them to scratch, waiting where need be. Nobody else may work on it.
    ///
    /// # Errors
    /// As [`Edit::admit`].
    pub(crate) async fn take(&mut self, offset: u64, data: Bytes) -> Result<(), FsError> {
        while let Admission::Wait(wait) = self.admit(offset, data.len() as u64, || ready(()).boxed())? {
            wait.await;
        }
        self.write(offset, data)?;
        while let Some(flush) = self.begin_flush() {
            let flushed = flush.run().await;
            self.end_flush(flushed);
        }
        self.check()
    }

    /// Fails with what ended it, again and again.
    pub(crate) fn check(&self) -> Result<(), FsError> {
        self.failed.clone().map_or(Ok(()), Err)?;
        self.memory.check()
    }

    /// Asks whether `len` bytes may be written at `offset` now. `changed` is awaited where the answer
    /// depends on a flush.
    ///
    /// # Errors
    /// The latched failure; `TooLarge`; `NoSpace`; `Unsupported` for holes and runs beyond the limits;
    /// `Unavailable` if memory could not be had in time.
    pub(crate) fn admit(
        &mut self,
        offset: u64,
        len: u64,
        changed: impl FnOnce() -> BoxFuture<'static, ()>,
    ) -> Result<Admission, FsError> {
        self.check()?;
        let admitted = self.try_admit(offset, len, changed);
        if let Err(error) = &admitted {
            self.failed = Some(error.clone());
        }
        admitted
    }

    fn try_admit(
        &mut self,
        offset: u64,
        len: u64,
        changed: impl FnOnce() -> BoxFuture<'static, ()>,
    ) -> Result<Admission, FsError> {
        if len == 0 {
            return Ok(Admission::Ready);
        }
        let end = offset.checked_add(len).filter(|end| *end <= limits::OBJECT_MAX).ok_or_else(too_large)?;
        if offset > self.content.size {
            self.check_holes(end, len)?;
        }
        if self.content.extents.len() >= RUNS_MAX {
            return Err(FsError::unsupported(
                "the file is changed at too many separate places at once; close it in between, or write it in order",
            ));
        }
        self.content.scratch.charge(self.needs().saturating_add(len + BLOCK))?;
        let cost = len + WRITE_COST;
        if self.buffered > 0 && self.buffered + cost > self.buffer_max {
            return Ok(Admission::Wait(changed()));
        }
        if self.buffer.is_none() {
            self.buffer = self.memory.draw(self.buffer_max.max(cost));
        }
        self.awaits_write = self.buffer.is_some();
        Ok(match &self.buffer {
            Some(_) => Admission::Ready,
            None => Admission::Wait(self.memory.need(self.buffer_max.max(cost))),
        })
    }

    /// Takes bytes, behind [`Admission::Ready`] for them.
    ///
    /// # Errors
    /// The latched failure; `Unavailable` for more than was admitted.
    pub(crate) fn write(&mut self, offset: u64, data: Bytes) -> Result<(), FsError> {
        self.awaits_write = false;
        self.check()?;
        if data.is_empty() {
            return Ok(());
        }
        if self.buffer.is_none() {
            return Err(interrupted());
        }
        self.turn += 1;
        self.buffered += data.len() as u64 + WRITE_COST;
        self.content.size = self.content.size.max(offset + data.len() as u64);
        self.content.extents.write(offset, data, self.turn);
        Ok(())
    }

    /// Cuts the file or makes it longer; what was never written reads as zeros.
    ///
    /// # Errors
    /// The latched failure; `TooLarge`; `Unsupported` for holes beyond the limit.
    pub(crate) fn set_size(&mut self, size: u64) -> Result<(), FsError> {
        self.check()?;
        if size > limits::OBJECT_MAX {
            return Err(too_large());
        }
        if size > self.content.size {
            self.check_holes(size, 0)?;
        } else {
            self.content.extents.remove(size..u64::MAX);
            self.content.base_end = self.content.base_end.min(size);
            self.cut = self.cut.min(size);
            self.scratch_cut = Some(self.scratch_cut.map_or(size, |cut| cut.min(size)));
        }
        self.content.size = size;
        Ok(())
    }

    /// The bytes of a range, as they are now. Reading begins with this call.
    pub(crate) fn read(&self, offset: u64, len: u64) -> BoxFuture<'static, Result<ReadData, FsError>> {
        let hold = Arc::clone(&self.reads);
        self.content.read(offset..offset.saturating_add(len), hold)
    }

    /// Takes over a scratch file with bytes of the file at these offsets and lengths.
    pub(crate) fn adopt(&mut self, scratch: Arc<ScratchFile>, spans: &[(u64, u64)]) {
        self.content.scratch = scratch;
        spans.iter().for_each(|(offset, len)| self.note_stored(*offset, *len));
    }

    /// Notes bytes that are in the scratch file.
    pub(crate) fn note_stored(&mut self, offset: u64, len: u64) {
        self.content.extents.note_scratch(offset..offset + len, self.turn);
        self.content.size = self.content.size.max(offset + len);
    }

    /// Writes bytes to scratch before anyone else knows of the file.
    ///
    /// # Errors
    /// `NoSpace`; `Unavailable` if the disk fails.
    pub(crate) async fn store_ahead(&self, writes: Vec<(u64, Bytes)>) -> Result<(), FsError> {
        let bytes: u64 = writes.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        self.content.scratch.charge(self.needs() + bytes + writes.len() as u64 * BLOCK)?;
        let scratch = Arc::clone(&self.content.scratch);
        let stored = tokio::task::spawn_blocking(move || scratch.store(None, &writes)).await;
        stored.unwrap_or_else(|_| Err(interrupted()))
    }

    /// What is to be brought to scratch, if that is not being done already.
    pub(crate) fn begin_flush(&mut self) -> Option<Flush> {
        if self.flushing {
            return None;
        }
        let writes = self.content.extents.in_memory();
        if writes.is_empty() {
            self.empty_buffer();
            return None;
        }
        self.flushing = true;
        let (reads, next) = hold();
        self.reads = reads;
        let reads_ended = std::mem::replace(&mut self.reads_ended, next);
        Some(Flush {
            scratch: Arc::clone(&self.content.scratch),
            cut: self.scratch_cut.take(),
            writes,
            turn: self.turn,
            reads_ended,
        })
    }

    /// Nothing waits in memory any more.
    fn empty_buffer(&mut self) {
        self.buffered = 0;
        if !self.awaits_write {
            self.buffer = None;
        }
    }

    /// Notes that it is there.
    pub(crate) fn end_flush(&mut self, flushed: Flushed) {
        self.flushing = false;
        match flushed.result {
            Ok(()) => self.content.extents.settle(flushed.turn),
            Err(error) => {
                // Nothing of it is kept: it could only be published in part.
                self.content.extents = Extents::default();
                self.failed.get_or_insert(error);
            }
        }
        let in_memory = self.content.extents.in_memory();
        self.buffered = in_memory.iter().map(|(_, bytes)| bytes.len() as u64 + WRITE_COST).sum();
        if self.scratch_cut.is_none() {
            self.content.scratch.release(self.needs());
        }
    }

    /// What is to be published: the file as it is now.
    pub(crate) fn begin_publication(&mut self) -> Publication {
        self.cut = self.content.size;
        let hold = Arc::clone(&self.reads);
        Publication::new(self.content.clone(), self.turn, hold)
    }

    /// Goes on from what was published.
    pub(crate) fn rebase(&mut self, publication: &Publication, base: Arc<Base>) {
        let before = self.needs();
        self.content.extents.forget(publication.turn());
        self.content.base_end = self.cut.min(base.size);
        self.content.base = Some(base);
        if self.content.extents.is_empty() && !self.flushing {
            self.content.scratch = Arc::new(self.content.scratch.another());
            (self.scratch_cut, self.garbage) = (None, 0);
            self.empty_buffer();
        } else {
            self.garbage += before - self.needs();
        }
    }

    /// The version that the changes began with is the same under another name.
    pub(crate) fn move_base(&mut self, base: Arc<Base>) {
        self.content.base = Some(base);
    }

    /// What the scratch file has to count for.
    fn needs(&self) -> u64 {
        self.content.extents.bytes() + self.content.extents.len() as u64 * BLOCK + self.garbage
    }

    /// Holes are sent as zeros, so a few bytes of input must not make hundreds of GiB of output.
    fn check_holes(&self, size: u64, coming: u64) -> Result<(), FsError> {
        let growth = size.saturating_sub(self.content.size).saturating_sub(coming);
        if growth.saturating_add(self.content.holes()) <= self.hole_max {
            return Ok(());
        }
        Err(FsError::unsupported(
            "the file would have larger holes than this server fills with zeros; write it from its start to its end",
        ))
    }
}

fn hold() -> (Hold, oneshot::Receiver<()>) {
    let (hold, ended) = oneshot::channel();
    (Arc::new(hold), ended)
}

fn interrupted() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "the change was interrupted inside the server; write the file again")
}
