//! The session that opened a file earlier hears at its next request that another has it.

use std::time::Duration;

use bytes::Bytes;
use tidegate_store::Permission;
use tidegate_vfs::{FsErrorKind, Replace, Writer};

use crate::cluster::{Cluster, RESUME, begin, landed};
use crate::harness::*;
use crate::scripted::{ScriptedJournal, Trouble};

/// What is written before the later OPEN: a part, and less than one.
const BEFORE: usize = PART + 1_000;

/// All requests of a writer that has lost its file, of which none is for a part or for CLOSE.
async fn is_refused(mut writer: Writer, how: &str) {
    let refused = write(&mut writer, BEFORE, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(refused.kind(), FsErrorKind::Conflict, "{how}");
    assert!(refused.to_string().contains("another session"), "{how}: {refused}");
    assert_eq!(kind(within(writer.set_attributes(size(3 * PART as u64))).await), Some(FsErrorKind::Conflict), "{how}");
    assert_eq!(kind(within(writer.sync()).await), Some(FsErrorKind::Conflict), "{how}");
    assert_eq!(kind(within(writer.finish()).await), Some(FsErrorKind::Conflict), "{how}");
}

#[tokio::test]
async fn on_one_node_the_next_request_of_the_earlier_fails_at_once() {
    for how in ["resume", "trunc", "remove", "rename", "rename onto"] {
        let cluster = Cluster::new();
        let one = cluster.node().await;
        let other = one.mount_with(&Permission::ALL).await;
        let early = begin(&one.mount, "/f", &pattern(BEFORE)).await;
        landed(&one).await;
        let late = match how {
            "resume" => Some(open_writer(&other, "/f", RESUME).await.unwrap()),
            "trunc" => Some(open_writer(&other, "/f", create()).await.unwrap()),
            "remove" => other.remove(&path("/f")).await.map(|()| None).unwrap(),
            "rename" => other.rename(&path("/f"), &path("/g"), Replace::Never).await.map(|()| None).unwrap(),
            _ => {
                upload(&other, "/g", &pattern(10)).await.unwrap();
                other.rename(&path("/g"), &path("/f"), Replace::Existing).await.map(|()| None).unwrap()
            }
        };
        is_refused(early, how).await;
        assert_eq!(one.metric("tidegate_vfs_uploads_fenced_total", ""), 1, "{how}");
        drop(late);
    }
}

#[tokio::test(start_paused = true)]
async fn on_another_node_the_next_request_fails_once_the_journal_s_latest_word_is_old() {
    for trunc in [false, true] {
        let cluster = Cluster::new();
        let (one, other) = (cluster.node().await, cluster.node().await);
        let early = begin(&one.mount, "/f", &pattern(BEFORE)).await;
        landed(&one).await;
        let options = if trunc { create() } else { RESUME };
        let late = open_writer(&other.mount, "/f", options).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        is_refused(early, "two seconds later").await;
        drop(late);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_asks_once_a_second_at_most_and_one_that_rests_never() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let one = cluster.node_with(journal.clone(), config()).await;
    let data = pattern(BEFORE + 600);
    let mut writer = begin(&one.mount, "/f", &data.slice(..BEFORE)).await;
    landed(&one).await;
    let before = journal.reads();
    for n in BEFORE..BEFORE + 600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        write(&mut writer, n, data.slice(n..n + 1)).await.unwrap();
    }
    // What the last of them asks.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let asked = journal.reads() - before;
    assert!((30..=60).contains(&asked), "{asked} times in a minute");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(journal.reads() - before, asked);
    within(writer.finish()).await.unwrap();
    assert_eq!(one.object("f").await.unwrap(), data);
}

/// Also where it goes on not answering.
#[tokio::test(start_paused = true)]
async fn no_request_waits_long_for_a_journal_that_does_not_answer() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let one = cluster.node_with(journal.clone(), config()).await;
    let data = pattern(BEFORE + 100);
    let mut writer = begin(&one.mount, "/f", &data.slice(..BEFORE)).await;
    landed(&one).await;
    journal.is_in(Trouble::Silent);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = tokio::time::Instant::now();
    for n in BEFORE..BEFORE + 100 {
        write(&mut writer, n, data.slice(n..n + 1)).await.unwrap();
    }
    // By the clock of the test, which moves only where everything waits.
    assert_eq!(begun.elapsed(), Duration::from_millis(250));
    journal.is_in(Trouble::None);
    within(writer.finish()).await.unwrap();
    assert_eq!(one.object("f").await.unwrap(), data);
}
