//! What goes straight to the store as long as it can: appends, and uploads of clients that may read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use bytes::Bytes;
use bytesize::ByteSize;
use harness::*;
use tidegate_store::faulty::{Call, FaultPlan};
use tidegate_vfs::{FsErrorKind, OpenOptions};

#[tokio::test]
async fn appending_to_a_large_file_never_fetches_what_is_there() {
    let env = env().await;
    for (n, append) in [true, false].into_iter().enumerate() {
        let name = format!("/{n}");
        let data = pattern(10 * PART + 3);
        upload(&env.mount, &name, &data).await.unwrap();
        let more = pattern(3 * PART + 9);
        let mut writer = open_writer(&env.mount, &name, OpenOptions { append, create: true, ..WRITE }).await.unwrap();
        for offset in (0..more.len()).step_by(30_000) {
            let at = if append { 0 } else { data.len() + offset };
            write(&mut writer, at, more.slice(offset..more.len().min(offset + 30_000))).await.unwrap();
        }
        assert_eq!(writer.attributes().size, (data.len() + more.len()) as u64);
        assert_eq!(env.metric("tidegate_vfs_scratch_used_bytes", ""), 0, "nothing is staged");
        assert_eq!(env.object(&name[1..]).await.unwrap().len(), data.len());
        writer.finish().await.unwrap();
        assert!(env.object(&name[1..]).await.unwrap() == [data, more].concat());
    }
    assert_eq!(env.calls.calls(Call::Get), 0);
    assert_eq!(env.calls.calls(Call::CopyPart), 2);
}

#[tokio::test]
async fn a_few_bytes_at_the_end_of_a_large_file_are_one_part() {
    let env = env().await;
    let data = pattern(10 * PART);
    upload(&env.mount, "/f", &data).await.unwrap();
    let parts = env.calls.calls(Call::PutPart);
    overwrite(&env.mount, "/f", 10 * PART, b"the end").await;
    assert_eq!(env.object("f").await.unwrap(), [&data[..], b"the end"].concat());
    assert_eq!((env.calls.calls(Call::PutPart) - parts, env.calls.calls(Call::Get)), (1, 0));
}

#[tokio::test]
async fn appending_to_a_small_file_puts_it_in_front() {
    let env = env().await;
    env.put("log", b"old,", &[("mtime", "1000")]).await;
    let append = OpenOptions { append: true, create: true, ..WRITE };
    let mut writer = open_writer(&env.mount, "/log", append).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"new,")).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"newer")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(env.object("log").await.unwrap(), "old,new,newer");
    assert!(env.mount.stat(&path("/log")).await.unwrap().mtime > 1_000_000);
    let more = pattern(4 * PART);
    let mut writer = open_writer(&env.mount, "/log", append).await.unwrap();
    for offset in (0..more.len()).step_by(PART / 2) {
        write(&mut writer, 0, more.slice(offset..offset + PART / 2)).await.unwrap();
    }
    assert!(env.metric("tidegate_vfs_scratch_used_bytes", "") <= PART as i64, "nothing but the first part is kept");
    writer.finish().await.unwrap();
    assert!(env.object("log").await.unwrap() == [b"old,new,newer", &more[..]].concat());
}

#[tokio::test]
async fn an_append_that_goes_back_is_moved_to_scratch_while_nothing_was_sent() {
    let env = env().await;
    let data = pattern(10 * PART);
    upload(&env.mount, "/f", &data).await.unwrap();
    let mut writer = open_writer(&env.mount, "/f", WRITE).await.unwrap();
    write(&mut writer, 10 * PART, Bytes::from_static(b"end")).await.unwrap();
    write(&mut writer, 5, Bytes::from_static(b"middle")).await.unwrap();
    writer.finish().await.unwrap();
    let mut expected = [&data[..], b"end"].concat();
    expected[5..11].copy_from_slice(b"middle");
    assert!(env.object("f").await.unwrap() == expected);

    let mut writer = open_writer(&env.mount, "/f", WRITE).await.unwrap();
    write(&mut writer, expected.len(), pattern(3 * PART)).await.unwrap();
    assert_eq!(kind(write(&mut writer, 5, Bytes::from_static(b"x")).await), Some(FsErrorKind::Unsupported));
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::Unsupported));
    assert!(env.object("f").await.unwrap() == expected, "as it was");
    assert_eq!(env.uploads().await, 0);
}

#[tokio::test]
async fn an_upload_is_read_and_cut_while_nothing_of_it_was_sent() {
    let env = env().await;
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"0123456789")).await.unwrap();
    let reader = open_writer(&env.mount, "/f", READ_WRITE).await.unwrap();
    assert_eq!(read_whole(&reader).await, b"0123456789");
    writer.set_attributes(size(4)).await.unwrap();
    write(&mut writer, 6, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(read_whole(&reader).await, b"0123\0\0x");
    writer.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "0123\0\0x");
    reader.finish().await.unwrap();

    let mut writer = open_writer(&env.mount, "/cut", create()).await.unwrap();
    write_all(&mut writer, &pattern(3 * PART), PART).await.unwrap();
    assert_eq!(kind(writer.set_attributes(size(5)).await), Some(FsErrorKind::Unsupported), "parts were sent");
    writer.set_attributes(size(0)).await.unwrap();
    write(&mut writer, 0, Bytes::from_static(b"anew")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(env.object("cut").await.unwrap(), "anew");
}

#[tokio::test]
async fn an_upload_by_a_client_that_may_read_is_sent_as_it_comes_and_kept() {
    let env = env().await;
    let options = OpenOptions { create: true, truncate: true, ..READ_WRITE };
    let data = pattern(6 * PART + 9);
    let mut writer = open_writer(&env.mount, "/sent", options).await.unwrap();
    write_all(&mut writer, &data, PART / 2).await.unwrap();
    writer.finish().await.unwrap();
    assert!(env.object("sent").await.unwrap() == data);
    let calls = [Call::BeginUpload, Call::PutPart, Call::CompleteUpload].map(|call| env.calls.calls(call));
    assert_eq!(calls, [1, 7, 1], "once");

    let mut writer = open_writer(&env.mount, "/read", options).await.unwrap();
    write_all(&mut writer, &data, PART / 2).await.unwrap();
    assert!(read_whole(&writer).await == data);
    write(&mut writer, 3 * PART - 2, Bytes::from_static(b"middle")).await.unwrap();
    writer.set_attributes(size(5 * PART as u64)).await.unwrap();
    let mut expected = data[..5 * PART].to_vec();
    expected[3 * PART - 2..3 * PART + 4].copy_from_slice(b"middle");
    assert!(read_whole(&writer).await == expected);
    writer.finish().await.unwrap();
    assert!(env.object("read").await.unwrap() == expected);
    is_given_back(&env).await;
    within(async {
        while env.uploads().await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_scratch_space_can_not_keep_goes_on_and_is_not_read() {
    let limit = ByteSize::kib(100);
    let env = env_with(tidegate_vfs::Config { scratch_limit: limit, ..config() }, FaultPlan::none()).await;
    let options = OpenOptions { create: true, truncate: true, ..READ_WRITE };
    let data = pattern(6 * PART + 9);
    let mut writer = open_writer(&env.mount, "/f", options).await.unwrap();
    write_all(&mut writer, &data, PART / 2).await.unwrap();
    assert_eq!(kind(writer.read(0, 10).await), Some(FsErrorKind::Unsupported));
    writer.finish().await.unwrap();
    assert!(env.object("f").await.unwrap() == data);
}
