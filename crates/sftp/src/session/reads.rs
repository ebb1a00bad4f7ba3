//! The READs of one handle: those that wait, and those that run, answered in the order sent.

use std::collections::VecDeque;
use std::time::Instant;

use tidegate_vfs::{FsError, ReadData};

/// Many READs that follow one another in the file, as a prefetching client sends them. Kept as one
/// value with a number per READ, so that a client that asks for a whole large file before it reads
/// an answer (paramiko's `prefetch`) takes little memory. The loop must take in whatever arrives:
/// while it does not read, the transport sends nothing either.
#[derive(Debug)]
struct Run {
    ids: VecDeque<u32>,
    /// Of the first READ that waits.
    offset: u64,
    len: u32,
    arrived: Instant,
}

/// What a run and each of its READs count against the limit on queued requests, in bytes.
const RUN_BYTES: usize = 96;
const READ_BYTES: usize = 4;

/// A READ that runs, or has run and waits for one before it.
#[derive(Debug)]
struct Slot {
    id: u32,
    len: u32,
    arrived: Instant,
    result: Option<Result<ReadData, FsError>>,
}

/// A READ to start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReadStart {
    /// Names the slot that the result belongs to.
    pub(super) slot: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
}

/// A READ to answer.
#[derive(Debug)]
pub(super) struct ReadAnswer {
    pub(super) id: u32,
    pub(super) len: u32,
    pub(super) arrived: Instant,
    pub(super) result: Result<ReadData, FsError>,
}

/// The READs of one handle.
#[derive(Debug, Default)]
pub(super) struct ReadQueue {
    waiting: VecDeque<Run>,
    slots: VecDeque<Slot>,
    /// The number of the first slot; slots are numbered on from it.
    first_slot: u64,
}

impl ReadQueue {
    /// Takes a READ in; returns by how many bytes the queue grew.
    pub(super) fn push(&mut self, id: u32, offset: u64, len: u32, arrived: Instant) -> usize {
        if let Some(run) = self.waiting.back_mut()
            && run.len == len
            && run.offset.checked_add(run.ids.len() as u64 * u64::from(len)) == Some(offset)
        {
            run.ids.push_back(id);
            return READ_BYTES;
        }
        self.waiting.push_back(Run { ids: VecDeque::from([id]), offset, len, arrived });
        RUN_BYTES + READ_BYTES
    }

    /// Offset and length of the next READ that waits.
    pub(super) fn next(&self) -> Option<(u64, u32)> {
        self.waiting.front().map(|run| (run.offset, run.len))
    }

    /// Starts the next READ that waits; also tells by how many bytes the queue shrank.
    pub(super) fn start(&mut self) -> Option<(ReadStart, usize)> {
        let run = self.waiting.front_mut()?;
        let id = run.ids.pop_front()?;
        let slot = self.first_slot + self.slots.len() as u64;
        let start = ReadStart { slot, offset: run.offset, len: run.len };
        self.slots.push_back(Slot { id, len: run.len, arrived: run.arrived, result: None });
        run.offset = run.offset.saturating_add(u64::from(run.len));
        if run.ids.is_empty() {
            self.waiting.pop_front();
            return Some((start, RUN_BYTES + READ_BYTES));
        }
        Some((start, READ_BYTES))
    }

    /// Notes the result of a READ that was started.
    pub(super) fn finish(&mut self, slot: u64, result: Result<ReadData, FsError>) {
        let index = slot.checked_sub(self.first_slot).and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) {
            slot.result = Some(result);
        }
    }

    /// How many bytes the next answer has, if it can be given.
    pub(super) fn answerable(&self) -> Option<usize> {
        let result = self.slots.front()?.result.as_ref()?;
        Some(result.as_ref().map_or(0, ReadData::len))
    }

    /// The next READ to answer, in the order sent.
    pub(super) fn answer(&mut self) -> Option<ReadAnswer> {
        let Slot { result: Some(_), .. } = self.slots.front()? else { return None };
        let slot = self.slots.pop_front()?;
        self.first_slot += 1;
        let result = slot.result?;
        Some(ReadAnswer { id: slot.id, len: slot.len, arrived: slot.arrived, result })
    }

    /// Whether nothing waits or runs.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Also where the ids of two prefetches in one session alternate.
    #[test]
    fn a_prefetch_takes_a_number_per_read() {
        let mut queue = ReadQueue::default();
        let now = Instant::now();
        let grown: usize = (0..100_000_u32).map(|n| queue.push(7 + 2 * n, u64::from(n) * 32_768, 32_768, now)).sum();
        assert_eq!((grown, queue.waiting.len()), (RUN_BYTES + 100_000 * READ_BYTES, 1));
        assert_eq!(queue.push(5, 0, 32_768, now), RUN_BYTES + READ_BYTES, "the offset does not follow");
        let (start, _) = queue.start().unwrap();
        assert_eq!(start, ReadStart { slot: 0, offset: 0, len: 32_768 });
        let (start, _) = queue.start().unwrap();
        assert_eq!(start, ReadStart { slot: 1, offset: 32_768, len: 32_768 });
        let shrunk: usize = std::iter::from_fn(|| queue.start()).map(|(_, shrunk)| shrunk).sum();
        assert_eq!(shrunk + 2 * READ_BYTES, grown + RUN_BYTES + READ_BYTES, "nothing is left counted");
    }

    #[test]
    fn answers_keep_the_order_sent() {
        let mut queue = ReadQueue::default();
        for id in [3, 9, 4] {
            queue.push(id, 0, 10, Instant::now());
        }
        let slots: Vec<u64> = std::iter::from_fn(|| queue.start()).map(|(start, _)| start.slot).collect();
        queue.finish(slots[2], Ok(ReadData::default()));
        queue.finish(slots[1], Ok(ReadData::default()));
        assert!(queue.answer().is_none(), "the first has no result yet");
        queue.finish(slots[0], Ok(ReadData::default()));
        let ids: Vec<u32> = std::iter::from_fn(|| queue.answer()).map(|answer| answer.id).collect();
        assert_eq!(ids, [3, 9, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn offsets_at_the_end_of_their_range_do_no_harm() {
        let mut queue = ReadQueue::default();
        queue.push(u32::MAX, u64::MAX - 1, 10, Instant::now());
        queue.push(0, 8, 10, Instant::now());
        assert_eq!(queue.start().map(|(start, _)| start.offset), Some(u64::MAX - 1));
        assert_eq!(queue.start().map(|(start, _)| start.offset), Some(8));
        assert!(queue.start().is_none());
    }
}
