//! What takes the place of an upload that was cut, and where no journal answers.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_store::Journal;
use tidegate_store::faulty::FaultPlan;
use tidegate_store::memory::MemoryObjectStore;
use tidegate_vfs::{FsErrorKind, Replace};

use crate::cluster::{APPEND, Cluster, begin, go_on, landed, shown, tenant, write_all_from};
use crate::harness::*;
use crate::scripted::ScriptedJournal;

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
        assert_eq!(other.metric("tidegate_vfs_interrupted_uploads_dropped_total", ""), 1);
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
async fn what_was_cut_takes_the_place_of_another_that_was() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    let data = pattern(3 * PART);
    within(begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await.cut()).await;
    within(begin(&one.mount, "/g", &pattern(PART + 5)).await.cut()).await;
    one.mount.rename(&path("/f"), &path("/g"), Replace::Existing).await.unwrap();
    assert_eq!((shown(&one.mount, "/f").await, shown(&one.mount, "/g").await), (None, Some(2 * PART + 19_999)));
    assert_eq!((one.uploads().await, one.keys().await.len()), (1, 1), "of the other neither parts nor tail are left");
    assert_eq!(one.metric("tidegate_vfs_interrupted_uploads_dropped_total", ""), 1);
    let writer = go_on(&one.mount, "/g", &data, data.len(), APPEND).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(one.object("g").await.unwrap(), data);
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn an_upload_that_an_operator_aborts_fails_for_who_works_on_it() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    let mut writer = begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await;
    landed(&one).await;
    let entry = cluster.entries().await.remove(0);
    let abort = async || {
        let journal = Arc::new(cluster.journal.clone());
        tidegate_vfs::abort_upload(&one.calls, journal, &account(&[]).tenant, &entry).await.unwrap()
    };
    assert!(abort().await);
    assert!(!abort().await, "it is gone");
    assert_eq!(one.uploads().await, 0);
    let failure = match write_all_from(&mut writer, &pattern(5 * PART), 2 * PART + 20_000).await {
        Err(error) => error,
        Ok(()) => within(writer.finish()).await.unwrap_err(),
    };
    assert_eq!(failure.kind(), FsErrorKind::Conflict);
    assert_eq!(one.object("f").await, None);
    cluster.is_clean(&one).await;
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
async fn without_an_answer_of_the_journal_files_are_uploaded_all_the_same() {
    let store = MemoryObjectStore::new().with_part_min(PART as u64);
    let node = env_over(store, Some(Arc::new(ScriptedJournal::unreachable())), config(), FaultPlan::none()).await;
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
