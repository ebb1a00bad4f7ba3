//! Recounts of what a tenant's files take.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::{MemoryObjectStore, MemoryUsage};
use tidegate_store::{
    Body, Condition, ObjectAttributes, ObjectKey, ObjectStore, Status, StoreErrorKind, Tenant, TenantLimits,
    UsageDelta, UsageStore, recount,
};

fn tenant() -> Tenant {
    Tenant {
        name: "acme".parse().unwrap(),
        status: Status::Active,
        bucket: "files".to_owned(),
        prefix: "acme/".parse().unwrap(),
        limits: TenantLimits::default(),
        created: 0,
    }
}

/// Two pages of objects of 10 bytes of the tenant's, and one of another's.
const OBJECTS: i64 = 1_500;

async fn store() -> MemoryObjectStore {
    let store = MemoryObjectStore::new();
    let keys = (0..OBJECTS).map(|n| format!("acme/{}/{n}", n % 7));
    for key in keys.chain(["other/g".to_owned()]) {
        let body = Body::from(&b"0123456789"[..]);
        let (key, checksum) = (ObjectKey::new(key).unwrap(), body.checksum());
        store.put(&key, body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
    }
    store
}

#[tokio::test(start_paused = true)]
async fn a_recount_sets_right_what_was_counted_wrongly() {
    let (store, usage, tenant) = (store().await, MemoryUsage::new(), tenant());
    usage.add(&tenant.name, UsageDelta::new(-3, 70)).await.unwrap();
    let figures = recount(&store, &usage, &tenant, Duration::from_secs(5)).await.unwrap().unwrap();
    assert_eq!(figures.used, UsageDelta::new(10 * OBJECTS, OBJECTS));
    assert!(figures.counted.is_some());
    let again = recount(&store, &usage, &tenant, Duration::from_secs(5)).await.unwrap().unwrap();
    assert_eq!(again.used, UsageDelta::new(10 * OBJECTS, OBJECTS));
}

#[tokio::test(start_paused = true)]
async fn what_nodes_tell_during_a_recount_is_kept() {
    let plan = FaultPlan::none().on(Call::List, 2, Fault::Delay(Duration::from_secs(100)));
    let store = FaultyObjectStore::new(Arc::new(store().await), plan);
    let (usage, tenant) = (MemoryUsage::new(), tenant());
    let told = async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        usage.add(&tenant.name, UsageDelta::new(7, 1)).await.unwrap();
    };
    let (counted, ()) = tokio::join!(recount(&store, &usage, &tenant, Duration::from_secs(5)), told);
    assert_eq!(counted.unwrap().unwrap().used, UsageDelta::new(10 * OBJECTS + 7, OBJECTS + 1));
}

#[tokio::test(start_paused = true)]
async fn one_recount_goes_on_at_a_time_and_one_that_fails_changes_nothing() {
    let plan = FaultPlan::none().on(Call::List, 4, Fault::Before(StoreErrorKind::Unavailable));
    let store = FaultyObjectStore::new(Arc::new(store().await), plan);
    let (usage, tenant) = (MemoryUsage::new(), tenant());
    let settle = Duration::from_secs(5);
    let (first, second) =
        tokio::join!(recount(&store, &usage, &tenant, settle), recount(&store, &usage, &tenant, settle));
    assert_eq!(first.unwrap().unwrap().used, UsageDelta::new(10 * OBJECTS, OBJECTS));
    assert_eq!(second.unwrap(), None, "the other one is at it");
    let before = usage.read(&tenant.name).await.unwrap();
    let failed = recount(&store, &usage, &tenant, settle).await.unwrap_err();
    assert_eq!(failed.kind(), StoreErrorKind::Unavailable);
    assert_eq!(usage.read(&tenant.name).await.unwrap(), before);
}
