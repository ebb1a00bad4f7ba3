//! The node's memory for reading, shared fairly: between tenants, and between a tenant's readers.
//!
//! Every byte that is fetched is held under a [`ReadPermit`]. Read-ahead takes what is free at once,
//! up to the reader's share, or does without. A range that a read waits for queues for its memory;
//! what comes free goes to the tenant that holds the least. Whoever stands above its share, or has
//! stopped reading, is made to drop read-ahead as soon as somebody lacks memory, so the queue moves
//! whatever the clients do: a range that is waited for depends on the store alone, and any other can
//! be dropped.

mod fairness;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tidegate_store::TenantName;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::fairness::Reach;
use crate::budget::{UNIT, round_up};
use crate::error::{FsError, FsErrorKind};
use crate::in_flight::InFlight;
use crate::metrics::{Counted, Metrics};

/// What every reader may hold, however many there are: with less, one request to the store would not
/// serve several small reads. Where even this is not there for all, reads queue.
const LEAST: u64 = 256 << 10;

/// Whose client has not read for so long has no share, in milliseconds.
const IDLE: u64 = 2_000;

/// How often who waits looks for memory that can be dropped.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long who waits spares what the others may hold. Only where there is less than [`LEAST`] for
/// each does it come to that: what is dropped then has to be fetched again.
const PATIENCE: Duration = Duration::from_millis(200);

/// A fixed number of bytes. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ReadMemory {
    node: Arc<Node>,
}

#[derive(Debug)]
struct Node {
    total: u64,
    wait_max: Duration,
    metrics: Metrics,
    epoch: Instant,
    state: Mutex<State>,
    /// When shares were counted, in milliseconds since `epoch`; for how many readers; how many
    /// began to read ahead since.
    counted_at: AtomicU64,
    counted: AtomicU64,
    /// The least share at that time: what newcomers may hold until they are counted.
    least_share: AtomicU64,
    newcomers: AtomicU64,
    barren_at: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    free: u64,
    tenants: HashMap<TenantName, Tenant>,
    readers: HashMap<u64, Arc<Member>>,
    next_reader: u64,
    /// Bytes that are waited for.
    wanted: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    readers: usize,
    held: u64,
    queue: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    member: Arc<Member>,
    bytes: u64,
    ready: oneshot::Sender<ReadPermit>,
}

/// One open file, as the others see it.
#[derive(Debug)]
struct Member {
    id: u64,
    tenant: TenantName,
    in_flight: InFlight,
    /// Changed under the lock only.
    held: AtomicU64,
    wants: AtomicU64,
    /// What it may hold.
    share: AtomicU64,
    /// When the client last read, in milliseconds since the node's `epoch`.
    read_at: AtomicU64,
    trim: OnceLock<Weak<dyn Trim>>,
}

/// Something that holds read-ahead and can drop it.
pub(crate) trait Trim: fmt::Debug + Send + Sync {
    /// Drops what nobody waits for, the farthest first, until no more than `keep` bytes are held.
    /// Returns how many bytes came free: none if it is busy at the moment.
    fn trim(&self, keep: u64) -> u64;
}

impl ReadMemory {
    /// `bytes`, rounded down to whole units. Who waits for some longer than `wait_max` gets none.
    pub(crate) fn new(bytes: u64, wait_max: Duration, metrics: Metrics) -> Self {
        let total = bytes / UNIT * UNIT;
        let state = Mutex::new(State { free: total, ..State::default() });
        Self {
            node: Arc::new(Node {
                total,
                wait_max,
                metrics,
                epoch: Instant::now(),
                state,
                counted_at: AtomicU64::new(0),
                counted: AtomicU64::new(0),
                least_share: AtomicU64::new(u64::MAX),
                newcomers: AtomicU64::new(0),
                barren_at: AtomicU64::new(u64::MAX),
            }),
        }
    }

    /// Bytes in all.
    pub(crate) fn total(&self) -> u64 {
        self.node.total
    }

    /// The memory as this tenant may use it, in a session whose limits are these.
    pub(crate) fn of(&self, tenant: TenantName, in_flight: InFlight) -> TenantMemory {
        TenantMemory { node: Arc::clone(&self.node), tenant, in_flight }
    }
}

/// The node's memory for reading, as one tenant may use it.
#[derive(Clone, Debug)]
pub(crate) struct TenantMemory {
    node: Arc<Node>,
    tenant: TenantName,
    in_flight: InFlight,
}

impl TenantMemory {
    /// A share for one more reader.
    pub(crate) fn join(&self) -> Share {
        let mut state = self.node.state();
        state.next_reader += 1;
        let member = Arc::new(Member {
            id: state.next_reader,
            tenant: self.tenant.clone(),
            in_flight: self.in_flight.clone(),
            held: AtomicU64::new(0),
            wants: AtomicU64::new(0),
            share: AtomicU64::new(u64::MAX),
            read_at: AtomicU64::new(self.node.now()),
            trim: OnceLock::new(),
        });
        state.readers.insert(member.id, Arc::clone(&member));
        state.tenants.entry(self.tenant.clone()).or_default().readers += 1;
        drop(state);
        Share { node: Arc::clone(&self.node), member }
    }
}

/// One reader's place among the others. Dropping it leaves; permits outlive it.
#[derive(Debug)]
pub(crate) struct Share {
    node: Arc<Node>,
    member: Arc<Member>,
}

impl Share {
    /// Tells who drops this reader's read-ahead when others lack memory.
    pub(crate) fn trims(&self, trim: Weak<dyn Trim>) {
        // Set once, right after the reader was made.
        let _ = self.member.trim.set(trim);
    }

    /// The client reads, and would have `wants` bytes held for it. Returns how many it may hold.
    pub(crate) fn claim(&self, wants: u64) -> u64 {
        let now = self.node.now();
        self.member.read_at.store(now, Relaxed);
        if self.member.wants.swap(wants, Relaxed) == 0 && wants > 0 {
            self.node.newcomers.fetch_add(1, Relaxed);
            self.member.share.store(self.node.least_share.load(Relaxed), Relaxed);
        }
        if self.node.shares_are_old(now) {
            self.node.count_shares(now);
        }
        self.member.may_hold()
    }

    /// The client reads, as before.
    pub(crate) fn touch(&self) {
        self.member.read_at.store(self.node.now(), Relaxed);
    }

    /// Whether reads wait for memory.
    pub(crate) fn is_short(&self) -> bool {
        self.node.state().wanted > 0
    }

    /// Takes `bytes`, rounded up to whole units, if that stays within the share and the limits of session and
    /// tenant, they can be had at once, and nobody waits for memory.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<ReadPermit> {
        let bytes = round_up(bytes);
        if !self.member.in_flight.try_add(bytes) {
            return None;
        }
        let taken = self.try_take_counted(bytes);
        if taken.is_none() {
            self.member.in_flight.sub(bytes);
        }
        taken
    }

    /// The same of bytes that are counted as in flight.
    fn try_take_counted(&self, bytes: u64) -> Option<ReadPermit> {
        let within = |member: &Member| member.held.load(Relaxed).saturating_add(bytes) <= member.may_hold();
        {
            let mut state = self.node.state();
            if state.wanted > 0 || !within(&self.member) {
                return None;
            }
            if state.free >= bytes {
                return Some(self.node.take(&mut state, &self.member, bytes));
            }
        }
        self.node.reclaim(bytes, Some(self.member.id), Reach::Surplus);
        let mut state = self.node.state();
        let there = state.wanted == 0 && state.free >= bytes && within(&self.member);
        there.then(|| self.node.take(&mut state, &self.member, bytes))
    }

    /// The same for what nobody has asked for: only while half of all that there is stays free.
    pub(crate) fn try_take_spare(&self, bytes: u64) -> Option<ReadPermit> {
        let has_room = self.node.state().free.saturating_sub(round_up(bytes)) >= self.node.total / 2;
        if has_room { self.try_take(bytes) } else { None }
    }

    /// Joins the queue for `bytes`, rounded up to whole units and cut to all that there is.
    pub(crate) fn queue(&self, bytes: u64) -> Queued {
        let node = Arc::clone(&self.node);
        let bytes = round_up(bytes).min(node.total);
        let mut state = node.state();
        if state.wanted == 0 && state.free >= bytes {
            self.member.in_flight.add(bytes);
            let permit = node.take(&mut state, &self.member, bytes);
            drop(state);
            return Queued::Ready(permit);
        }
        let (ready, granted) = oneshot::channel();
        let waiter = Waiter { member: Arc::clone(&self.member), bytes, ready };
        state.tenants.entry(self.member.tenant.clone()).or_default().queue.push_back(waiter);
        state.wanted += bytes;
        drop(state);
        node.metrics.read_waits.inc();
        let waiting = Counted::new(&node.metrics.reads_waiting);
        Queued::Waiting(Place { node, granted, _waiting: waiting })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.node.state();
        state.readers.remove(&self.member.id);
        if let Some(tenant) = state.tenants.get_mut(&self.member.tenant) {
            tenant.readers -= 1;
        }
        state.forget(&self.member.tenant);
    }
}

/// Memory that was asked for.
#[derive(Debug)]
pub(crate) enum Queued {
    Ready(ReadPermit),
    Waiting(Place),
}

/// A place in the queue; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Place {
    node: Arc<Node>,
    granted: oneshot::Receiver<ReadPermit>,
    _waiting: Counted,
}

impl Queued {
    /// The memory, once it is this one's turn.
    ///
    /// # Errors
    /// `Unavailable` if its turn did not come in time.
    pub(crate) async fn granted(self) -> Result<ReadPermit, FsError> {
        let mut place = match self {
            Self::Ready(permit) => return Ok(permit),
            Self::Waiting(place) => place,
        };
        let began = Instant::now();
        while began.elapsed() < place.node.wait_max {
            let patient = began.elapsed() < PATIENCE;
            place.node.reclaim(0, None, if patient { Reach::Surplus } else { Reach::All });
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK_AGAIN, &mut place.granted).await {
                return Ok(permit);
            }
        }
        place.node.metrics.budget_refusals.inc();
        Err(FsError::new(FsErrorKind::Unavailable, "the node's memory budget is in use; try again in a while"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.granted.close();
        let mut state = self.node.state();
        let served = self.node.serve(&mut state);
        drop(state);
        hand_out(served);
    }
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes bytes that are free and counted as in flight.
    fn take(self: &Arc<Self>, state: &mut State, member: &Arc<Member>, bytes: u64) -> ReadPermit {
        state.free -= bytes;
        state.tenants.entry(member.tenant.clone()).or_default().held += bytes;
        member.held.fetch_add(bytes, Relaxed);
        self.metrics.read_memory.add(as_gauge(bytes));
        ReadPermit { node: Arc::clone(self), member: Arc::clone(member), bytes }
    }

    fn give_back(self: &Arc<Self>, member: &Member, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut state = self.state();
        state.free += bytes;
        member.held.fetch_sub(bytes, Relaxed);
        member.in_flight.sub(bytes);
        if let Some(tenant) = state.tenants.get_mut(&member.tenant) {
            tenant.held -= bytes;
        }
        self.metrics.read_memory.sub(as_gauge(bytes));
        let served = self.serve(&mut state);
        state.forget(&member.tenant);
        drop(state);
        hand_out(served);
    }

    /// Takes for those whose turn it is what is free.
    fn serve(self: &Arc<Self>, state: &mut State) -> Vec<Served> {
        let mut served = Vec::new();
        while state.wanted > 0 {
            // Who gave up its place leaves it to the next one.
            let mut gone = 0;
            for tenant in state.tenants.values_mut() {
                while let Some(waiter) = tenant.queue.pop_front_if(|waiter| waiter.ready.is_closed()) {
                    gone += waiter.bytes;
                }
            }
            state.wanted -= gone;
            let waiting = state.tenants.values_mut().filter(|tenant| !tenant.queue.is_empty());
            let Some(poorest) = waiting.min_by_key(|tenant| tenant.held) else { break };
            let free = state.free;
            let Some(waiter) = poorest.queue.pop_front_if(|waiter| waiter.bytes <= free) else { break };
            state.wanted -= waiter.bytes;
            waiter.member.in_flight.add(waiter.bytes);
            let permit = self.take(state, &waiter.member, waiter.bytes);
            served.push((waiter.ready, permit));
        }
        served
    }
}

type Served = (oneshot::Sender<ReadPermit>, ReadPermit);

/// Called without the lock: if the receiver has gone meanwhile, the permit is given back right here.
fn hand_out(served: Vec<Served>) {
    for (ready, permit) in served {
        let _ = ready.send(permit);
    }
}

impl State {
    fn forget(&mut self, name: &TenantName) {
        if let Some(tenant) = self.tenants.get(name)
            && tenant.readers == 0
            && tenant.held == 0
            && tenant.queue.is_empty()
        {
            self.tenants.remove(name);
        }
    }
}

impl Member {
    fn may_hold(&self) -> u64 {
        self.share.load(Relaxed).max(LEAST)
    }

    fn is_idle(&self, now: u64) -> bool {
        now.saturating_sub(self.read_at.load(Relaxed)) >= IDLE
    }
}

/// Bytes of the node's memory for reading; dropping gives them back.
#[derive(Debug)]
pub(crate) struct ReadPermit {
    node: Arc<Node>,
    member: Arc<Member>,
    bytes: u64,
}

impl ReadPermit {
    /// Gives back what lies above `bytes`, rounded up to whole units.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let keep = round_up(bytes).min(self.bytes);
        self.node.give_back(&self.member, self.bytes - keep);
        self.bytes = keep;
    }

    /// How many bytes it stands for.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for ReadPermit {
    fn drop(&mut self) {
        self.node.give_back(&self.member, self.bytes);
    }
}

fn as_gauge(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
