//! OPEN for reading with flags that make or empty the file first, as OpenSSH's server does it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use bytes::Bytes;
use harness::*;
use tidegate_store::Permission;
use tidegate_vfs::{FsError, FsErrorKind, Mount, OpenFile, OpenOptions};

const READ: OpenOptions = OpenOptions { read: true, write: false, ..WRITE };
const MAKE: OpenOptions = OpenOptions { create: true, ..READ };
const EMPTY: OpenOptions = OpenOptions { truncate: true, ..READ };

/// What the handle shows.
async fn opened(mount: &Mount, name: &str, options: OpenOptions) -> Result<Bytes, FsError> {
    match mount.open(&path(name), options).await? {
        OpenFile::Read(reader) => read_all(&reader, 1_000).await,
        OpenFile::Write(_) => panic!("opened for writing"),
    }
}

#[tokio::test]
async fn a_missing_file_is_made_and_one_that_is_there_is_kept() {
    let env = env().await;
    assert_eq!(opened(&env.mount, "/new", OpenOptions { attributes: mode(0o600), ..MAKE }).await.unwrap(), "");
    assert_eq!(env.object("new").await.unwrap(), "", "it is there before CLOSE");
    assert_eq!(env.mount.stat(&path("/new")).await.unwrap().mode, 0o100_600);
    env.put("f", b"content", &[]).await;
    assert_eq!(opened(&env.mount, "/f", MAKE).await.unwrap(), "content");
    let exclusive = OpenOptions { exclusive: true, ..MAKE };
    assert_eq!(kind(opened(&env.mount, "/f", exclusive).await), Some(FsErrorKind::AlreadyExists));
    assert_eq!(opened(&env.mount, "/only", exclusive).await.unwrap(), "");
    assert_eq!(kind(opened(&env.mount, "/no/such", MAKE).await), Some(FsErrorKind::NotFound));
    env.put("dir/", b"", &[]).await;
    assert_eq!(kind(opened(&env.mount, "/dir", MAKE).await), Some(FsErrorKind::IsADirectory));
    env.mount.make_link(b"target", &path("/link")).await.unwrap();
    assert_eq!(opened(&env.mount, "/link", MAKE).await.unwrap(), "");
    assert_eq!(env.object("target").await.unwrap(), "", "through a link");
}

#[tokio::test]
async fn a_file_is_emptied_before_it_is_read() {
    let env = env().await;
    env.put("f", b"content", &[]).await;
    assert_eq!(opened(&env.mount, "/f", EMPTY).await.unwrap(), "");
    assert_eq!(env.object("f").await.unwrap(), "");
    assert_eq!(kind(opened(&env.mount, "/missing", EMPTY).await), Some(FsErrorKind::NotFound));
    assert_eq!(opened(&env.mount, "/missing", OpenOptions { create: true, ..EMPTY }).await.unwrap(), "");
    assert_eq!(env.object("missing").await.unwrap(), "");
}

#[tokio::test]
async fn what_asks_for_neither_reads() {
    let env = env().await;
    env.put("f", b"content", &[]).await;
    assert_eq!(opened(&env.mount, "/f", OpenOptions::default()).await.unwrap(), "content");
    let denied = opened(&env.mount_with(&[Permission::Write]).await, "/f", OpenOptions::default()).await;
    assert_eq!(kind(denied), Some(FsErrorKind::PermissionDenied));
}

#[tokio::test]
async fn making_and_emptying_need_the_permissions_of_writing() {
    let env = env().await;
    env.put("f", b"content", &[]).await;
    let denied = Some(FsErrorKind::PermissionDenied);
    let reader = env.mount_with(&[Permission::Read]).await;
    assert_eq!(kind(opened(&reader, "/new", MAKE).await), denied);
    assert_eq!(kind(opened(&reader, "/f", EMPTY).await), denied);
    assert_eq!(opened(&reader, "/f", MAKE).await.unwrap(), "content", "nothing is made");
    let maker = env.mount_with(&[Permission::Read, Permission::Write]).await;
    assert_eq!(kind(opened(&maker, "/f", EMPTY).await), denied);
    assert_eq!(opened(&maker, "/new", MAKE).await.unwrap(), "");
    assert_eq!(env.object("f").await.unwrap(), "content");
}
