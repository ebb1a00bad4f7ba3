//! Lock-outs over one and several nodes, on counts in memory. Time is tokio's own and is not waited for.

use prometheus::Registry;
use tidegate_store::memory::MemoryLoginFailures;
use tidegate_store::{StoreError, StoreErrorKind, StoreResult};

use super::*;

const CONFIG: LockOutConfig = LockOutConfig {
    user_failures: 3,
    source_failures: 5,
    window: Duration::from_secs(3600),
    first: Duration::from_secs(30),
    longest: Duration::from_secs(600),
    exempt_networks: Vec::new(),
};

/// A service that never answers otherwise than by a failure.
#[derive(Debug)]
struct Broken;

#[async_trait::async_trait]
impl LoginFailures for Broken {
    async fn add(&self, _: IpAddr, _: Option<&UserName>, _: Duration) -> StoreResult<LoginFailureCounts> {
        Err(StoreError::new(StoreErrorKind::Unavailable, "add"))
    }

    async fn forget(&self, _: IpAddr, _: &UserName, _: Duration) -> StoreResult<()> {
        Err(StoreError::new(StoreErrorKind::Unavailable, "forget"))
    }
}

fn node(failures: Arc<dyn LoginFailures>, config: LockOutConfig) -> Arc<LockOuts> {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    LockOuts::start(config, failures, metrics, CancellationToken::new())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

/// Lets the reports that wait be told.
async fn told() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn fails(node: &LockOuts, client: &str, users: &[&str]) {
    for user in users {
        node.failed(ip(client), user);
    }
    told().await;
}

#[tokio::test(start_paused = true)]
async fn a_user_is_locked_out_where_it_failed_and_nowhere_else() {
    let node = node(Arc::new(MemoryLoginFailures::new()), CONFIG);
    fails(&node, "192.0.2.1", &["alice", "alice"]).await;
    assert!(!node.refuses_user(ip("192.0.2.1"), "alice"));
    fails(&node, "192.0.2.1", &["alice"]).await;
    assert!(node.refuses_user(ip("192.0.2.1"), "alice") && node.refuses_user(ip("::ffff:192.0.2.1"), "alice"));
    assert!(!node.refuses_user(ip("192.0.2.1"), "bobby"), "others at the source may try");
    assert!(!node.refuses_user(ip("192.0.2.2"), "alice"), "and the user elsewhere");
    assert!(!node.refuses(ip("192.0.2.1")));

    // One program with a wrong key, for ever: it does not lock out the source.
    for _ in 0..100 {
        fails(&node, "192.0.2.1", &["alice"]).await;
    }
    assert!(!node.refuses(ip("192.0.2.1")));
}

#[tokio::test(start_paused = true)]
async fn a_source_is_locked_out_for_the_failures_of_all_its_users() {
    let node = node(Arc::new(MemoryLoginFailures::new()), CONFIG);
    fails(&node, "2001:db8::1", &["root", "admin", "test", "not a user name"]).await;
    assert!(!node.refuses(ip("2001:db8::1")));
    fails(&node, "2001:db8::ffff:2", &["oracle"]).await;
    assert!(node.refuses(ip("2001:db8::3")), "one /64 is one source");
    assert!(!node.refuses(ip("2001:db8:0:1::1")));
    assert_eq!(node.metrics.lock_out_entries.get(), 5, "what is no user name is no user");
}

#[tokio::test(start_paused = true)]
async fn each_further_failure_doubles_the_time_up_to_a_bound() {
    let node = node(Arc::new(MemoryLoginFailures::new()), CONFIG);
    fails(&node, "192.0.2.1", &["alice", "alice"]).await;
    let mut times = Vec::new();
    for _ in 0..7 {
        fails(&node, "192.0.2.1", &["alice"]).await;
        let began = Instant::now();
        while node.refuses_user(ip("192.0.2.1"), "alice") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        times.push(began.elapsed().as_secs());
    }
    assert_eq!(times, [30, 60, 120, 240, 480, 600, 600]);
}

#[tokio::test(start_paused = true)]
async fn connections_that_fail_at_once_lock_out_once() {
    let node = node(Arc::new(MemoryLoginFailures::new()), CONFIG);
    fails(&node, "192.0.2.1", &["alice"; 20]).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(!node.refuses_user(ip("192.0.2.1"), "alice"), "the first time holds");
}

#[tokio::test(start_paused = true)]
async fn a_success_forgets_and_the_window_too() {
    let failures = MemoryLoginFailures::new();
    let nodes = [node(Arc::new(failures.clone()), CONFIG), node(Arc::new(failures), CONFIG)];
    for _ in 0..5 {
        fails(&nodes[0], "192.0.2.1", &["alice", "alice"]).await;
        nodes[0].succeeded(ip("192.0.2.1"), &name("alice"));
        told().await;
    }
    fails(&nodes[1], "192.0.2.1", &["alice", "alice"]).await;
    assert!(!nodes[1].refuses_user(ip("192.0.2.1"), "alice"), "the cluster has forgotten as well");
    tokio::time::sleep(CONFIG.window).await;
    fails(&nodes[1], "192.0.2.1", &["alice", "alice"]).await;
    assert!(!nodes[1].refuses_user(ip("192.0.2.1"), "alice"), "two hours, two each");
}

#[tokio::test(start_paused = true)]
async fn nodes_count_together() {
    let failures = MemoryLoginFailures::new();
    let nodes: Vec<_> = (0..4).map(|_| node(Arc::new(failures.clone()), CONFIG)).collect();
    // As a balancer brings them.
    let mut failed = 0;
    let locked = |node: &LockOuts| node.refuses_user(ip("192.0.2.1"), "alice");
    for n in 0..40 {
        let node = &nodes[n % nodes.len()];
        if !locked(node) {
            failed += 1;
            fails(node, "192.0.2.1", &["alice"]).await;
        }
    }
    assert!(nodes.iter().all(|node| locked(node)));
    let allowed = CONFIG.user_failures as usize + nodes.len() - 1;
    assert_eq!(failed, allowed, "those that the settings allow, and one on each other node");
}

#[tokio::test(start_paused = true)]
async fn without_the_service_a_node_counts_alone() {
    let node = node(Arc::new(Broken), CONFIG);
    fails(&node, "192.0.2.1", &["alice"; 3]).await;
    assert!(node.refuses_user(ip("192.0.2.1"), "alice"));
    assert_eq!(node.metrics.untold_login_failures.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_is_exempt_and_what_is_switched_off_locks_nobody_out() {
    let exempt = LockOutConfig { exempt_networks: vec!["10.0.0.0/8".parse().unwrap()], ..CONFIG };
    let off = LockOutConfig { user_failures: 0, source_failures: 0, ..CONFIG };
    for config in [exempt, off] {
        let node = node(Arc::new(MemoryLoginFailures::new()), config);
        fails(&node, "10.1.2.3", &["alice"; 50]).await;
        assert!(!node.refuses(ip("10.1.2.3")) && !node.refuses_user(ip("10.1.2.3"), "alice"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_sources_is_remembered_in_bounded_memory() {
    let node = node(Arc::new(Broken), CONFIG);
    for n in 0..3 * MAX_ENTRIES as u32 {
        node.failed(IpAddr::V4(n.into()), "alice");
    }
    assert!(node.table().len() <= MAX_ENTRIES);
    fails(&node, "192.0.2.1", &["alice"; 3]).await;
    for n in 0..1000 {
        node.failed(IpAddr::V4(n.into()), "alice");
    }
    assert!(node.refuses_user(ip("192.0.2.1"), "alice"), "what came last stays");
}
