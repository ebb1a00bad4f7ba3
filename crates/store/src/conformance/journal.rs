//! The journal of uploads: one owner of each entry, and nothing of an earlier one takes effect.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::outcome::{done, parsed};
use crate::account::TenantName;
use crate::journal::{
    BaseVersion, Generation, GuardedParts, Journal, JournalEntry, Multipart, Tail, UploadRecord, UploadState,
};
use crate::object::{Condition, ETag, ObjectAttributes, ObjectKey, SystemHeaders};
use crate::object_store::Upload;

const RACERS: usize = 8;

pub(super) async fn check(journal: Arc<dyn Journal>) {
    let nonce: u64 = rand::random();
    let name = |name: &str| parsed(&format!("conf-{nonce:016x}-{name}"));
    ownership(&*journal, &name("ownership")).await;
    take_over(&*journal, &name("take-over")).await;
    records(&*journal, &name("records")).await;
    expiry(&*journal, &name("expiry")).await;
    renames(&*journal, &name("renames")).await;
    race(&journal, &name("race")).await;
    lists(&*journal, &name("lists"), &name("lists-not")).await;
    claims(&*journal).await;
}

fn key(text: &str) -> ObjectKey {
    match ObjectKey::new(text) {
        Some(key) => key,
        None => panic!("the suite made a key that is not valid: {text:?}"),
    }
}

fn plain(at: &str) -> JournalEntry {
    let record = UploadRecord {
        user: parsed("someone"),
        state: UploadState::Running,
        begun: 1_700_000_000,
        expires: 4_000_000_000,
        hint: 0,
        attributes: ObjectAttributes::default(),
        condition: Condition::Always,
        base: None,
        multipart: None,
        tail: None,
        is_rewritten: false,
    };
    JournalEntry { key: key(at), generation: Generation::fresh(), record }
}

async fn ownership(journal: &dyn Journal, tenant: &TenantName) {
    let first = plain("dir/file");
    assert_eq!(done("read", journal.read(tenant, &first.key).await), None, "there is no entry at first");
    let updated = done("update", journal.update(tenant, first.generation, &first).await);
    assert!(!updated, "what is not there can't be updated");
    assert!(!done("remove", journal.remove(tenant, &first.key, first.generation).await), "nor removed");
    assert_eq!(done("replace", journal.replace(tenant, &first).await), None, "nothing was there before");
    assert_eq!(done("read", journal.read(tenant, &first.key).await), Some(first.clone()), "what was put is read");
    assert_eq!(done("replace", journal.replace(tenant, &first).await), None, "its own first attempt is not another");

    let mut later = first.clone();
    later.record.state = UploadState::Cut;
    assert!(done("update", journal.update(tenant, first.generation, &later).await), "an owner may change its entry");
    let second = JournalEntry { generation: Generation::fresh(), ..later.clone() };
    assert!(done("update", journal.update(tenant, first.generation, &second).await), "another may take it over");
    assert!(done("update", journal.update(tenant, first.generation, &second).await), "and do so again");
    assert!(
        !done("update", journal.update(tenant, first.generation, &later).await),
        "the first owner may not any more"
    );
    assert!(!done("remove", journal.remove(tenant, &first.key, first.generation).await), "nor remove it");
    assert_eq!(done("read", journal.read(tenant, &first.key).await), Some(second.clone()), "the second stays");

    let third = plain("dir/file");
    assert!(!done("create", journal.create(tenant, &third).await), "an entry is not made where there is one");
    assert_eq!(
        done("replace", journal.replace(tenant, &third).await),
        Some(second),
        "it may be replaced, and is given"
    );
    assert!(done("remove", journal.remove(tenant, &third.key, third.generation).await), "an owner may remove its own");
    assert!(!done("remove", journal.remove(tenant, &third.key, third.generation).await), "once");
    assert_eq!(done("read", journal.read(tenant, &third.key).await), None, "then it is gone");
    assert!(done("create", journal.create(tenant, &third).await), "an entry is made where there is none");
    assert!(done("create", journal.create(tenant, &third).await), "and made again by the same");
    assert!(done("remove", journal.remove(tenant, &third.key, third.generation).await), "remove");
}

/// Who takes an entry over gets what its owner wrote last, and keeps it.
async fn take_over(journal: &dyn Journal, tenant: &TenantName) {
    let first = plain("taken");
    let (second, third) = (Generation::fresh(), Generation::fresh());
    let take = async |expected, mine| done("take_over", journal.take_over(tenant, &first.key, expected, mine).await);
    assert_eq!(take(first.generation, second).await, None, "there is none to take over");
    assert_eq!(done("read", journal.read(tenant, &first.key).await), None, "and none is made");
    done("replace", journal.replace(tenant, &first).await);
    // Behind the moment at which the other read it.
    let mut written = first.clone();
    written.record.tail = Some(Tail { key: key(".tail"), offset: 3, len: 4 });
    assert!(done("update", journal.update(tenant, first.generation, &written).await), "its owner still writes");
    let mine = JournalEntry { generation: second, ..written.clone() };
    assert_eq!(take(first.generation, second).await, Some(mine.clone()), "what was written last is taken over");
    assert_eq!(take(first.generation, second).await, Some(mine.clone()), "and again by the same");
    assert_eq!(done("read", journal.read(tenant, &first.key).await), Some(mine.clone()), "and stays");
    assert!(!done("update", journal.update(tenant, first.generation, &first).await), "the first owner has it no more");
    assert_eq!(take(first.generation, third).await, None, "who read it before that is too late");
    assert_eq!(done("read", journal.read(tenant, &first.key).await), Some(mine), "and changes nothing");
    done("remove", journal.remove(tenant, &first.key, second).await);
}

/// What its owner has let live on is not removed by who read it before.
async fn expiry(journal: &dyn Journal, tenant: &TenantName) {
    let read = plain("expires");
    assert!(!done("remove_expired", journal.remove_expired(tenant, &read).await), "there is none");
    let mut renewed = read.clone();
    renewed.record.expires += 1;
    done("replace", journal.replace(tenant, &renewed).await);
    assert!(!done("remove_expired", journal.remove_expired(tenant, &read).await), "it was renewed since");
    let other = JournalEntry { generation: Generation::fresh(), ..renewed.clone() };
    assert!(!done("remove_expired", journal.remove_expired(tenant, &other).await), "it has another owner");
    assert_eq!(done("read", journal.read(tenant, &read.key).await), Some(renewed.clone()), "so it stays");
    assert!(done("remove_expired", journal.remove_expired(tenant, &renewed).await), "as it was read it is removed");
    assert!(!done("remove_expired", journal.remove_expired(tenant, &renewed).await), "once");
    assert_eq!(done("read", journal.read(tenant, &read.key).await), None, "then it is gone");
}

/// An entry is under one name at every moment, and moves only as it was read.
async fn renames(journal: &dyn Journal, tenant: &TenantName) {
    let (from, to) = (plain("from"), plain("to"));
    let rename = async |from: &JournalEntry, over| done("rename", journal.rename(tenant, from, &to, over).await);
    let both = async || {
        let from = done("read", journal.read(tenant, &from.key).await);
        (from, done("read", journal.read(tenant, &to.key).await))
    };
    assert!(!rename(&from, None).await, "what is not there can't be renamed");
    assert_eq!(both().await, (None, None), "and leaves nothing");

    done("replace", journal.replace(tenant, &from).await);
    let taken = JournalEntry { generation: Generation::fresh(), ..from.clone() };
    assert!(!rename(&taken, None).await, "it has another owner");
    assert!(!rename(&from, Some(Generation::fresh())).await, "nothing is where something was to be replaced");
    assert_eq!(both().await, (Some(from.clone()), None), "so nothing has changed");
    assert!(rename(&from, None).await, "as it was read it may be renamed");
    assert_eq!(both().await, (None, Some(to.clone())), "and is under its new name alone");

    done("replace", journal.replace(tenant, &from).await);
    let there = plain("to");
    done("replace", journal.replace(tenant, &there).await);
    for over in [None, Some(to.generation)] {
        assert!(!rename(&from, over).await, "what is there is not what was read");
        assert_eq!(both().await, (Some(from.clone()), Some(there.clone())), "so both stay");
    }
    assert!(rename(&from, Some(there.generation)).await, "what was read is replaced");
    assert_eq!(both().await, (None, Some(to.clone())), "by what was renamed");
    assert!(done("remove", journal.remove(tenant, &to.key, to.generation).await), "remove");
}

/// All that a record holds comes back, under the longest key too.
async fn records(journal: &dyn Journal, tenant: &TenantName) {
    let headers = SystemHeaders {
        cache_control: Some("no-cache".into()),
        expires: Some("0".into()),
        website_redirect: Some("/x".into()),
        ..SystemHeaders::default()
    };
    let metadata = [("mtime".to_owned(), "1700000000.5".to_owned()), ("mode".to_owned(), "33188".to_owned())];
    let tags = [("class".to_owned(), "a b".to_owned())].into();
    let attributes =
        ObjectAttributes { content_type: Some("text/plain".into()), metadata: metadata.into(), headers, tags };
    let mut entry = plain(&"ü\u{1f980}%+ \n".repeat(93));
    let etag = |n: u16| ETag::new(format!("\"{n:032x}\""));
    entry.generation = Generation::new(u64::MAX);
    entry.record = UploadRecord {
        state: UploadState::Cut,
        hint: 5 << 40,
        attributes: attributes.clone(),
        condition: Condition::IfMatch(etag(1)),
        base: Some(BaseVersion { etag: etag(1), size: 1 << 40 }),
        multipart: Some(Multipart {
            upload: Upload { key: key("another/key"), id: "an.id_-+/=".into() },
            attributes,
            guarded: Some(GuardedParts { after: 3, until: 70, parts: vec![(4, etag(4)), (5, etag(5))] }),
        }),
        tail: Some(Tail { key: key(".tail"), offset: (1 << 40) + 7, len: 1 << 20 }),
        is_rewritten: true,
        ..entry.record
    };
    for condition in [Condition::IfMatch(etag(1)), Condition::IfAbsent, Condition::Always] {
        entry.record.condition = condition;
        done("replace", journal.replace(tenant, &entry).await);
        assert_eq!(done("read", journal.read(tenant, &entry.key).await), Some(entry.clone()), "it comes back whole");
    }
    done("remove", journal.remove(tenant, &entry.key, entry.generation).await);
}

/// Of those who take over at once, one is the owner.
async fn race(journal: &Arc<dyn Journal>, tenant: &TenantName) {
    let first = plain("raced");
    done("replace", journal.replace(tenant, &first).await);
    let racers: JoinSet<_> = (0..RACERS)
        .map(|_| {
            let (journal, tenant, expected) = (Arc::clone(journal), tenant.clone(), first.generation);
            let mine = JournalEntry { generation: Generation::fresh(), ..first.clone() };
            async move { done("update", journal.update(&tenant, expected, &mine).await).then_some(mine) }
        })
        .collect();
    let winners: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "of several that take over at once one may go on");
    assert_eq!(done("read", journal.read(tenant, &first.key).await), winners.first().cloned(), "and is the owner");
    for winner in winners {
        done("remove", journal.remove(tenant, &winner.key, winner.generation).await);
    }
}

async fn lists(journal: &dyn Journal, tenant: &TenantName, other: &TenantName) {
    let mut expected: Vec<JournalEntry> = (0..230).map(|n| plain(&format!("in/{n:03}"))).collect();
    for entry in &expected {
        done("replace", journal.replace(tenant, entry).await);
    }
    for (tenant, at) in [(tenant, "im/x"), (tenant, "in.x"), (tenant, "io"), (other, "in/x")] {
        done("replace", journal.replace(tenant, &plain(at)).await);
    }
    let all = async |prefix: &str| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = done("list", journal.list(tenant, prefix, after.as_ref()).await);
            found.extend(page.entries);
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    assert_eq!(all("in/").await, expected, "a listing is complete, in order, and holds no others");
    for (behind, first) in [("in/", 0), ("in/099", 100), ("in/099\u{10ffff}", 100), ("in/0990", 100), ("in/1", 100)] {
        let page = done("list", journal.list(tenant, "in/", Some(&key(behind))).await);
        assert_eq!(page.entries.first(), expected.get(first), "a listing goes on behind any key: {behind}");
    }
    assert_eq!(all("").await.len(), 233, "without a prefix it has all of a tenant");
    assert_eq!(all("nothing/").await, [], "and none where there are none");
    expected.extend([all("im/").await, all("in.").await, all("io").await].concat());
    expected.extend(done("list", journal.list(other, "", None).await).entries);
    for entry in expected {
        for tenant in [tenant, other] {
            done("remove", journal.remove(tenant, &entry.key, entry.generation).await);
        }
    }
    assert_eq!(all("").await, [], "what was removed is not listed");
}

async fn claims(journal: &dyn Journal) {
    // Behind whatever an earlier run has claimed.
    let now = 10_000_000_000 + u64::from(rand::random::<u32>()) * 1_000;
    let claim = async |now, until| done("claim_reaping", journal.claim_reaping(now, until).await);
    if claim(now, now + 10).await {
        assert!(!claim(now + 9, now + 19).await, "one reaper at a time");
        assert!(claim(now + 10, now + 20).await, "until its time is over");
    }
}
