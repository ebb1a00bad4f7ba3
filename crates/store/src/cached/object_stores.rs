//! Tenants' stores that are opened with credentials of their own, kept from session to session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use crate::account::{KeyPrefix, Tenant, TenantName};
use crate::error::StoreResult;
use crate::metrics::Metrics;
use crate::object_store::{ObjectStore, ObjectStores};

/// Stores that `inner` opened, bounded in number and dropped when idle. Concurrent openings of one
/// tenant make one; what fails is not kept. A session keeps its store also when it is dropped here.
pub struct CachedObjectStores {
    inner: Arc<dyn ObjectStores>,
    cache: Cache<Place, Arc<dyn ObjectStore>>,
    metrics: Metrics,
}

/// What a store's credentials are made for: a tenant that was removed and made anew elsewhere is
/// another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    tenant: TenantName,
    bucket: String,
    prefix: KeyPrefix,
}

impl CachedObjectStores {
    /// Keeps at most `capacity` stores, each until no session has opened it for the time `idle`.
    pub fn new(inner: Arc<dyn ObjectStores>, capacity: u64, idle: Duration, metrics: Metrics) -> Self {
        let cache = Cache::builder()
            .max_capacity(capacity)
            // Not moka's own policy, which turns newcomers away in favour of what was asked for often.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(idle)
            .build();
        Self { inner, cache, metrics }
    }
}

impl fmt::Debug for CachedObjectStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedObjectStores").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStores for CachedObjectStores {
    async fn open(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
        let place = Place { tenant: tenant.name.clone(), bucket: tenant.bucket.clone(), prefix: tenant.prefix.clone() };
        let mut asked = false;
        let open = async {
            asked = true;
            self.inner.open(tenant).await
        };
        let result = self.cache.try_get_with(place, open).await;
        if asked {
            self.metrics.tenant_misses.inc();
            // Drops what is idle or too much, and makes the count exact.
            self.cache.run_pending_tasks().await;
            self.metrics.tenant_entries.set(i64::try_from(self.cache.entry_count()).unwrap_or(i64::MAX));
        } else {
            self.metrics.tenant_hits.inc();
        }
        // The failure may be shared with others that waited for the same request.
        result.map_err(|error| (*error).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use prometheus::Registry;
    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    use super::*;
    use crate::account::Status;
    use crate::error::{StoreError, StoreErrorKind};
    use crate::memory::MemoryObjectStores;
    use crate::object::ObjectKey;
    use crate::tenant_limits::TenantLimits;

    /// Counts what it opens, each once a permit is there, and fails as often as told.
    #[derive(Debug)]
    struct Counting {
        stores: MemoryObjectStores,
        opened: AtomicU64,
        permits: Semaphore,
        failing: AtomicU64,
    }

    #[async_trait]
    impl ObjectStores for Counting {
        async fn open(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
            self.opened.fetch_add(1, Ordering::SeqCst);
            self.permits.acquire().await.unwrap().forget();
            if self.failing.load(Ordering::SeqCst) > 0 {
                self.failing.fetch_sub(1, Ordering::SeqCst);
                return Err(StoreError::new(StoreErrorKind::Throttled, "open"));
            }
            self.stores.open(tenant).await
        }
    }

    fn setup(capacity: u64, idle: Duration, permits: usize) -> (Arc<Counting>, Arc<CachedObjectStores>) {
        let inner = Arc::new(Counting {
            stores: MemoryObjectStores::new(),
            opened: AtomicU64::new(0),
            permits: Semaphore::new(permits),
            failing: AtomicU64::new(0),
        });
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let stores: Arc<dyn ObjectStores> = inner.clone();
        (inner, Arc::new(CachedObjectStores::new(stores, capacity, idle, metrics)))
    }

    fn tenant(name: &str, prefix: &str) -> Tenant {
        Tenant {
            name: name.parse().unwrap(),
            status: Status::Active,
            bucket: "files".to_owned(),
            prefix: prefix.parse().unwrap(),
            limits: TenantLimits::default(),
            created: 0,
        }
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_tenants_store_is_opened_once_and_another_place_is_another_store() {
        let (inner, cached) = setup(10, LONG, 10);
        let (first, again) = (cached.open(&tenant("acme", "a/")).await, cached.open(&tenant("acme", "a/")).await);
        assert!(Arc::ptr_eq(&first.unwrap(), &again.unwrap()));
        assert_eq!(inner.opened.load(Ordering::SeqCst), 1);
        cached.open(&tenant("acme", "b/")).await.unwrap();
        cached.open(&tenant("globex", "a/")).await.unwrap();
        assert_eq!(inner.opened.load(Ordering::SeqCst), 3);
        let (hits, misses) = (cached.metrics.tenant_hits.get(), cached.metrics.tenant_misses.get());
        assert_eq!((hits, misses, cached.metrics.tenant_entries.get()), (1, 3, 3));
    }

    #[tokio::test]
    async fn a_crowd_of_sessions_of_one_tenant_opens_one_store() {
        let (inner, cached) = setup(10, LONG, 0);
        let mut crowd = JoinSet::new();
        for _ in 0..20 {
            let cached = cached.clone();
            crowd.spawn(async move { cached.open(&tenant("acme", "a/")).await.map(drop) });
        }
        inner.permits.add_permits(1);
        assert!(crowd.join_all().await.iter().all(Result::is_ok));
        assert_eq!(inner.opened.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_kept() {
        let (inner, cached) = setup(10, LONG, 10);
        inner.failing.store(1, Ordering::SeqCst);
        let error = cached.open(&tenant("acme", "a/")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Throttled);
        cached.open(&tenant("acme", "a/")).await.unwrap();
        assert_eq!((inner.opened.load(Ordering::SeqCst), cached.metrics.tenant_entries.get()), (2, 1));
    }

    #[tokio::test]
    async fn the_store_that_was_not_used_for_longest_makes_way() {
        let (inner, cached) = setup(2, LONG, 10);
        let tenants = [tenant("one", "1/"), tenant("two", "2/"), tenant("three", "3/")];
        for at in [0, 1, 0, 2, 0] {
            cached.open(&tenants[at]).await.unwrap();
        }
        assert_eq!(inner.opened.load(Ordering::SeqCst), 3, "the first was used all along");
        assert_eq!(cached.metrics.tenant_entries.get(), 2);
        cached.open(&tenants[1]).await.unwrap();
        assert_eq!(inner.opened.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn an_idle_store_is_opened_anew_and_a_session_keeps_its_own() {
        let (inner, cached) = setup(10, Duration::from_millis(1), 1_000);
        let session = cached.open(&tenant("acme", "a/")).await.unwrap();
        // The cache reads a clock of its own, so each round opens anew what has been idle by then.
        while inner.opened.load(Ordering::SeqCst) < 3 {
            cached.open(&tenant("acme", "a/")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let key = ObjectKey::new("a/f").unwrap();
        assert_eq!(session.head(&key).await.unwrap_err().kind(), StoreErrorKind::NotFound, "it still works");
    }
}
