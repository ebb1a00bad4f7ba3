//! How far files are read ahead, and how many requests it takes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::future::join_all;
use harness::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_store::{Body, Condition, ObjectAttributes, ObjectStore};
use tidegate_vfs::{Config, Reader};
use tokio::time::Instant;

const MIB: u64 = 1 << 20;

/// A file of so many MiB in a store that takes so long to answer a GET.
async fn file(mib: usize, away: u64) -> (Env, Reader) {
    let plan = FaultPlan::none().from(Call::Get, 1, Fault::Delay(Duration::from_millis(away)));
    let env = env_with(Config { memory_budget: Some(ByteSize::gib(1)), ..config() }, plan).await;
    let body = Body::from(Bytes::from(vec![0; mib << 20]));
    let checksum = body.checksum();
    env.store.put(&key_of("f"), body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    (env, reader)
}

fn held(env: &Env) -> u64 {
    env.metric("tidegate_vfs_memory_used_bytes", "read").unsigned_abs()
}

/// Reads in order with 2 MiB in flight and takes 5 ms for them: 400 MiB/s. Returns the time that it
/// took and the most memory that was held.
async fn fast_client(mib: usize, away: u64) -> (Duration, u64, u64) {
    let (env, reader) = file(mib, away).await;
    let began = Instant::now();
    let mut most = 0;
    for offset in (0..(mib as u64) * MIB).step_by(2 << 20) {
        let reads = (0..8).map(|n| reader.read(offset + n * (256 << 10), 256 << 10));
        for read in join_all(reads).await {
            assert_eq!(read.unwrap().len(), 256 << 10);
        }
        most = most.max(held(&env));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (began.elapsed(), most, env.calls.calls(Call::Get))
}

#[tokio::test(start_paused = true)]
async fn a_fast_client_does_not_feel_a_store_that_is_20_ms_away() {
    let (near, _, _) = fast_client(256, 0).await;
    let (far, most, gets) = fast_client(256, 20).await;
    assert!(far <= near.mul_f64(1.1), "{far:?} against {near:?}");
    // 8 MiB are under way at any time; twice that, a segment and what was not let go of yet.
    assert!(most <= 48 * MIB, "{most} bytes held");
    assert!(gets <= 40, "{gets} GETs");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_has_little_held() {
    let (env, reader) = file(64, 20).await;
    let mut most = 0;
    // 1 MiB/s, for 10 seconds.
    for n in 0..320_u64 {
        reader.read(n * (32 << 10), 32 << 10).await.unwrap();
        tokio::time::sleep(Duration::from_millis(31)).await;
        if n > 64 {
            most = most.max(held(&env));
        }
    }
    assert!(most <= 3 * MIB, "{most} bytes held");
    assert!(env.calls.calls(Call::Get) <= 12, "{} GETs for 10 MiB", env.calls.calls(Call::Get));
}

#[tokio::test]
async fn neighbours_read_at_once_share_a_request() {
    let (env, reader) = file(16, 0).await;
    let reads = (0..16_u64).map(|n| reader.read(8 * MIB + (n ^ 3) * 4096, 4096));
    for read in join_all(reads.collect::<Vec<_>>()).await {
        assert_eq!(read.unwrap().len(), 4096);
    }
    assert!(env.calls.calls(Call::Get) <= 5, "{} GETs", env.calls.calls(Call::Get));
}

#[tokio::test]
async fn backward_and_even_steps_take_few_requests() {
    let (env, reader) = file(16, 0).await;
    let mut gets = env.calls.calls(Call::Get);
    for step in [-4096_i64, 8192, -8192] {
        let mut offset = 8 * MIB as i64 + 1;
        for _ in 0..256 {
            assert_eq!(reader.read(offset as u64, 4096).await.unwrap().len(), 4096);
            offset += step;
        }
        let took = env.calls.calls(Call::Get) - gets;
        assert!(took <= 24, "{took} GETs for 256 reads {step} apart");
        gets += took;
    }
}

#[tokio::test]
async fn a_database_gets_its_pages_and_no_more() {
    let env = env().await;
    let content = pattern(8 << 20);
    upload(&env.mount, "/f", &content).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    let before = env.calls.calls(Call::Get);
    for page in [1_900_u64, 200, 1_000, 333, 1_900, 1_401, 777, 200] {
        let data = reader.read(page * 4096, 4096).await.unwrap().chunks().concat();
        assert!(data == content[page as usize * 4096..][..4096]);
    }
    assert_eq!(env.calls.calls(Call::Get) - before, 6, "a page again is no request");
    // The first range of 256 KiB, and a unit of 64 KiB for each page.
    assert!(held(&env) <= (256 << 10) + 6 * (64 << 10), "{}", held(&env));
}
