//! Who may use the S3 server: the holder of its one credential.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]
#![allow(dead_code, reason = "each test binary uses a part of what they share")]

mod running;

use running::Running;
use tidegate_store::{ObjectKey, StoreErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_refused() {
    let running = Running::start().await;
    running.bucket("private").await;
    let stranger = running.aws_with_secret("0000000000000000000000000000000000000000").await;
    let error = stranger.bucket("private").delete(&ObjectKey::new("key").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::AccessDenied, "{}", error.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_signature_is_refused() {
    let running = Running::start().await;
    running.bucket("private").await;
    let url = running.servers.s3_url();
    let address = url.strip_prefix("http://").unwrap();
    for request in ["GET / HTTP/1.1", "GET /private?list-type=2 HTTP/1.1", "DELETE /private HTTP/1.1"] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("{request}\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
}
