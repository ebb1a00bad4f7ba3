//! What becomes of the parts of an upload.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_store::{Checksum, StoredPart};
use tokio::sync::watch;
use tokio::time::Instant;

use super::interrupted;
use crate::error::FsError;
use crate::metrics::{Counted, Metrics};
use crate::shares::Grant;
use crate::writer::lanes::Lanes;
use crate::writer::memory::Memory;

/// What became of the parts.
#[derive(Debug)]
pub(super) struct Landings {
    pub(super) opened: Instant,
    pub(super) state: Mutex<State>,
    pub(super) changed: watch::Sender<()>,
}

/// A part that the store holds, with its checksum where that is known.
pub(super) type Landed = (StoredPart, Option<Checksum>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) in_flight: usize,
    pub(super) lanes: Lanes,
    pub(super) landed: Vec<Landed>,
    pub(super) failed: Option<FsError>,
}

impl Landings {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part on its way. However its task ends, the part is counted off and its memory comes back.
pub(super) struct Flight {
    landings: Arc<Landings>,
    memory: Option<(Grant, Arc<Memory>)>,
    result: Option<Result<Vec<Landed>, FsError>>,
    bytes: u64,
    launched: Instant,
    _counted: Counted,
}

impl Flight {
    pub(super) fn new(
        landings: &Arc<Landings>,
        memory: Option<(Grant, Arc<Memory>)>,
        bytes: u64,
        gathered: Duration,
        metrics: &Metrics,
    ) -> Self {
        let launched = Instant::now();
        let mut state = landings.state();
        state.in_flight += 1;
        let in_flight = state.in_flight;
        state.lanes.launched(bytes, gathered, in_flight, launched - landings.opened);
        drop(state);
        let counted = Counted::new(&metrics.parts_in_flight);
        Self { landings: Arc::clone(landings), memory, result: None, bytes, launched, _counted: counted }
    }

    pub(super) fn land(mut self, result: Result<Vec<Landed>, FsError>) {
        self.result = Some(result);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some((grant, memory)) = self.memory.take() {
            memory.give_back(grant);
        }
        let now = Instant::now();
        let mut state = self.landings.state();
        state.in_flight -= 1;
        match self.result.take().unwrap_or_else(|| Err(interrupted())) {
            Ok(landed) => {
                state.landed.extend(landed);
                state.lanes.landed(self.bytes, now - self.launched, now - self.landings.opened);
            }
            Err(error) => {
                state.failed.get_or_insert(error);
            }
        }
        drop(state);
        self.landings.changed.send_replace(());
    }
}
