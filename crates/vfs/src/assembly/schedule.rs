//! How large each part of an upload is.

use tidegate_store::limits;

/// Parts of one size before the size doubles.
const PARTS_PER_SIZE: u64 = 1_000;

/// How many parts a file of known size is planned to have at most: the rest are for a file that
/// turns out larger than its hint.
const PARTS_PLANNED: u64 = 9_000;

const MIB: u64 = 1 << 20;

/// The sizes of an upload's parts: `flat` parts of `size` bytes, then sizes that double every 1,000
/// parts up to `size_max`, 10,000 parts in all; or, [with groups](Schedule::with_groups), as many as
/// there may be: those behind a certain one all have one size, and become parts of the upload together.
///
/// That is the plan. Where memory is short a part may be [smaller](Schedule::smaller), down to a
/// second plan that doubles later, at equal distances over all 10,000 parts. A part's place is
/// [settled](Schedule::settle) when the first byte comes for it or for one behind it, and stays, so
/// that writes in any order meet the same parts.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    size: u64,
    /// Parts that a hint asks for.
    hinted: u64,
    flat: u64,
    size_max: u64,
    /// Parts that the upload has as such.
    direct: u64,
    /// Of those behind them; 0 if there are none.
    grouped_size: u64,
    /// What is settled: runs of parts of one size, ascending.
    runs: Vec<Run>,
    settled: u64,
    settled_end: u64,
}

/// Parts of one size from a part on, up to the next run.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    start: u64,
    size: u64,
}

/// One part's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartSpan {
    /// Its place among the parts, from 0 on.
    pub(crate) index: u32,
    /// Offset of its first byte in the file.
    pub(crate) start: u64,
    /// Length in bytes, when full.
    pub(crate) len: u64,
}

impl PartSpan {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len
    }
}

impl Schedule {
    /// The schedule for a file of `hint` bytes, 0 if its size is not known. `None` if the store
    /// can't hold that much.
    pub(crate) fn new(size_min: u64, size_max: u64, hint: u64) -> Option<Self> {
        let planned = hint.div_ceil(PARTS_PLANNED).div_ceil(MIB) * MIB;
        let size = size_min.max(planned);
        if size > limits::PART_MAX {
            return None;
        }
        let hinted = hint.div_ceil(size);
        Some(Self {
            size,
            hinted,
            flat: hinted.max(PARTS_PER_SIZE),
            size_max: size_max.clamp(size, limits::PART_MAX),
            direct: u64::from(limits::PARTS_MAX),
            grouped_size: 0,
            runs: Vec::new(),
            settled: 0,
            settled_end: 0,
        })
    }

    /// The same with parts of `size` bytes without end behind the first `direct` ones, or those that a hint asks
    /// for.
    pub(crate) fn with_groups(mut self, direct: u64, size: u64) -> Self {
        (self.direct, self.grouped_size) = (direct.max(self.hinted), size);
        self
    }

    /// How many parts the upload has as such.
    pub(crate) fn direct(&self) -> u32 {
        u32::try_from(self.direct).unwrap_or(u32::MAX)
    }

    /// The part that holds the byte at `offset`; `None` behind the last part.
    pub(crate) fn part_at(&self, offset: u64) -> Option<PartSpan> {
        if offset < self.settled_end {
            let after = self.runs.partition_point(|run| run.start <= offset);
            return self.runs.get(after.checked_sub(1)?)?.part_at(offset);
        }
        let mut run = Run { first: self.settled, start: self.settled_end, size: self.planned(self.settled) };
        loop {
            let count = self.next_size_at(run.first).saturating_sub(run.first);
            if run.size == 0 {
                return None;
            }
            if (offset - run.start) / run.size < count {
                return run.part_at(offset);
            }
            let first = run.first + count;
            run = Run { first, start: run.start + count * run.size, size: self.planned(first) };
        }
    }

    /// Fixes the place of a part, as [`Schedule::part_at`] or [`Schedule::smaller`] gave it, and of
    /// those before it.
    pub(crate) fn settle(&mut self, span: &PartSpan) {
        let index = u64::from(span.index);
        while self.settled < index {
            let size = self.planned(self.settled);
            let count = self.next_size_at(self.settled).min(index) - self.settled;
            self.extend(count, size);
        }
        if self.settled == index {
            self.extend(1, span.len);
        }
    }

    /// A part at the same place with about half the size, if it is not settled and may be smaller.
    pub(crate) fn smaller(&self, span: &PartSpan) -> Option<PartSpan> {
        let index = u64::from(span.index);
        let len = (span.len / 2).max(self.least(index));
        (index >= self.settled && len < span.len).then_some(PartSpan { len, ..*span })
    }

    fn extend(&mut self, count: u64, size: u64) {
        if self.runs.last().is_none_or(|run| run.size != size) {
            self.runs.push(Run { first: self.settled, start: self.settled_end, size });
        }
        self.settled += count;
        self.settled_end += count * size;
    }

    /// The size of a part as planned.
    fn planned(&self, index: u64) -> u64 {
        if index >= self.direct {
            return self.grouped_size;
        }
        match index.checked_sub(self.flat) {
            Some(behind) => self.doubled(1 + behind / PARTS_PER_SIZE),
            None => self.size,
        }
    }

    /// The least size of a part.
    fn least(&self, index: u64) -> u64 {
        if index >= self.direct {
            return self.grouped_size;
        }
        let Some(behind) = index.checked_sub(self.hinted) else { return self.size };
        let sizes = 1 + u64::from(self.size_max.div_ceil(self.size).next_power_of_two().ilog2());
        let step = behind * sizes / self.direct.saturating_sub(self.hinted).max(1);
        self.doubled(step).min(self.planned(index))
    }

    fn doubled(&self, times: u64) -> u64 {
        // No size is doubled more often: the largest part is 1,024 times the smallest.
        (self.size << times.min(16)).min(self.size_max)
    }

    /// The first part behind this one that may be planned with another size.
    fn next_size_at(&self, index: u64) -> u64 {
        if index >= self.direct {
            return u64::MAX;
        }
        let next = match index.checked_sub(self.flat) {
            Some(behind) => self.flat + (behind / PARTS_PER_SIZE + 1) * PARTS_PER_SIZE,
            None => self.flat,
        };
        next.min(self.direct)
    }

    /// The first part.
    pub(crate) fn first(&self) -> PartSpan {
        PartSpan { index: 0, start: 0, len: self.planned(0) }
    }
}

impl Run {
    /// The part that holds the byte at `offset`, which is not before the run.
    fn part_at(&self, offset: u64) -> Option<PartSpan> {
        let index = (offset - self.start) / self.size;
        span(self.first + index, self.start + index * self.size, self.size)
    }
}

fn span(index: u64, start: u64, len: u64) -> Option<PartSpan> {
    Some(PartSpan { index: u32::try_from(index).ok()?, start, len })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn spans(schedule: &Schedule) -> Vec<PartSpan> {
        std::iter::successors(schedule.part_at(0), |span| schedule.part_at(span.end())).collect()
    }

    #[test]
    fn parts_of_an_unknown_size_double_every_thousand() {
        let spans = spans(&Schedule::new(8 * MIB, 64 * MIB, 0).unwrap());
        assert_eq!(spans.len(), 10_000);
        for (index, mib) in [(0, 8), (999, 8), (1_000, 16), (1_999, 16), (2_000, 32), (3_000, 64), (9_999, 64)] {
            assert_eq!(spans[index].len, mib * MIB, "part {index}");
        }
        assert_eq!(spans[9_999].end(), 504_000 * MIB);
    }

    #[test]
    fn a_hint_of_a_terabyte_fits_into_parts_of_one_size() {
        let schedule = Schedule::new(8 * MIB, 64 * MIB, 1024 * GIB).unwrap();
        assert_eq!(schedule.first().len, 117 * MIB);
        let last = schedule.part_at(1024 * GIB - 1).unwrap();
        assert!(last.index < 9_000);
        assert_eq!(last.len, 117 * MIB);
        assert!(Schedule::new(8 * MIB, 64 * MIB, 9_000 * 6 * GIB).is_none(), "parts over 5 GiB");
    }

    /// The smallest part that may stand here.
    fn smallest(schedule: &Schedule, span: PartSpan) -> PartSpan {
        std::iter::successors(Some(span), |span| schedule.smaller(span)).last().unwrap()
    }

    #[test]
    fn the_smallest_parts_still_make_a_file_of_300_000_mebibytes() {
        let mut schedule = Schedule::new(8 * MIB, 64 * MIB, 0).unwrap();
        let mut end = 0;
        while let Some(span) = schedule.part_at(end) {
            let span = smallest(&schedule, span);
            schedule.settle(&span);
            assert_eq!(schedule.smaller(&span), None, "settled");
            end = span.end();
        }
        assert_eq!(end, 300_000 * MIB);
        let lens: Vec<u64> = [0, 2_499, 2_500, 5_000, 7_500].map(|n| spans(&schedule)[n].len / MIB).to_vec();
        assert_eq!(lens, [8, 8, 16, 32, 64]);
    }

    #[test]
    fn parts_behind_the_direct_ones_have_one_size_and_no_end() {
        let mut schedule = Schedule::new(8 * MIB, 64 * MIB, 0).unwrap().with_groups(2_500, 48 * MIB);
        let direct = (8 + 16 + 16) * 1_000 * MIB;
        assert_eq!(schedule.part_at(direct - 1).map(|span| (span.index, span.len)), Some((2_499, 32 * MIB)));
        let grouped = PartSpan { index: 2_500 + 100_000, start: direct + 100_000 * 48 * MIB, len: 48 * MIB };
        assert_eq!(schedule.part_at(grouped.start + 1), Some(grouped));
        assert_eq!(schedule.smaller(&grouped), None);
        schedule.settle(&grouped);
        assert_eq!(schedule.part_at(grouped.start + 1), Some(grouped));
        assert_eq!(schedule.part_at(grouped.end()).map(|span| span.index), Some(grouped.index + 1));
    }

    #[test]
    fn parts_that_a_hint_asks_for_are_never_smaller() {
        let hint = 1024 * GIB;
        let mut schedule = Schedule::new(8 * MIB, 64 * MIB, hint).unwrap();
        let mut end = 0;
        while let Some(span) = schedule.part_at(end) {
            let span = smallest(&schedule, span);
            schedule.settle(&span);
            end = span.end();
        }
        assert!(end >= hint);
    }

    proptest! {
        /// Parts settled in any order of offsets, any of them smaller, follow one another without
        /// gaps, and none moves again.
        #[test]
        fn what_is_settled_stays(offsets in prop::collection::vec((0..400 * GIB, 0..4_u8), 1..60)) {
            let mut schedule = Schedule::new(8 * MIB, 64 * MIB, 0).unwrap();
            let mut settled: Vec<PartSpan> = Vec::new();
            for (offset, halvings) in offsets {
                // Far and near ones: most writes go on behind the last.
                let offset = if halvings > 1 { schedule.settled_end } else { offset };
                let Some(mut span) = schedule.part_at(offset) else { continue };
                for _ in 0..halvings {
                    span = schedule.smaller(&span).unwrap_or(span);
                }
                schedule.settle(&span);
                settled.push(span);
                for span in &settled {
                    prop_assert_eq!(schedule.part_at(span.start), Some(*span));
                    prop_assert_eq!(schedule.part_at(span.end() - 1), Some(*span));
                }
            }
            let all = spans(&schedule);
            prop_assert_eq!(all.len(), 10_000);
            prop_assert!(all.windows(2).all(|pair| pair[0].end() == pair[1].start));
            prop_assert!(all[9_999].end() >= 300_000 * MIB);
        }

        #[test]
        fn parts_follow_one_another_without_gaps(hint in 0..(6_u64 << 40), offset in 0..(6_u64 << 40)) {
            let schedule = Schedule::new(8 * MIB, 64 * MIB, hint).unwrap();
            if let Some(span) = schedule.part_at(offset) {
                prop_assert!(span.start <= offset && offset < span.end());
                prop_assert_eq!(schedule.part_at(span.start), Some(span));
                prop_assert_eq!(schedule.part_at(span.end() - 1), Some(span));
                if let Some(next) = schedule.part_at(span.end()) {
                    prop_assert_eq!(next.start, span.end());
                    prop_assert_eq!(next.index, span.index + 1);
                }
            } else {
                prop_assert!(offset >= hint, "the hint always fits");
            }
        }
    }
}
