//! The node's memory for file content: never exceeded, never a deadlock.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use harness::*;
use tidegate_store::faulty::{Call, FaultPlan};
use tidegate_vfs::{Admission, Config, FsErrorKind, OpenOptions, SetAttributes};

/// As [`pattern`], and quicker to make: no two parts are alike.
fn long_pattern(len: usize) -> Bytes {
    let block = pattern(65_521);
    Bytes::from(block.repeat(len.div_ceil(block.len()))).slice(..len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_writers_share_the_memory_of_eight_parts() {
    let env = env_with(parts(8), slow_store()).await;
    let limit = env.metric("tidegate_vfs_memory_limit_bytes", "write");
    assert_eq!(limit, 8 * PART as i64);
    let data = pattern(3 * PART + 1_000);
    let writers = (0..200).map(|n| {
        let (mount, data) = (env.mount.clone(), data.clone());
        async move {
            let mut writer = open_writer(&mount, &format!("/{n}"), create()).await.unwrap();
            // Never a divisor of a part: writes cross from part to part.
            write_all(&mut writer, &data, 24_000 + n).await.unwrap();
            writer.finish().await.unwrap();
        }
    });
    let writers: Vec<_> = writers.map(tokio::spawn).collect();
    within(async {
        for writer in writers {
            writer.await.unwrap();
            let used = env.metric("tidegate_vfs_memory_used_bytes", "write");
            assert!(used <= limit, "{used} of {limit} bytes");
        }
    })
    .await;
    for n in 0..200 {
        assert!(env.object(&n.to_string()).await.unwrap() == data, "file {n}");
    }
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0);
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);
}

#[tokio::test]
async fn one_part_in_all_is_enough_for_a_file_of_many() {
    let env = env_with(parts(1), FaultPlan::none()).await;
    within(upload(&env.mount, "/f", &pattern(10 * PART + 7))).await.unwrap();
    assert!(env.object("f").await.unwrap() == pattern(10 * PART + 7));
    assert_eq!(env.calls.calls(Call::PutPart), 11);
}

#[tokio::test(start_paused = true)]
async fn an_open_file_without_a_byte_holds_nothing() {
    let env = env_with(parts(2), FaultPlan::none()).await;
    let mut created = Vec::new();
    for n in 0..100 {
        created.push(open_writer(&env.mount, &format!("/{n}"), create()).await.unwrap());
    }
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0);
    upload(&env.mount, "/written", &pattern(3 * PART)).await.unwrap();
    for writer in created {
        assert_eq!(writer.finish().await.unwrap().size, 0);
    }
    assert_eq!(env.object("99").await.unwrap(), "");
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_write_waits_for_memory_and_then_says_so() {
    // With two parts in all, a tenant is sure of one.
    let env = env_with(Config { budget_wait: Duration::from_secs(30), ..parts(2) }, FaultPlan::none()).await;
    let mut first = open_writer(&env.mount, "/a", create()).await.unwrap();
    write(&mut first, 0, Bytes::from_static(b"a")).await.unwrap();
    let mut refused = open_writer(&env.mount, "/b", create()).await.unwrap();
    let started = tokio::time::Instant::now();
    let error = write(&mut refused, 0, Bytes::from_static(b"b")).await.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::Unavailable);
    assert_eq!(error.to_string(), "the node's memory budget is in use; try again in a while");
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 1);
    assert_eq!(kind(refused.finish().await), Some(FsErrorKind::Unavailable));

    let mut waiting = open_writer(&env.mount, "/c", create()).await.unwrap();
    let mut waiting = Box::pin(write(&mut waiting, 0, Bytes::from_static(b"c")));
    assert!(futures::poll!(&mut waiting).is_pending());
    first.finish().await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn parts_that_should_grow_stay_small_while_memory_is_short() {
    const PARTS: usize = 1_100;
    // They would have twice the size behind the first 1,000.
    let config = Config { part_size_max: ByteSize::b(2 * PART as u64), ..parts(8) };
    let data = long_pattern(PARTS * PART);
    for (others, sent) in [(0, 1_050), (6, 1_100)] {
        let env = env_with(config.clone(), FaultPlan::none()).await;
        let mut stopped = Vec::new();
        for n in 0..others {
            let mut writer = open_writer(&env.mount, &format!("/{n}"), create()).await.unwrap();
            write(&mut writer, 0, Bytes::from_static(b"x")).await.unwrap();
            stopped.push(writer);
        }
        let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
        write_all(&mut writer, &data, 250_000).await.unwrap();
        writer.finish().await.unwrap();
        assert!(env.object("f").await.unwrap() == data);
        assert_eq!(env.calls.calls(Call::PutPart), sent, "beside {others} others");
        assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn writes_out_of_order_meet_the_same_parts_when_sizes_shrink() {
    const PARTS: usize = 1_040;
    let config = Config { part_size_max: ByteSize::b(4 * PART as u64), ..parts(16) };
    let env = env_with(config, slow_store()).await;
    let data = long_pattern(PARTS * PART);
    let mut stopped = Vec::new();
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    // Two halves of a part at a time, the second one first; memory gets short, and free again.
    for n in 0..PARTS {
        match n {
            990 => {
                for n in 0..13 {
                    let mut other = open_writer(&env.mount, &format!("/{n}"), create()).await.unwrap();
                    write(&mut other, 0, Bytes::from_static(b"x")).await.unwrap();
                    stopped.push(other);
                }
            }
            1_025 => stopped.clear(),
            _ => {}
        }
        for offset in [n * PART + PART / 2, n * PART] {
            within(write(&mut writer, offset, data.slice(offset..offset + PART / 2))).await.unwrap();
        }
    }
    within(writer.finish()).await.unwrap();
    assert!(env.object("f").await.unwrap() == data);
    let sent = env.calls.calls(Call::PutPart);
    assert!((1_030..1_040).contains(&sent), "{sent} parts");
}

#[tokio::test(start_paused = true)]
async fn small_files_of_known_size_reserve_little() {
    let env = env_with(
        Config { part_size: ByteSize::mib(1), part_size_max: ByteSize::mib(1), ..parts(32) },
        FaultPlan::none(),
    )
    .await;
    let attributes = SetAttributes { size: Some(100), ..SetAttributes::default() };
    let mut writers = Vec::new();
    for n in 0..16 {
        let options = OpenOptions { attributes, ..create() };
        let mut writer = open_writer(&env.mount, &format!("/{n}"), options).await.unwrap();
        write(&mut writer, 0, Bytes::from_static(b"x")).await.unwrap();
        writers.push(writer);
    }
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 16 * 65_536);
    for writer in writers.drain(1..) {
        writer.finish().await.unwrap();
    }
    // The hint was wrong: the reserve grows.
    let mut grown = writers.pop().unwrap();
    write_all(&mut grown, &pattern(900_000), 32 << 10).await.unwrap();
    grown.finish().await.unwrap();
    assert!(env.object("0").await.unwrap() == pattern(900_000));
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_gets_no_memory_fails_the_file_after_a_while() {
    let env = env_with(Config { budget_wait: Duration::from_secs(30), ..parts(1) }, FaultPlan::none()).await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    // The only part has a hole, so it can't be sent, and the next one finds no memory.
    write(&mut writer, 100, Bytes::from_static(b"x")).await.unwrap();
    let error = write(&mut writer, PART, Bytes::from_static(b"y")).await.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::Unavailable);
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::Unavailable), "a hole is never published");
    assert!(env.object("f").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn writers_out_of_order_under_pressure_end_one_way_or_the_other() {
    let config = Config { budget_wait: Duration::from_secs(20), ..parts(6) };
    let env = env_with(config, slow_store()).await;
    let data = pattern(4 * PART);
    let writers = (0..30).map(|n| {
        let (mount, data) = (env.mount.clone(), data.clone());
        tokio::spawn(async move {
            let mut writer = open_writer(&mount, &format!("/{n}"), create()).await?;
            // The second half of each pair of parts comes first.
            for pair in [0, 2 * PART] {
                for offset in [PART, 0, PART + PART / 2, PART / 2] {
                    let at = pair + offset;
                    write(&mut writer, at, data.slice(at..at + PART / 2)).await?;
                }
            }
            writer.finish().await.map(|_| n)
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut whole = 0;
    for writer in writers {
        match within(writer).await.unwrap() {
            Ok(n) => {
                whole += 1;
                assert!(env.object(&n.to_string()).await.unwrap() == data);
            }
            Err(error) => assert_eq!(error.kind(), FsErrorKind::Unavailable),
        }
    }
    assert!(whole > 0, "some get through");
    assert_eq!((env.metric("tidegate_vfs_memory_used_bytes", "write"), env.uploads().await), (0, 0));
}

#[tokio::test]
async fn a_write_across_two_parts_waits_behind_for_the_second() {
    let env = env_with(parts(1), FaultPlan::none()).await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    let data = pattern(PART + 1_000);
    assert!(matches!(writer.admit(0, data.len() as u32).unwrap(), Admission::Ready));
    writer.write(0, data.clone()).unwrap();
    assert_eq!(writer.attributes().size, data.len() as u64);
    let used = env.metric("tidegate_vfs_memory_used_bytes", "write");
    assert_eq!(used, PART as i64, "the rest is held beyond the budget, once");
    assert!(
        matches!(writer.admit(data.len() as u64, 1).unwrap(), Admission::Wait(_)),
        "no more before it has its place"
    );
    within(writer.finish()).await.unwrap();
    assert!(env.object("f").await.unwrap() == data);
}

#[tokio::test]
async fn reading_ahead_stays_inside_the_budget_and_reading_goes_on_without_it() {
    let env = env_with(Config { write_share: 90, ..parts(40) }, FaultPlan::none()).await;
    let limit = env.metric("tidegate_vfs_memory_limit_bytes", "read");
    let data = pattern(3 << 20);
    upload(&env.mount, "/f", &data).await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(open_reader(&env.mount, "/f").await.unwrap());
    }
    let all = futures::future::join_all(readers.iter().map(|reader| read_all(reader, 32 << 10)));
    for content in within(all).await {
        assert!(content.unwrap() == data);
        assert!(env.metric("tidegate_vfs_memory_used_bytes", "read") <= limit);
    }
    assert!(env.metric("tidegate_vfs_read_ahead_refusals_total", "") > 0, "the budget was short");
    drop(readers);
    tokio::task::yield_now().await;
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "read"), 0);
}
