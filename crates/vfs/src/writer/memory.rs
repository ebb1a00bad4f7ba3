//! What one writer holds of the memory budget, and how it gets more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus::IntCounter;

use crate::budget::{Permit, Pool};
use crate::error::{FsError, FsErrorKind};

/// When memory has to be waited for, at least this much is asked for at once.
const GROWTH_MIN: u64 = 1 << 20;

/// The memory that a writer holds and that belongs to no part at the moment: its reserve, between
/// the landing of one part and the beginning of another. See [`crate::budget`] for the rule.
#[derive(Debug)]
pub(super) struct Memory {
    pool: Pool,
    wait: Duration,
    refusals: IntCounter,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reserve: Option<Permit>,
    /// How much of what landed parts give back is kept as the reserve.
    keep: u64,
    refused: bool,
}

/// What a part needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// Bytes that the part holds already.
    pub(super) held: u64,
    /// Bytes without which the write can't be taken.
    pub(super) need: u64,
    /// Bytes that spare the part from asking again.
    pub(super) wanted: u64,
}

impl Memory {
    pub(super) fn new(pool: Pool, reserve: Permit, wait: Duration, refusals: IntCounter) -> Self {
        let state = Mutex::new(State { keep: reserve.bytes(), reserve: Some(reserve), refused: false });
        Self { pool, wait, refusals, state }
    }

    /// Memory for a part, from the reserve and from what is free; `None` if that is not enough now.
    pub(super) fn draw(&self, demand: Demand) -> Option<Permit> {
        let mut state = self.state();
        let reserved = state.reserve.as_ref().map_or(0, Permit::bytes);
        let total = demand.held + reserved;
        let mut permit = if total >= demand.wanted {
            state.reserve.take()?
        } else {
            let more = self.pool.try_acquire(demand.wanted - total);
            match (state.reserve.take(), more) {
                (Some(mut reserve), Some(more)) => {
                    reserve.merge(more);
                    reserve
                }
                (None, Some(more)) => more,
                (Some(reserve), None) if total >= demand.need => reserve,
                (reserve, None) => {
                    state.reserve = reserve;
                    return None;
                }
            }
        };
        state.reserve = permit.split_above(demand.wanted - demand.held);
        Some(permit)
    }

    /// Sets how much is kept as the reserve, and lets go of what lies above.
    pub(super) fn keep(&self, bytes: u64) {
        let mut state = self.state();
        state.keep = bytes;
        state.trim();
    }

    /// Keeps at least so much from now on: a write waits for it.
    pub(super) fn keep_at_least(&self, bytes: u64) {
        let mut state = self.state();
        state.keep = state.keep.max(bytes);
    }

    /// Takes back what a part held that has landed.
    pub(super) fn give_back(&self, permit: Permit) {
        let mut state = self.state();
        match &mut state.reserve {
            Some(reserve) => reserve.merge(permit),
            None => state.reserve = Some(permit),
        }
        state.trim();
    }

    /// Waits, with a limit, until the reserve has grown by what a demand lacks; if it could not,
    /// [`Memory::check`] fails from then on.
    pub(super) fn grow(self: &Arc<Self>, demand: Demand) -> BoxFuture<'static, ()> {
        let memory = Arc::clone(self);
        async move {
            let reserved = memory.state().reserve.as_ref().map_or(0, Permit::bytes);
            let missing = |bytes: u64| bytes.saturating_sub(demand.held + reserved);
            let amount = missing(demand.need).max(missing(demand.wanted).min(GROWTH_MIN));
            match memory.pool.acquire(amount, memory.wait).await {
                Some(permit) => {
                    memory.keep_at_least(reserved + permit.bytes());
                    memory.give_back(permit);
                }
                None => {
                    memory.refusals.inc();
                    memory.state().refused = true;
                }
            }
        }
        .boxed()
    }

    /// Fails once memory could not be had in time.
    pub(super) fn check(&self) -> Result<(), FsError> {
        if self.state().refused { Err(budget_in_use()) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn trim(&mut self) {
        if self.keep == 0 {
            self.reserve = None;
        } else if let Some(reserve) = &mut self.reserve {
            drop(reserve.split_above(self.keep));
        }
    }
}

pub(super) fn budget_in_use() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "the node's memory budget is in use; try again in a while")
}
