//! Several nodes in one process, on leases in memory, with deaths, pauses and outages by a seed: the
//! limit holds as [`super`] says. Time is tokio's own and is not waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use prometheus::Registry;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate_store::memory::MemoryLeases;
use tidegate_store::{
    HeldSessions, Lease, LeaseId, Mappings, PermissionRules, Permissions, Status, StoreError, StoreErrorKind,
    StoreResult, Tenant, TenantLimits, User,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;

const LIFE: Duration = Duration::from_secs(30);

/// What lies between a node and the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Every request fails.
    Broken,
    /// Nothing moves, as on a node that stands still or died, or behind a broken network.
    Blocked,
}

/// One node's way to the service, on which requests take their time.
#[derive(Clone, Debug)]
struct Link {
    store: MemoryLeases,
    way: watch::Sender<Way>,
    holds: Arc<AtomicU64>,
    others: Arc<AtomicU64>,
    seed: u64,
}

impl Link {
    /// Carries a call to the service and its answer back, also if whoever asked has given up.
    async fn pass<T, Called>(
        &self,
        calls: &AtomicU64,
        call: impl FnOnce(MemoryLeases) -> Called + Send + 'static,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        Called: Future<Output = StoreResult<T>> + Send,
    {
        let n = calls.fetch_add(1, Ordering::Relaxed);
        let mut random = SmallRng::seed_from_u64(self.seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let times = [0; 2].map(|_| Duration::from_millis(random.random_range(1..40)));
        let (way, store) = (self.way.clone(), self.store.clone());
        let carried = tokio::spawn(async move {
            let travel = async |time: Duration| {
                sleep(time).await;
                let now = *way.subscribe().wait_for(|way| *way != Way::Blocked).await.unwrap();
                let broken = || StoreError::new(StoreErrorKind::Unavailable, "broken");
                if now == Way::Broken { Err(broken()) } else { Ok(()) }
            };
            travel(times[0]).await?;
            let result = call(store).await;
            travel(times[1]).await?;
            result
        });
        carried.await.unwrap()
    }
}

#[async_trait]
impl Leases for Link {
    async fn begin(&self, id: &LeaseId) -> StoreResult<()> {
        let id = id.clone();
        self.pass(&self.others, |store| async move { store.begin(&id).await }).await
    }

    async fn renew(&self, lease: &Lease) -> StoreResult<bool> {
        let lease = lease.clone();
        self.pass(&self.others, |store| async move { store.renew(&lease).await }).await
    }

    async fn end(&self, lease: &Lease) -> StoreResult<bool> {
        let lease = lease.clone();
        self.pass(&self.others, |store| async move { store.end(&lease).await }).await
    }

    async fn all(&self) -> StoreResult<Vec<Lease>> {
        self.pass(&self.others, |store| async move { store.all().await }).await
    }

    async fn hold(
        &self,
        scope: &SessionScope,
        held: &HeldSessions,
        turn: u64,
        ended: &[LeaseId],
    ) -> StoreResult<Vec<HeldSessions>> {
        let (scope, held, ended) = (scope.clone(), held.clone(), ended.to_vec());
        self.pass(&self.holds, move |store| async move { store.hold(&scope, &held, turn, &ended).await }).await
    }
}

/// A session that was let in.
struct Open {
    places: SessionPlaces,
    /// The lease under which it counts for the others; `None` if it was let in unchecked, or does not
    /// count any more.
    counts: Option<LeaseId>,
}

struct Node {
    sessions: Sessions,
    link: Link,
    open: Vec<Open>,
}

impl Node {
    fn start(store: &MemoryLeases, seed: u64) -> Self {
        let link = Link {
            store: store.clone(),
            way: watch::Sender::new(Way::Open),
            holds: Arc::default(),
            others: Arc::default(),
            seed,
        };
        let metrics = Metrics::register(&Registry::new()).unwrap();
        Self { sessions: Sessions::new(Arc::new(link.clone()), LIFE, metrics), link, open: Vec::new() }
    }

    fn lease(&self) -> Option<LeaseId> {
        self.sessions.0.state().own.as_ref().map(|own| own.lease.id.clone())
    }

    async fn login(&mut self, account: &Account) -> bool {
        let places = self.sessions.admit(account).await.ok();
        let is_in = places.is_some();
        self.open.extend(places.map(|places| self.opened(places)));
        is_in
    }

    fn opened(&self, places: SessionPlaces) -> Open {
        Open { counts: places.is_checked.then(|| self.lease()).flatten(), places }
    }

    /// Stops for ever, as a machine that lost its power: nothing of it reaches the service any more.
    fn die(self) {
        self.link.way.send_replace(Way::Blocked);
        self.sessions.0.closed.cancel();
    }
}

fn account(tenant_limit: Option<u32>, user_limit: Option<u32>) -> Account {
    let tenant = Tenant {
        name: "acme".parse().unwrap(),
        status: Status::Active,
        bucket: "files".to_owned(),
        prefix: "".parse().unwrap(),
        limits: TenantLimits { max_sessions: tenant_limit, ..TenantLimits::default() },
        created: 0,
    };
    let user = User {
        name: "alice".parse().unwrap(),
        tenant: tenant.name.clone(),
        status: Status::Active,
        home: "/".to_owned(),
        permissions: Permissions::new(),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: user_limit,
        lists_uploads: false,
        keys: Vec::new(),
        created: 0,
    };
    Account { user, tenant }
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_costs_one_write_with_a_limit_and_nothing_without() {
    let store = MemoryLeases::new();
    let mut node = Node::start(&store, 1);
    for _ in 0..10 {
        assert!(node.login(&account(None, None)).await);
    }
    seconds(1000).await;
    node.open.clear();
    seconds(1000).await;
    assert_eq!(node.link.holds.load(Ordering::Relaxed) + node.link.others.load(Ordering::Relaxed), 0);

    let limited = account(Some(100), None);
    for n in 1..=5 {
        assert!(node.login(&limited).await);
        assert_eq!(node.link.holds.load(Ordering::Relaxed), n);
    }
    assert_eq!(node.link.others.load(Ordering::Relaxed), 1, "the lease is begun once");
    seconds(300).await;
    assert_eq!(node.link.holds.load(Ordering::Relaxed), 5, "sessions that stay are told no more");
    let kept = node.link.others.load(Ordering::Relaxed);
    assert!((50..=62).contains(&kept), "the lease is kept by two requests in ten seconds: {kept}");
    node.open.clear();
    seconds(2).await;
    assert_eq!(node.link.holds.load(Ordering::Relaxed), 6, "what ends at once is told at once");

    let both = account(Some(100), Some(100));
    assert!(node.login(&both).await);
    assert_eq!(node.link.holds.load(Ordering::Relaxed), 8, "two limits, two writes");
    // The places that this node has alone are more than there may be: nobody is asked.
    assert!(node.sessions.admit(&account(Some(1), None)).await.is_err_and(|over| over == OverLimit::Tenant));
    assert_eq!(node.link.holds.load(Ordering::Relaxed), 8);
}

#[tokio::test(start_paused = true)]
async fn logins_at_once_on_many_nodes_never_go_beyond_the_limit() {
    for seed in 0..20 {
        let store = MemoryLeases::new();
        let nodes: Vec<_> = (0..5).map(|n| Node::start(&store, seed * 10 + n)).collect();
        let mut logins = JoinSet::new();
        for node in &nodes {
            for _ in 0..6 {
                let sessions = node.sessions.clone();
                logins.spawn(async move { sessions.admit(&account(None, Some(13))).await.ok() });
            }
        }
        let places: Vec<_> = logins.join_all().await.into_iter().flatten().collect();
        assert!(places.iter().all(|places| places.is_checked));
        assert_eq!(places.len(), 13, "seed {seed}");
        let holds: u64 = nodes.iter().map(|node| node.link.holds.load(Ordering::Relaxed)).sum();
        assert!(holds <= 30, "logins that wait are told together: {holds} writes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_nodes_sessions_count_for_two_lives_at_most() {
    for wait in 0..12 {
        let store = MemoryLeases::new();
        let (mut first, mut second) = (Node::start(&store, 1), Node::start(&store, 2));
        let limited = account(Some(3), None);
        assert!(second.login(&limited).await);
        for _ in 0..2 {
            assert!(first.login(&limited).await);
        }
        seconds(wait).await;
        first.die();
        let died = Instant::now();
        while !second.login(&limited).await {
            seconds(1).await;
        }
        let healed = died.elapsed();
        println!("after {healed:?}");
        assert!(healed >= LIFE / 3, "it may only have been slow");
        // The rest is the time between two tries.
        assert!(healed <= 2 * LIFE + Duration::from_secs(3), "{healed:?}");
        assert!(second.login(&limited).await);
        assert!(!second.login(&limited).await, "those that died are three, with one that stayed");
    }
}

#[tokio::test(start_paused = true)]
async fn who_changes_nodes_does_not_meet_his_own_session() {
    let store = MemoryLeases::new();
    let mut nodes = [Node::start(&store, 1), Node::start(&store, 2), Node::start(&store, 3)];
    let one = account(None, Some(1));
    for n in 0..20 {
        let node = &mut nodes[n % 3];
        assert!(node.login(&one).await, "login {n}");
        node.open.clear();
    }
    nodes[0].sessions.close().await;
    assert_eq!(store.all().await.unwrap().len(), 2, "a node that ends takes its lease with it");
}

/// How many nodes the store keeps something of for a user, and the sessions of all.
async fn kept(store: &MemoryLeases) -> (usize, u32) {
    let probe = HeldSessions { lease: LeaseId::random(), sessions: 0 };
    let mut held = store.hold(&SessionScope::User("alice".parse().unwrap()), &probe, 1, &[]).await.unwrap();
    held.retain(|held| held.lease != probe.lease);
    (held.len(), held.iter().map(|held| held.sessions).sum())
}

#[tokio::test(start_paused = true)]
async fn of_nodes_that_are_gone_nothing_is_kept_and_of_those_that_live_their_last_turn() {
    let store = MemoryLeases::new();
    let many = account(None, Some(1_000));
    let (mut stays, mut rests) = (Node::start(&store, 1), Node::start(&store, 2));
    assert!(rests.login(&many).await);
    rests.open.clear();
    let nodes: Vec<_> = (0..100).map(|n| Node::start(&store, n + 3)).collect();
    for (n, mut node) in nodes.into_iter().enumerate() {
        assert!(node.login(&many).await);
        // Half of them end as they should, and half of them die with a session.
        if n % 2 == 0 {
            node.open.clear();
            seconds(1).await;
            node.sessions.close().await;
        } else {
            node.die();
        }
    }
    for _ in 0..10 {
        assert!(stays.login(&many).await);
        stays.open.clear();
        seconds(10).await;
    }
    assert!(stays.login(&many).await);
    assert_eq!(kept(&store).await, (2, 1));
}

#[tokio::test(start_paused = true)]
async fn without_the_service_each_nodes_own_count_decides() {
    let store = MemoryLeases::new();
    let mut nodes = [Node::start(&store, 1), Node::start(&store, 2)];
    let two = account(Some(2), None);
    assert!(nodes[0].login(&two).await);
    for way in [Way::Broken, Way::Blocked] {
        for node in &mut nodes {
            node.link.way.send_replace(way);
            let began = Instant::now();
            while node.login(&two).await {}
            assert!(node.open.len() == 2 && began.elapsed() < Duration::from_secs(10), "{way:?}");
        }
        for node in &mut nodes {
            node.link.way.send_replace(Way::Open);
        }
        seconds(60).await;
        assert!(!nodes[0].login(&two).await, "the four are counted");
        nodes[1].open.clear();
        nodes[0].open.truncate(1);
        seconds(2).await;
        assert!(nodes[1].login(&two).await && !nodes[1].login(&two).await);
        nodes[1].open.clear();
        seconds(2).await;
    }
}

/// One cluster through a random life.
struct Story {
    random: SmallRng,
    store: MemoryLeases,
    nodes: Vec<Node>,
    limit: u32,
    /// Nodes that stand still, or can't reach the service, until a moment.
    stopped: Vec<Option<Instant>>,
    lost: usize,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let store = MemoryLeases::new();
        let nodes: Vec<_> = (0..4).map(|_| Node::start(&store, random.random())).collect();
        let limit = random.random_range(1..9);
        Self { stopped: nodes.iter().map(|_| None).collect(), random, store, nodes, limit, lost: 0 }
    }

    fn account(&self) -> Account {
        account(Some(self.limit), None)
    }

    async fn step(&mut self, faults: bool) {
        let n = self.random.random_range(0..self.nodes.len());
        match self.random.random_range(0..100) {
            0..45 => {
                // Several logins at once, on any nodes that are not standing still.
                let mut logins = JoinSet::new();
                for _ in 0..self.random.random_range(1..8) {
                    let n = self.random.random_range(0..self.nodes.len());
                    if *self.nodes[n].link.way.borrow() != Way::Blocked {
                        let (sessions, account) = (self.nodes[n].sessions.clone(), self.account());
                        logins.spawn(async move { (n, sessions.admit(&account).await.ok()) });
                    }
                }
                for (n, places) in logins.join_all().await {
                    let opened = places.map(|places| self.nodes[n].opened(places));
                    self.nodes[n].open.extend(opened);
                }
            }
            45..75 if !self.nodes[n].open.is_empty() => {
                let place = self.random.random_range(0..self.nodes[n].open.len());
                drop(self.nodes[n].open.swap_remove(place).places);
            }
            75..80 => {
                let fresh = Node::start(&self.store, self.random.random());
                std::mem::replace(&mut self.nodes[n], fresh).die();
                self.stopped[n] = None;
            }
            80..88 if faults => {
                let way = if self.random.random() { Way::Blocked } else { Way::Broken };
                self.nodes[n].link.way.send_replace(way);
                let time = Duration::from_secs(self.random.random_range(1..150));
                self.stopped[n] = Some(Instant::now() + time);
            }
            88..90 if faults => {
                let until = Instant::now() + Duration::from_secs(self.random.random_range(1..200));
                for (node, stopped) in self.nodes.iter().zip(&mut self.stopped) {
                    node.link.way.send_replace(Way::Broken);
                    *stopped = Some(until);
                }
            }
            _ => sleep(Duration::from_millis(self.random.random_range(0..8_000))).await,
        }
        for (node, stopped) in self.nodes.iter().zip(&mut self.stopped) {
            if stopped.take_if(|until| *until <= Instant::now()).is_some() {
                node.link.way.send_replace(Way::Open);
            }
        }
    }

    /// Those that count for all nodes are never more than the limit, and no node has more by itself.
    async fn check(&mut self, what: &str) {
        let leases: Vec<_> = self.store.all().await.unwrap().into_iter().map(|lease| lease.id).collect();
        let mut counting = 0;
        for node in &mut self.nodes {
            for open in &mut node.open {
                let lost = open.counts.take_if(|lease| !leases.contains(lease)).is_some();
                self.lost += usize::from(lost);
                counting += usize::from(open.counts.is_some());
            }
            assert!(node.open.len() <= self.limit as usize, "{what}: a node alone is beyond the limit");
        }
        assert!(counting <= self.limit as usize, "{what}: {counting} sessions count, of {}", self.limit);
    }

    /// When all faults are over, the count is exact again.
    async fn heals(&mut self, what: &str) {
        for node in &self.nodes {
            node.link.way.send_replace(Way::Open);
        }
        sleep(2 * LIFE + Duration::from_secs(10)).await;
        let open: usize = self.nodes.iter().map(|node| node.open.len()).sum();
        let free = (self.limit as usize).saturating_sub(open);
        let account = self.account();
        for n in 0..free {
            let last = self.nodes.len() - 1;
            assert!(self.nodes[n % last].login(&account).await, "{what}: {free} places were free");
        }
        for node in &mut self.nodes {
            assert!(!node.login(&account).await, "{what}: no place was left");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deaths_alone_break_no_limit() {
    for seed in 0..25 {
        let mut story = Story::new(seed);
        for n in 0..250 {
            story.step(false).await;
            story.check(&format!("seed {seed}, step {n}")).await;
            let open: usize = story.nodes.iter().map(|node| node.open.len()).sum();
            assert!(open <= story.limit as usize, "seed {seed}, step {n}: {open} sessions of {}", story.limit);
        }
        assert_eq!(story.lost, 0, "seed {seed}: a node that lives keeps its lease");
        story.heals(&format!("seed {seed}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_stood_still_may_go_beyond_the_limit_and_nothing_else() {
    let mut lost = 0;
    for seed in 0..25 {
        let mut story = Story::new(1_000 + seed);
        for n in 0..250 {
            story.step(true).await;
            story.check(&format!("seed {seed}, step {n}")).await;
        }
        story.heals(&format!("seed {seed}")).await;
        lost += story.lost;
    }
    assert!(lost > 0, "nodes have lost leases while they had sessions");
}
