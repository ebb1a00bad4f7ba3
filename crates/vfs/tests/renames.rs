//! RENAME of directories and of files too large for one copy, and what is left of one that was cut.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures::FutureExt;
use harness::*;
use prometheus::Registry;
use proptest::prelude::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{Permission, StoreErrorKind};
use tidegate_vfs::{Config, FsErrorKind, Metrics, Mount, Replace, SetAttributes, Vfs};
use tokio::sync::Notify;

async fn rename(mount: &Mount, from: &str, to: &str, replace: Replace) -> Option<FsErrorKind> {
    kind(mount.rename(&path(from), &path(to), replace).await)
}

/// Files of more than four parts are copied in parts.
fn small_copies() -> Config {
    let (whole, part) = (ByteSize::b(4 * PART as u64), ByteSize::b(PART as u64));
    Config { copy_whole_max: whole, copy_part_size: part, copy_concurrency: 3, ..config() }
}

async fn env_of_small_copies(plan: FaultPlan) -> Env {
    env_with(small_copies(), plan).await
}

/// A tree of 9 files and directories.
async fn tree(env: &Env) {
    env.put("dir/", b"", &[("mode", "16832"), ("mtime", "77"), ("uid", "5")]).await;
    env.put("dir/a", b"a", &[("mtime", "1"), ("mode", "33152"), ("other", "kept")]).await;
    env.put("dir/empty/", b"", &[("mode", "16877")]).await;
    env.put("dir/implied/b", b"bb", &[]).await;
    env.put("dir/implied/deep/c", b"ccc", &[]).await;
    env.put("dir/sub/", b"", &[]).await;
    env.put("dir/sub/d", b"dddd", &[]).await;
    env.put("dir/ü%+ \n", b"odd", &[]).await;
    env.put("directory", b"a neighbour", &[]).await;
}

const MOVED: [&str; 9] = [
    "directory",
    "new/",
    "new/a",
    "new/empty/",
    "new/implied/b",
    "new/implied/deep/c",
    "new/sub/",
    "new/sub/d",
    "new/ü%+ \n",
];

async fn is_moved(env: &Env) {
    assert_eq!(env.keys().await, MOVED);
    for (key, content) in [("new/a", "a"), ("new/implied/deep/c", "ccc"), ("new/ü%+ \n", "odd"), ("new/sub/d", "dddd")]
    {
        assert_eq!(env.object(key).await.unwrap(), content, "{key}");
    }
    assert_eq!(env.metadata("new/a", "other").await.unwrap(), "kept");
    assert_eq!(env.metadata("new/", "tidegate-rename").await, None);
    let shown = env.mount.stat(&path("/new")).await.unwrap();
    assert_eq!((shown.mode, shown.mtime, shown.uid), (0o40_700, 77, 5));
}

#[tokio::test]
async fn a_directory_moves_with_everything_below_it() {
    for replace in [Replace::Never, Replace::Existing] {
        let env = env().await;
        tree(&env).await;
        assert_eq!(rename(&env.mount, "/dir", "/new", replace).await, None);
        is_moved(&env).await;
        assert_eq!(names(&env.mount, "/new").await, ["a", "empty", "implied", "sub", "ü%+ \n"]);
        assert_eq!(kind(env.mount.stat(&path("/dir")).await), Some(FsErrorKind::NotFound));
        assert_eq!(env.metric("tidegate_vfs_renamed_objects_total", ""), 7);
        assert_eq!(env.metric("tidegate_vfs_directory_renames", ""), 0);
        assert_eq!(rename(&env.mount, "/dir", "/new", replace).await, Some(FsErrorKind::NotFound), "it is over");
    }
}

#[tokio::test]
async fn a_directory_of_many_pages_moves_as_a_whole() {
    let env = env().await;
    for n in 0..2_500 {
        env.put(&format!("dir/f{n:04}"), b"x", &[]).await;
    }
    assert_eq!(rename(&env.mount, "/dir", "/d", Replace::Never).await, None);
    let keys = env.keys().await;
    assert_eq!(keys.len(), 2_501);
    assert!(keys.iter().all(|key| key.starts_with("d/")));
    // Three pages, the look behind the last, and two looks before it all.
    assert!(env.calls.calls(Call::List) <= 9, "{}", env.calls.calls(Call::List));
    assert_eq!(env.calls.calls(Call::Copy), 2_500);
    assert!(env.calls.calls(Call::Head) < 2_510, "one for each file, and a few: {}", env.calls.calls(Call::Head));
}

#[tokio::test]
async fn directories_are_replaced_as_posix_says() {
    let env = env().await;
    tree(&env).await;
    env.put("full/x", b"x", &[]).await;
    env.put("empty/", b"", &[("mtime", "3")]).await;
    env.put("file", b"x", &[]).await;
    let before = env.keys().await;
    for (from, to, replace, expected) in [
        ("/dir", "/full", Replace::Never, Some(FsErrorKind::AlreadyExists)),
        ("/dir", "/empty", Replace::Never, Some(FsErrorKind::AlreadyExists)),
        ("/dir", "/file", Replace::Never, Some(FsErrorKind::AlreadyExists)),
        ("/dir", "/full", Replace::Existing, Some(FsErrorKind::DirectoryNotEmpty)),
        ("/dir", "/file", Replace::Existing, Some(FsErrorKind::NotADirectory)),
        ("/file", "/empty", Replace::Existing, Some(FsErrorKind::IsADirectory)),
        ("/dir", "/dir/sub/x", Replace::Never, Some(FsErrorKind::InvalidName)),
        ("/dir", "/dir/x", Replace::Existing, Some(FsErrorKind::InvalidName)),
        ("/dir/sub", "/dir", Replace::Existing, Some(FsErrorKind::DirectoryNotEmpty)),
        ("/dir/sub", "/dir", Replace::Never, Some(FsErrorKind::AlreadyExists)),
        ("/dir", "/nowhere/x", Replace::Existing, Some(FsErrorKind::NotFound)),
        ("/missing", "/x", Replace::Existing, Some(FsErrorKind::NotFound)),
        ("/missing", "/missing/x", Replace::Existing, Some(FsErrorKind::NotFound)),
        ("/", "/x", Replace::Existing, Some(FsErrorKind::IsADirectory)),
        ("/dir", "/", Replace::Existing, Some(FsErrorKind::IsADirectory)),
        ("/dir", "/dir", Replace::Never, None),
        ("/dir", "/dir", Replace::Existing, None),
    ] {
        assert_eq!(rename(&env.mount, from, to, replace).await, expected, "{from} to {to}");
    }
    assert_eq!(env.keys().await, before, "nothing has moved");
    let parent = format!("/{}/{}/{}", "x".repeat(250), "y".repeat(250), "z".repeat(250));
    env.put(&format!("{}/", &parent[1..]), b"", &[]).await;
    let target = format!("{parent}/{}", "v".repeat(250));
    assert_eq!(rename(&env.mount, "/dir", &target, Replace::Never).await, Some(FsErrorKind::InvalidName));
    assert_eq!(env.keys().await.iter().filter(|key| key.starts_with("dir/")).count(), 8, "checked before it begins");

    let restricted = env.mount_with(&[Permission::Rename, Permission::List]).await;
    assert_eq!(rename(&restricted, "/dir", "/empty", Replace::Existing).await, Some(FsErrorKind::PermissionDenied));
    assert_eq!(rename(&env.mount, "/dir", "/empty", Replace::Existing).await, None);
    assert_eq!(env.mount.stat(&path("/empty")).await.unwrap().mtime, 77, "the attributes come along");
    assert_eq!(env.object("empty/a").await.unwrap(), "a");
}

#[tokio::test]
async fn a_directory_that_exists_by_its_last_child_survives_the_rename_of_that_one() {
    let env = env().await;
    env.put("implied/dir/file", b"x", &[]).await;
    assert_eq!(rename(&env.mount, "/implied/dir", "/dir", Replace::Never).await, None);
    assert_eq!(env.keys().await, ["dir/", "dir/file", "implied/"]);
}

#[tokio::test]
async fn what_the_session_knows_of_directories_follows_a_rename() {
    let env = env().await;
    let (dir, new) = (path("/dir"), path("/new"));
    env.mount.make_directory(&dir, SetAttributes::default()).await.unwrap();
    env.mount.make_directory(&path("/dir/sub"), SetAttributes::default()).await.unwrap();
    upload(&env.mount, "/dir/sub/file", &Bytes::from_static(b"x")).await.unwrap();
    env.mount.rename(&dir, &new, Replace::Never).await.unwrap();
    assert_eq!(kind(open_writer(&env.mount, "/dir/file", create()).await), Some(FsErrorKind::NotFound));
    assert_eq!(kind(open_writer(&env.mount, "/dir/sub/file", create()).await), Some(FsErrorKind::NotFound));
    assert_eq!(kind(open_writer(&env.mount, "/new/sub", create()).await), Some(FsErrorKind::IsADirectory));
    upload(&env.mount, "/new/sub/other", &Bytes::from_static(b"y")).await.unwrap();
    env.mount.make_directory(&dir, SetAttributes::default()).await.unwrap();
    assert_eq!(env.keys().await, ["dir/", "new/", "new/sub/", "new/sub/file", "new/sub/other"]);
}

/// A file system whose every call to the store counts, and stops for ever behind the nth.
struct Stopping {
    env: Env,
    stopped: Arc<Notify>,
}

async fn stopping(store: &MemoryObjectStore, behind: u64, config: Config) -> Stopping {
    let every = [
        Call::AbortUpload,
        Call::BeginUpload,
        Call::Checksum,
        Call::CompleteUpload,
        Call::Copy,
        Call::CopyPart,
        Call::Delete,
        Call::Head,
        Call::List,
        Call::Put,
    ];
    let pause = Fault::Delay(Duration::ZERO);
    let plan = every.into_iter().fold(FaultPlan::none(), |plan, call| plan.from(call, 1, pause));
    let (calls, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let signal = Arc::clone(&stopped);
    let sleep = move |_| {
        if calls.fetch_add(1, Ordering::Relaxed) < behind {
            return futures::future::ready(()).boxed();
        }
        signal.notify_one();
        futures::future::pending().boxed()
    };
    let calls = FaultyObjectStore::new(Arc::new(store.clone()), plan).with_sleep(Arc::new(sleep));
    let registry = Registry::new();
    let vfs = Vfs::new(Arc::new(calls.clone()), config, Metrics::register(&registry).unwrap());
    let mount = vfs.mount(&account(&Permission::ALL)).await.unwrap();
    Stopping { env: Env { store: store.clone(), calls, vfs, mount, registry }, stopped }
}

impl Stopping {
    /// Whether the rename came to its end.
    async fn rename(&self, from: &str, to: &str, replace: Replace) -> bool {
        let (from, to) = (path(from), path(to));
        tokio::select! {
            biased;
            renamed = self.env.mount.rename(&from, &to, replace) => {
                renamed.unwrap();
                true
            }
            () = self.stopped.notified() => false,
        }
    }
}

/// Everything that the user sees below both names, with how often.
async fn seen(env: &Env) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for key in env.keys().await.into_iter().filter(|key| !key.ends_with('/')) {
        let name = key.strip_prefix("dir/").or_else(|| key.strip_prefix("new/")).unwrap_or(&key).to_owned();
        *seen.entry(name).or_default() += 1;
    }
    seen
}

#[tokio::test]
async fn a_rename_that_is_cut_anywhere_loses_nothing_and_is_finished_when_asked_for_again() {
    for (replace, lanes) in [(Replace::Never, 1), (Replace::Existing, 4)] {
        let config = || Config { copy_concurrency: lanes, ..config() };
        for behind in 0.. {
            let first = env_with(config(), FaultPlan::none()).await;
            tree(&first).await;
            let files = seen(&first).await;
            let cut = stopping(&first.store, behind, config()).await;
            if cut.rename("/dir", "/new", replace).await {
                assert!(behind > 20, "every step was cut: {behind}");
                is_moved(&first).await;
                break;
            }
            drop(cut);
            let after = seen(&first).await;
            assert!(files.keys().all(|name| after.contains_key(name)), "cut behind {behind}: {after:?}");

            // A node of its own, which knows nothing of the first.
            let second = stopping(&first.store, u64::MAX, config()).await;
            assert!(second.rename("/dir", "/new", replace).await);
            is_moved(&second.env).await;
        }
    }
}

#[tokio::test]
async fn a_rename_that_is_cut_again_and_again_is_finished_in_the_end() {
    let env = env().await;
    tree(&env).await;
    for round in 0.. {
        // Enough for the looks at the beginning, and for a step or two.
        let one_lane = Config { copy_concurrency: 1, ..config() };
        if stopping(&env.store, 14 + round % 3, one_lane).await.rename("/dir", "/new", Replace::Never).await {
            break;
        }
        assert!(round < 100, "it gets ahead");
    }
    is_moved(&env).await;
}

#[tokio::test]
async fn a_record_of_another_rename_or_an_old_one_does_not_let_a_rename_through() {
    let env = env().await;
    tree(&env).await;
    env.put("other/x", b"x", &[]).await;
    assert!(!stopping(&env.store, 12, config()).await.rename("/dir", "/new", Replace::Never).await);
    let record = env.metadata("new/", "tidegate-rename").await.unwrap();
    assert_eq!(rename(&env.mount, "/other", "/new", Replace::Never).await, Some(FsErrorKind::AlreadyExists));
    assert_eq!(rename(&env.mount, "/missing", "/new", Replace::Never).await, Some(FsErrorKind::NotFound));

    let (seconds, name) = record.split_once(' ').unwrap();
    let old = format!("{} {name}", seconds.parse::<u64>().unwrap() - 8 * 24 * 3600);
    env.put("new/", b"", &[("tidegate-rename", &old)]).await;
    assert_eq!(rename(&env.mount, "/dir", "/new", Replace::Never).await, Some(FsErrorKind::AlreadyExists));
    env.put("new/", b"", &[("tidegate-rename", &record)]).await;
    assert_eq!(rename(&env.mount, "/dir", "/new", Replace::Never).await, None);
}

#[tokio::test]
async fn a_file_that_was_made_at_the_target_of_a_rename_that_was_cut_stays() {
    let env = env().await;
    tree(&env).await;
    assert!(!stopping(&env.store, 9, config()).await.rename("/dir", "/new", Replace::Never).await);
    env.put("new/sub/d", b"mine", &[]).await;
    assert_eq!(rename(&env.mount, "/dir", "/new", Replace::Never).await, Some(FsErrorKind::AlreadyExists));
    let contents = (env.object("new/sub/d").await.unwrap(), env.object("dir/sub/d").await.unwrap());
    assert_eq!((contents.0.as_ref(), contents.1.as_ref()), (&b"mine"[..], &b"dddd"[..]));
    env.mount.remove(&path("/new/sub/d")).await.unwrap();
    assert_eq!(rename(&env.mount, "/dir", "/new", Replace::Never).await, None);
    is_moved(&env).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_while_its_directory_moves_moves_in_its_newest_version() {
    // The first delete comes too late: something new lies under the key.
    let plan = FaultPlan::none().on(Call::Delete, 1, Fault::Before(StoreErrorKind::PreconditionFailed));
    let env = env_with(config(), plan).await;
    env.put("dir/f", b"content", &[]).await;
    assert_eq!(rename(&env.mount, "/dir", "/new", Replace::Never).await, None);
    assert_eq!(env.keys().await, ["new/", "new/f"]);
    assert_eq!(env.calls.calls(Call::Copy), 2, "copied anew, over its own copy");
}

#[tokio::test]
async fn a_fault_in_the_middle_of_a_directory_is_told_and_the_rest_is_moved_later() {
    for call in [Call::Copy, Call::Delete, Call::Put] {
        let plan = FaultPlan::none().on(call, 2, Fault::After(StoreErrorKind::Unavailable));
        let env = env_with(config(), plan).await;
        tree(&env).await;
        assert_eq!(rename(&env.mount, "/dir", "/new", Replace::Never).await, Some(FsErrorKind::Unavailable));
        let again = rename(&env.mount, "/dir", "/new", Replace::Never).await;
        // Where the last step of all took effect there is nothing left to do.
        assert_eq!(again, (call == Call::Put).then_some(FsErrorKind::NotFound), "{call:?}");
        is_moved(&env).await;
    }
}

#[tokio::test]
async fn two_renames_of_one_directory_at_once_end_well() {
    let env = env_with(config(), slow_store()).await;
    tree(&env).await;
    let other = env.mount_with(&Permission::ALL).await;
    let (from, to) = (path("/dir"), path("/new"));
    let renames = futures::future::join(
        env.mount.rename(&from, &to, Replace::Existing),
        other.rename(&from, &to, Replace::Existing),
    );
    let (one, two) = within(renames).await;
    // The later one may find the target taken, or nothing to do any more.
    assert!(one.is_ok() || two.is_ok(), "{one:?}, {two:?}");
    assert_eq!(seen(&env).await.values().sum::<usize>(), 6);
    let rest = rename(&env.mount, "/dir", "/new", Replace::Existing).await;
    assert!(matches!(rest, None | Some(FsErrorKind::NotFound)), "{rest:?}");
    is_moved(&env).await;
}

#[tokio::test]
async fn a_large_file_is_renamed_in_parts() {
    let env = env_of_small_copies(FaultPlan::none()).await;
    let content = pattern(9 * PART + 5);
    env.put_large("a", &content, &[("mtime", "7"), ("other", "kept")]).await;
    env.put("b", b"old", &[]).await;
    assert_eq!(rename(&env.mount, "/a", "/b", Replace::Never).await, Some(FsErrorKind::AlreadyExists));
    assert_eq!(rename(&env.mount, "/a", "/b", Replace::Existing).await, None);
    assert_eq!(env.keys().await, ["b"]);
    assert_eq!(env.object("b").await.unwrap(), content);
    assert_eq!(
        (env.metadata("b", "mtime").await.unwrap(), env.metadata("b", "other").await.unwrap()),
        ("7".into(), "kept".into())
    );
    assert_eq!((env.calls.calls(Call::CopyPart), env.calls.calls(Call::Copy), env.calls.calls(Call::Get)), (10, 0, 0));
    assert_eq!(env.uploads().await, 0);
}

#[tokio::test]
async fn large_files_of_a_directory_move_in_parts() {
    let env = env_of_small_copies(FaultPlan::none()).await;
    let content = pattern(6 * PART);
    for name in ["a", "b", "c", "d"] {
        env.put_large(&format!("dir/{name}"), &content, &[("mtime", "7")]).await;
    }
    env.put("dir/small", b"x", &[]).await;
    assert_eq!(rename(&env.mount, "/dir", "/new", Replace::Never).await, None);
    assert_eq!(env.keys().await, ["new/", "new/a", "new/b", "new/c", "new/d", "new/small"]);
    assert_eq!(
        (env.object("new/c").await.unwrap(), env.metadata("new/c", "mtime").await.unwrap()),
        (content, "7".into())
    );
}

#[tokio::test]
async fn a_large_rename_that_fails_or_is_cut_leaves_no_parts_and_no_half_file() {
    let content = pattern(6 * PART);
    for fault in [Call::BeginUpload, Call::CopyPart, Call::CompleteUpload] {
        let env = env_of_small_copies(FaultPlan::none().on(fault, 1, Fault::Before(StoreErrorKind::Unavailable))).await;
        env.put_large("a", &content, &[]).await;
        assert_eq!(rename(&env.mount, "/a", "/b", Replace::Never).await, Some(FsErrorKind::Unavailable));
        assert_eq!((env.keys().await, env.uploads().await), (vec!["a".to_owned()], 0));
    }
    for behind in 0.. {
        let first = env_of_small_copies(FaultPlan::none()).await;
        first.put_large("a", &content, &[]).await;
        let cut = stopping(&first.store, behind, small_copies()).await;
        let is_done = cut.rename("/a", "/b", Replace::Existing).await;
        let keys = first.keys().await;
        for key in &keys {
            assert_eq!(first.object(key).await.unwrap(), content, "cut behind {behind}");
        }
        if is_done {
            assert_eq!((keys, behind > 10), (vec!["b".to_owned()], true));
            break;
        }
        assert_eq!(rename(&first.mount, "/a", "/b", Replace::Existing).await, None);
        assert_eq!(first.keys().await, ["b"]);
    }
}

#[tokio::test]
async fn attributes_of_a_large_file_are_set_inside_the_store() {
    let env = env_of_small_copies(FaultPlan::none()).await;
    let content = pattern(6 * PART + 1);
    env.put_large("f", &content, &[("mtime", "7"), ("other", "kept")]).await;
    env.mount.set_attributes(&path("/f"), SetAttributes { owner: Some((1, 2)), ..mode(0o640) }).await.unwrap();
    let shown = env.mount.stat(&path("/f")).await.unwrap();
    assert_eq!((shown.mode, shown.uid, shown.gid, shown.mtime, shown.size), (0o100_640, 1, 2, 7, content.len() as u64));
    assert_eq!((env.object("f").await.unwrap(), env.metadata("f", "other").await.unwrap()), (content, "kept".into()));
    assert_eq!((env.calls.calls(Call::CopyPart), env.calls.calls(Call::Get)), (7, 0));
}

#[tokio::test]
async fn attributes_set_on_a_large_upload_behind_its_first_part_are_kept() {
    let env = env_of_small_copies(FaultPlan::none()).await;
    let content = pattern(6 * PART);
    let mut writer = open_writer(&env.mount, "/f", create()).await.unwrap();
    write_all(&mut writer, &content, 32 << 10).await.unwrap();
    writer.set_attributes(SetAttributes { times: Some((3, 4)), ..mode(0o600) }).await.unwrap();
    writer.finish().await.unwrap();
    let shown = env.mount.stat(&path("/f")).await.unwrap();
    assert_eq!((shown.mode, shown.atime, shown.mtime), (0o100_600, 3, 4));
    assert_eq!((env.object("f").await.unwrap(), env.calls.calls(Call::CopyPart)), (content, 6));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    // Whatever lies below a directory and wherever the rename is cut, asking again moves all of it.
    #[test]
    fn any_tree_moves_as_a_whole_from_wherever_it_was_cut(
        names in prop::collection::btree_set("[a-c]{1,2}(/[a-c]{1,2}){0,2}/?", 1..12),
        behind in 0_u64..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let env = env().await;
            for name in &names {
                let key = format!("dir/{name}");
                // The name is the content, so that nothing can be taken for another.
                env.put_text(&key, if name.ends_with('/') { "" } else { name }).await;
            }
            let cut = stopping(&env.store, behind, config()).await;
            if !cut.rename("/dir", "/new", Replace::Never).await {
                drop(cut);
                env.mount.rename(&path("/dir"), &path("/new"), Replace::Never).await.unwrap();
            }
            let mut expected: Vec<String> = names.iter().map(|name| format!("new/{name}")).collect();
            expected.insert(0, "new/".to_owned());
            expected.sort();
            assert_eq!(env.keys().await, expected);
            for name in names.iter().filter(|name| !name.ends_with('/')) {
                assert_eq!(env.object(&format!("new/{name}")).await.unwrap(), name.as_bytes());
            }
        });
    }
}
