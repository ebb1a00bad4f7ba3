//! What one writer holds of the memory for uploads, and how it gets more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus::IntCounter;

use crate::error::{FsError, FsErrorKind};
use crate::shares::{Grant, Urgency, WriterShare};

/// The memory that a writer holds and that belongs to no part at the moment: its reserve, between
/// the landing of one part and the beginning of another. See [`crate::shares`] for the rule.
#[derive(Debug)]
pub(crate) struct Memory {
    share: WriterShare,
    wait: Duration,
    refusals: IntCounter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reserve: Option<Grant>,
    /// How much of what landed parts give back is kept as the reserve.
    keep: u64,
    refused: bool,
}

impl Memory {
    pub(crate) fn new(share: WriterShare, wait: Duration, refusals: IntCounter) -> Self {
        Self { share, wait, refusals, state: Mutex::default() }
    }

    /// Bytes that there are in all, for all tenants.
    pub(crate) fn total(&self) -> u64 {
        self.share.total()
    }

    /// All that the writer holds: of parts being gathered and under way, and in reserve.
    pub(crate) fn held(&self) -> u64 {
        self.share.held()
    }

    /// `bytes` for a part, from the reserve and from what may be had at once; `None` if that is not
    /// enough now.
    pub(crate) fn draw(&self, bytes: u64) -> Option<Grant> {
        let mut state = self.state();
        let reserved = state.reserve.as_ref().map_or(0, Grant::bytes);
        if reserved < bytes {
            // The first part of a file is what each writer must have.
            let urgency = if self.share.held() == 0 { Urgency::Need } else { Urgency::Extra };
            let more = self.share.try_take(bytes - reserved, urgency)?;
            state.add(more);
        }
        let mut grant = state.reserve.take()?;
        state.reserve = grant.split_above(bytes);
        Some(grant)
    }

    /// Sets how much is kept as the reserve, and lets go of what lies above.
    pub(crate) fn keep(&self, bytes: u64) {
        let mut state = self.state();
        state.keep = bytes;
        state.trim();
    }

    /// Takes back what a part held that has landed.
    pub(crate) fn give_back(&self, grant: Grant) {
        let mut state = self.state();
        state.add(grant);
        state.trim();
    }

    /// Waits, with a limit, until `bytes` can be drawn, without which the writer can't go on; if
    /// they could not be had, [`Memory::check`] fails from then on.
    pub(crate) fn need(self: &Arc<Self>, bytes: u64) -> BoxFuture<'static, ()> {
        let memory = Arc::clone(self);
        async move {
            if !memory.fill(bytes, Urgency::Need).await {
                memory.refusals.inc();
                memory.state().refused = true;
            }
        }
        .boxed()
    }

    /// Waits until `bytes` can be drawn, as long as the caller waits for a part to land beside it.
    pub(crate) fn extra(self: &Arc<Self>, bytes: u64) -> BoxFuture<'static, ()> {
        let memory = Arc::clone(self);
        async move {
            if !memory.fill(bytes, Urgency::Extra).await {
                // It is the landing that counts.
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }

    /// Fails once memory could not be had in time.
    pub(crate) fn check(&self) -> Result<(), FsError> {
        if self.state().refused { Err(budget_in_use()) } else { Ok(()) }
    }

    /// Fills the reserve up to `bytes`.
    async fn fill(&self, bytes: u64, urgency: Urgency) -> bool {
        let missing = {
            let mut state = self.state();
            // What lands meanwhile is for the write that waits.
            state.keep = state.keep.max(bytes);
            bytes.saturating_sub(state.reserve.as_ref().map_or(0, Grant::bytes))
        };
        if missing == 0 {
            return true;
        }
        let grant = self.share.take(missing, urgency, self.wait).await;
        grant.map(|grant| self.give_back(grant)).is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, grant: Grant) {
        match &mut self.reserve {
            Some(reserve) => reserve.merge(grant),
            None => self.reserve = Some(grant),
        }
    }

    fn trim(&mut self) {
        if self.keep == 0 {
            self.reserve = None;
        } else if let Some(reserve) = &mut self.reserve {
            drop(reserve.split_above(self.keep));
        }
    }
}

fn budget_in_use() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "the node's memory budget is in use; try again in a while")
}
