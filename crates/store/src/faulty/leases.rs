//! Leases that fail on schedule.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::plan::{Call, FaultPlan};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::leases::{HeldSessions, Lease, LeaseId, Leases, SessionScope};

/// Leases whose calls fail as a [`FaultPlan`] says. Delays are spent in `tokio::time::sleep`, before the
/// call takes effect and again before its answer comes. Clones share the schedule.
#[derive(Clone)]
pub struct FaultyLeases {
    inner: Arc<dyn Leases>,
    plan: Arc<FaultPlan>,
    calls: Arc<Mutex<BTreeMap<Call, u64>>>,
}

impl FaultyLeases {
    /// Lets `inner` fail as `plan` says.
    pub fn new(inner: Arc<dyn Leases>, plan: FaultPlan) -> Self {
        Self { inner, plan: Arc::new(plan), calls: Arc::default() }
    }

    async fn run<T>(&self, call: Call, running: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        let fate = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let nth = calls.entry(call).or_default();
            *nth += 1;
            self.plan.fate(call, *nth)
        };
        let fault = |kind: StoreErrorKind| StoreError::new(kind, call.as_str()).with_source("injected");
        if let Some(delay) = fate.delay {
            tokio::time::sleep(delay / 2).await;
        }
        if let Some(kind) = fate.before {
            return Err(fault(kind));
        }
        let value = running.await?;
        if let Some(delay) = fate.delay {
            tokio::time::sleep(delay / 2).await;
        }
        fate.after.map_or(Ok(value), |kind| Err(fault(kind)))
    }
}

impl fmt::Debug for FaultyLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultyLeases").field(&self.inner).finish()
    }
}

#[async_trait]
impl Leases for FaultyLeases {
    async fn begin(&self, id: &LeaseId) -> StoreResult<()> {
        self.run(Call::BeginLease, self.inner.begin(id)).await
    }

    async fn renew(&self, lease: &Lease) -> StoreResult<bool> {
        self.run(Call::RenewLease, self.inner.renew(lease)).await
    }

    async fn end(&self, lease: &Lease) -> StoreResult<bool> {
        self.run(Call::EndLease, self.inner.end(lease)).await
    }

    async fn all(&self) -> StoreResult<Vec<Lease>> {
        self.run(Call::AllLeases, self.inner.all()).await
    }

    async fn hold(
        &self,
        scope: &SessionScope,
        held: &HeldSessions,
        turn: u64,
        ended: &[LeaseId],
    ) -> StoreResult<Vec<HeldSessions>> {
        self.run(Call::HoldSessions, self.inner.hold(scope, held, turn, ended)).await
    }
}
