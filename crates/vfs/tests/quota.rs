//! What a tenant's files take, and what happens when they take all that they may.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytesize::ByteSize;
use harness::*;
use prometheus::Registry;
use tidegate_store::faulty::{Call, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::{MemoryObjectStore, MemoryUsage};
use tidegate_store::{
    Account, ListRequest, ObjectStore, Permission, Recount, StoreError, StoreErrorKind, StoreResult, TenantLimits,
    TenantName, UsageDelta, UsageFigures, UsageStore, recount,
};
use tidegate_vfs::{
    Begun, Config, FsErrorKind, Metrics, Mount, OpenOptions, Replace, Services, SetAttributes, Usage, Vfs,
};

const FULL: Option<FsErrorKind> = Some(FsErrorKind::NoSpace);

/// A node, and what it shares with others.
struct Node {
    store: MemoryObjectStore,
    calls: FaultyObjectStore,
    vfs: Vfs,
    mount: Mount,
}

fn with_quota(bytes: Option<u64>, objects: Option<u64>) -> Account {
    let mut account = account(&Permission::ALL);
    account.tenant.limits = TenantLimits { quota_bytes: bytes, quota_objects: objects, ..TenantLimits::default() };
    account
}

async fn node(store: &MemoryObjectStore, usage: Arc<dyn UsageStore>, account: &Account) -> Node {
    node_with(config(), store, usage, account).await
}

async fn node_with(config: Config, store: &MemoryObjectStore, usage: Arc<dyn UsageStore>, account: &Account) -> Node {
    let calls = FaultyObjectStore::new(Arc::new(store.clone()), FaultPlan::none());
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let vfs =
        Vfs::over(Services { stores: Arc::new(calls.clone()), usage: Some(usage), journal: None }, config, metrics);
    let mount = vfs.mount(account).await.unwrap();
    Node { store: store.clone(), calls, vfs, mount }
}

/// A node of a tenant whose objects, none yet, have been counted.
async fn counted(usage: &MemoryUsage, bytes: Option<u64>, objects: Option<u64>) -> Node {
    let (store, account) = (MemoryObjectStore::new().with_part_min(PART as u64), with_quota(bytes, objects));
    recount(&store, usage, &account.tenant, Duration::ZERO).await.unwrap().unwrap();
    node(&store, Arc::new(usage.clone()), &account).await
}

/// A view of the same files through which nothing is counted.
async fn uncounted(store: &MemoryObjectStore, account: &Account) -> Mount {
    let calls = FaultyObjectStore::new(Arc::new(store.clone()), FaultPlan::none());
    let vfs = Vfs::new(Arc::new(calls), config(), Metrics::register(&Registry::new()).unwrap());
    vfs.mount(account).await.unwrap()
}

fn tenant() -> TenantName {
    "demo".parse().unwrap()
}

/// What the objects take, as the store lists them.
async fn listed(store: &MemoryObjectStore) -> UsageDelta {
    let prefix = PREFIX.to_owned();
    let request = ListRequest { prefix, delimited: false, limit: 1_000, continuation: None, start_after: None };
    let page = store.list(&request).await.unwrap();
    let bytes: u64 = page.objects.iter().map(|object| object.size).sum();
    UsageDelta::new(bytes as i64, page.objects.len() as i64)
}

async fn mkdir(mount: &Mount, name: &str) -> Option<FsErrorKind> {
    kind(mount.make_directory(&path(name), SetAttributes::default()).await)
}

#[tokio::test(start_paused = true)]
async fn every_change_is_counted_and_told_within_seconds() {
    let usage = MemoryUsage::new();
    let node = counted(&usage, Some(1 << 30), None).await;
    let mount = &node.mount;
    let told = async |what: &str| {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(usage.read(&tenant()).await.unwrap().used, listed(&node.store).await, "{what}");
    };
    upload(mount, "/f", &pattern(1_000)).await.unwrap();
    told("a new file").await;
    upload(mount, "/f", &pattern(300)).await.unwrap();
    told("a file that was replaced").await;
    upload(mount, "/large", &pattern(5 * PART + 1)).await.unwrap();
    upload(mount, "/large", &pattern(3 * PART)).await.unwrap();
    told("files of many parts").await;
    assert_eq!(mkdir(mount, "/d").await, None);
    told("a directory").await;
    mount.rename(&path("/f"), &path("/d/f"), Replace::Never).await.unwrap();
    mount.rename(&path("/large"), &path("/d/f"), Replace::Existing).await.unwrap();
    told("renames").await;
    mount.set_attributes(&path("/d/f"), mode(0o600)).await.unwrap();
    told("attributes").await;
    mount.set_attributes(&path("/d/f"), SetAttributes { size: Some(0), ..SetAttributes::default() }).await.unwrap();
    told("a file that was emptied").await;
    mount.remove(&path("/d/f")).await.unwrap();
    mount.remove_directory(&path("/d")).await.unwrap();
    told("what was removed").await;
    assert_eq!(listed(&node.store).await, UsageDelta::default());
    let mut cut = open_writer(mount, "/cut", create()).await.unwrap();
    write_all(&mut cut, &pattern(3 * PART), 32 << 10).await.unwrap();
    cut.abandon().await;
    told("an upload that was given up").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_server_keeps_beside_the_files_takes_no_room_and_what_it_fills_with_it_does() {
    let (usage, store) = (MemoryUsage::new(), MemoryObjectStore::new().with_part_min(PART as u64));
    let account = with_quota(Some(60 * PART as u64), None);
    recount(&store, &usage, &account.tenant, Duration::ZERO).await.unwrap().unwrap();
    let grouped = Config { part_group: ByteSize::b(16 * PART as u64), ..config() };
    let node = node_with(grouped, &store, Arc::new(usage.clone()), &account).await;
    let (mount, len) = (&node.mount, 20 * PART as u64);
    // Zeros that the store copies, and parts that it joins.
    let mut writer = open_writer(mount, "/zeros", create()).await.unwrap();
    writer.set_attributes(size(len)).await.unwrap();
    writer.finish().await.unwrap();
    upload(mount, "/joined", &pattern(len as usize)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = async || usage.read(&tenant()).await.unwrap().used;
    assert_eq!(used().await, UsageDelta::new(2 * len as i64, 2));
    assert!(listed(&store).await.objects > 2, "the zeros are there");
    recount(&store, &usage, &account.tenant, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(used().await, UsageDelta::new(2 * len as i64, 2));
    // A few bytes of input make no more than there is room for.
    let mut writer = open_writer(mount, "/more", create()).await.unwrap();
    writer.set_attributes(size(len + 1)).await.unwrap();
    assert_eq!(kind(writer.finish().await), FULL);
    let more = mount.set_attributes(&path("/zeros"), size(2 * len + 1)).await;
    assert_eq!(kind(more), FULL);
    assert_eq!(mount.stat(&path("/zeros")).await.unwrap().size, len);
    assert_eq!(store.list_uploads("", None).await.unwrap().uploads.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_append_needs_room_for_what_it_adds() {
    let node = counted(&MemoryUsage::new(), Some(60 * PART as u64), None).await;
    let mount = &node.mount;
    upload(mount, "/f", &pattern(40 * PART)).await.unwrap();
    for (len, full) in [(20 * PART + 1, FULL), (19 * PART, None)] {
        let append = OpenOptions { append: true, ..WRITE };
        let mut writer = open_writer(mount, "/f", append).await.unwrap();
        let _ = write_all(&mut writer, &pattern(len), PART).await;
        assert_eq!(kind(writer.finish().await), full, "{len}");
    }
    assert_eq!(mount.stat(&path("/f")).await.unwrap().size, 59 * PART as u64);
}

#[tokio::test(start_paused = true)]
async fn an_upload_beyond_the_quota_fails_and_publishes_nothing() {
    let node = counted(&MemoryUsage::new(), Some(4 * PART as u64), None).await;
    let mount = &node.mount;
    upload(mount, "/small", &pattern(PART)).await.unwrap();
    for (name, len) in [("/one-put", 3 * PART + 1), ("/parts", 40 * PART)] {
        assert_eq!(kind(upload(mount, name, &pattern(len)).await), FULL, "{name}");
        assert_eq!(kind(mount.stat(&path(name)).await), Some(FsErrorKind::NotFound), "{name}");
    }
    assert_eq!(node.store.list_uploads("", None).await.unwrap().uploads.len(), 0);
    let error = upload(mount, "/again", &pattern(3 * PART + 1)).await.unwrap_err();
    assert!(error.to_string().contains("quota exceeded"), "{error}");
    upload(mount, "/rest", &pattern(3 * PART)).await.unwrap();
    assert_eq!(kind(open_writer(mount, "/more", create()).await), FULL, "there is no room for a byte");
    read_all(&open_reader(mount, "/small").await.unwrap(), 1 << 20).await.unwrap();
    mount.rename(&path("/rest"), &path("/renamed"), Replace::Never).await.unwrap();
    mount.remove(&path("/small")).await.unwrap();
    upload(mount, "/small", &pattern(PART)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_long_upload_ends_when_the_quota_is_used_up() {
    let node = counted(&MemoryUsage::new(), Some(4 * PART as u64), None).await;
    let mut writer = open_writer(&node.mount, "/long", create()).await.unwrap();
    let result = within(async {
        let mut offset = 0;
        loop {
            if let Err(error) = write(&mut writer, offset, pattern(32 << 10)).await {
                return error;
            }
            offset += 32 << 10;
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(offset < 100 * PART, "the quota is never heeded while the file is written");
        }
    });
    assert_eq!(result.await.kind(), FsErrorKind::NoSpace);
    assert_eq!(kind(writer.finish().await), FULL);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_replaced_without_room_for_both() {
    let node = counted(&MemoryUsage::new(), Some(5 * PART as u64), None).await;
    for _ in 0..3 {
        upload(&node.mount, "/f", &pattern(4 * PART)).await.unwrap();
        upload(&node.mount, "/small", &pattern(PART / 2)).await.unwrap();
    }
    assert_eq!(kind(upload(&node.mount, "/f", &pattern(5 * PART)).await), FULL);
    assert_eq!(node.mount.stat(&path("/f")).await.unwrap().size, 4 * PART as u64, "the old one stays");
}

#[tokio::test(start_paused = true)]
async fn uploads_of_one_node_do_not_exceed_the_quota_together() {
    let node = counted(&MemoryUsage::new(), Some(8 * PART as u64), None).await;
    let data = pattern(3 * PART);
    let names: Vec<String> = (0..6).map(|n| format!("/{n}")).collect();
    let results = futures::future::join_all(names.iter().map(|name| upload(&node.mount, name, &data))).await;
    assert!(results.into_iter().all(|result| result.is_ok() || kind(result) == FULL));
    assert!(listed(&node.store).await.bytes <= 8 * PART as i64);
}

#[tokio::test(start_paused = true)]
async fn objects_have_a_quota_too() {
    let node = counted(&MemoryUsage::new(), None, Some(2)).await;
    let mount = &node.mount;
    assert_eq!(mkdir(mount, "/d").await, None);
    upload(mount, "/d/f", &pattern(10)).await.unwrap();
    assert_eq!(kind(open_writer(mount, "/g", create()).await), FULL);
    assert_eq!(mkdir(mount, "/e").await, FULL);
    upload(mount, "/d/f", &pattern(20)).await.unwrap();
    let usage = mount.usage().await;
    assert_eq!(usage, Usage { bytes_used: 20, bytes_limit: None, objects_used: 2, objects_limit: Some(2) });
    mount.remove(&path("/d/f")).await.unwrap();
    upload(mount, "/g", &pattern(10)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_tenant_can_remove_the_last_file_of_a_directory_without_a_marker() {
    let usage = MemoryUsage::new();
    let store = MemoryObjectStore::new();
    let account = with_quota(None, Some(1));
    let behind = uncounted(&store, &account).await;
    assert_eq!(mkdir(&behind, "/d").await, None);
    upload(&behind, "/d/f", &pattern(10)).await.unwrap();
    store.delete(&key_of("d/")).await.unwrap();
    recount(&store, &usage, &account.tenant, Duration::ZERO).await.unwrap();
    let node = node(&store, Arc::new(usage), &account).await;
    node.mount.remove(&path("/d/f")).await.unwrap();
    assert!(node.mount.stat(&path("/d")).await.is_ok(), "the directory stays");
}

#[tokio::test(start_paused = true)]
async fn what_other_nodes_store_counts_within_seconds() {
    let usage = MemoryUsage::new();
    let first = counted(&usage, Some(PART as u64), None).await;
    let second = node(&first.store, Arc::new(usage.clone()), &with_quota(Some(PART as u64), None)).await;
    assert_eq!(second.mount.usage().await.bytes_used, 0);
    upload(&first.mount, "/f", &pattern(PART)).await.unwrap();
    assert_eq!(kind(open_writer(&first.mount, "/g", create()).await), FULL, "its own node knows at once");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(kind(open_writer(&second.mount, "/g", create()).await), FULL);
    assert_eq!(second.mount.usage().await.bytes_used, PART as u64);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_was_never_counted_is_counted_by_one_node_and_refused_nothing_before() {
    let usage = MemoryUsage::new();
    let (store, account) = (MemoryObjectStore::new(), with_quota(Some(PART as u64), None));
    upload(&uncounted(&store, &account).await, "/old", &pattern(PART)).await.unwrap();
    let first = node(&store, Arc::new(usage.clone()), &account).await;
    let second = node(&store, Arc::new(usage.clone()), &account).await;
    assert_eq!(kind(open_writer(&first.mount, "/new", create()).await), None);
    assert_eq!(kind(open_writer(&second.mount, "/new", create()).await), None);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(usage.read(&tenant()).await.unwrap().used, UsageDelta::new(PART as i64, 1));
    assert_eq!(first.calls.calls(Call::List) + second.calls.calls(Call::List), 1 + 2, "one lists all; each its root");
    assert_eq!(kind(open_writer(&first.mount, "/new", create()).await), FULL);
    assert_eq!(kind(open_writer(&second.mount, "/new", create()).await), FULL);
}

#[tokio::test]
async fn tenants_without_a_quota_cost_no_request_more() {
    let usage = MemoryUsage::new();
    let plain = env().await;
    let account = account(&Permission::ALL);
    let node = node(&MemoryObjectStore::new().with_part_min(PART as u64), Arc::new(usage.clone()), &account).await;
    for mount in [&plain.mount, &node.mount] {
        upload(mount, "/f", &pattern(100)).await.unwrap();
        upload(mount, "/f", &pattern(3 * PART)).await.unwrap();
        mount.rename(&path("/f"), &path("/g"), Replace::Existing).await.unwrap();
        mount.remove(&path("/g")).await.unwrap();
        assert_eq!(mount.usage().await, Usage::default());
    }
    for call in [Call::Head, Call::List, Call::Put, Call::Copy, Call::Delete, Call::BeginUpload] {
        assert_eq!(node.calls.calls(call), plain.calls.calls(call), "{call:?}");
    }
    node.vfs.settle_usage().await;
    assert_eq!(usage.read(&tenant()).await.unwrap(), UsageFigures::default());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_told_yet_is_told_at_the_end_of_the_node() {
    let usage = MemoryUsage::new();
    let node = counted(&usage, Some(1 << 30), None).await;
    upload(&node.mount, "/f", &pattern(100)).await.unwrap();
    node.vfs.settle_usage().await;
    assert_eq!(usage.read(&tenant()).await.unwrap().used, UsageDelta::new(100, 1));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(usage.read(&tenant()).await.unwrap().used, UsageDelta::new(100, 1), "and once only");
}

/// Counters that can be away.
#[derive(Debug, Default)]
struct Away {
    inner: MemoryUsage,
    is_away: AtomicBool,
}

impl Away {
    fn there(&self) -> StoreResult<&MemoryUsage> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(StoreError::new(StoreErrorKind::Unavailable, "usage")),
            false => Ok(&self.inner),
        }
    }
}

#[async_trait]
impl UsageStore for Away {
    async fn read(&self, tenant: &TenantName) -> StoreResult<UsageFigures> {
        self.there()?.read(tenant).await
    }

    async fn add(&self, tenant: &TenantName, delta: UsageDelta) -> StoreResult<UsageFigures> {
        self.there()?.add(tenant, delta).await
    }

    async fn begin_recount(&self, tenant: &TenantName, recount: &Recount) -> StoreResult<bool> {
        self.there()?.begin_recount(tenant, recount).await
    }

    async fn finish_recount(&self, tenant: &TenantName, recount: &Recount, by: UsageDelta) -> StoreResult<bool> {
        self.there()?.finish_recount(tenant, recount, by).await
    }

    async fn forget_count(&self, tenant: &TenantName) -> StoreResult<()> {
        self.there()?.forget_count(tenant).await
    }
}

#[tokio::test(start_paused = true)]
async fn counters_that_are_away_stop_no_upload_and_are_told_later() {
    let usage = Arc::new(Away::default());
    let (store, account) = (MemoryObjectStore::new(), with_quota(Some(1 << 20), None));
    recount(&store, &*usage, &account.tenant, Duration::ZERO).await.unwrap();
    usage.is_away.store(true, Ordering::SeqCst);
    let node = node(&store, usage.clone(), &account).await;
    upload(&node.mount, "/f", &pattern(100)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    upload(&node.mount, "/g", &pattern(100)).await.unwrap();
    usage.is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(usage.read(&tenant()).await.unwrap().used, UsageDelta::new(200, 2));
}

#[tokio::test(start_paused = true)]
async fn a_copy_needs_room_for_what_it_adds() {
    let usage = MemoryUsage::new();
    let node = counted(&usage, Some(12_500), None).await;
    upload(&node.mount, "/from", &pattern(6_000)).await.unwrap();
    upload(&node.mount, "/large", &pattern(3_000)).await.unwrap();
    let copied = async |to: &str| {
        let reader = open_reader(&node.mount, "/from").await.unwrap();
        let mut writer = open_writer(&node.mount, to, create()).await.unwrap();
        let copied = loop {
            match writer.copy(node.mount.view(&reader), 0, None, 0) {
                Ok(Begun::Later(wait)) => wait.await,
                Ok(Begun::Now(copy)) => break copy.done.await,
                Err(error) => break Err(error),
            }
        };
        let closed = writer.finish().await;
        assert_eq!(copied.is_err(), closed.is_err(), "{copied:?} {closed:?}");
        kind(copied)
    };
    assert_eq!(copied("/new").await, FULL);
    assert_eq!(copied("/large").await, None, "there is room for the difference");
    assert_eq!(copied("/large").await, None, "and for the same once more");
    assert_eq!(copied("/new").await, FULL);
    let names = names(&node.mount, "/").await;
    assert_eq!(names, ["from", "large"]);
    node.mount.remove(&path("/from")).await.unwrap();
    assert_eq!(listed(&node.store).await, UsageDelta::new(6_000, 1));
}
