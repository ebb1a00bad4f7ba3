//! The conformance suite of the ports, on moto.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod server;

use tidegate_aws::{Aws, Config};
use tidegate_store::{Body, Condition, ObjectAttributes, ObjectKey, PartNumber, conformance};

use server::{DEVIATIONS, Moto};

async fn connect(moto: &Moto, change: impl FnOnce(&mut Config)) -> Aws {
    let mut config = moto.config();
    change(&mut config);
    Aws::connect(&config).await.expect("the configuration is valid")
}

#[tokio::test]
async fn a_bucket_is_an_object_store() {
    let moto = Moto::start().await;
    let aws = connect(&moto, |_| {}).await;
    aws.create_bucket("conformance").await.unwrap();
    aws.create_bucket("conformance").await.expect("a bucket of ours may be created again");
    conformance::object_store(aws.bucket("conformance"), "run/", DEVIATIONS).await;
}

#[tokio::test]
async fn the_tag_of_what_came_in_one_request_is_its_md5() {
    let moto = Moto::start().await;
    let aws = connect(&moto, |_| {}).await;
    aws.create_bucket("md5s").await.unwrap();
    let (bucket, attributes) = (aws.bucket("md5s"), ObjectAttributes::default());
    let key = ObjectKey::new("key").unwrap();
    let body = || Body::from(&b"some bytes"[..]);
    let sum = body().checksum();
    bucket.put(&key, body(), sum, &attributes, &Condition::Always).await.unwrap();
    assert_eq!(bucket.kept_checksums(&key, None).await.unwrap().md5, Some(tidegate_store::md5([&b"some bytes"[..]])));

    let upload = bucket.begin_upload(&key, &attributes).await.unwrap();
    let part = bucket.put_part(&upload, PartNumber::FIRST, body(), sum).await.unwrap();
    bucket.complete_upload(&upload, &[part], Some(sum), &Condition::Always).await.unwrap();
    assert_eq!(bucket.kept_checksums(&key, None).await.unwrap().md5, None);
}

#[tokio::test]
async fn a_table_is_a_directory() {
    let moto = Moto::start().await;
    let aws = connect(&moto, |_| {}).await;
    aws.create_table().await.unwrap();
    aws.create_table().await.expect("a table that exists may be created again");
    conformance::directory(aws.directory()).await;
    conformance::usage(aws.usage()).await;
    conformance::journal(aws.journal()).await;
    conformance::leases(aws.leases()).await;
    conformance::login_failures(aws.login_failures()).await;
}

#[tokio::test]
async fn a_kms_key_guards_data_keys() {
    let moto = Moto::start().await;
    let key = moto.create_kms_key().await;
    let aws = connect(&moto, |config| config.kms_key_id = Some(key)).await;
    conformance::data_keys(aws.data_keys().unwrap()).await;
}

#[tokio::test]
async fn the_probe_names_what_is_missing_and_leaves_nothing_behind() {
    let moto = Moto::start().await;
    let aws = connect(&moto, |_| {}).await;
    let bad: Vec<_> = aws.probe("missing").await.into_iter().filter(|probe| !probe.ok).collect();
    let names: Vec<_> = bad.iter().map(|probe| probe.name).collect();
    assert_eq!(names, ["bucket", "conditional writes", "table", "kms"], "{bad:?}");
    assert!(bad[0].message.contains("there is no bucket \"missing\""), "{}", bad[0].message);
    assert!(bad[2].message.contains("there is no table \"tidegate\""), "{}", bad[2].message);
    assert!(bad[3].message.contains("aws.kms_key_id"), "{}", bad[3].message);

    let key = moto.create_kms_key().await;
    let aws = connect(&moto, |config| config.kms_key_id = Some(key)).await;
    aws.create_bucket("probed").await.unwrap();
    aws.create_table().await.unwrap();
    let probes = aws.probe("probed").await;
    let bad: Vec<_> = probes.iter().filter(|probe| !probe.ok).collect();
    // moto ignores If-Match on completion, which is what the probe is there to find.
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].message.contains("ignores If-Match on CompleteMultipartUpload"), "{}", bad[0].message);

    let all = tidegate_store::ListRequest {
        prefix: String::new(),
        delimited: false,
        limit: 10,
        continuation: None,
        start_after: None,
    };
    assert_eq!(aws.bucket("probed").list(&all).await.unwrap().objects, []);
    assert_eq!(aws.bucket("probed").list_uploads("", None).await.unwrap().uploads, []);
}
