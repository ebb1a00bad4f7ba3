//! Files on their way into the store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use harness::*;
use proptest::prelude::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan, Rates};
use tidegate_store::{Body, ObjectStore, Permission, StoreErrorKind};
use tidegate_vfs::{Admission, Config, FsErrorKind, OpenOptions, SetAttributes};

#[tokio::test]
async fn a_file_up_to_one_part_is_one_put() {
    let env = env().await;
    for (name, len) in [("/empty", 0), ("/small", 100), ("/part", PART)] {
        let before = env.calls.calls(Call::Put);
        upload(&env.mount, name, &pattern(len)).await.unwrap();
        assert_eq!(env.object(&name[1..]).await.unwrap(), pattern(len));
        assert_eq!(env.calls.calls(Call::Put), before + 1, "{name}");
    }
    assert_eq!(env.calls.calls(Call::BeginUpload), 0);
    assert_eq!(env.calls.calls(Call::List), 1, "one look at the directory for all three");
    assert_eq!(env.requests(), 4);
}

// `put` of OpenSSH's client looks for the target first.
#[tokio::test]
async fn a_client_that_looks_before_it_writes_costs_no_second_look() {
    let env = env().await;
    assert_eq!(kind(env.mount.stat(&path("/new")).await), Some(FsErrorKind::NotFound));
    assert_eq!(env.requests(), 2, "is it a file, is it a directory");
    upload(&env.mount, "/new", &pattern(100)).await.unwrap();
    assert_eq!(env.requests(), 3, "the PUT");
}

#[tokio::test]
async fn a_larger_file_goes_in_parts_and_nothing_shows_before_close() {
    let env = env().await;
    let data = pattern(5 * PART + 123);
    let mut writer = open_writer(&env.mount, "/large", create()).await.unwrap();
    write_all(&mut writer, &data, 10_000).await.unwrap();
    assert_eq!(writer.attributes().size, data.len() as u64);
    assert!(env.object("large").await.is_none());
    assert_eq!(kind(open_reader(&env.mount, "/large").await), Some(FsErrorKind::NotFound));
    assert_eq!(names(&env.mount, "/").await, Vec::<String>::new());
    writer.finish().await.unwrap();
    assert_eq!(env.object("large").await.unwrap(), data);
    let calls = [Call::BeginUpload, Call::PutPart, Call::CompleteUpload, Call::Put].map(|call| env.calls.calls(call));
    assert_eq!(calls, [1, 6, 1, 0]);
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0);
    assert_eq!(env.metric("tidegate_vfs_open_writers", ""), 0);
}

#[tokio::test]
async fn writes_out_of_order_and_holes_give_the_right_bytes() {
    let env = env().await;
    let data = pattern(3 * PART);
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    for offset in [PART, 0, 2 * PART + 50_000] {
        let len = if offset > 2 * PART { 1_000 } else { PART };
        write(&mut writer, offset, data.slice(offset..offset + len)).await.unwrap();
    }
    writer.finish().await.unwrap();
    let mut expected = data[..2 * PART + 51_000].to_vec();
    expected[2 * PART..2 * PART + 50_000].fill(0);
    assert!(env.object("f").await.unwrap() == expected);
}

#[tokio::test]
async fn a_range_that_was_sent_is_refused_and_the_file_is_not_published() {
    let env = env().await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write_all(&mut writer, &pattern(3 * PART + 1), PART).await.unwrap();
    assert_eq!(kind(write(&mut writer, PART + 5, Bytes::from_static(b"x")).await), Some(FsErrorKind::Unsupported));
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::Unsupported));
    assert!(env.object("f").await.is_none());
    assert_eq!(env.uploads().await, 0);
}

#[tokio::test]
async fn what_is_kept_on_scratch_may_be_written_again_and_cut_off_after_it_was_sent() {
    let env = env_with(Config { keep_uploads: true, ..config() }, FaultPlan::none()).await;
    let mut expected = pattern(4 * PART).to_vec();
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write_all(&mut writer, &pattern(4 * PART), PART).await.unwrap();
    write(&mut writer, PART + 5, Bytes::from_static(b"again")).await.unwrap();
    expected[PART + 5..PART + 10].copy_from_slice(b"again");
    writer.set_attributes(size(2 * PART as u64 + 7)).await.unwrap();
    expected.truncate(2 * PART + 7);
    writer.finish().await.unwrap();
    assert!(env.object("f").await.unwrap() == expected);
    assert_eq!(env.uploads().await, 0);
}

/// As programs do that ask for room first and give back what they did not need.
#[tokio::test]
async fn what_was_never_written_may_be_cut_off_while_parts_are_sent() {
    let env = env().await;
    let data = pattern(3 * PART + 1_000);
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    writer.set_attributes(size(100 * PART as u64)).await.unwrap();
    write_all(&mut writer, &data, 30_000).await.unwrap();
    assert_eq!(writer.attributes().size, 100 * PART as u64);
    writer.set_attributes(size(data.len() as u64 + 10)).await.unwrap();
    writer.set_attributes(size(data.len() as u64 - 10)).await.unwrap();
    let sent = writer.set_attributes(size(3 * PART as u64 - 1)).await;
    assert_eq!(kind(sent), Some(FsErrorKind::Unsupported), "the end of a part that is in the store");
    writer.set_attributes(size(data.len() as u64 + 5)).await.unwrap();
    writer.finish().await.unwrap();
    let expected = [&data[..data.len() - 10], &[0; 15]].concat();
    assert!(env.object("f").await.unwrap() == expected);
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0);
}

// ZIP, WAV and MP4 have their header written last.
#[tokio::test]
async fn the_first_part_may_be_written_again_after_it_was_sent() {
    let env = env().await;
    let data = pattern(5 * PART + 100);
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write_all(&mut writer, &data, PART / 2).await.unwrap();
    let mut expected = data.to_vec();
    for (offset, text) in [(0, &b"RIFF"[..]), (2, b"ff"), (PART - 4, b"size")] {
        write(&mut writer, offset, Bytes::from_static(text)).await.unwrap();
        expected[offset..offset + text.len()].copy_from_slice(text);
    }
    writer.finish().await.unwrap();
    assert!(env.object("f").await.unwrap() == expected);
    assert_eq!(env.calls.calls(Call::PutPart), 6 + 1, "the first one twice");
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0);
    assert_eq!(env.metric("tidegate_vfs_scratch_used_bytes", ""), 0);
}

#[tokio::test]
async fn exclusive_creation_has_one_winner() {
    let env = env().await;
    let options = OpenOptions { exclusive: true, ..create() };
    let mounts = [env.mount_with(&Permission::ALL).await, env.mount_with(&Permission::ALL).await];
    let mut first = open_writer(&env.mount, "/f", options).await.unwrap();
    let mut second = open_writer(&mounts[0], "/f", options).await.unwrap();
    let mut large = open_writer(&mounts[1], "/f", options).await.unwrap();
    write(&mut first, 0, Bytes::from_static(b"first")).await.unwrap();
    write(&mut second, 0, Bytes::from_static(b"second")).await.unwrap();
    write_all(&mut large, &pattern(2 * PART + 1), PART).await.unwrap();
    first.finish().await.unwrap();
    assert_eq!(kind(second.finish().await), Some(FsErrorKind::AlreadyExists));
    assert_eq!(kind(large.finish().await), Some(FsErrorKind::AlreadyExists));
    assert_eq!(env.object("f").await.unwrap(), "first");
    assert_eq!(env.uploads().await, 0, "the loser's parts are gone");
    assert_eq!(kind(open_writer(&env.mount, "/f", options).await), Some(FsErrorKind::AlreadyExists));
}

#[tokio::test]
async fn creation_without_trunc_never_drops_what_someone_else_made_meanwhile() {
    let env = env().await;
    let options = OpenOptions { write: true, create: true, append: true, ..OpenOptions::default() };
    let mut writer = open_writer(&env.mount, "/log", options).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"mine")).await.unwrap();
    env.put("log", b"theirs", &[]).await;
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::AlreadyExists));
    assert_eq!(env.object("log").await.unwrap(), "theirs");
}

#[tokio::test]
async fn a_file_with_content_is_replaced_as_a_whole_with_trunc() {
    let env = env().await;
    env.put("full", b"content", &[]).await;
    env.put("made", b"", &[("mode", "33152")]).await;
    let write_only = OpenOptions { write: true, ..OpenOptions::default() };
    assert_eq!(kind(open_writer(&env.mount, "/missing", write_only).await), Some(FsErrorKind::NotFound));

    let truncating = OpenOptions { truncate: true, ..write_only };
    let mut writer = open_writer(&env.mount, "/full", truncating).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(env.object("full").await.unwrap(), "content", "readers see the old file until CLOSE");
    writer.finish().await.unwrap();
    assert_eq!(env.object("full").await.unwrap(), "new");

    let mut writer = open_writer(&env.mount, "/made", write_only).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"x")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(env.mount.stat(&path("/made")).await.unwrap().mode, 0o100_600, "the mode it was made with");
}

#[tokio::test]
async fn append_ignores_offsets() {
    let env = env().await;
    let mut writer =
        open_writer(&env.mount, "/log", OpenOptions { append: true, write: true, ..create() }).await.unwrap();
    write(&mut writer, 700, Bytes::from_static(b"one,")).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"two")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(env.object("log").await.unwrap(), "one,two");
}

#[tokio::test]
async fn files_need_a_directory_and_a_free_name() {
    let env = env().await;
    env.put("dir/", b"", &[]).await;
    env.put("implied/child", b"x", &[]).await;
    env.put("file", b"x", &[]).await;
    for name in ["/missing/f", "/file/f", "/dir/missing/f"] {
        assert_eq!(kind(open_writer(&env.mount, name, create()).await), Some(FsErrorKind::NotFound), "{name}");
    }
    for name in ["/", "/dir", "/implied"] {
        assert_eq!(kind(open_writer(&env.mount, name, create()).await), Some(FsErrorKind::IsADirectory), "{name}");
    }
    for name in ["/dir/f", "/implied/f", "/file"] {
        upload(&env.mount, name, &pattern(3)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_small_files_into_one_directory_cost_one_put_each() {
    let env = env().await;
    env.mount.make_directory(&path("/d"), SetAttributes::default()).await.unwrap();
    let before = env.requests();
    for n in 0..1_000 {
        // 20 a second, so that what is known of the directory grows old again and again.
        tokio::time::sleep(Duration::from_millis(50)).await;
        upload(&env.mount, &format!("/d/{n}"), &pattern(10)).await.unwrap();
    }
    assert_eq!(env.calls.calls(Call::Put), 1_001, "and the directory");
    let others = env.requests() - before - 1_000;
    assert!(others <= 200, "{others} other requests");
    assert!(others >= 1, "the directory is looked at again");
}

#[tokio::test]
async fn attributes_set_at_any_time_before_close_are_kept() {
    let env = env().await;
    for (name, len) in [("/small", 10), ("/large", 3 * PART)] {
        let attributes = SetAttributes { owner: Some((7, 8)), ..mode(0o640) };
        let mut writer = open_writer(&env.mount, name, OpenOptions { attributes, ..create() }).await.unwrap();
        write_all(&mut writer, &pattern(len), PART).await.unwrap();
        let size = Some(len as u64);
        writer.set_attributes(SetAttributes { size, ..times(1_000, 2_000) }).await.unwrap();
        writer.finish().await.unwrap();
        let shown = env.mount.stat(&path(name)).await.unwrap();
        assert_eq!((shown.mode, shown.uid, shown.gid), (0o100_640, 7, 8));
        assert_eq!((shown.atime, shown.mtime, shown.size), (1_000, 2_000, len as u64));
        assert_eq!(env.metadata(&name[1..], "mode").await.unwrap(), "33184", "as s3fs writes it");
        assert!(env.object(&name[1..]).await.unwrap() == pattern(len));
    }
    assert_eq!(env.calls.calls(Call::Copy), 1, "only for what was set after the upload was begun");
}

#[tokio::test]
async fn attributes_that_can_not_be_kept_do_not_fail_the_upload() {
    let plan = FaultPlan::none().from(Call::Copy, 1, Fault::Before(StoreErrorKind::Unavailable));
    let env = env_with(config(), plan).await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write_all(&mut writer, &pattern(3 * PART), PART).await.unwrap();
    writer.set_attributes(mode(0o600)).await.unwrap();
    writer.finish().await.unwrap();
    assert!(env.object("f").await.unwrap() == pattern(3 * PART));
}

#[tokio::test]
async fn sizes_grow_with_zeros() {
    let env = env().await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"abc")).await.unwrap();
    let size = |size| SetAttributes { size: Some(size), ..SetAttributes::default() };
    writer.set_attributes(size(3)).await.unwrap();
    writer.set_attributes(size(5)).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().size, 5);
    assert_eq!(env.object("f").await.unwrap(), "abc\0\0");
}

#[tokio::test]
async fn a_part_that_fails_for_good_latches() {
    let plan = FaultPlan::none().on(Call::PutPart, 2, Fault::Before(StoreErrorKind::Corrupt));
    let env = env_with(config(), plan).await;
    env.put("f", b"old", &[]).await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    let data = pattern(20 * PART);
    let error = write_all(&mut writer, &data, PART).await.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::Corrupt);
    for _ in 0..2 {
        assert_eq!(kind(writer.admit(0, 1)), Some(FsErrorKind::Corrupt));
        assert_eq!(kind(writer.write(0, Bytes::from_static(b"x"))), Some(FsErrorKind::Corrupt));
    }
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::Corrupt));
    assert_eq!(env.object("f").await.unwrap(), "old");
    assert_eq!((env.uploads().await, env.metric("tidegate_vfs_memory_used_bytes", "write")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failure_ends_a_write_that_waits_and_close_tells_the_cause() {
    // The third part fails for good while all lanes are taken by parts that hang.
    let plan = FaultPlan::none()
        .from(Call::PutPart, 1, Fault::Delay(Duration::from_secs(3_600)))
        .on(Call::PutPart, 3, Fault::Delay(Duration::from_secs(1)))
        .on(Call::PutPart, 3, Fault::Before(StoreErrorKind::AccessDenied));
    let env = env_with(config(), plan).await;
    let started = tokio::time::Instant::now();
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    let error = write_all(&mut writer, &pattern(20 * PART), PART).await.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::PermissionDenied);
    assert_eq!(kind(writer.admit(0, 1)), Some(FsErrorKind::PermissionDenied));
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::PermissionDenied));
    assert_eq!(started.elapsed().as_secs(), 1, "nothing waits for the parts that hang");
    assert_eq!((env.object("f").await, env.uploads().await), (None, 0));
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_while_close_waits_ends_it() {
    let plan = FaultPlan::none()
        .from(Call::PutPart, 1, Fault::Delay(Duration::from_secs(3_600)))
        .on(Call::PutPart, 2, Fault::Delay(Duration::from_secs(5)))
        .on(Call::PutPart, 2, Fault::Before(StoreErrorKind::Corrupt));
    let env = env_with(config(), plan).await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write_all(&mut writer, &pattern(3 * PART), PART).await.unwrap();
    let started = tokio::time::Instant::now();
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::Corrupt));
    assert_eq!(started.elapsed().as_secs(), 5);
    assert_eq!(env.metric("tidegate_vfs_parts_in_flight", ""), 0);
}

#[tokio::test]
async fn a_failure_at_any_step_publishes_nothing_and_leaves_nothing() {
    for call in [Call::BeginUpload, Call::PutPart, Call::CompleteUpload] {
        let plan = FaultPlan::none().from(call, 1, Fault::Before(StoreErrorKind::Unavailable));
        let env = env_with(config(), plan).await;
        let result = upload(&env.mount, "/f", &pattern(3 * PART)).await;
        assert_eq!(kind(result), Some(FsErrorKind::Unavailable), "{call:?}");
        assert_eq!((env.object("f").await, env.uploads().await), (None, 0), "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_store_does_a_file_is_whole_or_not_there() {
    let (old, new) = (pattern(100), pattern(4 * PART + 5));
    let (mut stored, mut refused) = (0, 0);
    for seed in 0..60 {
        let rates =
            Rates { before: 0.04, after: 0.04, delay: 0.3, delay_max: Duration::from_millis(9), ..Rates::default() };
        let env = env_with(config(), FaultPlan::seeded(seed, rates)).await;
        let body = Body::from(old.clone());
        let sum = body.checksum();
        env.store.put(&key_of("f"), body, sum, &Default::default(), &Default::default()).await.unwrap();
        match upload(&env.mount, "/f", &new).await {
            Ok(()) => {
                stored += 1;
                assert!(env.object("f").await.unwrap() == new, "seed {seed}");
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), FsErrorKind::Unavailable, "seed {seed}");
                let content = env.object("f").await.unwrap();
                assert!(content == old || content == new, "seed {seed}");
            }
        }
        assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "write"), 0, "seed {seed}");
    }
    assert!(stored > 5 && refused > 5, "{stored} stored, {refused} refused");
}

#[tokio::test]
async fn abandoning_removes_what_was_sent() {
    let env = env().await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write_all(&mut writer, &pattern(3 * PART), PART).await.unwrap();
    writer.abandon().await;
    assert_eq!((env.uploads().await, env.object("f").await), (0, None));
    assert_eq!(env.metric("tidegate_vfs_uploads_aborted_total", ""), 1);
    let untouched = open_writer(&env.mount, "/g", create()).await.unwrap();
    untouched.abandon().await;
    assert!(env.object("g").await.is_none());
}

#[tokio::test]
async fn a_dropped_writer_and_a_dropped_close_abort_in_the_background() {
    let env = env().await;
    for cut_close in [false, true] {
        let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
        write_all(&mut writer, &pattern(3 * PART), PART).await.unwrap();
        if cut_close {
            let mut close = writer.finish();
            assert!(futures::poll!(&mut close).is_pending());
        } else {
            drop(writer);
        }
        // A guard against hanging only: the abort needs no time, just turns of the runtime.
        let aborted = async {
            while env.uploads().await > 0 || env.metric("tidegate_vfs_memory_used_bytes", "write") > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), aborted).await.unwrap();
        assert!(env.object("f").await.is_none());
    }
}

#[tokio::test]
async fn writing_without_leave_is_refused_instead_of_kept_without_limit() {
    // One part in all: the second can only begin when the first has landed.
    let budget = bytesize::ByteSize::b(PART as u64 * 2 + 100);
    let env = env_with(Config { memory_budget: Some(budget), ..config() }, FaultPlan::none()).await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    let data = pattern(PART);
    assert!(matches!(writer.admit(0, PART as u32).unwrap(), Admission::Ready));
    writer.write(0, data.clone()).unwrap();
    assert!(matches!(writer.admit(PART as u64, 1).unwrap(), Admission::Wait(_)));
    writer.write(PART as u64, data.clone()).unwrap();
    assert_eq!(kind(writer.write(2 * PART as u64, data)), Some(FsErrorKind::Unavailable));
}

#[tokio::test]
async fn permissions_decide_between_creating_and_overwriting() {
    let env = env().await;
    env.put("old", b"old", &[]).await;
    let creator = env.mount_with(&[Permission::Write]).await;
    let changer = env.mount_with(&[Permission::Overwrite]).await;
    assert_eq!(kind(open_writer(&creator, "/old", create()).await), Some(FsErrorKind::PermissionDenied));
    assert_eq!(kind(open_writer(&changer, "/new", create()).await), Some(FsErrorKind::PermissionDenied));
    upload(&changer, "/old", &pattern(5)).await.unwrap();
    let mut writer = open_writer(&creator, "/new", create()).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"mine")).await.unwrap();
    env.put("new", b"theirs", &[]).await;
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::AlreadyExists), "also if it appears later");
    assert_eq!(env.object("new").await.unwrap(), "theirs");
}

#[tokio::test]
async fn a_size_hint_makes_the_parts_large_enough() {
    let env = env().await;
    let attributes = SetAttributes { size: Some(3 << 20), ..SetAttributes::default() };
    let mut writer = open_writer(&env.mount, "/f", OpenOptions { attributes, ..create() }).await.unwrap();
    // More than announced is taken all the same.
    let data = pattern((4 << 20) + 1);
    write_all(&mut writer, &data, 200_000).await.unwrap();
    writer.finish().await.unwrap();
    assert!(env.object("f").await.unwrap() == data);
    assert_eq!(env.calls.calls(Call::PutPart), 5, "parts of 1 MiB");
    let attributes = SetAttributes { size: Some(u64::MAX), ..SetAttributes::default() };
    let result = open_writer(&env.mount, "/f", OpenOptions { attributes, ..create() }).await;
    assert_eq!(kind(result), Some(FsErrorKind::TooLarge));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Clients with many requests under way (fastPut, rclone) deliver them in any order within a window.
    #[test]
    fn pipelined_writes_in_any_order_arrive_whole(
        blocks in 1..60_usize,
        tail in 1..8_192_usize,
        delays in prop::collection::vec(0..16_usize, 64),
    ) {
        const BLOCK: usize = 8 << 10;
        let data = pattern(blocks * BLOCK + tail);
        let mut order: Vec<usize> = (0..=blocks).collect();
        order.sort_by_key(|block| block + delays[*block]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let env = env().await;
            let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
            for block in order {
                let (start, end) = (block * BLOCK, data.len().min((block + 1) * BLOCK));
                write(&mut writer, start, data.slice(start..end)).await.unwrap();
            }
            writer.finish().await.unwrap();
            assert!(env.object("f").await.unwrap() == data);
            assert!(env.store.head(&key_of("f")).await.unwrap().size == data.len() as u64);
        });
    }
}
