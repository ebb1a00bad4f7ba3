//! Going on, wherever an upload was cut.

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_store::faulty::Call;
use tidegate_vfs::{FsErrorKind, OpenOptions};

use crate::cluster::{APPEND, Cluster, RESUME, begin, go_on, kill, landed, shown, write_all_from};
use crate::harness::*;
use crate::scripted::{ScriptedJournal, Trouble};

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
        assert_eq!(one.metric("tidegate_vfs_uploads_cut_total", ""), 1);
        assert_eq!(other.metric("tidegate_vfs_uploads_resumed_total", ""), 1);
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
async fn a_beginning_that_can_t_be_marked_as_written_again_is_refused() {
    for (trouble, expected) in
        [(Trouble::NoChange, FsErrorKind::Unavailable), (Trouble::Refused, FsErrorKind::Conflict)]
    {
        let cluster = Cluster::new();
        let journal = ScriptedJournal::new(cluster.journal.clone());
        let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
        let data = pattern(3 * PART);
        let mut writer = begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await;
        landed(&one).await;
        journal.is_in(trouble);
        let refused = write(&mut writer, 0, Bytes::from_static(b"HDR")).await;
        assert_eq!(kind(refused), Some(expected));
        let later = write(&mut writer, 2 * PART + 20_000, Bytes::from_static(b"more")).await;
        assert_eq!(kind(later), Some(expected), "it stays refused");
        kill(one, writer).await;
        let writer = go_on(&other.mount, "/f", &data, data.len(), WRITE).await;
        within(writer.finish()).await.unwrap();
        assert_eq!(other.object("f").await.unwrap(), data, "what was acknowledged, and nothing else");
    }
}

/// What is open for reading too may be changed anywhere, on scratch: nobody may go on with what was sent before.
#[tokio::test]
async fn what_is_changed_in_place_after_it_was_sent_is_not_resumed_without_the_change() {
    let options = OpenOptions { read: true, ..create() };
    for is_marked in [true, false] {
        let cluster = Cluster::new();
        let journal = ScriptedJournal::new(cluster.journal.clone());
        let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
        let data = pattern(2 * PART + 20_000);
        let mut writer = open_writer(&one.mount, "/f", options).await.unwrap();
        write_all(&mut writer, &data, 10_000).await.unwrap();
        landed(&one).await;
        if !is_marked {
            journal.is_in(Trouble::NoChange);
        }
        let written = within(write(&mut writer, PART + 5, Bytes::from_static(b"new"))).await;
        assert_eq!(kind(written), (!is_marked).then_some(FsErrorKind::Unavailable));
        kill(one, writer).await;
        let left = shown(&other.mount, "/f").await;
        assert_eq!(left, if is_marked { None } else { Some(2 * PART - 1) });
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
