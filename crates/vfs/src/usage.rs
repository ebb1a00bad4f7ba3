//! What a tenant's files take, and whether there is room for more.
//!
//! Only tenants with a quota are counted. Each node adds up what its own requests change and adds
//! that to the counters that all nodes share, every [`FLUSH`]; between, it knows of other nodes what
//! the counters said last. What a node has not told yet is lost if it dies, and what two requests do
//! to one object at the same moment may be counted wrongly: a recount a day sets the counters right.

mod counted;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use prometheus::IntCounter;
use tidegate_store::{
    ObjectStore, StoreError, StoreErrorKind, StoreResult, Tenant, TenantLimits, TenantName, UsageDelta, UsageFigures,
    UsageStore, recount,
};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

pub(crate) use self::counted::Counted;
use crate::attributes::unix_now;
use crate::error::FsError;

/// How long a change stays with the node that made it, unless there are [`PENDING_MAX`] of them.
const FLUSH: Duration = Duration::from_secs(2);
const PENDING_MAX: u32 = 1_000;

/// How old what is known of the counters may be when a file is opened for writing.
const REFRESH: Duration = Duration::from_secs(5);

/// How old a count of the objects themselves may get, and how many a node makes at once.
const RECOUNT_AGE: u64 = 24 * 60 * 60;
const RECOUNTS_MAX: usize = 1;

/// How long nodes take to tell their changes; a recount waits for it.
pub const USAGE_SETTLES: Duration = Duration::from_secs(5);

/// What a tenant's files take and may take, over all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of content; 0 for a tenant without a quota, as nobody counts them.
    pub bytes_used: u64,
    /// How many there may be; `None` for any number.
    pub bytes_limit: Option<u64>,
    /// Files, and directories that have markers; 0 for a tenant without a quota.
    pub objects_used: u64,
    /// How many there may be; `None` for any number.
    pub objects_limit: Option<u64>,
}

/// The tenants whose usage this node counts.
pub(crate) struct Book {
    counters: Option<Arc<dyn UsageStore>>,
    tenants: Mutex<HashMap<TenantName, Weak<TenantUsage>>>,
    recounts: Arc<Semaphore>,
    refusals: IntCounter,
}

/// What one tenant's files take, as this node knows it.
pub(crate) struct TenantUsage {
    tenant: Tenant,
    store: Arc<dyn ObjectStore>,
    counters: Arc<dyn UsageStore>,
    recounts: Arc<Semaphore>,
    refusals: IntCounter,
    state: Mutex<State>,
    /// Held while the counters are asked or told.
    talking: tokio::sync::Mutex<()>,
    /// Tells the changes before their time.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct State {
    limits: TenantLimits,
    figures: UsageFigures,
    asked: Option<Instant>,
    /// Changes of this node that the counters do not know: those being told, and those behind them.
    telling: UsageDelta,
    pending: UsageDelta,
    changes: u32,
    /// What uploads have sent that are not there yet.
    reserved: UsageDelta,
    is_flushing: bool,
    is_recounting: bool,
}

/// Room that an upload has taken; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Reservation {
    usage: Arc<TenantUsage>,
    amount: UsageDelta,
}

impl Book {
    /// Without counters, no tenant has a quota.
    pub(crate) fn new(counters: Option<Arc<dyn UsageStore>>, refusals: IntCounter) -> Self {
        Self { counters, tenants: Mutex::default(), recounts: Arc::new(Semaphore::new(RECOUNTS_MAX)), refusals }
    }

    /// The usage of a tenant whose objects lie in `store`; `None` if it has no quota.
    pub(crate) fn tenant(&self, tenant: &Tenant, store: &Arc<dyn ObjectStore>) -> Option<Arc<TenantUsage>> {
        let counters = self.counters.as_ref()?;
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tenants.get(&tenant.name).and_then(Weak::upgrade);
        if let Some(known) = &known {
            known.state().limits = tenant.limits.clone();
        }
        if !tenant.limits.has_quota() {
            return None;
        }
        if let Some(known) = known.filter(|known| known.is_of(tenant)) {
            return Some(known);
        }
        let usage = Arc::new(TenantUsage {
            tenant: tenant.clone(),
            store: Arc::clone(store),
            counters: Arc::clone(counters),
            recounts: Arc::clone(&self.recounts),
            refusals: self.refusals.clone(),
            state: Mutex::new(State { limits: tenant.limits.clone(), ..State::default() }),
            talking: tokio::sync::Mutex::default(),
            sooner: Notify::new(),
        });
        tenants.retain(|_, usage| usage.strong_count() > 0);
        tenants.insert(tenant.name.clone(), Arc::downgrade(&usage));
        Some(usage)
    }

    /// Tells all changes that are not told yet.
    pub(crate) async fn settle(&self) {
        let tenants: Vec<_> = {
            let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.values().filter_map(Weak::upgrade).collect()
        };
        for usage in tenants {
            usage.tell().await;
        }
    }
}

impl TenantUsage {
    fn is_of(&self, tenant: &Tenant) -> bool {
        self.tenant.bucket == tenant.bucket && self.tenant.prefix == tenant.prefix
    }

    /// Asks the counters anew if what is known of them is old. Where they can't be asked, what was
    /// known holds on: a quota must not stop all uploads because its table is away.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let is_fresh = || self.state().asked.is_some_and(|asked| asked.elapsed() < REFRESH);
        if is_fresh() {
            return;
        }
        let _talking = self.talking.lock().await;
        if is_fresh() {
            return;
        }
        let read = self.counters.read(&self.tenant.name).await;
        let mut state = self.state();
        state.asked = Some(Instant::now());
        match read {
            Ok(figures) => state.figures = figures,
            Err(error) => tracing::warn!(tenant = %self.tenant.name, error = error.report(), "usage can't be read"),
        }
        drop(state);
        self.recount_if_due();
    }

    /// What the files take and may take, as far as this node knows.
    pub(crate) fn report(&self) -> Usage {
        let state = self.state();
        let used = state.used();
        Usage {
            bytes_used: u64::try_from(used.bytes).unwrap_or(0),
            bytes_limit: state.limits.quota_bytes,
            objects_used: u64::try_from(used.objects).unwrap_or(0),
            objects_limit: state.limits.quota_objects,
        }
    }

    /// Fails if there is no room for another byte.
    pub(crate) fn has_room(&self) -> Result<(), FsError> {
        Ok(self.check(&self.state(), UsageDelta::new(1, 0)).inspect_err(|_| self.refusals.inc())?)
    }

    /// Whether there is room for another object.
    pub(crate) fn has_room_for_object(&self) -> bool {
        self.check(&self.state(), UsageDelta::new(0, 1)).is_ok()
    }

    /// The refusal of another object.
    pub(crate) fn no_room_for_object(&self) -> FsError {
        self.refusals.inc();
        StoreError::new(StoreErrorKind::QuotaExceeded, "objects").into()
    }

    fn check(&self, state: &State, wanted: UsageDelta) -> StoreResult<()> {
        // What was never counted is not known: better too much than nothing at all.
        if state.figures.counted.is_none() {
            return Ok(());
        }
        let then = state.used().plus(state.reserved).plus(wanted);
        let exceeds = |wanted: i64, then: i64, limit: Option<u64>| {
            wanted > 0 && limit.is_some_and(|limit| u64::try_from(then).is_ok_and(|then| then > limit))
        };
        if exceeds(wanted.bytes, then.bytes, state.limits.quota_bytes)
            || exceeds(wanted.objects, then.objects, state.limits.quota_objects)
        {
            return Err(StoreError::new(StoreErrorKind::QuotaExceeded, "reserve"));
        }
        Ok(())
    }

    /// Takes room for an upload; fails if there is not as much.
    fn reserve(self: &Arc<Self>, amount: UsageDelta) -> StoreResult<Reservation> {
        let mut reservation = Reservation { usage: Arc::clone(self), amount: UsageDelta::default() };
        reservation.grow_to(amount)?;
        Ok(reservation)
    }

    /// Takes room for so many bytes in all, with what is `held` of it already; fails if there is not as much.
    pub(crate) fn reserve_bytes(self: &Arc<Self>, held: &mut Option<Reservation>, bytes: u64) -> StoreResult<()> {
        let amount = UsageDelta::new(i64::try_from(bytes).unwrap_or(i64::MAX), 0);
        match held {
            Some(held) => held.grow_to(amount),
            None => {
                *held = Some(self.reserve(amount)?);
                Ok(())
            }
        }
    }

    /// Notes a change that this node has made.
    fn count(self: &Arc<Self>, change: UsageDelta) {
        let mut state = self.state();
        state.pending = state.pending.plus(change);
        state.changes = state.changes.saturating_add(1);
        if state.changes >= PENDING_MAX {
            self.sooner.notify_one();
        }
        if !state.is_flushing {
            state.is_flushing = true;
            let usage = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(FLUSH) => {}
                        () = usage.sooner.notified() => {}
                    }
                    usage.tell().await;
                    let mut state = usage.state();
                    if state.changes == 0 {
                        state.is_flushing = false;
                        return;
                    }
                }
            });
        }
    }

    /// Adds what this node has changed to the counters. What can't be told waits for the next time.
    async fn tell(&self) {
        let _talking = self.talking.lock().await;
        let changes = {
            let mut state = self.state();
            state.telling = std::mem::take(&mut state.pending);
            std::mem::take(&mut state.changes)
        };
        if changes == 0 {
            return;
        }
        let telling = self.state().telling;
        let told = self.counters.add(&self.tenant.name, telling).await;
        let mut state = self.state();
        state.telling = UsageDelta::default();
        match told {
            Ok(figures) => (state.figures, state.asked) = (figures, Some(Instant::now())),
            Err(error) => {
                state.pending = state.pending.plus(telling);
                state.changes = state.changes.saturating_add(changes).min(PENDING_MAX - 1);
                tracing::warn!(tenant = %self.tenant.name, error = error.report(), "usage can't be told");
            }
        }
    }

    /// Counts the objects in a task of its own, if nobody has for a day and no other node does now.
    fn recount_if_due(self: &Arc<Self>) {
        let now = unix_now();
        let mut state = self.state();
        let is_due = state.figures.counted.is_none_or(|counted| counted.saturating_add(RECOUNT_AGE) < now);
        if !is_due || state.is_recounting {
            return;
        }
        let Ok(permit) = Arc::clone(&self.recounts).try_acquire_owned() else { return };
        state.is_recounting = true;
        let usage = Arc::clone(self);
        tokio::spawn(async move {
            let _permit = permit;
            let name = &usage.tenant.name;
            let counted = recount(&*usage.store, &*usage.counters, &usage.tenant, USAGE_SETTLES).await;
            let mut state = usage.state();
            state.is_recounting = false;
            match counted {
                Ok(Some(figures)) => {
                    (state.figures, state.asked) = (figures, Some(Instant::now()));
                    tracing::info!(tenant = %name, used = ?figures.used, "usage was counted");
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(tenant = %name, error = error.report(), "usage can't be counted"),
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn used(&self) -> UsageDelta {
        self.figures.used.plus(self.telling).plus(self.pending)
    }
}

impl Reservation {
    /// Takes more, up to `amount` in all; fails if there is not as much, and keeps what it has.
    fn grow_to(&mut self, amount: UsageDelta) -> StoreResult<()> {
        let more = amount.minus(self.amount);
        let mut state = self.usage.state();
        self.usage.check(&state, more).inspect_err(|_| self.usage.refusals.inc())?;
        state.reserved = state.reserved.plus(more);
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.usage.state();
        state.reserved = state.reserved.minus(self.amount);
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl fmt::Debug for TenantUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantUsage").field("tenant", &self.tenant.name).finish_non_exhaustive()
    }
}
