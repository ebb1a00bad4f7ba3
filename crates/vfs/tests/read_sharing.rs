//! The node's memory for reading, shared by many readers and tenants.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::future::join_all;
use harness::*;
use tidegate_store::Permission;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_vfs::{Config, Mount, Reader};
use tokio::time::Instant;

/// A tenth of this is for reading.
fn memory(read: u64) -> Config {
    Config { memory_budget: Some(ByteSize::mib(read * 10)), write_share: 90, ..config() }
}

/// A store that takes so long to answer a GET.
fn away(millis: u64) -> FaultPlan {
    FaultPlan::none().from(Call::Get, 1, Fault::Delay(Duration::from_millis(millis)))
}

/// Reads a file in order, as a client does that takes 256 KiB in so many milliseconds. Returns how
/// long it took.
async fn download(reader: &Reader, content: &Bytes, pace: u64) -> Duration {
    let began = Instant::now();
    let mut offset = 0;
    while offset < content.len() {
        let data = reader.read(offset as u64, 256 << 10).await.unwrap().chunks().concat();
        assert!(content[offset..].starts_with(&data) && !data.is_empty());
        offset += data.len();
        tokio::time::sleep(Duration::from_millis(pace)).await;
    }
    began.elapsed()
}

async fn open_many(mount: &Mount, count: usize) -> Vec<Reader> {
    let mut readers = Vec::new();
    for _ in 0..count {
        readers.push(open_reader(mount, "/f").await.unwrap());
    }
    readers
}

async fn other_tenant(env: &Env) -> Mount {
    let mut other = account(&Permission::ALL);
    other.tenant.name = "other".parse().unwrap();
    other.user.tenant = other.tenant.name.clone();
    env.vfs.mount(&other).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn fifty_downloads_at_once_end_together() {
    // Alone, each takes 256 ms; 64 MiB every 20 ms are too little for that.
    for (read, most) in [(64, 768), (512, 320)] {
        let env = env_with(memory(read), away(20)).await;
        let content = pattern(16 << 20);
        upload(&env.mount, "/f", &content).await.unwrap();
        let readers = open_many(&env.mount, 50).await;
        let times = join_all(readers.iter().map(|reader| download(reader, &content, 4))).await;
        let (fastest, slowest) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(*slowest <= *fastest * 2, "{fastest:?} and {slowest:?} with {read} MiB");
        assert!(*slowest <= Duration::from_millis(most), "{slowest:?} with {read} MiB");
        drop(readers);
        tokio::task::yield_now().await;
        assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "read"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_gets_as_much_as_who_was_there_first() {
    let env = env_with(memory(64), away(20)).await;
    let content = pattern(32 << 20);
    upload(&env.mount, "/f", &content).await.unwrap();
    let early = open_many(&env.mount, 4).await;
    // They read ahead as far as they may, and their clients stop.
    for reader in &early {
        for offset in (0..(20_u64 << 20)).step_by(1 << 20) {
            reader.read(offset, 256 << 10).await.unwrap();
        }
    }
    let late = open_many(&env.mount, 12).await;
    let times = join_all(late.iter().map(|reader| download(reader, &content, 4))).await;
    let slowest = times.iter().max().unwrap();
    assert!(*slowest <= Duration::from_millis(128 * 4 * 3 / 2), "{slowest:?}");
    assert!(env.metric("tidegate_vfs_read_ahead_dropped_total", "") > 0);
    // What was dropped is fetched again when the clients go on.
    for reader in &early {
        let data = reader.read(20 << 20, 4 << 20).await.unwrap().chunks().concat();
        assert!(data == content[20 << 20..24 << 20]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_two_hundred_handles_starves_no_other() {
    let env = env_with(memory(64), away(20)).await;
    let content = pattern(16 << 20);
    upload(&env.mount, "/f", &content).await.unwrap();
    let other = other_tenant(&env).await;
    let crowd = open_many(&env.mount, 200).await;
    let one = open_reader(&other, "/f").await.unwrap();
    let crowd = join_all(crowd.iter().map(|reader| download(reader, &content, 4)));
    let (alone, _) = tokio::join!(download(&one, &content, 4), crowd);
    assert!(alone <= Duration::from_millis(64 * 4 * 3 / 2), "{alone:?}");
}

#[tokio::test(start_paused = true)]
async fn reads_at_random_queue_for_memory_and_never_exceed_it() {
    let env = env_with(memory(4), away(20)).await;
    let content = pattern(32 << 20);
    upload(&env.mount, "/f", &content).await.unwrap();
    let limit = env.metric("tidegate_vfs_memory_limit_bytes", "read");
    let other = other_tenant(&env).await;
    let readers = open_many(&env.mount, 8).await;
    let one = open_reader(&other, "/f").await.unwrap();
    let began = Instant::now();
    // 8 times 64 times 256 KiB is 32 times the memory there is.
    let flood = readers.iter().flat_map(|reader| {
        (0..64_u64).map(|n| reader.read((n * 37 % 97) * (300 << 10) + (1 << 20), 255 << 10)).collect::<Vec<_>>()
    });
    let flood: Vec<_> = flood.collect();
    let single = async {
        one.read(30 << 20, 4 << 10).await.unwrap();
        assert!(env.metric("tidegate_vfs_reads_waiting", "") > 0, "the others still wait");
        began.elapsed()
    };
    let flood = join_all(flood.into_iter().map(|read| async {
        let read = read.await.unwrap();
        assert!(env.metric("tidegate_vfs_memory_used_bytes", "read") <= limit);
        read.len()
    }));
    let (waited, lens) = tokio::join!(single, flood);
    assert!(lens.into_iter().all(|len| len == 255 << 10));
    assert!(waited < Duration::from_millis(500), "{waited:?}");
    assert!(env.metric("tidegate_vfs_read_waits_total", "") > 0);
    assert_eq!(env.metric("tidegate_vfs_reads_waiting", ""), 0);
}

#[tokio::test(start_paused = true)]
async fn without_memory_a_read_fails_after_a_while_and_says_so() {
    let never = Fault::Delay(Duration::from_secs(3_600));
    let env = env_with(memory(1), FaultPlan::none().from(Call::Get, 2, never)).await;
    upload(&env.mount, "/f", &pattern(8 << 20)).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    let stuck: Vec<_> = (1..8_u64).map(|n| reader.read(n << 20, 255 << 10)).collect();
    let error = reader.read(7 << 20, 255 << 10).await.err().unwrap();
    assert_eq!(error.to_string(), "the node's memory budget is in use; try again in a while");
    drop(stuck);
}
