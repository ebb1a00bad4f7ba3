use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use prometheus::Registry;
use tidegate_ssh::{ClusterState, HostKey, HostKeyAlgorithm, KeyState, Rules, Server, change_host_keys};
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::{
    MemoryDataKeys, MemoryDirectory, MemoryLeases, MemoryLoginFailures, MemoryObjectStore, MemoryObjectStores,
};
use tidegate_store::{
    Body, Condition, DataKey, EncryptionContext, ObjectAttributes, ObjectKey, ObjectStore, StoreError, StoreErrorKind,
    StoreResult,
};
use tidegate_vfs::Vfs;
use zeroize::Zeroizing;

use super::*;

/// KMS that counts and can be switched off.
#[derive(Debug, Default)]
struct Kms {
    keys: MemoryDataKeys,
    away: AtomicBool,
    opened: AtomicU64,
}

#[async_trait]
impl DataKeys for Kms {
    async fn generate(&self, context: &EncryptionContext) -> StoreResult<DataKey> {
        self.keys.generate(context).await
    }

    async fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> StoreResult<Zeroizing<[u8; 32]>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "unwrap").with_source("KMS is away"));
        }
        self.keys.unwrap(wrapped, context).await
    }
}

struct Cluster {
    objects: Arc<MemoryObjectStore>,
    kms: Arc<Kms>,
}

fn object() -> ObjectKey {
    ObjectKey::new("cluster/host-keys").unwrap()
}

/// A server that listens and is never asked to serve.
async fn server(keys: &HostKeySet) -> Server {
    let config = tidegate_ssh::Config { listen: ([127, 0, 0, 1], 0).into(), ..tidegate_ssh::Config::default() };
    let registry = Registry::new();
    let shared = ClusterState {
        accounts: Arc::new(MemoryDirectory::new()),
        leases: Arc::new(MemoryLeases::new()),
        login_failures: Arc::new(MemoryLoginFailures::new()),
    };
    let vfs_metrics = tidegate_vfs::Metrics::register(&registry).unwrap();
    let vfs = Vfs::new(Arc::new(MemoryObjectStores::new()), tidegate_vfs::Config::default(), vfs_metrics);
    let sftp = (tidegate_sftp::Config::default(), tidegate_sftp::Metrics::register(&registry).unwrap());
    let metrics = tidegate_ssh::Metrics::register(&registry).unwrap();
    Server::bind(config, keys, shared, vfs, sftp, metrics).await.unwrap()
}

impl Cluster {
    async fn new() -> Self {
        let cluster = Self { objects: Arc::new(MemoryObjectStore::new()), kms: Arc::default() };
        cluster.sealed(cluster.objects.clone()).init().await.unwrap();
        cluster
    }

    fn sealed(&self, objects: Arc<dyn ObjectStore>) -> Sealed {
        let data_keys = Arc::clone(&self.kms) as Arc<dyn DataKeys>;
        Sealed { store: HostKeyStore::new(objects, object()), data_keys, cluster: "blue".to_owned() }
    }

    /// What a node has after it has started, its store failing by plan from its first look on.
    async fn node(&self, plan: FaultPlan) -> (Refresh, FaultyObjectStore, Registry) {
        let current = self.sealed(self.objects.clone()).load().await.unwrap().unwrap();
        let offered = server(&current).await.host_keys();
        let (objects, registry) = (FaultyObjectStore::new(self.objects.clone(), plan), Registry::new());
        let metrics = Metrics::register(&registry).unwrap();
        let sealed = self.sealed(Arc::new(objects.clone()));
        (Refresh::new(sealed, offered, current, Duration::from_secs(60), metrics), objects, registry)
    }

    /// An administrator announces a new key.
    async fn announce(&self) -> String {
        let key = HostKey::generate(HostKeyAlgorithm::Ed25519, KeyState::Announced).await.unwrap();
        let fingerprint = key.fingerprint();
        let rules = Rules { now: 1, force: false, ecdsa_offered: false };
        let sealed = self.sealed(self.objects.clone());
        let change = |set: &mut HostKeySet| set.add(key.clone(), Duration::ZERO, &rules);
        change_host_keys(&sealed.store, sealed.data_keys.as_ref(), "blue", change).await.unwrap();
        fingerprint
    }

    async fn overwrite(&self, bytes: &'static [u8]) {
        let body = Body::from(bytes);
        let checksum = body.checksum();
        self.objects.put(&object(), body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
    }

    fn opened(&self) -> u64 {
        self.kms.opened.load(Ordering::Relaxed)
    }
}

fn sample(registry: &Registry, name: &str, label: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let labelled = |metric: &&prometheus::proto::Metric| {
        label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
    };
    let metric = family.get_metric().iter().find(labelled).unwrap();
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

#[tokio::test]
async fn kms_is_asked_once_for_each_change() {
    let cluster = Cluster::new().await;
    let (mut node, objects, registry) = cluster.node(FaultPlan::none()).await;
    let opened = cluster.opened();
    for _ in 0..3 {
        assert_eq!(node.look().await, Outcome::Unchanged);
    }
    assert_eq!((objects.calls(Call::Head), objects.calls(Call::Get), cluster.opened()), (3, 0, opened));

    let fingerprint = cluster.announce().await;
    let opened = cluster.opened();
    assert_eq!(node.look().await, Outcome::Replaced);
    assert_eq!(node.look().await, Outcome::Unchanged);
    assert_eq!((objects.calls(Call::Get), cluster.opened()), (1, opened + 1));
    assert!(node.current.key(&fingerprint).is_some());
    assert_eq!(sample(&registry, "tidegate_host_keys_revision", ""), 2.0);
    assert_eq!(sample(&registry, "tidegate_host_keys", "announced"), 1.0);
    assert_eq!(sample(&registry, "tidegate_host_keys_refreshes_total", "replaced"), 1.0);
    assert_eq!(sample(&registry, "tidegate_host_keys_refreshes_total", "unchanged"), 4.0);
}

#[tokio::test]
async fn a_store_or_kms_that_is_away_leaves_the_old_keys_until_it_is_back() {
    let cluster = Cluster::new().await;
    let away = Fault::Before(StoreErrorKind::Unavailable);
    let plan = FaultPlan::none().on(Call::Head, 1, away).on(Call::Get, 1, away);
    let (mut node, _, registry) = cluster.node(plan.on(Call::Get, 2, Fault::BrokenBody { after: 9 })).await;
    let before = node.current.fingerprints();
    let fingerprint = cluster.announce().await;
    for what in ["the HEAD fails", "the GET fails", "the body breaks"] {
        assert_eq!(node.look().await, Outcome::Unavailable, "{what}");
    }
    cluster.kms.away.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        assert_eq!(node.look().await, Outcome::Unavailable, "KMS is asked again each time");
    }
    assert_eq!(node.current.fingerprints(), before);
    cluster.kms.away.store(false, Ordering::Relaxed);
    assert_eq!(node.look().await, Outcome::Replaced);
    assert!(node.current.key(&fingerprint).is_some());
    assert_eq!(sample(&registry, "tidegate_host_keys_refreshes_total", "unavailable"), 5.0);
}

#[tokio::test]
async fn a_damaged_set_is_opened_once_and_never_used() {
    let cluster = Cluster::new().await;
    let (mut node, objects, registry) = cluster.node(FaultPlan::none()).await;
    let before = node.current.fingerprints();
    cluster.overwrite(b"no host keys").await;
    for _ in 0..3 {
        assert_eq!(node.look().await, Outcome::Unusable);
    }
    assert_eq!(objects.calls(Call::Get), 1);
    cluster.overwrite(b"none either").await;
    assert_eq!(node.look().await, Outcome::Unusable);
    assert_eq!(objects.calls(Call::Get), 2, "another version is tried");
    cluster.objects.delete(&object()).await.unwrap();
    assert_eq!(node.look().await, Outcome::Missing);
    assert_eq!(node.current.fingerprints(), before);
    assert_eq!(sample(&registry, "tidegate_host_keys_refreshes_total", "unusable"), 4.0);
    assert_eq!(sample(&registry, "tidegate_host_keys", "active"), 3.0);
    assert_eq!(sample(&registry, "tidegate_host_keys_current", ""), 0.0);

    cluster.sealed(cluster.objects.clone()).init().await.unwrap();
    assert_eq!(node.look().await, Outcome::Replaced);
    assert_ne!(node.current.fingerprints(), before);
    assert_eq!(sample(&registry, "tidegate_host_keys_current", ""), 1.0);
}

#[tokio::test]
async fn a_trouble_is_told_once_and_its_end_too() {
    let lines = crate::telemetry::Recorded::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let cluster = Cluster::new().await;
    let (mut node, ..) = cluster.node(FaultPlan::none()).await;
    cluster.overwrite(b"no host keys").await;
    for _ in 0..3 {
        node.look().await;
    }
    assert_eq!(lines.text().matches("goes on with those it has").count(), 1, "{}", lines.text());
    cluster.objects.delete(&object()).await.unwrap();
    cluster.sealed(cluster.objects.clone()).init().await.unwrap();
    node.look().await;
    let text = lines.text();
    assert!(text.contains("can be read again") && text.contains("the host keys have changed"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn looks_come_within_the_interval_and_not_at_once_on_all_nodes() {
    let cluster = Cluster::new().await;
    let (node, objects, _) = cluster.node(FaultPlan::none()).await;
    let pauses: Vec<_> = (0..100).map(|_| node.pause()).collect();
    assert!(pauses.iter().all(|pause| (45..=60).contains(&pause.as_secs())), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    let stop = CancellationToken::new();
    let running = tokio::spawn(node.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(600)).await;
    let looks = objects.calls(Call::Head);
    assert!((10..=13).contains(&looks), "{looks}");
    stop.cancel();
    running.await.unwrap();
}
