//! One upload: gathers parts, sends them as they fill, publishes at CLOSE. It may go on behind a version
//! of the file that the store copies.

mod beginning;
mod cut;
mod groups;
mod publish;
mod room;

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_store::{ETag, ObjectAttributes, limits};
use tokio::time::Instant;

pub(crate) use self::beginning::Beginning;
pub(crate) use self::cut::settle;
use self::groups::{Groups, direct_parts};
use self::room::{Charge, Secured};
use super::Admission;
use super::kept::{Kept, OnScratch};
use super::memory::Memory;
use super::transfer::{Target, Transfer};
use crate::assembly::{Assembly, Schedule, too_large};
use crate::budget::UNIT;
use crate::config::Config;
use crate::edit::Scratch;
use crate::error::{FsError, FsErrorKind};
use crate::shares::{Grant, WriterShare};
use crate::zeros::Grouping;

/// One file takes at most this part of the memory for uploads on its client's word alone.
const POOL_SHARE: u64 = 8;

/// To which part of the memory for uploads the parts of a file grow at most, whatever the setting.
const GROWN_SHARE: u64 = 4;

/// What a [`super::Writer`] has as long as it may go on.
///
/// From its first byte on it holds the memory of one part (less if the file's size is known to be
/// less); and, beyond the budget, at most the end of one write that crossed into a part whose
/// memory was not there yet. Without a byte it holds nothing.
#[derive(Debug)]
pub(crate) struct Upload {
    assembly: Assembly,
    /// The memory of the parts being gathered.
    charges: Vec<Charge>,
    /// The memory of the transfer's buffers outside of this crate, from the first byte on.
    buffers: Option<Grant>,
    overhead: u64,
    /// The end of the last write, for which there was no memory yet: its offset and bytes.
    spill: Option<(u64, Bytes)>,
    memory: Arc<Memory>,
    transfer: Transfer,
    groups: Groups,
    grouping: Grouping,
    failed: Option<FsError>,
    /// What the reserve is brought back to between parts, in bytes: what the latest part has.
    reserve: u64,
    hint: u64,
    /// What the file begins with.
    beginning: Beginning,
    /// Where the last tail ends that the journal has, or may have, of the file.
    noted: u64,
    /// What was sent and is here all the same; `None` once the scratch space had no room for it.
    kept: Option<Kept>,
    attributes: ObjectAttributes,
    /// When a part was sent last.
    launched: Option<Instant>,
    /// When the client last sent something to speak of, and what it has sent since.
    progress: Instant,
    fresh: u64,
    target: Target,
}

impl Upload {
    /// Opens a file that begins with `beginning` and has nothing behind it yet. It takes no memory before
    /// its first byte comes. `hint` is its final size, 0 if that is not known; `keeps_all` says whether what
    /// is sent is kept on scratch.
    ///
    /// # Errors
    /// `TooLarge` if a file of `hint` bytes can't be stored, or not even a part has room in memory.
    pub(crate) fn open(
        target: Target,
        attributes: ObjectAttributes,
        hint: u64,
        beginning: Beginning,
        (scratch, keeps_all): (&Scratch, bool),
        share: WriterShare,
        config: &Config,
    ) -> Result<Self, FsError> {
        if hint > limits::OBJECT_MAX {
            return Err(too_large());
        }
        let hint = hint.saturating_sub(beginning.len);
        // A hint costs its sender nothing: the parts that it asks for must leave room for others.
        let part_max = (share.total() / POOL_SHARE).max(config.part_size.as_u64());
        let size_max = config.part_size_max.as_u64().min(share.total() / GROWN_SHARE);
        let part_max = part_max.min(share.total().saturating_sub(config.transfer_overhead.as_u64()));
        let grouping = Grouping::of(config);
        let direct = direct_parts(beginning.parts, beginning.len, grouping.group);
        let numbers = limits::PARTS_MAX.saturating_sub(beginning.parts);
        let schedule = |hint| {
            let schedule = Schedule::new(config.part_size.as_u64(), size_max, hint)?;
            let grouped = grouping.part.min(size_max.max(config.part_size.as_u64()));
            let schedule = schedule.with_groups(direct, grouped);
            (schedule.first().len <= part_max && schedule.direct() <= u32::from(numbers)).then_some((schedule, grouped))
        };
        // Where parts as large as a hint asks for have no room, it is as good as none.
        let (schedule, grouped) = schedule(hint).or_else(|| schedule(0)).ok_or_else(too_large_for_this_node)?;
        let per_group = u32::try_from(grouping.group.div_ceil(grouped)).unwrap_or(u32::MAX);
        let groups = Groups::new(schedule.direct(), beginning.parts, per_group);
        let memory = Memory::new(share, config.budget_wait, target.metrics.budget_refusals.clone());
        Ok(Self {
            assembly: Assembly::new(schedule, config.hole_max.as_u64()),
            charges: Vec::new(),
            buffers: None,
            overhead: config.transfer_overhead.as_u64(),
            spill: None,
            memory: Arc::new(memory),
            transfer: Transfer::new(target.clone(), config.upload_concurrency),
            groups,
            grouping,
            failed: None,
            reserve: 0,
            hint,
            kept: (keeps_all || beginning.len == 0).then(|| Kept::new(scratch, keeps_all)),
            beginning,
            noted: 0,
            attributes,
            launched: None,
            progress: Instant::now(),
            fresh: 0,
            target,
        })
    }

    /// Asks whether `len` bytes may be written at `offset` now.
    ///
    /// # Errors
    /// The latched failure; `TooLarge`; `Unsupported` where bytes were sent to the store already;
    /// `Unavailable` if memory could not be had in time.
    pub(crate) fn admit(&mut self, offset: u64, len: u32) -> Result<Admission, FsError> {
        let admission = self.try_admit(offset, u64::from(len));
        self.latched(admission)
    }

    /// Takes bytes, behind [`Admission::Ready`] for them.
    ///
    /// # Errors
    /// As [`Upload::admit`].
    pub(crate) fn write(&mut self, offset: u64, data: Bytes) -> Result<(), FsError> {
        self.fresh += data.len() as u64;
        if self.fresh >= UNIT {
            (self.fresh, self.progress) = (0, Instant::now());
        }
        let written = self.try_write(offset, data);
        self.latched(written)
    }

    /// Takes bytes that are here, waiting where need be.
    ///
    /// # Errors
    /// As [`Upload::admit`].
    pub(crate) async fn take(&mut self, offset: u64, data: Bytes) -> Result<(), FsError> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        while let Admission::Wait(wait) = self.admit(offset, len)? {
            wait.await;
        }
        self.write(offset, data)
    }

    /// Makes the file longer; what is not written reads as zeros.
    ///
    /// # Errors
    /// `TooLarge`; `Unsupported` for holes beyond the limit.
    pub(crate) fn extend_to(&mut self, size: u64) -> Result<(), FsError> {
        if size > limits::OBJECT_MAX {
            return Err(too_large());
        }
        self.assembly.extend_to(size.saturating_sub(self.beginning.len))
    }

    /// Makes the file shorter; `false` if what is cut off may be in the store.
    pub(crate) fn cut_to(&mut self, size: u64) -> bool {
        let Some(position) = size.checked_sub(self.beginning.len) else { return false };
        if size < self.noted || self.beginning.overlap > 0 || self.check().is_err() {
            return false;
        }
        let Some(first) = self.assembly.cut_to(position) else { return false };
        while let Some(index) = self.charges.iter().position(|charge| charge.index >= first) {
            self.memory.give_back(self.charges.swap_remove(index).grant);
        }
        self.spill = self.spill.take().filter(|(offset, _)| *offset < position).map(|(offset, mut data)| {
            data.truncate((position - offset) as usize);
            (offset, data)
        });
        true
    }

    /// Sets the attributes to publish.
    pub(crate) fn set_attributes(&mut self, attributes: ObjectAttributes) {
        self.attributes = attributes;
    }

    /// Whether all of it is here, so that it may be taken somewhere else.
    pub(crate) fn is_all_here(&self) -> bool {
        self.failed.is_none() && (!self.transfer.is_begun() || self.kept.as_ref().is_some_and(Kept::keeps_all))
    }

    /// Keeps on scratch what is sent from now on, if nothing was sent yet.
    pub(crate) fn keep_all(&mut self) {
        if let Some(kept) = self.kept.as_mut().filter(|_| !self.transfer.is_begun()) {
            kept.keep_all();
        }
    }

    /// Whether bytes can be written to a range: not before what it begins with, nor into parts that
    /// were sent.
    pub(crate) fn takes(&self, offset: u64, len: u64) -> bool {
        if len == 0 {
            return true;
        }
        let overlap = self.overlap(offset);
        let Some(position) = (offset + overlap).checked_sub(self.beginning.len) else { return false };
        let len = len.saturating_sub(overlap);
        !self.assembly.was_sent(position, len) || self.patches(offset, len)
    }

    /// How many bytes from `offset` on the store has already and the client sends once more.
    fn overlap(&self, offset: u64) -> u64 {
        self.beginning.len.saturating_sub(offset).min(self.beginning.overlap)
    }

    /// Whether a range lies in the first part, which was sent and will be once more.
    fn patches(&self, offset: u64, len: u64) -> bool {
        let is_kept = self.kept.as_ref().is_some_and(|kept| kept.takes(offset, len));
        is_kept && self.assembly.was_sent(offset, len)
    }

    /// What is on scratch of the file, once no part is on its way any more.
    ///
    /// # Errors
    /// The first of any part; `Unavailable` if the scratch space has failed.
    pub(crate) async fn take_kept(&mut self) -> Result<Option<OnScratch>, FsError> {
        self.transfer.all_landed().await?;
        let kept = self.kept.as_mut().filter(|_| self.transfer.is_begun());
        kept.map(Kept::take).transpose()
    }

    /// What is in memory of the file, with the offsets of the bytes in it. The upload goes on holding the
    /// memory for as long as it lives.
    pub(crate) fn take_bytes(&mut self) -> Vec<(u64, Bytes)> {
        let mut bytes = self.assembly.take_bytes();
        bytes.extend(self.spill.take());
        bytes.into_iter().map(|(offset, bytes)| (offset + self.beginning.len, bytes)).collect()
    }

    /// How much of the file stands before what it takes, in bytes.
    pub(crate) fn begins_with(&self) -> u64 {
        self.beginning.len
    }

    /// Ends it: all that follows fails with this.
    pub(crate) fn fail(&mut self, error: &FsError) {
        self.failed.get_or_insert_with(|| error.clone());
    }

    /// Publishes: resolves once the file is stored whole and visible, with the new version's tag and
    /// size. After an error the old file is untouched; only where the store's answer to the very last
    /// request was lost can the new one be there, whole, all the same.
    pub(crate) async fn finish(mut self: Box<Self>) -> Result<(ETag, u64), FsError> {
        let published = self.publish().await;
        if published.is_err() {
            self.transfer.abort().await;
        }
        published
    }

    /// Gives the file up: nothing is published. Resolves once the store has dropped its parts, or
    /// after a minute.
    pub(crate) fn abandon(self) -> BoxFuture<'static, ()> {
        self.transfer.abort().boxed()
    }

    /// Since when the client has sent nothing to speak of while all memory waits for it.
    pub(crate) fn still_since(&self) -> Option<Instant> {
        (self.transfer.in_flight() == 0).then_some(self.progress)
    }

    /// The size of the file so far.
    pub(crate) fn end(&self) -> u64 {
        let spilled = self.spill.as_ref().map_or(0, |(offset, data)| offset + data.len() as u64);
        let taken = self.assembly.end().max(spilled);
        let overlap = if taken == 0 { self.beginning.overlap } else { 0 };
        self.beginning.len + taken - overlap
    }

    /// An offset in the file as one in what is taken.
    fn position(&self, offset: u64) -> u64 {
        offset.saturating_sub(self.beginning.len)
    }

    fn latched<T>(&mut self, result: Result<T, FsError>) -> Result<T, FsError> {
        if let Err(error) = &result {
            self.failed.get_or_insert_with(|| error.clone());
        }
        result
    }

    /// Fails with what ended it, again and again.
    pub(crate) fn check(&self) -> Result<(), FsError> {
        self.failed.clone().map_or(Ok(()), Err)?;
        self.transfer.check()?;
        self.memory.check()
    }

    fn try_admit(&mut self, offset: u64, len: u64) -> Result<Admission, FsError> {
        self.check()?;
        if let Some(wait) = self.transfer.stands()? {
            return Ok(Admission::Wait(wait));
        }
        if let Some(wait) = self.place_spill()? {
            return Ok(Admission::Wait(wait));
        }
        let is_patch = self.patches(offset, len);
        // Whoever goes on with the upload takes what it was before.
        if (is_patch || len > 0 && offset < self.noted)
            && let Some(marking) = self.transfer.rewriting()?
        {
            return Ok(Admission::Wait(marking));
        }
        if is_patch {
            return Ok(Admission::Ready);
        }
        let overlap = self.overlap(offset);
        let (offset, len) = (offset + overlap, len.saturating_sub(overlap));
        if offset.checked_add(len).is_none_or(|end| end > limits::OBJECT_MAX) {
            return Err(too_large());
        }
        let Some(piece) = self.assembly.piece(self.position(offset), len)? else { return Ok(Admission::Ready) };
        Ok(match self.secure(&piece)? {
            Secured::Later(wait) => Admission::Wait(wait),
            Secured::Smaller | Secured::Yes => Admission::Ready,
        })
    }

    fn try_write(&mut self, offset: u64, data: Bytes) -> Result<(), FsError> {
        self.check()?;
        if self.place_spill()?.is_some() {
            // The caller did not wait for `Ready`; taking more would be without limit.
            return Err(FsError::new(FsErrorKind::Unavailable, "the server is busy with this file; upload it again"));
        }
        if let Some(kept) = self.patches(offset, data.len() as u64).then_some(self.kept.as_mut()).flatten() {
            kept.patch(offset, data);
            return Ok(());
        }
        let overlap = self.overlap(offset);
        if overlap == 0 {
            return self.place(self.position(offset), data).map(|_| ());
        }
        self.beginning.overlap = 0;
        let rest = data.slice((overlap as usize).min(data.len())..);
        self.place(self.position(offset + overlap), rest).map(|_| ())
    }

    /// Takes what was spilled, or tells what to wait for.
    fn place_spill(&mut self) -> Result<Option<BoxFuture<'static, ()>>, FsError> {
        match self.spill.take() {
            Some((offset, data)) => self.place(offset, data),
            None => Ok(None),
        }
    }

    /// Lays bytes into their parts as far as there is memory, spills the rest, and sends the parts
    /// that are ready. Gives what to wait for if it had to spill.
    fn place(&mut self, mut offset: u64, mut data: Bytes) -> Result<Option<BoxFuture<'static, ()>>, FsError> {
        while let Some(piece) = self.assembly.piece(offset, data.len() as u64)? {
            match self.secure(&piece)? {
                Secured::Later(wait) => {
                    self.spill = Some((offset, data));
                    return Ok(Some(wait));
                }
                Secured::Smaller => continue,
                Secured::Yes => {}
            }
            self.groups.seat(piece.span.index)?;
            self.assembly.write(&piece, data.split_to(piece.len as usize))?;
            offset += piece.len;
            while let Some(part) = self.assembly.take_ready() {
                self.launch(part)?;
            }
        }
        Ok(None)
    }
}

fn too_large_for_this_node() -> FsError {
    FsError::new(
        FsErrorKind::TooLarge,
        "a file of this size needs more memory than the server sets aside for uploads; split the file, or ask the \
         server's operator for a larger memory budget",
    )
}
