//! fsync.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_store::StoreErrorKind;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_vfs::FsErrorKind;

use tidegate_vfs::{Replace, SetAttributes};

use crate::cluster::{Cluster, begin, go_on, kill, shown, write_all_from};
use crate::harness::*;
use crate::scripted::{ScriptedJournal, Trouble};

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
async fn what_fsync_kept_is_there_however_often_it_is_gone_on_with() {
    let cluster = Cluster::new();
    for len in [1_000, PART, PART + 50_000] {
        let node = cluster.node().await;
        let data = pattern(3 * PART);
        let writer = begin(&node.mount, "/f", &data.slice(..len)).await;
        within(writer.sync()).await.unwrap();
        kill(node, writer).await;
        for _ in 0..3 {
            let node = cluster.node().await;
            // Nothing of what it takes reaches the store.
            let writer = go_on(&node.mount, "/f", &data, len + 500, WRITE).await;
            kill(node, writer).await;
            assert_eq!(shown(&cluster.node().await.mount, "/f").await, Some(len - 1));
        }
        let node = cluster.node().await;
        let writer = go_on(&node.mount, "/f", &data, data.len(), WRITE).await;
        within(writer.finish()).await.unwrap();
        assert_eq!(node.object("f").await.unwrap(), data);
        within(node.mount.remove(&path("/f"))).await.unwrap();
        cluster.is_clean(&node).await;
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

/// A file system on sshfs renames what is removed while it is open, and asks at once for the old name.
#[tokio::test]
async fn what_is_renamed_while_it_is_written_shows_under_its_new_name_alone() {
    let cluster = Cluster::new();
    let data = pattern(3 * PART);
    for len in [1_000, 2 * PART + 50_000] {
        let (node, other) = (cluster.node().await, cluster.node().await);
        within(node.mount.make_directory(&path("/d"), SetAttributes::default())).await.unwrap();
        let mut writer = begin(&node.mount, "/d/f", &data.slice(..len)).await;
        within(writer.sync()).await.unwrap();
        let shows = async |name: &str| (shown(&node.mount, name).await.is_some(), shown(&other.mount, name).await);
        within(node.mount.rename(&path("/d/f"), &path("/d/g"), Replace::Never)).await.unwrap();
        assert_eq!((shows("/d/f").await, shows("/d/g").await), ((false, None), (true, Some(len - 1))));
        write_all_from(&mut writer, &data, len).await.unwrap();
        within(node.mount.rename(&path("/d"), &path("/e"), Replace::Never)).await.unwrap();
        let durable = shown(&other.mount, "/e/g").await;
        assert!(durable >= Some(len - 1), "{durable:?}");
        assert_eq!((shows("/d/g").await, shows("/e/g").await), ((false, None), (true, durable)));
        within(writer.finish()).await.unwrap();
        assert_eq!(node.object("e/g").await.unwrap(), data);
        within(node.mount.remove(&path("/e/g"))).await.unwrap();
        within(node.mount.remove_directory(&path("/e"))).await.unwrap();
        cluster.is_clean(&node).await;
    }
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
async fn fsync_behind_a_failure_tells_its_cause() {
    let cluster = Cluster::new();
    let plan = FaultPlan::none().on(Call::PutPart, 2, Fault::Before(StoreErrorKind::Corrupt));
    let journal = Some(Arc::new(cluster.journal.clone()) as _);
    let node = env_over(cluster.store.clone(), journal, config(), plan).await;
    let mut writer = open_writer(&node.mount, "/f", create()).await.unwrap();
    let written = write_all(&mut writer, &pattern(20 * PART), PART).await;
    assert_eq!(kind(written), Some(FsErrorKind::Corrupt));
    for _ in 0..2 {
        assert_eq!(kind(within(writer.sync()).await), Some(FsErrorKind::Corrupt));
    }
    assert_eq!(kind(within(writer.finish()).await), Some(FsErrorKind::Corrupt));
    assert_eq!(node.object("f").await, None);
}

/// What fsync kept and is written again before it fills a part.
#[tokio::test]
async fn an_end_that_was_written_again_is_never_lost_in_silence() {
    let data = pattern(3 * PART);
    let mut patched = data.to_vec();
    patched[600..603].copy_from_slice(b"new");
    for (is_resumed, ends) in [(false, Ends::Killed), (false, Ends::Synced), (true, Ends::Killed), (true, Ends::Cut)] {
        let cluster = Cluster::new();
        let (one, other) = (cluster.node().await, cluster.node().await);
        let mut writer = begin(&one.mount, "/f", &data.slice(..1_000)).await;
        within(writer.sync()).await.unwrap();
        let (node, mut writer) = if is_resumed {
            kill(one, writer).await;
            let node = cluster.node().await;
            let writer = go_on(&node.mount, "/f", &data, 1_200, WRITE).await;
            (node, writer)
        } else {
            write_all_from(&mut writer, &data.slice(..1_200), 1_000).await.unwrap();
            (one, writer)
        };
        assert_eq!(shown(&other.mount, "/f").await, Some(999), "to go on marks nothing");
        write(&mut writer, 600, Bytes::from_static(b"new")).await.unwrap();
        if ends == Ends::Killed {
            kill(node, writer).await;
            assert_eq!(shown(&other.mount, "/f").await, None, "only the node had what is new");
            assert_eq!(kind(open_writer(&other.mount, "/f", WRITE).await), Some(FsErrorKind::NotFound));
        } else {
            if ends == Ends::Synced {
                within(writer.sync()).await.unwrap();
                kill(node, writer).await;
            } else {
                within(writer.cut()).await;
            }
            assert_eq!(shown(&other.mount, "/f").await, Some(1_199));
            let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
            within(writer.finish()).await.unwrap();
            assert_eq!(other.object("f").await.unwrap(), patched);
        }
        cluster.is_clean(&other).await;
    }
}

/// What fsync makes durable is there for who takes the upload over at the same moment, whatever of it was read before.
#[tokio::test]
async fn what_fsync_keeps_while_another_takes_the_upload_over_is_not_lost() {
    let data = pattern(3 * PART);
    for renames in [false, true] {
        let cluster = Cluster::new();
        let journal = ScriptedJournal::new(cluster.journal.clone());
        let (one, other) = (cluster.node().await, cluster.node_with(journal.clone(), config()).await);
        let mut early = begin(&one.mount, "/f", &data.slice(..1_000)).await;
        within(early.sync()).await.unwrap();
        write_all_from(&mut early, &data.slice(..2_500), 1_000).await.unwrap();
        let sync = early.sync();
        journal.behind_read(async { within(sync).await.unwrap() });
        let name = if renames { "/g" } else { "/f" };
        if renames {
            other.mount.rename(&path("/f"), &path("/g"), Replace::Never).await.unwrap();
        } else {
            let late = open_writer(&other.mount, "/f", WRITE).await.unwrap();
            assert_eq!(late.attributes().size, 2_499);
            within(late.cut()).await;
        }
        assert_eq!(kind(within(early.finish()).await), Some(FsErrorKind::Conflict));
        let late = go_on(&other.mount, name, &data, data.len(), WRITE).await;
        within(late.finish()).await.unwrap();
        assert_eq!(other.object(&name[1..]).await.unwrap(), data);
        cluster.is_clean(&other).await;
    }
}

/// The end that an fsync has stored takes the place of the one that STAT has just read of.
#[tokio::test]
async fn a_stat_between_two_fsyncs_shows_what_one_of_them_has_kept() {
    for begins in [0, PART] {
        let cluster = Cluster::new();
        let journal = ScriptedJournal::new(cluster.journal.clone());
        let (one, other) = (cluster.node().await, cluster.node_with(journal.clone(), config()).await);
        let data = pattern(begins + 2_500);
        let mut writer = begin(&one.mount, "/f", &data.slice(..begins + 1_000)).await;
        within(writer.sync()).await.unwrap();
        write_all_from(&mut writer, &data, begins + 1_000).await.unwrap();
        let sync = writer.sync();
        journal.behind_read(async { within(sync).await.unwrap() });
        assert_eq!(shown(&other.mount, "/f").await, Some(begins + 2_499));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Cut,
    Killed,
    Synced,
}

#[tokio::test]
async fn an_end_that_can_t_be_marked_as_written_again_is_refused() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
    let data = pattern(3 * PART);
    let mut writer = begin(&one.mount, "/f", &data.slice(..1_000)).await;
    within(writer.sync()).await.unwrap();
    journal.is_in(Trouble::NoChange);
    let refused = write(&mut writer, 600, Bytes::from_static(b"new")).await;
    assert_eq!(kind(refused), Some(FsErrorKind::Unavailable));
    kill(one, writer).await;
    let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data, "what was acknowledged, and nothing else");
}
