//! What a node knows of one tenant's or user's sessions.

use std::sync::Arc;

use tidegate_store::LeaseId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Sessions on this node, those that wait for the cluster's count included.
    pub(super) held: u32,
    /// The limit as a login met it last; `None` if there is none, and the cluster is not told of them.
    pub(super) limit: Option<u32>,
    /// Sessions on other nodes, as they were told last.
    pub(super) others: u64,
    /// What the cluster was told last; `None` if that is nothing, or not known.
    pub(super) told: Option<Told>,
    /// Whether a count was sent and not answered.
    pub(super) is_in_doubt: bool,
    /// Logins that wait, in the order in which they came: no more than `held`.
    pub(super) waiting: Vec<Waiting>,
    /// Whether a task tells the cluster at the moment, and how it learns of more.
    pub(super) is_told: bool,
    pub(super) changed: Arc<Notify>,
    /// Leases that have ended and still have counts in the store.
    pub(super) ended: Vec<LeaseId>,
}

#[derive(Debug)]
pub(super) struct Told {
    pub(super) lease: LeaseId,
    pub(super) sessions: u32,
    pub(super) at: Instant,
}

/// A login that waits for the cluster's count.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) limit: u32,
    pub(super) answer: oneshot::Sender<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    Full,
    /// The cluster's count is not known.
    Unknown,
}

impl Scope {
    /// Whether the cluster knows the count, as far as it has to under the lease in force.
    pub(super) fn is_known(&self, own: Option<&LeaseId>) -> bool {
        if self.limit.is_none() {
            return true;
        }
        match &self.told {
            Some(told) if Some(&told.lease) == own => told.sessions == self.held,
            // Counts under an earlier lease are worth nothing.
            Some(_) => self.held == 0,
            None => self.held == 0 && !self.is_in_doubt,
        }
    }

    /// Whether so few places are free that others may wait for one that becomes free here.
    pub(super) fn is_tight(&self) -> bool {
        let told = self.told.as_ref().map_or(0, |told| u64::from(told.sessions));
        self.limit.is_some_and(|limit| told.saturating_add(self.others) >= u64::from(limit - limit / 4))
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_over(&self) -> bool {
        let has_told = self.is_in_doubt || self.told.as_ref().is_some_and(|told| told.sessions > 0);
        self.held == 0 && !self.is_told && !has_told
    }

    /// Answers logins that were part of `sessions` when these were told and `others` were counted on
    /// other nodes: those that came first are let in first.
    pub(super) fn answer(waiting: Vec<Waiting>, sessions: u32, others: u64) {
        let before = u64::from(sessions).saturating_sub(waiting.len() as u64).saturating_add(others);
        for (place, Waiting { limit, answer }) in (1..).zip(waiting) {
            let fits = before.saturating_add(place) <= u64::from(limit);
            // Whoever asked may have left.
            let _ = answer.send(if fits { Verdict::Admitted } else { Verdict::Full });
        }
    }

    /// Answers logins for whom nothing was learned.
    pub(super) fn give_up(waiting: Vec<Waiting>) {
        for Waiting { answer, .. } in waiting {
            let _ = answer.send(Verdict::Unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lease: &LeaseId, sessions: u32) -> Option<Told> {
        Some(Told { lease: lease.clone(), sessions, at: Instant::now() })
    }

    #[tokio::test]
    async fn logins_are_let_in_up_to_the_limit_in_their_order() {
        // Two sessions that are there, three that wait, four elsewhere.
        let (answers, waiting): (Vec<_>, Vec<_>) = (0..3).map(|_| oneshot::channel()).unzip();
        let answers = answers.into_iter().map(|answer| Waiting { limit: 8, answer }).collect();
        Scope::answer(answers, 5, 4);
        let mut verdicts = Vec::new();
        for verdict in waiting {
            verdicts.push(verdict.await.unwrap());
        }
        assert_eq!(verdicts, [Verdict::Admitted, Verdict::Admitted, Verdict::Full]);
    }

    #[test]
    fn what_was_told_under_an_earlier_lease_is_told_again() {
        let (old, new) = (LeaseId::random(), LeaseId::random());
        let mut scope = Scope { held: 2, limit: Some(0), told: told(&old, 2), ..Scope::default() };
        assert!(scope.is_known(Some(&old)));
        assert!(!scope.is_known(Some(&new)) && !scope.is_known(None));
        scope.held = 0;
        assert!(!scope.is_known(Some(&old)) && scope.is_known(Some(&new)));
        scope.told = None;
        assert!(scope.is_known(Some(&new)));
        scope.is_in_doubt = true;
        assert!(!scope.is_known(Some(&new)) && !scope.is_over());
    }
}
