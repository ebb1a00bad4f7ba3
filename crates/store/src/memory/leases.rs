//! Leases in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{lock, refuse};
use crate::error::{StoreErrorKind, StoreResult};
use crate::leases::{ENDED_MAX, HeldSessions, Lease, LeaseId, Leases, SessionScope};

/// Leases in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryLeases {
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    beats: BTreeMap<LeaseId, u64>,
    held: HashMap<SessionScope, BTreeMap<LeaseId, Count>>,
}

/// What was set at a turn.
#[derive(Clone, Copy, Debug)]
struct Count {
    turn: u64,
    sessions: u32,
}

impl MemoryLeases {
    /// No lease.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Leases for MemoryLeases {
    async fn begin(&self, id: &LeaseId) -> StoreResult<()> {
        lock(&self.records).beats.insert(id.clone(), 0);
        Ok(())
    }

    async fn renew(&self, lease: &Lease) -> StoreResult<bool> {
        let mut records = lock(&self.records);
        let beat = records.beats.get_mut(&lease.id).filter(|beat| **beat <= lease.beat);
        Ok(beat.map(|beat| *beat = lease.beat).is_some())
    }

    async fn end(&self, lease: &Lease) -> StoreResult<bool> {
        let mut records = lock(&self.records);
        let may = records.beats.get(&lease.id).is_none_or(|beat| *beat == lease.beat);
        if may {
            records.beats.remove(&lease.id);
        }
        Ok(may)
    }

    async fn all(&self) -> StoreResult<Vec<Lease>> {
        Ok(lock(&self.records).beats.iter().map(|(id, beat)| Lease { id: id.clone(), beat: *beat }).collect())
    }

    async fn hold(
        &self,
        scope: &SessionScope,
        own: &HeldSessions,
        turn: u64,
        ended: &[LeaseId],
    ) -> StoreResult<Vec<HeldSessions>> {
        if ended.len() > ENDED_MAX {
            return Err(refuse(StoreErrorKind::InvalidRequest, "hold", "too many leases that have ended"));
        }
        let mut records = lock(&self.records);
        let held = records.held.entry(scope.clone()).or_default();
        if held.get(&own.lease).is_some_and(|count| count.turn > turn) {
            return Err(refuse(StoreErrorKind::PreconditionFailed, "hold", "a later turn has been"));
        }
        held.retain(|id, _| !ended.contains(id));
        held.insert(own.lease.clone(), Count { turn, sessions: own.sessions });
        Ok(held.iter().map(|(lease, count)| HeldSessions { lease: lease.clone(), sessions: count.sessions }).collect())
    }
}
