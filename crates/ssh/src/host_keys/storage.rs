//! Loading, making and replacing the sealed host keys in the store.

use tidegate_store::envelope;
use tidegate_store::{DataKeys, EncryptionContext, HostKeyStore, SealedBlob, StoreErrorKind, StoreResult};

use super::key::now;
use super::{HostKeyError, HostKeySet, RotationError, blob};

/// How often one change is tried while others change the set too. Each refusal means that one of them
/// got through.
const CHANGE_ATTEMPTS: usize = 16;

/// The cluster's host keys, or `None` if none were ever made.
///
/// # Errors
/// Those of reading and opening what is stored.
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
    match written(store.create(sealed).await) {
        Ok(()) | Err(HostKeyError::Replaced) => {}
        Err(error) => return Err(error),
    }
    // What counts is what the store holds now: another node's set after a lost race, and our own
    // after a write whose first try got through although its answer was lost.
    load_host_keys(store, data_keys, cluster).await?.ok_or(HostKeyError::Missing)
}

/// Changes the cluster's host keys by `change` and gives them as they are then, with what `change`
/// gave. If somebody else changes them meanwhile, `change` is asked again, about their set. Running
/// nodes read the new set within `host_keys.refresh_interval`.
///
/// # Errors
/// [`HostKeyError::Refused`] if `change` refuses; [`HostKeyError::Missing`] if there are none;
/// [`HostKeyError::Replaced`] if others were faster again and again; every kind that loading may give.
pub async fn change_host_keys<T>(
    store: &HostKeyStore,
    data_keys: &dyn DataKeys,
    cluster: &str,
    mut change: impl FnMut(&mut HostKeySet) -> Result<T, RotationError>,
) -> Result<(HostKeySet, T), HostKeyError> {
    let mut tried: Option<(HostKeySet, T)> = None;
    for _ in 0..CHANGE_ATTEMPTS {
        let stored = read(store).await?.ok_or(HostKeyError::Missing)?;
        let current = open(&stored, data_keys, cluster).await?;
        // The answer to a write that did take effect may have been lost, and the store client's second
        // try been refused.
        if let Some((_, told)) = tried.take_if(|(set, _)| set.same_as(&current)) {
            return Ok((current, told));
        }
        let mut set = current.clone();
        let told = change(&mut set)?;
        if set.same_as(&current) {
            return Ok((current, told));
        }
        (set.revision, set.changed, set.version) = (current.revision.saturating_add(1), now(), None);
        let sealed = seal(&set, data_keys, cluster).await?;
        match written(store.replace(sealed, &stored.etag).await) {
            Ok(()) => return Ok((set, told)),
            Err(HostKeyError::Replaced) => tried = Some((set, told)),
            Err(error) => return Err(error),
        }
    }
    Err(HostKeyError::Replaced)
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
    let (set, result) = match read(store).await? {
        None => {
            let sealed = seal(&set, data_keys, cluster).await?;
            (set, store.create(sealed).await)
        }
        Some(current) => {
            let known = open(&current, data_keys, cluster).await?;
            if known.fingerprints() == set.fingerprints() {
                return Ok(known);
            }
            if !replace {
                return Err(HostKeyError::Exists);
            }
            let set = HostKeySet { revision: known.revision.saturating_add(1), ..set };
            let sealed = seal(&set, data_keys, cluster).await?;
            (set, store.replace(sealed, &current.etag).await)
        }
    };
    written(result).map(|()| set)
}

/// Replaces all of the cluster's host keys by new ones at once, even such as can't be opened: for keys
/// that leaked or are lost. Clients that know the old ones refuse to connect then.
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
    // Where the old ones can't be opened, the count begins anew.
    let revision = open(&current, data_keys, cluster).await.map_or(0, |set| set.revision);
    let set = HostKeySet { revision: revision.saturating_add(1), ..HostKeySet::generate().await? };
    let sealed = seal(&set, data_keys, cluster).await?;
    written(store.replace(sealed, &current.etag).await).map(|()| set)
}

/// A write that somebody else's came before is [`HostKeyError::Replaced`].
fn written(result: StoreResult<()>) -> Result<(), HostKeyError> {
    result.map_err(|source| match source.kind() {
        StoreErrorKind::PreconditionFailed => HostKeyError::Replaced,
        _ => HostKeyError::Store { action: "written", source },
    })
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
    Ok(HostKeySet { version: Some(stored.etag.clone()), ..blob::decode(&plaintext)? })
}

fn context(cluster: &str) -> EncryptionContext {
    EncryptionContext::from([
        ("tidegate:cluster".to_owned(), cluster.to_owned()),
        ("tidegate:purpose".to_owned(), "host-keys".to_owned()),
    ])
}
