//! Bytes that wait to be sent.

use std::collections::VecDeque;
use std::mem;

use bytes::{Buf, BytesMut};

/// Where file content goes: a multiple of the packets that clients take (32 KiB for most), so that
/// each block fills whole ones.
const LARGE_BLOCK: usize = 256 << 10;

/// Where small answers go.
const SMALL_BLOCK: usize = 4 << 10;

/// A queue of bytes in blocks. Nothing that waits is ever moved to make room for more, as it would
/// be in one buffer that grows at one end while it is sent from the other.
#[derive(Debug, Default)]
pub(super) struct Output {
    full: VecDeque<BytesMut>,
    /// What is filled now, behind the full ones.
    tail: BytesMut,
    len: usize,
    /// A large block that was sent, to be filled again.
    spare: Option<BytesMut>,
}

impl Output {
    /// Appends bytes.
    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            if self.tail.len() == self.tail.capacity() || (self.tail.is_empty() && self.is_too_small(bytes.len())) {
                self.begin_block(bytes.len());
            }
            let (fits, rest) = bytes.split_at(bytes.len().min(self.tail.capacity() - self.tail.len()));
            self.tail.extend_from_slice(fits);
            bytes = rest;
        }
    }

    /// Gives back the memory that no byte waits in.
    pub(super) fn release(&mut self) {
        self.spare = None;
        if self.len == 0 {
            (self.full, self.tail) = (VecDeque::new(), BytesMut::new());
        }
    }

    fn is_too_small(&self, coming: usize) -> bool {
        coming > self.tail.capacity() && self.tail.capacity() < LARGE_BLOCK
    }

    fn begin_block(&mut self, coming: usize) {
        let block = match self.spare.take() {
            Some(spare) => spare,
            None if coming <= SMALL_BLOCK && self.full.is_empty() => BytesMut::with_capacity(SMALL_BLOCK),
            None => BytesMut::with_capacity(LARGE_BLOCK),
        };
        let before = mem::replace(&mut self.tail, block);
        if !before.is_empty() {
            self.full.push_back(before);
        }
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.full.front().unwrap_or(&self.tail)
    }

    fn advance(&mut self, mut count: usize) {
        self.len = self.len.saturating_sub(count);
        while let Some(block) = self.full.front_mut() {
            if count < block.len() {
                block.advance(count);
                return;
            }
            count -= block.len();
            if let Some(mut sent) = self.full.pop_front() {
                sent.clear();
                self.spare = sent.try_reclaim(LARGE_BLOCK).then_some(sent).or(self.spare.take());
            }
        }
        self.tail.advance(count);
        if self.tail.is_empty() {
            // What was sent left the front of the block, which is room again.
            let _ = self.tail.try_reclaim(LARGE_BLOCK) || self.tail.try_reclaim(SMALL_BLOCK);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            steps in prop::collection::vec((0_usize..400_000, 0_usize..400_000), 1..30),
        ) {
            let mut output = Output::default();
            let (mut written, mut read) = (0_usize, 0_usize);
            // As a whole and compared as slices: byte by byte this takes a minute.
            let pattern: Vec<u8> = (0..251).cycle().take(1 << 20).collect();
            let at = |at: usize, len: usize| &pattern[at % 251..][..len];
            for (put, take) in steps {
                output.put(at(written, put));
                written += put;
                let mut left = take.min(output.remaining());
                while left > 0 {
                    let count = left.min(output.chunk().len());
                    prop_assert!(count > 0, "bytes wait, but none can be sent");
                    prop_assert!(&output.chunk()[..count] == at(read, count));
                    output.advance(count);
                    read += count;
                    left -= count;
                }
                prop_assert_eq!(output.remaining(), written - read);
            }
        }
    }

    #[test]
    fn file_content_is_cut_where_packets_are() {
        let mut output = Output::default();
        output.put(&[0; 20]);
        output.advance(20);
        output.put(&vec![0; 3 * LARGE_BLOCK]);
        for _ in 0..3 * LARGE_BLOCK / 32_768 {
            assert!(output.chunk().len() >= 32_768);
            output.advance(32_768);
        }
        assert_eq!(output.remaining(), 0);
    }

    #[test]
    fn blocks_are_filled_again() {
        let mut output = Output::default();
        output.put(&vec![0; LARGE_BLOCK]);
        let block = output.chunk().as_ptr();
        for _ in 0..10 {
            output.advance(output.remaining());
            output.put(&vec![0; LARGE_BLOCK]);
            assert_eq!(output.chunk().as_ptr(), block);
        }
        output.advance(LARGE_BLOCK);
        output.release();
        assert_eq!(output.tail.capacity(), 0);
    }
}
