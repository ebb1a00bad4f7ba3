//! Files opened ahead of a client that takes them in the order of their listing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use harness::*;
use proptest::prelude::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_store::{Permission, StoreErrorKind};
use tidegate_vfs::{Config, FsErrorKind, ListingAttributes, Mount, Replace};
use tokio::time::Instant;

/// Every GET takes as long as on the real service.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Listings ask for no attributes: what is counted is the files.
fn fast() -> Config {
    Config { listing_attributes: ListingAttributes::Fast, ..config() }
}

fn slow() -> FaultPlan {
    FaultPlan::none().from(Call::Get, 1, Fault::Delay(ROUND_TRIP))
}

fn name(n: usize) -> String {
    format!("/d/{n:05}")
}

fn content(n: usize) -> Bytes {
    format!("the content of {n}").into()
}

/// Files in the directory `/d`.
async fn env_of(files: usize, config: Config, plan: FaultPlan) -> Env {
    let env = env_with(config, plan).await;
    env.put("d/", b"", &[]).await;
    for n in 0..files {
        upload(&env.mount, &name(n), &content(n)).await.unwrap();
    }
    env
}

/// OPEN, READs, CLOSE.
async fn get(mount: &Mount, file: &str) -> Bytes {
    let reader = open_reader(mount, file).await.unwrap();
    read_all(&reader, 32 << 10).await.unwrap()
}

/// Opens the first two files, which opens the third one ahead.
async fn begin_in_order(env: &Env) {
    list(&env.mount, "/d").await.unwrap();
    for n in 0..2 {
        assert_eq!(get(&env.mount, &name(n)).await, content(n));
    }
    settle().await;
    assert_eq!((env.calls.calls(Call::Get), ahead(env)), (3, 1));
}

/// Lets tasks that have something to do run.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn ahead(env: &Env) -> i64 {
    env.metric("tidegate_vfs_prefetches", "")
}

fn started(env: &Env) -> i64 {
    env.metric("tidegate_vfs_prefetches_started_total", "")
}

fn used(env: &Env) -> i64 {
    env.metric("tidegate_vfs_prefetches_used_total", "")
}

fn in_vain(env: &Env) -> i64 {
    env.metric("tidegate_vfs_prefetches_in_vain_total", "")
}

#[tokio::test(start_paused = true)]
async fn files_taken_in_order_are_one_get_each_and_wait_for_few_of_them() {
    let env = env_of(999, fast(), slow()).await;
    let (lists, begun) = (env.calls.calls(Call::List), Instant::now());
    let listed = names(&env.mount, "/d").await;
    assert_eq!(listed.len(), 999);
    for (n, listed) in listed.iter().enumerate() {
        assert_eq!(get(&env.mount, &format!("/d/{listed}")).await, content(n));
    }
    assert_eq!(env.calls.calls(Call::Get), 999, "one each");
    assert_eq!((env.calls.calls(Call::List) - lists, env.calls.calls(Call::Head)), (1, 0));
    assert_eq!((in_vain(&env), ahead(&env)), (0, 0));
    assert!(used(&env) >= 995, "{} used", used(&env));
    assert!(begun.elapsed() < 60 * ROUND_TRIP, "waited {:?} for the store", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_long_directory_takes_one_more_list_for_a_thousand_files() {
    let env = env_of(2_500, fast(), slow()).await;
    let (lists, begun) = (env.calls.calls(Call::List), Instant::now());
    let listed = names(&env.mount, "/d").await;
    assert_eq!(env.calls.calls(Call::List) - lists, 3);
    for listed in &listed {
        get(&env.mount, &format!("/d/{listed}")).await;
    }
    assert_eq!(env.calls.calls(Call::List) - lists, 5, "the pages behind the first, once more");
    assert_eq!((env.calls.calls(Call::Get), in_vain(&env)), (2_500, 0));
    assert!(begun.elapsed() < 120 * ROUND_TRIP, "waited {:?} for the store", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_lists_nothing_is_served_after_some_files_in_order() {
    let env = env_of(100, fast(), slow()).await;
    let lists = env.calls.calls(Call::List);
    for n in 0..100 {
        assert_eq!(get(&env.mount, &name(n)).await, content(n));
    }
    assert_eq!((env.calls.calls(Call::Get), env.calls.calls(Call::List) - lists), (100, 1));
    assert!(used(&env) >= 85, "{} used", used(&env));
    assert_eq!(in_vain(&env), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tree_of_small_directories_keeps_its_pace() {
    let env = env_with(fast(), slow()).await;
    env.put("t/", b"", &[]).await;
    for n in 0..10 {
        env.put(&format!("t/{n:02}/"), b"", &[]).await;
    }
    for n in 0..100 {
        upload(&env.mount, &format!("/t/{:02}/{:02}", n / 10, n % 10), &content(n)).await.unwrap();
    }
    let begun = Instant::now();
    for directory in names(&env.mount, "/t").await {
        let directory = format!("/t/{directory}");
        for file in names(&env.mount, &directory).await {
            get(&env.mount, &format!("{directory}/{file}")).await;
        }
    }
    assert_eq!((env.calls.calls(Call::Get), in_vain(&env)), (100, 0));
    assert!(begun.elapsed() < 40 * ROUND_TRIP, "waited {:?} for the store", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_look_before_each_open_costs_no_request_of_its_own() {
    let env = env_of(50, fast(), slow()).await;
    let heads = env.calls.calls(Call::Head);
    list(&env.mount, "/d").await.unwrap();
    for n in 0..50 {
        let shown = env.mount.stat(&path(&name(n))).await.unwrap();
        let reader = open_reader(&env.mount, &name(n)).await.unwrap();
        assert_eq!(reader.attributes(), shown);
        assert_eq!(read_all(&reader, 32 << 10).await.unwrap(), content(n));
    }
    assert_eq!(env.calls.calls(Call::Get), 50);
    assert!(env.calls.calls(Call::Head) - heads <= 2, "{} HEADs", env.calls.calls(Call::Head) - heads);
}

#[tokio::test(start_paused = true)]
async fn empty_and_large_files_among_them_are_served_too() {
    let env = env_of(0, fast(), slow()).await;
    let sizes = [10, 0, 300 << 10, 256 << 10, 0, 65 << 10, 1, 2, 2 << 20, 5];
    for (n, size) in sizes.iter().enumerate() {
        upload(&env.mount, &name(n), &pattern(*size)).await.unwrap();
    }
    list(&env.mount, "/d").await.unwrap();
    for (n, size) in sizes.iter().enumerate() {
        assert!(get(&env.mount, &name(n)).await == pattern(*size), "{n}");
    }
    assert!(used(&env) >= 6, "{} used", used(&env));
    assert_eq!((in_vain(&env), env.metric("tidegate_vfs_memory_used_bytes", "read")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_change_in_the_session_is_seen_by_its_next_open() {
    for change in 0..4 {
        let env = env_of(5, fast(), FaultPlan::none()).await;
        begin_in_order(&env).await;
        let third = path(&name(2));
        match change {
            0 => {
                upload(&env.mount, &name(2), &"new".into()).await.unwrap();
                assert_eq!(get(&env.mount, &name(2)).await, "new");
            }
            1 => {
                env.mount.remove(&third).await.unwrap();
                assert_eq!(kind(open_reader(&env.mount, &name(2)).await), Some(FsErrorKind::NotFound));
                assert_eq!(kind(env.mount.stat(&third).await), Some(FsErrorKind::NotFound));
            }
            2 => {
                env.mount.rename(&path(&name(4)), &third, Replace::Existing).await.unwrap();
                assert_eq!(get(&env.mount, &name(2)).await, content(4));
            }
            _ => {
                env.mount.set_attributes(&third, mode(0o600)).await.unwrap();
                assert_eq!(env.mount.stat(&third).await.unwrap().mode, 0o100_600);
                let reader = open_reader(&env.mount, &name(2)).await.unwrap();
                assert_eq!(reader.attributes().mode, 0o100_600);
            }
        }
        assert_eq!((used(&env), in_vain(&env)), (0, 1), "change {change}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_by_another_session_of_the_node_is_seen_at_once() {
    let env = env_of(5, fast(), FaultPlan::none()).await;
    begin_in_order(&env).await;
    let other = env.mount_with(&Permission::ALL).await;
    let large = pattern(3 * PART);
    upload(&other, &name(2), &large).await.unwrap();
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "read"), 0, "dropped at once");
    assert!(get(&env.mount, &name(2)).await == large);
    assert_eq!(used(&env), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_through_another_node_is_seen_within_the_life_of_what_was_fetched() {
    let env = env_of(5, fast(), FaultPlan::none()).await;
    begin_in_order(&env).await;
    env.put("d/00002", b"changed elsewhere", &[]).await;
    tokio::time::advance(Duration::from_millis(900)).await;
    assert_eq!(get(&env.mount, &name(2)).await, content(2), "as it was less than a second ago");
    settle().await;
    env.put("d/00003", b"changed elsewhere", &[]).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(get(&env.mount, &name(3)).await, "changed elsewhere");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_in_time_is_dropped_in_an_idle_session_too() {
    let env = env_of(5, fast(), FaultPlan::none()).await;
    begin_in_order(&env).await;
    assert!(env.metric("tidegate_vfs_memory_used_bytes", "read") > 0);
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    settle().await;
    assert_eq!((ahead(&env), env.metric("tidegate_vfs_memory_used_bytes", "read")), (0, 0));
    assert_eq!((in_vain(&env), env.metric("tidegate_vfs_prefetched_in_vain_bytes_total", "")), (1, 16));
    assert_eq!(env.metric("tidegate_vfs_open_readers", ""), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_cancelled() {
    let plan = FaultPlan::none().on(Call::Get, 3, Fault::Delay(Duration::from_secs(3_600)));
    let env = env_of(5, fast(), plan).await;
    begin_in_order(&env).await;
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    settle().await;
    assert_eq!((ahead(&env), env.metric("tidegate_vfs_memory_used_bytes", "read")), (0, 0));
    assert_eq!(get(&env.mount, &name(2)).await, content(2));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_ends_its_requests() {
    let plan = FaultPlan::none().on(Call::Get, 3, Fault::Delay(Duration::from_secs(3_600)));
    let mut env = env_of(5, fast(), plan).await;
    begin_in_order(&env).await;
    assert!(env.metric("tidegate_vfs_memory_used_bytes", "read") > 0, "the request runs");
    env.mount = env.mount_with(&[]).await;
    settle().await;
    assert_eq!((ahead(&env), in_vain(&env)), (0, 1));
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "read"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_open_that_is_given_up_ends_the_request_that_it_waits_for() {
    let plan = FaultPlan::none().on(Call::Get, 3, Fault::Delay(Duration::from_secs(3_600)));
    let env = env_of(3, fast(), plan).await;
    begin_in_order(&env).await;
    let given_up = tokio::time::timeout(Duration::from_millis(100), open_reader(&env.mount, &name(2))).await;
    assert!(given_up.is_err());
    settle().await;
    assert_eq!((ahead(&env), env.metric("tidegate_vfs_memory_used_bytes", "read")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_ahead_is_not_shown() {
    let plan = FaultPlan::none().on(Call::Get, 3, Fault::Before(StoreErrorKind::Unavailable));
    let env = env_of(5, fast(), plan).await;
    list(&env.mount, "/d").await.unwrap();
    for n in 0..5 {
        assert_eq!(get(&env.mount, &name(n)).await, content(n));
    }
    assert_eq!(env.calls.calls(Call::Get), 6, "asked anew");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_has_grown_since_its_listing_is_whole() {
    let env = env_of(5, fast(), FaultPlan::none()).await;
    list(&env.mount, "/d").await.unwrap();
    let grown = pattern(5 * PART + 3);
    upload(&env.mount, &name(2), &grown).await.unwrap();
    for n in 0..2 {
        get(&env.mount, &name(n)).await;
    }
    assert!(get(&env.mount, &name(2)).await == grown);
    assert_eq!(used(&env), 1);
}

#[tokio::test(start_paused = true)]
async fn memory_that_others_could_use_is_left_alone() {
    // 512 KiB to read with, half of them in use.
    let env = env_of(10, Config { memory_budget: Some(ByteSize::mib(1)), ..fast() }, FaultPlan::none()).await;
    upload(&env.mount, "/large", &pattern(1 << 20)).await.unwrap();
    let _held = open_reader(&env.mount, "/large").await.unwrap();
    list(&env.mount, "/d").await.unwrap();
    for n in 0..10 {
        assert_eq!(get(&env.mount, &name(n)).await, content(n));
    }
    assert_eq!((started(&env), env.calls.calls(Call::Get)), (0, 11));
}

#[tokio::test(start_paused = true)]
async fn another_order_wastes_little() {
    let orders: [(&str, Vec<usize>); 5] = [
        ("backwards", (0..200).rev().collect()),
        ("every third", (0..200).step_by(3).collect()),
        ("strewn", (0..200).map(|n| n * 77 % 200).collect()),
        ("pairs, far apart", (0..100).flat_map(|n| [n * 38 % 199, n * 38 % 199 + 1]).collect()),
        ("fives, far apart", (0..40).flat_map(|n| (0..5).map(move |i| n * 70 % 190 + i)).collect()),
    ];
    for (order, files) in orders {
        let env = env_of(200, fast(), slow()).await;
        list(&env.mount, "/d").await.unwrap();
        for n in &files {
            assert_eq!(get(&env.mount, &name(*n)).await, content(*n));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        settle().await;
        let (used, in_vain, opened) = (used(&env), in_vain(&env), files.len() as i64);
        assert_eq!((started(&env), ahead(&env)), (used + in_vain, 0), "{order}");
        assert_eq!(env.calls.calls(Call::Get) as i64, opened + in_vain, "{order}");
        let allowed = 4 + used / 2 + (opened - used) / 4;
        assert!(in_vain <= allowed, "{order}: {in_vain} in vain of {opened}, {used} used");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_wastes_little() {
    let env = env_of(200, fast(), slow()).await;
    list(&env.mount, "/d").await.unwrap();
    for n in 0..200 {
        get(&env.mount, &name(n)).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(in_vain(&env) <= 4, "{} in vain", in_vain(&env));
    assert!(used(&env) > 190, "{} used", used(&env));
}

#[tokio::test(start_paused = true)]
async fn listings_are_forgotten_after_a_while() {
    let env = env_of(5, fast(), FaultPlan::none()).await;
    list(&env.mount, "/d").await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    for n in 0..3 {
        get(&env.mount, &name(n)).await;
    }
    assert_eq!(started(&env), 0);
}

#[tokio::test(start_paused = true)]
async fn it_can_be_switched_off() {
    let off = [Config { prefetch_files: 0, ..fast() }, Config { read_ahead_max: ByteSize::b(0), ..fast() }];
    for config in off {
        let env = env_of(20, config, FaultPlan::none()).await;
        list(&env.mount, "/d").await.unwrap();
        for n in 0..20 {
            assert_eq!(get(&env.mount, &name(n)).await, content(n));
        }
        assert_eq!(started(&env), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_listed_for_a_user_who_may_not_list() {
    let env = env_of(20, fast(), FaultPlan::none()).await;
    let lists = env.calls.calls(Call::List);
    let mount = env.mount_with(&[Permission::Read]).await;
    for n in 0..20 {
        get(&mount, &name(n)).await;
    }
    assert_eq!((started(&env), env.calls.calls(Call::List) - lists), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    // Whatever two sessions of a node do to the files, each OPEN shows what was closed last.
    #[test]
    fn every_open_shows_what_was_closed_last(
        steps in prop::collection::vec((0..4_u8, 0..12_usize, any::<bool>(), 0..300_u64), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let env = env_of(12, fast(), slow()).await;
            let other = env.mount_with(&Permission::ALL).await;
            let mut contents: Vec<Option<Bytes>> = (0..12).map(|n| Some(content(n))).collect();
            list(&env.mount, "/d").await.unwrap();
            let mut position = 0;
            for (version, (step, n, by_other, pause)) in steps.into_iter().enumerate() {
                let changing = if by_other { &other } else { &env.mount };
                match step {
                    0 => {
                        let new = Bytes::from(format!("version {version}"));
                        upload(changing, &name(n), &new).await.unwrap();
                        contents[n] = Some(new);
                    }
                    1 => {
                        let removed = changing.remove(&path(&name(n))).await;
                        assert_eq!(removed.is_ok(), contents[n].take().is_some());
                    }
                    _ => {
                        position = if step == 2 { (position + 1) % 12 } else { n };
                        let reader = open_reader(&env.mount, &name(position)).await;
                        match &contents[position] {
                            Some(expected) => assert_eq!(read_all(&reader.unwrap(), 100).await.unwrap(), expected),
                            None => assert_eq!(kind(reader), Some(FsErrorKind::NotFound)),
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        });
    }
}
