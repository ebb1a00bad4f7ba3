//! Limits on what one session, and all sessions of one tenant, have in memory at once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::future::join_all;
use harness::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_vfs::{Config, Mount};

/// A store on which several parts, and several ranges, are on their way at once.
fn far_away() -> FaultPlan {
    let delay = |plan: FaultPlan, call| plan.from(call, 1, Fault::Delay(Duration::from_millis(100)));
    [Call::PutPart, Call::Get].into_iter().fold(FaultPlan::none(), delay)
}

async fn mount_of(env: &Env, tenant: &str, max_in_flight: Option<u64>) -> Mount {
    let mut account = account_of(tenant);
    account.tenant.limits.max_in_flight = max_in_flight;
    env.vfs.mount(&account).await.unwrap()
}

/// Uploads a file, and tells how many parts the node held of all its uploads at most.
async fn most_held(env: &Env, mount: &Mount, name: &str, data: &Bytes) -> u64 {
    let mut writer = open_writer(mount, name, create()).await.unwrap();
    let mut most = 0;
    for offset in (0..data.len()).step_by(10_000) {
        write(&mut writer, offset, data.slice(offset..data.len().min(offset + 10_000))).await.unwrap();
        most = most.max(env.metric("tidegate_vfs_memory_used_bytes", "write") as u64);
    }
    within(writer.finish()).await.unwrap();
    most.div_ceil(PART as u64)
}

#[tokio::test(start_paused = true)]
async fn a_session_has_no_more_parts_under_way_than_its_limit_and_one() {
    let data = pattern(40 * PART);
    let most_with = async |max: Option<u64>| {
        let config = Config { session_in_flight_max: max.map(ByteSize::b), ..config() };
        let env = env_with(config, far_away()).await;
        let most = most_held(&env, &env.mount, "/f", &data).await;
        assert_eq!(env.object("f").await.unwrap(), data);
        (most, env.metric("tidegate_vfs_in_flight_limited_total", "session") > 0)
    };
    let (free, limited) = most_with(None).await;
    assert!(free > 6 && !limited, "{free} parts without a limit");
    let part = PART as u64;
    assert_eq!(most_with(Some(3 * part)).await, (3, true));
    assert_eq!(most_with(Some(part)).await, (1, true), "one after the other");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_s_limit_holds_for_all_its_sessions_and_for_nobody_else() {
    let env = env_with(config(), far_away()).await;
    let (one, two) =
        (mount_of(&env, "alpha", Some(4 * PART as u64)).await, mount_of(&env, "alpha", Some(4 * PART as u64)).await);
    let other = mount_of(&env, "beta", None).await;
    let data = pattern(40 * PART);
    let held = [most_held(&env, &one, "/1", &data), most_held(&env, &two, "/2", &data)];
    let most = join_all(held).await.into_iter().max().unwrap();
    assert!(most <= 5, "{most} parts: what the limit says, and one for who had nothing");
    assert!(env.metric("tidegate_vfs_in_flight_limited_total", "tenant") > 0);

    let mut still = open_writer(&one, "/still", create()).await.unwrap();
    write(&mut still, 0, pattern(PART)).await.unwrap();
    assert!(most_held(&env, &other, "/f", &data).await > 6, "another tenant's upload is as fast as ever");
    still.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_any_room_all_that_is_asked_for_still_gets_done() {
    let env = env_with(Config { budget_wait: Duration::from_secs(600), ..config() }, far_away()).await;
    let mount = mount_of(&env, "alpha", Some(0)).await;
    let data = pattern(5 * PART + 7);
    let uploads = (0..8).map(|n| {
        let (mount, data) = (mount.clone(), data.clone());
        async move { upload(&mount, &format!("/{n}"), &data).await }
    });
    for uploaded in within(join_all(uploads)).await {
        uploaded.unwrap();
    }
    // Several handles of one session, in turns.
    let mut writers = Vec::new();
    for n in 0..3 {
        writers.push(open_writer(&mount, &format!("/turns{n}"), create()).await.unwrap());
    }
    for offset in (0..data.len()).step_by(30_000) {
        for writer in &mut writers {
            within(write(writer, offset, data.slice(offset..data.len().min(offset + 30_000)))).await.unwrap();
        }
    }
    for writer in writers {
        within(writer.finish()).await.unwrap();
    }
    // Changed in place, and read.
    overwrite(&mount, "/0", 3 * PART, b"changed").await;
    for name in ["/1", "/turns2"] {
        let reader = open_reader(&mount, name).await.unwrap();
        assert_eq!(within(read_all(&reader, 30_000)).await.unwrap(), data);
    }
    let changed = within(read_all(&open_reader(&mount, "/0").await.unwrap(), 1 << 20)).await.unwrap();
    assert_eq!(changed.slice(3 * PART..3 * PART + 7), "changed");
    is_given_back(&env).await;
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);
}

#[tokio::test(start_paused = true)]
async fn downloads_are_read_ahead_within_the_limit() {
    let env = env_with(Config { memory_budget: Some(ByteSize::mib(256)), ..config() }, far_away()).await;
    let data = pattern(24 << 20);
    let most_with = async |max: Option<u64>| {
        let mount = mount_of(&env, "alpha", max).await;
        upload(&mount, "/f", &data).await.unwrap();
        let reader = open_reader(&mount, "/f").await.unwrap();
        let (mut offset, mut most) = (0, 0);
        while offset < data.len() {
            let read = within(reader.read(offset as u64, 256 << 10)).await.unwrap().chunks().concat();
            assert!(data[offset..].starts_with(&read) && !read.is_empty());
            offset += read.len();
            most = most.max(env.metric("tidegate_vfs_memory_used_bytes", "read"));
        }
        most
    };
    assert!(most_with(None).await > 4 << 20);
    let limit = 2 << 20;
    let most = most_with(Some(limit)).await;
    assert!(most <= limit as i64 + (256 << 10), "{most}: the limit, and one READ");
}
