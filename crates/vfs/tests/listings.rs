//! Listings of large directories, whose pages are asked for side by side once one was seen.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use harness::*;
use proptest::prelude::*;
use tidegate_store::ObjectStore;
use tidegate_store::StoreErrorKind;
use tidegate_store::faulty::{Call, Fault, FaultPlan, Rates};
use tidegate_vfs::{Config, FileKind, FsErrorKind, ListingAttributes};
use tokio::time::Instant;

/// A look at the attributes of each file would cost these tests their point and their time.
fn fast() -> Config {
    Config { listing_attributes: ListingAttributes::Fast, ..config() }
}

/// Every entry costs a request, as on a bucket nobody has listed.
async fn env_of(entries: usize, plan: FaultPlan) -> Env {
    let env = env_with(fast(), plan).await;
    env.put("d/", b"", &[]).await;
    for n in 0..entries {
        env.put(&format!("d/{n:06}"), b"x", &[]).await;
    }
    env
}

async fn lists(env: &Env, name: &str) -> (Vec<String>, u64) {
    let before = env.calls.calls(Call::List);
    let listed = names(&env.mount, name).await;
    (listed, env.calls.calls(Call::List) - before)
}

#[tokio::test]
async fn a_listing_takes_one_request_per_thousand_entries() {
    let env = env_of(10_000, FaultPlan::none()).await;
    let (first, requests) = lists(&env, "/d").await;
    assert_eq!((first.len(), requests), (10_000, 11), "the marker is one more, which makes another page");
    for _ in 0..3 {
        let (again, requests) = lists(&env, "/d").await;
        assert_eq!((again == first, requests), (true, 10));
    }
    // What a client asks before it lists.
    let before = env.calls.calls(Call::List);
    assert_eq!(env.mount.stat(&path("/d")).await.unwrap().kind, FileKind::Directory);
    assert_eq!(env.calls.calls(Call::List), before, "its marker says that it is there");
    assert!(env.metric("tidegate_vfs_listing_pages_ahead_total", "") >= 27, "nine of ten pages, three times");
}

#[tokio::test(start_paused = true)]
async fn the_pages_of_a_directory_that_was_listed_before_come_at_once() {
    let delay_max = Duration::from_millis(100);
    let plan = FaultPlan::seeded(3, Rates { delay: 1.0, delay_max, ..Rates::default() });
    let env = env_of(10_000, plan).await;
    let mut took = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(names(&env.mount, "/d").await.len(), 10_000);
        took.push(begun.elapsed());
    }
    assert!(took[0] > 3 * delay_max, "one after the other: {took:?}");
    assert!(took[1] <= delay_max, "all at once: {took:?}");
}

#[tokio::test]
async fn what_was_made_and_removed_since_is_listed_as_it_is() {
    let env = env_of(3_500, FaultPlan::none()).await;
    let mut expected: BTreeSet<String> = names(&env.mount, "/d").await.into_iter().collect();
    // A boundary itself, all of a page, and a page and a half of new names between two others.
    for n in [999_usize].into_iter().chain(1_000..2_000) {
        env.mount.remove(&path(&format!("/d/{n:06}"))).await.unwrap();
        expected.remove(&format!("{n:06}"));
    }
    for n in 0..1_500 {
        env.put(&format!("d/000500-{n:04}"), b"x", &[]).await;
        expected.insert(format!("000500-{n:04}"));
    }
    for _ in 0..2 {
        let (listed, _) = lists(&env, "/d").await;
        assert_eq!(listed, expected.iter().cloned().collect::<Vec<_>>());
    }
    assert_eq!(lists(&env, "/d").await.1, 4, "the pages are of full length again");
}

#[tokio::test]
async fn a_directory_that_has_become_empty_or_vanished_is_seen_so() {
    let env = env_of(1_500, FaultPlan::none()).await;
    assert_eq!(names(&env.mount, "/d").await.len(), 1_500);
    for n in 0..1_500 {
        env.store.delete(&key_of(&format!("d/{n:06}"))).await.unwrap();
    }
    assert!(names(&env.mount, "/d").await.is_empty(), "its marker is left");
    env.put("d/000000", b"x", &[]).await;
    assert_eq!(names(&env.mount, "/d").await, ["000000"]);
    env.store.delete(&key_of("d/000000")).await.unwrap();
    env.store.delete(&key_of("d/")).await.unwrap();
    assert_eq!(kind(env.mount.open_directory(&path("/d")).await), Some(FsErrorKind::NotFound));
    assert_eq!(kind(env.mount.stat(&path("/d")).await), Some(FsErrorKind::NotFound));
    env.put("d/child", b"x", &[]).await;
    assert_eq!(env.mount.stat(&path("/d")).await.unwrap().kind, FileKind::Directory);
    env.store.delete(&key_of("d/child")).await.unwrap();
    env.put("d", b"x", &[]).await;
    assert_eq!(kind(env.mount.open_directory(&path("/d")).await), Some(FsErrorKind::NotADirectory));
    assert_eq!(env.mount.stat(&path("/d")).await.unwrap().kind, FileKind::File);
}

#[tokio::test]
async fn a_fault_in_a_page_that_was_asked_for_ahead_is_an_error_not_a_short_listing() {
    // The first listing asks three times.
    let plan = FaultPlan::none().on(Call::List, 5, Fault::Before(StoreErrorKind::Unavailable));
    let env = env_of(2_500, plan).await;
    assert_eq!(names(&env.mount, "/d").await.len(), 2_500);
    let failed = kind(list(&env.mount, "/d").await);
    assert_eq!(failed, Some(FsErrorKind::Unavailable));
    assert_eq!(names(&env.mount, "/d").await.len(), 2_500);
}

#[tokio::test]
async fn many_listings_at_once_are_complete_within_the_node_s_limit() {
    let env = env_of(5_000, slow_store()).await;
    assert_eq!(names(&env.mount, "/d").await.len(), 5_000);
    let all = futures::future::join_all((0..40).map(|_| names(&env.mount, "/d"))).await;
    assert!(all.iter().all(|listed| listed.len() == 5_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Subdirectories are listed again behind themselves, and files may have their names.
    #[test]
    fn later_listings_show_what_there_is(
        made in prop::collection::vec((0..4_000_u32, prop::bool::ANY), 2_000..4_000),
        removed in prop::collection::vec(prop::num::u16::ANY, 0..1_500),
        added in prop::collection::vec((0..4_000_u32, prop::bool::ANY), 0..1_500),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let env = env_with(fast(), FaultPlan::none()).await;
            let key = |(n, is_file): (u32, bool)| if is_file { format!("d/{n:04}") } else { format!("d/{n:04}/child") };
            let mut keys: BTreeSet<String> = made.into_iter().map(key).collect();
            for key in &keys {
                env.put(key, b"x", &[]).await;
            }
            for changes in 0..2 {
                if changes == 1 {
                    for n in &removed {
                        let Some(key) = keys.iter().nth(*n as usize % keys.len().max(1)).cloned() else { continue };
                        keys.remove(&key);
                        env.store.delete(&key_of(&key)).await.unwrap();
                    }
                    for key in added.iter().copied().map(key) {
                        env.put(&key, b"x", &[]).await;
                        keys.insert(key);
                    }
                }
                let name = |key: &String| key.trim_start_matches("d/").trim_end_matches("/child").to_owned();
                let expected: BTreeSet<String> = keys.iter().map(name).collect();
                for _ in 0..2 {
                    let listed = names(&env.mount, "/d").await;
                    assert_eq!(listed.len(), expected.len(), "no name twice");
                    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
                }
            }
        });
    }
}

#[tokio::test]
async fn a_directory_of_a_hundred_thousand_objects_lists_completely_in_bounded_memory() {
    const ENTRIES: usize = 100_000;
    // The cache of attributes has a bound of its own.
    let few = Config { attribute_cache_entries: 1_000, ..config() };
    let env = env_with(few, FaultPlan::none()).await;
    for n in 0..ENTRIES {
        env.put(&format!("d/{n:06}"), b"", &[("mode", "33184")]).await;
    }
    for round in 0..2 {
        let before = memory("VmRSS:");
        // From here on VmHWM tells the most since now (proc_pid_clear_refs(5)).
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let mut directory = env.mount.open_directory(&path("/d")).await.unwrap();
        let mut listed = 0;
        while let Some(entries) = directory.next_page().await.unwrap() {
            for entry in entries {
                assert_eq!((entry.name, entry.attributes.mode), (format!("{listed:06}"), 0o100_640));
                listed += 1;
            }
        }
        assert_eq!(listed, ENTRIES);
        let grown = memory("VmHWM:").saturating_sub(before);
        assert!(grown < 8 << 20, "listing number {round} took {} MiB", grown >> 20);
    }
}

/// What Linux tells of this process's memory, in bytes.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
