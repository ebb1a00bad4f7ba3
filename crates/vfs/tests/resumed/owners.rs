//! One session has an upload, and the one before is refused.

use tidegate_store::{Permission, UploadState};
use tidegate_vfs::FsErrorKind;

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
