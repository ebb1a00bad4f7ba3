use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use prometheus::Registry;
use tidegate_store::faulty::{FaultPlan, FaultyLeases, FaultyObjectStore, Rates};
use tidegate_store::memory::{
    MemoryDataKeys, MemoryDirectory, MemoryJournal, MemoryLeases, MemoryLoginFailures, MemoryObjectStore, MemoryUsage,
};
use tidegate_store::metered::{
    MeteredDataKeys, MeteredDirectory, MeteredJournal, MeteredLeases, MeteredLoginFailures, MeteredObjectStore,
    MeteredUsage,
};
use tidegate_store::{Metrics, conformance};

fn metrics() -> Metrics {
    Metrics::register(&Registry::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metered_object_store_conforms() {
    let store = MeteredObjectStore::new(Arc::new(MemoryObjectStore::new()), metrics());
    conformance::object_store(Arc::new(store), "conformance/", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metered_directory_conforms() {
    conformance::directory(Arc::new(MeteredDirectory::new(Arc::new(MemoryDirectory::new()), metrics()))).await;
}

#[tokio::test]
async fn the_metered_data_keys_conform() {
    conformance::data_keys(Arc::new(MeteredDataKeys::new(Arc::new(MemoryDataKeys::new()), metrics()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metered_usage_conforms() {
    conformance::usage(Arc::new(MeteredUsage::new(Arc::new(MemoryUsage::new()), metrics()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metered_journal_conforms() {
    conformance::journal(Arc::new(MeteredJournal::new(Arc::new(MemoryJournal::new()), metrics()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metered_leases_conform() {
    conformance::leases(Arc::new(MeteredLeases::new(Arc::new(MemoryLeases::new()), metrics()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metered_login_failures_conform() {
    let failures = MeteredLoginFailures::new(Arc::new(MemoryLoginFailures::new()), metrics());
    conformance::login_failures(Arc::new(failures)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faulty_leases_conform_when_nothing_fails() {
    conformance::leases(Arc::new(FaultyLeases::new(Arc::new(MemoryLeases::new()), FaultPlan::none()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faulty_object_store_conforms_when_nothing_fails() {
    let store = FaultyObjectStore::new(Arc::new(MemoryObjectStore::new()), FaultPlan::none());
    conformance::object_store(Arc::new(store), "conformance/", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delays_break_no_rule() {
    let rates = Rates { delay: 0.5, delay_max: Duration::from_secs(1), ..Rates::default() };
    let store = FaultyObjectStore::new(Arc::new(MemoryObjectStore::new()), FaultPlan::seeded(1, rates))
        .with_sleep(Arc::new(|_| tokio::task::yield_now().boxed()));
    conformance::object_store(Arc::new(store), "conformance/", &[]).await;
}
