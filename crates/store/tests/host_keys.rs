//! The object that holds the cluster's sealed host keys.
#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{Body, Condition, HostKeyStore, ObjectAttributes, ObjectKey, ObjectStore, StoreErrorKind};
use tokio::task::JoinSet;

fn stores() -> (MemoryObjectStore, HostKeyStore) {
    let memory = MemoryObjectStore::new();
    (memory.clone(), HostKeyStore::new(Arc::new(memory), ObjectKey::new("host-keys").unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_end_up_with_one_blob() {
    let (_, store) = stores();
    assert!(store.load().await.unwrap().is_none());
    let mut nodes = JoinSet::new();
    for node in 0..8_u8 {
        let store = store.clone();
        nodes.spawn(async move { (node, store.create(vec![node; 5_000]).await) });
    }
    let (created, late): (Vec<_>, Vec<_>) = nodes.join_all().await.into_iter().partition(|(_, result)| result.is_ok());
    assert_eq!(created.len(), 1);
    for (_, result) in late {
        assert_eq!(result.unwrap_err().kind(), StoreErrorKind::PreconditionFailed);
    }
    assert_eq!(store.load().await.unwrap().unwrap().bytes, vec![created[0].0; 5_000]);
}

#[tokio::test]
async fn a_blob_is_replaced_only_by_those_who_saw_it() {
    let (_, store) = stores();
    store.create(b"first".to_vec()).await.unwrap();
    let first = store.load().await.unwrap().unwrap();
    store.replace(b"second".to_vec(), &first.etag).await.unwrap();
    let late = store.replace(b"third".to_vec(), &first.etag).await.unwrap_err();
    assert_eq!(late.kind(), StoreErrorKind::PreconditionFailed);
    assert_eq!(store.load().await.unwrap().unwrap().bytes, b"second");
}

#[tokio::test]
async fn a_blob_that_is_too_large_is_not_read() {
    let (memory, store) = stores();
    for (len, loads) in [(HostKeyStore::MAX_LEN, true), (HostKeyStore::MAX_LEN + 1, false)] {
        let body = Body::from(Bytes::from(vec![0; usize::try_from(len).unwrap()]));
        let checksum = body.checksum();
        memory.put(store.key(), body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
        let loaded = store.load().await;
        assert_eq!(loaded.as_ref().err().map(|error| error.kind()), (!loads).then_some(StoreErrorKind::Corrupt));
    }
}
