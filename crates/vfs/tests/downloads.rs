//! Files on their way to the client.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use bytesize::ByteSize;
use futures::future::join_all;
use harness::*;
use proptest::prelude::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan, Rates};
use tidegate_store::{ObjectStore, Permission, StoreErrorKind};
use tidegate_vfs::{Config, FsErrorKind, Reader};

#[tokio::test]
async fn a_small_file_is_one_get() {
    let env = env().await;
    env.put("f", b"hello", &[("mtime", "1700000000.5"), ("mode", "33152")]).await;
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert_eq!(read_all(&reader, 32 << 10).await.unwrap(), "hello");
    let shown = reader.attributes();
    assert_eq!((shown.size, shown.mtime, shown.mode), (5, 1_700_000_000, 0o100_600));
    assert_eq!(shown, env.mount.stat(&path("/f")).await.unwrap());
    assert_eq!((env.calls.calls(Call::Get), env.requests()), (1, 2), "one GET, and the HEAD of STAT");
}

#[tokio::test]
async fn an_empty_file_reads_as_empty() {
    let env = env().await;
    env.put("f", b"", &[]).await;
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert_eq!(reader.attributes().size, 0);
    assert!(reader.read(0, 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn reads_are_short_only_at_the_end() {
    let env = env().await;
    env.put("f", b"0123456789", &[]).await;
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    for (offset, len, expected) in [(0, 4, "0123"), (8, 4, "89"), (10, 4, ""), (u64::MAX, u32::MAX, ""), (3, 0, "")] {
        let data = reader.read(offset, len).await.unwrap();
        assert_eq!(data.chunks().concat(), expected.as_bytes());
        assert_eq!((data.len(), data.is_empty()), (expected.len(), expected.is_empty()));
    }
}

#[tokio::test]
async fn a_large_file_takes_few_requests_in_order_and_pipelined() {
    let env = env().await;
    let data = pattern((20 << 20) + 77);
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert!(read_all(&reader, 32 << 10).await.unwrap() == data);
    assert!(env.calls.calls(Call::Get) <= 8, "{} GETs", env.calls.calls(Call::Get));

    let reader = open_reader(&env.mount, "/f").await.unwrap();
    for group in (0..data.len()).step_by(255 << 10).collect::<Vec<_>>().chunks(64) {
        let reads = join_all(group.iter().map(|offset| reader.read(*offset as u64, 255 << 10))).await;
        for (offset, read) in group.iter().zip(reads) {
            let read = read.unwrap();
            assert!(read.chunks().concat() == data[*offset..*offset + read.len()]);
        }
    }
    assert!(env.calls.calls(Call::Get) <= 16, "{} GETs", env.calls.calls(Call::Get));
}

#[tokio::test]
async fn what_is_not_a_readable_file_says_so() {
    let env = env().await;
    env.put("dir/", b"", &[]).await;
    env.put("implied/child", b"x", &[]).await;
    env.put("link", b"target", &[("mode", "41471")]).await;
    for (name, expected) in [
        ("/missing", FsErrorKind::NotFound),
        ("/dir", FsErrorKind::IsADirectory),
        ("/implied", FsErrorKind::IsADirectory),
        ("/", FsErrorKind::IsADirectory),
        ("/link", FsErrorKind::NotFound),
    ] {
        assert_eq!(kind(open_reader(&env.mount, name).await), Some(expected), "{name}");
    }
    let writer = env.mount_with(&[Permission::Write]).await;
    assert_eq!(kind(open_reader(&writer, "/implied/child").await), Some(FsErrorKind::PermissionDenied));
}

#[tokio::test]
async fn a_file_replaced_or_removed_while_read_is_never_a_mixture() {
    let env = env().await;
    let (old, new) = (pattern(2 << 20), pattern((2 << 20) + 1));
    for gone in [false, true] {
        upload(&env.mount, "/f", &old).await.unwrap();
        let reader = open_reader(&env.mount, "/f").await.unwrap();
        assert!(reader.read(0, 1_000).await.unwrap().chunks().concat() == old[..1_000]);
        if gone {
            env.store.delete(&key_of("f")).await.unwrap();
        } else {
            upload(&env.mount, "/f", &new).await.unwrap();
        }
        let error = reader.read((2 << 20) - 500, 500).await.unwrap_err();
        assert_eq!(error.kind(), FsErrorKind::Conflict);
        assert!(error.to_string().contains("while it was read"), "{error}");
    }
}

/// A reader of a file of which all but the first MiB or so is still to be fetched.
async fn begun(env: &Env, name: &str) -> Reader {
    let reader = open_reader(&env.mount, name).await.unwrap();
    for offset in (0..512 << 10).step_by(32 << 10) {
        reader.read(offset, 32 << 10).await.unwrap();
    }
    while env.calls.calls(Call::Checksum) == 0 {
        tokio::task::yield_now().await;
    }
    reader
}

#[tokio::test]
async fn attributes_may_be_set_while_a_file_is_read() {
    let env = env_with(Config { read_ahead_max: ByteSize::kib(512), ..config() }, FaultPlan::none()).await;
    let data = pattern(8 << 20);
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = begun(&env, "/f").await;
    let tag = async || env.store.head(&key_of("f")).await.unwrap().etag;
    let before = tag().await;
    for (n, offset) in (0..data.len()).step_by(1 << 20).enumerate() {
        env.mount.set_attributes(&path("/f"), times(n as u32, n as u32)).await.unwrap();
        // At once: each range has to find the version anew.
        let reads = join_all([0, 400_000, 800_000].map(|more| reader.read((offset + more) as u64, 30_000))).await;
        for (read, more) in reads.into_iter().zip([0, 400_000, 800_000]) {
            assert!(read.unwrap().chunks().concat() == data[offset + more..offset + more + 30_000]);
        }
    }
    assert_ne!(tag().await, before, "it has another tag");
    env.mount.set_attributes(&path("/f"), mode(0o600)).await.unwrap();
    assert!(read_all(&reader, 32 << 10).await.unwrap() == data);
}

#[tokio::test]
async fn attributes_may_be_set_while_a_file_is_read_at_random() {
    let env = env_with(Config { verify_downloads: false, ..config() }, FaultPlan::none()).await;
    let data = pattern(8 << 20);
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    for (n, offset) in [5 << 20, 1 << 20, 7 << 20, 3 << 20, 6 << 20, 2 << 20].into_iter().enumerate() {
        let read = reader.read(offset as u64, 4_096).await.unwrap();
        assert!(read.chunks().concat() == data[offset..offset + 4_096]);
        if n > 0 {
            env.mount.set_attributes(&path("/f"), times(n as u32, n as u32)).await.unwrap();
        }
    }
    assert_eq!(env.calls.calls(Call::Checksum) - 4, 1, "one for the file, and one for each time that it was changed");
}

#[tokio::test]
async fn a_file_of_the_same_size_in_its_place_is_another_file() {
    let env = env_with(Config { read_ahead_max: ByteSize::kib(512), ..config() }, FaultPlan::none()).await;
    let old = pattern(8 << 20);
    upload(&env.mount, "/f", &old).await.unwrap();
    let reader = begun(&env, "/f").await;
    let mut new = old.to_vec();
    new[0] ^= 1;
    upload(&env.mount, "/f", &new.into()).await.unwrap();
    let error = reader.read((8 << 20) - 500, 500).await.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_asked_again_from_where_it_stopped() {
    let plan = FaultPlan::seeded(3, Rates { broken_body: 0.6, ..Rates::default() });
    let env = env_with(config(), plan).await;
    let data = pattern(6 << 20);
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert!(read_all(&reader, 32 << 10).await.unwrap() == data);
    assert!(env.metric("tidegate_vfs_read_resumes_total", "") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_fails_in_the_end() {
    let plan = FaultPlan::none().from(Call::Get, 1, Fault::BrokenBody { after: 0 });
    let env = env_with(config(), plan).await;
    upload(&env.mount, "/f", &pattern(1_000)).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert_eq!(kind(reader.read(0, 10).await), Some(FsErrorKind::Unavailable));
    assert_eq!(env.calls.calls(Call::Get), 4, "bounded");
}

#[tokio::test]
async fn after_a_failed_read_the_next_one_tries_afresh() {
    let plan = FaultPlan::none().on(Call::Get, 2, Fault::Before(StoreErrorKind::Unavailable));
    let env = env_with(Config { read_ahead_max: ByteSize::b(0), ..config() }, plan).await;
    let data = pattern(1 << 20);
    upload(&env.mount, "/f", &data).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    assert!(reader.read(0, 10).await.is_ok());
    assert_eq!(kind(reader.read(10, 10).await), Some(FsErrorKind::Unavailable));
    assert!(reader.read(10, 10).await.unwrap().chunks().concat() == data[10..20]);
}

#[tokio::test]
async fn dropping_the_reader_ends_reads_and_gives_memory_back() {
    let plan = FaultPlan::none().from(Call::Get, 2, Fault::Delay(std::time::Duration::from_secs(3_600)));
    let env = env_with(config(), plan).await;
    upload(&env.mount, "/f", &pattern(4 << 20)).await.unwrap();
    let reader = open_reader(&env.mount, "/f").await.unwrap();
    let read = reader.read(1 << 20, 10);
    assert!(env.metric("tidegate_vfs_memory_used_bytes", "read") > 0);
    drop(reader);
    assert_eq!(kind(read.await), Some(FsErrorKind::Unavailable));
    assert_eq!(env.metric("tidegate_vfs_memory_used_bytes", "read"), 0);
    assert_eq!(env.metric("tidegate_vfs_open_readers", ""), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn any_reads_at_once_give_the_file_s_bytes(
        size in 0..(3_usize << 20),
        seed in any::<u64>(),
        reads in prop::collection::vec((0..(3_u64 << 20), 0..300_000_u32, any::<bool>()), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let plan = FaultPlan::seeded(seed, Rates { broken_body: 0.3, ..Rates::default() });
            let env = env_with(config(), plan).await;
            let data = pattern(size);
            upload(&env.mount, "/f", &data).await.unwrap();
            let reader = open_reader(&env.mount, "/f").await.unwrap();
            let mut position = 0;
            let reads = reads.into_iter().map(|(offset, len, follow)| {
                let offset = if follow { position } else { offset };
                position = offset + u64::from(len);
                let read = reader.read(offset, len);
                let data = data.clone();
                async move {
                    let read = read.await.unwrap();
                    let start = data.len().min(offset as usize);
                    let end = data.len().min(start + len as usize);
                    assert!(read.chunks().concat() == data[start..end]);
                }
            });
            join_all(reads.collect::<Vec<_>>()).await;
        });
    }
}
