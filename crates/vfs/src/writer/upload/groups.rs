//! Where the parts of a file go: as long as there are numbers for each of them, to the upload as they are; behind
//! that a group of them at a time, so that a file of unknown size may have as many bytes as the store takes.

use std::sync::Arc;

use tidegate_store::{PartNumber, limits};

use super::Upload;
use crate::assembly::{PartSpan, too_large};
use crate::error::{FsError, FsErrorKind};
use crate::writer::CopyFrom;
use crate::writer::transfer::Group;
use crate::zeros::Zeros;

/// Numbers that are kept for groups that are closed before they are full: one for each fsync, and each time that
/// the upload is cut.
const SPARE: u64 = 256;

/// How many parts an upload may have as such that goes on behind `parts` parts of `len` bytes in all, so that groups
/// of `group` bytes behind them reach the greatest size.
pub(super) fn direct_parts(parts: u16, len: u64, group: u64) -> u64 {
    let left = u64::from(limits::PARTS_MAX.saturating_sub(parts));
    let groups = limits::OBJECT_MAX.saturating_sub(len).div_ceil(group);
    // The first part may be written again, so it is one.
    left.saturating_sub(groups + SPARE).max(1)
}

/// Where a part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    Direct(PartNumber),
    /// To the group of this index.
    Grouped(usize),
}

/// The groups of one file. They follow one another without gaps behind its first parts.
#[derive(Debug)]
pub(super) struct Groups {
    /// How many parts are in none.
    direct: u32,
    /// The number of the part before the first one.
    before: u16,
    /// How many parts a group has.
    size: u32,
    slots: Vec<Slot>,
}

/// Room for one group.
#[derive(Debug)]
pub(super) struct Slot {
    /// The index of its first part, and how many it has room for.
    first: u32,
    count: u32,
    /// How many were sent, and where the last of them is.
    sent: u32,
    last: u32,
    group: Option<Arc<Group>>,
    is_closed: bool,
}

impl Groups {
    /// Behind `direct` parts, the first of which has the number behind `before`.
    pub(super) fn new(direct: u32, before: u16, size: u32) -> Self {
        Self { direct, before, size: size.max(1), slots: Vec::new() }
    }

    /// Where the part of an index goes.
    ///
    /// # Errors
    /// `TooLarge` if there is no number left for it.
    pub(super) fn seat(&mut self, index: u32) -> Result<Seat, FsError> {
        if index < self.direct {
            return Ok(Seat::Direct(self.number_of(u64::from(index))?));
        }
        loop {
            let next = self.slots.last().map_or(self.direct, Slot::end);
            if index < next {
                break;
            }
            self.number_of(u64::from(self.direct) + self.slots.len() as u64)?;
            let (count, last) = (self.size, next);
            self.slots.push(Slot { first: next, count, sent: 0, last, group: None, is_closed: false });
        }
        Ok(Seat::Grouped(self.slots.partition_point(|slot| slot.end() <= index)))
    }

    /// The number of a group in the upload.
    pub(super) fn number(&self, slot: usize) -> Result<PartNumber, FsError> {
        self.number_of(u64::from(self.direct) + slot as u64)
    }

    fn number_of(&self, position: u64) -> Result<PartNumber, FsError> {
        let number = u16::try_from(u64::from(self.before) + position + 1).ok();
        number.and_then(PartNumber::new).ok_or_else(too_large)
    }

    /// Makes the last group that has parts end behind them, so that it can be closed; `false` if one of those that
    /// are not full lacks a part in between.
    pub(super) fn end_early(&mut self) -> bool {
        let Some(last) = self.slots.iter().rposition(|slot| slot.sent > 0) else { return true };
        if self.slots.iter().take(last).any(|slot| !slot.is_closed) {
            return false;
        }
        let Some(slot) = self.slots.get_mut(last).filter(|slot| !slot.is_closed) else { return true };
        if slot.last + 1 - slot.first != slot.sent {
            return false;
        }
        slot.count = slot.sent;
        self.slots.truncate(last + 1);
        true
    }
}

impl Slot {
    fn end(&self) -> u32 {
        self.first + self.count
    }
}

impl Upload {
    /// The group of a slot, and the number in it of the part of an index, which is sent now.
    pub(super) fn enter_group(&mut self, slot: usize, index: u32) -> Result<(Arc<Group>, PartNumber), FsError> {
        let Some(slot) = self.groups.slots.get_mut(slot) else { return Err(too_large()) };
        let number = u16::try_from(index - slot.first + 1).ok().and_then(PartNumber::new).ok_or_else(too_large)?;
        let group = match &slot.group {
            Some(group) => Arc::clone(group),
            None => Arc::clone(slot.group.insert(self.transfer.open_group(&self.attributes)?)),
        };
        slot.sent += 1;
        slot.last = slot.last.max(index);
        Ok((group, number))
    }

    /// Whether a group has no part yet.
    pub(super) fn is_empty_group(&self, slot: usize) -> bool {
        self.groups.slots.get(slot).is_some_and(|slot| slot.sent == 0 && !slot.is_closed)
    }

    /// Closes the groups that have all their parts.
    pub(super) fn close_full_groups(&mut self) -> Result<(), FsError> {
        self.close_groups(|slot| slot.sent == slot.count)
    }

    /// Closes all groups that have parts: no more come.
    pub(super) fn close_all_groups(&mut self) -> Result<(), FsError> {
        self.close_groups(|_| true)
    }

    /// Makes what was sent of the last group a part of its own, if it has no gaps.
    pub(super) fn close_groups_early(&mut self) -> Result<(), FsError> {
        if !self.groups.end_early() {
            return Err(FsError::new(
                FsErrorKind::Unavailable,
                "the file is written out of order, and what lies in between has to come first; try again",
            ));
        }
        self.close_full_groups()
    }

    fn close_groups(&mut self, is_due: impl Fn(&Slot) -> bool) -> Result<(), FsError> {
        for index in 0..self.groups.slots.len() {
            let number = self.groups.number(index);
            let due = self.groups.slots.get_mut(index).filter(|slot| !slot.is_closed && is_due(slot));
            let Some(slot) = due else { continue };
            if let Some(group) = slot.group.take() {
                slot.is_closed = true;
                let count = slot.sent as usize;
                self.transfer.close_group(group, number?, count, &self.attributes);
            }
        }
        Ok(())
    }

    /// Has the store fill parts that follow one another with zeros.
    pub(super) async fn launch_hole(&mut self, spans: &[PartSpan]) -> Result<(), FsError> {
        self.launch_beginning();
        let zeros = Zeros::of(&self.target, self.grouping).await?;
        let (mut copies, mut rest) = (Vec::<(PartNumber, u64)>::new(), spans);
        while let Some((span, behind)) = rest.split_first() {
            rest = behind;
            match self.groups.seat(span.index)? {
                // S3 takes no upload with checksums that leaves numbers out.
                Seat::Direct(number) => copies.push((number, span.len)),
                Seat::Grouped(slot) => match self.hole_of(slot, span, behind) {
                    Some((parts, len)) => {
                        copies.push((self.groups.number(slot)?, len));
                        rest = behind.get(parts - 1..).unwrap_or_default();
                    }
                    None => {
                        self.transfer.lane().await?;
                        let (group, number) = self.enter_group(slot, span.index)?;
                        let from = CopyFrom::Zeros(zeros.clone());
                        self.transfer.launch_copies(Some(&group), from, vec![(number, 0..span.len)], &self.attributes);
                    }
                },
            }
        }
        let copies = copies.into_iter().map(|(number, len)| (number, 0..len)).collect();
        self.transfer.launch_copies(None, CopyFrom::Zeros(zeros), copies, &self.attributes);
        Ok(())
    }

    /// How many parts a group has, and how many bytes, if all of them are in a hole that begins with `span`.
    fn hole_of(&mut self, slot: usize, span: &PartSpan, behind: &[PartSpan]) -> Option<(usize, u64)> {
        let end = self.assembly.end();
        let slot = self.groups.slots.get_mut(slot).filter(|slot| slot.sent == 0 && slot.first == span.index)?;
        let parts = std::iter::once(span).chain(behind).take(slot.count as usize);
        let (count, len) = parts.fold((0, 0), |(count, len), span| (count + 1, len + span.len));
        let is_whole = count == slot.count as usize || span.start + len == end;
        is_whole.then(|| {
            slot.is_closed = true;
            (count, len)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    #[test]
    fn numbers_suffice_for_the_greatest_size() {
        let direct = direct_parts(0, 0, GIB);
        assert_eq!(direct, 10_000 - 5_120 - 256);
        // Behind the most parts that a version of that size may be copied in, and behind the smallest ones.
        assert_eq!(direct_parts(4_000, limits::OBJECT_MAX - GIB, GIB), 10_000 - 4_000 - 1 - 256);
        assert_eq!(direct_parts(4_624, 4_624 * 8 * MIB, GIB), 10_000 - 4_624 - 5_084 - 256);
        assert_eq!(direct_parts(9_900, 100 * GIB, GIB), 1);
    }

    #[test]
    fn parts_behind_the_first_are_grouped() {
        let mut groups = Groups::new(10, 5, 4);
        let number = |number| PartNumber::new(number).unwrap();
        assert_eq!(groups.seat(0).unwrap(), Seat::Direct(number(6)));
        assert_eq!(groups.seat(9).unwrap(), Seat::Direct(number(15)));
        let seats: Vec<_> = [10, 13, 14, 22].map(|index| groups.seat(index).unwrap()).into();
        assert_eq!(seats, [0, 0, 1, 3].map(Seat::Grouped));
        assert_eq!(groups.number(3).unwrap(), number(19));
        let last = 10 + (10_000 - 15) * 4;
        assert!(groups.seat(last - 1).is_ok());
        assert_eq!(groups.seat(last).unwrap_err().kind(), FsErrorKind::TooLarge);
    }

    fn send(groups: &mut Groups, index: u32) {
        let Seat::Grouped(slot) = groups.seat(index).unwrap() else { panic!() };
        let slot = &mut groups.slots[slot];
        (slot.sent, slot.last) = (slot.sent + 1, slot.last.max(index));
    }

    #[test]
    fn a_group_ends_early_where_it_has_no_gaps() {
        let mut groups = Groups::new(10, 0, 4);
        assert!(groups.end_early(), "there is none");
        send(&mut groups, 10);
        send(&mut groups, 11);
        assert!(groups.end_early());
        assert_eq!(groups.seat(12).unwrap(), Seat::Grouped(1));
        assert_eq!(groups.seat(15).unwrap(), Seat::Grouped(1), "the next one has its size");
        groups.slots[0].is_closed = true;
        send(&mut groups, 13);
        assert!(!groups.end_early(), "12 is missing");
        send(&mut groups, 12);
        send(&mut groups, 16);
        assert!(!groups.end_early(), "of two that are not full the first can't end");
    }
}
