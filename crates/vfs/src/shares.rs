//! The node's memory for uploads, shared fairly between tenants and between a tenant's writers.
//!
//! The rule that keeps it from locking up: every writer that holds bytes of a file holds the memory
//! of one whole part. With it alone it can always gather a part, send it and get the memory back
//! when the part has landed, which depends on the store and never on a client or on another writer.
//! That much is a [`Urgency::Need`], waited for with a limit; what lets a writer send several parts
//! at once is an [`Urgency::Extra`], taken only while it leaves room for others. Who gets what is
//! decided in [`ledger`].

mod ledger;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use prometheus::IntGauge;
use tidegate_store::TenantName;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use self::ledger::Urgency;
use self::ledger::{Ask, Ledger, Ticket};
use crate::budget::UNIT;
use crate::in_flight::InFlight;

/// A fixed number of bytes for all uploads of a node. Clones share it.
#[derive(Clone)]
pub(crate) struct Shares {
    inner: Arc<Inner>,
}

struct Inner {
    total: u64,
    used: IntGauge,
    state: Mutex<State>,
}

struct State {
    ledger: Ledger,
    /// Who waits, by ticket.
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    /// Who may have to make way, by number.
    registered: HashMap<u64, Registered>,
    next: u64,
}

struct Registered {
    share: WriterShare,
    writer: Weak<dyn Yields>,
}

/// A writer that may have to give up what it holds.
pub(crate) trait Yields: Send + Sync {
    /// Since when it has stood still with all that it holds; `None` if it does not.
    fn still_since(&self) -> Option<Instant>;

    /// Fails its upload and gives all memory back.
    fn make_way(&self);
}

impl Shares {
    /// Memory of `bytes`, rounded down to whole units; what is taken shows in `used`.
    pub(crate) fn new(bytes: u64, used: IntGauge) -> Self {
        let units = bytes / UNIT;
        let state = State { ledger: Ledger::new(units), waiting: HashMap::new(), registered: HashMap::new(), next: 0 };
        Self { inner: Arc::new(Inner { total: units * UNIT, used, state: Mutex::new(state) }) }
    }

    /// Bytes that there are in all.
    pub(crate) fn total(&self) -> u64 {
        self.inner.total
    }

    /// One tenant's view, for a session whose limits are these.
    pub(crate) fn tenant(&self, name: TenantName, in_flight: InFlight) -> TenantShare {
        TenantShare { shares: self.clone(), tenant: Arc::new(name), in_flight }
    }
}

/// One tenant's view of the memory. Those of the same tenant count together.
#[derive(Clone, Debug)]
pub(crate) struct TenantShare {
    shares: Shares,
    tenant: Arc<TenantName>,
    in_flight: InFlight,
}

impl TenantShare {
    /// For a writer that holds nothing yet.
    pub(crate) fn writer(&self) -> WriterShare {
        WriterShare {
            inner: Arc::clone(&self.shares.inner),
            tenant: Arc::clone(&self.tenant),
            in_flight: self.in_flight.clone(),
            held: Arc::default(),
        }
    }
}

/// One writer's view of the memory: what it holds is counted. Clones are the same writer's.
#[derive(Clone)]
pub(crate) struct WriterShare {
    inner: Arc<Inner>,
    tenant: Arc<TenantName>,
    in_flight: InFlight,
    /// Units.
    held: Arc<AtomicU64>,
}

impl WriterShare {
    /// Bytes that there are in all, for all tenants.
    pub(crate) fn total(&self) -> u64 {
        self.inner.total
    }

    /// Bytes that the writer holds.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed) * UNIT
    }

    /// Takes `bytes`, rounded up to whole units, if they may be had now.
    pub(crate) fn try_take(&self, bytes: u64, urgency: Urgency) -> Option<Grant> {
        self.ask(bytes, urgency)?.claim()
    }

    /// Takes `bytes`, rounded up to whole units, when its turn comes; `None` if that was not in time, or an
    /// extra is beyond what the session or its tenant may have.
    pub(crate) async fn take(&self, bytes: u64, urgency: Urgency, within: Duration) -> Option<Grant> {
        if bytes > self.inner.total {
            return None;
        }
        let mut place = self.ask(bytes, urgency)?;
        // A time that ran out and a turn that came are told apart under the lock.
        let first = within / 2;
        if tokio::time::timeout(first, &mut place.turn).await.is_err() {
            if urgency == Urgency::Need {
                self.make_others_yield(bytes, within);
            }
            let _ = tokio::time::timeout(within - first, &mut place.turn).await;
        }
        place.claim()
    }

    /// From now on the writer may have to make way for others.
    pub(crate) fn register<W: Yields + 'static>(&self, writer: &Arc<W>) -> Registration {
        let writer: Weak<W> = Arc::downgrade(writer);
        let mut state = self.inner.state();
        state.next += 1;
        let number = state.next;
        state.registered.insert(number, Registered { share: self.clone(), writer });
        Registration { inner: Arc::clone(&self.inner), number }
    }

    /// Where the tenant lacks its share because others hold more than theirs: lets as many of their
    /// writers as needed make way, of those that have stood still for `still` those first that have
    /// for the longest.
    fn make_others_yield(&self, bytes: u64, still: Duration) {
        let rivals: Vec<(u64, Arc<dyn Yields>)> = {
            let state = self.inner.state();
            let over = state.ledger.over_share(&self.tenant, bytes.div_ceil(UNIT));
            let holders = state.registered.values().filter(|rival| over.contains(&rival.share.tenant));
            holders.filter_map(|rival| Some((rival.share.held(), rival.writer.upgrade()?))).collect()
        };
        // Asked without the lock: they take theirs first and this one behind it.
        let now = Instant::now();
        let mut standing: Vec<_> = rivals
            .into_iter()
            .filter_map(|(held, writer)| Some((writer.still_since()?, held, writer)))
            .filter(|(since, held, _)| *held > 0 && now - *since >= still)
            .collect();
        standing.sort_by_key(|(since, ..)| *since);
        let mut freed = 0;
        for (_, held, writer) in standing {
            if freed >= bytes {
                break;
            }
            writer.make_way();
            freed += held;
        }
    }

    fn ask(&self, bytes: u64, urgency: Urgency) -> Option<Place> {
        let units = bytes.div_ceil(UNIT);
        match urgency {
            Urgency::Need => self.in_flight.add(units * UNIT),
            Urgency::Extra if self.in_flight.try_add(units * UNIT) => {}
            Urgency::Extra => return None,
        }
        let ask = Ask { units, held: self.held.load(Ordering::Relaxed), urgency };
        let (called, turn) = oneshot::channel();
        let mut state = self.inner.state();
        let ticket = state.ledger.ask(&self.tenant, ask);
        state.waiting.insert(ticket, called);
        self.inner.serve(state);
        Some(Place { writer: self.clone(), units, ticket, turn, left: false })
    }

    fn grant(&self, units: u64) -> Grant {
        self.held.fetch_add(units, Ordering::Relaxed);
        Grant { writer: self.clone(), units }
    }
}

/// As long as it lives, its writer may have to make way.
pub(crate) struct Registration {
    inner: Arc<Inner>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let gone = self.inner.state().registered.remove(&self.number);
        // Behind the lock.
        drop(gone);
    }
}

/// A place among those who wait. Dropped, it is given up.
struct Place {
    writer: WriterShare,
    units: u64,
    ticket: Ticket,
    turn: oneshot::Receiver<()>,
    left: bool,
}

impl Place {
    fn claim(mut self) -> Option<Grant> {
        self.leave().then(|| self.writer.grant(self.units))
    }

    /// Whether its turn had come. If not, what it asked for is not in flight.
    fn leave(&mut self) -> bool {
        self.left = true;
        let inner = &self.writer.inner;
        let mut state = inner.state();
        if state.waiting.remove(&self.ticket).is_none() {
            return true;
        }
        self.writer.in_flight.sub(self.units * UNIT);
        state.ledger.withdraw(&self.writer.tenant, self.ticket);
        // It may have stood before others.
        inner.serve(state);
        false
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.left && self.leave() {
            self.writer.in_flight.sub(self.units * UNIT);
            self.writer.inner.release(&self.writer.tenant, self.units);
        }
    }
}

/// Bytes that a writer holds; dropping gives them back.
pub(crate) struct Grant {
    writer: WriterShare,
    units: u64,
}

impl Grant {
    /// How many bytes it stands for.
    pub(crate) fn bytes(&self) -> u64 {
        self.units * UNIT
    }

    /// Adds the bytes of another grant of the same writer.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.units += std::mem::take(&mut other.units);
    }

    /// Splits off what lies above `bytes` (rounded up to whole units), if anything.
    pub(crate) fn split_above(&mut self, bytes: u64) -> Option<Self> {
        let keep = bytes.div_ceil(UNIT);
        let units = self.units.checked_sub(keep).filter(|over| *over > 0)?;
        self.units = keep;
        Some(Self { writer: self.writer.clone(), units })
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.units > 0 {
            self.writer.held.fetch_sub(self.units, Ordering::Relaxed);
            self.writer.in_flight.sub(self.units * UNIT);
            self.writer.inner.release(&self.writer.tenant, self.units);
        }
    }
}

impl Inner {
    fn release(&self, tenant: &Arc<TenantName>, units: u64) {
        let mut state = self.state();
        state.ledger.release(tenant, units);
        self.serve(state);
    }

    /// Calls those whose turn has come.
    fn serve(&self, mut state: MutexGuard<'_, State>) {
        while let Some(ticket) = state.ledger.serve() {
            if let Some(called) = state.waiting.remove(&ticket) {
                // One that went away meanwhile gives its units back when it is dropped.
                let _ = called.send(());
            }
        }
        self.used.set(i64::try_from(state.ledger.taken() * UNIT).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("total", &self.inner.total).finish_non_exhaustive()
    }
}

impl fmt::Debug for WriterShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterShare").field("tenant", &self.tenant).field("held", &self.held).finish_non_exhaustive()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("units", &self.units).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
