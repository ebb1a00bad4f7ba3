//! Uploads that other nodes know of before they have a part.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_store::{Journal, Permission, StoreErrorKind};
use tidegate_vfs::{FsErrorKind, OpenOptions, Replace, Writer};

use crate::cluster::{Cluster, RESUME, begin, go_on, kill, shown, tenant, write_all_from};
use crate::harness::*;
use crate::scripted::{ScriptedJournal, Trouble};

/// How much a slow client has sent.
const SENT: usize = 1_000;

/// Until an upload that rests is known to other nodes, and another word of the journal is due.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(2_500)).await;
}

async fn slow(node: &Env, name: &str) -> Writer {
    let writer = begin(&node.mount, name, &pattern(SENT)).await;
    a_while().await;
    writer
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_seen_on_other_nodes_before_it_has_a_part() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let data = pattern(3 * PART);
    let options = OpenOptions { attributes: mode(0o600), ..create() };
    let mut writer = open_writer(&one.mount, "/f", options).await.unwrap();
    a_while().await;
    assert_eq!(cluster.entries().await, [], "there is nothing to tell of yet");
    write(&mut writer, 0, data.slice(..SENT)).await.unwrap();
    a_while().await;
    let attributes = other.mount.stat(&path("/f")).await.unwrap();
    assert_eq!((attributes.size, attributes.mode), (0, 0o100_600));
    assert_eq!(shown(&one.mount, "/f").await, Some(SENT), "to its own session all of it");
    assert_eq!(names(&other.mount, "/").await, Vec::<String>::new(), "a listing does not show it");
    assert_eq!(kind(open_reader(&other.mount, "/f").await), Some(FsErrorKind::NotFound));

    // With parts it is the same upload.
    let entry = cluster.entries().await.remove(0);
    write_all_from(&mut writer, &data, SENT).await.unwrap();
    crate::cluster::landed(&one).await;
    let entries = cluster.entries().await;
    assert_eq!((entries.len(), entries[0].generation), (1, entry.generation));
    assert_eq!(shown(&other.mount, "/f").await, Some(3 * PART - 1));
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&one).await;

    // What is published goes on being shown while it is replaced.
    let writer = slow(&one, "/f").await;
    assert_eq!(cluster.entries().await.len(), 1);
    assert_eq!(shown(&other.mount, "/f").await, Some(3 * PART));
    within(writer.finish()).await.unwrap();
    assert_eq!(shown(&other.mount, "/f").await, Some(SENT));
    cluster.is_clean(&one).await;
}

#[tokio::test(start_paused = true)]
async fn a_small_file_that_is_closed_at_once_is_not_told_of() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let one = cluster.node_with(journal.clone(), config()).await;
    for n in 0..20 {
        upload(&one.mount, &format!("/{n}"), &pattern(SENT)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!((journal.reads(), journal.changes()), (20, 0), "one look at each OPEN");
}

#[tokio::test(start_paused = true)]
async fn of_two_slow_uploads_the_later_has_the_file() {
    for options in [create(), RESUME, WRITE] {
        for closes in [false, true] {
            let cluster = Cluster::new();
            let (one, other) = (cluster.node().await, cluster.node().await);
            let mut early = slow(&one, "/f").await;
            let mut late = open_writer(&other.mount, "/f", options).await.unwrap();
            assert_eq!(late.attributes().size, 0);
            write(&mut late, 0, Bytes::from_static(b"late")).await.unwrap();
            // What is dropped in the background is gone then.
            a_while().await;
            if !closes {
                let refused = write(&mut early, SENT, Bytes::from_static(b"x")).await;
                assert_eq!(kind(refused), Some(FsErrorKind::Conflict), "{options:?}");
            }
            assert_eq!(kind(within(early.finish()).await), Some(FsErrorKind::Conflict), "{options:?}");
            within(late.finish()).await.unwrap();
            assert_eq!(other.object("f").await.unwrap(), "late", "{options:?}");
            cluster.is_clean(&one).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_without_a_part_is_removed_by_any_session_that_sees_it() {
    for elsewhere in [false, true] {
        let cluster = Cluster::new();
        let (one, other) = (cluster.node().await, cluster.node().await);
        let mut writer = begin(&one.mount, "/f", &pattern(SENT)).await;
        let session = if elsewhere {
            a_while().await;
            other.mount_with(&Permission::ALL).await
        } else {
            one.mount_with(&Permission::ALL).await
        };
        assert_eq!(shown(&session, "/f").await, Some(0));
        session.remove(&path("/f")).await.unwrap();
        assert_eq!(shown(&session, "/f").await, None);
        assert_eq!(kind(session.remove(&path("/f")).await), Some(FsErrorKind::NotFound));
        a_while().await;
        assert_eq!(shown(&session, "/f").await, None);
        let refused = write(&mut writer, SENT, Bytes::from_static(b"x")).await;
        assert_eq!(kind(refused), Some(FsErrorKind::Conflict));
        assert_eq!(kind(within(writer.finish()).await), Some(FsErrorKind::Conflict));
        assert_eq!(one.object("f").await, None);
        cluster.is_clean(&one).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_without_a_part_is_renamed() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    // By its own session, which goes on with it.
    let writer = slow(&one, "/f").await;
    one.mount.rename(&path("/f"), &path("/g"), Replace::Never).await.unwrap();
    assert_eq!((shown(&other.mount, "/f").await, shown(&other.mount, "/g").await), (None, Some(0)));
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("g").await.unwrap(), pattern(SENT));
    cluster.is_clean(&one).await;
    // By another, which has it then.
    let writer = slow(&one, "/h").await;
    other.mount.rename(&path("/h"), &path("/i"), Replace::Never).await.unwrap();
    assert_eq!((shown(&other.mount, "/h").await, shown(&one.mount, "/i").await), (None, Some(0)));
    assert_eq!(kind(within(writer.finish()).await), Some(FsErrorKind::Conflict));
    let late = go_on(&other.mount, "/i", &pattern(SENT), SENT, WRITE).await;
    within(late.finish()).await.unwrap();
    assert_eq!(one.keys().await, ["g", "i"]);
    cluster.is_clean(&one).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_slow_upload_whose_node_dies_a_file_without_a_byte_is_left_that_is_begun_anew() {
    let cluster = Cluster::new();
    for removes in [false, true] {
        let (one, other) = (cluster.node().await, cluster.node().await);
        let writer = slow(&one, "/f").await;
        kill(one, writer).await;
        assert_eq!(shown(&other.mount, "/f").await, Some(0));
        if removes {
            let entry = cluster.entries().await.remove(0);
            let journal = Arc::new(cluster.journal.clone());
            let tenant = account(&[]).tenant;
            assert!(tidegate_vfs::abort_upload(&other.calls, journal, &tenant, &entry).await.unwrap());
            assert_eq!(shown(&other.mount, "/f").await, None);
        } else {
            let writer = go_on(&other.mount, "/f", &pattern(SENT), SENT, WRITE).await;
            within(writer.finish()).await.unwrap();
            assert_eq!(other.object("f").await.unwrap(), pattern(SENT));
            other.mount.remove(&path("/f")).await.unwrap();
        }
        cluster.is_clean(&other).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_slow_upload_however_it_ends() {
    let cluster = Cluster::new();
    let refused = FaultPlan::none().on(Call::Put, 1, Fault::Before(StoreErrorKind::AccessDenied));
    let journal = Some(Arc::new(cluster.journal.clone()) as Arc<dyn Journal>);
    let failing = env_over(cluster.store.clone(), journal, config(), refused).await;
    let one = cluster.node().await;
    slow(&one, "/abandoned").await.abandon().await;
    drop(slow(&one, "/dropped").await);
    assert!(within(slow(&failing, "/failed").await.finish()).await.is_err());
    // Before what it has there is a hole.
    let mut holed = open_writer(&one.mount, "/holed", create()).await.unwrap();
    write(&mut holed, 500, pattern(SENT)).await.unwrap();
    a_while().await;
    within(holed.cut()).await;
    cluster.is_clean(&one).await;

    // What is cut is there to go on with.
    within(slow(&one, "/cut").await.cut()).await;
    assert_eq!(shown(&failing.mount, "/cut").await, Some(SENT - 1));
    let writer = go_on(&failing.mount, "/cut", &pattern(SENT), SENT, WRITE).await;
    within(writer.finish()).await.unwrap();
    cluster.is_clean(&one).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_goes_on_where_the_journal_does_not_answer() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
    let data = pattern(3 * PART);
    // It is told of once the journal answers.
    journal.is_in(Trouble::Away);
    let mut writer = slow(&one, "/f").await;
    journal.is_in(Trouble::None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(shown(&other.mount, "/f").await, Some(0));
    // Its parts can't be noted, and it is published all the same.
    journal.is_in(Trouble::NoChange);
    write_all_from(&mut writer, &data, SENT).await.unwrap();
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    assert_eq!(one.metric("tidegate_vfs_uploads_unjournalled_total", ""), 1);
    journal.is_in(Trouble::None);
    within(one.vfs.settle_journal()).await;
    cluster.is_clean(&one).await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_told_of_takes_the_place_of_no_other() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let early = begin(&one.mount, "/f", &pattern(SENT)).await;
    let late = begin(&other.mount, "/f", &pattern(2 * PART)).await;
    crate::cluster::landed(&other).await;
    let entry = cluster.entries().await.remove(0);
    a_while().await;
    assert_eq!(cluster.journal.read(&tenant(), &entry.key).await.unwrap(), Some(entry));
    drop((early, late));
}
