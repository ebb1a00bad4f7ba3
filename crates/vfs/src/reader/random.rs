//! Which ranges to fetch for reads that are not in order: pure, no I/O.
//!
//! A read at random gets its range and no byte more. Two things are left that save requests without
//! reading much more than was asked for: what was fetched a moment ago, or is about to be, serves
//! neighbours too; and reads that step through the file evenly, backward or with gaps, are seen
//! after some steps and get what the next ones will ask for with theirs.

use std::collections::VecDeque;

const KIB: u64 = 1 << 10;

/// How many ranges are kept.
const KEPT: usize = 8;

/// How large a range may become by taking in neighbours, or steps to come.
const RANGE_MAX: u64 = 512 * KIB;

/// Steps of the same width after which the next ones are expected. One before the last would do for
/// a machine; a database that happens to read three pages at even distances should not pay for it.
const STEPS: u32 = 3;

/// How many bytes are fetched at most for one that is asked for.
const COST_MAX: u64 = 2;

/// A range that is fetched as one, with whatever stands for its bytes.
#[derive(Clone, Debug)]
struct Kept<S> {
    start: u64,
    end: u64,
    bytes: S,
}

/// What was fetched for the last reads at random, and how they step.
#[derive(Debug)]
pub(crate) struct Random<S> {
    size: u64,
    kept: VecDeque<Kept<S>>,
    /// Where the last read began, how far that was from the one before, and how often in a row.
    last: Option<u64>,
    step: i128,
    steps: u32,
    /// How many steps to fetch at once, once they are even.
    ahead: u64,
}

/// What a read at random needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl<S: Clone> Random<S> {
    /// For a file of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, kept: VecDeque::new(), last: None, step: 0, steps: 0, ahead: 1 }
    }

    /// The bytes that cover `offset..end`, which is not empty and lies inside the file. `grow(bytes,
    /// range)` may make a range larger whose request was not sent yet, and tells whether it did;
    /// `fetch(range)` begins a request.
    pub(crate) fn read(
        &mut self,
        offset: u64,
        end: u64,
        mut grow: impl FnMut(&S, Range) -> bool,
        fetch: impl FnOnce(Range) -> S,
    ) -> S {
        let even = self.step_to(offset, end - offset);
        if let Some(kept) = self.kept.iter().find(|kept| kept.start <= offset && end <= kept.end) {
            return kept.bytes.clone();
        }
        let wanted = if even { self.with_steps_to_come(offset, end) } else { Range { start: offset, end } };
        for kept in &mut self.kept {
            let range = Range { start: kept.start.min(wanted.start), end: kept.end.max(wanted.end) };
            let asked = (kept.end - kept.start) + (wanted.end - wanted.start);
            let len = range.end - range.start;
            if len <= RANGE_MAX && len <= COST_MAX * asked && grow(&kept.bytes, range) {
                (kept.start, kept.end) = (range.start, range.end);
                return kept.bytes.clone();
            }
        }
        let bytes = fetch(wanted);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { start: wanted.start, end: wanted.end, bytes: bytes.clone() });
        bytes
    }

    /// Forgets what `forget` says, because it failed or its memory is needed.
    pub(crate) fn forget(&mut self, mut forget: impl FnMut(&S) -> bool) {
        self.kept.retain(|kept| !forget(&kept.bytes));
    }

    /// Notes a read; says whether the last ones were even steps that are worth fetching together.
    fn step_to(&mut self, offset: u64, len: u64) -> bool {
        let step = self.last.replace(offset).map_or(0, |last| i128::from(offset) - i128::from(last));
        if step == self.step && step != 0 {
            self.steps += 1;
        } else {
            (self.step, self.steps, self.ahead) = (step, 0, 1);
        }
        self.steps >= STEPS && step.unsigned_abs() <= u128::from(COST_MAX * len)
    }

    /// The range of a read, and of as many steps behind it as are fetched at once by now.
    fn with_steps_to_come(&mut self, offset: u64, end: u64) -> Range {
        let step = u64::try_from(self.step.unsigned_abs()).unwrap_or(u64::MAX);
        let room = RANGE_MAX.saturating_sub(end - offset);
        self.ahead = (self.ahead * 2).min(room / step.max(1));
        let more = self.ahead * step;
        if self.step < 0 {
            Range { start: offset.saturating_sub(more), end }
        } else {
            Range { start: offset, end: end.saturating_add(more).min(self.size) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    const SIZE: u64 = 1 << 30;

    /// A request: its range, and whether it was sent.
    type Request = std::rc::Rc<Cell<(u64, u64, bool)>>;

    struct Reads {
        random: Random<Request>,
        requests: Vec<Request>,
        asked: u64,
    }

    impl Reads {
        fn new() -> Self {
            Self { random: Random::new(SIZE), requests: Vec::new(), asked: 0 }
        }

        fn read(&mut self, offset: u64, len: u64) {
            let grow = |request: &Request, range: Range| {
                let (.., sent) = request.get();
                if !sent {
                    request.set((range.start, range.end, false));
                }
                !sent
            };
            let requests = &mut self.requests;
            let request = self.random.read(offset, offset + len, grow, |range| {
                let request = Request::new(Cell::new((range.start, range.end, false)));
                requests.push(request.clone());
                request
            });
            let (start, end, _) = request.get();
            assert!(start <= offset && offset + len <= end && end <= SIZE, "covers the read, inside the file");
            self.asked += len;
        }

        fn send(&self) {
            for request in &self.requests {
                let (start, end, _) = request.get();
                request.set((start, end, true));
            }
        }

        fn fetched(&self) -> u64 {
            self.requests.iter().map(|request| request.get().1 - request.get().0).sum()
        }
    }

    #[test]
    fn reads_of_a_database_are_exact() {
        let mut reads = Reads::new();
        for page in [7, 9_000, 3, 512, 44, 8_000, 1_234, 77, 9_001] {
            reads.read(page * 4 * KIB, 4 * KIB);
            reads.send();
        }
        assert_eq!((reads.requests.len(), reads.fetched()), (9, reads.asked));
    }

    #[test]
    fn the_same_page_again_costs_nothing() {
        let mut reads = Reads::new();
        for page in [7, 9_000, 7, 9_000, 7] {
            reads.read(page * 4 * KIB, 4 * KIB);
            reads.send();
        }
        assert_eq!(reads.requests.len(), 2);
    }

    #[test]
    fn neighbours_that_are_asked_for_at_once_share_a_request() {
        let mut reads = Reads::new();
        for n in [3, 0, 1, 2, 5, 4, 7, 6] {
            reads.read(SIZE / 2 + n * 4 * KIB, 4 * KIB);
        }
        assert!(reads.requests.len() <= 3 && reads.fetched() <= 2 * reads.asked, "{:?}", reads.requests);
    }

    #[test]
    fn reading_backward_takes_few_requests_and_no_byte_twice() {
        let mut reads = Reads::new();
        for n in (0..1_024).rev() {
            reads.read(n * 4 * KIB, 4 * KIB);
            reads.send();
        }
        assert!(reads.requests.len() <= 24, "{} requests", reads.requests.len());
        assert_eq!(reads.fetched(), 4 << 20);
    }

    #[test]
    fn even_steps_with_gaps_take_few_requests_for_twice_the_bytes_at_most() {
        let mut reads = Reads::new();
        for n in 0..512 {
            reads.read(n * 8 * KIB, 4 * KIB);
            reads.send();
        }
        assert!(reads.requests.len() <= 24, "{} requests", reads.requests.len());
        assert!(reads.fetched() <= COST_MAX * reads.asked + RANGE_MAX, "{}", reads.fetched());
    }

    #[test]
    fn wide_steps_are_exact() {
        let mut reads = Reads::new();
        for n in 0..100 {
            reads.read(n * 1_024 * KIB, 4 * KIB);
            reads.send();
        }
        assert_eq!((reads.requests.len(), reads.fetched()), (100, reads.asked));
    }

    proptest! {
        #[test]
        fn every_read_is_covered_and_little_is_kept(
            steps in prop::collection::vec((-3_i64..4, 1..(300 * KIB), any::<bool>()), 1..60),
        ) {
            let mut reads = Reads::new();
            let mut offset = SIZE as i64 / 2;
            for (step, len, send) in steps {
                offset += step * 64 * KIB as i64;
                reads.read(offset as u64, len);
                if send {
                    reads.send();
                }
                prop_assert!(reads.random.kept.len() <= KEPT);
            }
        }

        #[test]
        fn the_ends_of_the_file_are_respected(backward in any::<bool>(), len in 1..(8 * KIB)) {
            let mut reads = Reads::new();
            for n in 0..40 {
                let offset = if backward { (39 - n) * len } else { SIZE - (40 - n) * len };
                reads.read(offset, len);
                reads.send();
            }
        }
    }
}
