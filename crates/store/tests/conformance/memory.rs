use std::sync::Arc;

use tidegate_store::conformance;
use tidegate_store::memory::{
    MemoryDataKeys, MemoryDirectory, MemoryJournal, MemoryLeases, MemoryLoginFailures, MemoryObjectStore, MemoryUsage,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_object_store_in_memory_conforms() {
    conformance::object_store(Arc::new(MemoryObjectStore::new()), "conformance/", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_object_store_in_memory_conforms_with_pages_of_one() {
    let store = MemoryObjectStore::new().with_page_max(1);
    conformance::object_store(Arc::new(store), "conformance/", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_object_store_in_memory_conforms_with_md5s() {
    conformance::object_store(Arc::new(MemoryObjectStore::new().with_md5s()), "conformance/", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_in_memory_conforms() {
    conformance::directory(Arc::new(MemoryDirectory::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_in_memory_conforms_with_pages_of_one() {
    conformance::directory(Arc::new(MemoryDirectory::new().with_page_max(1))).await;
}

#[tokio::test]
async fn the_data_keys_in_memory_conform() {
    conformance::data_keys(Arc::new(MemoryDataKeys::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usage_in_memory_conforms() {
    conformance::usage(Arc::new(MemoryUsage::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_in_memory_conforms() {
    conformance::journal(Arc::new(MemoryJournal::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leases_in_memory_conform() {
    conformance::leases(Arc::new(MemoryLeases::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_failures_in_memory_conform() {
    conformance::login_failures(Arc::new(MemoryLoginFailures::new())).await;
}
