//! Which bytes of a file were written, and where they are: pure, no I/O.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::content::Base;

/// Where written bytes are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In a version of a file, behind this offset. The store has them.
    Copied(Arc<Base>, u64),
    /// Here, and on their way to scratch.
    Memory(Bytes),
    /// In the scratch file, at the offset that they have in the file.
    Scratch,
}

/// Bytes that were written, from one turn at the latest.
#[derive(Clone, Debug)]
struct Run {
    end: u64,
    turn: u64,
    place: Place,
}

/// The bytes of a file that were written since it was opened or last published. Runs never overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Extents {
    runs: BTreeMap<u64, Run>,
    /// Those of them that are on this node.
    bytes: u64,
}

impl Extents {
    /// How many runs there are.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many bytes there are on this node, as opposed to those that the store has.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes of `range` there are.
    pub(super) fn bytes_in(&self, range: Range<u64>) -> u64 {
        let inside = self.runs.range(..range.end).rev().take_while(|(_, run)| run.end > range.start);
        inside.map(|(start, run)| run.end.min(range.end) - (*start).max(range.start)).sum()
    }

    /// Lays bytes at `start`, over whatever is there. Turns only grow.
    pub(super) fn write(&mut self, start: u64, data: Bytes, turn: u64) {
        let end = start + data.len() as u64;
        if start < end {
            self.remove(start..end);
            self.insert(start, Run { end, turn, place: Place::Memory(data) });
        }
    }

    /// Notes bytes that lie in the scratch file already.
    pub(super) fn note_scratch(&mut self, range: Range<u64>, turn: u64) {
        if range.start < range.end {
            self.remove(range.clone());
            self.insert(range.start, Run { end: range.end, turn, place: Place::Scratch });
        }
    }

    /// Lays a range of a version at `start`, over whatever is there.
    pub(super) fn copy(&mut self, start: u64, base: &Arc<Base>, range: Range<u64>, turn: u64) {
        if range.start >= range.end {
            return;
        }
        let end = start + (range.end - range.start);
        self.remove(start..end);
        let before = self.runs.range(..start).next_back().map(|(at, run)| (*at, run.clone()));
        match before.filter(|(at, run)| run.end == start && run.goes_on_in(*at, base, range.start)) {
            // One copy in many requests.
            Some((at, run)) => {
                self.runs.insert(at, Run { end, turn, place: run.place });
            }
            None => self.insert(start, Run { end, turn, place: Place::Copied(Arc::clone(base), range.start) }),
        }
    }

    /// Forgets what was written to a range.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        let before = self.runs.range(..range.start).next_back();
        if let Some(start) = before.filter(|(_, run)| run.end > range.start).map(|(start, _)| *start)
            && let Some(run) = self.take(start)
        {
            self.insert(start, run.cut(start, start..range.start));
            self.insert(range.start, run.cut(start, range.start..run.end));
        }
        while let Some((&start, _)) = self.runs.range(range.clone()).next()
            && let Some(run) = self.take(start)
        {
            if run.end > range.end {
                self.insert(range.end, run.cut(start, range.end..run.end));
            }
        }
    }

    /// What is in memory, in the order of the file.
    pub(super) fn in_memory(&self) -> Vec<(u64, Bytes)> {
        let runs = self.runs.iter();
        runs.filter_map(|(start, run)| match &run.place {
            Place::Memory(bytes) => Some((*start, bytes.clone())),
            Place::Copied(..) | Place::Scratch => None,
        })
        .collect()
    }

    /// What was in memory at `turn` lies in the scratch file now; neighbours there become one.
    pub(super) fn settle(&mut self, turn: u64) {
        let settled = self.runs.iter_mut().filter(|(_, run)| run.turn <= turn && matches!(run.place, Place::Memory(_)));
        let starts: Vec<u64> = settled
            .map(|(start, run)| {
                run.place = Place::Scratch;
                *start
            })
            .collect();
        starts.into_iter().for_each(|start| self.join(start));
    }

    /// Forgets what was written up to `turn`.
    pub(super) fn forget(&mut self, turn: u64) {
        self.runs.retain(|_, run| run.turn > turn);
        self.bytes = self.runs.iter().map(|(start, run)| run.here(*start)).sum();
    }

    /// The range in order: what was written, and the gaps between (`None`).
    pub(super) fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<Place>)> {
        let before = self.runs.range(..range.start).next_back();
        let first = before.filter(|(_, run)| run.end > range.start).map_or(range.start, |(start, _)| *start);
        let mut runs = self.runs.range(first..range.end.max(first)).peekable();
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let from = at;
            let Some((start, run)) = runs.peek().map(|(start, run)| (**start, *run)) else {
                at = range.end;
                return Some((from..at, None));
            };
            if start > from {
                at = start.min(range.end);
                return Some((from..at, None));
            }
            at = run.end.min(range.end);
            let place = run.cut(start, from..at).place;
            runs.next();
            Some((from..at, Some(place)))
        })
    }

    fn insert(&mut self, start: u64, run: Run) {
        self.bytes += run.here(start);
        self.runs.insert(start, run);
    }

    fn take(&mut self, start: u64) -> Option<Run> {
        let run = self.runs.remove(&start)?;
        self.bytes -= run.here(start);
        Some(run)
    }

    /// Joins a run in the scratch file with those that touch it.
    fn join(&mut self, start: u64) {
        let is_scratch = |run: &Run| matches!(run.place, Place::Scratch);
        let Some(mut run) = self.runs.get(&start).filter(|run| is_scratch(run)).cloned() else { return };
        let mut start = start;
        if let Some(next) = self.runs.get(&run.end).filter(|next| is_scratch(next)).cloned() {
            self.runs.remove(&run.end);
            (run.end, run.turn) = (next.end, run.turn.max(next.turn));
        }
        let before = self.runs.range(..start).next_back().map(|(at, before)| (*at, before.clone()));
        if let Some((at, before)) = before.filter(|(_, before)| before.end == start && is_scratch(before)) {
            self.runs.remove(&start);
            (start, run.turn) = (at, run.turn.max(before.turn));
        }
        self.runs.insert(start, run);
    }
}

impl Run {
    /// The part `range` of a run that begins at `start`.
    fn cut(&self, start: u64, range: Range<u64>) -> Self {
        let place = match &self.place {
            // Both lie within the length of a buffer in memory.
            Place::Memory(bytes) => {
                Place::Memory(bytes.slice((range.start - start) as usize..(range.end - start) as usize))
            }
            Place::Copied(base, from) => Place::Copied(Arc::clone(base), from + (range.start - start)),
            Place::Scratch => Place::Scratch,
        };
        Self { end: range.end, turn: self.turn, place }
    }

    /// How many bytes of a run that begins at `start` are on this node.
    fn here(&self, start: u64) -> u64 {
        if matches!(self.place, Place::Copied(..)) { 0 } else { self.end - start }
    }

    /// Whether a run that begins at `start` was copied from the same version, up to this offset of it.
    fn goes_on_in(&self, start: u64, base: &Base, offset: u64) -> bool {
        matches!(&self.place, Place::Copied(of, from) if of.is_same(base) && from + (self.end - start) == offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every byte by its own: where it is, and its value in memory or its offset in another version.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Byte {
        Copied(u64),
        Memory(u8),
        Scratch,
    }

    fn shown(extents: &Extents, size: u64) -> Vec<Option<Byte>> {
        let mut all = Vec::new();
        for (range, place) in extents.pieces(0..size) {
            for n in 0..range.end - range.start {
                all.push(place.as_ref().map(|place| match place {
                    Place::Copied(_, from) => Byte::Copied(from + n),
                    Place::Memory(bytes) => Byte::Memory(bytes[n as usize]),
                    Place::Scratch => Byte::Scratch,
                }));
            }
        }
        all
    }

    proptest! {
        #[test]
        fn agrees_with_a_byte_by_byte_model(steps in prop::collection::vec((0_u8..8, 0_usize..60, 0_usize..20), 1..60)) {
            let (base, mut extents) = (Base::of_test("a"), Extents::default());
            // Turn and place.
            let mut model: Vec<Option<(u64, Byte)>> = vec![None; 100];
            let mut settled = 0;
            for (turn, (kind, start, len)) in steps.into_iter().enumerate() {
                let turn = turn as u64 + 1;
                let end = start + len;
                match kind {
                    0..3 => {
                        extents.write(start as u64, Bytes::from(vec![turn as u8; len]), turn);
                        model[start..end].fill(Some((turn, Byte::Memory(turn as u8))));
                    }
                    3 => {
                        extents.remove(start as u64..end as u64);
                        model[start..end].fill(None);
                    }
                    4 => {
                        let until = turn.saturating_sub(len as u64 % 3);
                        extents.settle(until);
                        settled = settled.max(until);
                        for (at, value) in model.iter_mut().flatten() {
                            if *at <= until && matches!(value, Byte::Memory(_)) { *value = Byte::Scratch; }
                        }
                    }
                    // One behind the other, or anywhere.
                    5..7 => {
                        let from = if kind == 5 { start as u64 } else { turn };
                        extents.copy(start as u64, &base, from..from + len as u64, turn);
                        for (n, byte) in model[start..end].iter_mut().enumerate() {
                            *byte = Some((turn, Byte::Copied(from + n as u64)));
                        }
                        // What it is joined with is as young as it is.
                        settled = turn;
                    }
                    _ => {
                        // As an edit does it: nothing was settled, or joined, behind what is forgotten.
                        let until = turn.saturating_sub(5).max(settled);
                        extents.forget(until);
                        for byte in &mut model {
                            if byte.is_some_and(|(at, _)| at <= until) { *byte = None; }
                        }
                    }
                }
                let expected: Vec<_> = model.iter().map(|byte| byte.map(|(_, value)| value)).collect();
                prop_assert_eq!(shown(&extents, 100), expected);
                let all = model.iter().flatten().count() as u64;
                let here = model.iter().flatten().filter(|(_, byte)| !matches!(byte, Byte::Copied(_))).count() as u64;
                prop_assert_eq!((extents.bytes(), extents.bytes_in(0..100)), (here, all));
            }
        }
    }

    #[test]
    fn what_is_settled_side_by_side_is_one_run() {
        let mut extents = Extents::default();
        for n in [2_u64, 0, 1, 3] {
            extents.write(n * 10, Bytes::from_static(b"0123456789"), n + 1);
        }
        assert_eq!(extents.len(), 4);
        extents.settle(u64::MAX);
        assert_eq!((extents.len(), extents.bytes()), (1, 40));
    }

    #[test]
    fn a_copy_in_many_requests_is_one_run() {
        let (one, other, mut extents) = (Base::of_test("a"), Base::of_test("b"), Extents::default());
        for n in 0..10 {
            extents.copy(5 + n * 10, &one, n * 10..(n + 1) * 10, n);
        }
        assert_eq!(extents.len(), 1);
        extents.copy(105, &other, 100..110, 10);
        extents.copy(115, &other, 100..110, 11);
        assert_eq!(extents.len(), 3, "of another version, and not what follows");
        assert_eq!((extents.bytes(), extents.bytes_in(0..200)), (0, 120));
    }
}
