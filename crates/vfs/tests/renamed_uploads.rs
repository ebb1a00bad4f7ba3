//! RENAME of files that the session is writing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use harness::*;
use prometheus::Registry;
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{Permission, StoreErrorKind};
use tidegate_vfs::{FsErrorKind, Metrics, Replace, SetAttributes, Vfs, Writer};
use tokio::sync::Semaphore;

async fn begun(env: &Env, name: &str, content: &Bytes) -> Writer {
    let before = env.calls.calls(Call::BeginUpload);
    let mut writer = open_writer(&env.mount, name, create()).await.unwrap();
    write_all(&mut writer, content, 32 << 10).await.unwrap();
    while content.len() > PART && env.calls.calls(Call::BeginUpload) == before {
        tokio::task::yield_now().await;
    }
    writer
}

/// A file that fits one part, and one whose parts are under way before the rename.
fn sizes() -> [Bytes; 2] {
    [Bytes::from_static(b"small"), pattern(5 * PART + 3)]
}

async fn renamed(env: &Env, from: &str, to: &str, replace: Replace) -> Option<FsErrorKind> {
    kind(env.mount.rename(&path(from), &path(to), replace).await)
}

#[tokio::test]
async fn an_upload_is_published_under_the_name_that_its_file_has_at_close() {
    for content in sizes() {
        let env = env().await;
        env.put("target", b"old", &[]).await;
        let mut writer = begun(&env, "/up", &content).await;
        assert_eq!(renamed(&env, "/up", "/target", Replace::Never).await, Some(FsErrorKind::AlreadyExists));
        assert_eq!(renamed(&env, "/up", "/between", Replace::Never).await, None);
        writer.set_attributes(mode(0o600)).await.unwrap();
        assert_eq!(renamed(&env, "/up", "/other", Replace::Never).await, Some(FsErrorKind::NotFound), "it is no more");
        assert_eq!(renamed(&env, "/between", "/target", Replace::Existing).await, None);
        assert_eq!(env.object("target").await.unwrap(), "old", "until CLOSE");
        writer.finish().await.unwrap();
        assert_eq!(env.keys().await, ["target"]);
        assert_eq!(env.object("target").await.unwrap(), content);
        assert_eq!(env.mount.stat(&path("/target")).await.unwrap().mode, 0o100_600);
        assert_eq!(env.uploads().await, 0);
    }
}

#[tokio::test]
async fn the_file_that_an_upload_replaces_moves_first() {
    for content in sizes() {
        let env = env().await;
        env.put("up", b"old", &[]).await;
        let writer = begun(&env, "/up", &content).await;
        assert_eq!(renamed(&env, "/up", "/new", Replace::Never).await, None);
        assert_eq!(
            (env.keys().await, env.object("new").await.unwrap().as_ref()),
            (vec!["new".to_owned()], &b"old"[..])
        );
        writer.finish().await.unwrap();
        assert_eq!((env.keys().await, env.object("new").await.unwrap()), (vec!["new".to_owned()], content));
    }
}

#[tokio::test]
async fn an_upload_follows_the_rename_of_its_directory_also_through_a_link() {
    for content in sizes() {
        let env = env().await;
        env.mount.make_directory(&path("/dir"), SetAttributes::default()).await.unwrap();
        env.mount.make_link(b"dir", &path("/link")).await.unwrap();
        let direct = begun(&env, "/dir/a", &content).await;
        let linked = begun(&env, "/link/b", &content).await;
        assert_eq!(renamed(&env, "/link/b", "/link/c", Replace::Never).await, None);
        assert_eq!(renamed(&env, "/dir", "/new", Replace::Never).await, None);
        direct.finish().await.unwrap();
        linked.finish().await.unwrap();
        assert_eq!(env.keys().await, ["link", "new/", "new/a", "new/c"]);
        assert_eq!(env.object("new/c").await.unwrap(), content);
    }
}

#[tokio::test]
async fn nothing_that_appears_at_the_target_is_replaced_by_a_rename_that_replaces_none() {
    for content in sizes() {
        let env = env().await;
        let writer = begun(&env, "/up", &content).await;
        assert_eq!(renamed(&env, "/up", "/new", Replace::Never).await, None);
        env.put("new", b"theirs", &[]).await;
        assert_eq!(kind(writer.finish().await), Some(FsErrorKind::AlreadyExists));
        assert_eq!(env.object("new").await.unwrap(), "theirs");
    }
    let env = env().await;
    let (one, two) = (begun(&env, "/one", &sizes()[0]).await, begun(&env, "/two", &sizes()[0]).await);
    assert_eq!(renamed(&env, "/one", "/two", Replace::Never).await, Some(FsErrorKind::AlreadyExists), "it is open");
    one.abandon().await;
    two.abandon().await;
    assert_eq!(renamed(&env, "/two", "/three", Replace::Never).await, Some(FsErrorKind::NotFound));
}

#[tokio::test]
async fn a_new_file_of_the_old_name_is_not_replaced() {
    for (content, expected) in sizes().into_iter().zip([None, Some(FsErrorKind::AlreadyExists)]) {
        let env = env().await;
        let writer = begun(&env, "/log", &content).await;
        assert_eq!(renamed(&env, "/log", "/log.1", Replace::Existing).await, None);
        upload(&env.mount, "/log", &Bytes::from_static(b"next")).await.unwrap();
        // Parts that are in the store already can only be put together under the name they were sent to.
        assert_eq!(kind(writer.finish().await), expected);
        assert_eq!(env.object("log").await.unwrap(), "next");
        assert_eq!((env.object("log.1").await, env.uploads().await), (expected.is_none().then_some(content), 0));
    }
}

#[tokio::test]
async fn a_large_upload_that_fails_on_its_way_to_its_new_name_is_not_lost() {
    let plan = FaultPlan::none().on(Call::Copy, 1, Fault::Before(StoreErrorKind::Unavailable));
    let env = env_with(config(), plan).await;
    let content = pattern(3 * PART);
    let writer = begun(&env, "/up", &content).await;
    assert_eq!(renamed(&env, "/up", "/new", Replace::Never).await, None);
    assert_eq!(kind(writer.finish().await), Some(FsErrorKind::Unavailable));
    assert_eq!((env.keys().await, env.object("up").await.unwrap()), (vec!["up".to_owned()], content));
}

#[tokio::test]
async fn a_rename_leaves_the_uploads_of_other_sessions_where_they_are() {
    let env = env().await;
    let other = env.mount_with(&Permission::ALL).await;
    let mut writer = open_writer(&other, "/up", create()).await.unwrap();
    write_all(&mut writer, &Bytes::from_static(b"theirs"), 10).await.unwrap();
    assert_eq!(renamed(&env, "/up", "/new", Replace::Never).await, Some(FsErrorKind::NotFound), "nobody else sees it");
    writer.finish().await.unwrap();
    assert_eq!(env.keys().await, ["up"]);
}

#[tokio::test]
async fn what_another_session_changes_in_place_follows_the_rename_of_its_file_and_of_its_directory() {
    for content in sizes() {
        for append in [false, true] {
            let env = env().await;
            let other = env.mount_with(&Permission::ALL).await;
            env.put_bytes("dir/f", content.clone()).await;
            let mut writer = open_writer(&other, "/dir/f", WRITE).await.unwrap();
            let at = if append { content.len() } else { 1 };
            write(&mut writer, at, Bytes::from_static(b"ab")).await.unwrap();
            assert_eq!(renamed(&env, "/dir/f", "/dir/g", Replace::Never).await, None);
            write(&mut writer, at + 2, Bytes::from_static(b"c")).await.unwrap();
            assert_eq!(renamed(&env, "/dir", "/new", Replace::Never).await, None);
            writer.finish().await.unwrap();
            assert_eq!(env.keys().await, ["new/", "new/g"]);
            let mut expected = content.to_vec();
            expected.resize(content.len().max(at + 3), 0);
            expected[at..at + 3].copy_from_slice(b"abc");
            assert!(env.object("new/g").await.unwrap() == expected, "{} bytes, {append}", content.len());
            // The old name is free for the session that had it open.
            upload(&other, "/dir2", &content).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_another_session_removes_while_it_is_changed_stays_removed_and_close_fails() {
    for content in sizes() {
        let env = env().await;
        let other = env.mount_with(&Permission::ALL).await;
        env.put_bytes("f", content.clone()).await;
        let mut writer = open_writer(&other, "/f", WRITE).await.unwrap();
        write(&mut writer, 1, Bytes::from_static(b"x")).await.unwrap();
        env.mount.remove(&path("/f")).await.unwrap();
        assert_eq!(kind(writer.finish().await), Some(FsErrorKind::Conflict));
        assert_eq!((env.keys().await, env.uploads().await), (Vec::<String>::new(), 0));
    }
}

/// Lays bytes behind the first `at` of the whole, up to `end`.
async fn append(writer: &mut Writer, whole: &Bytes, at: usize, end: usize) {
    for offset in (at..end).step_by(32 << 10) {
        write(writer, offset, whole.slice(offset..end.min(offset + (32 << 10)))).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_is_renamed_at_any_moment_while_it_is_appended_to() {
    // What it has is fetched where it is smaller than a part, and copied by the store where it is larger.
    for old in [3, 5 * PART] {
        for more in [0, 1, PART / 2, 3 * PART, 4 * PART + 1] {
            for before in [0, more / 2, more] {
                let (env, whole) = (env().await, pattern(old + more));
                env.put_bytes("dir/log", whole.slice(..old)).await;
                let mut writer = open_writer(&env.mount, "/dir/log", WRITE).await.unwrap();
                append(&mut writer, &whole, old, old + before).await;
                assert_eq!(renamed(&env, "/dir/log", "/dir/log.1", Replace::Never).await, None);
                assert_eq!(renamed(&env, "/dir", "/old", Replace::Existing).await, None);
                append(&mut writer, &whole, old + before, old + more).await;
                let case = format!("{old} + {before} + {}", more - before);
                writer.finish().await.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(env.keys().await, ["old/", "old/log.1"], "{case}");
                assert!(env.object("old/log.1").await.unwrap() == whole, "{case}");
                assert_eq!(env.uploads().await, 0, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_taken_from_a_file_that_is_being_renamed_is_taken_from_where_it_is_then() {
    for (old, call) in [(3, Call::Get), (5 * PART, Call::CopyPart)] {
        // The call finds nothing, as the rename has removed it, but has not yet said where it is.
        let (taking, removing) = (Duration::from_millis(1), Duration::from_millis(2));
        let plan = FaultPlan::none()
            .on(call, 1, Fault::Delay(taking))
            .on(call, 1, Fault::Before(StoreErrorKind::NotFound))
            .on(Call::Delete, 1, Fault::Delay(removing));
        let (may_take, may_remove) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let gates = (Arc::clone(&may_take), Arc::clone(&may_remove));
        let sleep = move |delay| {
            let gate = Arc::clone(if delay == taking { &gates.0 } else { &gates.1 });
            async move { gate.acquire().await.unwrap().forget() }.boxed()
        };
        let store = MemoryObjectStore::new().with_part_min(PART as u64);
        let calls = FaultyObjectStore::new(Arc::new(store.clone()), plan).with_sleep(Arc::new(sleep));
        let registry = Registry::new();
        let vfs = Vfs::new(Arc::new(calls.clone()), config(), Metrics::register(&registry).unwrap());
        let mount = vfs.mount(&account(&Permission::ALL)).await.unwrap();
        let env = Env { store, calls, vfs, mount, registry };
        let is_called = async |call, count| {
            while env.calls.calls(call) < count {
                tokio::task::yield_now().await;
            }
        };

        let whole = pattern(old + 2 * PART);
        env.put_bytes("log", whole.slice(..old)).await;
        let mut writer = open_writer(&env.mount, "/log", WRITE).await.unwrap();
        let writing = async {
            append(&mut writer, &whole, old, whole.len()).await;
            writer.finish().await.unwrap();
        };
        let renaming = async {
            is_called(call, 1).await;
            assert_eq!(renamed(&env, "/log", "/log.1", Replace::Never).await, None);
        };
        let opening = async {
            is_called(Call::Delete, 1).await;
            may_take.add_permits(1);
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(env.calls.calls(call), 1, "it is not asked for again before it is known where");
            may_remove.add_permits(1);
        };
        within(async { tokio::join!(writing, renaming, opening) }).await;
        assert_eq!((env.keys().await, env.calls.calls(call)), (vec!["log.1".to_owned()], 2));
        assert!(env.object("log.1").await.unwrap() == whole);
    }
}
