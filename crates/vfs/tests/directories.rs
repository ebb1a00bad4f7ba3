//! Directories: made of markers and of what lies in them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use harness::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_store::{ObjectStore, Permission, StoreErrorKind};
use tidegate_vfs::{Config, FileKind, FsErrorKind, ListingAttributes, SetAttributes};

#[tokio::test]
async fn mkdir_writes_a_marker_as_s3fs_does() {
    let env = env().await;
    env.mount.make_directory(&path("/d"), SetAttributes { owner: Some((5, 6)), ..mode(0o750) }).await.unwrap();
    let marker = env.store.head(&key_of("d/")).await.unwrap();
    assert_eq!(marker.size, 0);
    assert_eq!(marker.attributes.content_type.as_deref(), Some("application/x-directory"));
    let metadata = marker.attributes.metadata;
    assert_eq!((metadata["mode"].as_str(), metadata["uid"].as_str(), metadata["gid"].as_str()), ("16872", "5", "6"));
    assert!(metadata["mtime"].parse::<u64>().unwrap() > 1_600_000_000);
    let shown = env.mount.stat(&path("/d")).await.unwrap();
    assert_eq!((shown.kind, shown.mode, shown.uid, shown.size), (FileKind::Directory, 0o40_750, 5, 0));
}

#[tokio::test]
async fn mkdir_refuses_taken_names_and_missing_parents() {
    let env = env().await;
    env.put("file", b"x", &[]).await;
    env.put("implied/child", b"x", &[]).await;
    env.mount.make_directory(&path("/d"), SetAttributes::default()).await.unwrap();
    for name in ["/", "/file", "/implied", "/d"] {
        let result = env.mount.make_directory(&path(name), SetAttributes::default()).await;
        assert_eq!(kind(result), Some(FsErrorKind::AlreadyExists), "{name}");
    }
    for name in ["/missing/d", "/file/d"] {
        let result = env.mount.make_directory(&path(name), SetAttributes::default()).await;
        assert_eq!(kind(result), Some(FsErrorKind::NotFound), "{name}");
    }
}

#[tokio::test]
async fn rmdir_takes_only_empty_directories() {
    let env = env().await;
    env.put("file", b"x", &[]).await;
    env.put("full/", b"", &[]).await;
    env.put("full/child", b"x", &[]).await;
    env.put("implied/child", b"x", &[]).await;
    env.put("empty/", b"", &[]).await;
    for (name, expected) in [
        ("/file", FsErrorKind::NotADirectory),
        ("/missing", FsErrorKind::NotFound),
        ("/full", FsErrorKind::DirectoryNotEmpty),
        ("/implied", FsErrorKind::DirectoryNotEmpty),
        ("/", FsErrorKind::PermissionDenied),
    ] {
        assert_eq!(kind(env.mount.remove_directory(&path(name)).await), Some(expected), "{name}");
    }
    env.mount.remove_directory(&path("/empty")).await.unwrap();
    assert_eq!(kind(env.mount.stat(&path("/empty")).await), Some(FsErrorKind::NotFound));
}

#[tokio::test]
async fn a_directory_outlives_its_last_entry() {
    let env = env().await;
    env.put("a/only", b"x", &[]).await;
    env.put("b/only/", b"", &[]).await;
    env.put("c/only", b"x", &[]).await;
    env.put("two/1", b"x", &[]).await;
    env.put("two/2", b"x", &[]).await;
    env.mount.remove(&path("/a/only")).await.unwrap();
    env.mount.remove_directory(&path("/b/only")).await.unwrap();
    env.mount.rename(&path("/c/only"), &path("/moved"), tidegate_vfs::Replace::Never).await.unwrap();
    env.mount.remove(&path("/two/1")).await.unwrap();
    for name in ["/a", "/b", "/c"] {
        assert_eq!(env.mount.stat(&path(name)).await.unwrap().kind, FileKind::Directory, "{name}");
        assert!(names(&env.mount, name).await.is_empty(), "{name}");
        env.mount.remove_directory(&path(name)).await.unwrap();
    }
    assert!(env.object("two/").await.is_none(), "no marker where it is not needed");
}

#[tokio::test]
async fn listings_are_complete_in_order_and_without_duplicates_over_pages() {
    let env = env().await;
    env.put("d/", b"", &[]).await;
    let mut expected: Vec<String> = (0..2_345).map(|n| format!("file{n:05}")).collect();
    for name in &expected {
        env.put(&format!("d/{name}"), b"x", &[]).await;
    }
    for n in 0..30 {
        env.put(&format!("d/sub{n:02}/deep/file"), b"x", &[]).await;
        expected.push(format!("sub{n:02}"));
    }
    // Both a file and a directory: shown once, as STAT shows it, though a thousand names lie between.
    env.put("d/file", b"x", &[]).await;
    env.put("d/file/child", b"x", &[]).await;
    expected.push("file".to_owned());
    expected.sort();
    let entries = list(&env.mount, "/d").await.unwrap();
    let mut listed: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    listed.sort();
    assert_eq!(listed, expected);
    let both = entries.iter().find(|entry| entry.name == "file").unwrap();
    assert_eq!(both.attributes.kind, FileKind::File);
    assert_eq!(env.mount.stat(&path("/d/file")).await.unwrap(), both.attributes);
}

#[tokio::test(start_paused = true)]
async fn stat_and_listing_agree_and_a_settled_listing_asks_nothing() {
    let env = env().await;
    env.put("d/s3fs", b"1234", &[("mtime", "1700000000"), ("mode", "33188"), ("uid", "1000")]).await;
    env.put("d/rclone", b"1", &[("mtime", "1563462631.949263")]).await;
    env.put("d/plain", b"", &[]).await;
    env.put("d/link", b"plain", &[("mode", "41471")]).await;
    env.put("d/sub/", b"", &[("mode", "16832"), ("mtime", "1600000000")]).await;
    env.put("d/implied/child", b"x", &[]).await;
    env.mount.set_attributes(&path("/d/sub"), mode(0o711)).await.unwrap();
    let entries = list(&env.mount, "/d").await.unwrap();
    assert_eq!(entries.len(), 6);
    for entry in &entries {
        let shown = env.mount.lstat(&path(&format!("/d/{}", entry.name))).await.unwrap();
        assert_eq!(entry.attributes, shown, "{}", entry.name);
    }
    // Metadata may change again within the second that a listing tells, so it is looked up once more.
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(list(&env.mount, "/d").await.unwrap(), entries);
    let before = env.requests();
    assert_eq!(list(&env.mount, "/d").await.unwrap(), entries);
    assert_eq!(env.requests() - before, 1, "one LIST");
    env.mount.set_attributes(&path("/d/plain"), times(1, 2)).await.unwrap();
    let changed = list(&env.mount, "/d").await.unwrap();
    assert_eq!(changed.iter().find(|entry| entry.name == "plain").unwrap().attributes.mtime, 2);
}

/// However wrong our clock is: the store's own says which objects are settled.
#[tokio::test]
async fn the_second_listing_asks_for_no_attributes_again_whatever_our_clock_says() {
    for hours in [-1, 0, 1] {
        let env = env().await;
        env.store.shift_clock(hours * 3600);
        env.put("d/a", b"1", &[("mode", "33152")]).await;
        env.put("d/b", b"2", &[]).await;
        env.store.shift_clock(10);
        let entries = list(&env.mount, "/d").await.unwrap();
        let before = env.requests();
        assert_eq!(list(&env.mount, "/d").await.unwrap(), entries);
        assert_eq!(env.requests() - before, 1, "one LIST, the store's clock {hours} h ahead");
    }
}

/// New metadata on the same bytes within the second that a listing tells would not show in it.
#[tokio::test]
async fn a_young_object_is_looked_up_again_whatever_our_clock_says() {
    for hours in [-1, 0, 1] {
        let env = env().await;
        env.store.shift_clock(hours * 3600);
        env.put("d/a", b"1", &[("mode", "33152")]).await;
        list(&env.mount, "/d").await.unwrap();
        let before = env.calls.calls(Call::Head);
        list(&env.mount, "/d").await.unwrap();
        assert_eq!(env.calls.calls(Call::Head) - before, 1, "looked up again, the store's clock {hours} h ahead");
    }
}

#[tokio::test]
async fn fast_listings_ask_for_no_attributes() {
    let env = env_with(Config { listing_attributes: ListingAttributes::Fast, ..config() }, FaultPlan::none()).await;
    env.put("f", b"1234", &[("mode", "33152")]).await;
    env.put("sub/", b"", &[]).await;
    let entries = list(&env.mount, "/").await.unwrap();
    assert_eq!((entries[0].attributes.mode, entries[0].attributes.size), (0o100_644, 4));
    assert_eq!(env.requests(), 1);
}

#[tokio::test]
async fn keys_that_no_path_can_name_are_left_out_and_counted() {
    let env = env().await;
    for key in ["d/.", "d/..", "d//empty", "d/../up", "d/fine"] {
        env.put(key, b"x", &[]).await;
    }
    env.put(&format!("d/{}", "x".repeat(256)), b"x", &[]).await;
    assert_eq!(names(&env.mount, "/d").await, ["fine"]);
    assert_eq!(env.metric("tidegate_vfs_unnameable_keys_total", ""), 5);
}

#[tokio::test]
async fn every_utf8_name_survives() {
    let env = env().await;
    let strange =
        ["+%#?&*", " leading", "new\nline", "ü", "u\u{308}", "...", "-", "a\\b", "\u{1f600}", "~", "a:b|c<d>\"'"];
    for name in strange {
        upload(&env.mount, &format!("/{name}"), &pattern(1)).await.unwrap();
    }
    let mut expected: Vec<String> = strange.iter().map(|name| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(names(&env.mount, "/").await, expected);
    for name in strange {
        assert!(env.mount.stat(&path(&format!("/{name}"))).await.is_ok(), "{name}");
        env.mount.remove(&path(&format!("/{name}"))).await.unwrap();
    }
    assert!(names(&env.mount, "/").await.is_empty());
}

#[tokio::test]
async fn opening_what_is_no_directory_says_so() {
    let env = env().await;
    env.put("file", b"x", &[]).await;
    let open = async |name: &str| kind(env.mount.open_directory(&path(name)).await);
    assert_eq!(open("/file").await, Some(FsErrorKind::NotADirectory));
    assert_eq!(open("/missing").await, Some(FsErrorKind::NotFound));
    assert_eq!(open("/").await, None);
    let writer = env.mount_with(&[Permission::Write]).await;
    assert_eq!(kind(writer.open_directory(&path("/")).await), Some(FsErrorKind::PermissionDenied));
}

#[tokio::test]
async fn a_fault_in_the_middle_of_a_listing_is_an_error_not_a_short_listing() {
    let plan = FaultPlan::none().on(Call::List, 2, Fault::Before(StoreErrorKind::Unavailable));
    let env = env_with(Config { listing_attributes: ListingAttributes::Fast, ..config() }, plan).await;
    for n in 0..1_500 {
        env.put(&format!("{n}"), b"x", &[]).await;
    }
    let mut directory = env.mount.open_directory(&path("/")).await.unwrap();
    assert_eq!(directory.next_page().await.unwrap().unwrap().len(), 1_000);
    assert_eq!(kind(directory.next_page().await), Some(FsErrorKind::Unavailable));
}

#[tokio::test]
async fn another_tenant_s_files_are_out_of_sight() {
    let env = env().await;
    let other = tidegate_store::ObjectKey::new("tenants/demo2/secret").unwrap();
    let body = tidegate_store::Body::from(&b"x"[..]);
    let sum = body.checksum();
    env.store.put(&other, body, sum, &Default::default(), &Default::default()).await.unwrap();
    assert!(names(&env.mount, "/").await.is_empty());
    for name in ["/../demo2/secret", "../../tenants/demo2/secret"] {
        assert_eq!(kind(env.mount.stat(&path(name)).await), Some(FsErrorKind::NotFound));
    }
}
