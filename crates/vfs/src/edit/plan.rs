//! How a changed file is published: which of its bytes the store copies from the version that is there, and
//! which are sent. Pure.

use std::ops::Range;

use tidegate_store::limits;

/// The most that one request copies, so that several work on a large file: 256 MiB, at more than
/// 100 MB/s well within the time that such a request has.
const COPY_PART: u64 = 256 << 20;

const MIB: u64 = 1 << 20;

/// One part of the file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PartPlan {
    /// The same range of the version that is there.
    Copy(Range<u64>),
    /// To be sent.
    Send(Range<u64>),
}

impl PartPlan {
    fn range(&self) -> &Range<u64> {
        match self {
            Self::Copy(range) | Self::Send(range) => range,
        }
    }
}

/// The sizes that a plan keeps to, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The least of every part but the last.
    pub(crate) part_min: u64,
    /// Of a part that is sent; one may have up to twice `part_min`.
    pub(crate) part: u64,
}

/// The parts of a file of `size` bytes (more than one byte), where `unchanged` lists, ascending and apart,
/// what the store can copy. Where there would be more than an upload may have, they are in groups that become
/// one part each.
pub(crate) fn plan(size: u64, unchanged: &[Range<u64>], sizes: Sizes) -> Vec<Vec<PartPlan>> {
    let steps = std::iter::successors(Some(COPY_PART), |step| Some(step * 2).filter(|step| *step <= limits::PART_MAX));
    let few = steps.map(|step| attempt(size, unchanged, sizes, step)).find(|parts| parts.len() <= PARTS_MAX);
    match few {
        Some(parts) => parts.into_iter().map(|part| vec![part]).collect(),
        None => in_groups(attempt(size, unchanged, sizes, COPY_PART)),
    }
}

/// What an upload may have.
const PARTS_MAX: usize = limits::PARTS_MAX as usize;

/// So many of each that there are numbers for all: half of them are for groups that are full by their bytes.
fn in_groups(parts: Vec<PartPlan>) -> Vec<Vec<PartPlan>> {
    let each = parts.len().div_ceil(PARTS_MAX / 2);
    let (mut groups, mut bytes) = (Vec::<Vec<PartPlan>>::new(), 0);
    for part in parts {
        let len = part.range().end - part.range().start;
        match groups.last_mut().filter(|group| group.len() < each && bytes + len <= limits::PART_MAX) {
            Some(group) => {
                bytes += len;
                group.push(part);
            }
            None => {
                bytes = len;
                groups.push(vec![part]);
            }
        }
    }
    groups
}

/// The parts that copy an unchanged beginning of `len` bytes, at least `part_min`.
pub(crate) fn copies_of_beginning(len: u64) -> Vec<Range<u64>> {
    // Less than half of the parts that there may be, whatever the size.
    let step = len.div_ceil(4_000).div_ceil(MIB).saturating_mul(MIB).clamp(COPY_PART, limits::PART_MAX);
    split(0..len, step)
}

fn attempt(size: u64, unchanged: &[Range<u64>], Sizes { part_min, part }: Sizes, copy_step: u64) -> Vec<PartPlan> {
    let part = part.max(part_min);
    let mut parts = Vec::new();
    let mut sent_to = 0;
    for range in unchanged {
        // What is sent before it must be a part of its own.
        let start = if range.start == sent_to { sent_to } else { range.start.max(sent_to + part_min) };
        if range.end <= start || range.end - start < part_min {
            continue;
        }
        push_sent(&mut parts, sent_to..start, part_min, part);
        let step = (range.end - start).div_ceil(4_000).clamp(copy_step, limits::PART_MAX);
        parts.extend(split(start..range.end, step).into_iter().map(PartPlan::Copy));
        sent_to = range.end;
    }
    push_sent(&mut parts, sent_to..size, part_min, part);
    parts
}

/// Only a range that ends the file may be shorter than a part.
fn push_sent(parts: &mut Vec<PartPlan>, range: Range<u64>, part_min: u64, part: u64) {
    let len = range.end - range.start;
    if len > 0 {
        let count = len.div_ceil(part).min((len / part_min).max(1));
        parts.extend(in_pieces(range, count).into_iter().map(PartPlan::Send));
    }
}

/// Cuts a range into pieces of equal size, as few as make none larger than `step`.
pub(super) fn split(range: Range<u64>, step: u64) -> Vec<Range<u64>> {
    let count = (range.end - range.start).div_ceil(step).max(1);
    in_pieces(range, count)
}

fn in_pieces(range: Range<u64>, count: u64) -> Vec<Range<u64>> {
    let len = range.end - range.start;
    let bound = |n: u64| range.start + (u128::from(len) * u128::from(n) / u128::from(count)) as u64;
    (0..count).map(|n| bound(n)..bound(n + 1)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZES: Sizes = Sizes { part_min: 5 * MIB, part: 8 * MIB };
    const GIB: u64 = 1 << 30;

    /// Those of a plan without groups.
    fn alone(plan: Vec<Vec<PartPlan>>) -> Vec<PartPlan> {
        assert!(plan.iter().all(|part| part.len() == 1), "{plan:?}");
        plan.into_iter().flatten().collect()
    }

    fn sent(parts: &[PartPlan]) -> u64 {
        let sent = parts.iter().filter(|part| matches!(part, PartPlan::Send(_)));
        sent.map(|part| part.range().end - part.range().start).sum()
    }

    #[test]
    fn a_byte_in_the_middle_of_a_large_file_sends_one_part() {
        let unchanged = [0..10 * GIB, 10 * GIB + 1..100 * GIB];
        let parts = alone(plan(100 * GIB, &unchanged, SIZES));
        assert_eq!(sent(&parts), 5 * MIB);
        assert_eq!(parts.len(), 40 + 1 + 360);
    }

    #[test]
    fn a_byte_in_the_first_part_or_the_last() {
        let parts = alone(plan(GIB, &[0..10, 11..GIB], SIZES));
        assert_eq!((sent(&parts), parts.first()), (5 * MIB, Some(&PartPlan::Send(0..5 * MIB))));
        let parts = alone(plan(GIB, std::slice::from_ref(&(0..GIB - 1)), SIZES));
        assert_eq!((sent(&parts), parts.last()), (1, Some(&PartPlan::Send(GIB - 1..GIB))));
    }

    #[test]
    fn what_changes_all_over_a_large_file_is_sent_in_groups_and_nothing_else() {
        // As many as there may be, each in a part of its own.
        let unchanged: Vec<_> = (0..65_536).map(|n| n * 64 * MIB + 1..(n + 1) * 64 * MIB).collect();
        let groups = plan(65_536 * 64 * MIB, &unchanged, SIZES);
        assert!(groups.len() <= PARTS_MAX, "{}", groups.len());
        let bytes = |group: &Vec<PartPlan>| group.iter().map(|part| part.range().end - part.range().start).sum::<u64>();
        assert!(groups.iter().all(|group| group.len() <= PARTS_MAX && bytes(group) <= limits::PART_MAX));
        let parts: Vec<_> = groups.into_iter().flatten().collect();
        assert_eq!(sent(&parts), 65_536 * 5 * MIB);
        assert!(parts.windows(2).all(|pair| pair[0].range().end == pair[1].range().start));
    }

    #[test]
    fn the_greatest_hole_takes_no_more_parts_than_there_are() {
        let zeros = 1_088 * MIB;
        let holes: Vec<_> = (0..limits::OBJECT_MAX / zeros).map(|n| n * zeros..(n + 1) * zeros).collect();
        let parts = alone(plan(limits::OBJECT_MAX, &holes, SIZES));
        assert!(parts.len() <= 10_000 && sent(&parts) < 2 * zeros, "{} parts, {} sent", parts.len(), sent(&parts));
    }

    #[test]
    fn the_beginning_of_the_largest_file_leaves_parts_for_what_follows() {
        assert!(copies_of_beginning(limits::OBJECT_MAX).len() <= 4_000);
        assert_eq!(copies_of_beginning(5 * MIB), std::iter::once(0..5 * MIB).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn parts_make_the_file_within_the_stores_limits(
            cuts in prop::collection::vec(0_u64..400 * MIB, 0..40), size in 1_u64..600 * MIB,
        ) {
            let mut cuts: Vec<u64> = cuts.into_iter().filter(|cut| *cut < size).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let unchanged: Vec<_> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let parts = alone(plan(size, &unchanged, SIZES));
            let mut at = 0;
            for (n, part) in parts.iter().enumerate() {
                let range = part.range();
                prop_assert_eq!(range.start, at);
                at = range.end;
                prop_assert!(range.start < range.end && range.end - range.start <= limits::PART_MAX);
                prop_assert!(n + 1 == parts.len() || range.end - range.start >= SIZES.part_min, "{parts:?}");
                if let PartPlan::Copy(range) = part {
                    let within = |of: &Range<u64>| of.start <= range.start && range.end <= of.end;
                    prop_assert!(unchanged.iter().any(within));
                } else {
                    prop_assert!(range.end - range.start <= 2 * SIZES.part_min);
                }
            }
            prop_assert_eq!(at, size);
        }
    }
}
