//! What a node has seen of all nodes' leases, by its own clock alone.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tidegate_store::{Lease, LeaseId};
use tokio::time::Instant;

/// Leases that have ended and are remembered as such, so that their counts are known for what they are
/// without a look.
const ENDED_KEPT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Observed {
    leases: HashMap<LeaseId, Seen>,
    ended: VecDeque<LeaseId>,
    /// When the latest question was asked that has been taken in, and when it was answered.
    asked: Option<Instant>,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    beat: u64,
    /// Since when this beat has been seen without a change.
    since: Instant,
}

impl Observed {
    /// Takes in what a question from `asked` to `answered` has shown, and gives the leases whose beat has
    /// not changed for `life`. An answer that a later question has overtaken shows nothing. Time in which nobody looked counts for nothing: whoever stood still, or
    /// could not ask, can't tell whether others did.
    pub(super) fn look(&mut self, asked: Instant, answered: Instant, leases: Vec<Lease>, life: Duration) -> Vec<Lease> {
        // What began since would seem to have ended.
        if self.asked.is_some_and(|latest| asked < latest) {
            return Vec::new();
        }
        self.asked = Some(asked);
        let was_away = self.looked.is_none_or(|looked| answered.saturating_duration_since(looked) >= life);
        self.looked = Some(answered);
        let mut before = std::mem::take(&mut self.leases);
        let mut stale = Vec::new();
        for lease in leases {
            let seen = before.remove(&lease.id).filter(|seen| seen.beat == lease.beat && !was_away);
            let seen = seen.unwrap_or(Seen { beat: lease.beat, since: answered });
            if asked.saturating_duration_since(seen.since) >= life {
                stale.push(lease.clone());
            }
            self.leases.insert(lease.id, seen);
        }
        for (id, _) in before {
            self.note_end(id);
        }
        stale
    }

    /// A lease has ended.
    pub(super) fn ended(&mut self, id: &LeaseId) {
        self.leases.remove(id);
        self.note_end(id.clone());
    }

    /// Whether a lease lives; `None` if it has not been seen yet.
    pub(super) fn lives(&self, id: &LeaseId) -> Option<bool> {
        if self.leases.contains_key(id) {
            return Some(true);
        }
        self.ended.contains(id).then_some(false)
    }

    /// How many leases live.
    pub(super) fn count(&self) -> usize {
        self.leases.len()
    }

    fn note_end(&mut self, id: LeaseId) {
        self.ended.push_back(id);
        if self.ended.len() > ENDED_KEPT {
            self.ended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(30);

    struct Watch {
        observed: Observed,
        start: Instant,
    }

    impl Watch {
        fn new() -> Self {
            Self { observed: Observed::default(), start: Instant::now() }
        }

        /// What is stale at a second, when these beats are seen.
        fn at(&mut self, second: u64, leases: &[(&LeaseId, u64)]) -> Vec<LeaseId> {
            let now = self.start + Duration::from_secs(second);
            let leases = leases.iter().map(|(id, beat)| Lease { id: (*id).clone(), beat: *beat }).collect();
            self.observed.look(now, now, leases, LIFE).into_iter().map(|lease| lease.id).collect()
        }
    }

    #[test]
    fn a_beat_that_does_not_change_for_a_life_is_stale() {
        let (mut watch, a, b) = (Watch::new(), LeaseId::random(), LeaseId::random());
        for n in 0..3 {
            assert_eq!(watch.at(n * 10, &[(&a, 7), (&b, n)]), []);
        }
        assert_eq!(watch.at(30, &[(&a, 7), (&b, 3)]), std::slice::from_ref(&a));
        assert_eq!(watch.at(31, &[(&a, 8), (&b, 3)]), [], "it beats again");
        assert_eq!(watch.at(60, &[(&a, 8), (&b, 3)]), std::slice::from_ref(&b), "each has a time of its own");
        assert_eq!(watch.at(61, &[(&a, 8)]), std::slice::from_ref(&a));
        assert_eq!((watch.observed.lives(&a), watch.observed.lives(&b)), (Some(true), Some(false)));
        assert_eq!(watch.observed.lives(&LeaseId::random()), None);
    }

    #[test]
    fn who_did_not_look_can_not_tell() {
        let (mut watch, a) = (Watch::new(), LeaseId::random());
        assert_eq!(watch.at(0, &[(&a, 1)]), []);
        assert_eq!(watch.at(1_000, &[(&a, 1)]), [], "the service may have been away as long");
        assert_eq!(watch.at(1_010, &[(&a, 1)]), []);
        assert_eq!(watch.at(1_029, &[(&a, 1)]), []);
        assert_eq!(watch.at(1_030, &[(&a, 1)]), [a]);
    }

    #[test]
    fn a_slow_question_makes_nobody_stale() {
        let (mut observed, a, start) = (Observed::default(), LeaseId::random(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        let lease = || vec![Lease { id: a.clone(), beat: 1 }];
        assert_eq!(observed.look(second(0), second(5), lease(), LIFE), []);
        assert_eq!(observed.look(second(10), second(34), lease(), LIFE), [], "5 s are seen for sure");
        assert_eq!(observed.look(second(35), second(35), lease(), LIFE), lease());
    }

    #[test]
    fn an_answer_that_comes_late_ends_nothing() {
        let (mut observed, old, new, start) =
            (Observed::default(), LeaseId::random(), LeaseId::random(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        let lease = |id: &LeaseId| Lease { id: id.clone(), beat: 0 };
        observed.look(second(2), second(3), vec![lease(&old), lease(&new)], LIFE);
        // Asked before the new one began.
        assert_eq!(observed.look(second(1), second(4), vec![lease(&old)], LIFE), []);
        assert_eq!((observed.lives(&old), observed.lives(&new)), (Some(true), Some(true)));
        observed.look(second(5), second(6), vec![lease(&new)], LIFE);
        assert_eq!((observed.lives(&old), observed.lives(&new)), (Some(false), Some(true)));
    }

    #[test]
    fn few_of_those_that_ended_are_remembered() {
        let mut observed = Observed::default();
        for _ in 0..2 * ENDED_KEPT {
            observed.ended(&LeaseId::random());
        }
        assert_eq!((observed.ended.len(), observed.count()), (ENDED_KEPT, 0));
    }
}
