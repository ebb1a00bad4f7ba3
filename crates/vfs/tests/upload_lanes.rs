//! How many parts of a file are under way, seen from outside.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use harness::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_vfs::Mount;
use tokio::time::Instant;

/// How long a client takes for a part.
const FILLS: Duration = Duration::from_millis(10);

fn delayed(delay: Duration) -> FaultPlan {
    FaultPlan::none().from(Call::PutPart, 1, Fault::Delay(delay))
}

/// Uploads `parts` parts at the pace of a client; gives the time it took and the most parts that
/// were under way.
async fn upload_in_time(env: &Env, mount: &Mount, parts: usize) -> (Duration, i64) {
    let data = pattern(parts * PART);
    let mut writer = open_writer(mount, "/f", create()).await.unwrap();
    let (started, mut peak) = (Instant::now(), 0);
    for n in 0..parts {
        tokio::time::sleep(FILLS).await;
        write(&mut writer, n * PART, data.slice(n * PART..(n + 1) * PART)).await.unwrap();
        peak = peak.max(env.metric("tidegate_vfs_parts_in_flight", ""));
    }
    let took = started.elapsed();
    writer.finish().await.unwrap();
    assert!(env.object("f").await.unwrap() == data);
    assert_eq!(env.metric("tidegate_vfs_parts_in_flight", ""), 0);
    (took, peak)
}

#[tokio::test(start_paused = true)]
async fn a_near_store_gets_few_parts_at_once_and_the_client_never_waits() {
    let env = env_with(config(), delayed(Duration::from_millis(20))).await;
    let (took, peak) = upload_in_time(&env, &env.mount, 200).await;
    assert_eq!(env.metric("tidegate_vfs_write_stalls_total", ""), 0);
    assert!(took < FILLS * 200 * 11 / 10 && peak <= 4, "{took:?}, {peak} parts");
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_gets_as_many_parts_as_are_allowed() {
    let env = env_with(config(), delayed(Duration::from_secs(2))).await;
    let (took, peak) = upload_in_time(&env, &env.mount, 400).await;
    assert_eq!(peak, 16);
    // 16 parts in 2 seconds, and a quarter as many until it is known that more help.
    assert!(took < Duration::from_secs(2 * 400 / 16 + 8), "{took:?}");
    assert!(env.metric("tidegate_vfs_write_stalls_total", "lanes") > 0);
    assert_eq!(env.metric("tidegate_vfs_write_stalls_total", "memory"), 0);
}

#[tokio::test(start_paused = true)]
async fn waits_for_memory_are_told_from_waits_for_lanes() {
    let budget = bytesize::ByteSize::b(8 * PART as u64);
    let config = tidegate_vfs::Config { memory_budget: Some(budget), ..config() };
    let env = env_with(config, delayed(Duration::from_secs(2))).await;
    let (_, peak) = upload_in_time(&env, &env.mount, 20).await;
    assert!(peak <= 3, "{peak} of four parts");
    assert!(env.metric("tidegate_vfs_write_stalls_total", "memory") > 0);
    assert_eq!(env.metric("tidegate_vfs_write_stalls_total", "lanes"), 0);
}

#[tokio::test(start_paused = true)]
async fn one_slow_part_holds_up_no_other() {
    // Its passing faults are retried behind the port, which takes a minute in all.
    let plan = delayed(Duration::from_millis(20)).on(Call::PutPart, 5, Fault::Delay(Duration::from_secs(60)));
    let env = env_with(config(), plan).await;
    let (took, _) = upload_in_time(&env, &env.mount, 200).await;
    assert!(took < FILLS * 200 * 11 / 10, "{took:?}");
    assert_eq!(env.metric("tidegate_vfs_write_stalls_total", ""), 0);
}
