//! From writes at any offset to the parts of an upload: pure, no I/O, no copies of what is large.

mod extent;
mod part;
mod schedule;

use bytes::Bytes;
use tidegate_store::{Body, Checksum};

use self::part::Part;
pub(crate) use self::part::{ZEROS, of_zeros, zeros};
pub(crate) use self::schedule::{PartSpan, Schedule};
use crate::error::{FsError, FsErrorKind};

/// How many parts are gathered at once, for clients that write out of order.
pub(crate) const GATHERED_MAX: usize = 4;

/// A file on its way into parts.
#[derive(Debug)]
pub(crate) struct Assembly {
    schedule: Schedule,
    hole_max: u64,
    /// The parts that have bytes and are not sent; at most [`GATHERED_MAX`] once
    /// [`Assembly::take_ready`] has given what it can.
    gathered: Vec<Gathered>,
    /// By index: whether the part was handed out.
    sent: Vec<bool>,
    sent_count: usize,
    /// Where the last of them ends.
    sent_end: u64,
    end: u64,
    /// Bytes that were written, those written twice counted twice.
    written: u64,
    clock: u64,
}

#[derive(Debug)]
struct Gathered {
    span: PartSpan,
    part: Part,
    /// When it was last written to, on [`Assembly::clock`].
    touched: u64,
}

/// The part of a write that falls into one part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) span: PartSpan,
    /// Offset in the file.
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// What is left to be sent at CLOSE.
#[derive(Debug)]
pub(crate) enum Rest {
    /// Parts that follow one another and have no byte; the last one may be cut short by the end of the file.
    Hole(Vec<PartSpan>),
    Part(SealedPart),
}

/// A part that is ready to be sent.
#[derive(Debug)]
pub(crate) struct SealedPart {
    pub(crate) index: u32,
    /// Offset of its first byte.
    pub(crate) start: u64,
    pub(crate) body: Body,
    /// As the bytes arrived; `None` if some were overwritten and it must be computed again.
    pub(crate) checksum: Option<Checksum>,
}

impl Assembly {
    /// `hole_max` is how many bytes of the file may never be written.
    pub(crate) fn new(schedule: Schedule, hole_max: u64) -> Self {
        Self {
            schedule,
            hole_max,
            gathered: Vec::new(),
            sent: Vec::new(),
            sent_count: 0,
            sent_end: 0,
            end: 0,
            written: 0,
            clock: 0,
        }
    }

    /// The file's size so far.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Makes the file at least `size` bytes long; what was not written reads as zeros.
    pub(crate) fn extend_to(&mut self, size: u64) -> Result<(), FsError> {
        if size > self.end {
            self.schedule.part_at(size - 1).ok_or_else(too_large)?;
            self.check_holes(size, 0)?;
            self.end = size;
        }
        Ok(())
    }

    /// The piece of a write that falls into the part at its beginning; `None` if it is empty.
    ///
    /// # Errors
    /// `TooLarge` behind the last part; `Unsupported` in a part that was sent, and where it would
    /// leave too large a hole.
    pub(crate) fn piece(&self, offset: u64, len: u64) -> Result<Option<Piece>, FsError> {
        if len == 0 {
            return Ok(None);
        }
        let span = self.schedule.part_at(offset).ok_or_else(too_large)?;
        self.check_holes(offset.saturating_add(len), len)?;
        if self.is_sent(span.index) {
            return Err(FsError::unsupported(
                "this range of the file is in the storage already and can't be written again before the file is \
                 closed; write the file from its start to its end",
            ));
        }
        Ok(Some(Piece { span, offset, len: len.min(span.end() - offset) }))
    }

    /// How many bytes of a part are here.
    pub(crate) fn gathered(&self, index: u32) -> u64 {
        self.gathered.iter().find(|gathered| gathered.span.index == index).map_or(0, |gathered| gathered.part.filled())
    }

    /// A smaller part in the place of one that has no bytes yet, if there may be one.
    pub(crate) fn smaller(&self, span: &PartSpan) -> Option<PartSpan> {
        self.schedule.smaller(span)
    }

    /// Fixes the size of a part. It is fixed in any case when its first bytes come.
    pub(crate) fn settle(&mut self, span: &PartSpan) {
        self.schedule.settle(span);
    }

    /// Lays the bytes of a piece, as [`Assembly::piece`] cut it, over what is there.
    ///
    /// # Errors
    /// `Unsupported` if the bytes are scattered too much.
    pub(crate) fn write(&mut self, piece: &Piece, data: Bytes) -> Result<(), FsError> {
        self.clock += 1;
        let index = match self.gathered.iter().position(|gathered| gathered.span.index == piece.span.index) {
            Some(index) => index,
            None => {
                self.schedule.settle(&piece.span);
                self.gathered.push(Gathered { span: piece.span, part: Part::default(), touched: 0 });
                self.gathered.len() - 1
            }
        };
        if let Some(gathered) = self.gathered.get_mut(index) {
            gathered.touched = self.clock;
            gathered.part.write(piece.offset - piece.span.start, data).map_err(|_| {
                FsError::unsupported("the file is written in too many small pieces out of order; write it in order")
            })?;
        }
        self.end = self.end.max(piece.offset + piece.len);
        self.written += piece.len;
        Ok(())
    }

    /// Takes a part that can be sent: a full one, once the file has more than one part (a file of
    /// one part is sent as a whole), or, when too many are gathered, the one that was left alone
    /// the longest, with zeros in its holes.
    pub(crate) fn take_ready(&mut self) -> Option<SealedPart> {
        if self.sent_count + self.gathered.len() < 2 {
            return None;
        }
        self.take_full().or_else(|| self.take_stale())
    }

    /// Takes a full part, for when the next byte goes into another part.
    pub(crate) fn take_full(&mut self) -> Option<SealedPart> {
        let index = self.gathered.iter().position(|gathered| gathered.part.filled() == gathered.span.len)?;
        Some(self.seal(index))
    }

    fn take_stale(&mut self) -> Option<SealedPart> {
        if self.gathered.len() <= GATHERED_MAX {
            return None;
        }
        // Never the part where the file ends: its length is not known before CLOSE.
        let candidates = self.gathered.iter().enumerate().filter(|(_, gathered)| gathered.span.end() <= self.end);
        let (index, _) = candidates.min_by_key(|(_, gathered)| gathered.touched)?;
        Some(self.seal(index))
    }

    /// The whole file, if nothing was sent and it fits into one part.
    pub(crate) fn take_whole(&mut self) -> Option<(Body, Option<Checksum>)> {
        let first = self.schedule.first();
        if self.sent_count > 0 || self.end > first.len {
            return None;
        }
        Some(self.gathered.pop().map_or_else(Part::default, |gathered| gathered.part).seal(self.end))
    }

    /// At CLOSE: the next part, from `cursor` on, that was not sent, with zeros in its holes; or all those that
    /// follow one another without a byte, if they have `hole_min` bytes at least. `cursor` starts at 0 and is moved.
    pub(crate) fn take_rest(&mut self, cursor: &mut u64, hole_min: u64) -> Option<Rest> {
        while *cursor < self.end {
            let span = self.schedule.part_at(*cursor)?;
            let hole = self.hole_from(span);
            let len = hole.iter().map(|span| span.len).sum::<u64>();
            if len >= hole_min.max(1) {
                *cursor = span.start + len;
                hole.iter().for_each(|span| self.note_sent(span));
                return Some(Rest::Hole(hole));
            }
            *cursor = span.end();
            if self.is_sent(span.index) {
                continue;
            }
            let index = self.gathered.iter().position(|gathered| gathered.span.index == span.index);
            return Some(Rest::Part(match index {
                Some(index) => self.seal(index),
                None => self.seal_part(span, Part::default()),
            }));
        }
        None
    }

    /// The parts from this one on that have no byte, up to the end of the file.
    fn hole_from(&self, span: PartSpan) -> Vec<PartSpan> {
        let next = |span: &PartSpan| self.schedule.part_at(span.end()).filter(|next| next.start < self.end);
        let spans = std::iter::successors(Some(span), next).take_while(|span| {
            !self.is_sent(span.index) && !self.gathered.iter().any(|gathered| gathered.span.index == span.index)
        });
        spans.map(|span| PartSpan { len: span.len.min(self.end - span.start), ..span }).collect()
    }

    /// Makes the file shorter and gives the first of the parts that have no byte any more; `None` if what is cut
    /// off was sent.
    pub(crate) fn cut_to(&mut self, size: u64) -> Option<u32> {
        if size < self.sent_end {
            return None;
        }
        let first = self.schedule.part_at(size)?;
        let first = if first.start < size { first.index + 1 } else { first.index };
        let before = self.gathered.iter().map(|gathered| gathered.part.filled()).sum::<u64>();
        self.gathered.retain(|gathered| gathered.span.index < first);
        for gathered in &mut self.gathered {
            gathered.part.cut_to(size.saturating_sub(gathered.span.start));
        }
        let left = self.gathered.iter().map(|gathered| gathered.part.filled()).sum::<u64>();
        self.written = self.written.saturating_sub(before - left);
        self.end = self.end.min(size);
        Some(first)
    }

    /// Whether a part that holds a byte of the range was handed out.
    pub(crate) fn was_sent(&self, offset: u64, len: u64) -> bool {
        let mut at = offset;
        while self.sent_count > 0 && at < offset.saturating_add(len) {
            let Some(span) = self.schedule.part_at(at) else { return false };
            if self.is_sent(span.index) {
                return true;
            }
            at = span.end();
        }
        false
    }

    /// Takes all bytes that are here, with their offsets.
    pub(crate) fn take_bytes(&mut self) -> Vec<(u64, Bytes)> {
        let mut taken = Vec::new();
        for gathered in self.gathered.drain(..) {
            for (offset, bytes) in gathered.part.into_bytes() {
                taken.push((gathered.span.start + offset, bytes));
            }
        }
        taken
    }

    /// The bytes that are here from `offset` on, up to the first that is not.
    pub(crate) fn run_from(&mut self, offset: u64) -> Vec<Bytes> {
        let (mut run, mut at) = (Vec::new(), offset);
        while let Some(span) = self.schedule.part_at(at)
            && let Some(gathered) = self.gathered.iter_mut().find(|gathered| gathered.span.index == span.index)
        {
            let chunks = gathered.part.run_from(at - span.start);
            at += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
            run.extend(chunks);
            if at < span.end() {
                break;
            }
        }
        run
    }

    fn seal(&mut self, index: usize) -> SealedPart {
        let gathered = self.gathered.swap_remove(index);
        self.seal_part(gathered.span, gathered.part)
    }

    fn seal_part(&mut self, span: PartSpan, part: Part) -> SealedPart {
        self.note_sent(&span);
        let (body, checksum) = part.seal(span.len.min(self.end.saturating_sub(span.start)));
        SealedPart { index: span.index, start: span.start, body, checksum }
    }

    fn note_sent(&mut self, span: &PartSpan) {
        self.schedule.settle(span);
        let index = span.index as usize;
        if self.sent.len() <= index {
            self.sent.resize(index + 1, false);
        }
        if let Some(sent) = self.sent.get_mut(index) {
            *sent = true;
            self.sent_count += 1;
        }
        self.sent_end = self.sent_end.max(span.end().min(self.end));
    }

    /// Holes are sent as zeros, so a few bytes of input must not make hundreds of GiB of output.
    fn check_holes(&self, end: u64, coming: u64) -> Result<(), FsError> {
        let end = end.max(self.end);
        if end.saturating_sub(self.written.saturating_add(coming)) <= self.hole_max {
            return Ok(());
        }
        Err(FsError::unsupported(
            "the file would have larger holes than this server fills with zeros; write it from its start to its end",
        ))
    }

    fn is_sent(&self, index: u32) -> bool {
        self.sent.get(index as usize).copied().unwrap_or(false)
    }
}

pub(crate) fn too_large() -> FsError {
    FsError::new(FsErrorKind::TooLarge, "the file would be larger than the storage takes, which is 5 TiB; split it")
}

#[cfg(test)]
mod tests;
