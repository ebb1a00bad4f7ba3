//! A file system over a store in memory that counts its calls and fails on schedule.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the harness")]

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use bytesize::ByteSize;
use futures::StreamExt;
use prometheus::Registry;
use tidegate_store::faulty::{Call, FaultPlan, FaultyObjectStore, Rates};
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{
    Account, Body, Condition, Journal, ListRequest, Mappings, ObjectAttributes, ObjectKey, ObjectStore, Permission,
    PermissionRules, Permissions, Status, Tenant, TenantLimits, User,
};
use tidegate_vfs::{
    Admission, Config, Directory, DirectoryEntry, FsError, FsErrorKind, Metrics, Mount, OpenFile, OpenOptions, Reader,
    Services, SetAttributes, Vfs, VirtualPath, Writer,
};

/// The tenant's prefix in the bucket.
pub const PREFIX: &str = "tenants/demo/";

/// The size of a part in tests, in bytes: small, so that small files have many.
pub const PART: usize = 64 << 10;

pub struct Env {
    pub store: MemoryObjectStore,
    pub calls: FaultyObjectStore,
    pub vfs: Vfs,
    pub mount: Mount,
    pub registry: Registry,
}

/// Parts of 64 KiB and a budget that is never short.
pub fn config() -> Config {
    Config {
        memory_budget: Some(ByteSize::mib(64)),
        part_size: ByteSize::b(PART as u64),
        part_size_max: ByteSize::b(PART as u64),
        budget_wait: Duration::from_secs(5),
        // The tests count parts.
        transfer_overhead: ByteSize::b(0),
        ..Config::default()
    }
}

/// Room for so many parts on the side of the writers.
pub fn parts(count: u64) -> Config {
    let budget = ByteSize::b((2 * count * PART as u64).div_ceil(100) * 100 + 100);
    Config { memory_budget: Some(budget), budget_wait: Duration::from_secs(600), ..config() }
}

/// Half of all calls take up to five milliseconds.
pub fn slow_store() -> FaultPlan {
    FaultPlan::seeded(7, Rates { delay: 0.5, delay_max: Duration::from_millis(5), ..Rates::default() })
}

/// Ends a test that would hang; nothing in it depends on the time.
pub async fn within<T>(running: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), running).await.unwrap()
}

pub async fn env() -> Env {
    env_with(config(), FaultPlan::none()).await
}

pub async fn env_with(config: Config, plan: FaultPlan) -> Env {
    let store = MemoryObjectStore::new().with_part_min(PART as u64);
    env_over(store, None, config, plan).await
}

/// A node over services that others may use too.
pub async fn env_over(
    store: MemoryObjectStore,
    journal: Option<Arc<dyn Journal>>,
    config: Config,
    plan: FaultPlan,
) -> Env {
    let calls = FaultyObjectStore::new(Arc::new(store.clone()), plan);
    let registry = Registry::new();
    let services = Services { stores: Arc::new(calls.clone()), usage: None, journal };
    let vfs = Vfs::over(services, config, Metrics::register(&registry).unwrap());
    let mount = vfs.mount(&account(&Permission::ALL)).await.unwrap();
    Env { store, calls, vfs, mount, registry }
}

pub fn account(permissions: &[Permission]) -> Account {
    let tenant = Tenant {
        name: "demo".parse().unwrap(),
        status: Status::Active,
        bucket: "bucket".to_owned(),
        prefix: PREFIX.parse().unwrap(),
        limits: TenantLimits::default(),
        created: 0,
    };
    let user = User {
        name: "user".parse().unwrap(),
        tenant: tenant.name.clone(),
        status: Status::Active,
        home: "/".to_owned(),
        permissions: permissions.iter().copied().collect::<Permissions>(),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: None,
        lists_uploads: false,
        keys: Vec::new(),
        created: 0,
    };
    Account { user, tenant }
}

/// One of another tenant, whose files lie beside those of the others.
pub fn account_of(tenant: &str) -> Account {
    let mut account = account(&Permission::ALL);
    account.tenant.name = tenant.parse().unwrap();
    account.tenant.prefix = format!("tenants/{tenant}/").parse().unwrap();
    account
}

impl Env {
    /// Stores an object behind the file system's back.
    pub async fn put(&self, key: &str, content: &'static [u8], metadata: &[(&str, &str)]) {
        self.put_large(key, &Bytes::from_static(content), metadata).await;
    }

    pub async fn put_bytes(&self, key: &str, content: Bytes) {
        self.put_large(key, &content, &[]).await;
    }

    /// The same with content that is not known beforehand.
    pub async fn put_large(&self, key: &str, content: &Bytes, metadata: &[(&str, &str)]) {
        let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let attributes = ObjectAttributes { metadata, ..ObjectAttributes::default() };
        let body = Body::from(content.clone());
        let checksum = body.checksum();
        self.store.put(&key_of(key), body, checksum, &attributes, &Condition::Always).await.unwrap();
    }

    pub async fn put_text(&self, key: &str, content: &str) {
        self.put_large(key, &Bytes::copy_from_slice(content.as_bytes()), &[]).await;
    }

    /// The content of an object, if it exists.
    pub async fn object(&self, key: &str) -> Option<Bytes> {
        let mut body = self.store.get(&key_of(key), None, None).await.ok()?.body;
        let mut content = BytesMut::new();
        while let Some(chunk) = body.next().await {
            content.extend_from_slice(&chunk.unwrap());
        }
        Some(content.freeze())
    }

    pub async fn metadata(&self, key: &str, name: &str) -> Option<String> {
        self.store.head(&key_of(key)).await.unwrap().attributes.metadata.get(name).cloned()
    }

    /// Every key below the tenant's prefix.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut start_after = None;
        loop {
            let (prefix, limit) = (PREFIX.to_owned(), 1_000);
            let request = ListRequest { prefix, delimited: false, limit, continuation: None, start_after };
            let page = self.store.list(&request).await.unwrap();
            keys.extend(page.objects.iter().map(|object| object.key.as_str()[PREFIX.len()..].to_owned()));
            if page.next.is_none() {
                return keys;
            }
            start_after = page.objects.last().map(|object| object.key.as_str().to_owned());
        }
    }

    /// How many multipart uploads the store holds.
    pub async fn uploads(&self) -> usize {
        self.store.list_uploads("", None).await.unwrap().uploads.len()
    }

    /// Calls of every method since the file system was made.
    pub fn requests(&self) -> u64 {
        [
            Call::AbortUpload,
            Call::BeginUpload,
            Call::Checksum,
            Call::CompleteUpload,
            Call::Copy,
            Call::CopyPart,
            Call::Delete,
            Call::Get,
            Call::Head,
            Call::List,
            Call::Put,
            Call::PutPart,
        ]
        .into_iter()
        .map(|call| self.calls.calls(call))
        .sum()
    }

    /// A view with other permissions.
    pub async fn mount_with(&self, permissions: &[Permission]) -> Mount {
        self.vfs.mount(&account(permissions)).await.unwrap()
    }

    /// A metric's value, summed over its labels except those that differ from `label`.
    pub fn metric(&self, name: &str, label: &str) -> i64 {
        let family = self.registry.gather().into_iter().find(|family| family.name() == name).unwrap();
        let metrics = family.get_metric().iter();
        let chosen =
            metrics.filter(|metric| label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label));
        chosen.map(|metric| (metric.get_gauge().get_value() + metric.get_counter().get_value()) as i64).sum()
    }
}

pub fn key_of(key: &str) -> ObjectKey {
    ObjectKey::new(format!("{PREFIX}{key}")).unwrap()
}

pub fn path(text: &str) -> VirtualPath {
    VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap()
}

/// CREAT, TRUNC, WRITE: what `put` of most clients asks for.
pub fn create() -> OpenOptions {
    OpenOptions { write: true, create: true, truncate: true, ..OpenOptions::default() }
}

pub async fn open_writer(mount: &Mount, name: &str, options: OpenOptions) -> Result<Writer, FsError> {
    match mount.open(&path(name), options).await? {
        OpenFile::Write(writer) => Ok(writer),
        OpenFile::Read(_) => panic!("opened for reading"),
    }
}

pub async fn open_reader(mount: &Mount, name: &str) -> Result<Reader, FsError> {
    match mount.open(&path(name), OpenOptions { read: true, ..OpenOptions::default() }).await? {
        OpenFile::Read(reader) => Ok(reader),
        OpenFile::Write(_) => panic!("opened for writing"),
    }
}

/// One WRITE, as a session sends it.
pub async fn write(writer: &mut Writer, offset: usize, data: Bytes) -> Result<(), FsError> {
    while let Admission::Wait(event) = writer.admit(offset as u64, data.len() as u32)? {
        event.await;
    }
    writer.write(offset as u64, data)
}

/// Writes all of `data` from the start, `step` bytes at a time.
pub async fn write_all(writer: &mut Writer, data: &Bytes, step: usize) -> Result<(), FsError> {
    for offset in (0..data.len()).step_by(step) {
        write(writer, offset, data.slice(offset..data.len().min(offset + step))).await?;
    }
    Ok(())
}

pub async fn upload(mount: &Mount, name: &str, data: &Bytes) -> Result<(), FsError> {
    let mut writer = open_writer(mount, name, create()).await?;
    // A client whose write failed closes the file all the same.
    let written = write_all(&mut writer, data, 32 << 10).await;
    let published = writer.finish().await?;
    written?;
    assert_eq!(published.size, data.len() as u64);
    Ok(())
}

/// Reads a whole file in order, `step` bytes at a time.
pub async fn read_all(reader: &Reader, step: u32) -> Result<Bytes, FsError> {
    let mut content = BytesMut::new();
    loop {
        let data = reader.read(content.len() as u64, step).await?;
        if data.is_empty() {
            return Ok(content.freeze());
        }
        data.chunks().iter().for_each(|chunk| content.extend_from_slice(chunk));
    }
}

pub async fn list(mount: &Mount, name: &str) -> Result<Vec<DirectoryEntry>, FsError> {
    let mut directory: Directory = mount.open_directory(&path(name)).await?;
    let mut entries = Vec::new();
    while let Some(page) = directory.next_page().await? {
        assert!(!page.is_empty(), "a page has entries");
        entries.extend(page);
    }
    assert!(directory.next_page().await?.is_none(), "the end stays the end");
    Ok(entries)
}

pub async fn names(mount: &Mount, name: &str) -> Vec<String> {
    list(mount, name).await.unwrap().into_iter().map(|entry| entry.name).collect()
}

/// Bytes that tell where they belong.
pub fn pattern(len: usize) -> Bytes {
    (0..len).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect::<Vec<u8>>().into()
}

pub fn mode(mode: u32) -> SetAttributes {
    SetAttributes { mode: Some(mode), ..SetAttributes::default() }
}

pub fn times(atime: u32, mtime: u32) -> SetAttributes {
    SetAttributes { times: Some((atime, mtime)), ..SetAttributes::default() }
}

pub fn kind<T>(result: Result<T, FsError>) -> Option<FsErrorKind> {
    result.err().map(|error| {
        let shown = error.to_string();
        for leak in ["bucket", "tenants/", "demo"] {
            assert!(!shown.contains(leak), "a message for the tenant: {shown}");
        }
        error.kind()
    })
}

pub const WRITE: OpenOptions = OpenOptions {
    read: false,
    write: true,
    append: false,
    create: false,
    truncate: false,
    exclusive: false,
    attributes: SetAttributes { size: None, owner: None, mode: None, times: None },
};
pub const READ_WRITE: OpenOptions = OpenOptions { read: true, ..WRITE };

pub fn size(size: u64) -> SetAttributes {
    SetAttributes { size: Some(size), ..SetAttributes::default() }
}

pub async fn read(writer: &Writer, offset: usize, len: usize) -> Vec<u8> {
    writer.read(offset as u64, len as u32).await.unwrap().chunks().concat()
}

/// Every byte of the file as the handle shows it.
pub async fn read_whole(writer: &Writer) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let some = read(writer, all.len(), 200 << 10).await;
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// What was given back in the background is back.
pub async fn is_given_back(env: &Env) {
    within(async {
        while ["tidegate_vfs_scratch_used_bytes", "tidegate_vfs_memory_used_bytes"]
            .iter()
            .any(|name| env.metric(name, if name.contains("memory") { "write" } else { "" }) > 0)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub async fn overwrite(mount: &Mount, name: &str, offset: usize, data: &'static [u8]) {
    let mut writer = open_writer(mount, name, WRITE).await.unwrap();
    write(&mut writer, offset, Bytes::from_static(data)).await.unwrap();
    writer.finish().await.unwrap();
}
