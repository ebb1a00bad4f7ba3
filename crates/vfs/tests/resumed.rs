//! Uploads that were cut, and what becomes of them: on the same node or another.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use harness::*;
use proptest::prelude::*;
use tidegate_store::faulty::{Call, FaultPlan};
use tidegate_store::memory::{MemoryDirectory, MemoryJournal, MemoryObjectStore};
use tidegate_store::{
    Directory, Generation, Journal, JournalEntry, JournalPage, ObjectKey, StoreError, StoreErrorKind, StoreResult,
    TenantName, UploadState,
};
use tidegate_vfs::{FsErrorKind, Mount, OpenOptions, Replace, Writer};

/// Several nodes over one store and one journal.
struct Cluster {
    store: MemoryObjectStore,
    journal: MemoryJournal,
}

/// As clients open what they resume.
const RESUME: OpenOptions = OpenOptions { create: true, ..WRITE };
const APPEND: OpenOptions = OpenOptions { append: true, ..RESUME };

impl Cluster {
    fn new() -> Self {
        let store = MemoryObjectStore::new().with_part_min(PART as u64);
        Self { store, journal: MemoryJournal::new() }
    }

    async fn node(&self) -> Env {
        env_over(self.store.clone(), Some(Arc::new(self.journal.clone())), config(), FaultPlan::none()).await
    }

    async fn entries(&self) -> Vec<JournalEntry> {
        self.journal.list(&tenant(), "", None).await.unwrap().entries
    }

    /// Nothing is left of any upload.
    async fn is_clean(&self, node: &Env) {
        within(async {
            while !self.entries().await.is_empty()
                || node.uploads().await > 0
                || node.keys().await.iter().any(|key| key.starts_with(".tidegate/"))
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

fn tenant() -> TenantName {
    "demo".parse().unwrap()
}

/// A node dies: nothing of it runs or is cleared up, and what was on its way has landed.
async fn kill(node: Env, writer: Writer) {
    landed(&node).await;
    std::mem::forget(writer);
    std::mem::forget(node);
}

async fn landed(node: &Env) {
    within(async {
        while node.metric("tidegate_vfs_parts_in_flight", "") > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn begin(mount: &Mount, name: &str, data: &Bytes) -> Writer {
    let mut writer = open_writer(mount, name, create()).await.unwrap();
    write_all(&mut writer, data, 10_000).await.unwrap();
    writer
}

async fn shown(mount: &Mount, name: &str) -> Option<usize> {
    mount.stat(&path(name)).await.ok().map(|attributes| attributes.size as usize)
}

/// Goes on where STAT says, as clients do, up to `end`.
async fn go_on(mount: &Mount, name: &str, data: &Bytes, end: usize, options: OpenOptions) -> Writer {
    let begin = shown(mount, name).await.unwrap_or(0);
    let mut writer = open_writer(mount, name, options).await.unwrap();
    assert_eq!(writer.attributes().size as usize, begin, "FSTAT shows what STAT did");
    for offset in (begin..end).step_by(10_000) {
        write(&mut writer, offset, data.slice(offset..end.min(offset + 10_000))).await.unwrap();
    }
    writer
}

#[tokio::test]
async fn an_upload_that_is_cut_is_resumed_on_another_node_and_no_part_is_sent_again() {
    for options in [WRITE, APPEND] {
        let cluster = Cluster::new();
        let (one, other) = (cluster.node().await, cluster.node().await);
        let data = pattern(5 * PART + 1_000);
        let writer = begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await;
        within(writer.cut()).await;
        assert_eq!(one.object("f").await, None, "nothing is published");
        assert_eq!(shown(&other.mount, "/f").await, Some(2 * PART + 19_999), "every byte is durable, but for one");
        assert_eq!(names(&other.mount, "/").await, Vec::<String>::new(), "a listing shows what is complete");
        assert_eq!(kind(open_reader(&other.mount, "/f").await), Some(FsErrorKind::NotFound));

        let writer = go_on(&other.mount, "/f", &data, data.len(), options).await;
        let published = within(writer.finish()).await.unwrap();
        assert_eq!(published.size as usize, data.len());
        assert_eq!(one.object("f").await.unwrap(), data);
        assert_eq!(other.calls.calls(Call::PutPart), 4, "the third and the parts behind it");
        assert_eq!(shown(&one.mount, "/f").await, Some(data.len()));
        cluster.is_clean(&one).await;
    }
}

#[tokio::test]
async fn of_a_node_that_dies_every_part_that_has_landed_is_there() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let data = pattern(4 * PART);
    let writer = begin(&one.mount, "/f", &data.slice(..3 * PART + 20_000)).await;
    kill(one, writer).await;
    assert_eq!(shown(&other.mount, "/f").await, Some(3 * PART - 1));
    let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    assert_eq!(other.calls.calls(Call::PutPart), 1);
    cluster.is_clean(&other).await;
}

#[tokio::test]
async fn a_file_of_less_than_a_part_is_resumed_too() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let data = pattern(30_000);
    within(begin(&one.mount, "/f", &data.slice(..20_000)).await.cut()).await;
    assert_eq!(shown(&other.mount, "/f").await, Some(19_999));
    let writer = go_on(&other.mount, "/f", &data, data.len(), APPEND).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&other).await;
}

#[tokio::test]
async fn fsync_keeps_every_byte_from_the_death_of_the_node() {
    let cluster = Cluster::new();
    for len in [1_000, PART - 1, PART, 2 * PART + 50_000] {
        let (one, other) = (cluster.node().await, cluster.node().await);
        let data = pattern(3 * PART);
        let mut writer = begin(&one.mount, "/f", &data.slice(..500)).await;
        within(writer.sync()).await.unwrap();
        for offset in (500..len).step_by(9_000) {
            write(&mut writer, offset, data.slice(offset..len.min(offset + 9_000))).await.unwrap();
        }
        within(writer.sync()).await.unwrap();
        within(writer.sync()).await.unwrap();
        kill(one, writer).await;
        assert_eq!(shown(&other.mount, "/f").await, Some(len - 1));
        let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
        within(writer.finish()).await.unwrap();
        assert_eq!(other.object("f").await.unwrap(), data);
        within(other.mount.remove(&path("/f"))).await.unwrap();
        cluster.is_clean(&other).await;
    }
}

#[tokio::test]
async fn fsync_does_not_disturb_an_upload() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    let data = pattern(3 * PART + 5);
    let mut writer = open_writer(&node.mount, "/f", create()).await.unwrap();
    for offset in (0..data.len()).step_by(30_000) {
        write(&mut writer, offset, data.slice(offset..data.len().min(offset + 30_000))).await.unwrap();
        within(writer.sync()).await.unwrap();
    }
    within(writer.finish()).await.unwrap();
    assert_eq!(node.object("f").await.unwrap(), data);
    cluster.is_clean(&node).await;
}

#[tokio::test]
async fn fsync_of_a_file_that_is_changed_in_place_publishes_it() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    node.put("f", b"0123456789", &[]).await;
    let mut writer = open_writer(&node.mount, "/f", READ_WRITE).await.unwrap();
    write(&mut writer, 3, Bytes::from_static(b"abc")).await.unwrap();
    within(writer.sync()).await.unwrap();
    assert_eq!(node.object("f").await.unwrap(), "012abc6789");
    write(&mut writer, 0, Bytes::from_static(b"x")).await.unwrap();
    within(writer.finish()).await.unwrap();
    assert_eq!(node.object("f").await.unwrap(), "x12abc6789");
}

#[tokio::test]
async fn whoever_opens_a_file_later_has_it_and_the_one_before_is_refused() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let data = pattern(6 * PART);
    let mut early = begin(&one.mount, "/f", &data.slice(..2 * PART + 1_000)).await;
    landed(&one).await;
    let late = go_on(&other.mount, "/f", &data, 4 * PART, WRITE).await;
    landed(&other).await;

    let more = write_all_from(&mut early, &pattern(6 * PART), 2 * PART + 1_000).await;
    let failure = match more {
        Err(error) => error,
        Ok(()) => within(early.finish()).await.unwrap_err(),
    };
    assert_eq!(failure.kind(), FsErrorKind::Conflict);
    assert!(failure.to_string().contains("another session"), "{failure}");

    let mut late = late;
    write_all_from(&mut late, &data, 4 * PART).await.unwrap();
    within(late.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&other).await;
}

async fn write_all_from(writer: &mut Writer, data: &Bytes, begin: usize) -> Result<(), tidegate_vfs::FsError> {
    for offset in (begin..data.len()).step_by(10_000) {
        write(writer, offset, data.slice(offset..data.len().min(offset + 10_000))).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_early_close_does_not_publish_what_another_session_has() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let data = pattern(3 * PART);
    let early = begin(&one.mount, "/f", &data.slice(..2 * PART + 1_000)).await;
    landed(&one).await;
    let late = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
    assert_eq!(kind(within(early.finish()).await), Some(FsErrorKind::Conflict));
    assert_eq!(other.object("f").await, None);
    within(late.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&other).await;
}

#[tokio::test]
async fn an_upload_is_resumed_at_any_size_that_was_shown_and_nowhere_else() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    let data = pattern(4 * PART);
    within(begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await.cut()).await;
    for offset in [1, PART - 2, PART + 1, 2 * PART + 20_001] {
        let mut writer = open_writer(&one.mount, "/f", WRITE).await.unwrap();
        let refused = write(&mut writer, offset, data.slice(offset..offset + 10)).await;
        assert_eq!(kind(refused), Some(FsErrorKind::Unsupported), "{offset}");
        within(writer.cut()).await;
        assert_eq!(shown(&one.mount, "/f").await, Some(2 * PART + 19_999), "it stays as it was");
    }
    for offset in [2 * PART + 20_000, 2 * PART + 7, 2 * PART, 2 * PART - 1, PART, PART - 1] {
        let mut writer = open_writer(&one.mount, "/f", WRITE).await.unwrap();
        write(&mut writer, offset, data.slice(offset..offset + 10)).await.unwrap();
        assert_eq!(writer.attributes().size as usize, offset + 10);
        within(writer.cut()).await;
        assert_eq!(shown(&one.mount, "/f").await, Some(offset + 9), "{offset}: it ends there now");
    }
    let writer = go_on(&one.mount, "/f", &data, data.len(), WRITE).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(one.object("f").await.unwrap(), data);
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn a_write_at_the_beginning_begins_anew() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    let data = pattern(4 * PART);
    within(begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await.cut()).await;
    let mut writer = open_writer(&one.mount, "/f", WRITE).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"short")).await.unwrap();
    within(writer.finish()).await.unwrap();
    assert_eq!(one.object("f").await.unwrap(), "short");
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn opening_without_a_write_publishes_nothing_and_keeps_what_was_cut() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    within(begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await.cut()).await;
    let mut writer = open_writer(&one.mount, "/f", WRITE).await.unwrap();
    within(writer.set_attributes(size(2 * PART as u64 + 19_999))).await.unwrap();
    within(writer.finish()).await.unwrap();
    assert_eq!((one.object("f").await, shown(&one.mount, "/f").await), (None, Some(2 * PART + 19_999)));
}

#[tokio::test]
async fn trunc_drops_what_was_cut() {
    let cluster = Cluster::new();
    for new in [pattern(1_000), pattern(3 * PART)] {
        let (one, other) = (cluster.node().await, cluster.node().await);
        within(begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await.cut()).await;
        upload(&other.mount, "/f", &new).await.unwrap();
        assert_eq!(shown(&one.mount, "/f").await, Some(new.len()));
        assert_eq!(one.object("f").await.unwrap(), new);
        cluster.is_clean(&one).await;
    }
    // Also without a byte, and in the middle of the other upload.
    let (one, other) = (cluster.node().await, cluster.node().await);
    let early = begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await;
    within(open_writer(&other.mount, "/f", create()).await.unwrap().finish()).await.unwrap();
    assert_eq!(kind(within(early.finish()).await), Some(FsErrorKind::Conflict));
    assert_eq!(one.object("f").await.unwrap(), "");
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn a_file_that_another_tool_stores_takes_the_place_of_what_was_cut() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    within(begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await.cut()).await;
    // As if the upload had been begun long before.
    let mut entry = cluster.entries().await.remove(0);
    entry.record.begun -= 10;
    assert!(cluster.journal.update(&tenant(), entry.generation, &entry).await.unwrap());
    one.put("f", b"stored", &[]).await;
    assert_eq!(shown(&one.mount, "/f").await, Some(6));
    overwrite(&one.mount, "/f", 0, b"S").await;
    assert_eq!(one.object("f").await.unwrap(), "Stored");
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn remove_and_rename_work_on_what_was_cut() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let data = pattern(3 * PART);
    let cut = async |name: &str| within(begin(&one.mount, name, &data.slice(..2 * PART + 20_000)).await.cut()).await;
    cut("/f").await;
    other.mount.remove(&path("/f")).await.unwrap();
    assert_eq!(kind(other.mount.remove(&path("/f")).await), Some(FsErrorKind::NotFound));
    cluster.is_clean(&one).await;

    one.mount.make_directory(&path("/d"), Default::default()).await.unwrap();
    cut("/d/a").await;
    other.mount.rename(&path("/d/a"), &path("/d/b"), Replace::Never).await.unwrap();
    assert_eq!((shown(&one.mount, "/d/a").await, shown(&one.mount, "/d/b").await), (None, Some(2 * PART + 19_999)));
    other.mount.rename(&path("/d"), &path("/e"), Replace::Never).await.unwrap();
    let writer = go_on(&one.mount, "/e/b", &data, data.len(), APPEND).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("e/b").await.unwrap(), data);
    assert_eq!(other.keys().await, ["e/", "e/b"], "nothing is seen where it was begun");
    cluster.is_clean(&one).await;

    other.mount.remove(&path("/e/b")).await.unwrap();
    cut("/e/c").await;
    other.mount.remove_directory(&path("/e")).await.unwrap();
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn a_file_that_is_renamed_onto_what_was_cut_takes_its_place() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    within(begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await.cut()).await;
    upload(&one.mount, "/g", &pattern(100)).await.unwrap();
    one.mount.rename(&path("/g"), &path("/f"), Replace::Existing).await.unwrap();
    assert_eq!(shown(&one.mount, "/f").await, Some(100));
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn what_replaces_a_file_is_resumed_and_the_old_one_stays_until_then() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let data = pattern(3 * PART);
    upload(&one.mount, "/f", &pattern(500)).await.unwrap();
    within(begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await.cut()).await;
    assert_eq!(shown(&other.mount, "/f").await, Some(2 * PART + 19_999));
    assert_eq!(other.object("f").await.unwrap(), pattern(500));
    let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn an_append_is_resumed_behind_the_version_that_it_began_with() {
    let cluster = Cluster::new();
    for (old, cut) in [(3 * PART + 10, 4 * PART), (3 * PART + 10, 3 * PART + 1_000), (1_000, 30_000)] {
        let (one, other) = (cluster.node().await, cluster.node().await);
        let data = pattern(6 * PART);
        upload(&one.mount, "/f", &data.slice(..old)).await.unwrap();
        let mut writer = open_writer(&one.mount, "/f", APPEND).await.unwrap();
        for offset in (old..cut).step_by(10_000) {
            write(&mut writer, offset, data.slice(offset..cut.min(offset + 10_000))).await.unwrap();
        }
        within(writer.cut()).await;
        assert_eq!(other.object("f").await.unwrap(), data.slice(..old), "the old version stays");
        assert_eq!(shown(&other.mount, "/f").await, Some(cut - 1));
        let writer = go_on(&other.mount, "/f", &data, data.len(), APPEND).await;
        within(writer.finish()).await.unwrap();
        assert_eq!(other.object("f").await.unwrap(), data);
        cluster.is_clean(&one).await;
    }
}

#[tokio::test]
async fn a_beginning_that_was_written_again_is_never_lost_in_silence() {
    let cluster = Cluster::new();
    let data = pattern(3 * PART);
    let mut patched = data.to_vec();
    patched[..3].copy_from_slice(b"HDR");
    for is_killed in [true, false] {
        let (one, other) = (cluster.node().await, cluster.node().await);
        let mut writer = begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await;
        write(&mut writer, 0, Bytes::from_static(b"HDR")).await.unwrap();
        if is_killed {
            kill(one, writer).await;
            assert_eq!(shown(&other.mount, "/f").await, None, "only the node had the new beginning");
            let writer = open_writer(&other.mount, "/f", WRITE).await;
            assert_eq!(kind(writer), Some(FsErrorKind::NotFound));
        } else {
            within(writer.cut()).await;
            let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
            within(writer.finish()).await.unwrap();
            assert_eq!(other.object("f").await.unwrap(), patched);
        }
        cluster.is_clean(&other).await;
    }
}

#[tokio::test]
async fn attributes_are_those_that_were_set_last() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let data = pattern(3 * PART);
    let mut writer = begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await;
    within(writer.set_attributes(mode(0o640))).await.unwrap();
    within(writer.cut()).await;
    let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(other.mount.stat(&path("/f")).await.unwrap().mode & 0o777, 0o640);
    assert_eq!(other.object("f").await.unwrap(), data);
}

#[tokio::test]
async fn a_user_who_may_not_write_there_resumes_nothing() {
    use tidegate_store::Permission;
    let cluster = Cluster::new();
    let one = cluster.node().await;
    within(begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await.cut()).await;
    for permission in [Permission::Read, Permission::List, Permission::Overwrite] {
        let mount = one.mount_with(&[permission]).await;
        let refused = mount.open(&path("/f"), WRITE).await;
        assert_eq!(kind(refused.map(drop)), Some(FsErrorKind::PermissionDenied), "{permission:?}");
    }
    assert_eq!(shown(&one.mount, "/f").await, Some(2 * PART + 19_999));
}

#[tokio::test]
async fn the_server_s_own_objects_are_nobody_s_files() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    within(begin(&one.mount, "/f", &pattern(1_000)).await.cut()).await;
    assert!(one.keys().await.iter().any(|key| key.starts_with(".tidegate/")), "{:?}", one.keys().await);
    assert_eq!(names(&one.mount, "/").await, Vec::<String>::new());
    for name in ["/.tidegate", "/.tidegate/tails", "/.tidegate/x"] {
        assert_eq!(kind(one.mount.stat(&path(name)).await), Some(FsErrorKind::PermissionDenied), "{name}");
        let refused = open_writer(&one.mount, name, create()).await;
        assert_eq!(kind(refused.map(drop)), Some(FsErrorKind::PermissionDenied), "{name}");
    }
    one.mount.make_directory(&path("/d"), Default::default()).await.unwrap();
    upload(&one.mount, "/d/.tidegate", &pattern(10)).await.unwrap();
    assert_eq!(names(&one.mount, "/d").await, [".tidegate"], "elsewhere the name is one like others");
}

#[tokio::test]
async fn what_nobody_resumes_in_time_is_removed() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let directory = MemoryDirectory::new();
    directory.create_tenant(&account(&[]).tenant).await.unwrap();
    within(begin(&one.mount, "/old", &pattern(2 * PART + 20_000)).await.cut()).await;
    within(begin(&one.mount, "/new", &pattern(2 * PART + 20_000)).await.cut()).await;
    let mut entry = cluster.journal.read(&tenant(), &key_of("old")).await.unwrap().unwrap();
    entry.record.expires = 1;
    assert!(cluster.journal.update(&tenant(), entry.generation, &entry).await.unwrap());
    assert_eq!(shown(&other.mount, "/old").await, None, "its time is over");

    let interval = Duration::from_secs(60);
    let reaped = one.vfs.reap(&directory, interval).await.unwrap().unwrap();
    assert_eq!((reaped.removed, reaped.failed), (1, 0));
    assert_eq!(other.vfs.reap(&directory, interval).await.unwrap(), None, "one node at a time");
    assert_eq!((one.uploads().await, cluster.entries().await.len()), (1, 1));
    assert_eq!(one.keys().await.len(), 1, "the other's tail");
    assert_eq!(shown(&other.mount, "/new").await, Some(2 * PART + 19_999));
}

/// A journal that can't be reached.
#[derive(Debug)]
struct Unreachable;

fn unreachable<T>() -> StoreResult<T> {
    Err(StoreError::new(StoreErrorKind::Unavailable, "journal"))
}

#[async_trait]
impl Journal for Unreachable {
    async fn read(&self, _: &TenantName, _: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        unreachable()
    }
    async fn replace(&self, _: &TenantName, _: &JournalEntry) -> StoreResult<Option<JournalEntry>> {
        unreachable()
    }
    async fn create(&self, _: &TenantName, _: &JournalEntry) -> StoreResult<bool> {
        unreachable()
    }
    async fn update(&self, _: &TenantName, _: Generation, _: &JournalEntry) -> StoreResult<bool> {
        unreachable()
    }
    async fn remove(&self, _: &TenantName, _: &ObjectKey, _: Generation) -> StoreResult<bool> {
        unreachable()
    }
    async fn list(&self, _: &TenantName, _: &str, _: Option<&ObjectKey>) -> StoreResult<JournalPage> {
        unreachable()
    }
    async fn claim_reaping(&self, _: u64, _: u64) -> StoreResult<bool> {
        unreachable()
    }
}

#[tokio::test]
async fn without_an_answer_of_the_journal_files_are_uploaded_all_the_same() {
    let store = MemoryObjectStore::new().with_part_min(PART as u64);
    let node = env_over(store, Some(Arc::new(Unreachable)), config(), FaultPlan::none()).await;
    for len in [1_000, 3 * PART] {
        let data = pattern(len);
        upload(&node.mount, "/f", &data).await.unwrap();
        assert_eq!(node.object("f").await.unwrap(), data);
        assert_eq!(shown(&node.mount, "/f").await, Some(len));
    }
    assert_eq!(node.metric("tidegate_vfs_uploads_unjournalled_total", ""), 1);
    let refused = node.mount.open(&path("/f"), WRITE).await.map(drop);
    assert_eq!(kind(refused), Some(FsErrorKind::Unavailable), "whether it was cut can't be told");
    let mut writer = begin(&node.mount, "/g", &pattern(3 * PART)).await;
    assert_eq!(kind(within(writer.sync()).await), Some(FsErrorKind::Unavailable));
    write(&mut writer, 3 * PART, Bytes::from_static(b"x")).await.unwrap();
    within(writer.finish()).await.unwrap();
    within(begin(&node.mount, "/h", &pattern(3 * PART)).await.cut()).await;
    assert_eq!(node.uploads().await, 0, "what can't be found again is removed");
    node.mount.remove(&path("/f")).await.unwrap();
}

#[tokio::test]
async fn an_entry_says_whether_somebody_works_on_it() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    let writer = begin(&one.mount, "/f", &pattern(2 * PART)).await;
    landed(&one).await;
    let state = async || cluster.entries().await.first().map(|entry| entry.record.state);
    assert_eq!(state().await, Some(UploadState::Running));
    within(writer.cut()).await;
    assert_eq!(state().await, Some(UploadState::Cut));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever ends the sessions of an upload, and however often: in the end the file is what the client has.
    #[test]
    fn a_file_arrives_whole_through_any_number_of_interruptions(
        len in 1..5 * PART,
        sessions in prop::collection::vec((0..2 * PART, 0..4_u8, any::<bool>()), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::new();
            let data = pattern(len);
            for (more, end, appends) in sessions {
                let node = cluster.node().await;
                let begin = shown(&node.mount, "/f").await.unwrap_or(0);
                let options = if appends { APPEND } else { RESUME };
                let mut writer = go_on(&node.mount, "/f", &data, len.min(begin + more), options).await;
                match end {
                    0 => within(writer.cut()).await,
                    1 => kill(node, writer).await,
                    2 => {
                        within(writer.sync()).await.unwrap();
                        kill(node, writer).await;
                    }
                    _ => {
                        // Another session opens it while this one still works.
                        let rest = len.min(begin + more);
                        let other = cluster.node().await;
                        let late = go_on(&other.mount, "/f", &data, rest, RESUME).await;
                        let _ = write_all_from(&mut writer, &data, rest).await;
                        within(writer.cut()).await;
                        within(late.cut()).await;
                    }
                }
            }
            let node = cluster.node().await;
            let writer = go_on(&node.mount, "/f", &data, len, APPEND).await;
            within(writer.finish()).await.unwrap();
            assert_eq!(node.object("f").await.unwrap(), data);
            cluster.is_clean(&node).await;
        });
    }
}
