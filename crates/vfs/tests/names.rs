//! REMOVE, RENAME, STAT and SETSTAT.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use harness::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_store::{ObjectStore, Permission, StoreErrorKind};
use tidegate_vfs::{FileKind, FsErrorKind, Replace, SetAttributes};

#[tokio::test]
async fn stat_knows_files_directories_and_the_root() {
    let env = env().await;
    env.put("file", b"1234", &[]).await;
    env.put("implied/child", b"x", &[]).await;
    assert_eq!(env.mount.stat(&path("/")).await.unwrap().mode, 0o40_755);
    assert_eq!(env.mount.stat(&path("/file")).await.unwrap().size, 4);
    let implied = env.mount.lstat(&path("/implied")).await.unwrap();
    assert_eq!((implied.kind, implied.mtime), (FileKind::Directory, 0));
    let before = env.requests();
    assert_eq!(kind(env.mount.stat(&path("/implie")).await), Some(FsErrorKind::NotFound));
    assert_eq!(env.requests() - before, 2);
    let long = format!("/{0}/{0}/{0}/{0}/{0}", "x".repeat(250));
    assert_eq!(kind(env.mount.stat(&path(&long)).await), Some(FsErrorKind::InvalidName));
}

#[tokio::test]
async fn remove_takes_files_only() {
    let env = env().await;
    env.put("file", b"x", &[]).await;
    env.put("dir/", b"", &[]).await;
    env.mount.remove(&path("/file")).await.unwrap();
    assert!(env.object("file").await.is_none());
    assert_eq!(kind(env.mount.remove(&path("/file")).await), Some(FsErrorKind::NotFound));
    assert_eq!(kind(env.mount.remove(&path("/dir")).await), Some(FsErrorKind::IsADirectory));
    assert_eq!(kind(env.mount.remove(&path("/")).await), Some(FsErrorKind::IsADirectory));
}

#[tokio::test]
async fn rename_moves_content_and_attributes() {
    let env = env().await;
    env.put("a", b"content", &[("mtime", "1700000000"), ("mode", "33152"), ("other", "kept")]).await;
    let before = env.mount.stat(&path("/a")).await.unwrap();
    env.mount.rename(&path("/a"), &path("/b"), Replace::Never).await.unwrap();
    assert_eq!((env.object("a").await, env.object("b").await.unwrap().as_ref()), (None, &b"content"[..]));
    assert_eq!(env.mount.stat(&path("/b")).await.unwrap(), before);
    assert_eq!(env.metadata("b", "other").await.unwrap(), "kept");
}

#[tokio::test]
async fn rename_replaces_only_when_asked_to() {
    let env = env().await;
    env.put("a", b"new", &[]).await;
    env.put("b", b"old", &[]).await;
    env.put("dir/", b"", &[]).await;
    let rename = async |from: &str, to: &str, replace| kind(env.mount.rename(&path(from), &path(to), replace).await);
    assert_eq!(rename("/a", "/b", Replace::Never).await, Some(FsErrorKind::AlreadyExists));
    assert_eq!(rename("/a", "/dir", Replace::Never).await, Some(FsErrorKind::AlreadyExists));
    assert_eq!(rename("/a", "/dir", Replace::Existing).await, Some(FsErrorKind::IsADirectory));
    assert_eq!(rename("/a", "/a", Replace::Never).await, None);
    assert_eq!(rename("/missing", "/missing", Replace::Never).await, Some(FsErrorKind::NotFound));
    assert_eq!(rename("/missing", "/c", Replace::Existing).await, Some(FsErrorKind::NotFound));
    assert_eq!(rename("/a", "/nowhere/b", Replace::Existing).await, Some(FsErrorKind::NotFound));
    assert_eq!(env.object("b").await.unwrap(), "old");
    assert_eq!(rename("/a", "/b", Replace::Existing).await, None);
    assert_eq!((env.object("a").await, env.object("b").await.unwrap().as_ref()), (None, &b"new"[..]));
}

#[tokio::test]
async fn a_target_that_appears_meanwhile_is_not_replaced() {
    // The look at the target finds nothing; the copy does.
    let plan = FaultPlan::none().on(Call::Copy, 1, Fault::Before(StoreErrorKind::PreconditionFailed));
    let env = env_with(config(), plan).await;
    env.put("a", b"mine", &[]).await;
    let result = env.mount.rename(&path("/a"), &path("/b"), Replace::Never).await;
    assert_eq!(kind(result), Some(FsErrorKind::Conflict), "nothing at the target: the source had changed");
    assert_eq!(env.object("a").await.unwrap(), "mine");
}

#[tokio::test]
async fn a_store_without_conditional_copies_can_rename_too() {
    let plan = FaultPlan::none().on(Call::Copy, 1, Fault::Before(StoreErrorKind::Unsupported));
    let env = env_with(config(), plan).await;
    env.put("a", b"mine", &[]).await;
    env.mount.rename(&path("/a"), &path("/b"), Replace::Never).await.unwrap();
    assert_eq!(env.object("b").await.unwrap(), "mine");
}

#[tokio::test]
async fn a_rename_cut_before_the_delete_can_be_asked_for_again() {
    let plan = FaultPlan::none().on(Call::Delete, 1, Fault::Before(StoreErrorKind::Unavailable));
    let env = env_with(config(), plan).await;
    env.put("a", b"mine", &[]).await;
    let first = env.mount.rename(&path("/a"), &path("/b"), Replace::Existing).await;
    assert_eq!(kind(first), Some(FsErrorKind::Unavailable));
    assert_eq!(env.object("b").await.unwrap(), "mine");
    env.mount.rename(&path("/a"), &path("/b"), Replace::Existing).await.unwrap();
    assert_eq!((env.object("a").await, env.object("b").await.unwrap().as_ref()), (None, &b"mine"[..]));
}

#[tokio::test]
async fn setstat_keeps_content_and_foreign_metadata() {
    let env = env().await;
    env.put("f", b"content", &[("other", "kept"), ("mtime", "5")]).await;
    env.mount.set_attributes(&path("/f"), SetAttributes { owner: Some((1, 2)), ..mode(0o400) }).await.unwrap();
    let shown = env.mount.stat(&path("/f")).await.unwrap();
    assert_eq!((shown.mode, shown.uid, shown.gid, shown.mtime), (0o100_400, 1, 2, 5));
    assert_eq!(
        (env.object("f").await.unwrap().as_ref(), env.metadata("f", "other").await.unwrap().as_str()),
        (&b"content"[..], "kept")
    );
    let before = env.requests();
    env.mount.set_attributes(&path("/f"), mode(0o400)).await.unwrap();
    assert_eq!(env.requests() - before, 1, "what is set already costs no copy");
    assert_eq!(kind(env.mount.set_attributes(&path("/missing"), mode(0o400)).await), Some(FsErrorKind::NotFound));
    assert_eq!(kind(env.mount.set_attributes(&path("/"), mode(0o400)).await), Some(FsErrorKind::PermissionDenied));
}

#[tokio::test]
async fn setstat_of_a_directory_writes_its_marker() {
    let env = env().await;
    env.put("implied/child", b"x", &[]).await;
    env.mount.set_attributes(&path("/implied"), times(7, 9)).await.unwrap();
    let shown = env.mount.stat(&path("/implied")).await.unwrap();
    assert_eq!((shown.kind, shown.atime, shown.mtime), (FileKind::Directory, 7, 9));
    let size = SetAttributes { size: Some(0), ..SetAttributes::default() };
    assert_eq!(kind(env.mount.set_attributes(&path("/implied"), size).await), Some(FsErrorKind::IsADirectory));
}

#[tokio::test]
async fn setstat_of_a_size_keeps_the_attributes() {
    let env = env().await;
    env.put("f", b"content", &[("mode", "33152")]).await;
    let size = |size| SetAttributes { size: Some(size), ..SetAttributes::default() };
    env.mount.set_attributes(&path("/f"), size(7)).await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "content");
    env.mount.set_attributes(&path("/f"), size(9)).await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "content\0\0");
    env.mount.set_attributes(&path("/f"), size(0)).await.unwrap();
    let shown = env.mount.stat(&path("/f")).await.unwrap();
    assert_eq!((shown.size, shown.mode), (0, 0o100_600));
}

#[tokio::test]
async fn each_request_needs_its_permission() {
    let env = env().await;
    env.put("f", b"x", &[]).await;
    env.put("g", b"x", &[]).await;
    env.put("d/", b"", &[]).await;
    let all = Permission::ALL;
    for missing in all {
        let rest: Vec<Permission> = all.into_iter().filter(|permission| *permission != missing).collect();
        let mount = env.mount_with(&rest).await;
        let results = [
            (Permission::List, kind(mount.open_directory(&path("/")).await)),
            (Permission::Read, kind(open_reader(&mount, "/f").await)),
            (Permission::Write, kind(open_writer(&mount, "/new", create()).await)),
            (Permission::Overwrite, kind(open_writer(&mount, "/f", create()).await)),
            (Permission::Rename, kind(mount.rename(&path("/f"), &path("/f"), Replace::Never).await)),
            (Permission::SetAttributes, kind(mount.set_attributes(&path("/g"), mode(0o600)).await)),
            (Permission::Mkdir, kind(mount.make_directory(&path("/made"), SetAttributes::default()).await)),
            (Permission::Delete, kind(mount.remove_directory(&path("/d")).await)),
            (Permission::Delete, kind(mount.remove(&path("/g")).await)),
        ];
        for (needed, result) in results {
            assert_eq!(
                result == Some(FsErrorKind::PermissionDenied),
                needed == missing,
                "{needed:?}, {missing:?}: {result:?}"
            );
        }
        for (key, content) in [("f", &b"x"[..]), ("g", b"x"), ("d/", b"")] {
            env.put(key, content, &[]).await;
        }
        let _ = env.store.delete(&key_of("made/")).await;
    }
    let renamer = env.mount_with(&[Permission::Rename]).await;
    let replaced = renamer.rename(&path("/f"), &path("/g"), Replace::Existing).await;
    assert_eq!(kind(replaced), Some(FsErrorKind::PermissionDenied), "replacing is overwriting");
    renamer.rename(&path("/f"), &path("/h"), Replace::Existing).await.unwrap();
    env.put("f", b"x", &[]).await;
    for (permission, seen) in
        [(Permission::List, true), (Permission::Read, true), (Permission::Write, true), (Permission::Delete, false)]
    {
        let mount = env.mount_with(&[permission]).await;
        assert_eq!(mount.stat(&path("/f")).await.is_ok(), seen, "{permission:?}");
    }
}

#[tokio::test]
async fn messages_of_a_broken_store_stay_inside() {
    let plan = FaultPlan::none().from(Call::Head, 1, Fault::Before(StoreErrorKind::AccessDenied));
    let env = env_with(config(), plan).await;
    let error = env.mount.stat(&path("/f")).await.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::PermissionDenied);
    assert!(!error.to_string().contains("injected") && error.report().contains("injected"));
}

/// Replaces a file a second from now, while `work` is held up by a fault of ten.
async fn while_replaced<T>(env: &Env, key: &str, work: impl Future<Output = T>) -> T {
    let replace = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        env.put(key, b"newer", &[]).await;
    };
    tokio::join!(work, replace).0
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_replaced_while_it_is_renamed_is_not_lost() {
    let held_up = FaultPlan::none().on(Call::Delete, 1, Fault::Delay(Duration::from_secs(10)));
    let env = env_with(config(), held_up).await;
    env.put("from", b"old", &[]).await;
    while_replaced(&env, "from", env.mount.rename(&path("/from"), &path("/to"), Replace::Never)).await.unwrap();
    assert_eq!(env.object("to").await.as_deref(), Some(&b"old"[..]));
    assert_eq!(env.object("from").await.as_deref(), Some(&b"newer"[..]));
}

#[tokio::test(start_paused = true)]
async fn attributes_never_bring_back_the_content_of_a_file_that_was_replaced() {
    let held_up = FaultPlan::none().on(Call::Copy, 1, Fault::Delay(Duration::from_secs(10)));
    let env = env_with(config(), held_up).await;
    env.put("f", b"old", &[]).await;
    while_replaced(&env, "f", env.mount.set_attributes(&path("/f"), mode(0o600))).await.unwrap();
    assert_eq!(env.object("f").await.as_deref(), Some(&b"newer"[..]));
    assert_eq!(env.mount.stat(&path("/f")).await.unwrap().mode, 0o100_600);
}

// lftp sets the mode of every file behind its CLOSE, others the times.
#[tokio::test]
async fn attributes_set_right_after_an_upload_cost_a_copy_at_most() {
    let env = env().await;
    upload(&env.mount, "/f", &pattern(100)).await.unwrap();
    let before = env.requests();
    env.mount.set_attributes(&path("/f"), mode(0o644)).await.unwrap();
    assert_eq!(env.requests(), before, "it has that mode already");
    env.mount.set_attributes(&path("/f"), mode(0o600)).await.unwrap();
    assert_eq!((env.requests(), env.calls.calls(Call::Copy)), (before + 1, 1));
    assert_eq!(env.mount.stat(&path("/f")).await.unwrap().mode, 0o100_600);
}

#[tokio::test]
async fn attributes_set_right_after_an_upload_go_to_the_file_that_took_its_place() {
    let env = env().await;
    upload(&env.mount, "/f", &pattern(100)).await.unwrap();
    env.put("f", b"of another node", &[("other", "kept")]).await;
    env.mount.set_attributes(&path("/f"), mode(0o600)).await.unwrap();
    let shown = env.mount.stat(&path("/f")).await.unwrap();
    assert_eq!((shown.mode, shown.size), (0o100_600, 15));
    env.mount.remove(&path("/f")).await.unwrap();
    assert_eq!(kind(env.mount.set_attributes(&path("/f"), mode(0o600)).await), Some(FsErrorKind::NotFound));
}
