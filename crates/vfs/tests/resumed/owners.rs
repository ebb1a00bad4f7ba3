//! One session has an upload, and the one before is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_store::faulty::{FaultPlan, Rates};
use tidegate_store::{Permission, UploadState};
use tidegate_vfs::{FsErrorKind, Mount, OpenOptions, Replace};

use crate::cluster::{Cluster, begin, go_on, landed, shown, write_all_from};
use crate::harness::*;
use crate::scripted::{ScriptedJournal, Trouble};

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
    assert!(one.metric("tidegate_vfs_uploads_fenced_total", "") >= 1);

    let mut late = late;
    write_all_from(&mut late, &data, 4 * PART).await.unwrap();
    within(late.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&other).await;
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
async fn an_early_close_at_a_node_that_the_journal_can_t_be_reached_from_does_not_publish_either() {
    // With a last part of its own, and without.
    for end in [2 * PART + 1_000, 2 * PART] {
        let cluster = Cluster::new();
        let journal = ScriptedJournal::new(cluster.journal.clone());
        let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
        let data = pattern(5 * PART);
        let early = begin(&one.mount, "/f", &data.slice(..end)).await;
        landed(&one).await;
        journal.is_in(Trouble::Away);
        let mut late = go_on(&other.mount, "/f", &data, 4 * PART + 5, WRITE).await;
        landed(&other).await;
        assert_eq!(kind(within(early.finish()).await), Some(FsErrorKind::Conflict));
        assert_eq!(one.metric("tidegate_vfs_uploads_fenced_total", ""), 1);
        assert_eq!(other.object("f").await, None);
        write_all_from(&mut late, &data, 4 * PART + 5).await.unwrap();
        within(late.finish()).await.unwrap();
        assert_eq!(other.object("f").await.unwrap(), data);
        cluster.is_clean(&other).await;
    }
}

#[tokio::test]
async fn where_nobody_can_tell_who_has_an_upload_one_is_published_and_the_other_fails() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let (one, other) = (cluster.node_with(journal.clone(), config()).await, cluster.node().await);
    let data = pattern(5 * PART);
    let early = begin(&one.mount, "/f", &data.slice(..2 * PART + 1_000)).await;
    landed(&one).await;
    journal.is_in(Trouble::Away);
    // It has sent nothing yet that the store could tell of.
    let mut late = go_on(&other.mount, "/f", &data, 2 * PART + 10_000, WRITE).await;
    within(early.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data.slice(..2 * PART + 1_000));
    let failed = match write_all_from(&mut late, &data, 2 * PART + 10_000).await {
        Err(error) => error,
        Ok(()) => within(late.finish()).await.unwrap_err(),
    };
    assert_eq!(failed.kind(), FsErrorKind::Conflict);
    assert_eq!(other.object("f").await.unwrap(), data.slice(..2 * PART + 1_000), "and it stays whole");
}

#[tokio::test]
async fn what_runs_when_the_journal_fails_is_published() {
    for len in [3 * PART, 3 * PART + 1_000] {
        let cluster = Cluster::new();
        let journal = ScriptedJournal::new(cluster.journal.clone());
        let one = cluster.node_with(journal.clone(), config()).await;
        let data = pattern(len);
        let mut writer = begin(&one.mount, "/f", &data.slice(..PART + 20_000)).await;
        landed(&one).await;
        journal.is_in(Trouble::Away);
        write_all_from(&mut writer, &data, PART + 20_000).await.unwrap();
        within(writer.finish()).await.unwrap();
        assert_eq!(one.object("f").await.unwrap(), data);
        assert_eq!(one.uploads().await, 0);
    }
}

#[tokio::test]
async fn a_user_who_may_not_write_there_resumes_nothing() {
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

#[tokio::test(start_paused = true)]
async fn of_exclusive_creations_on_two_nodes_one_wins() {
    let exclusive = OpenOptions { exclusive: true, ..create() };
    let race = async |mount: &Mount, data: &Bytes| {
        let mut writer = open_writer(mount, "/f", exclusive).await?;
        let written = write_all(&mut writer, data, 30_000).await;
        let published = writer.finish().await?;
        written.map(|()| published.size)
    };
    // By one PUT each, by parts each, and one of both.
    let sizes = [(1_000, 2_000), (3 * PART, 4 * PART + 5), (1_000, 3 * PART)];
    for (round, (one, other)) in (0..10).flat_map(|round| sizes.map(|sizes| (round, sizes))) {
        let cluster = Cluster::new();
        let node = async |seed: u64| {
            let rates = Rates { delay: 0.6, delay_max: Duration::from_millis(20), ..Rates::default() };
            let journal = Some(Arc::new(cluster.journal.clone()) as _);
            env_over(cluster.store.clone(), journal, config(), FaultPlan::seeded(seed, rates)).await
        };
        let nodes = [node(2 * round + 1).await, node(2 * round + 2).await];
        let data = [pattern(one), pattern(other)];
        let ended = tokio::join!(race(&nodes[0].mount, &data[0]), race(&nodes[1].mount, &data[1]));
        let winner = match &ended {
            (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => {
                let lost = lost.kind();
                assert!(matches!(lost, FsErrorKind::AlreadyExists | FsErrorKind::Conflict), "{ended:?}");
                usize::from(ended.0.is_err())
            }
            _ => panic!("not exactly one winner in round {round} of {one} and {other} bytes: {ended:?}"),
        };
        assert!(nodes[0].object("f").await.unwrap() == data[winner], "round {round} of {one} and {other} bytes");
        cluster.is_clean(&nodes[0]).await;
    }
}

#[tokio::test]
async fn an_upload_is_seen_by_other_sessions_with_what_is_durable_of_it() {
    let cluster = Cluster::new();
    let (one, elsewhere) = (cluster.node().await, cluster.node().await);
    let other = one.mount_with(&Permission::ALL).await;
    let uploader = one.mount_with(&[Permission::Write]).await;
    let data = pattern(2 * PART + 1_000);
    let mut writer = open_writer(&uploader, "/f", OpenOptions { attributes: mode(0o600), ..create() }).await.unwrap();
    write(&mut writer, 0, data.slice(..1_000)).await.unwrap();
    assert_eq!(shown(&uploader, "/f").await, Some(1_000), "to its own session all of it");
    let attributes = other.stat(&path("/f")).await.unwrap();
    assert_eq!((attributes.size, attributes.mode), (0, 0o100_600));
    assert_eq!(other.lstat(&path("/f")).await.unwrap(), attributes);
    assert_eq!(shown(&elsewhere.mount, "/f").await, None, "no other node knows of it yet");
    for offset in (1_000..data.len()).step_by(1_000) {
        write(&mut writer, offset, data.slice(offset..data.len().min(offset + 1_000))).await.unwrap();
    }
    landed(&one).await;
    for mount in [&other, &elsewhere.mount] {
        assert_eq!(shown(mount, "/f").await, Some(2 * PART - 1));
        assert_eq!(names(mount, "/").await, Vec::<String>::new(), "a listing does not show it");
        assert_eq!(kind(open_reader(mount, "/f").await), Some(FsErrorKind::NotFound));
    }
    within(writer.finish()).await.unwrap();
    assert_eq!(shown(&other, "/f").await, Some(data.len()));

    // What is given up, renamed or removed is not there any more.
    let begun = async |name| open_writer(&one.mount, name, create()).await.unwrap();
    begun("/g").await.abandon().await;
    assert_eq!(shown(&other, "/g").await, None);
    let renamed = begun("/g").await;
    one.mount.rename(&path("/g"), &path("/h"), Replace::Never).await.unwrap();
    assert_eq!((shown(&other, "/g").await, shown(&other, "/h").await), (None, Some(0)));
    within(renamed.finish()).await.unwrap();
    let replaced = open_writer(&one.mount, "/h", create()).await.unwrap();
    one.mount.remove(&path("/h")).await.unwrap();
    assert_eq!((shown(&other, "/h").await, shown(&one.mount, "/h").await), (None, None));
    drop(replaced);
}
