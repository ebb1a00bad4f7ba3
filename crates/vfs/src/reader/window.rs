//! Which ranges of a file to fetch for the reads that come: pure, no I/O.

use std::collections::VecDeque;

use super::pace::Plan;
use crate::budget::UNIT;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What OPEN fetches at once.
pub(crate) const FIRST: u64 = 256 * KIB;

/// What is fetched at least for a sequential reader whose read-ahead finds no memory, so that one
/// request to the store still serves several small reads.
const DEMANDED_MIN: u64 = 256 * KIB;

/// Read-ahead is fetched in segments that double from the first to the last of these sizes.
const SEGMENT_MIN: u64 = MIB;

/// How many times as far as it has read in order a client is trusted to read on. At the beginning each
/// factor that is missing costs a large file a round trip to the store.
const SHOWN: u64 = 8;

/// How far a client is read ahead at most before its pace is known: 1 GiB/s over 24 ms.
const UNMEASURED: u64 = 24 * MIB;
const SEGMENT_MAX: u64 = 8 * MIB;

/// How far behind the newest read a segment is kept, for reads that overtake one another.
const BEHIND: u64 = 256 * KIB;

/// Why a range is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A read waits for it.
    Demanded,
    /// A read will probably come.
    ReadAhead,
}

/// A range that is fetched as one, with whatever stands for its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Segment<S> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) bytes: S,
}

/// The segments around a sequential reader's position, without gaps.
///
/// A read inside or right behind them is sequential and moves them on; one that continues the read
/// before it starts them anew at its place; any other is random and leaves them alone.
#[derive(Debug)]
pub(crate) struct Window<S> {
    size: u64,
    ahead_max: u64,
    segments: VecDeque<Segment<S>>,
    /// Where the window ends, also when it is empty.
    end: u64,
    /// Where the sequential run began.
    run: u64,
    /// The end of the farthest sequential read.
    next: u64,
    /// Size of the next segment.
    step: u64,
    /// The end of the last read outside of the window.
    last_random: u64,
    /// What was passed and not taken yet; the end of one that was dropped in its middle is there.
    passed: Vec<Segment<S>>,
}

impl<S: Clone> Window<S> {
    /// For a file of `size` bytes, read ahead by `ahead_max` bytes at most.
    pub(crate) fn new(size: u64, ahead_max: u64) -> Self {
        Self {
            size,
            ahead_max,
            segments: VecDeque::new(),
            end: 0,
            run: 0,
            next: 0,
            step: SEGMENT_MIN,
            last_random: 0,
            passed: Vec::new(),
        }
    }

    /// Adds what is being fetched already, right behind the window.
    pub(crate) fn push(&mut self, len: u64, bytes: S) {
        let start = self.end;
        self.end = start + len;
        self.segments.push_back(Segment { start, end: self.end, bytes });
    }

    /// Forgets all segments, because they failed; the next read at `position` is sequential.
    pub(crate) fn restart(&mut self, position: u64) {
        self.segments.clear();
        (self.end, self.run, self.next, self.step) = (position, position, position, SEGMENT_MIN);
    }

    /// The segments that the reader has passed since the last call, in order.
    pub(crate) fn take_passed(&mut self) -> Vec<Segment<S>> {
        std::mem::take(&mut self.passed)
    }

    /// Whether everything up to the file's end is there or being fetched.
    pub(crate) fn reaches_the_end(&self) -> bool {
        self.end == self.size
    }

    /// The segments, in order.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment<S>> {
        self.segments.iter()
    }

    /// How many bytes should be held once `offset..end` is being read: 0 if that is a random read.
    pub(crate) fn wants(&self, offset: u64, end: u64, plan: Plan) -> u64 {
        if self.is_random(offset) {
            return 0;
        }
        let range = self.step.min(step_max(u64::MAX, plan));
        (self.ahead(end, plan) + range + BEHIND).min(self.size.saturating_sub(offset) + BEHIND)
    }

    /// The size of the next segment, if there is memory.
    pub(crate) fn step(&self) -> u64 {
        self.step
    }

    /// A read at random ended here: one that goes on from there is sequential.
    pub(crate) fn skip_to(&mut self, end: u64) {
        self.last_random = end;
    }

    /// The segments that cover `offset..end`, which is not empty, lies inside the file and is not
    /// [random](Self::is_random).
    /// `fetch(start, len, purpose)` is asked for the ones that are missing and for read-ahead; it
    /// may refuse read-ahead. No more read-ahead is asked for than `plan` says and than fits into
    /// `may_hold` bytes.
    pub(crate) fn read(
        &mut self,
        offset: u64,
        end: u64,
        may_hold: u64,
        plan: Plan,
        mut fetch: impl FnMut(u64, u64, Purpose) -> Option<S>,
    ) -> Vec<Segment<S>> {
        if !self.holds(offset) {
            self.restart(offset);
        }
        self.next = self.next.max(end);
        while let Some(passed) = self.segments.pop_front_if(|segment| segment.end + BEHIND <= offset) {
            self.passed.push(passed);
        }
        let step_max = step_max(may_hold, plan);
        while self.end < end {
            if !self.extend(Purpose::ReadAhead, step_max, &mut fetch) {
                let least = if self.ahead_max == 0 { 0 } else { DEMANDED_MIN };
                if !self.extend(Purpose::Demanded, least.max(end - self.end), &mut fetch) {
                    break;
                }
            }
        }
        let ahead = self.ahead(end, plan).min(may_hold.saturating_sub(self.step.min(step_max)));
        while self.end < self.size.min(end.saturating_add(ahead)) {
            if !self.extend(Purpose::ReadAhead, step_max, &mut fetch) {
                break;
            }
        }
        let overlapping = self.segments.iter().filter(|segment| segment.start < end && offset < segment.end);
        overlapping.cloned().collect()
    }

    /// Drops the segments that end at or before `offset`: reads that come too late for them are
    /// random.
    pub(crate) fn drop_behind(&mut self, offset: u64) {
        while let Some(passed) = self.segments.pop_front_if(|segment| segment.end <= offset) {
            self.passed.push(passed);
        }
    }

    /// Drops segments from the far end while `may_drop` allows it; reading goes on from there.
    /// Returns how many.
    pub(crate) fn drop_farthest(&mut self, mut may_drop: impl FnMut(&S) -> bool) -> u64 {
        let mut dropped = 0;
        while let Some(farthest) = self.segments.pop_back_if(|segment| may_drop(&segment.bytes)) {
            dropped += 1;
            self.end = farthest.start.max(self.next.min(farthest.end));
            if self.end > farthest.start {
                // The rest lies behind the reader, and would leave a gap.
                dropped += self.segments.len() as u64;
                self.passed.extend(self.segments.drain(..));
                self.passed.push(Segment { end: self.end, ..farthest });
            }
        }
        dropped
    }

    /// Lets go of the bytes of the first segment that lie so far behind `offset` that no read comes
    /// for them any more. `release(bytes, before)` tells where what is left begins.
    pub(crate) fn release(&mut self, offset: u64, may_hold: u64, release: impl FnOnce(&S, u64) -> u64) {
        let before = offset.saturating_sub(BEHIND.min(may_hold / 8));
        if let Some(first) = self.segments.front_mut()
            && first.start < before
        {
            first.start = release(&first.bytes, before).clamp(first.start, first.end);
        }
    }

    fn holds(&self, offset: u64) -> bool {
        (self.segments.front().map_or(self.end, |segment| segment.start)..=self.end).contains(&offset)
    }

    /// Whether a read here is neither inside or right behind the window nor goes on from the last
    /// one.
    pub(crate) fn is_random(&self, offset: u64) -> bool {
        !self.holds(offset) && offset != self.last_random
    }

    /// How far to read ahead behind `end`, if there is memory: as the client's pace asks for, and no
    /// farther than it has shown that it reads on.
    fn ahead(&self, end: u64, plan: Plan) -> u64 {
        let shown = end.saturating_sub(self.run).saturating_mul(SHOWN).max(SEGMENT_MIN);
        shown.min(plan.ahead.unwrap_or(UNMEASURED)).min(self.ahead_max)
    }

    fn extend(&mut self, purpose: Purpose, limit: u64, fetch: &mut impl FnMut(u64, u64, Purpose) -> Option<S>) -> bool {
        let len = match purpose {
            Purpose::Demanded => limit,
            Purpose::ReadAhead if self.ahead_max == 0 => return false,
            Purpose::ReadAhead => self.step.min(limit).min(self.ahead_max),
        };
        let len = len.min(self.size - self.end);
        let Some(bytes) = fetch(self.end, len, purpose) else { return false };
        self.push(len, bytes);
        if purpose == Purpose::ReadAhead {
            self.step = (self.step * 2).min(SEGMENT_MAX);
        }
        true
    }
}

/// The greatest segment to fetch: four of them fit into what may be held.
fn step_max(may_hold: u64, plan: Plan) -> u64 {
    (may_hold / 4).min(plan.range.unwrap_or(u64::MAX)).clamp(DEMANDED_MIN, SEGMENT_MAX) / UNIT * UNIT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fetched = Vec<(u64, u64, Purpose)>;

    fn read(window: &mut Window<()>, offset: u64, len: u64, room: bool) -> Fetched {
        let mut fetched = Vec::new();
        let end = (offset + len).min(window.size);
        if window.is_random(offset) {
            window.skip_to(end);
            return vec![(offset, end - offset, Purpose::Demanded)];
        }
        let segments = window.read(offset, end, u64::MAX, Plan::default(), |start, len, purpose| {
            if purpose == Purpose::ReadAhead && !room {
                return None;
            }
            fetched.push((start, len, purpose));
            Some(())
        });
        assert!(segments.first().is_some_and(|first| first.start <= offset), "covers the beginning");
        assert!(segments.last().is_some_and(|last| end <= last.end), "covers the end");
        assert!(segments.windows(2).all(|pair| pair[0].end == pair[1].start), "covers all between");
        fetched
    }

    fn opened(size: u64) -> Window<()> {
        let mut window = Window::new(size, 32 * MIB);
        window.push(FIRST.min(size), ());
        window
    }

    #[test]
    fn a_small_file_needs_no_more_than_open_fetched() {
        let mut window = opened(FIRST);
        assert_eq!(read(&mut window, 0, 32 * KIB, true), []);
        assert_eq!(read(&mut window, FIRST - 1, 32 * KIB, true), []);
    }

    #[test]
    fn read_ahead_grows_with_what_was_read() {
        let mut window = opened(1 << 30);
        assert_eq!(read(&mut window, 0, 32 * KIB, true), [(FIRST, MIB, Purpose::ReadAhead)]);
        let (mut position, mut requests, mut farthest) = (32 * KIB, 1, 0);
        while position < 1 << 30 {
            requests += read(&mut window, position, 32 * KIB, true).len();
            position += 32 * KIB;
            let held: u64 = window.segments.iter().map(|segment| segment.end - segment.start).sum();
            farthest = farthest.max(window.end - position);
            assert!(held <= (32 + 8 + 8) * MIB + BEHIND, "{held} bytes held");
        }
        assert!(farthest >= 32 * MIB - SEGMENT_MAX, "reads ahead as far as allowed");
        assert!(requests <= 140, "{requests} requests for 1 GiB");
    }

    #[test]
    fn random_reads_leave_the_window_alone() {
        let mut window = opened(1 << 30);
        for offset in [500 * MIB, 3 * MIB, 900 * MIB] {
            assert_eq!(read(&mut window, offset, 4 * KIB, true), [(offset, 4 * KIB, Purpose::Demanded)]);
        }
    }

    #[test]
    fn a_read_that_goes_on_behind_a_random_one_is_sequential() {
        let mut window = opened(1 << 30);
        read(&mut window, 500 * MIB, 32 * KIB, true);
        let next = 500 * MIB + 32 * KIB;
        assert_eq!(
            read(&mut window, next, 32 * KIB, true),
            [(next, MIB, Purpose::ReadAhead), (next + MIB, 2 * MIB, Purpose::ReadAhead)]
        );
        assert_eq!(read(&mut window, next + 32 * KIB, 32 * KIB, true), []);
    }

    #[test]
    fn without_memory_only_what_is_demanded_is_fetched() {
        let mut window = opened(1 << 30);
        assert_eq!(read(&mut window, 0, 32 * KIB, false), []);
        assert_eq!(read(&mut window, FIRST, 32 * KIB, false), [(FIRST, DEMANDED_MIN, Purpose::Demanded)]);
        assert_eq!(read(&mut window, FIRST + 32 * KIB, 32 * KIB, false), []);
    }

    #[test]
    fn a_share_and_a_slow_client_bound_what_is_held() {
        let slow = Plan { ahead: Some(256 * KIB), range: Some(2 * MIB) };
        for (may_hold, plan, most) in [(MIB, Plan::default(), MIB), (u64::MAX, slow, 3 * MIB), (MIB, slow, MIB)] {
            let mut window = opened(1 << 30);
            for position in (0..64 * MIB).step_by(32 << 10) {
                let fetch = |_, len, _| {
                    assert!(len <= 2 * MIB || plan == Plan::default());
                    Some(())
                };
                window.read(position, position + 32 * KIB, may_hold, plan, fetch);
                window.release(position, may_hold, |(), before| before);
                let held: u64 = window.segments.iter().map(|segment| segment.end - segment.start).sum();
                // The first two are fetched before anything is known of the pace.
                assert!(held <= most + BEHIND || position < 2 * MIB, "{held} bytes held at {position}");
            }
        }
    }

    #[test]
    fn a_reader_goes_on_where_its_segments_were_dropped() {
        let mut window = opened(1 << 30);
        for position in (0..8 * MIB).step_by(32 << 10) {
            read(&mut window, position, 32 * KIB, true);
        }
        let end = window.end;
        assert_eq!(window.drop_farthest(|()| false), 0);
        let mut left = 2;
        window.drop_farthest(|()| {
            left -= 1;
            left >= 0
        });
        assert!(window.end < end && window.end >= 8 * MIB, "the far end went");
        assert!(read(&mut window, 8 * MIB, 32 * KIB, true).iter().all(|(start, ..)| *start >= 8 * MIB));
        window.drop_farthest(|()| true);
        assert_eq!(window.segments.len(), 0);
        let fetched = read(&mut window, 8 * MIB + 32 * KIB, 32 * KIB, true);
        assert_eq!(
            fetched.first().map(|(start, _, purpose)| (*start, *purpose)),
            Some((8 * MIB + 32 * KIB, Purpose::ReadAhead))
        );
    }

    #[test]
    fn read_ahead_can_be_switched_off() {
        let mut window = Window::new(1 << 30, 0);
        assert_eq!(read(&mut window, 0, 32 * KIB, true), [(0, 32 * KIB, Purpose::Demanded)]);
        assert_eq!(read(&mut window, 32 * KIB, 32 * KIB, true), [(32 * KIB, 32 * KIB, Purpose::Demanded)]);
    }

    proptest! {
        #[test]
        fn every_read_is_covered_inside_the_file(
            size in 1..(64 * MIB),
            ahead in 0..(16 * MIB),
            reads in prop::collection::vec((0..(64 * MIB), 1..MIB, any::<bool>(), any::<bool>()), 1..40),
        ) {
            let mut window = Window::new(size, ahead);
            window.push(FIRST.min(size), ());
            let mut position = 0;
            for (offset, len, room, follow) in reads {
                let offset = if follow { position } else { offset };
                if offset >= size {
                    continue;
                }
                for (start, len, _) in read(&mut window, offset, len, room) {
                    prop_assert!(len > 0 && start + len <= size);
                }
                position = (offset + len).min(size);
            }
        }
    }
}
