//! Tells the cluster one scope's count, one write at a time, for all logins that wait meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_store::{ENDED_MAX, HeldSessions, LeaseId, SessionScope, StoreError, StoreErrorKind, StoreResult};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::info;

use super::Shared;
use super::scope::{Scope, Told, Waiting};

/// How long sessions that end are gathered before they are told.
const GATHER: Duration = Duration::from_millis(500);

/// How long one telling may take, all its requests together.
const TELL_MAX: Duration = Duration::from_secs(10);

/// How often one telling begins anew because the lease has not been renewed in time.
const ROUNDS: usize = 3;

/// What to do next for a scope.
enum Turn {
    Gather,
    Over,
    Tell,
}

/// What a telling has brought.
struct Learned {
    lease: LeaseId,
    /// Sessions on other nodes that live.
    others: u64,
    ended: Vec<LeaseId>,
}

impl Shared {
    /// Tells until all is told.
    pub(super) async fn tell(self: Arc<Self>, name: SessionScope, changed: Arc<Notify>) {
        let mut has_gathered = false;
        loop {
            match self.turn(&name, has_gathered) {
                Turn::Over => return,
                Turn::Gather => {
                    // A login that waits is told at once, and takes what was gathered with it.
                    let _ = timeout(GATHER, changed.notified()).await;
                    has_gathered = true;
                }
                Turn::Tell => {
                    let Ok(_permit) = self.writes.acquire().await else { return };
                    self.tell_once(&name).await;
                    has_gathered = false;
                }
            }
        }
    }

    fn turn(&self, name: &SessionScope, has_gathered: bool) -> Turn {
        let mut state = self.state();
        let is_suspended = state.is_suspended() || self.closed.is_cancelled();
        let own = state.own.as_ref().map(|own| own.lease.id.clone());
        let Some(scope) = state.scopes.get_mut(name) else { return Turn::Over };
        if !scope.waiting.is_empty() && !is_suspended {
            return Turn::Tell;
        }
        if !scope.is_known(own.as_ref()) && !is_suspended {
            return if has_gathered || scope.is_tight() { Turn::Tell } else { Turn::Gather };
        }
        scope.is_told = false;
        Scope::give_up(std::mem::take(&mut scope.waiting));
        if scope.is_over() {
            state.scopes.remove(name);
        }
        Turn::Over
    }

    async fn tell_once(self: &Arc<Self>, name: &SessionScope) {
        let Some((sessions, waiting, ended)) = self.to_tell(name) else { return };
        let told = timeout(TELL_MAX, self.learn(name, sessions, &ended)).await;
        let learned = told.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable, "hold sessions")));
        let mut state = self.state();
        let Some(scope) = state.scopes.get_mut(name) else { return };
        match learned {
            Ok(Learned { lease, others, ended }) => {
                scope.told = Some(Told { lease, sessions, at: Instant::now() });
                (scope.is_in_doubt, scope.ended, scope.others) = (false, ended, others);
                Scope::answer(waiting, sessions, others);
                if state.suspended.take().is_some() {
                    info!(message = "sessions are counted over all nodes again");
                }
            }
            Err(error) => {
                Scope::give_up(waiting);
                drop(state);
                self.suspend(&error.report());
            }
        }
    }

    /// The count to tell, the logins that wait for what comes of it, and the leases to forget.
    fn to_tell(&self, name: &SessionScope) -> Option<(u32, Vec<Waiting>, Vec<LeaseId>)> {
        let mut state = self.state();
        let scope = state.scopes.get_mut(name)?;
        let mut ended = std::mem::take(&mut scope.ended);
        ended.truncate(ENDED_MAX);
        Some((scope.held, std::mem::take(&mut scope.waiting), ended))
    }

    async fn learn(self: &Arc<Self>, name: &SessionScope, sessions: u32, ended: &[LeaseId]) -> StoreResult<Learned> {
        for _ in 0..ROUNDS {
            let lease = self.lease().await?;
            self.doubt(name);
            let own = HeldSessions { lease: lease.clone(), sessions };
            let turn = self.turns.fetch_add(1, Ordering::Relaxed);
            let held = self.leases.hold(name, &own, turn, ended).await?;
            let (others, ended) = self.others(&lease, held).await?;
            // Others may have ended it meanwhile, and then not have seen the count.
            if self.is_fresh(&lease) {
                return Ok(Learned { lease, others, ended });
            }
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, "hold sessions")
            .with_source("the lease was not renewed in time"))
    }

    /// From now on until an answer comes nobody knows what the store has of this node.
    fn doubt(&self, name: &SessionScope) {
        if let Some(scope) = self.state().scopes.get_mut(name) {
            (scope.told, scope.is_in_doubt) = (None, true);
        }
    }

    /// The sessions under other leases that live, and the leases among them that have ended, whether they had any
    /// sessions or not: nothing that is late under such a lease counts any more, so what the store keeps of it may go.
    /// Of a lease that lives it may not, for an earlier turn would count then that comes late. Only a lease that was
    /// never seen costs a look.
    async fn others(&self, own: &LeaseId, held: Vec<HeldSessions>) -> StoreResult<(u64, Vec<LeaseId>)> {
        let is_unseen = {
            let state = self.state();
            held.iter().any(|held| held.lease != *own && state.observed.lives(&held.lease).is_none())
        };
        if is_unseen {
            self.look().await?;
        }
        let mut state = self.state();
        let (mut others, mut ended) = (0_u64, Vec::new());
        for HeldSessions { lease, sessions } in held.into_iter().filter(|held| held.lease != *own) {
            if state.observed.lives(&lease) == Some(true) {
                others = others.saturating_add(u64::from(sessions));
            } else {
                if state.observed.lives(&lease).is_none() {
                    // It was begun before the store told of it, and gone when it was looked for behind that.
                    state.observed.ended(&lease);
                }
                ended.push(lease);
            }
        }
        Ok((others, ended))
    }
}
