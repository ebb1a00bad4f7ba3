//! What survives: restarts, writers at the same time, readers of what is replaced, leftovers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]
#![allow(dead_code, reason = "each test binary uses a part of what they share")]

mod running;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use running::{Running, bodies_in, config};
use tempfile::TempDir;
use tidegate_embedded::{DataFolderError, Embedded, StartError};
use tidegate_store::{
    Body, Condition, ObjectAttributes, ObjectKey, ObjectStore, PartNumber, StoreErrorKind, StoreResult,
};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

async fn put(store: &dyn ObjectStore, name: &str, bytes: Bytes, condition: &Condition) -> StoreResult<()> {
    let body = Body::from(bytes);
    let checksum = body.checksum();
    store.put(&key(name), body, checksum, &ObjectAttributes::default(), condition).await.map(drop)
}

async fn read(store: &dyn ObjectStore, name: &str) -> Vec<u8> {
    let mut body = store.get(&key(name), None, None).await.unwrap().body;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

fn pattern(seed: u32, len: usize) -> Bytes {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_found_again_after_a_restart() {
    let running = Running::start().await;
    let store = running.bucket("kept").await;
    let part = pattern(1, 5 << 20);
    put(&*store, "small", Bytes::from_static(b"small"), &Condition::Always).await.unwrap();
    let upload = store.begin_upload(&key("large"), &ObjectAttributes::default()).await.unwrap();
    let number = PartNumber::FIRST;
    let checksum = Body::from(part.clone()).checksum();
    let stored = store.put_part(&upload, number, part.clone().into(), checksum).await.unwrap();
    let (access_key, secret_key) = (running.servers.access_key().to_owned(), running.servers.secret_key().to_owned());
    let aws = running.aws().await;
    aws.create_table().await.unwrap();

    let running = running.restart().await;
    assert_eq!(running.servers.access_key(), access_key);
    assert_eq!(running.servers.secret_key(), secret_key);
    let aws = running.aws().await;
    let store = aws.bucket("kept");
    assert_eq!(read(&*store, "small").await, b"small");
    let listed = store.list_parts(&upload, None).await.unwrap().parts;
    assert_eq!(listed.iter().map(|part| (part.number, part.size)).collect::<Vec<_>>(), [(number, 5 << 20)]);
    store.complete_upload(&upload, &[stored], Some(checksum), &Condition::IfAbsent).await.unwrap();
    assert_eq!(read(&*store, "large").await, part);
    let table = aws.probe("kept").await.into_iter().find(|probe| probe.name == "table").unwrap();
    assert!(table.ok, "{}", table.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_unfinished_requests_left_is_removed_at_the_start() {
    let running = Running::start().await;
    let store = running.bucket("swept").await;
    put(&*store, "kept", Bytes::from_static(b"kept"), &Condition::Always).await.unwrap();
    let folder = running.stop().await;
    for leftover in ["00/00000000000000ff00", "07/0000000000001007", "10/not a number"] {
        std::fs::write(folder.path().join("data/s3/bodies").join(leftover), "leftover").unwrap();
    }
    let running = Running::start_in(folder).await;
    assert_eq!(running.bodies(), [4], "only the body of the object stays");
    let store = running.aws().await.bucket("swept");
    assert_eq!(read(&*store, "kept").await, b"kept");
    put(&*store, "new", Bytes::from_static(b"newer"), &Condition::IfAbsent).await.unwrap();
    assert_eq!(running.bodies(), [4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writers_creates_an_object() {
    let running = Running::start().await;
    let store = running.bucket("raced").await;
    for round in 0..5 {
        let name = format!("round-{round}");
        let racers = (0..32_u8).map(|racer| {
            let (store, name) = (Arc::clone(&store), name.clone());
            tokio::spawn(async move { put(&*store, &name, vec![racer; 100].into(), &Condition::IfAbsent).await })
        });
        let mut winners = Vec::new();
        for (racer, result) in futures::future::join_all(racers).await.into_iter().enumerate() {
            match result.unwrap() {
                Ok(()) => winners.push(racer as u8),
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::PreconditionFailed, "{}", error.report()),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(read(&*store, &name).await, vec![winners[0]; 100]);
    }
    assert_eq!(running.bodies(), [100; 5], "the bodies of the losers are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_its_version_to_the_end_while_others_replace_and_remove_it() {
    let running = Running::start().await;
    let store = running.bucket("replaced").await;
    let old = pattern(2, 24 << 20);
    put(&*store, "object", old.clone(), &Condition::Always).await.unwrap();
    let mut body = store.get(&key("object"), None, None).await.unwrap().body;
    let mut seen = body.next().await.unwrap().unwrap().to_vec();
    put(&*store, "object", Bytes::from_static(b"new"), &Condition::Always).await.unwrap();
    assert_eq!(read(&*store, "object").await, b"new");
    store.delete(&key("object")).await.unwrap();
    while let Some(chunk) = body.next().await {
        seen.extend_from_slice(&chunk.unwrap());
    }
    assert!(seen == old, "{} bytes", seen.len());
    drop(body);
    let folder = running.stop().await;
    assert_eq!(bodies_in(folder.path()), [0; 0], "the old body goes with its last reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_serves_one_process_and_is_its_owners_alone() {
    let running = Running::start().await;
    let error = Embedded::start(config(running.folder.path())).await.unwrap_err();
    assert!(matches!(error, StartError::DataFolder(DataFolderError::InUse { .. })), "{error:?}");
    assert!(error.to_string().contains(running.folder.path().to_str().unwrap()), "{error}");
    let mode = |name: &str| {
        std::fs::metadata(running.folder.path().join("data").join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("credentials.json")), (0o700, 0o600));
    assert!(!format!("{:?}", running.servers).contains(running.servers.secret_key()));

    let folder = running.stop().await;
    Running::start_in(folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_others_may_read_are_refused() {
    let folder = Running::start().await.stop().await;
    let file = folder.path().join("data/credentials.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Embedded::start(config(folder.path())).await.unwrap_err();
    assert!(matches!(&error, StartError::Credentials { path, .. } if path.ends_with("credentials.json")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = TempDir::new().unwrap();
    let error =
        Embedded::start(tidegate_embedded::Config { s3_port: port, ..config(folder.path()) }).await.unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    Running::start_in(folder).await;
}
