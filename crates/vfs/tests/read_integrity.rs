//! Bytes that were damaged on their way from the store, and requests that nobody needs any more.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use bytesize::ByteSize;
use futures::future::join_all;
use harness::*;
use prometheus::Registry;
use proptest::prelude::*;
use tidegate_store::Permission;
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore, Rates, Sleep};
use tidegate_store::memory::MemoryObjectStore;
use tidegate_vfs::{Config, FsErrorKind, Metrics, Vfs};

const CHECKS: &str = "tidegate_vfs_download_checks_total";

fn damaged(nth: u64, at: u64) -> FaultPlan {
    FaultPlan::none().on(Call::Get, nth, Fault::DamagedBody { at })
}

#[tokio::test]
async fn a_damaged_download_fails_at_its_end() {
    for (damage, whole) in [(damaged(3, 70_000), false), (FaultPlan::none(), true)] {
        let env = env_with(config(), damage).await;
        let data = pattern((9 << 20) + 77);
        upload(&env.mount, "/f", &data).await.unwrap();
        let reader = open_reader(&env.mount, "/f").await.unwrap();
        let mut offset = 0;
        let last = data.len() as u64 / (32 << 10) * (32 << 10);
        while offset < last {
            assert_eq!(reader.read(offset, 32 << 10).await.unwrap().len(), 32 << 10);
            offset += 32 << 10;
        }
        for _ in 0..2 {
            let read = reader.read(last, 32 << 10).await;
            if whole {
                assert!(read.unwrap().chunks().concat() == data[last as usize..]);
            } else {
                assert_eq!(kind(read), Some(FsErrorKind::Corrupt));
            }
        }
        assert_eq!(env.metric(CHECKS, "corrupt") > 0, !whole);
        assert_eq!(env.metric(CHECKS, "good") > 0, whole);
        assert_eq!(env.calls.calls(Call::Checksum), 1, "asked for once");
    }
}

#[tokio::test]
async fn a_small_file_is_compared_before_its_first_byte_and_fetched_once_more() {
    let env = env_with(config(), damaged(1, 99_000)).await;
    let data = pattern(100_000);
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert!(read_all(&reader, 32 << 10).await.unwrap() == data, "the damage is at the end, and not seen");
    assert_eq!((env.calls.calls(Call::Get), env.calls.calls(Call::Checksum)), (2, 0));
    assert_eq!((env.metric(CHECKS, "corrupt"), env.metric(CHECKS, "good")), (1, 1));

    let env = env_with(config(), FaultPlan::none().from(Call::Get, 1, Fault::DamagedBody { at: 99_000 })).await;
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    for _ in 0..2 {
        assert_eq!(kind(reader.read(0, 10).await), Some(FsErrorKind::Corrupt));
    }
    assert_eq!(env.calls.calls(Call::Get), 2, "once more, not again and again");
}

#[tokio::test]
async fn files_without_a_checksum_and_reads_at_random_are_not_compared() {
    let data = pattern(3 << 20);
    // The store does not tell.
    let silent = damaged(2, 5).from(Call::Checksum, 1, Fault::Before(tidegate_store::StoreErrorKind::Unsupported));
    let env = env_with(config(), silent).await;
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert_eq!(read_all(&reader, 32 << 10).await.unwrap().len(), data.len());
    assert_eq!((env.metric(CHECKS, "unknown"), env.metric(CHECKS, "corrupt")), (1, 0));
    // The client does not read it from the beginning.
    let env = env_with(config(), damaged(2, 5)).await;
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    for offset in [1 << 20, (1 << 20) + 1_000, (3 << 20) - 1_000] {
        assert_eq!(reader.read(offset, 1_000).await.unwrap().len(), 1_000);
    }
    assert_eq!((env.metric(CHECKS, ""), env.calls.calls(Call::Checksum)), (0, 0));
    // It is switched off.
    let env = env_with(Config { verify_downloads: false, ..config() }, damaged(2, 5)).await;
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert_eq!(read_all(&reader, 32 << 10).await.unwrap().len(), data.len());
    assert_eq!((env.metric(CHECKS, ""), env.calls.calls(Call::Checksum)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_download_whose_read_ahead_was_dropped_is_compared_all_the_same() {
    let read = Config { memory_budget: Some(ByteSize::mib(40)), write_share: 90, ..config() };
    let env = env_with(read, FaultPlan::none()).await;
    let data = pattern((6 << 20) + 5);
    upload(&env.mount, "/f", &data).await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..12 {
        let reader = open_reader(&env.mount, "/f").await.unwrap();
        // In the middle of a range, when the others come.
        for offset in (0..(1_u64 << 20) + (96 << 10)).step_by(32 << 10) {
            reader.read(offset, 32 << 10).await.unwrap();
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        readers.push(reader);
    }
    assert!(env.metric("tidegate_vfs_read_ahead_dropped_total", "") > 0);
    for reader in &readers {
        let mut offset = (1_u64 << 20) + (96 << 10);
        while offset < data.len() as u64 {
            offset += reader.read(offset, 32 << 10).await.unwrap().len() as u64;
        }
    }
    assert_eq!((env.metric(CHECKS, "good"), env.metric(CHECKS, "")), (12, 12));
}

/// Counts down when a request that hangs is dropped.
struct Hanging(Arc<AtomicI64>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[tokio::test]
async fn closing_a_file_stops_its_requests_at_once() {
    let hanging = Arc::new(AtomicI64::new(0));
    let count = Arc::clone(&hanging);
    let sleep: Sleep = Arc::new(move |_| {
        count.fetch_add(1, Relaxed);
        let hangs = Hanging(Arc::clone(&count));
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(hangs);
        })
    });
    let store = MemoryObjectStore::new().with_part_min(PART as u64);
    let plan = FaultPlan::none().from(Call::Get, 2, Fault::Delay(Duration::from_secs(1)));
    let calls = FaultyObjectStore::new(Arc::new(store), plan).with_sleep(sleep);
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let vfs = Vfs::new(Arc::new(calls), config(), metrics);
    let mount = vfs.mount(&account(&Permission::ALL)).await.unwrap();
    upload(&mount, "/f", &pattern(8 << 20)).await.unwrap();
    let reader = open_reader(&mount, "/f").await.unwrap();
    reader.read(0, 10).await.unwrap();
    let in_order = reader.read(300 << 10, 10);
    let at_random = reader.read(7 << 20, 10);
    while hanging.load(Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let before = hanging.load(Relaxed);
    // A read at random whose answer nobody waits for any more stays for its neighbours; what the
    // file has under way ends with it.
    drop((in_order, at_random));
    assert_eq!(hanging.load(Relaxed), before);
    drop(reader);
    while hanging.load(Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn whole_downloads_are_never_called_corrupt(
        size in 1..(4_usize << 20),
        seed in any::<u64>(),
        step in 1_000..300_000_u32,
        at_once in 1..20_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let plan = FaultPlan::seeded(seed, Rates { broken_body: 0.3, ..Rates::default() });
            let env = env_with(config(), plan).await;
            let data = pattern(size);
            upload(&env.mount, "/f", &data).await.unwrap();
            let reader = open_reader(&env.mount, "/f").await.unwrap();
            for group in (0..size).step_by(step as usize).collect::<Vec<_>>().chunks(at_once) {
                for read in join_all(group.iter().map(|offset| reader.read(*offset as u64, step))).await {
                    read.unwrap();
                }
            }
            assert_eq!((env.metric(CHECKS, "good"), env.metric(CHECKS, "")), (1, 1));
        });
    }
}
