//! How many sessions a tenant and a user may have at once, over all nodes of the cluster.
//!
//! Every node counts its own sessions. For a tenant or a user with a limit it also tells the cluster its
//! count with each login, in one write that is answered with all nodes' counts ([`Leases::hold`]), and
//! lets the login in if their sum is within the limit. Of logins at once on several nodes each sees those
//! before it, so together they never go beyond. What ends is told a moment later, several at once.
//!
//! A node's counts are worth as much as its lease ([`keeper`]): those of a node that died count for at
//! most two lives of a lease. A node that could not renew its lease, because it stood still or could not
//! reach the service, is counted as dead as well, and what others let in meanwhile goes beyond the limit
//! until it ends: by no more than the sessions that the node has, which alone are within the limit.
//!
//! If the service does not answer in time, the login is let in if the node's own count is within the
//! limit: a fault of the service must not keep everybody out.

mod keeper;
mod observed;
mod scope;
#[cfg(test)]
mod simulation;
mod telling;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_store::{Account, Leases, SessionScope};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::accounting::SessionCheck;
use crate::metrics::Metrics;
use keeper::Own;
use observed::Observed;
use scope::{Scope, Verdict, Waiting};

/// How long a login waits for the cluster's count.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// After how long a login asks once more that found all places taken: who leaves one node and comes to
/// another at once is not to meet his own session, whose end is told a moment later.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// How long after a failure logins are let in without asking.
const SUSPENSION: Duration = Duration::from_secs(5);

/// Writes of counts that one node has under way at once.
const MAX_WRITES: usize = 64;

/// The sessions of a node, counted with those of all others.
#[derive(Clone, Debug)]
pub(crate) struct Sessions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    leases: Arc<dyn Leases>,
    /// How long a lease lives that is not renewed.
    life: Duration,
    metrics: Metrics,
    state: Mutex<State>,
    /// Held while the node's own lease is begun or renewed.
    renewing: tokio::sync::Mutex<()>,
    writes: Semaphore,
    /// How many counts have been told, to set them in order.
    turns: AtomicU64,
    tasks: TaskTracker,
    /// Where places that are given back from outside the runtime find it.
    runtime: Handle,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// Every tenant and user with a session here, or whose last count is still to be told.
    scopes: HashMap<SessionScope, Scope>,
    own: Option<Own>,
    is_kept: bool,
    observed: Observed,
    suspended: Option<Instant>,
}

/// A session's places; given back on drop.
#[derive(Debug)]
pub(crate) struct SessionPlaces {
    _tenant: Place,
    _user: Place,
    /// Whether all limits were held against the whole cluster's counts.
    #[cfg_attr(not(test), expect(dead_code, reason = "the simulation asks"))]
    is_checked: bool,
}

/// Which limit a session would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverLimit {
    Tenant,
    User,
}

/// One session's place among those of a scope; given back on drop.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    scope: SessionScope,
    is_checked: bool,
}

impl Sessions {
    /// Counts under leases that live for `life`. Must be called within a runtime.
    pub(crate) fn new(leases: Arc<dyn Leases>, life: Duration, metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            leases,
            life,
            metrics,
            state: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
            writes: Semaphore::new(MAX_WRITES),
            turns: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            closed: CancellationToken::new(),
        }))
    }

    /// Places for one more session, or the limit that it would break. Takes at most twice [`CHECK_MAX`] and
    /// [`SECOND_LOOK`].
    pub(crate) async fn admit(&self, account: &Account) -> Result<SessionPlaces, OverLimit> {
        let tenant = self.enter(SessionScope::Tenant(account.tenant.name.clone()), account.tenant.limits.max_sessions);
        let user = self.enter(SessionScope::User(account.user.name.clone()), account.user.max_sessions);
        let (tenant, user) = tokio::join!(tenant, user);
        let (tenant, user) = (tenant.ok_or(OverLimit::Tenant)?, user.ok_or(OverLimit::User)?);
        let is_checked = tenant.is_checked && user.is_checked;
        Ok(SessionPlaces { _tenant: tenant, _user: user, is_checked })
    }

    /// Ends the node's lease, and with it all its counts. What is counted later is told to nobody.
    pub(crate) async fn close(&self) {
        self.0.closed.cancel();
        self.0.tasks.close();
        if timeout(CHECK_MAX, self.0.tasks.wait()).await.is_err() {
            warn!(message = "counts of sessions were still being told when the node ended");
        }
        self.0.end().await;
    }

    async fn enter(&self, name: SessionScope, limit: Option<u32>) -> Option<Place> {
        let mut entered = self.0.take(name.clone(), limit)?;
        let mut may_ask_again = true;
        loop {
            let (mut place, waiting) = entered;
            let Some(waiting) = waiting else { return Some(place) };
            let check = match timeout(CHECK_MAX, waiting).await {
                Ok(Ok(Verdict::Admitted)) => SessionCheck::Admitted,
                Ok(Ok(Verdict::Full)) => SessionCheck::Refused,
                // What failed has been logged.
                Ok(Ok(Verdict::Unknown) | Err(_)) => SessionCheck::Unchecked,
                Err(_) => {
                    self.0.suspend("the service did not answer in time");
                    SessionCheck::Unchecked
                }
            };
            if check == SessionCheck::Refused && std::mem::take(&mut may_ask_again) {
                drop(place);
                sleep(SECOND_LOOK).await;
                entered = self.0.take(name.clone(), limit)?;
                continue;
            }
            self.0.metrics.checked(check);
            place.is_checked = check != SessionCheck::Unchecked;
            return (check != SessionCheck::Refused).then_some(place);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place as far as this node can tell, and asks the cluster if there is a limit: `None` if
    /// this node alone has all that there may be.
    fn take(
        self: &Arc<Self>,
        name: SessionScope,
        limit: Option<u32>,
    ) -> Option<(Place, Option<oneshot::Receiver<Verdict>>)> {
        let mut state = self.state();
        let is_suspended = state.is_suspended();
        let held = state.scopes.get(&name).map_or(0, |scope| scope.held);
        if limit.is_some_and(|limit| held >= limit) {
            drop(state);
            self.metrics.checked(SessionCheck::Refused);
            return None;
        }
        if limit.is_some() && !std::mem::replace(&mut state.is_kept, true) {
            self.tasks.spawn_on(Arc::clone(self).keep(), &self.runtime);
        }
        let scope = state.scopes.entry(name.clone()).or_default();
        scope.held = scope.held.saturating_add(1);
        let mut place = Place { shared: Arc::clone(self), scope: name, is_checked: true };
        let Some(limit) = limit else { return Some((place, None)) };
        scope.limit = Some(limit);
        if is_suspended {
            drop(state);
            self.metrics.checked(SessionCheck::Unchecked);
            place.is_checked = false;
            return Some((place, None));
        }
        let (answer, waiting) = oneshot::channel();
        scope.waiting.push(Waiting { limit, answer });
        self.work(&place.scope, scope);
        Some((place, Some(waiting)))
    }

    /// Has a scope's count told, by a task that may run already.
    fn work(self: &Arc<Self>, name: &SessionScope, scope: &mut Scope) {
        if self.closed.is_cancelled() {
            return;
        }
        if scope.is_told {
            if !scope.waiting.is_empty() {
                scope.changed.notify_one();
            }
            return;
        }
        scope.is_told = true;
        self.tasks.spawn_on(Arc::clone(self).tell(name.clone(), Arc::clone(&scope.changed)), &self.runtime);
    }

    /// Asks no more for a while.
    fn suspend(&self, reason: &str) {
        let mut state = self.state();
        let was_suspended = state.suspended.replace(Instant::now() + SUSPENSION).is_some();
        drop(state);
        if !was_suspended {
            warn!(
                "activity-type" = "ERROR",
                operation = "count-sessions",
                message = "sessions can't be counted over all nodes: this node's own count decides alone",
                reason,
            );
        }
    }
}

impl State {
    fn is_suspended(&self) -> bool {
        self.suspended.is_some_and(|until| until > Instant::now())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let is_suspended = state.is_suspended();
        let Some(scope) = state.scopes.get_mut(&self.scope) else { return };
        scope.held = scope.held.saturating_sub(1);
        if scope.limit.is_some() && !is_suspended {
            self.shared.work(&self.scope, scope);
        } else if scope.is_over() {
            state.scopes.remove(&self.scope);
        }
    }
}
