//! What a node could not tell the journal, and tells it later.

use tidegate_store::{ObjectStore, StoreErrorKind};
use tidegate_vfs::FsErrorKind;

use crate::cluster::{APPEND, Cluster, RESUME, begin, go_on, kill, landed, shown, write_all_from};
use crate::harness::*;
use crate::scripted::{ScriptedJournal, Trouble};

/// How much of an earlier upload is there.
const EARLIER: usize = 2 * PART + 20_000;

/// A cluster where an upload of `/f` was cut a while ago.
async fn with_earlier(other: &Env) {
    within(begin(&other.mount, "/f", &pattern(EARLIER)).await.cut()).await;
    other.store.shift_clock(2);
}

/// A content that has nothing in common with that.
fn later(len: usize) -> bytes::Bytes {
    pattern(len).iter().map(|byte| !byte).collect::<Vec<u8>>().into()
}

fn owed(node: &Env) -> i64 {
    node.metric("tidegate_vfs_journal_drops_owed", "")
}

async fn owes(node: &Env, something: bool) {
    within(async {
        while (owed(node) > 0) != something {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_to_be_dropped_while_the_journal_was_away_is_not_gone_on_with() {
    for on_other in [false, true] {
        let cluster = Cluster::new();
        let journal = ScriptedJournal::new(cluster.journal.clone());
        let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
        with_earlier(&other).await;
        let data = later(3 * PART);
        journal.is_in(Trouble::Away);
        let writer = begin(&one.mount, "/f", &data.slice(..1_000)).await;
        owes(&one, true).await;
        journal.is_in(Trouble::None);
        within(writer.cut()).await;
        for node in [&one, &other] {
            assert_eq!(shown(&node.mount, "/f").await, Some(999), "the later of them");
        }
        let node = if on_other { &other } else { &one };
        let writer = go_on(&node.mount, "/f", &data, data.len(), APPEND).await;
        within(writer.finish()).await.unwrap();
        assert_eq!(node.object("f").await.unwrap(), data);
        within(one.vfs.settle_journal()).await;
        assert_eq!((owed(&one), one.metric("tidegate_vfs_journal_drops_given_up_total", "")), (0, 0));
        cluster.is_clean(&one).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_to_be_dropped_while_the_journal_was_away_is_dropped_once_it_answers() {
    for waits in [true, false] {
        let cluster = Cluster::new();
        let journal = ScriptedJournal::new(cluster.journal.clone());
        let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
        with_earlier(&other).await;
        journal.is_in(Trouble::Away);
        let writer = begin(&one.mount, "/f", &later(1_000)).await;
        owes(&one, true).await;
        within(writer.cut()).await;
        assert_eq!(shown(&other.mount, "/f").await, Some(EARLIER - 1), "no other node can know");
        journal.is_in(Trouble::None);
        if waits {
            owes(&one, false).await;
        } else {
            within(one.vfs.settle_journal()).await;
        }
        assert_eq!((shown(&one.mount, "/f").await, shown(&other.mount, "/f").await), (None, None));
        assert_eq!(kind(open_writer(&other.mount, "/f", WRITE).await), Some(FsErrorKind::NotFound));
        assert_eq!(one.uploads().await, 0);
        assert_eq!(one.metric("tidegate_vfs_interrupted_uploads_dropped_total", ""), 1);
    }
}

#[tokio::test]
async fn what_a_node_is_yet_to_drop_is_not_there_for_its_sessions() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
    // In the same second: it is known by what was read of it.
    within(begin(&other.mount, "/f", &pattern(EARLIER)).await.cut()).await;
    journal.is_in(Trouble::NoRemoval);
    let writer = begin(&one.mount, "/f", &later(1_000)).await;
    owes(&one, true).await;
    writer.abandon().await;
    assert_eq!((shown(&one.mount, "/f").await, shown(&other.mount, "/f").await), (None, Some(EARLIER - 1)));
    assert_eq!(kind(open_writer(&one.mount, "/f", WRITE).await), Some(FsErrorKind::NotFound));
    let renamed = one.mount.rename(&path("/f"), &path("/g"), tidegate_vfs::Replace::Never).await;
    assert_eq!(kind(renamed), Some(FsErrorKind::NotFound));
    // Without TRUNC it is a new file.
    let mut writer = open_writer(&one.mount, "/f", RESUME).await.unwrap();
    write(&mut writer, 0, later(500)).await.unwrap();
    journal.is_in(Trouble::None);
    within(writer.sync()).await.unwrap();
    assert_eq!(shown(&other.mount, "/f").await, Some(499));
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), later(500));
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn what_is_begun_behind_what_is_to_go_stays() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
    with_earlier(&other).await;
    let data = later(4 * PART);
    journal.is_in(Trouble::Away);
    let mut writer = begin(&one.mount, "/f", &data.slice(..1_000)).await;
    owes(&one, true).await;
    journal.is_in(Trouble::None);
    // As a server of the store tells the time whose clock is behind.
    cluster.store.shift_clock(-10);
    within(writer.sync()).await.unwrap();
    write_all_from(&mut writer, &data.slice(..2 * PART + 5), 1_000).await.unwrap();
    landed(&one).await;
    within(one.vfs.settle_journal()).await;
    within(writer.cut()).await;
    assert_eq!(shown(&other.mount, "/f").await, Some(2 * PART + 4));
    let writer = go_on(&other.mount, "/f", &data, data.len(), APPEND).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&one).await;
}

/// A file of one part that was made durable by fsync has its end in the journal until its CLOSE.
#[tokio::test]
async fn of_a_file_that_was_published_nothing_is_gone_on_with_though_its_entry_stays() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
    let data = pattern(1_000);
    let writer = begin(&one.mount, "/f", &data).await;
    within(writer.sync()).await.unwrap();
    journal.is_in(Trouble::NoRemoval);
    within(writer.finish()).await.unwrap();
    assert_eq!(one.object("f").await.unwrap(), data);
    let is_whole = Some(1_000);
    assert_eq!((shown(&one.mount, "/f").await, shown(&other.mount, "/f").await), (is_whole, is_whole));
    assert_eq!(one.keys().await, ["f"], "the store has no end of it any more");
    // By whom it is removed, and whether that is told to the journal, is the same.
    other.store.delete(&key_of("f")).await.unwrap();
    assert_eq!(cluster.entries().await.len(), 1);
    assert_eq!((shown(&one.mount, "/f").await, shown(&other.mount, "/f").await), (None, None));
    let mut writer = open_writer(&other.mount, "/f", RESUME).await.unwrap();
    assert_eq!(writer.attributes().size, 0);
    write(&mut writer, 0, later(500)).await.unwrap();
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), later(500));
    journal.is_in(Trouble::None);
    within(one.vfs.settle_journal()).await;
    cluster.is_clean(&one).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_while_the_journal_is_away_is_not_shown_later() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
    upload(&other.mount, "/f", &pattern(10)).await.unwrap();
    with_earlier(&other).await;
    journal.is_in(Trouble::Away);
    one.mount.remove(&path("/f")).await.unwrap();
    assert_eq!(owed(&one), 1);
    journal.is_in(Trouble::None);
    within(one.vfs.settle_journal()).await;
    assert_eq!(shown(&other.mount, "/f").await, None);
    cluster.is_clean(&one).await;
}

/// An end that is gone leaves what the parts give.
#[tokio::test]
async fn without_its_end_an_upload_is_gone_on_with_behind_its_parts() {
    let cluster = Cluster::new();
    let one = cluster.node().await;
    let data = pattern(4 * PART);
    within(begin(&one.mount, "/f", &data.slice(..EARLIER)).await.cut()).await;
    assert_eq!(shown(&one.mount, "/f").await, Some(EARLIER - 1));
    let tail = cluster.entries().await.remove(0).record.tail.unwrap();
    one.store.delete(&tail.key).await.unwrap();
    assert_eq!(one.store.head(&tail.key).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(shown(&one.mount, "/f").await, Some(2 * PART - 1));
    let mut writer = open_writer(&one.mount, "/f", WRITE).await.unwrap();
    let refused = write(&mut writer, EARLIER - 1, data.slice(EARLIER - 1..EARLIER)).await;
    assert_eq!(kind(refused), Some(FsErrorKind::Unsupported), "a hole would be left before that");
    within(writer.cut()).await;
    let writer = go_on(&one.mount, "/f", &data, data.len(), WRITE).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(one.object("f").await.unwrap(), data);
    cluster.is_clean(&one).await;
}

/// What fsync kept of a file that is emptied then is not what others go on with.
#[tokio::test]
async fn an_upload_that_is_emptied_takes_the_place_of_what_fsync_kept_of_it() {
    for is_killed in [false, true] {
        let cluster = Cluster::new();
        let (one, other) = (cluster.node().await, cluster.node().await);
        let data = later(3 * PART);
        let mut writer = begin(&one.mount, "/f", &pattern(1_000)).await;
        within(writer.sync()).await.unwrap();
        within(writer.set_attributes(size(0))).await.unwrap();
        write(&mut writer, 0, data.slice(..500)).await.unwrap();
        if is_killed {
            within(async {
                while !cluster.entries().await.is_empty() {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            })
            .await;
            kill(one, writer).await;
            assert_eq!(shown(&other.mount, "/f").await, None);
        } else {
            within(writer.cut()).await;
            assert_eq!(shown(&other.mount, "/f").await, Some(499));
            let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
            within(writer.finish()).await.unwrap();
            assert_eq!(other.object("f").await.unwrap(), data);
        }
        cluster.is_clean(&other).await;
    }
}

#[tokio::test]
async fn an_upload_that_is_renamed_to_where_another_is_to_go_stays() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
    let data = later(3 * PART);
    let mut writer = begin(&one.mount, "/g", &data.slice(..1_000)).await;
    within(writer.sync()).await.unwrap();
    with_earlier(&other).await;
    journal.is_in(Trouble::Away);
    one.mount.rename(&path("/g"), &path("/f"), tidegate_vfs::Replace::Existing).await.unwrap();
    assert_eq!(owed(&one), 1);
    journal.is_in(Trouble::None);
    write_all_from(&mut writer, &data.slice(..1_500), 1_000).await.unwrap();
    within(writer.sync()).await.unwrap();
    within(one.vfs.settle_journal()).await;
    within(writer.cut()).await;
    assert_eq!(shown(&other.mount, "/f").await, Some(1_499));
    let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&one).await;
}
