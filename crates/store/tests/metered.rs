//! What the decorators count.
#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, TryStreamExt};
use prometheus::{Registry, TextEncoder};
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::{MemoryDataKeys, MemoryDirectory, MemoryObjectStore};
use tidegate_store::metered::{MeteredDataKeys, MeteredDirectory, MeteredObjectStore, MeteredObjectStores};
use tidegate_store::{
    Accounts, Body, ByteRange, Condition, DataKeys, EncryptionContext, Metrics, ObjectAttributes, ObjectKey,
    ObjectStore, ObjectStores, Status, StoreErrorKind, Tenant, TenantLimits,
};

struct Counted(Registry);

impl Counted {
    fn new() -> (Self, Metrics) {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        (Self(registry), metrics)
    }

    /// The lines of the exposition that begin so.
    fn lines(&self, start: &str) -> Vec<String> {
        let text = TextEncoder::new().encode_to_string(&self.0.gather()).unwrap();
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }
}

fn key() -> ObjectKey {
    ObjectKey::new("key").unwrap()
}

async fn put(store: &dyn ObjectStore, len: usize) {
    let body = Body::from(Bytes::from(vec![7; len]));
    let checksum = body.checksum();
    store.put(&key(), body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
}

#[tokio::test]
async fn calls_are_counted_by_result_and_timed() {
    let (counted, metrics) = Counted::new();
    let store = MeteredObjectStore::new(Arc::new(MemoryObjectStore::new()), metrics);
    store.head(&key()).await.unwrap_err();
    put(&store, 1).await;
    store.head(&key()).await.unwrap();
    store.head(&key()).await.unwrap();
    assert_eq!(
        counted.lines("tidegate_store_requests_total"),
        [
            r#"tidegate_store_requests_total{call="head",result="not-found",service="objects"} 1"#,
            r#"tidegate_store_requests_total{call="head",result="ok",service="objects"} 2"#,
            r#"tidegate_store_requests_total{call="put",result="ok",service="objects"} 1"#,
        ]
    );
    assert_eq!(
        counted.lines(r#"tidegate_store_request_duration_seconds_count{call="head""#),
        [r#"tidegate_store_request_duration_seconds_count{call="head",service="objects"} 3"#]
    );
    let buckets = counted.lines(r#"tidegate_store_request_duration_seconds_bucket{call="head""#);
    assert!(buckets[0].contains(r#"le="0.001""#), "{buckets:?}");
    assert!(buckets[buckets.len() - 2].contains(r#"le="30""#), "{buckets:?}");
}

#[tokio::test]
async fn bytes_are_counted_as_they_stream() {
    let (counted, metrics) = Counted::new();
    let store = MeteredObjectStore::new(Arc::new(MemoryObjectStore::new()), metrics);
    put(&store, 200_000).await;
    let mut body = store.get(&key(), None, None).await.unwrap().body;
    assert_eq!(
        counted.lines("tidegate_store_bytes_total"),
        [
            r#"tidegate_store_bytes_total{direction="read"} 0"#,
            r#"tidegate_store_bytes_total{direction="written"} 200000"#
        ]
    );
    let first = body.try_next().await.unwrap().unwrap().len();
    drop(body);
    let range = Some(ByteRange::new(0, 10));
    let body = store.get(&key(), range, None).await.unwrap().body;
    assert_eq!(body.try_collect::<Vec<_>>().await.unwrap().concat().len(), 10);
    let upload = store.begin_upload(&key(), &ObjectAttributes::default()).await.unwrap();
    let body = Body::from(Bytes::from_static(b"12345"));
    let checksum = body.checksum();
    store.put_part(&upload, tidegate_store::PartNumber::FIRST, body, checksum).await.unwrap();
    assert_eq!(
        counted.lines("tidegate_store_bytes_total"),
        [
            format!(r#"tidegate_store_bytes_total{{direction="read"}} {}"#, first + 10),
            r#"tidegate_store_bytes_total{direction="written"} 200005"#.to_owned()
        ]
    );
}

#[tokio::test]
async fn broken_bodies_and_dropped_calls_are_counted() {
    let (counted, metrics) = Counted::new();
    let plan = FaultPlan::none().on(Call::Get, 1, Fault::BrokenBody { after: 5 }).on(
        Call::Head,
        1,
        Fault::Delay(Duration::from_secs(1)),
    );
    let faulty = FaultyObjectStore::new(Arc::new(MemoryObjectStore::new()), plan)
        .with_sleep(Arc::new(|_| futures::future::pending().boxed()));
    let store = MeteredObjectStore::new(Arc::new(faulty), metrics);
    put(&store, 10).await;
    let body = store.get(&key(), None, None).await.unwrap().body;
    assert_eq!(body.try_collect::<Vec<_>>().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(store.head(&key()).now_or_never().is_none());
    assert_eq!(
        counted.lines("tidegate_store_requests_total"),
        [
            r#"tidegate_store_requests_total{call="get",result="ok",service="objects"} 1"#,
            r#"tidegate_store_requests_total{call="get_body",result="unavailable",service="objects"} 1"#,
            r#"tidegate_store_requests_total{call="head",result="cancelled",service="objects"} 1"#,
            r#"tidegate_store_requests_total{call="put",result="ok",service="objects"} 1"#,
        ]
    );
}

#[tokio::test]
async fn every_service_has_its_own_label() {
    let (counted, metrics) = Counted::new();
    let tenant = Tenant {
        name: "acme".parse().unwrap(),
        status: Status::Active,
        bucket: "bucket".to_owned(),
        prefix: "".parse().unwrap(),
        limits: TenantLimits::default(),
        created: 0,
    };
    let stores = MeteredObjectStores::new(Arc::new(tidegate_store::memory::MemoryObjectStores::new()), metrics.clone());
    stores.open(&tenant).await.unwrap().delete(&key()).await.unwrap();
    let directory = MeteredDirectory::new(Arc::new(MemoryDirectory::new()), metrics.clone());
    assert!(directory.lookup(&"nobody".parse().unwrap()).await.unwrap().is_none());
    let keys = MeteredDataKeys::new(Arc::new(MemoryDataKeys::new()), metrics);
    keys.unwrap(b"", &EncryptionContext::new()).await.unwrap_err();
    assert_eq!(
        counted.lines("tidegate_store_requests_total"),
        [
            r#"tidegate_store_requests_total{call="delete",result="ok",service="objects"} 1"#,
            r#"tidegate_store_requests_total{call="lookup",result="ok",service="directory"} 1"#,
            r#"tidegate_store_requests_total{call="open",result="ok",service="objects"} 1"#,
            r#"tidegate_store_requests_total{call="unwrap",result="corrupt",service="data-keys"} 1"#,
        ]
    );
}

#[test]
fn a_registry_takes_the_metrics_once() {
    let registry = Registry::new();
    Metrics::register(&registry).unwrap();
    assert!(Metrics::register(&registry).is_err());
}
