//! How large each part of an upload is.

use tidegate_store::{PartNumber, limits};

/// Parts of one size before the size doubles.
const PARTS_PER_SIZE: u64 = 1_000;

/// How many parts a file of known size is planned to have at most: the rest are for a file that
/// turns out larger than its hint.
const PARTS_PLANNED: u64 = 9_000;

const MIB: u64 = 1 << 20;

/// The sizes of an upload's parts, fixed at OPEN: `flat` parts of `size` bytes, then sizes that
/// double every 1,000 parts up to `size_max`, 10,000 parts in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    size: u64,
    flat: u64,
    size_max: u64,
}

/// One part's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartSpan {
    pub(crate) number: PartNumber,
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
        let flat = hint.div_ceil(size).max(PARTS_PER_SIZE);
        Some(Self { size, flat, size_max: size_max.clamp(size, limits::PART_MAX) })
    }

    /// The part that holds the byte at `offset`; `None` behind the last part.
    pub(crate) fn part_at(&self, offset: u64) -> Option<PartSpan> {
        let (mut first, mut start, mut count, mut size) = (0, 0, self.flat, self.size);
        loop {
            let index = first + (offset - start) / size;
            let uniform = size >= self.size_max;
            if index < first + count || uniform {
                return span(index, start + (index - first) * size, size);
            }
            first += count;
            start += count * size;
            count = PARTS_PER_SIZE;
            size = (size * 2).min(self.size_max);
        }
    }

    /// The first part.
    pub(crate) fn first(&self) -> PartSpan {
        PartSpan { number: PartNumber::FIRST, start: 0, len: self.size }
    }
}

fn span(index: u64, start: u64, len: u64) -> Option<PartSpan> {
    let number = PartNumber::new(u16::try_from(index + 1).ok()?)?;
    Some(PartSpan { number, start, len })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn spans(schedule: Schedule) -> Vec<PartSpan> {
        std::iter::successors(schedule.part_at(0), |span| schedule.part_at(span.end())).collect()
    }

    #[test]
    fn parts_of_an_unknown_size_double_every_thousand() {
        let spans = spans(Schedule::new(8 * MIB, 64 * MIB, 0).unwrap());
        assert_eq!(spans.len(), 10_000);
        for (index, mib) in [(0, 8), (999, 8), (1_000, 16), (1_999, 16), (2_000, 32), (3_000, 64), (9_999, 64)] {
            assert_eq!(spans[index].len, mib * MIB, "part {index}");
        }
        assert_eq!(spans[9_999].end(), 504_000 * MIB, "the size that the settings document");
    }

    #[test]
    fn a_hint_of_a_terabyte_fits_into_parts_of_one_size() {
        let schedule = Schedule::new(8 * MIB, 64 * MIB, 1024 * GIB).unwrap();
        assert_eq!(schedule.first().len, 117 * MIB);
        let last = schedule.part_at(1024 * GIB - 1).unwrap();
        assert!(last.number.number() <= 9_000);
        assert_eq!(last.len, 117 * MIB);
        assert!(Schedule::new(8 * MIB, 64 * MIB, 9_000 * 6 * GIB).is_none(), "parts over 5 GiB");
    }

    proptest! {
        #[test]
        fn parts_follow_one_another_without_gaps(hint in 0..(6_u64 << 40), offset in 0..(6_u64 << 40)) {
            let schedule = Schedule::new(8 * MIB, 64 * MIB, hint).unwrap();
            if let Some(span) = schedule.part_at(offset) {
                prop_assert!(span.start <= offset && offset < span.end());
                prop_assert_eq!(schedule.part_at(span.start), Some(span));
                prop_assert_eq!(schedule.part_at(span.end() - 1), Some(span));
                if let Some(next) = schedule.part_at(span.end()) {
                    prop_assert_eq!(next.start, span.end());
                    prop_assert_eq!(next.number.number(), span.number.number() + 1);
                }
            } else {
                prop_assert!(offset >= hint, "the hint always fits");
            }
        }
    }
}
