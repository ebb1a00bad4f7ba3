//! Listings of users who see files that are being uploaded or were cut.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidegate_store::{
    Condition, Generation, Journal, JournalEntry, ObjectAttributes, ObjectStore, Permission, Tail, UploadRecord,
    UploadState,
};
use tidegate_vfs::{Config, FileKind, ListingAttributes, Mount, Replace};

use crate::cluster::{Cluster, RESUME, begin, go_on, landed, shown, tenant};
use crate::harness::*;
use crate::scripted::{ScriptedJournal, Trouble};

/// A session of a user who sees them.
async fn seeing(node: &Env) -> Mount {
    let mut account = account(&Permission::ALL);
    account.user.lists_uploads = true;
    node.vfs.mount(&account).await.unwrap()
}

/// Names and sizes, each name once.
async fn sizes(mount: &Mount, name: &str) -> BTreeMap<String, usize> {
    let listed = list(mount, name).await.unwrap();
    let count = listed.len();
    let sizes: BTreeMap<_, _> = listed.into_iter().map(|entry| (entry.name, entry.attributes.size as usize)).collect();
    assert_eq!(sizes.len(), count, "no name twice: {sizes:?}");
    sizes
}

fn expected(sizes: &[(&str, usize)]) -> BTreeMap<String, usize> {
    sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
}

async fn make_directories(node: &Env, names: &[&str]) {
    for name in names {
        node.mount.make_directory(&path(name), Default::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_listing_shows_what_stat_shows_of_uploads_to_those_who_are_to_see_them() {
    let cluster = Cluster::new();
    let (one, elsewhere) = (cluster.node().await, cluster.node().await);
    make_directories(&one, &["/d", "/d/sub"]).await;
    for (name, len) in [("/d/published", 300), ("/d/replaced", 200), ("/d/edited", 100)] {
        upload(&one.mount, name, &pattern(len)).await.unwrap();
    }
    let (data, long) = (pattern(2 * PART + 20_000), 2 * PART + 19_999);
    for name in ["/d/cut", "/d/sub/cut"] {
        within(begin(&one.mount, name, &data).await.cut()).await;
    }
    let session = seeing(&one).await;
    let own = begin(&session, "/d/own", &data).await;
    let mut edited = open_writer(&session, "/d/edited", READ_WRITE).await.unwrap();
    write(&mut edited, 100, Bytes::from_static(b"more")).await.unwrap();
    let begun = begin(&one.mount, "/d/begun", &pattern(1_000)).await;
    let replacing = begin(&one.mount, "/d/replaced", &data).await;
    let running = begin(&elsewhere.mount, "/d/running", &data).await;
    landed(&one).await;
    landed(&elsewhere).await;

    let parts = 2 * PART - 1;
    let common = [("cut", long), ("published", 300), ("replaced", parts), ("running", parts), ("sub", 0)];
    let first = [("begun", 0), ("edited", 104), ("own", data.len())];
    assert_eq!(sizes(&session, "/d").await, expected(&[&common[..], &first].concat()));
    let others = [
        (seeing(&one).await, &[("begun", 0), ("edited", 100), ("own", parts)][..]),
        (seeing(&elsewhere).await, &[("edited", 100), ("own", parts)]),
    ];
    for (mount, more) in others {
        assert_eq!(sizes(&mount, "/d").await, expected(&[&common[..], more].concat()));
        for entry in list(&mount, "/d").await.unwrap() {
            let stat = mount.stat(&path(&format!("/d/{}", entry.name))).await.unwrap();
            assert_eq!(entry.attributes, stat, "{}", entry.name);
        }
        assert_eq!(sizes(&mount, "/d/sub").await, expected(&[("cut", long)]));
    }
    let published = [("edited", 100), ("published", 300), ("replaced", 200), ("sub", 0)];
    for mount in [&one.mount, &elsewhere.mount] {
        assert_eq!(sizes(mount, "/d").await, expected(&published), "others see what is published");
    }
    let mut directory = session.open_published_directory(&path("/d")).await.unwrap();
    let names: Vec<_> = directory.next_page().await.unwrap().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, published.map(|(name, _)| name), "scp takes what is published");

    for writer in [own, edited, begun, replacing, running] {
        within(writer.finish()).await.unwrap();
    }
    for mount in [session, seeing(&elsewhere).await] {
        let all = [("begun", 1_000), ("cut", long), ("edited", 104), ("published", 300)];
        let large = ["own", "replaced", "running"].map(|name| (name, data.len()));
        assert_eq!(sizes(&mount, "/d").await, expected(&[&all[..], &large, &[("sub", 0)]].concat()));
    }
}

#[tokio::test]
async fn what_is_gone_renamed_or_gone_on_with_is_listed_as_it_is_then() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().await, cluster.node().await);
    let mounts = [seeing(&one).await, seeing(&other).await];
    make_directories(&one, &["/d", "/e"]).await;
    let (data, long) = (pattern(3 * PART), 2 * PART + 19_999);
    let listed = async |at: &str, sizes_then: &[(&str, usize)]| {
        for mount in &mounts {
            assert_eq!(sizes(mount, at).await, expected(sizes_then));
        }
    };
    for name in ["/d/a", "/d/b", "/d/c"] {
        within(begin(&one.mount, name, &data.slice(..2 * PART + 20_000)).await.cut()).await;
    }
    listed("/d", &[("a", long), ("b", long), ("c", long)]).await;
    other.mount.remove(&path("/d/a")).await.unwrap();
    other.mount.rename(&path("/d/b"), &path("/e/b"), Replace::Never).await.unwrap();
    listed("/d", &[("c", long)]).await;
    listed("/e", &[("b", long)]).await;
    let writer = go_on(&other.mount, "/d/c", &data, data.len(), RESUME).await;
    within(writer.finish()).await.unwrap();
    listed("/d", &[("c", data.len())]).await;
    // One that its session removes while it replaces it, and one of a name that becomes a directory.
    let removed = begin(&mounts[0], "/d/c", &pattern(10)).await;
    mounts[0].remove(&path("/d/c")).await.unwrap();
    listed("/d", &[]).await;
    let directory = begin(&one.mount, "/d/x", &data).await;
    make_directories(&other, &["/d/x"]).await;
    landed(&one).await;
    for mount in &mounts {
        let listed = list(mount, "/d").await.unwrap();
        let entry = listed.iter().find(|entry| entry.name == "x").unwrap();
        assert_eq!(entry.attributes.kind, FileKind::Directory);
        assert_eq!(entry.attributes, mount.stat(&path("/d/x")).await.unwrap());
    }
    drop((removed, directory));
}

#[tokio::test]
async fn what_ends_while_a_listing_begins_is_listed_once_or_not_at_all() {
    let cluster = Cluster::new();
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let one = cluster.node_with(journal.clone(), config()).await;
    let other = cluster.node().await;
    make_directories(&one, &["/d"]).await;
    let data = pattern(3 * PART);
    let closed = Mutex::new(Some(begin(&other.mount, "/d/closed", &data).await));
    within(begin(&one.mount, "/d/removed", &data).await.cut()).await;
    landed(&other).await;
    let (closed, remover) = (Arc::new(closed), other.mount.clone());
    journal.behind_list(move || {
        let (writer, remover) = (closed.lock().unwrap().take(), remover.clone());
        Box::pin(async move {
            let Some(writer) = writer else { return };
            within(writer.finish()).await.unwrap();
            remover.remove(&path("/d/removed")).await.unwrap();
        })
    });
    assert_eq!(sizes(&seeing(&one).await, "/d").await, expected(&[("closed", data.len())]));
}

/// The cluster's journal, and how often it was asked for its list.
fn counting(cluster: &Cluster) -> (ScriptedJournal, Arc<Mutex<usize>>) {
    let journal = ScriptedJournal::new(cluster.journal.clone());
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    journal.behind_list(move || {
        *counted.lock().unwrap() += 1;
        Box::pin(async {})
    });
    (journal, asked)
}

#[tokio::test]
async fn a_listing_goes_without_the_journal_where_that_does_not_answer_and_does_not_ask_it_for_others() {
    let cluster = Cluster::new();
    let (journal, asked) = counting(&cluster);
    let one = cluster.node_with(journal.clone(), config()).await;
    make_directories(&one, &["/d"]).await;
    upload(&one.mount, "/d/f", &pattern(10)).await.unwrap();
    within(begin(&one.mount, "/d/cut", &pattern(2 * PART)).await.cut()).await;
    let before = one.requests();
    assert_eq!(sizes(&one.mount, "/d").await, expected(&[("f", 10)]));
    assert_eq!((one.requests() - before, *asked.lock().unwrap()), (2, 0), "one LIST and one HEAD");
    let mount = seeing(&one).await;
    assert_eq!(sizes(&mount, "/d").await, expected(&[("cut", 2 * PART - 1), ("f", 10)]));
    assert_eq!(*asked.lock().unwrap(), 1);
    let running = begin(&mount, "/d/g", &pattern(7)).await;
    journal.is_in(Trouble::Away);
    assert_eq!(sizes(&mount, "/d").await, expected(&[("f", 10), ("g", 7)]), "what the node knows by itself");
    within(running.finish()).await.unwrap();
}

/// An upload that was cut behind two bytes.
async fn cut_before(cluster: &Cluster, name: &str) {
    let tail = key_of(&format!(".tidegate/tails/{name}"));
    let record = UploadRecord {
        user: "user".parse().unwrap(),
        state: UploadState::Cut,
        begun: 1_700_000_000,
        expires: 10_000_000_000,
        hint: 0,
        attributes: ObjectAttributes::default(),
        condition: Condition::Always,
        base: None,
        multipart: None,
        tail: Some(Tail { key: tail.clone(), offset: 0, len: 2 }),
        is_rewritten: false,
    };
    let body = tidegate_store::Body::from(Bytes::from_static(b"ab"));
    let checksum = body.checksum();
    cluster.store.put(&tail, body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
    let entry = JournalEntry { key: key_of(name), generation: Generation::fresh(), record };
    cluster.journal.replace(&tenant(), &entry).await.unwrap();
}

#[tokio::test]
async fn uploads_are_listed_in_their_places_between_thousands_of_files() {
    let cluster = Cluster::new();
    let fast = Config { listing_attributes: ListingAttributes::Fast, ..config() };
    let node = cluster.node_with(ScriptedJournal::new(cluster.journal.clone()), fast).await;
    let mut names: Vec<String> = (0..3_500).map(|n| format!("{n:06}")).collect();
    for name in &names {
        node.put(&format!("d/{name}"), b"x", &[]).await;
    }
    let cut = ["!", "000000-", "000998+", "000999", "000999!", "001999", "001999/", "00200", "003499", "1", "2"];
    for name in cut {
        match name.strip_suffix('/') {
            Some(directory) => node.put(&format!("d/{directory}-/x"), b"x", &[]).await,
            None => cut_before(&cluster, &format!("d/{name}")).await,
        }
    }
    names.extend(["!", "000000-", "000998+", "000999!", "001999-", "00200", "1", "2"].map(str::to_owned));
    names.sort_unstable();
    let mount = seeing(&node).await;
    // Page by page at first, then from several places at once.
    for _ in 0..2 {
        let listed: Vec<_> = list(&mount, "/d").await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(listed, names);
    }
    assert_eq!(shown(&mount, "/d/000998+").await, Some(1));
}

#[tokio::test]
async fn a_listing_shows_a_thousand_uploads_at_most_and_none_of_directories_below() {
    let cluster = Cluster::new();
    let (journal, asked) = counting(&cluster);
    let node = cluster.node_with(journal, config()).await;
    make_directories(&node, &["/d", "/d/b"]).await;
    // More than are read for one listing if all of them are.
    for n in 0..2_500 {
        cut_before(&cluster, &format!("d/b/{n:04}")).await;
    }
    for n in 0..1_100 {
        cut_before(&cluster, &format!("d/c{n:04}")).await;
    }
    cut_before(&cluster, "d/a").await;
    let mount = seeing(&node).await;
    let _own = begin(&mount, "/d/z", &pattern(5)).await;
    let listed: Vec<_> = list(&mount, "/d").await.unwrap().into_iter().map(|entry| entry.name).collect();
    let others = (0..999).map(|n| format!("c{n:04}"));
    let first = ["a", "b"].map(str::to_owned).into_iter();
    assert_eq!(listed, first.chain(others).chain(["z".to_owned()]).collect::<Vec<_>>());
    assert!(*asked.lock().unwrap() <= 12, "{} pages", asked.lock().unwrap());
}
