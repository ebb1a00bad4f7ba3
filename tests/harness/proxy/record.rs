//! What the connections of a proxy share: what they have seen, and what harm they are to do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fault::{Fault, Rule, When};
use super::kind::Kind;

/// How many requests of each kind have come, and how often harm was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    requests: BTreeMap<Kind, u64>,
    harmed: u64,
}

impl Seen {
    /// Requests of one kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.requests.get(&kind).copied().unwrap_or_default()
    }

    /// Requests of all kinds.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Requests to which harm was done, and connections that were refused.
    pub fn harmed(&self) -> u64 {
        self.harmed
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let requests = self.requests.iter().map(|(kind, count)| (*kind, count - earlier.of(*kind)));
        Self { requests: requests.filter(|(_, count)| *count > 0).collect(), harmed: self.harmed - earlier.harmed }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.requests {
            write!(f, "{count} {kind:?}, ")?;
        }
        write!(f, "{} harmed", self.harmed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Record {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    seen: Seen,
    rules: Vec<Rule>,
    delay: Duration,
    refuses: bool,
}

/// What to do with one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
}

impl Record {
    pub(super) fn set_delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    pub(super) fn set_refusing(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// Whether a connection is not to be let in; counts it then.
    pub(super) fn refuses(&self) -> bool {
        let mut state = self.state();
        let refuses = state.refuses;
        state.seen.harmed += u64::from(refuses);
        refuses
    }

    pub(super) fn add_rule(&self, kinds: &[Kind], when: When, fault: Fault) {
        self.state().rules.push(Rule::new(kinds, when, fault));
    }

    pub(super) fn remove_rules(&self) {
        self.state().rules.clear();
    }

    pub(super) fn seen(&self) -> Seen {
        self.state().seen.clone()
    }

    /// Counts a request and decides about it.
    pub(super) fn judge(&self, kind: Kind, name: &str) -> Verdict {
        let mut state = self.state();
        *state.seen.requests.entry(kind).or_default() += 1;
        // Every rule sees every request, so that none depends on those before it.
        let strikes: Vec<_> = state.rules.iter_mut().filter_map(|rule| rule.strikes(kind, name)).collect();
        let fault = if state.refuses { Some(Fault::ResetBeforeBody) } else { strikes.first().copied() };
        state.seen.harmed += u64::from(fault.is_some());
        let verdict = Verdict { delay: state.delay, fault };
        drop(state);
        self.changed.notify_all();
        verdict
    }

    pub(super) fn wait(&self, what: &str, limit: Duration, mut probe: impl FnMut(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        while !probe(&state.seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            let seen = state.seen.to_string();
            assert!(!left.is_zero(), "{what}: not within {limit:?}, after {seen}");
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.seen.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
