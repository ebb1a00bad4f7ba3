use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::Registry;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::access::{Mappings, PermissionRules};
use crate::account::{Directory, Status, Tenant, User};
use crate::error::{StoreError, StoreErrorKind};
use crate::memory::MemoryDirectory;
use crate::tenant_limits::TenantLimits;

/// A directory that counts its lookups, and answers each once a permit is there.
#[derive(Debug)]
struct Gated {
    directory: MemoryDirectory,
    permits: Semaphore,
    lookups: AtomicU64,
    failing: AtomicU64,
}

#[async_trait]
impl Accounts for Gated {
    async fn lookup(&self, user: &UserName) -> StoreResult<Option<Arc<Account>>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        if self.failing.load(Ordering::SeqCst) > 0 {
            self.failing.fetch_sub(1, Ordering::SeqCst);
            return Err(StoreError::new(StoreErrorKind::Throttled, "lookup")
                .with_source("slow down")
                .with_retry_after(Duration::from_millis(7)));
        }
        self.directory.lookup(user).await
    }
}

struct Setup {
    inner: Arc<Gated>,
    cached: Arc<CachedAccounts>,
    metrics: Metrics,
}

impl Setup {
    /// A user `alice`, and as many permits as `permits`.
    async fn new(config: &Config, permits: usize) -> Self {
        let directory = MemoryDirectory::new();
        directory.create_tenant(&tenant()).await.unwrap();
        directory.create_user(&user("alice")).await.unwrap();
        let inner = Arc::new(Gated {
            directory,
            permits: Semaphore::new(permits),
            lookups: AtomicU64::new(0),
            failing: AtomicU64::new(0),
        });
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let accounts: Arc<dyn Accounts> = inner.clone();
        let cached = Arc::new(CachedAccounts::new(accounts, config, metrics.clone()));
        Self { inner, cached, metrics }
    }

    fn lookups(&self) -> u64 {
        self.inner.lookups.load(Ordering::SeqCst)
    }

    fn counted(&self) -> (u64, u64) {
        (self.metrics.cache_hits.get(), self.metrics.cache_misses.get())
    }

    /// Starts this many lookups of a name at once; waits until one of them has reached the
    /// directory and the others had their turn.
    async fn crowd(&self, name: &str, size: usize) -> JoinSet<StoreResult<Option<Arc<Account>>>> {
        let started = Arc::new(Semaphore::new(0));
        let mut crowd = JoinSet::new();
        for _ in 0..size {
            let (cached, name, started) = (self.cached.clone(), name.parse().unwrap(), started.clone());
            crowd.spawn(async move {
                started.add_permits(1);
                cached.lookup(&name).await
            });
        }
        started.acquire_many(u32::try_from(size).unwrap()).await.unwrap().forget();
        while self.lookups() == 0 {
            tokio::task::yield_now().await;
        }
        crowd
    }
}

fn tenant() -> Tenant {
    Tenant {
        name: "acme".parse().unwrap(),
        status: Status::Active,
        bucket: "bucket".to_owned(),
        prefix: "acme/".parse().unwrap(),
        limits: TenantLimits::default(),
        created: 0,
    }
}

fn user(name: &str) -> User {
    User {
        name: name.parse().unwrap(),
        tenant: "acme".parse().unwrap(),
        status: Status::Active,
        home: "/".to_owned(),
        permissions: BTreeSet::new(),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: None,
        lists_uploads: false,
        keys: vec![],
        created: 0,
    }
}

fn hour() -> Config {
    Config { ttl: Duration::from_secs(3_600), negative_ttl: Duration::from_secs(3_600), ..Config::default() }
}

#[tokio::test]
async fn a_known_account_is_asked_for_once() {
    let setup = Setup::new(&hour(), 10).await;
    let alice = "alice".parse().unwrap();
    for _ in 0..3 {
        assert_eq!(setup.cached.lookup(&alice).await.unwrap().unwrap().user.name, alice);
    }
    assert_eq!(setup.lookups(), 1);
    assert_eq!(setup.counted(), (2, 1));
}

#[tokio::test]
async fn an_unknown_name_is_asked_for_once() {
    let setup = Setup::new(&hour(), 10).await;
    for _ in 0..3 {
        assert_eq!(setup.cached.lookup(&"nobody".parse().unwrap()).await.unwrap(), None);
    }
    assert_eq!(setup.lookups(), 1);
    assert_eq!(setup.counted(), (2, 1));
}

#[tokio::test]
async fn a_crowd_makes_one_request_for_a_known_and_for_an_unknown_name() {
    for (name, known) in [("alice", true), ("nobody", false)] {
        let setup = Setup::new(&hour(), 0).await;
        let crowd = setup.crowd(name, 50).await;
        // Permits for all, so that a second request would not hang but be counted.
        setup.inner.permits.add_permits(50);
        for result in crowd.join_all().await {
            assert_eq!(result.unwrap().is_some(), known);
        }
        assert_eq!(setup.lookups(), 1, "{name}");
        assert_eq!(setup.counted(), (49, 1), "{name}");
    }
}

#[tokio::test]
async fn a_crowd_shares_a_failure_and_none_of_it_is_kept() {
    let setup = Setup::new(&hour(), 0).await;
    setup.inner.failing.store(1, Ordering::SeqCst);
    let crowd = setup.crowd("alice", 10).await;
    setup.inner.permits.add_permits(50);
    for result in crowd.join_all().await {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Throttled);
        assert_eq!(error.retry_after(), Some(Duration::from_millis(7)));
        assert_eq!(error.report(), "lookup failed: throttled: slow down");
    }
    assert_eq!(setup.lookups(), 1, "all share the one request");
    assert!(setup.cached.lookup(&"alice".parse().unwrap()).await.unwrap().is_some());
    assert_eq!(setup.lookups(), 2, "the next lookup asks again");
}

#[tokio::test]
async fn a_lookup_that_is_given_up_leaves_the_others_an_answer() {
    let setup = Setup::new(&hour(), 0).await;
    let mut first = setup.crowd("alice", 1).await;
    let second = setup.crowd("alice", 1).await;
    first.abort_all();
    while first.join_next().await.is_some() {}
    setup.inner.permits.add_permits(50);
    for result in second.join_all().await {
        assert!(result.unwrap().is_some());
    }
}

/// With a life of some milliseconds and real time: what the directory says now is seen in the end,
/// time after time, also where the new answer takes the place of an old one.
#[tokio::test]
async fn every_change_is_seen_after_the_bound() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let bound = Duration::from_millis(5);
    let setup = Setup::new(&Config { ttl: bound, negative_ttl: bound, ..Config::default() }, 1_000_000).await;
    let alice = "alice".parse().unwrap();
    for round in 0..10 {
        let status = if round % 2 == 0 { Status::Disabled } else { Status::Active };
        setup.inner.directory.set_user_status(&alice, status).await.unwrap();
        tokio::time::timeout(PATIENCE, async {
            while setup.cached.lookup(&alice).await.unwrap().unwrap().user.status != status {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
    setup.inner.directory.remove_user(&alice).await.unwrap();
    tokio::time::timeout(PATIENCE, async { while setup.cached.lookup(&alice).await.unwrap().is_some() {} })
        .await
        .unwrap();
}

/// An answer that took longer than its life is handed to those who asked, and not kept.
#[tokio::test]
async fn an_answer_older_than_the_bound_is_not_believed() {
    let nothing = Config { ttl: Duration::ZERO, negative_ttl: Duration::ZERO, ..Config::default() };
    let setup = Setup::new(&nothing, 10).await;
    for expected in 1..=3 {
        assert!(setup.cached.lookup(&"alice".parse().unwrap()).await.unwrap().is_some());
        assert_eq!(setup.lookups(), expected);
    }
}

#[tokio::test]
async fn the_cache_keeps_to_its_capacity() {
    let setup = Setup::new(&Config { capacity: 10, ..hour() }, 1_000).await;
    for n in 0..200 {
        setup.cached.lookup(&format!("nobody-{n}").parse().unwrap()).await.unwrap();
    }
    setup.cached.cache.run_pending_tasks().await;
    assert!(setup.cached.cache.entry_count() <= 10, "{}", setup.cached.cache.entry_count());
}

#[test]
fn a_life_never_exceeds_the_bound_counted_from_the_question() {
    let bound = Duration::from_secs(30);
    let none = Duration::ZERO;
    assert_eq!(life(bound, 0.0, none), bound);
    assert_eq!(life(bound, 1.0, none), Duration::from_secs(24));
    assert_eq!(life(bound, 0.5, none), Duration::from_secs(27));
    assert_eq!(life(bound, 0.0, Duration::from_secs(10)), Duration::from_secs(20));
    assert_eq!(life(bound, 0.0, Duration::from_secs(31)), none);
    for chance in [-1.0, 2.0, f64::INFINITY] {
        assert!(life(bound, chance, none) <= bound, "{chance}");
    }
}

#[test]
fn an_entry_that_is_replaced_takes_the_new_life() {
    let entry = Entry { account: None, life: Duration::from_secs(3) };
    let (name, now) = ("alice".parse().unwrap(), Instant::now());
    assert_eq!(EntryLife.expire_after_create(&name, &entry, now), Some(entry.life));
    assert_eq!(EntryLife.expire_after_update(&name, &entry, now, Some(Duration::from_secs(9))), Some(entry.life));
}

#[test]
fn settings_out_of_range_are_named() {
    let valid = Config::default();
    assert_eq!(valid.validate(), Ok(()));
    for (config, field) in [
        (Config { ttl: Duration::from_millis(999), negative_ttl: Duration::ZERO, ..valid.clone() }, "ttl "),
        (Config { ttl: Duration::from_secs(901), ..valid.clone() }, "ttl "),
        (Config { negative_ttl: Duration::from_secs(31), ..valid.clone() }, "negative_ttl "),
        (Config { capacity: 0, ..valid.clone() }, "capacity "),
        (Config { capacity: 1_000_001, ..valid }, "capacity "),
    ] {
        assert!(config.validate().unwrap_err().to_string().starts_with(field), "{config:?}");
    }
}

#[test]
fn settings_are_read_from_human_text_and_unknown_ones_are_refused() {
    let read = |text| serde_json::from_str::<Config>(text);
    assert_eq!(read("{}").unwrap(), Config::default());
    let some = read(r#"{"ttl": "2min", "capacity": 5}"#).unwrap();
    assert_eq!(some, Config { ttl: Duration::from_secs(120), capacity: 5, ..Config::default() });
    assert!(read(r#"{"life": "2min"}"#).unwrap_err().to_string().contains("life"));
}
