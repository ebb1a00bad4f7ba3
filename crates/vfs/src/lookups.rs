//! How many requests for the attributes of listed objects are under way at once.

use std::sync::Arc;

use tidegate_store::TenantName;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::per_tenant::PerTenant;

/// Requests that all listings of a node have under way at once: as many directories as all sessions
/// may open would otherwise take every socket of the node.
const NODE_MAX: usize = 512;

/// And those of one tenant, so that the others' listings go on while it lists all it has.
const TENANT_MAX: usize = NODE_MAX / 2;

/// The node's limit, and each tenant's.
#[derive(Debug)]
pub(crate) struct Lookups {
    node: Arc<Semaphore>,
    tenants: PerTenant<Semaphore>,
}

/// One tenant's part of the limit. Clones are the same tenant's.
#[derive(Clone, Debug)]
pub(crate) struct TenantLookups {
    node: Arc<Semaphore>,
    tenant: Arc<Semaphore>,
}

/// Leave for one request.
pub(crate) struct Lookup<'a> {
    _tenant: Option<SemaphorePermit<'a>>,
    _node: Option<SemaphorePermit<'a>>,
}

impl Lookups {
    pub(crate) fn new() -> Self {
        Self { node: Arc::new(Semaphore::new(NODE_MAX)), tenants: PerTenant::default() }
    }

    pub(crate) fn of(&self, tenant: &TenantName) -> TenantLookups {
        let own = self.tenants.of(tenant, || Semaphore::new(TENANT_MAX));
        TenantLookups { node: Arc::clone(&self.node), tenant: own }
    }
}

impl TenantLookups {
    /// Waits for leave: each request takes as long as the store does, and no longer.
    pub(crate) async fn acquire(&self) -> Lookup<'_> {
        // In this order, so that a tenant over its limit waits without a place of the node's. Neither
        // is ever closed: an error would only mean that there is no limit.
        let tenant = self.tenant.acquire().await.ok();
        Lookup { _tenant: tenant, _node: self.node.acquire().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn name(text: &str) -> TenantName {
        text.parse().unwrap()
    }

    // Without a runtime, which would let a task take only so many permits at once.
    #[test]
    fn a_tenant_that_takes_all_it_can_leaves_half_for_others() {
        let lookups = Lookups::new();
        let (one, again, other) = (lookups.of(&name("one")), lookups.of(&name("one")), lookups.of(&name("other")));
        let mut held = Vec::new();
        while let Some(lookup) = one.acquire().now_or_never() {
            held.push(lookup);
        }
        assert_eq!(held.len(), TENANT_MAX);
        assert!(again.acquire().now_or_never().is_none(), "another session of the same tenant");
        let others: Vec<_> = std::iter::from_fn(|| other.acquire().now_or_never()).collect();
        assert_eq!(others.len(), NODE_MAX - TENANT_MAX);
        held.pop();
        assert!(again.acquire().now_or_never().is_some());
    }

    #[test]
    fn tenants_without_a_session_are_forgotten() {
        let lookups = Lookups::new();
        for n in 0..100 {
            lookups.of(&name(&format!("tenant{n}")));
        }
        assert_eq!(lookups.tenants.len(), 1);
    }
}
