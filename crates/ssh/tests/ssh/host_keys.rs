//! The sealed host keys in the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use tidegate_ssh::{
    Change, HostKey, HostKeyAlgorithm, HostKeyError, HostKeySet, KeyState, RotationError, Rules, change_host_keys,
    init_host_keys, load_host_keys, rotate_host_keys,
};
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::{MemoryDataKeys, MemoryObjectStore};
use tidegate_store::{
    Body, Condition, DataKey, DataKeys, EncryptionContext, HostKeyStore, ObjectAttributes, ObjectKey, ObjectStore,
    StoreError, StoreErrorKind, StoreResult,
};
use zeroize::Zeroizing;

use crate::client::Client;
use crate::node::{Node, config, ed25519};

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

const RULES: Rules = Rules { now: 1_000, force: false, ecdsa_offered: false };

async fn new_key() -> HostKey {
    HostKey::generate(HostKeyAlgorithm::Ed25519, KeyState::Announced).await.unwrap()
}

#[tokio::test]
async fn administrators_at_once_all_get_through() {
    let (_, host_keys) = store();
    let data_keys = MemoryDataKeys::new();
    init_host_keys(&host_keys, &data_keys, "blue").await.unwrap();
    let add = async || {
        let key = new_key().await;
        let added = |set: &mut HostKeySet| set.add(key.clone(), Duration::ZERO, &RULES);
        let (_, change) = change_host_keys(&host_keys, &data_keys, "blue", added).await.unwrap();
        assert_eq!(change, Change::Made { retired: None });
        key.fingerprint()
    };
    let added = futures::future::join_all((0..6).map(|_| add())).await;
    let set = load_host_keys(&host_keys, &data_keys, "blue").await.unwrap().unwrap();
    assert_eq!((set.revision(), set.keys().len()), (7, 9));
    assert!(added.iter().all(|fingerprint| set.key(fingerprint).is_some()));

    // What one of them has done makes another's step pointless or wrong: it is judged anew.
    let activate = |fingerprint: String| {
        let (host_keys, data_keys) = (&host_keys, &data_keys);
        async move {
            let step = |set: &mut HostKeySet| set.activate(&fingerprint, &RULES);
            change_host_keys(host_keys, data_keys, "blue", step).await
        }
    };
    let (one, two) = tokio::join!(activate(added[0].clone()), activate(added[1].clone()));
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    let set = load_host_keys(&host_keys, &data_keys, "blue").await.unwrap().unwrap();
    assert_eq!((set.count(KeyState::Active), set.count(KeyState::Retired)), (3, 2));
    let (one, two) = tokio::join!(activate(added[2].clone()), activate(added[2].clone()));
    let changes = [one.unwrap().1, two.unwrap().1];
    assert!(changes.contains(&Change::None), "the second finds it done: {changes:?}");
    let again = activate(added[0].clone()).await.map(|(_, change)| change).unwrap_err();
    assert!(matches!(again, HostKeyError::Refused(RotationError::Retired(_))), "{again}");
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_done_once() {
    let (objects, host_keys) = store();
    let data_keys = MemoryDataKeys::new();
    init_host_keys(&host_keys, &data_keys, "blue").await.unwrap();
    // The first try took effect, its answer was lost, and the client's second try was refused.
    let lost = Fault::After(StoreErrorKind::PreconditionFailed);
    let faulty = FaultyObjectStore::new(objects, FaultPlan::none().on(Call::Put, 1, lost));
    let through = HostKeyStore::new(Arc::new(faulty.clone()), key());
    let added = new_key().await;
    let add = |set: &mut HostKeySet| set.add(added.clone(), Duration::ZERO, &RULES);
    let (set, change) = change_host_keys(&through, &data_keys, "blue", add).await.unwrap();
    assert_eq!((change, set.revision(), faulty.calls(Call::Put)), (Change::Made { retired: None }, 2, 1));

    // Somebody who is in the way for ever.
    let always = FaultPlan::none().from(Call::Put, 1, Fault::Before(StoreErrorKind::PreconditionFailed));
    let faulty = FaultyObjectStore::new(Arc::new(faulty), always);
    let blocked = HostKeyStore::new(Arc::new(faulty.clone()), key());
    let remove = |set: &mut HostKeySet| set.remove(&added.fingerprint(), &RULES);
    let error = change_host_keys(&blocked, &data_keys, "blue", remove).await.unwrap_err();
    assert!(matches!(error, HostKeyError::Replaced), "{error}");
    assert_eq!(faulty.calls(Call::Put), 16, "the tries are bounded");
}

#[tokio::test]
async fn a_refused_or_needless_change_writes_nothing() {
    let (objects, host_keys) = store();
    let data_keys = MemoryDataKeys::new();
    let none = |set: &mut HostKeySet| set.remove("SHA256:x", &RULES);
    let missing = change_host_keys(&host_keys, &data_keys, "blue", none).await.unwrap_err();
    assert!(matches!(missing, HostKeyError::Missing), "{missing}");
    let set = init_host_keys(&host_keys, &data_keys, "blue").await.unwrap();
    let before = content(&objects).await;
    let refused = change_host_keys(&host_keys, &data_keys, "blue", none).await.unwrap_err();
    assert!(matches!(refused, HostKeyError::Refused(RotationError::NoSuchKey(_))), "{refused}");
    let active = set.keys()[0].fingerprint();
    let activate = |set: &mut HostKeySet| set.activate(&active, &RULES);
    let (after, change) = change_host_keys(&host_keys, &data_keys, "blue", activate).await.unwrap();
    assert_eq!((change, after.revision(), after.version()), (Change::None, set.revision(), set.version()));
    assert_eq!(content(&objects).await, before);
    let other = change_host_keys(&host_keys, &data_keys, "green", activate).await.unwrap_err();
    assert!(matches!(other, HostKeyError::OtherCluster { .. }), "{other}");
}

#[tokio::test]
async fn new_connections_are_shown_new_keys_and_old_ones_go_on_with_theirs() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let before = Client::login(node.address, "alice", &key).await;
    assert_eq!(before.host_key, node.keys.keys()[0].fingerprint());

    let mut set = node.keys.clone();
    let new = new_key().await;
    let fingerprint = new.fingerprint();
    set.add(new, Duration::ZERO, &RULES).unwrap();
    node.offered.replace(&set).unwrap();
    let announced = Client::login(node.address, "alice", &key).await;
    assert_eq!(announced.host_key, before.host_key, "an announced key is not shown");
    set.activate(&fingerprint, &RULES).unwrap();
    node.offered.replace(&set).unwrap();
    let after = Client::login(node.address, "alice", &key).await;
    assert_eq!(after.host_key, fingerprint);

    // The old connection exchanges keys again, with the key that it knows, and opens channels.
    before.handle.rekey_soon().await.unwrap();
    before.handle.channel_open_session().await.unwrap();
}

#[tokio::test]
async fn a_set_of_which_nothing_would_be_shown_is_refused() {
    let node = Node::start(config()).await;
    let mut set = node.keys.clone();
    let forced = Rules { force: true, ecdsa_offered: true, ..RULES };
    for key in node.keys.keys().iter().filter(|key| !key.algorithm().starts_with("ecdsa")) {
        set.retire(&key.fingerprint(), &forced).unwrap();
    }
    let error = node.offered.replace(&set).unwrap_err();
    assert!(error.to_string().contains("ssh.ecdsa_host_key"), "{error}");
    let shown = Client::connect(node.address).await.host_key;
    assert_eq!(shown, node.keys.keys()[0].fingerprint(), "the old keys stay");
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
