//! Keeps the node's own lease, and ends those of nodes that show no life.
//!
//! The first session that is counted over the cluster begins the lease. From then on, three times in a
//! life, the node renews it in one write and reads all leases in one query, whatever the number of
//! sessions. A lease whose beat it has not seen change for a whole life it ends, unless its holder renews
//! it first: of the two writes, one fails. Whoever lost its lease so begins another, and tells all its
//! counts anew.

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::{Lease, LeaseId, StoreError, StoreErrorKind, StoreResult};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use super::{CHECK_MAX, Shared};

/// Counts that did not change are told again after this long, far before the store forgets them.
const REFRESH: Duration = Duration::from_secs(24 * 3600);

/// The node's lease.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) lease: Lease,
    /// When the request was sent that renewed it last.
    renewed: Instant,
}

impl Shared {
    /// The node's lease, renewed not long ago.
    pub(super) async fn lease(self: &Arc<Self>) -> StoreResult<LeaseId> {
        let fresh = |shared: &Self| {
            let state = shared.state();
            let own = state.own.as_ref()?;
            (own.renewed.elapsed() < shared.life.mul_f64(2.0 / 3.0)).then(|| own.lease.id.clone())
        };
        if let Some(id) = fresh(self) {
            return Ok(id);
        }
        let _renewing = self.renewing.lock().await;
        match fresh(self) {
            Some(id) => Ok(id),
            None => self.renew().await,
        }
    }

    /// Whether nobody can have ended this lease yet for want of renewal.
    pub(super) fn is_fresh(&self, id: &LeaseId) -> bool {
        self.state().own.as_ref().is_some_and(|own| own.lease.id == *id && own.renewed.elapsed() < self.life)
    }

    /// Looks at all leases, and gives those whose holders show no life.
    pub(super) async fn look(&self) -> StoreResult<Vec<Lease>> {
        let asked = Instant::now();
        let leases = self.leases.all().await?;
        let mut state = self.state();
        let stale = state.observed.look(asked, Instant::now(), leases, self.life);
        self.metrics.leases.set(i64::try_from(state.observed.count()).unwrap_or(i64::MAX));
        Ok(stale)
    }

    /// Ends the node's own lease.
    pub(super) async fn end(&self) {
        let Some(own) = self.state().own.take() else { return };
        match timeout(CHECK_MAX, self.leases.end(&own.lease)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(message = "the node's lease was not ended", error = error.report()),
            Err(_) => debug!(message = "the node's lease was not ended in time"),
        }
    }

    /// Renews the lease or begins one; `renewing` is held.
    async fn renew(self: &Arc<Self>) -> StoreResult<LeaseId> {
        if self.closed.is_cancelled() {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "begin lease").with_source("the node ends"));
        }
        let sent = Instant::now();
        let next = {
            let mut state = self.state();
            state.own.as_mut().map(|own| {
                // Also if it is not answered: no beat is used twice.
                own.lease.beat += 1;
                own.lease.clone()
            })
        };
        if let Some(lease) = next {
            if self.leases.renew(&lease).await? {
                if let Some(own) = self.state().own.as_mut() {
                    own.renewed = sent;
                }
                return Ok(lease.id);
            }
            self.state().own = None;
            warn!(
                "activity-type" = "ERROR",
                operation = "count-sessions",
                message = "other nodes have seen no sign of life of this one; its sessions are counted anew",
            );
        }
        let id = LeaseId::random();
        let sent = Instant::now();
        self.leases.begin(&id).await?;
        self.state().own = Some(Own { lease: Lease { id: id.clone(), beat: 0 }, renewed: sent });
        Ok(id)
    }

    /// Runs from the first session that counts over the cluster on, whether it could be told or not.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut beats = interval(self.life / 3);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is now, and the login that waits begins the lease itself.
        beats.tick().await;
        loop {
            tokio::select! {
                () = self.closed.cancelled() => return,
                _ = beats.tick() => {}
            }
            tokio::select! {
                () = self.closed.cancelled() => return,
                kept = timeout(self.life / 3, self.beat()) => {
                    let late = || StoreError::new(StoreErrorKind::Unavailable, "renew lease").with_source("it took too long");
                    if let Err(error) = kept.map_err(|_| late()).flatten() {
                        debug!(message = "the node's lease could not be kept", error = error.report());
                    }
                }
            }
            self.tell_what_is_not_known();
        }
    }

    async fn beat(self: &Arc<Self>) -> StoreResult<()> {
        {
            let _renewing = self.renewing.lock().await;
            self.renew().await?;
        }
        for lease in self.look().await? {
            let is_own = self.state().own.as_ref().is_some_and(|own| own.lease.id == lease.id);
            if !is_own && self.leases.end(&lease).await? {
                self.state().observed.ended(&lease.id);
                info!(message = "a node shows no life: its sessions count no more", lease = %lease.id);
            }
        }
        Ok(())
    }

    /// Has those counts told that the cluster does not know, or may forget.
    fn tell_what_is_not_known(self: &Arc<Self>) {
        let mut state = self.state();
        if state.is_suspended() {
            return;
        }
        let own = state.own.as_ref().map(|own| own.lease.id.clone());
        for (name, scope) in &mut state.scopes {
            scope.told.take_if(|told| scope.held > 0 && told.at.elapsed() >= REFRESH);
            if !scope.is_known(own.as_ref()) {
                self.work(name, scope);
            }
        }
        state.scopes.retain(|_, scope| !scope.is_over());
    }
}
