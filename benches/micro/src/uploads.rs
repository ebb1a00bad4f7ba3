//! Writes of a client on their way into parts: a real mount over the object store in memory.
//!
//! The assembly of parts is private to its crate. It is reached as a session reaches it, by
//! [`Writer::admit`] and [`Writer::write`].

use std::sync::Arc;

use bytes::Bytes;
use bytesize::ByteSize;
use prometheus::Registry;
use tidegate_store::memory::MemoryObjectStores;
use tidegate_store::{Account, Mappings, Permission, PermissionRules, Status, Tenant, TenantLimits, User};
use tidegate_vfs::{Admission, Config, Metrics, Mount, OpenFile, OpenOptions, Vfs, VirtualPath, Writer};

const BUCKET: &str = "bucket";

/// In which order a file's bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the start to the end, as most clients write.
    Ascending,
    /// Every 64 writes in a shuffled order, as clients with several requests under way write.
    Shuffled,
}

/// Files with parts of `part` bytes.
pub async fn mount(part: u64) -> Mount {
    let config = Config {
        memory_budget: Some(ByteSize::gib(1)),
        part_size: ByteSize::b(part),
        part_size_max: ByteSize::b(part),
        upload_concurrency: 64,
        ..Config::default()
    };
    let metrics = Metrics::register(&Registry::new()).expect("a new registry has none of the names");
    let stores = MemoryObjectStores::new();
    // Clones are the same bucket.
    drop(stores.bucket(BUCKET).with_part_min(part));
    Vfs::new(Arc::new(stores), config, metrics).mount(&account()).await.expect("the home is a path")
}

/// Opens a new file as `put` does.
pub async fn create(mount: &Mount) -> Writer {
    let path = VirtualPath::resolve(&VirtualPath::root(), b"file").expect("a path");
    let options = OpenOptions { write: true, create: true, truncate: true, ..OpenOptions::default() };
    match mount.open(&path, options).await.expect("the store has room") {
        OpenFile::Write(writer) => writer,
        OpenFile::Read(_) => unreachable!("it was opened for writing"),
    }
}

/// Where `count` writes of `length` bytes go.
pub fn offsets(order: Order, count: u64, length: u64) -> Vec<u64> {
    const WINDOW: u64 = 64;
    // 29 and 64 have no common divisor: every place of a window comes, and once.
    let place = |n: u64| match order {
        Order::Ascending => n,
        Order::Shuffled => n - n % WINDOW + (n % WINDOW * 29) % WINDOW,
    };
    (0..count).map(|n| place(n) * length).collect()
}

/// Writes `data` at each offset. No write has to wait: what has no memory yet or no way to the store
/// would be another measurement.
pub fn write_at_once(writer: &mut Writer, data: &Bytes, offsets: &[u64]) {
    for offset in offsets {
        let admission = writer.admit(*offset, data.len() as u32).expect("the write is taken");
        assert!(matches!(admission, Admission::Ready), "the write at {offset} has to wait");
        writer.write(*offset, data.clone()).expect("the write is taken");
    }
}

/// Writes `data` at each offset, waiting as a session does, and closes the file.
pub async fn upload(mount: &Mount, data: &Bytes, offsets: &[u64]) -> u64 {
    let mut writer = create(mount).await;
    for offset in offsets {
        while let Admission::Wait(event) = writer.admit(*offset, data.len() as u32).expect("the write is taken") {
            event.await;
        }
        writer.write(*offset, data.clone()).expect("the write is taken");
    }
    writer.finish().await.expect("the file is stored").size
}

fn account() -> Account {
    let tenant = Tenant {
        name: "bench".parse().expect("a name"),
        status: Status::Active,
        bucket: BUCKET.to_owned(),
        prefix: "bench/".parse().expect("a prefix"),
        limits: TenantLimits::default(),
        created: 0,
    };
    let user = User {
        name: "bench".parse().expect("a name"),
        tenant: tenant.name.clone(),
        status: Status::Active,
        home: "/".to_owned(),
        permissions: Permission::ALL.into_iter().collect(),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: None,
        lists_uploads: false,
        keys: Vec::new(),
        created: 0,
    };
    Account { user, tenant }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_writes_reach_every_place_once() {
        let mut shuffled = offsets(Order::Shuffled, 256, 10);
        assert_ne!(shuffled, offsets(Order::Ascending, 256, 10));
        shuffled.sort_unstable();
        assert_eq!(shuffled, offsets(Order::Ascending, 256, 10));
    }

    #[tokio::test]
    async fn an_upload_has_all_its_bytes() {
        let (mount, data) = (mount(64 << 10).await, Bytes::from(vec![1; 1 << 10]));
        assert_eq!(upload(&mount, &data, &offsets(Order::Shuffled, 256, 1 << 10)).await, 256 << 10);
    }
}
