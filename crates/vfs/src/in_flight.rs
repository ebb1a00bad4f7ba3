//! Limits on the file content that one session, and all sessions of one tenant on this node, have in memory
//! at once, on its way to the store or from it.
//!
//! They hold for what makes transfers faster: further parts of an upload, and read-ahead. What an open file
//! needs to go on at all (the memory of one part, a range that a READ waits for) counts but is never refused,
//! so that nobody waits for what it holds itself and a limit fails no transfer. So each open file can bring
//! what is in flight above a limit by that much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus::IntCounter;
use tidegate_store::TenantName;

use crate::metrics::Metrics;
use crate::per_tenant::PerTenant;

/// What tenants that have a session have in flight.
#[derive(Debug, Default)]
pub(crate) struct TenantsInFlight(PerTenant<Level>);

/// What one session, and its tenant, have in flight. Clones are the same session's.
#[derive(Clone, Debug)]
pub(crate) struct InFlight(Arc<[Limited; 2]>);

/// A level, and how often it was the limit.
#[derive(Debug)]
struct Limited {
    level: Arc<Level>,
    refusals: IntCounter,
}

/// Bytes, and how many there may be.
#[derive(Debug, Default)]
struct Level {
    bytes: AtomicU64,
    max: AtomicU64,
}

impl TenantsInFlight {
    /// For a new session that may have `session_max` bytes in flight. All sessions of the tenant together may
    /// have `tenant_max`, whatever was said for those that it has already. `None` is no limit.
    pub(crate) fn session(
        &self,
        tenant: &TenantName,
        (session_max, tenant_max): (Option<u64>, Option<u64>),
        metrics: &Metrics,
    ) -> InFlight {
        let session = Arc::<Level>::default();
        let tenant = self.0.of(tenant, Level::default);
        let limited = |level: Arc<Level>, max: Option<u64>, refusals: &IntCounter| {
            level.max.store(max.unwrap_or(u64::MAX), Relaxed);
            Limited { level, refusals: refusals.clone() }
        };
        InFlight(Arc::new([
            limited(session, session_max, &metrics.limited_by_session),
            limited(tenant, tenant_max, &metrics.limited_by_tenant),
        ]))
    }
}

impl InFlight {
    /// Counts `bytes` more, if the limits leave room for them. Sessions of one tenant that ask at the same
    /// moment may all have theirs.
    pub(crate) fn try_add(&self, bytes: u64) -> bool {
        if let Some(limited) = self.0.iter().find(|limited| !limited.level.has_room(bytes)) {
            limited.refusals.inc();
            return false;
        }
        self.add(bytes);
        true
    }

    /// Counts `bytes` more, whatever the limits say.
    pub(crate) fn add(&self, bytes: u64) {
        for limited in self.0.iter() {
            limited.level.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// `bytes` that were counted are not in flight any more.
    pub(crate) fn sub(&self, bytes: u64) {
        for limited in self.0.iter() {
            limited.level.bytes.fetch_sub(bytes, Relaxed);
        }
    }
}

#[cfg(test)]
impl InFlight {
    /// Of a session without limits.
    pub(crate) fn unlimited() -> Self {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        TenantsInFlight::default().session(&"test".parse().unwrap(), (None, None), &metrics)
    }
}

impl Level {
    fn has_room(&self, bytes: u64) -> bool {
        self.bytes.load(Relaxed).saturating_add(bytes) <= self.max.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_session_and_its_tenant_are_limited_apart() {
        let (tenants, metrics) = (TenantsInFlight::default(), Metrics::register(&Registry::new()).unwrap());
        let session = |name: &str, limits| tenants.session(&name.parse().unwrap(), limits, &metrics);
        let one = session("tenant", (Some(10), Some(15)));
        assert!(one.try_add(10) && !one.try_add(1));
        let two = session("tenant", (Some(10), Some(15)));
        assert!(two.try_add(5) && !two.try_add(1));
        assert!(session("other", (None, Some(15))).try_add(15), "another tenant has its own");
        assert_eq!((metrics.limited_by_session.get(), metrics.limited_by_tenant.get()), (1, 1));

        two.add(3);
        one.sub(8);
        assert!(two.try_add(2), "as little as is left");
        let _lifted = session("tenant", (None, None));
        assert!(one.try_add(8) && !two.try_add(1), "the tenant's limit is the last that was told");
        drop((one, two, _lifted));
        session("third", (None, None));
        assert_eq!(tenants.0.len(), 1, "tenants without a session are forgotten");
    }
}
