//! The memory for uploads between tenants, and between the writers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use harness::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_vfs::{Admission, Config, FsErrorKind};

/// Four tenants of a node.
async fn mounts(env: &Env) -> Vec<tidegate_vfs::Mount> {
    let mut mounts = Vec::new();
    for name in ["alpha", "beta", "gamma", "delta"] {
        mounts.push(env.vfs.mount(&account_of(name)).await.unwrap());
    }
    mounts
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_takes_all_it_can_leaves_room_for_the_next() {
    let env = env_with(parts(16), FaultPlan::none()).await;
    let mounts = mounts(&env).await;
    let mut held = Vec::new();
    for n in 0..16 {
        let mut writer = open_writer(&mounts[0], &format!("/{n}"), create()).await.unwrap();
        if let Admission::Ready = writer.admit(0, 1).unwrap() {
            writer.write(0, Bytes::from_static(b"x")).unwrap();
            held.push(writer);
        }
    }
    assert_eq!(held.len(), 14, "and they never send another byte");
    within(upload(&mounts[1], "/f", &pattern(20 * PART))).await.unwrap();
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);
}

#[tokio::test(start_paused = true)]
async fn fifty_uploads_at_once_end_within_twice_the_time_of_one_another() {
    // 64 parts, as 512 MiB are at the default size; each request to the store takes 20 ms.
    let plan = [Call::PutPart, Call::BeginUpload, Call::CompleteUpload]
        .into_iter()
        .fold(FaultPlan::none(), |plan, call| plan.from(call, 1, Fault::Delay(Duration::from_millis(20))));
    let env = env_with(parts(64), plan).await;
    let data = pattern(40 * PART);
    let started = tokio::time::Instant::now();
    let uploads = (0..50).map(|n| {
        let (mount, data) = (env.mount.clone(), data.clone());
        tokio::spawn(async move {
            upload(&mount, &format!("/{n}"), &data).await.unwrap();
            started.elapsed()
        })
    });
    let ends: Vec<Duration> = futures::future::join_all(uploads).await.into_iter().map(|end| end.unwrap()).collect();
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(*last < 2 * *first, "{first:?} to {last:?}");
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);
}

#[tokio::test(start_paused = true)]
async fn uploads_that_stand_still_make_way_for_a_tenant_that_lacks_its_share() {
    let config = Config { budget_wait: Duration::from_secs(30), ..parts(16) };
    let env = env_with(config, FaultPlan::none()).await;
    let mounts = mounts(&env).await;
    let mut held = Vec::new();
    // Two tenants hold all but nothing between them; the first has been still the longest.
    for (mount, count) in [(0, 14), (1, 2)] {
        for n in 0..count {
            let mut writer = open_writer(&mounts[mount], &format!("/{n}"), create()).await.unwrap();
            write(&mut writer, 0, Bytes::from_static(b"x")).await.unwrap();
            held.push(writer);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    // One of the first tenant's goes on, so that it stands still no more.
    write(&mut held[0], 0, pattern(PART)).await.unwrap();

    let started = tokio::time::Instant::now();
    let data = pattern(3 * PART);
    within(upload(&mounts[2], "/f", &data)).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 15, "half of what a write waits");
    assert_eq!(env.metric("tidegate_vfs_uploads_yielded_total", ""), 1);
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);

    let (mut kept, mut lost) = (0, 0);
    for (n, mut writer) in held.into_iter().enumerate() {
        let size = writer.attributes().size;
        let written = write(&mut writer, PART - 1, Bytes::from_static(b"y")).await;
        match writer.finish().await {
            Ok(_) => kept += 1,
            Err(error) => {
                lost += 1;
                assert_eq!((error.kind(), size), (FsErrorKind::Unavailable, 1), "writer {n}");
                assert!(error.to_string().contains("stood still") && written.is_err());
                assert!((1..14).contains(&n), "one of the tenant that holds more than its share");
            }
        }
    }
    assert_eq!((kept, lost), (15, 1));
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tenants_own_uploads_never_make_way_for_one_another() {
    let env = env_with(Config { budget_wait: Duration::from_secs(30), ..parts(2) }, FaultPlan::none()).await;
    let mut still = open_writer(&env.mount, "/still", create()).await.unwrap();
    write(&mut still, 0, Bytes::from_static(b"x")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let mut refused = open_writer(&env.mount, "/refused", create()).await.unwrap();
    assert!(write(&mut refused, 0, Bytes::from_static(b"x")).await.is_err());
    still.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_keeps_one_part_and_hinders_nobody() {
    let env = env_with(parts(8), slow_store()).await;
    let data = pattern(6 * PART);
    let mut stopped = open_writer(&env.mount, "/stopped", create()).await.unwrap();
    write_all(&mut stopped, &data.slice(..5 * PART + 100), 30_000).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), PART as i64);
    for n in 0..20 {
        within(upload(&env.mount, &format!("/{n}"), &data)).await.unwrap();
    }
    for offset in (5 * PART + 100..6 * PART).step_by(1_000) {
        write(&mut stopped, offset, data.slice(offset..data.len().min(offset + 1_000))).await.unwrap();
    }
    stopped.finish().await.unwrap();
    assert!(env.object("stopped").await.unwrap() == data);
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fast_upload_gives_way_to_many_that_want_their_first_part() {
    let plan = FaultPlan::none().from(Call::PutPart, 1, Fault::Delay(Duration::from_secs(2)));
    let env = env_with(Config { budget_wait: Duration::from_secs(30), ..parts(64) }, plan).await;
    let (many, one) = (pattern(200 * PART), pattern(PART));
    let fast = tokio::spawn({
        let mount = env.mount.clone();
        async move { upload(&mount, "/fast", &many).await }
    });
    while env.metric("tidegate_vfs_parts_in_flight", "") < 16 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let started = tokio::time::Instant::now();
    let mut others = Vec::new();
    for n in 0..49 {
        others.push(open_writer(&env.mount, &format!("/{n}"), create()).await.unwrap());
    }
    let firsts = others.iter_mut().map(|other| write(other, 0, one.clone()));
    for first in futures::future::join_all(firsts).await {
        first.unwrap();
    }
    assert!(started.elapsed() <= Duration::from_secs(2), "as soon as the fast one's parts have landed");
    // They keep what they hold, and the fast one goes on with what is left.
    fast.await.unwrap().unwrap();
    assert_eq!(env.metric("tidegate_vfs_budget_refusals_total", ""), 0);
}
