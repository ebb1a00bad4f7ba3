//! What other tools keep with an object stays with it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use bytes::Bytes;
use bytesize::ByteSize;
use harness::*;
use tidegate_store::faulty::{Call, Fault, FaultPlan};
use tidegate_store::{Body, Condition, ObjectAttributes, ObjectStore, StoreErrorKind, SystemHeaders, Tags};
use tidegate_vfs::{Config, FsErrorKind, OpenOptions, Replace};

fn headers(storage_class: Option<&str>) -> SystemHeaders {
    SystemHeaders {
        cache_control: Some("no-cache".to_owned()),
        content_disposition: Some("attachment".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        content_language: Some("de".to_owned()),
        expires: Some("0".to_owned()),
        storage_class: storage_class.map(str::to_owned),
        website_redirect: Some("/elsewhere".to_owned()),
    }
}

async fn put(env: &Env, key: &str, len: usize, storage_class: Option<&str>) {
    let metadata = [("other".to_owned(), "kept".to_owned())].into();
    let (content_type, headers) = (Some("text/csv".to_owned()), headers(storage_class));
    let attributes = ObjectAttributes { content_type, metadata, headers, tags: tags() };
    let body = Body::from(pattern(len));
    let checksum = body.checksum();
    env.store.put(&key_of(key), body, checksum, &attributes, &Condition::Always).await.unwrap();
}

fn tags() -> Tags {
    [("class", "a b"), ("scanned", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

async fn kept(env: &Env, key: &str) -> SystemHeaders {
    assert_eq!(env.store.tags(&key_of(key)).await.unwrap(), tags());
    let attributes = env.store.head(&key_of(key)).await.unwrap().attributes;
    assert_eq!(attributes.content_type.as_deref(), Some("text/csv"));
    assert_eq!(attributes.metadata["other"], "kept");
    attributes.headers
}

#[tokio::test]
async fn what_other_tools_keep_with_a_file_survives_setstat_and_rename() {
    let (whole, part) = (ByteSize::b(4 * PART as u64), ByteSize::b(PART as u64));
    let config = Config { copy_whole_max: whole, copy_part_size: part, ..config() };
    for class in [None, Some("STANDARD_IA")] {
        let env = env_with(config.clone(), FaultPlan::none()).await;
        for (name, len) in [("small", 10), ("large", 6 * PART)] {
            put(&env, &format!("dir/{name}"), len, class).await;
            let (from, to) = (path(&format!("/dir/{name}")), path(&format!("/dir/{name}2")));
            env.mount.set_attributes(&from, mode(0o600)).await.unwrap();
            assert_eq!(kept(&env, &format!("dir/{name}")).await, headers(class), "SETSTAT of {name}");
            env.mount.rename(&from, &to, Replace::Never).await.unwrap();
            assert_eq!(kept(&env, &format!("dir/{name}2")).await, headers(class), "RENAME of {name}");
        }
        let looks = env.calls.calls(Call::Head);
        env.mount.rename(&path("/dir"), &path("/new"), Replace::Never).await.unwrap();
        for name in ["small2", "large2"] {
            assert_eq!(kept(&env, &format!("new/{name}")).await, headers(class), "RENAME of the directory");
            assert_eq!(env.mount.stat(&path(&format!("/new/{name}"))).await.unwrap().mode, 0o100_600);
        }
        // Those of the directories, one for the parts, and one for each object.
        assert!(env.calls.calls(Call::Head) - looks <= 11, "{}", env.calls.calls(Call::Head) - looks);
    }
}

#[tokio::test]
async fn what_other_tools_keep_with_a_file_survives_changes_in_place() {
    let env = env().await;
    for len in [10, 3 * PART] {
        put(&env, "f", len, None).await;
        overwrite(&env.mount, "/f", 1, b"x").await;
        assert_eq!(kept(&env, "f").await, headers(None), "{len} bytes, overwritten");
        let mut writer = open_writer(&env.mount, "/f", OpenOptions { append: true, ..WRITE }).await.unwrap();
        write(&mut writer, len, Bytes::from_static(b"more")).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(kept(&env, "f").await, headers(None), "{len} bytes, appended to");
        env.mount.set_attributes(&path("/f"), size(len as u64 / 2)).await.unwrap();
        assert_eq!(kept(&env, "f").await, headers(None), "{len} bytes, cut");
        upload(&env.mount, "/f", &pattern(len)).await.unwrap();
        assert_eq!(env.store.tags(&key_of("f")).await.unwrap(), Tags::new(), "a new file has none of the old one");
    }
    // A directory's are those of its marker.
    put(&env, "dir/", 0, None).await;
    env.put("dir/f", b"x", &[]).await;
    env.mount.set_attributes(&path("/dir"), mode(0o700)).await.unwrap();
    assert_eq!(kept(&env, "dir/").await, headers(None));
    env.mount.rename(&path("/dir"), &path("/new"), Replace::Never).await.unwrap();
    assert_eq!(kept(&env, "new/").await, headers(None));
}

#[tokio::test]
async fn a_file_whose_tags_can_t_be_read_is_not_copied_in_parts_without_them() {
    let (whole, part) = (ByteSize::b(4 * PART as u64), ByteSize::b(PART as u64));
    let config = Config { copy_whole_max: whole, copy_part_size: part, ..config() };
    let refused = |count| {
        let faults = (1..=count).map(|n| (n, Fault::Before(StoreErrorKind::AccessDenied)));
        faults.fold(FaultPlan::none(), |plan, (n, fault)| plan.on(Call::Tags, n, fault))
    };
    let env = env_with(config.clone(), refused(3)).await;
    put(&env, "dir/large", 6 * PART, None).await;
    let renamed = async |from: &str, to: &str| env.mount.rename(&path(from), &path(to), Replace::Never).await;
    let denied = Some(FsErrorKind::PermissionDenied);
    assert_eq!(kind(env.mount.set_attributes(&path("/dir/large"), mode(0o600)).await), denied);
    assert_eq!(kind(renamed("/dir/large", "/large").await), denied);
    assert_eq!(kind(renamed("/dir", "/new").await), denied);
    assert_eq!(kept(&env, "dir/large").await, headers(None), "it is as it was");
    assert_eq!((env.uploads().await, env.object("large").await), (0, None));
    // A store without tags has none to lose.
    let plan = FaultPlan::none().on(Call::Tags, 1, Fault::Before(StoreErrorKind::Unsupported));
    let env = env_with(config, plan).await;
    put(&env, "large", 6 * PART, None).await;
    env.mount.set_attributes(&path("/large"), mode(0o600)).await.unwrap();
    assert_eq!(env.store.head(&key_of("large")).await.unwrap().attributes.headers, headers(None));
}

#[tokio::test]
async fn a_checksum_that_rclone_keeps_goes_with_the_content_that_it_is_of() {
    let env = env().await;
    let sum = ("md5chksum", "kAFQmDzST7DWlj99KOF/cg==");
    let kept = async |key: &str| env.metadata(key, "md5chksum").await;
    // What changes attributes or the name keeps it.
    env.put("f", b"abc", &[sum, ("other", "kept")]).await;
    env.mount.set_attributes(&path("/f"), mode(0o600)).await.unwrap();
    env.mount.rename(&path("/f"), &path("/g"), Replace::Never).await.unwrap();
    let mut writer = open_writer(&env.mount, "/g", WRITE).await.unwrap();
    writer.set_attributes(times(1, 2)).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(kept("g").await.as_deref(), Some(sum.1));
    // What changes the content drops it, and nothing else.
    overwrite(&env.mount, "/g", 1, b"x").await;
    assert_eq!((kept("g").await, env.metadata("g", "other").await.as_deref()), (None, Some("kept")));
    for len in [3, 3 * PART] {
        for append in [true, false] {
            env.put_large("h", &pattern(len), &[sum]).await;
            let mut writer = open_writer(&env.mount, "/h", OpenOptions { append, ..WRITE }).await.unwrap();
            write(&mut writer, len, Bytes::from_static(b"more")).await.unwrap();
            writer.finish().await.unwrap();
            assert_eq!(kept("h").await, None, "{len} bytes, with APPEND: {append}");
        }
        env.put_large("h", &pattern(len), &[sum]).await;
        env.mount.set_attributes(&path("/h"), size(1)).await.unwrap();
        assert_eq!(kept("h").await, None, "cut from {len} bytes");
    }
}
