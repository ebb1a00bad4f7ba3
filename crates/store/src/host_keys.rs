//! Where the cluster's sealed host keys lie: one object.

use std::sync::Arc;

use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{Body, Condition, ETag, ObjectAttributes, ObjectKey};
use crate::object_store::ObjectStore;

/// The sealed host keys as they lie in the store, and the version they are.
#[derive(Clone, Debug)]
pub struct SealedBlob {
    /// The envelope (see [`crate::envelope`]).
    pub bytes: Vec<u8>,
    /// The version, for a later conditional replacement.
    pub etag: ETag,
}

/// The object that holds the cluster's sealed host keys.
#[derive(Clone, Debug)]
pub struct HostKeyStore {
    store: Arc<dyn ObjectStore>,
    key: ObjectKey,
}

impl HostKeyStore {
    /// The greatest sealed blob that is read, in bytes; a real one takes about 4 KiB.
    pub const MAX_LEN: u64 = 1 << 20;

    /// The object `key` of `store`.
    pub fn new(store: Arc<dyn ObjectStore>, key: ObjectKey) -> Self {
        Self { store, key }
    }

    /// The key of the object.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The sealed blob, or `None` if none was ever made.
    ///
    /// # Errors
    /// `Corrupt` if the object is larger than [`HostKeyStore::MAX_LEN`]; any that talking to the
    /// store may give.
    pub async fn load(&self) -> StoreResult<Option<SealedBlob>> {
        use futures::TryStreamExt;

        let object = match self.store.get(&self.key, None, None).await {
            Ok(object) => object,
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if object.meta.size > Self::MAX_LEN {
            return Err(crate::StoreError::new(StoreErrorKind::Corrupt, "load host keys").with_source(format!(
                "the object has {} bytes, more than {}",
                object.meta.size,
                Self::MAX_LEN
            )));
        }
        let bytes = object
            .body
            .try_fold(Vec::new(), |mut bytes, chunk| async move {
                bytes.extend_from_slice(&chunk);
                Ok(bytes)
            })
            .await?;
        Ok(Some(SealedBlob { bytes, etag: object.meta.etag }))
    }

    /// The version that lies in the store, or `None` if there is no blob. One HEAD: as cheap as a GET
    /// that names the known version, and understood by every store.
    ///
    /// # Errors
    /// Any that talking to the store may give.
    pub async fn version(&self) -> StoreResult<Option<ETag>> {
        match self.store.head(&self.key).await {
            Ok(meta) => Ok(Some(meta.etag)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores the first blob. Of any number of nodes that try at once, exactly one succeeds.
    ///
    /// # Errors
    /// `PreconditionFailed` if there is one already: load that instead.
    pub async fn create(&self, bytes: Vec<u8>) -> StoreResult<()> {
        self.write(bytes, Condition::IfAbsent).await
    }

    /// Replaces the version that was loaded.
    ///
    /// # Errors
    /// `PreconditionFailed` if somebody else replaced it first.
    pub async fn replace(&self, bytes: Vec<u8>, loaded: &ETag) -> StoreResult<()> {
        self.write(bytes, Condition::IfMatch(loaded.clone())).await
    }

    async fn write(&self, bytes: Vec<u8>, condition: Condition) -> StoreResult<()> {
        let body = Body::from(bytes::Bytes::from(bytes));
        let checksum = body.checksum();
        let attributes = ObjectAttributes {
            content_type: Some("application/octet-stream".to_owned()),
            ..ObjectAttributes::default()
        };
        self.store.put(&self.key, body, checksum, &attributes, &condition).await.map(drop)
    }
}
