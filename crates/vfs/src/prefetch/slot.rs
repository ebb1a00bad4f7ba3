//! One file opened ahead, and the node's register of all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures::future::BoxFuture;
use tidegate_store::{ObjectKey, StoreResult};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant};

use crate::attributes::FileAttributes;
use crate::hashed_names::{HashedName, NameHasher};
use crate::metrics::{Counted, Metrics};
use crate::path::VirtualPath;
use crate::reader::{FIRST, Reader};

/// Files that all sessions of a node have open ahead at once, and pages of listings they ask for.
const NODE_MAX: usize = 512;

/// The files that are open ahead on a node, by their objects: whoever changes an object drops what
/// was fetched of it. As many as may be open at once.
#[derive(Debug)]
pub(crate) struct Register {
    names: NameHasher,
    slots: Mutex<Slots>,
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

/// By bucket and key.
type Slots = HashMap<HashedName, Vec<Arc<Slot>>>;

impl Register {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let (names, permits) = (NameHasher::default(), Arc::new(Semaphore::new(NODE_MAX)));
        Self { names, slots: Mutex::default(), permits, metrics }
    }

    /// Leave for one request ahead.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Drops what was fetched of an object, because it has changed or may have.
    pub(super) fn changed(&self, bucket: &str, key: &ObjectKey) {
        let name = self.names.name(&(bucket, key));
        let changed = self.slots().get(&name).cloned().unwrap_or_default();
        for slot in changed {
            slot.close(&self.metrics);
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file opened ahead, as its session holds it. Dropping it stops its request and gives its memory
/// back.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) path: VirtualPath,
    /// Until when it may be used.
    pub(super) deadline: Instant,
    slot: Arc<Slot>,
    register: Arc<Register>,
    name: HashedName,
    is_used: bool,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Ahead {
    /// Sends the request that opens the file, to be used within `life`.
    pub(super) fn begin(
        register: &Arc<Register>,
        permit: OwnedSemaphorePermit,
        path: VirtualPath,
        bucket: &str,
        key: &ObjectKey,
        life: Duration,
        opening: BoxFuture<'static, StoreResult<Reader>>,
    ) -> Self {
        let slot = Arc::new(Slot::default());
        let name = register.names.name(&(bucket, key));
        // Before the request is sent: what changes behind it must find it here.
        register.slots().entry(name).or_default().push(Arc::clone(&slot));
        let deadline = Instant::now() + life;
        let filling = Filling(Arc::clone(&slot));
        let task = tokio::spawn(async move {
            if let Ok(reader) = opening.await {
                filling.0.opened(reader);
            }
        });
        // It was not set before.
        let _ = slot.task.set(task.abort_handle());
        register.metrics.prefetches_started.inc();
        Self {
            path,
            deadline,
            slot,
            register: Arc::clone(register),
            name,
            is_used: false,
            _permit: permit,
            _counted: Counted::new(&register.metrics.prefetches),
        }
    }

    /// How long it has been ready; `None` while it is being opened.
    pub(super) fn idle(&self) -> Option<Duration> {
        match &*self.slot.state() {
            State::Open(_, since) => Some(since.elapsed()),
            State::Closed | State::Opening => None,
        }
    }

    /// Whether there is nothing to be had of it: it failed, or the file has changed.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.slot.state(), State::Closed)
    }

    /// The file, once it is open.
    pub(super) async fn take(mut self) -> Option<Reader> {
        self.slot.wait().await;
        let state = std::mem::replace(&mut *self.slot.state(), State::Closed);
        let State::Open(reader, _) = state else { return None };
        self.is_used = true;
        self.register.metrics.prefetches_used.inc();
        Some(*reader)
    }

    /// The file's attributes, once it is open, in a future that does not hold it.
    pub(super) fn attributes(&self) -> impl Future<Output = Option<FileAttributes>> + use<> {
        let slot = Arc::clone(&self.slot);
        async move {
            slot.wait().await;
            match &*slot.state() {
                State::Open(reader, _) => Some(reader.attributes()),
                State::Closed | State::Opening => None,
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        {
            let mut slots = self.register.slots();
            if let Some(named) = slots.get_mut(&self.name) {
                named.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
                if named.is_empty() {
                    slots.remove(&self.name);
                }
            }
        }
        self.slot.close(&self.register.metrics);
        if !self.is_used {
            self.register.metrics.prefetches_in_vain.inc();
        }
    }
}

/// What its session, its task and the register share of a file opened ahead.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    settled: Notify,
    task: OnceLock<AbortHandle>,
}

#[derive(Debug, Default)]
enum State {
    Closed,
    Open(Box<Reader>, Instant),
    #[default]
    Opening,
}

impl Slot {
    async fn wait(&self) {
        loop {
            // Before the look at the state: it hears of what happens from here on.
            let settled = self.settled.notified();
            if !matches!(*self.state(), State::Opening) {
                return;
            }
            settled.await;
        }
    }

    fn opened(&self, reader: Reader) {
        let mut state = self.state();
        if matches!(*state, State::Opening) {
            *state = State::Open(Box::new(reader), Instant::now());
        }
    }

    /// Stops the request, or drops the file.
    fn close(&self, metrics: &Metrics) {
        let state = std::mem::replace(&mut *self.state(), State::Closed);
        if let State::Open(reader, _) = &state {
            metrics.prefetched_in_vain_bytes.inc_by(reader.attributes().size.min(FIRST));
        }
        if let Some(task) = self.task.get() {
            task.abort();
        }
        self.settled.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot whose task runs. However that ends, nobody waits for ever.
struct Filling(Arc<Slot>);

impl Drop for Filling {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(*state, State::Opening) {
            *state = State::Closed;
        }
        drop(state);
        self.0.settled.notify_waiters();
    }
}
