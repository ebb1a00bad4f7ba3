//! What happens next: events in the order of their simulated times.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Simulated time, in microseconds since the beginning. Whole numbers, so that the order of events is the
/// same on every machine.
pub(crate) type Micros = u64;

/// Microseconds in a second.
pub(crate) const SECOND: Micros = 1_000_000;

/// Seconds as simulated time; nothing below 0.
pub(crate) fn micros(seconds: f64) -> Micros {
    // Saturates; no run comes near.
    (seconds.max(0.0) * SECOND as f64).round() as Micros
}

/// Simulated time in seconds.
pub(crate) fn seconds(time: Micros) -> f64 {
    time as f64 / SECOND as f64
}

/// The second that a time lies in.
pub(crate) fn second(time: Micros) -> usize {
    usize::try_from(time / SECOND).unwrap_or(usize::MAX)
}

/// Events by time; those of one time in the order in which they were put in.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    order: u64,
    now: Micros,
}

#[derive(Debug)]
struct Entry<E> {
    at: Micros,
    order: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), order: 0, now: 0 }
    }

    /// The time of the event that was taken last.
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    /// Puts in an event that happens so much later.
    pub(crate) fn after(&mut self, delay: Micros, event: E) {
        self.order += 1;
        self.heap.push(Entry { at: self.now.saturating_add(delay), order: self.order, event });
    }

    /// Takes the next event that happens before `end`, and goes to its time.
    pub(crate) fn next_before(&mut self, end: Micros) -> Option<E> {
        if self.heap.peek()?.at >= end {
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

// The heap gives the greatest first, which has to be the earliest.
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_order() {
        let mut queue = Queue::new();
        queue.after(5, "c");
        queue.after(1, "a");
        queue.after(5, "d");
        queue.after(2, "b");
        queue.after(9, "late");
        let mut events = Vec::new();
        while let Some(event) = queue.next_before(9) {
            events.push((queue.now(), event));
        }
        assert_eq!(events, [(1, "a"), (2, "b"), (5, "c"), (5, "d")]);
        queue.after(4, "from now on");
        assert_eq!((queue.next_before(10), queue.now()), (Some("late"), 9));
        assert_eq!((queue.next_before(10), queue.now()), (Some("from now on"), 9));
        assert_eq!(queue.next_before(10), None);
    }

    #[test]
    fn times_convert() {
        assert_eq!((micros(1.5), micros(-1.0), seconds(2_500_000), second(2_999_999)), (1_500_000, 0, 2.5, 2));
    }
}
