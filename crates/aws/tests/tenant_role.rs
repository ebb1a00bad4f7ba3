//! A role for each tenant, on moto with session policies enforced (moto itself does not: see
//! `server/session_policies.py`, which knows what right each request of S3 needs).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod server;

use std::sync::Arc;

use prometheus::Registry;
use tidegate_aws::{Aws, Config};
use tidegate_store::conformance;
use tidegate_store::{
    Body, ByteRange, Condition, CopySource, ListRequest, Metrics, ObjectAttributes, ObjectKey, ObjectStore, PartNumber,
    Status, StoreErrorKind, StoreResult, Tenant, TenantLimits,
};

use server::Moto;

const ROLE: &str = "arn:aws:iam::123456789012:role/tidegate-tenant";
const BUCKET: &str = "shared";

async fn connect(moto: &Moto) -> Aws {
    let mut config: Config = moto.config();
    config.tenant_role.arn = Some(ROLE.to_owned());
    let aws = Aws::connect(&config).await.expect("the configuration is valid");
    aws.create_bucket(BUCKET).await.unwrap();
    aws
}

fn tenant(name: &str, prefix: &str) -> Tenant {
    Tenant {
        name: name.parse().unwrap(),
        status: Status::Active,
        bucket: BUCKET.to_owned(),
        prefix: prefix.parse().unwrap(),
        limits: TenantLimits::default(),
        created: 0,
    }
}

async fn open(aws: &Aws, name: &str, prefix: &str) -> Arc<dyn ObjectStore> {
    let stores = aws.tenant_object_stores(Metrics::register(&Registry::new()).unwrap()).expect("a role is configured");
    stores.open(&tenant(name, prefix)).await.unwrap()
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

async fn put(store: &Arc<dyn ObjectStore>, at: &str) -> StoreResult<()> {
    let body = Body::from(&b"some bytes"[..]);
    let checksum = body.checksum();
    store.put(&key(at), body, checksum, &ObjectAttributes::default(), &Condition::Always).await.map(drop)
}

async fn list(store: &Arc<dyn ObjectStore>, prefix: &str) -> StoreResult<usize> {
    let request =
        ListRequest { prefix: prefix.to_owned(), delimited: true, limit: 100, continuation: None, start_after: None };
    store.list(&request).await.map(|page| page.objects.len())
}

/// Tries every call of the port on one key, and gives the kinds of the failures.
async fn every_call(store: &Arc<dyn ObjectStore>, own: &str, at: &str) -> Vec<(&'static str, Option<StoreErrorKind>)> {
    let source = |at: &str| CopySource { key: key(at), if_match: None };
    let begun = store.begin_upload(&key(at), &ObjectAttributes::default()).await;
    let own_upload = store.begin_upload(&key(own), &ObjectAttributes::default()).await.unwrap();
    let foreign = tidegate_store::Upload { key: key(at), id: own_upload.id.clone() };
    let (body, range) = (|| Body::from(&b"x"[..]), ByteRange::new(0, 1));
    let checksum = body().checksum();
    let etag = tidegate_store::ETag::new("\"e\"");
    let tried = vec![
        ("head", store.head(&key(at)).await.map(drop)),
        ("checksum", store.checksum(&key(at), None).await.map(drop)),
        ("get", store.get(&key(at), None, None).await.map(drop)),
        ("put", put(store, at).await),
        ("begin_upload", begun.map(drop)),
        ("put_part", store.put_part(&foreign, PartNumber::FIRST, body(), checksum).await.map(drop)),
        ("copy_part to", store.copy_part(&foreign, PartNumber::FIRST, &source(own), range).await.map(drop)),
        ("copy_part from", store.copy_part(&own_upload, PartNumber::FIRST, &source(at), range).await.map(drop)),
        ("list_parts", store.list_parts(&foreign, None).await.map(drop)),
        ("complete_upload", store.complete_upload(&foreign, &[], None, &Condition::Always).await.map(drop)),
        ("abort_upload", store.abort_upload(&foreign).await),
        ("copy to", store.copy(&source(own), &key(at), None, &Condition::Always).await.map(drop)),
        ("copy from", store.copy(&source(at), &key(own), None, &Condition::Always).await.map(drop)),
        ("delete", store.delete(&key(at)).await),
        ("delete_version", store.delete_version(&key(at), &etag).await),
        ("list", list(store, at).await.map(drop)),
        ("list_uploads", store.list_uploads(at, None).await.map(drop)),
    ];
    store.abort_upload(&own_upload).await.unwrap();
    tried.into_iter().map(|(call, result)| (call, result.err().map(|error| error.kind()))).collect()
}

#[tokio::test]
async fn a_tenants_store_is_an_object_store_within_its_session_policy() {
    let moto = Moto::start().await;
    let aws = connect(&moto).await;
    // The suite sweeps up by a listing of uploads, which no session policy can allow for a prefix.
    let store = open(&aws, "acme", "tenants/acme/").await;
    conformance::object_store_listed_by(store, aws.bucket(BUCKET), "tenants/acme/run/", server::DEVIATIONS).await;
}

#[tokio::test]
async fn no_call_reaches_another_tenants_files() {
    let moto = Moto::start().await;
    let aws = connect(&moto).await;
    // Neighbours that a pattern, or a prefix without its "/", would take for one another.
    for (one, other) in [("logs/a/", "logs/ab/"), ("x/we*rd?$d/", "x/weXrdY$d/"), ("y/${*}/", "y/*/"), ("t/é/", "t/e/")]
    {
        let (ours, theirs) = (open(&aws, "ours", one).await, open(&aws, "theirs", other).await);
        for (store, prefix, foreign) in [(&ours, one, other), (&theirs, other, one)] {
            let own = format!("{prefix}file");
            put(store, &own).await.unwrap();
            assert_eq!(list(store, prefix).await.unwrap(), 1, "{prefix}");
            assert!(store.get(&key(&own), None, None).await.is_ok());
            let missing = store.head(&key(&format!("{prefix}missing"))).await.unwrap_err();
            assert_eq!(missing.kind(), StoreErrorKind::NotFound, "{}", missing.report());

            aws.bucket(BUCKET).head(&key(&own)).await.expect("the node's own credentials reach it");
            for (call, failure) in every_call(store, &own, &format!("{foreign}file")).await {
                assert_eq!(failure, Some(StoreErrorKind::AccessDenied), "{call} of {prefix} in {foreign}");
            }
            for around in ["", "x/", "lo", "y/", prefix.trim_end_matches('/')] {
                assert_eq!(list(store, around).await.unwrap_err().kind(), StoreErrorKind::AccessDenied, "{around}");
            }
        }
        // What was tried has changed nothing.
        assert_eq!((list(&ours, one).await.unwrap(), list(&theirs, other).await.unwrap()), (1, 1));
    }
}

#[tokio::test]
async fn a_tenant_with_a_whole_bucket_has_all_of_it() {
    let moto = Moto::start().await;
    let aws = connect(&moto).await;
    aws.create_bucket("elsewhere").await.unwrap();
    let store = open(&aws, "acme", "").await;
    put(&store, "any/key").await.unwrap();
    assert_eq!(list(&store, "any/").await.unwrap(), 1);
    assert!(list(&store, "").await.is_ok());
    assert_eq!(store.head(&key("missing")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

#[tokio::test]
async fn the_probe_tells_a_store_that_enforces_session_policies_from_one_that_does_not() {
    for (moto, expected) in
        [(Moto::start().await, Ok("reaches no other's files")), (Moto::start_plain().await, Err("are not enforced"))]
    {
        let aws = connect(&moto).await;
        let probes = aws.probe(BUCKET).await;
        let probe = probes.iter().find(|probe| probe.name == "tenant role").expect("it was made");
        let (Ok(text) | Err(text)) = expected;
        assert_eq!((probe.ok, probe.message.contains(text)), (expected.is_ok(), true), "{}", probe.message);
        let all =
            ListRequest { prefix: String::new(), delimited: false, limit: 9, continuation: None, start_after: None };
        assert_eq!(aws.bucket(BUCKET).list(&all).await.unwrap().objects, [], "the probe leaves nothing behind");
        assert_eq!(aws.bucket(BUCKET).list_uploads("", None).await.unwrap().uploads, []);
    }
}

#[tokio::test]
async fn the_probe_says_what_to_do_where_sts_does_not_answer() {
    let moto = Moto::start().await;
    let mut config = moto.config();
    config.tenant_role.arn = Some(ROLE.to_owned());
    config.max_attempts = 1;
    // Port 9 (discard) takes no connection.
    config.endpoints.sts = Some("http://127.0.0.1:9".to_owned());
    let aws = Aws::connect(&config).await.unwrap();
    let probes = aws.probe(BUCKET).await;
    let probe = probes.iter().find(|probe| probe.name == "tenant role").unwrap();
    assert!(!probe.ok && probe.message.contains("assume role failed: unavailable"), "{}", probe.message);
    let error = aws
        .tenant_object_stores(Metrics::register(&Registry::new()).unwrap())
        .unwrap()
        .open(&tenant("acme", "a/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}
