//! A run of bytes without a gap, as slices of what the client sent.

use std::mem;

use bytes::{Bytes, BytesMut};
use tidegate_store::{Body, Checksum};

/// Writes below this are copied together: a slice keeps the whole packet buffer that it was cut
/// from in memory, and bookkeeping for each would outweigh the bytes.
const COPY_BELOW: usize = 4 << 10;

/// How far small writes are copied together into one chunk.
const TAIL_MAX: usize = 64 << 10;

/// Bytes `start..end` of a part.
#[derive(Debug)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
    chunks: Vec<Chunk>,
    /// Small writes at the end that are still being copied together, behind `chunks`.
    tail: BytesMut,
    /// Of all bytes, as they arrived; `None` since one of them was overwritten.
    checksum: Option<Checksum>,
}

/// A slice and the number of bytes that it keeps in memory.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    pinned: usize,
}

impl Chunk {
    fn new(bytes: Bytes) -> Self {
        Self { pinned: bytes.len(), bytes }
    }

    /// What is left after a cut. Copied when it would keep more than twice its size in memory.
    fn remnant(bytes: Bytes, pinned: usize) -> Self {
        if bytes.len() < pinned / 2 { Self::new(Bytes::copy_from_slice(&bytes)) } else { Self { bytes, pinned } }
    }
}

impl Extent {
    pub(super) fn new(start: u64, data: Bytes) -> Self {
        let mut extent = Self::empty(start);
        extent.append(data);
        extent
    }

    fn empty(at: u64) -> Self {
        Self { start: at, end: at, chunks: Vec::new(), tail: BytesMut::new(), checksum: Some(Checksum::EMPTY) }
    }

    /// Adds bytes at the end.
    pub(super) fn append(&mut self, data: Bytes) {
        let before = self.end - self.start;
        self.end += data.len() as u64;
        self.checksum = self.checksum.map(|sum| sum.then(Checksum::of(&data)));
        if data.len() < COPY_BELOW {
            if self.tail.is_empty() {
                // All that it will take at once, so that no byte is moved again; but no more than the
                // run has already, for runs that stay crumbs.
                let whole = (TAIL_MAX + COPY_BELOW) as u64;
                self.tail.reserve(before.min(whole).max(data.len() as u64) as usize);
            }
            self.tail.extend_from_slice(&data);
            if self.tail.len() >= TAIL_MAX {
                self.close_tail();
            }
        } else {
            self.close_tail();
            self.chunks.push(Chunk::new(data));
        }
    }

    /// Adds the bytes of the extent that begins where this one ends.
    pub(super) fn join(&mut self, mut next: Self) {
        self.close_tail();
        self.end = next.end;
        self.checksum = self.checksum.zip(next.checksum).map(|(left, right)| left.then(right));
        self.chunks.append(&mut next.chunks);
        self.tail = next.tail;
    }

    /// The bytes from `at` on, `start <= at <= end`. They stay here too.
    pub(super) fn bytes_from(&mut self, at: u64) -> Vec<Bytes> {
        self.close_tail();
        let (mut before, mut bytes) = (at - self.start, Vec::with_capacity(self.chunks.len()));
        for chunk in &self.chunks {
            let skipped = before.min(chunk.bytes.len() as u64);
            before -= skipped;
            if skipped < chunk.bytes.len() as u64 {
                bytes.push(chunk.bytes.slice(skipped as usize..));
            }
        }
        bytes
    }

    /// Cuts off and returns everything from `at` on, `start <= at <= end`.
    pub(super) fn split_off(&mut self, at: u64) -> Self {
        self.close_tail();
        let mut right = Self::empty(at);
        right.end = self.end;
        // Nothing is cut at either end: that side keeps its checksum and the other is empty.
        if at == self.end {
            return right;
        }
        if at == self.start {
            self.end = at;
            right.checksum = self.checksum.replace(Checksum::EMPTY);
            mem::swap(&mut self.chunks, &mut right.chunks);
            return right;
        }
        let mut position = self.start;
        let mut keep = Vec::with_capacity(self.chunks.len());
        for chunk in self.chunks.drain(..) {
            let len = chunk.bytes.len() as u64;
            if position + len <= at {
                keep.push(chunk);
            } else if position >= at {
                right.chunks.push(chunk);
            } else {
                let mut head = chunk.bytes;
                let tail = head.split_off((at - position) as usize);
                keep.push(Chunk::remnant(head, chunk.pinned));
                right.chunks.push(Chunk::remnant(tail, chunk.pinned));
            }
            position += len;
        }
        self.chunks = keep;
        self.end = at;
        self.checksum = None;
        right.checksum = None;
        right
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Moves the bytes to the end of `body` and gives their checksum, where it is known.
    pub(super) fn pour(mut self, body: &mut Body) -> Option<Checksum> {
        self.close_tail();
        self.chunks.into_iter().for_each(|chunk| body.push(chunk.bytes));
        self.checksum
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let pinned = self.tail.capacity();
            self.chunks.push(Chunk { bytes: mem::take(&mut self.tail).freeze(), pinned });
        }
    }

    /// Bytes that the chunks keep in memory.
    #[cfg(test)]
    pub(super) fn pinned(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.pinned).sum::<usize>() + self.tail.capacity()
    }
}
