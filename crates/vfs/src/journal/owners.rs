//! Whether an upload still is its session's, as far as the node knows.
//!
//! Who opens a file later has its upload, and the one before is to hear of that at its next request. On one node it is
//! told at once. What happens on other nodes only the journal knows: while requests come, it is asked about once a
//! second in the background, and a request waits for the answer only if the latest word is old by then. An upload
//! that sends part after part is asked about before each of them anyhow, and one that rests is not asked about.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tidegate_store::Generation;
use tokio::time::{Instant, timeout_at};

use super::keeper::{Keeper, fenced};
use crate::error::FsError;

/// How old the journal's latest word may be before it is asked again with the next request.
const DUE: Duration = Duration::from_secs(1);

/// And before a request waits for the answer.
const OVERDUE: Duration = Duration::from_secs(2);

/// How long it waits. A journal that takes longer is taken for one that does not answer.
const ANSWER_WAIT: Duration = Duration::from_millis(250);

/// The uploads in the journal that a node's sessions have, by generation: as many as there are [`Keeper`]s.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    standings: Mutex<HashMap<Generation, Weak<Standing>>>,
}

impl Owners {
    pub(super) fn insert(&self, generation: Generation, standing: &Arc<Standing>) {
        self.standings().insert(generation, Arc::downgrade(standing));
    }

    pub(super) fn remove(&self, generation: Generation) {
        self.standings().remove(&generation);
    }

    /// What had this generation is another's by now, or gone. Tells whether a session of this node loses it by that.
    pub(super) fn lose(&self, generation: Generation) -> bool {
        let standing = self.standings().get(&generation).and_then(Weak::upgrade);
        standing.is_some_and(|standing| standing.lose())
    }

    fn standings(&self) -> MutexGuard<'_, HashMap<Generation, Weak<Standing>>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of one upload.
#[derive(Debug)]
pub(super) struct Standing {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    whose: Whose,
    /// When the journal was asked last, of those times at which it has answered, or has failed to.
    asked: Instant,
    asking: Option<Asking>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Another session's, or nobody's: to its own it is lost.
    Another,
    /// Its session's, as far as is known.
    Mine,
    /// Nobody's: its own session has taken it out of the journal.
    Nobody,
}

#[derive(Debug)]
struct Asking {
    since: Instant,
    answered: Shared<BoxFuture<'static, ()>>,
}

impl Standing {
    /// Of an entry that was just written.
    pub(super) fn new() -> Arc<Self> {
        let state = State { whose: Whose::Mine, asked: Instant::now(), asking: None };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// The journal was asked at this moment.
    pub(super) fn asked(&self, at: Instant) {
        let mut state = self.state();
        state.asked = state.asked.max(at);
    }

    /// Tells whether that is news.
    pub(super) fn lose(&self) -> bool {
        self.leave(Whose::Another)
    }

    /// Its own session takes it out of the journal.
    pub(super) fn end(&self) {
        self.leave(Whose::Nobody);
    }

    fn leave(&self, whose: Whose) -> bool {
        let mut state = self.state();
        let was_mine = state.whose == Whose::Mine;
        if was_mine {
            state.whose = whose;
        }
        was_mine
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state().whose == Whose::Another
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().whose != Whose::Mine
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Before a request on the upload takes effect: whether it still is this session's. Gives what to wait for before
    /// that is asked again, if it can't be said at once.
    ///
    /// # Errors
    /// `Conflict` if somebody else has it.
    pub(crate) fn stands(self: &Arc<Self>) -> Result<Option<BoxFuture<'static, ()>>, FsError> {
        let now = Instant::now();
        let mut state = self.standing.state();
        if state.whose == Whose::Another {
            return Err(fenced());
        }
        let age = now.saturating_duration_since(state.asked);
        if age < DUE || state.whose == Whose::Nobody {
            return Ok(None);
        }
        let asking = state.asking.get_or_insert_with(|| {
            let keeper = Arc::clone(self);
            let asking = tokio::spawn(async move {
                // What it finds stays in the standing.
                let _ = keeper.confirm().await;
                let mut state = keeper.standing.state();
                (state.asked, state.asking) = (state.asked.max(now), None);
            });
            Asking { since: now, answered: asking.map(|_| ()).boxed().shared() }
        });
        let until = asking.since + ANSWER_WAIT;
        if age < OVERDUE || now >= until {
            return Ok(None);
        }
        let answered = asking.answered.clone();
        Ok(Some(timeout_at(until, answered).map(|_| ()).boxed()))
    }
}
