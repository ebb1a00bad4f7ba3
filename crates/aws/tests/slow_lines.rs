//! Uploads over lines that are slow, and over lines that stand still.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_aws::{Aws, Config, Endpoints, Timeouts};
use tidegate_store::{Body, Condition, ObjectAttributes, ObjectKey, Receipt, StoreErrorKind, StoreResult};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Far more than the buffers of both sockets take.
const LEN: usize = 32 << 20;

/// Puts an object of [`LEN`] bytes into a store at this address.
async fn put(address: SocketAddr, timeouts: Timeouts) -> StoreResult<Receipt> {
    let config = Config {
        region: Some("us-east-1".to_owned()),
        endpoints: Endpoints { s3: Some(format!("http://{address}")), ..Endpoints::default() },
        path_style: true,
        access_key_id: Some("testing".to_owned()),
        secret_access_key: Some("testing".into()),
        max_attempts: 1,
        timeouts,
        ..Config::default()
    };
    let bucket = Aws::connect(&config).await.expect("the configuration is valid").bucket("files");
    let body = Body::from(Bytes::from(vec![7; LEN]));
    let checksum = body.checksum();
    let key = ObjectKey::new("large").unwrap();
    bucket.put(&key, body, checksum, &ObjectAttributes::default(), &Condition::Always).await
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads up to the end of the request's head.
async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn a_slow_upload_that_moves_is_not_cut_by_the_attempt_time_out() {
    let (listener, address) = listen().await;
    let store = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let mut chunk = vec![0; 256 << 10];
        let mut remaining = LEN;
        while remaining > 0 {
            let len = remaining.min(chunk.len());
            remaining -= stream.read_exact(&mut chunk[..len]).await.unwrap();
            // The line's speed: some 16 MiB a second.
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    let begun = Instant::now();
    let attempt = Duration::from_millis(500);
    put(address, Timeouts { attempt, stall: Duration::from_secs(1), ..Timeouts::default() }).await.unwrap();
    assert!(begun.elapsed() > attempt * 2, "the line was not slow: {:?}", begun.elapsed());
    store.await.unwrap();
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up_long_before_its_time_is_over() {
    let (listener, address) = listen().await;
    let store = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
    });
    let begun = Instant::now();
    let error = put(address, Timeouts { stall: Duration::from_millis(500), ..Timeouts::default() }).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.report().contains("minimum throughput"), "{}", error.report());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(store.await.unwrap());
}
