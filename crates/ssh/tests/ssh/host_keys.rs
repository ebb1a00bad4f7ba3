//! The sealed host keys in the store.

use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use tidegate_ssh::{HostKeyError, init_host_keys, load_host_keys, rotate_host_keys};
use tidegate_store::memory::{MemoryDataKeys, MemoryObjectStore};
use tidegate_store::{
    Body, Condition, DataKey, DataKeys, EncryptionContext, HostKeyStore, ObjectAttributes, ObjectKey, ObjectStore,
    StoreError, StoreErrorKind, StoreResult,
};
use zeroize::Zeroizing;

fn key() -> ObjectKey {
    ObjectKey::new("cluster/host-keys").unwrap()
}

fn store() -> (Arc<MemoryObjectStore>, HostKeyStore) {
    let objects = Arc::new(MemoryObjectStore::new());
    (Arc::clone(&objects), HostKeyStore::new(objects, key()))
}

async fn content(objects: &MemoryObjectStore) -> Vec<u8> {
    let object = objects.get(&key(), None, None).await.unwrap();
    object.body.map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap()
}

async fn replace(objects: &MemoryObjectStore, bytes: Vec<u8>) {
    let body = Body::from(bytes::Bytes::from(bytes));
    let checksum = body.checksum();
    objects.put(&key(), body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
}

#[tokio::test]
async fn two_nodes_that_start_at_once_end_with_one_set() {
    let (_, host_keys) = store();
    let data_keys = MemoryDataKeys::new();
    let (one, two) =
        tokio::join!(init_host_keys(&host_keys, &data_keys, "blue"), init_host_keys(&host_keys, &data_keys, "blue"));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.fingerprints(), two.fingerprints());
    let loaded = load_host_keys(&host_keys, &data_keys, "blue").await.unwrap().unwrap();
    assert_eq!(loaded.fingerprints(), one.fingerprints());
    let algorithms: Vec<_> = loaded.fingerprints().into_iter().map(|(algorithm, _)| algorithm).collect();
    assert_eq!(algorithms, ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]);
    assert!(loaded.public_keys()[0].starts_with("ssh-ed25519 AAAA"));
}

#[tokio::test]
async fn rotation_replaces_all_keys_and_needs_some() {
    let (_, host_keys) = store();
    let data_keys = MemoryDataKeys::new();
    let missing = rotate_host_keys(&host_keys, &data_keys, "blue").await.unwrap_err();
    assert!(matches!(missing, HostKeyError::Missing), "{missing}");
    assert!(load_host_keys(&host_keys, &data_keys, "blue").await.unwrap().is_none());

    let before = init_host_keys(&host_keys, &data_keys, "blue").await.unwrap();
    let after = rotate_host_keys(&host_keys, &data_keys, "blue").await.unwrap();
    for (old, new) in before.fingerprints().iter().zip(after.fingerprints()) {
        assert_ne!(*old, new);
    }
    let loaded = load_host_keys(&host_keys, &data_keys, "blue").await.unwrap().unwrap();
    assert_eq!(loaded.fingerprints(), after.fingerprints());

    let (one, two) = tokio::join!(
        rotate_host_keys(&host_keys, &data_keys, "blue"),
        rotate_host_keys(&host_keys, &data_keys, "blue")
    );
    assert!(one.is_ok() != two.is_ok(), "one of two at once wins");
    let lost = one.err().or(two.err()).unwrap();
    assert!(matches!(lost, HostKeyError::Replaced), "{lost}");
}

#[tokio::test]
async fn keys_of_another_cluster_are_named_and_kept() {
    let (objects, host_keys) = store();
    let data_keys = MemoryDataKeys::new();
    init_host_keys(&host_keys, &data_keys, "blue").await.unwrap();
    let text = "the host keys in the store belong to cluster \"blue\", not \"green\"";
    assert_eq!(load_host_keys(&host_keys, &data_keys, "green").await.unwrap_err().to_string(), text);
    assert_eq!(init_host_keys(&host_keys, &data_keys, "green").await.unwrap_err().to_string(), text);
    assert_eq!(rotate_host_keys(&host_keys, &data_keys, "green").await.unwrap_err().to_string(), text);

    // Another label on it does not help: the envelope is bound to the name.
    let mut relabelled = content(&objects).await;
    relabelled.splice(5..11, *b"\0\x04pink");
    replace(&objects, relabelled).await;
    let error = load_host_keys(&host_keys, &data_keys, "pink").await.unwrap_err();
    assert!(matches!(error, HostKeyError::Damaged { source: Some(_), .. }), "{error}");
}

#[tokio::test]
async fn damaged_keys_are_never_used() {
    let (objects, host_keys) = store();
    let data_keys = MemoryDataKeys::new();
    init_host_keys(&host_keys, &data_keys, "blue").await.unwrap();
    let sealed = content(&objects).await;
    assert!(!sealed.windows(4).any(|window| window == b"TGHK"), "the keys lie in the open");
    for at in (0..sealed.len()).step_by(97).chain([sealed.len() - 1]) {
        let mut damaged = sealed.clone();
        damaged[at] ^= 0x40;
        replace(&objects, damaged).await;
        let result = load_host_keys(&host_keys, &data_keys, "blue").await;
        assert!(result.is_err(), "byte {at}");
    }
    replace(&objects, sealed[..sealed.len() / 2].to_vec()).await;
    let error = load_host_keys(&host_keys, &data_keys, "blue").await.unwrap_err();
    assert!(matches!(error, HostKeyError::Damaged { .. }), "{error}");
    // An administrator gets out of this by a rotation.
    rotate_host_keys(&host_keys, &data_keys, "blue").await.unwrap();
    assert!(load_host_keys(&host_keys, &data_keys, "blue").await.unwrap().is_some());
}

#[derive(Debug)]
struct Refusing;

#[async_trait]
impl DataKeys for Refusing {
    async fn generate(&self, _: &EncryptionContext) -> StoreResult<DataKey> {
        Err(StoreError::new(StoreErrorKind::AccessDenied, "generate").with_source("no kms:GenerateDataKey"))
    }

    async fn unwrap(&self, _: &[u8], _: &EncryptionContext) -> StoreResult<Zeroizing<[u8; 32]>> {
        Err(StoreError::new(StoreErrorKind::AccessDenied, "unwrap").with_source("no kms:Decrypt"))
    }
}

#[tokio::test]
async fn a_key_service_that_refuses_is_named_as_the_cause() {
    let (_, host_keys) = store();
    let error = init_host_keys(&host_keys, &Refusing, "blue").await.unwrap_err();
    assert!(matches!(error, HostKeyError::Sealing { action: "seal", .. }), "{error}");
    assert!(error.to_string().contains("no kms:GenerateDataKey"), "{error}");
    init_host_keys(&host_keys, &MemoryDataKeys::new(), "blue").await.unwrap();
    let error = load_host_keys(&host_keys, &Refusing, "blue").await.unwrap_err();
    assert!(matches!(error, HostKeyError::Sealing { action: "open", .. }), "{error}");
}
