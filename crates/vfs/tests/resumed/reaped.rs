//! What is removed when its time is over, and what is not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_store::memory::MemoryDirectory;
use tidegate_store::{Directory, Journal, JournalEntry, StoreErrorKind};
use tidegate_vfs::{Config, Reaped};
use tokio::sync::{Barrier, oneshot};

use crate::cluster::{APPEND, Cluster, begin, go_on, landed, shown, tenant, write_all_from};
use crate::harness::*;
use crate::scripted::{ScriptedJournal, Trouble};

const INTERVAL: Duration = Duration::from_secs(60);
const DAY: i64 = 24 * 3600;

async fn directory() -> MemoryDirectory {
    let directory = MemoryDirectory::new();
    directory.create_tenant(&account(&[]).tenant).await.unwrap();
    directory
}

async fn reap(node: &Env) -> Reaped {
    within(node.vfs.reap(&directory().await, INTERVAL)).await.unwrap().unwrap()
}

/// As if its time were over.
async fn expire(cluster: &Cluster, name: &str) -> JournalEntry {
    let mut entry = cluster.journal.read(&tenant(), &key_of(name)).await.unwrap().unwrap();
    entry.record.expires = 1;
    assert!(cluster.journal.update(&tenant(), entry.generation, &entry).await.unwrap());
    entry
}

#[tokio::test]
async fn what_nobody_resumes_in_time_is_removed() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    within(begin(&one.mount, "/old", &pattern(2 * PART + 20_000)).await.cut()).await;
    within(begin(&one.mount, "/new", &pattern(2 * PART + 20_000)).await.cut()).await;
    expire(&cluster, "old").await;
    assert_eq!(shown(&other.mount, "/old").await, None, "its time is over");

    assert_eq!(reap(&one).await, Reaped { removed: 1, waiting: 1, ..Reaped::default() });
    let second = other.vfs.reap(&directory().await, INTERVAL).await.unwrap();
    assert_eq!(second, None, "one node at a time");
    assert_eq!((one.uploads().await, cluster.entries().await.len()), (1, 1));
    assert_eq!(one.keys().await.len(), 1, "the other's tail");
    assert_eq!(shown(&other.mount, "/new").await, Some(2 * PART + 19_999));
    let metric = |name| one.metric(name, "");
    assert_eq!(metric("tidegate_vfs_uploads_expired_total"), 1);
    assert_eq!(metric("tidegate_vfs_interrupted_uploads"), 1, "it is the one that waits");
    assert_eq!(one.vfs.reap(&directory().await, INTERVAL).await.unwrap(), None);
    assert_eq!(metric("tidegate_vfs_interrupted_uploads"), 0, "another may have counted since");
}

#[tokio::test]
async fn an_upload_that_is_gone_on_with_while_a_reaper_looks_is_not_removed() {
    let cluster = Cluster::new();
    let other = cluster.node().await;
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let one = cluster.node_with(journal.clone(), config()).await;
    let data = pattern(5 * PART);
    within(begin(&one.mount, "/f", &data.slice(..2 * PART + 20_000)).await.cut()).await;
    let begin = shown(&other.mount, "/f").await.unwrap();
    let writer = open_writer(&other.mount, "/f", APPEND).await.unwrap();
    // It was opened in time, and its first write comes when the reaper has just read that its time is over.
    expire(&cluster, "f").await;
    let other = Arc::new(other);
    let (give_back, returned) = oneshot::channel();
    let event = Arc::new(Mutex::new(Some((writer, give_back, Arc::clone(&other), data.slice(..4 * PART)))));
    journal.behind_list(move || {
        let taken = event.lock().unwrap().take();
        async move {
            let Some((mut writer, give_back, other, data)) = taken else { return };
            write_all_from(&mut writer, &data, begin).await.unwrap();
            landed(&other).await;
            let _ = give_back.send(writer);
        }
        .boxed()
    });
    assert_eq!(reap(&one).await.removed, 0);
    let mut writer = returned.await.unwrap();
    write_all_from(&mut writer, &data, 4 * PART).await.unwrap();
    within(writer.finish()).await.unwrap();
    assert_eq!(other.object("f").await.unwrap(), data);
    cluster.is_clean(&other).await;
}

#[tokio::test]
async fn of_two_reapers_at_once_one_removes_an_upload() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let one = cluster.node_with(journal.clone(), config()).await;
    let other = cluster.node_with(journal.clone(), config()).await;
    within(begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await.cut()).await;
    expire(&cluster, "f").await;
    journal.all_may_reap();
    let both_have_read = Arc::new(Barrier::new(2));
    journal.behind_list(move || {
        let both_have_read = Arc::clone(&both_have_read);
        async move {
            both_have_read.wait().await;
        }
        .boxed()
    });
    let (first, second) = futures::join!(reap(&one), reap(&other));
    assert_eq!((first.removed + second.removed, first.failed + second.failed), (1, 0));
    let aborted = |node: &Env| node.metric("tidegate_vfs_uploads_aborted_total", "");
    assert_eq!(aborted(&one) + aborted(&other), 1);
    cluster.is_clean(&one).await;
}

#[tokio::test]
async fn a_tail_that_the_journal_never_named_is_removed_when_no_upload_can_need_it() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let one = cluster.node_with(journal.clone(), config()).await;
    let data = pattern(30_000);
    within(begin(&one.mount, "/kept", &data.slice(..20_000)).await.cut()).await;
    journal.is_in(Trouble::NoChange);
    within(begin(&one.mount, "/lost", &data.slice(..20_000)).await.cut()).await;
    journal.is_in(Trouble::None);
    journal.all_may_reap();
    let tails = async || one.keys().await.into_iter().filter(|key| key.starts_with(".tidegate/tails/")).count();
    assert_eq!((tails().await, cluster.entries().await.len()), (2, 1), "one was stored for nothing");

    cluster.store.shift_clock(8 * DAY - 60);
    let early = cluster.node_with(journal.clone(), config()).await;
    assert_eq!((reap(&early).await.tails, tails().await), (0, 2), "it may yet be named");
    cluster.store.shift_clock(120);
    assert_eq!((reap(&early).await.tails, tails().await), (0, 2), "a node looks once a day");
    let late = cluster.node_with(journal.clone(), config()).await;
    assert_eq!((reap(&late).await.tails, tails().await), (1, 1));
    assert_eq!(late.metric("tidegate_vfs_upload_tails_removed_total", ""), 1);

    let writer = go_on(&late.mount, "/kept", &data, data.len(), APPEND).await;
    within(writer.finish()).await.unwrap();
    assert_eq!(one.object("kept").await.unwrap(), data, "the one that is named was not touched");
}

#[tokio::test]
async fn tails_are_looked_through_page_by_page() {
    let cluster = Cluster::new();
    let node = cluster.node().await;
    for number in 0..1_200 {
        node.put_text(&format!(".tidegate/tails/{number:016x}"), "x").await;
    }
    cluster.store.shift_clock(9 * DAY);
    let journal = ScriptedJournal::new(cluster.journal.clone());
    journal.all_may_reap();
    let reaper = cluster.node_with(journal, config()).await;
    assert_eq!(reap(&reaper).await.tails, 1_000);
    assert_eq!(reap(&reaper).await.tails, 200, "the next round goes on");
    assert_eq!(node.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_tail_goes_though_the_parts_stay() {
    let cluster = Cluster::new();
    let fault = Fault::Before(StoreErrorKind::AccessDenied);
    let plan = FaultPlan::none().from(Call::AbortUpload, 1, fault);
    let journal: Arc<dyn Journal> = Arc::new(cluster.journal.clone());
    let one = env_over(cluster.store.clone(), Some(journal), config(), plan).await;
    within(begin(&one.mount, "/f", &pattern(2 * PART + 20_000)).await.cut()).await;
    one.mount.remove(&path("/f")).await.unwrap();
    assert_eq!(one.keys().await, Vec::<String>::new());
    assert_eq!(one.uploads().await, 1, "that is left to the bucket's lifecycle rule");
}

#[tokio::test]
async fn an_upload_does_not_live_longer_than_its_parts() {
    let cluster = Cluster::new();
    let age_max = Duration::from_secs(3600);
    let config = Config { upload_life: Duration::from_secs(3000), upload_age_max: age_max, ..config() };
    let node = cluster.node_with(ScriptedJournal::new(cluster.journal.clone()), config).await;
    let mut writer = begin(&node.mount, "/f", &pattern(2 * PART + 20_000)).await;
    landed(&node).await;
    let mut entry = cluster.entries().await.remove(0);
    assert!(entry.record.expires < entry.record.begun + 3600, "at first it is what nobody writes to that counts");
    // As if it had been begun most of an hour before.
    within(writer.cut()).await;
    entry = cluster.entries().await.remove(0);
    entry.record.begun -= 3000;
    assert!(cluster.journal.update(&tenant(), entry.generation, &entry).await.unwrap());
    writer = open_writer(&node.mount, "/f", APPEND).await.unwrap();
    write_all_from(&mut writer, &pattern(4 * PART), shown(&node.mount, "/f").await.unwrap()).await.unwrap();
    within(writer.sync()).await.unwrap();
    let renewed = cluster.entries().await.remove(0).record;
    assert_eq!((renewed.begun, renewed.expires), (entry.record.begun, entry.record.begun + 3600));
}
