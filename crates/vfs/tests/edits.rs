//! Files that are changed in place.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::FutureExt;
use harness::*;
use prometheus::Registry;
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{Permission, StoreErrorKind};
use tidegate_vfs::{Config, FsErrorKind, Metrics, OpenFile, OpenOptions, SetAttributes, Vfs};

#[tokio::test]
async fn the_middle_of_a_small_file_is_overwritten() {
    let env = env().await;
    env.put("f", b"0123456789", &[("mode", "33152"), ("mtime", "1000"), ("uid", "7")]).await;
    let before = env.requests();
    overwrite(&env.mount, "/f", 3, b"abc").await;
    assert_eq!(env.object("f").await.unwrap(), "012abc6789");
    assert!(env.requests() - before <= 5, "{} requests", env.requests() - before);
    let shown = env.mount.stat(&path("/f")).await.unwrap();
    assert_eq!((shown.mode, shown.uid), (0o100_600, 7), "attributes stay");
    assert!(shown.mtime > 1_000_000, "but not the time of the old content");
    is_given_back(&env).await;
    assert_eq!(env.metric("tidegate_vfs_open_writers", ""), 0);
}

#[tokio::test]
async fn a_byte_in_a_large_file_moves_one_part_and_copies_the_rest() {
    let env = env().await;
    let data = pattern(40 * PART + 5);
    upload(&env.mount, "/f", &data).await.unwrap();
    for at in [0, 10 * PART + 7, 40 * PART + 4] {
        let sent = [Call::PutPart, Call::CopyPart, Call::Get, Call::Put].map(|call| env.calls.calls(call));
        overwrite(&env.mount, "/f", at, b"!").await;
        let calls = [Call::PutPart, Call::CopyPart, Call::Get, Call::Put].map(|call| env.calls.calls(call));
        let calls: Vec<u64> = calls.iter().zip(sent).map(|(now, before)| now - before).collect();
        assert!(calls[0] == 1 && calls[1] >= 1 && calls[2] <= 2 && calls[3] == 0, "{calls:?} at {at}");
    }
    let mut expected = data.to_vec();
    [0, 10 * PART + 7, 40 * PART + 4].into_iter().for_each(|at| expected[at] = b'!');
    assert!(env.object("f").await.unwrap() == expected);
    assert_eq!(env.uploads().await, 0);
}

#[tokio::test]
async fn a_handle_reads_what_it_wrote_over_what_was_there() {
    let env = env().await;
    let data = pattern(3 * PART);
    upload(&env.mount, "/f", &data).await.unwrap();
    let mut writer = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    assert_eq!(read_whole(&writer).await, data, "before anything is written");
    let mut model = data.to_vec();
    for (n, offset) in [PART - 10, 5, 3 * PART + 100, 2 * PART].into_iter().enumerate() {
        let bytes = Bytes::from(vec![n as u8; 50]);
        write(&mut writer, offset, bytes.clone()).await.unwrap();
        model.resize(model.len().max(offset + 50), 0);
        model[offset..offset + 50].copy_from_slice(&bytes);
        assert_eq!(writer.attributes().size, model.len() as u64);
        assert!(read_whole(&writer).await == model, "after {offset}");
    }
    assert!(env.object("f").await.unwrap() == data, "others see the old file until CLOSE");
    writer.finish().await.unwrap();
    assert!(env.object("f").await.unwrap() == model);
}

#[tokio::test]
async fn a_read_sees_the_file_as_it_was_when_it_was_sent() {
    let env = env().await;
    env.put("f", b"0123456789", &[]).await;
    let mut writer = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    let mut reads = vec![writer.read(0, 10)];
    for data in [&b"aa"[..], b"bb", b"cc", b"dd"] {
        write(&mut writer, 4, Bytes::from_static(data)).await.unwrap();
        reads.push(writer.read(0, 10));
        tokio::task::yield_now().await;
    }
    writer.set_attributes(size(5)).await.unwrap();
    for (read, expected) in reads.into_iter().zip(["45", "aa", "bb", "cc", "dd"]) {
        let found = read.await.unwrap().chunks().concat();
        assert_eq!(found, format!("0123{expected}6789").into_bytes());
    }
    assert_eq!(read_whole(&writer).await, b"0123d");
}

#[tokio::test]
async fn a_new_file_that_is_read_back_is_one_put() {
    let env = env().await;
    let options = OpenOptions { create: true, truncate: true, ..READ_WRITE };
    let mut writer = open_writer(&env.mount, "/f", options).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"hello")).await.unwrap();
    write(&mut writer, 1, Bytes::from_static(b"a")).await.unwrap();
    assert_eq!(read_whole(&writer).await, b"hallo");
    writer.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "hallo");
    assert_eq!((env.calls.calls(Call::Put), env.requests()), (1, 2), "and a look at the directory");
}

#[tokio::test]
async fn sizes_change_by_path_and_by_handle() {
    let env = env().await;
    let data = pattern(3 * PART + 10);
    for (n, new) in [0, 1, PART, PART + 1, 3 * PART, 3 * PART + 11, 6 * PART].into_iter().enumerate() {
        let mut expected = data.to_vec();
        expected.resize(new, 0);
        let name = format!("/{n}");
        upload(&env.mount, &name, &data).await.unwrap();
        env.mount.set_attributes(&path(&name), SetAttributes { mode: Some(0o600), ..size(new as u64) }).await.unwrap();
        assert!(env.object(&name[1..]).await.unwrap() == expected, "by path to {new}");
        assert_eq!(env.mount.stat(&path(&name)).await.unwrap().mode, 0o100_600);

        upload(&env.mount, &name, &data).await.unwrap();
        let mut writer = open_writer(&env.mount, &name, WRITE).await.unwrap();
        writer.set_attributes(size(new as u64)).await.unwrap();
        assert_eq!(writer.finish().await.unwrap().size, new as u64);
        assert!(env.object(&name[1..]).await.unwrap() == expected, "by handle to {new}");
    }
    assert_eq!(env.uploads().await, 0);
}

#[tokio::test]
async fn what_was_cut_off_never_comes_back() {
    let env = env().await;
    upload(&env.mount, "/f", &pattern(2 * PART)).await.unwrap();
    let mut writer = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    write(&mut writer, 10, Bytes::from_static(b"0123456789")).await.unwrap();
    read_whole(&writer).await;
    writer.set_attributes(size(15)).await.unwrap();
    writer.set_attributes(size(30)).await.unwrap();
    write(&mut writer, 25, Bytes::from_static(b"x")).await.unwrap();
    let mut expected = pattern(2 * PART)[..10].to_vec();
    expected.extend_from_slice(b"01234\0\0\0\0\0\0\0\0\0\0x\0\0\0\0");
    assert_eq!(read_whole(&writer).await, expected);
    writer.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), expected);
}

#[tokio::test]
async fn holes_cost_no_scratch_and_have_a_limit() {
    let env = env_with(Config { hole_max: ByteSize::gib(1), ..config() }, FaultPlan::none()).await;
    env.put("f", b"start", &[]).await;
    let mut writer = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    write(&mut writer, 512 << 20, Bytes::from_static(b"far")).await.unwrap();
    assert_eq!(read(&writer, (512 << 20) - 3, 10).await, b"\0\0\0far");
    assert!(env.metric("tidegate_vfs_scratch_used_bytes", "") < 64 << 10);
    assert_eq!(kind(writer.set_attributes(size(2 << 30)).await), Some(FsErrorKind::Unsupported));
    writer.set_attributes(size(8)).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "start\0\0\0");
    assert_eq!(kind(env.mount.set_attributes(&path("/f"), size(2 << 30)).await), Some(FsErrorKind::Unsupported));
    assert_eq!(kind(env.mount.set_attributes(&path("/f"), size(6 << 40)).await), Some(FsErrorKind::TooLarge));
}

#[tokio::test]
async fn handles_of_one_session_share_the_file_and_each_close_publishes() {
    let env = env().await;
    env.put("f", b"0123456789", &[]).await;
    let mut one = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    let mut two = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    let OpenFile::Write(reader) =
        env.mount.open(&path("/f"), OpenOptions { read: true, ..OpenOptions::default() }).await.unwrap()
    else {
        panic!("a reader of what is being changed shares it");
    };
    write(&mut one, 0, Bytes::from_static(b"one")).await.unwrap();
    write(&mut two, 8, Bytes::from_static(b"two")).await.unwrap();
    for writer in [&one, &two, &reader] {
        assert_eq!(read_whole(writer).await, b"one34567two");
        assert_eq!(writer.attributes().size, 11);
    }
    one.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "one34567two", "what there is");
    let puts = env.calls.calls(Call::Put);
    reader.finish().await.unwrap();
    assert_eq!(env.calls.calls(Call::Put), puts, "a handle that wrote nothing publishes nothing");
    write(&mut two, 3, Bytes::from_static(b"!")).await.unwrap();
    assert_eq!(read_whole(&two).await, b"one!4567two", "over the published version");
    two.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "one!4567two");
}

#[tokio::test]
async fn a_handle_goes_on_writing_while_another_is_closed() {
    let env = env_with(config(), slow_store()).await;
    let data = pattern(8 * PART);
    upload(&env.mount, "/f", &data).await.unwrap();
    let mut one = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    let mut two = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    write(&mut one, 2 * PART, Bytes::from(vec![1; PART])).await.unwrap();
    let mut published = data.to_vec();
    published[2 * PART..3 * PART].fill(1);
    let mut later = published.clone();
    let closing = tokio::spawn(one.finish());
    tokio::task::yield_now().await;
    for n in 0..20_usize {
        let at = 2 * PART - 500 + n * 4_000;
        write(&mut two, at, Bytes::from(vec![2; 1_000])).await.unwrap();
        later[at..at + 1_000].fill(2);
        assert!(read(&two, at - 100, 1_200).await == later[at - 100..at + 1_100]);
    }
    closing.await.unwrap().unwrap();
    let object = env.object("f").await.unwrap();
    assert!(object == published || object[2 * PART - 500] == 2, "one moment of the file");
    assert!(read_whole(&two).await == later);
    two.finish().await.unwrap();
    assert!(env.object("f").await.unwrap() == later);
}

#[tokio::test]
async fn another_session_sees_the_old_file_and_a_conflict_is_never_mixed() {
    let env = env().await;
    env.put("f", b"0123456789", &[]).await;
    let other = env.mount_with(&Permission::ALL).await;
    let mut one = open_writer(&env.mount, "/f", WRITE).await.unwrap();
    let mut two = open_writer(&other, "/f", READ_WRITE).await.unwrap();
    write(&mut one, 0, Bytes::from_static(b"one")).await.unwrap();
    write(&mut two, 7, Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(read_whole(&two).await, b"0123456two", "nothing of the other session");
    one.finish().await.unwrap();
    assert_eq!(kind(two.finish().await), Some(FsErrorKind::Conflict));
    assert_eq!(env.object("f").await.unwrap(), "one3456789");

    let mut truncating = open_writer(&other, "/f", OpenOptions { truncate: true, ..WRITE }).await.unwrap();
    write(&mut truncating, 0, Bytes::from_static(b"new")).await.unwrap();
    overwrite(&env.mount, "/f", 0, b"ONE").await;
    truncating.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "new", "a whole upload wins, as it does over another");
}

#[tokio::test]
async fn what_changes_nothing_publishes_nothing() {
    let env = env().await;
    env.put("f", b"content", &[]).await;
    for options in [WRITE, READ_WRITE, OpenOptions { append: true, create: true, ..WRITE }] {
        let mut writer = open_writer(&env.mount, "/f", options).await.unwrap();
        writer.set_attributes(size(7)).await.unwrap();
        writer.finish().await.unwrap();
    }
    let calls = [Call::Put, Call::Copy, Call::BeginUpload, Call::Get].map(|call| env.calls.calls(call));
    assert_eq!(calls, [0; 4]);
}

#[tokio::test]
async fn attributes_of_an_open_file_are_published_with_it() {
    let env = env().await;
    env.put("f", b"content", &[("mode", "33188")]).await;
    let mut writer = open_writer(&env.mount, "/f", WRITE).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"C")).await.unwrap();
    writer.set_attributes(SetAttributes { owner: Some((1, 2)), ..times(5, 6) }).await.unwrap();
    assert_eq!(writer.attributes().mtime, 6);
    writer.finish().await.unwrap();
    let shown = env.mount.stat(&path("/f")).await.unwrap();
    assert_eq!((shown.uid, shown.atime, shown.mtime, shown.mode), (1, 5, 6, 0o100_644));
    assert_eq!(env.calls.calls(Call::Copy), 0);

    let mut writer = open_writer(&env.mount, "/f", WRITE).await.unwrap();
    writer.set_attributes(mode(0o600)).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(env.mount.stat(&path("/f")).await.unwrap().mode, 0o100_600);
    assert_eq!(env.calls.calls(Call::Copy), 1, "the bytes stay in the store");
}

#[tokio::test]
async fn scratch_space_has_a_limit_and_is_given_back() {
    let env = env_with(Config { scratch_limit: ByteSize::kib(300), ..config() }, FaultPlan::none()).await;
    env.put("f", b"content", &[]).await;
    let mut writer = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    write(&mut writer, 0, pattern(200 << 10)).await.unwrap();
    env.put("g", b"old", &[]).await;
    let mut other = open_writer(&env.mount, "/g", READ_WRITE).await.unwrap();
    assert_eq!(kind(write(&mut other, 0, pattern(100 << 10)).await), Some(FsErrorKind::NoSpace));
    assert_eq!(kind(other.finish().await), Some(FsErrorKind::NoSpace), "no file without what was refused");
    writer.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), pattern(200 << 10));
    assert_eq!(env.object("g").await.unwrap(), "old");
    is_given_back(&env).await;
    assert_eq!(env.metric("tidegate_vfs_scratch_limit_bytes", ""), 300 << 10);
}

#[tokio::test]
async fn a_file_that_is_dropped_leaves_nothing() {
    let env = env().await;
    env.put("f", b"content", &[]).await;
    let mut writer = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    write(&mut writer, 0, pattern(2 * PART)).await.unwrap();
    read_whole(&writer).await;
    writer.abandon().await;
    is_given_back(&env).await;
    assert_eq!(env.object("f").await.unwrap(), "content");
    assert_eq!(env.metric("tidegate_vfs_open_writers", ""), 0);
}

#[tokio::test]
async fn failures_leave_the_old_file() {
    let faults = [Call::BeginUpload, Call::CopyPart, Call::PutPart, Call::CompleteUpload, Call::Get];
    for call in faults {
        let data = pattern(10 * PART);
        let plan = FaultPlan::none().from(call, 11, Fault::Before(StoreErrorKind::Unavailable));
        let plan = if matches!(call, Call::PutPart) {
            plan
        } else {
            FaultPlan::none().from(
                call,
                if matches!(call, Call::BeginUpload | Call::CompleteUpload) { 2 } else { 1 },
                Fault::Before(StoreErrorKind::Unavailable),
            )
        };
        let env = env_with(config(), plan).await;
        upload(&env.mount, "/f", &data).await.unwrap();
        let mut writer = open_writer(&env.mount, "/f", WRITE).await.unwrap();
        write(&mut writer, 5 * PART + 3, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(kind(writer.finish().await), Some(FsErrorKind::Unavailable), "{call:?}");
        assert!(env.object("f").await.unwrap() == data, "{call:?}");
        assert_eq!(env.uploads().await, 0, "{call:?}");
        is_given_back(&env).await;
    }
}

#[tokio::test]
async fn copies_for_a_changed_file_keep_to_what_a_request_may_copy_at_once() {
    for lanes in [1, 3] {
        let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let sleep = move |_| {
            let (under_way, seen) = (Arc::clone(&under_way), Arc::clone(&seen));
            async move {
                seen.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::Relaxed);
            }
            .boxed()
        };
        let plan = FaultPlan::none().from(Call::CopyPart, 1, Fault::Delay(Duration::ZERO));
        let store = MemoryObjectStore::new().with_part_min(PART as u64);
        let calls = FaultyObjectStore::new(Arc::new(store.clone()), plan).with_sleep(Arc::new(sleep));
        let (registry, config) = (Registry::new(), Config { copy_concurrency: lanes, ..config() });
        let vfs = Vfs::new(Arc::new(calls.clone()), config, Metrics::register(&registry).unwrap());
        let mount = vfs.mount(&account(&Permission::ALL)).await.unwrap();
        let env = Env { store, calls, vfs, mount, registry };
        let data = pattern(40 * PART);
        upload(&env.mount, "/f", &data).await.unwrap();
        let mut writer = open_writer(&env.mount, "/f", WRITE).await.unwrap();
        let mut expected = data.to_vec();
        for at in [8, 16, 24, 32].map(|part| part * PART + 7) {
            write(&mut writer, at, Bytes::from_static(b"!")).await.unwrap();
            expected[at] = b'!';
        }
        writer.finish().await.unwrap();
        assert!(env.object("f").await.unwrap() == expected);
        assert!(env.calls.calls(Call::CopyPart) > 3, "{}", env.calls.calls(Call::CopyPart));
        assert_eq!(most.load(Ordering::Relaxed), lanes);
    }
}

#[tokio::test]
async fn what_was_admitted_is_taken_though_a_flush_or_a_close_ends_in_between() {
    let env = env().await;
    env.put("f", b"0123456789", &[]).await;
    let mut one = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    let mut two = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    write(&mut one, 0, Bytes::from_static(b"one")).await.unwrap();
    assert!(matches!(two.admit(8, 3), Ok(tidegate_vfs::Admission::Ready)));
    one.finish().await.unwrap();
    two.write(8, Bytes::from_static(b"two")).unwrap();
    two.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "one34567two");
}
