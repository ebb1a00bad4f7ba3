//! How far the rename of a directory is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::{Counted, Metrics};
use crate::path::VirtualPath;

/// How often it is logged: at the latest after so long, or so many objects.
const LOG_EVERY: Duration = Duration::from_secs(10);
const LOG_OBJECTS: u64 = 10_000;

/// Counts objects, and tells the log now and then.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    from: &'a VirtualPath,
    to: &'a VirtualPath,
    begun: Instant,
    state: Mutex<State>,
    metrics: Metrics,
    _counted: Counted,
}

#[derive(Debug)]
struct State {
    moved: u64,
    told: u64,
    told_at: Instant,
}

impl<'a> Progress<'a> {
    pub(super) fn begin(from: &'a VirtualPath, to: &'a VirtualPath, metrics: &Metrics) -> Self {
        let begun = Instant::now();
        let state = Mutex::new(State { moved: 0, told: 0, told_at: begun });
        let counted = Counted::new(&metrics.directory_renames);
        Self { from, to, begun, state, metrics: metrics.clone(), _counted: counted }
    }

    /// Another object has moved.
    pub(super) fn moved(&self) {
        self.metrics.renamed_objects.inc();
        let objects = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.moved += 1;
            if state.moved - state.told < LOG_OBJECTS && state.told_at.elapsed() < LOG_EVERY {
                return;
            }
            (state.told, state.told_at) = (state.moved, Instant::now());
            state.moved
        };
        let seconds = self.begun.elapsed().as_secs();
        tracing::info!(path = %self.from, target = %self.to, objects, seconds, "a directory is being renamed");
    }

    /// How many have moved.
    pub(super) fn count(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).moved
    }
}
