//! Loading, making and replacing the sealed host keys in the store.

use tidegate_store::envelope;
use tidegate_store::{DataKeys, EncryptionContext, HostKeyStore, SealedBlob, StoreErrorKind};

use super::{HostKeyError, HostKeySet, blob};

/// The cluster's host keys, or `None` if none were ever made.
///
/// # Errors
/// Every kind but [`HostKeyError::Generation`], [`HostKeyError::Missing`] and
/// [`HostKeyError::Replaced`].
pub async fn load_host_keys(
    store: &HostKeyStore,
    data_keys: &dyn DataKeys,
    cluster: &str,
) -> Result<Option<HostKeySet>, HostKeyError> {
    match read(store).await? {
        None => Ok(None),
        Some(stored) => open(&stored, data_keys, cluster).await.map(Some),
    }
}

/// The cluster's host keys; makes them if there are none. Any number of nodes may do so at once
/// and all return the same set.
///
/// # Errors
/// Every kind but [`HostKeyError::Replaced`].
pub async fn init_host_keys(
    store: &HostKeyStore,
    data_keys: &dyn DataKeys,
    cluster: &str,
) -> Result<HostKeySet, HostKeyError> {
    if let Some(set) = load_host_keys(store, data_keys, cluster).await? {
        return Ok(set);
    }
    let sealed = seal(&HostKeySet::generate().await?, data_keys, cluster).await?;
    match store.create(sealed).await {
        Ok(()) => {}
        Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => {}
        Err(source) => return Err(HostKeyError::Store { action: "written", source }),
    }
    // What counts is what the store holds now: another node's set after a lost race, and our own
    // after a write whose first try got through although its answer was lost.
    load_host_keys(store, data_keys, cluster).await?.ok_or(HostKeyError::Missing)
}

/// Makes the keys of another server the cluster's. If they are already, nothing is written.
///
/// # Errors
/// [`HostKeyError::Exists`] if the cluster has other keys, unless they are to be replaced;
/// [`HostKeyError::Replaced`] if somebody else was faster; every kind that loading may give.
pub async fn import_host_keys(
    store: &HostKeyStore,
    data_keys: &dyn DataKeys,
    cluster: &str,
    set: HostKeySet,
    replace: bool,
) -> Result<HostKeySet, HostKeyError> {
    let written = match read(store).await? {
        None => store.create(seal(&set, data_keys, cluster).await?).await,
        Some(current) => {
            let known = open(&current, data_keys, cluster).await?;
            if known.fingerprints() == set.fingerprints() {
                return Ok(known);
            }
            if !replace {
                return Err(HostKeyError::Exists);
            }
            store.replace(seal(&set, data_keys, cluster).await?, &current.etag).await
        }
    };
    match written {
        Ok(()) => Ok(set),
        Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => Err(HostKeyError::Replaced),
        Err(source) => Err(HostKeyError::Store { action: "written", source }),
    }
}

/// Replaces the cluster's host keys by new ones. Nodes use them when they start again.
///
/// # Errors
/// [`HostKeyError::Missing`] if there are none to replace, [`HostKeyError::Replaced`] if somebody
/// else was faster, and every kind that loading may give but [`HostKeyError::Damaged`]: damaged
/// keys are replaced.
pub async fn rotate_host_keys(
    store: &HostKeyStore,
    data_keys: &dyn DataKeys,
    cluster: &str,
) -> Result<HostKeySet, HostKeyError> {
    let current = read(store).await?.ok_or(HostKeyError::Missing)?;
    // Never over another cluster's keys: that would lock its clients out.
    if let Err(error @ HostKeyError::OtherCluster { .. }) = blob::unlabel(&current.bytes, cluster) {
        return Err(error);
    }
    let set = HostKeySet::generate().await?;
    let sealed = seal(&set, data_keys, cluster).await?;
    match store.replace(sealed, &current.etag).await {
        Ok(()) => Ok(set),
        Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => Err(HostKeyError::Replaced),
        Err(source) => Err(HostKeyError::Store { action: "written", source }),
    }
}

async fn read(store: &HostKeyStore) -> Result<Option<SealedBlob>, HostKeyError> {
    store.load().await.map_err(|source| HostKeyError::Store { action: "read", source })
}

async fn seal(set: &HostKeySet, data_keys: &dyn DataKeys, cluster: &str) -> Result<Vec<u8>, HostKeyError> {
    let plaintext = blob::encode(set)?;
    let envelope = envelope::seal(data_keys, &context(cluster), &plaintext)
        .await
        .map_err(|source| HostKeyError::Sealing { action: "seal", source })?;
    blob::label(cluster, &envelope)
}

async fn open(stored: &SealedBlob, data_keys: &dyn DataKeys, cluster: &str) -> Result<HostKeySet, HostKeyError> {
    let envelope = blob::unlabel(&stored.bytes, cluster)?;
    let plaintext = match envelope::open(data_keys, &context(cluster), envelope).await {
        Ok(plaintext) => plaintext,
        Err(source) if source.kind() == StoreErrorKind::Corrupt => {
            return Err(HostKeyError::Damaged {
                what: format!("the envelope does not open: {}", source.report()),
                source: Some(source),
            });
        }
        Err(source) => return Err(HostKeyError::Sealing { action: "open", source }),
    };
    blob::decode(&plaintext)
}

fn context(cluster: &str) -> EncryptionContext {
    EncryptionContext::from([
        ("tidegate:cluster".to_owned(), cluster.to_owned()),
        ("tidegate:purpose".to_owned(), "host-keys".to_owned()),
    ])
}
