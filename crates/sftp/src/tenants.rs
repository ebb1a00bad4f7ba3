//! What the sessions of one tenant on this node share: bandwidth and the number of open handles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_store::{TenantLimits, TenantName};
use tokio::time::Instant;

use crate::bucket::Bucket;

/// Which way file content goes, as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client: WRITE.
    In,
    /// To the client: READ.
    Out,
}

/// The tenants that have sessions on this node. Only these take memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tenants(Arc<Mutex<HashMap<TenantName, Entry>>>);

#[derive(Debug)]
struct Entry {
    sessions: usize,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    input: Bucket,
    output: Bucket,
    handles: u32,
    max_handles: Option<u32>,
}

/// A session's part in its tenant; given back on drop.
#[derive(Debug)]
pub struct TenantSession {
    tenants: Tenants,
    name: TenantName,
    share: TenantShare,
}

/// A session's part in its tenant's bandwidth. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct TenantShare(Arc<Mutex<Shared>>);

/// One of a tenant's handles; given back on drop.
#[derive(Debug)]
pub(crate) struct HandlePermit(Arc<Mutex<Shared>>);

impl Tenants {
    /// Counts a session in. Its tenant's limits are now as it knows them, for the sessions that run
    /// as well: whoever logged in last was told the latest ones.
    pub fn enter(&self, name: &TenantName, limits: &TenantLimits) -> TenantSession {
        let now = Instant::now();
        let mut tenants = lock(&self.0);
        let entry = tenants.entry(name.clone()).or_insert_with(|| Entry {
            sessions: 0,
            shared: Arc::new(Mutex::new(Shared {
                input: Bucket::new(limits.max_bandwidth_in, now),
                output: Bucket::new(limits.max_bandwidth_out, now),
                handles: 0,
                max_handles: limits.max_open_handles,
            })),
        });
        entry.sessions += 1;
        let shared = Arc::clone(&entry.shared);
        drop(tenants);
        let mut values = lock(&shared);
        values.input.set_rate(limits.max_bandwidth_in, now);
        values.output.set_rate(limits.max_bandwidth_out, now);
        values.max_handles = limits.max_open_handles;
        drop(values);
        TenantSession { tenants: self.clone(), name: name.clone(), share: TenantShare(shared) }
    }
}

impl TenantShare {
    /// Takes bandwidth; tells when it is earned.
    pub(crate) fn take(&self, direction: Direction, bytes: u64, now: Instant) -> Instant {
        let mut shared = lock(&self.0);
        match direction {
            Direction::In => shared.input.take(bytes, now),
            Direction::Out => shared.output.take(bytes, now),
        }
    }
}

impl TenantSession {
    /// The session's part in the bandwidth.
    pub(crate) fn share(&self) -> &TenantShare {
        &self.share
    }

    /// One more handle; `None` if the tenant has all that it may have.
    pub(crate) fn open_handle(&self) -> Option<HandlePermit> {
        let mut shared = lock(&self.share.0);
        if shared.max_handles.is_some_and(|max| shared.handles >= max) {
            return None;
        }
        shared.handles = shared.handles.saturating_add(1);
        Some(HandlePermit(Arc::clone(&self.share.0)))
    }

    /// How many handles the tenant may have open.
    pub(crate) fn max_open_handles(&self) -> Option<u32> {
        lock(&self.share.0).max_handles
    }
}

impl Drop for TenantSession {
    fn drop(&mut self) {
        let mut tenants = lock(&self.tenants.0);
        if let Some(entry) = tenants.get_mut(&self.name) {
            entry.sessions -= 1;
            if entry.sessions == 0 {
                tenants.remove(&self.name);
            }
        }
    }
}

impl Drop for HandlePermit {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.handles = shared.handles.saturating_sub(1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_store::Bandwidth;

    use super::*;

    fn name(name: &str) -> TenantName {
        name.parse().unwrap()
    }

    fn limits(max_open_handles: Option<u32>) -> TenantLimits {
        TenantLimits { max_open_handles, ..TenantLimits::default() }
    }

    #[test]
    fn handles_are_counted_over_all_sessions_of_a_tenant() {
        let tenants = Tenants::default();
        let (one, two) =
            (tenants.enter(&name("acme"), &limits(Some(2))), tenants.enter(&name("acme"), &limits(Some(2))));
        let other = tenants.enter(&name("other"), &limits(Some(1)));
        let first = one.open_handle().unwrap();
        let _second = two.open_handle().unwrap();
        assert!(one.open_handle().is_none() && two.open_handle().is_none());
        assert!(other.open_handle().is_some());
        drop(first);
        assert!(two.open_handle().is_some());
    }

    #[test]
    fn the_limits_of_the_session_that_came_last_hold_for_all() {
        let tenants = Tenants::default();
        let one = tenants.enter(&name("acme"), &limits(Some(1)));
        let _held = one.open_handle().unwrap();
        assert!(one.open_handle().is_none());
        let now = Instant::now();
        assert_eq!(one.share().take(Direction::Out, 1 << 20, now), now);
        let limited = TenantLimits { max_bandwidth_out: Some(Bandwidth::MIN), ..limits(None) };
        let _two = tenants.enter(&name("acme"), &limited);
        assert!(one.open_handle().is_some());
        assert_eq!(one.max_open_handles(), None);
        let now = Instant::now();
        assert!(one.share().take(Direction::Out, 1 << 20, now) > now + Duration::from_secs(15));
        assert_eq!(one.share().take(Direction::In, 1 << 20, now), now, "the directions are apart");
    }

    #[test]
    fn a_tenant_without_sessions_takes_no_memory() {
        let tenants = Tenants::default();
        let (one, two) = (tenants.enter(&name("acme"), &limits(None)), tenants.enter(&name("acme"), &limits(None)));
        drop(one);
        assert_eq!(lock(&tenants.0).len(), 1);
        drop(two);
        assert!(lock(&tenants.0).is_empty());
    }
}
