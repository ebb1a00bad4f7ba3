//! The conformance suites of the ports on the embedded servers, through the node's own clients.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]
#![allow(dead_code, reason = "each test binary uses a part of what they share")]

mod running;

use running::{Running, bodies_in};
use tempfile::TempDir;
use tidegate_embedded::LocalDataKeys;
use tidegate_store::conformance;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_an_object_store_without_deviations() {
    let running = Running::start().await;
    let bucket = running.bucket("conformance").await;
    conformance::object_store(bucket, "run/", &[]).await;
    let folder = running.stop().await;
    assert_eq!(bodies_in(folder.path()), [0; 0], "no body file stays when all objects and uploads are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_a_directory() {
    let running = Running::start().await;
    let aws = running.aws().await;
    aws.create_table().await.unwrap();
    aws.create_table().await.expect("a table that exists may be created again");
    conformance::directory(aws.directory()).await;
    conformance::usage(aws.usage()).await;
    conformance::journal(aws.journal()).await;
    conformance::leases(aws.leases()).await;
    conformance::login_failures(aws.login_failures()).await;
}

#[tokio::test]
async fn a_root_key_file_guards_data_keys() {
    let folder = TempDir::new().unwrap();
    let keys = LocalDataKeys::open(&folder.path().join("root.key")).unwrap();
    conformance::data_keys(std::sync::Arc::new(keys)).await;
}

/// What `check-config` asks of a store, KMS aside.
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_pass_the_probe() {
    let running = Running::start().await;
    let aws = running.aws().await;
    aws.create_bucket("probed").await.unwrap();
    aws.create_table().await.unwrap();
    let probes = aws.probe("probed").await;
    for name in ["bucket", "conditional writes", "table"] {
        let probe = probes.iter().find(|probe| probe.name == name).expect(name);
        assert!(probe.ok, "{name}: {}", probe.message);
    }
}
