//! Permissions by directory, and what is mounted for a user.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use bytes::Bytes;
use harness::*;
use tidegate_store::{Mapping, Mappings, Permission, PermissionRule, PermissionRules};
use tidegate_vfs::{FileKind, FsErrorKind, Mount, OpenFile, OpenOptions, Replace, SetAttributes};

const DENIED: Option<FsErrorKind> = Some(FsErrorKind::PermissionDenied);

/// A view with other permissions in some directories.
async fn with_rules(env: &Env, everywhere: &[Permission], rules: &[(&str, &[Permission])]) -> Mount {
    let rule = |(path, permissions): &(&str, &[Permission])| PermissionRule {
        path: path.parse().unwrap(),
        permissions: permissions.iter().copied().collect(),
    };
    let mut account = account(everywhere);
    account.user.rules = PermissionRules::new(rules.iter().map(rule).collect()).unwrap();
    env.vfs.mount(&account).await.unwrap()
}

/// A view of what is mounted, with all permissions: entry, target, and whether it is read-only.
async fn with_mappings(env: &Env, mappings: &[(&str, &str, bool)]) -> Mount {
    let mapping = |(entry, target, read_only): &(&str, &str, bool)| Mapping {
        entry: entry.parse().unwrap(),
        target: target.parse().unwrap(),
        read_only: *read_only,
    };
    let mut account = account(&Permission::ALL);
    account.user.mappings = Mappings::new(mappings.iter().map(mapping).collect()).unwrap();
    env.vfs.mount(&account).await.unwrap()
}

async fn rename(mount: &Mount, from: &str, to: &str) -> Option<FsErrorKind> {
    kind(mount.rename(&path(from), &path(to), Replace::Existing).await)
}

async fn mkdir(mount: &Mount, name: &str) -> Option<FsErrorKind> {
    kind(mount.make_directory(&path(name), SetAttributes::default()).await)
}

#[tokio::test]
async fn each_request_needs_its_permission_where_it_works() {
    let env = env().await;
    let all = Permission::ALL;
    for missing in all {
        for (key, content) in [("d/", &b""[..]), ("d/f", b"x"), ("d/g", b"x"), ("d/sub/", b""), ("f", b"x")] {
            env.put(key, content, &[]).await;
        }
        let rest: Vec<Permission> = all.into_iter().filter(|permission| *permission != missing).collect();
        let mount = with_rules(&env, &all, &[("/d", &rest)]).await;
        for (needed, result) in [
            (Permission::List, kind(mount.open_directory(&path("/d")).await)),
            (Permission::Read, kind(open_reader(&mount, "/d/f").await)),
            (Permission::Write, kind(open_writer(&mount, "/d/new", create()).await)),
            (Permission::Overwrite, kind(open_writer(&mount, "/d/f", create()).await)),
            (Permission::Overwrite, rename(&mount, "/d/g", "/d/f").await.filter(|_| missing == Permission::Overwrite)),
            (Permission::SetAttributes, kind(mount.set_attributes(&path("/d/f"), mode(0o600)).await)),
            (Permission::Mkdir, mkdir(&mount, "/d/made").await),
            (Permission::Delete, kind(mount.remove_directory(&path("/d/sub")).await)),
            (Permission::Delete, kind(mount.remove(&path("/d/f")).await)),
            (Permission::Rename, rename(&mount, "/d/g", "/out").await.filter(|_| missing == Permission::Rename)),
            (Permission::Rename, rename(&mount, "/f", "/d/in").await.filter(|_| missing == Permission::Rename)),
        ] {
            assert_eq!(result == DENIED, needed == missing, "{needed:?}, {missing:?}: {result:?}");
        }
        for key in ["d/new", "d/made/", "d/in", "out"] {
            let _ = tidegate_store::ObjectStore::delete(&env.store, &key_of(key)).await;
        }
    }
}

#[tokio::test]
async fn the_longest_directory_decides() {
    let env = env().await;
    env.put("in/keep/f", b"x", &[]).await;
    env.put("in/f", b"x", &[]).await;
    env.put("f", b"x", &[]).await;
    let (write, read) = ([Permission::Write, Permission::List], [Permission::Read, Permission::List]);
    let mount = with_rules(&env, &[Permission::List], &[("/in", &write), ("/in/keep", &read)]).await;
    assert_eq!(kind(open_writer(&mount, "/new", create()).await), DENIED);
    assert_eq!(kind(open_writer(&mount, "/in/new", create()).await), None);
    assert_eq!(kind(open_writer(&mount, "/in/keep/new", create()).await), DENIED);
    assert_eq!(kind(open_writer(&mount, "/inbox", create()).await), DENIED, "a name that only begins like it");
    assert_eq!(kind(open_reader(&mount, "/in/keep/f").await), None);
    assert_eq!(kind(open_reader(&mount, "/in/f").await), DENIED);
    assert_eq!(kind(open_reader(&mount, "/in/keep/../f").await), DENIED, "dots lead nowhere else");
    assert_eq!(names(&mount, "/in").await, ["f", "keep"]);
}

#[tokio::test]
async fn a_directory_is_seen_from_either_side_of_its_rule() {
    let env = env().await;
    env.put("open/f", b"x", &[]).await;
    env.put("shut/f", b"x", &[]).await;
    let mount = with_rules(&env, &[], &[("/open", &[Permission::List])]).await;
    assert_eq!(mount.stat(&path("/open")).await.unwrap().kind, FileKind::Directory);
    assert!(mount.stat(&path("/open/f")).await.is_ok());
    assert_eq!(kind(mount.stat(&path("/shut")).await), DENIED);
    assert_eq!(kind(mount.open_directory(&path("/")).await), DENIED);
    let mount = with_rules(&env, &[Permission::List], &[("/shut", &[])]).await;
    assert!(mount.stat(&path("/shut")).await.is_ok(), "its name is in the listing of the root");
    assert_eq!(kind(mount.stat(&path("/shut/f")).await), DENIED);
    assert_eq!(kind(mount.open_directory(&path("/shut")).await), DENIED);
}

#[tokio::test]
async fn what_has_permissions_of_its_own_is_not_renamed_out_of_them() {
    let env = env().await;
    env.put("a/secret/f", b"x", &[]).await;
    let mount = with_rules(&env, &Permission::ALL, &[("/a/secret", &[])]).await;
    for (from, to) in [("/a", "/b"), ("/a/secret", "/b"), ("/a/secret/f", "/f"), ("/b", "/a/secret")] {
        assert_eq!(rename(&mount, from, to).await, DENIED, "{from} to {to}");
    }
}

#[tokio::test]
async fn a_user_sees_what_is_mounted_and_nothing_else() {
    let env = env().await;
    env.put("home/user/f", b"mine", &[]).await;
    env.put("pub/f", b"shared", &[]).await;
    env.put("other/f", b"secret", &[]).await;
    env.put("f", b"secret", &[]).await;
    let mount = with_mappings(&env, &[("/me", "/home/user", false), ("/lib/pub", "/pub", true)]).await;
    assert_eq!(names(&mount, "/").await, ["lib", "me"]);
    assert_eq!(names(&mount, "/lib").await, ["pub"]);
    assert_eq!(names(&mount, "/me").await, ["f"]);
    let content = read_all(&open_reader(&mount, "/lib/pub/f").await.unwrap(), 100).await.unwrap();
    assert_eq!(content, "shared");
    for fixed in ["/", "/lib", "/lib/pub", "/me"] {
        assert_eq!(mount.stat(&path(fixed)).await.unwrap().kind, FileKind::Directory, "{fixed}");
        assert_eq!(kind(open_reader(&mount, fixed).await), Some(FsErrorKind::IsADirectory), "{fixed}");
    }
    for nowhere in ["/f", "/other", "/other/f", "/home/user/f", "/pub/f", "/lib/f", "/me/../f"] {
        assert_eq!(kind(mount.stat(&path(nowhere)).await), Some(FsErrorKind::NotFound), "{nowhere}");
        assert_eq!(kind(open_reader(&mount, nowhere).await), Some(FsErrorKind::NotFound), "{nowhere}");
        assert_eq!(kind(mount.open_directory(&path(nowhere)).await), Some(FsErrorKind::NotFound), "{nowhere}");
    }
    upload(&mount, "/me/new", &pattern(100)).await.unwrap();
    assert_eq!(env.object("home/user/new").await.unwrap(), pattern(100));
}

#[tokio::test]
async fn looking_at_what_is_only_mounted_asks_the_store_nothing() {
    let env = env().await;
    let mount = with_mappings(&env, &[("/a/b", "/x", false)]).await;
    let before = env.requests();
    mount.stat(&path("/a")).await.unwrap();
    mount.stat(&path("/a/b")).await.unwrap();
    assert_eq!(names(&mount, "/").await, ["a"]);
    assert_eq!(names(&mount, "/a").await, ["b"]);
    assert_eq!(kind(mount.stat(&path("/a/c")).await), Some(FsErrorKind::NotFound));
    assert_eq!(env.requests(), before);
    assert!(names(&mount, "/a/b").await.is_empty(), "the target need not exist");
}

#[tokio::test]
async fn what_holds_only_mounts_is_not_changed() {
    let env = env().await;
    let mount = with_mappings(&env, &[("/a/b", "/x", false), ("/me", "/home", false)]).await;
    upload(&mount, "/me/f", &pattern(10)).await.unwrap();
    for name in ["/new", "/a/new"] {
        assert_eq!(kind(open_writer(&mount, name, create()).await), DENIED, "{name}");
        assert_eq!(mkdir(&mount, name).await, DENIED, "{name}");
        assert_eq!(rename(&mount, "/me/f", name).await, DENIED, "{name}");
        assert_eq!(kind(mount.remove(&path(name)).await), Some(FsErrorKind::NotFound), "{name}");
    }
    assert_eq!(mkdir(&mount, "/x/y").await, Some(FsErrorKind::NotFound), "its parent is nowhere");
    for fixed in ["/a", "/a/b", "/me"] {
        assert_eq!(mkdir(&mount, fixed).await, Some(FsErrorKind::AlreadyExists), "{fixed}");
        assert_eq!(kind(open_writer(&mount, fixed, create()).await), Some(FsErrorKind::IsADirectory), "{fixed}");
        assert_eq!(kind(mount.remove_directory(&path(fixed)).await), DENIED, "{fixed}");
        assert_eq!(kind(mount.remove(&path(fixed)).await), DENIED, "{fixed}");
        assert_eq!(rename(&mount, fixed, "/me/moved").await, DENIED, "{fixed}");
        assert_eq!(rename(&mount, "/me/f", fixed).await, DENIED, "{fixed}");
        assert_eq!(kind(mount.set_attributes(&path(fixed), mode(0o700)).await), DENIED, "{fixed}");
    }
    assert_eq!(env.object("home/f").await.unwrap(), pattern(10));
}

#[tokio::test]
async fn a_read_only_mount_refuses_every_change() {
    let env = env().await;
    env.put("pub/f", b"shared", &[]).await;
    env.put("pub/d/", b"", &[]).await;
    let mount = with_mappings(&env, &[("/", "/home", false), ("/pub", "/pub", true)]).await;
    upload(&mount, "/mine", &pattern(10)).await.unwrap();
    let size = SetAttributes { size: Some(0), ..SetAttributes::default() };
    let before = env.requests();
    let append = OpenOptions { append: true, ..OpenOptions::default() };
    for result in [
        kind(open_writer(&mount, "/pub/new", create()).await),
        kind(open_writer(&mount, "/pub/f", create()).await),
        kind(open_writer(&mount, "/pub/f", append).await),
        mkdir(&mount, "/pub/new").await,
        kind(mount.remove(&path("/pub/f")).await),
        kind(mount.remove_directory(&path("/pub/d")).await),
        kind(mount.set_attributes(&path("/pub/f"), mode(0o600)).await),
        kind(mount.set_attributes(&path("/pub/f"), size).await),
        rename(&mount, "/pub/f", "/f").await,
        rename(&mount, "/pub/f", "/pub/g").await,
        rename(&mount, "/mine", "/pub/mine").await,
    ] {
        assert_eq!(result, DENIED);
    }
    assert_eq!(env.requests(), before, "refused before the store is asked");
    assert_eq!(env.object("pub/f").await.unwrap(), "shared");
    assert_eq!(names(&mount, "/pub").await, ["d", "f"]);
    let error = mount.remove(&path("/pub/f")).await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
}

#[tokio::test]
async fn a_mount_hides_what_the_outer_one_has_there_and_is_listed_in_it() {
    let env = env().await;
    env.put("home/a/b", b"a file under the mount", &[]).await;
    env.put("home/a/b/hidden", b"x", &[]).await;
    env.put("home/a/c", b"seen", &[]).await;
    env.put("home/z", b"seen", &[]).await;
    env.put("x/f", b"mounted", &[]).await;
    let mount = with_mappings(&env, &[("/", "/home", false), ("/a/b", "/x", false), ("/m/n", "/y", false)]).await;
    assert_eq!(names(&mount, "/").await, ["a", "m", "z"]);
    assert_eq!(names(&mount, "/a").await, ["b", "c"]);
    assert_eq!(names(&mount, "/a/b").await, ["f"]);
    assert_eq!(names(&mount, "/m").await, ["n"], "it is there without any file of its own");
    assert_eq!(mount.stat(&path("/a/b")).await.unwrap().kind, FileKind::Directory);
    assert_eq!(kind(mount.stat(&path("/a/b/hidden")).await), Some(FsErrorKind::NotFound));
    let entries = list(&mount, "/").await.unwrap();
    for entry in entries {
        let shown = mount.stat(&path(&format!("/{}", entry.name))).await.unwrap();
        assert_eq!(entry.attributes.kind, shown.kind, "{}", entry.name);
    }
    // What lies above a mount in another one is a directory of that one too.
    upload(&mount, "/m/f", &pattern(10)).await.unwrap();
    assert_eq!(env.object("home/m/f").await.unwrap(), pattern(10));
    assert_eq!(names(&mount, "/m").await, ["n", "f"]);
    assert_eq!(kind(mount.remove_directory(&path("/m")).await), DENIED);
}

#[tokio::test]
async fn files_are_renamed_from_one_mount_into_another() {
    let env = env().await;
    env.put("out/f", b"content", &[("mtime", "5")]).await;
    env.put("in/", b"", &[]).await;
    let mount = with_mappings(&env, &[("/out", "/out", false), ("/in", "/in", false)]).await;
    mount.rename(&path("/out/f"), &path("/in/g"), Replace::Never).await.unwrap();
    assert_eq!((env.object("out/f").await, env.object("in/g").await.unwrap().as_ref()), (None, &b"content"[..]));
    assert_eq!(env.metadata("in/g", "mtime").await.unwrap(), "5");
    assert_eq!(mount.stat(&path("/in/g")).await.unwrap().mtime, 5);
}

#[tokio::test]
async fn a_mounted_directory_outlives_its_last_file_for_those_who_see_it_elsewhere() {
    let env = env().await;
    env.put("box/f", b"x", &[]).await;
    let mount = with_mappings(&env, &[("/", "/box", false)]).await;
    mount.remove(&path("/f")).await.unwrap();
    assert!(names(&mount, "/").await.is_empty());
    assert_eq!(env.mount.stat(&path("/box")).await.unwrap().kind, FileKind::Directory);
}

#[tokio::test]
async fn permissions_follow_the_paths_that_the_user_sees() {
    let env = env().await;
    env.put("data/a/f", b"x", &[]).await;
    let mut account = account(&Permission::ALL);
    let mapping = Mapping { entry: "/m".parse().unwrap(), target: "/data".parse().unwrap(), read_only: false };
    account.user.mappings = Mappings::new(vec![mapping]).unwrap();
    let rule = |path: &str| PermissionRule { path: path.parse().unwrap(), permissions: [].into() };
    account.user.rules = PermissionRules::new(vec![rule("/m/a")]).unwrap();
    let mount = env.vfs.mount(&account).await.unwrap();
    assert_eq!(kind(open_reader(&mount, "/m/a/f").await), DENIED);
    account.user.rules = PermissionRules::new(vec![rule("/data/a")]).unwrap();
    let mount = env.vfs.mount(&account).await.unwrap();
    assert_eq!(kind(open_reader(&mount, "/m/a/f").await), None);
}

#[tokio::test]
async fn attributes_set_through_a_handle_need_their_permission_unless_its_open_made_the_file() {
    let env = env().await;
    let all = [Permission::Read, Permission::Write, Permission::Overwrite];
    let mount = env.mount_with(&all).await;
    env.put("f", b"content", &[("mode", "33188"), ("mtime", "1000")]).await;
    env.put("empty", b"", &[("mode", "33188")]).await;

    // A file that was there, and the same opened to be read while it is written.
    let mut writer = open_writer(&mount, "/f", READ_WRITE).await.unwrap();
    assert_eq!(kind(writer.set_attributes(mode(0o600)).await), DENIED);
    assert_eq!(kind(writer.set_attributes(times(1, 2)).await), DENIED);
    writer.set_attributes(size(3)).await.unwrap();
    let joined = OpenOptions { read: true, ..OpenOptions::default() };
    let OpenFile::Write(mut reader) = mount.open(&path("/f"), joined).await.unwrap() else { panic!() };
    for set in [mode(0o600), size(1)] {
        assert_eq!(kind(reader.set_attributes(set).await), DENIED, "{set:?}");
    }
    drop(reader);
    writer.finish().await.unwrap();
    assert_eq!(env.object("f").await.unwrap(), "con");
    assert_eq!(env.metadata("f", "mode").await.unwrap(), "33188");
    let appending = OpenOptions { append: true, ..WRITE };
    let mut writer = open_writer(&mount, "/f", appending).await.unwrap();
    assert_eq!(kind(writer.set_attributes(mode(0o600)).await), DENIED);
    drop(writer);
    let named = OpenOptions { create: true, attributes: mode(0o600), ..WRITE };
    open_writer(&mount, "/empty", named).await.unwrap().finish().await.unwrap();
    assert_eq!(env.metadata("empty", "mode").await.unwrap(), "33188");

    // One that the OPEN makes, or replaces as a whole: `put -p` does this.
    for name in ["/new", "/f"] {
        let mut writer = open_writer(&mount, name, create()).await.unwrap();
        write(&mut writer, 0, Bytes::from_static(b"x")).await.unwrap();
        writer.set_attributes(SetAttributes { mode: Some(0o640), ..times(5, 7) }).await.unwrap();
        writer.finish().await.unwrap();
        let shown = mount.stat(&path(name)).await.unwrap();
        assert_eq!((shown.mode, shown.mtime), (0o100_640, 7), "{name}");
    }
    // Whoever may set attributes may do it through any handle.
    let mut writer = open_writer(&env.mount, "/f", WRITE).await.unwrap();
    writer.set_attributes(mode(0o600)).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(env.metadata("f", "mode").await.unwrap(), "33152");
}
