//! The port to the service that guards the cluster's root key (AWS KMS, or a local file in `dev`).

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::error::StoreResult;

/// Names what a data key is for; bound into the wrapped key, so that it unwraps only under the
/// same names and values. Not secret. Source: AWS KMS Developer Guide, "Encryption context".
pub type EncryptionContext = BTreeMap<String, String>;

/// A data key: used once to seal, then forgotten; only `wrapped` is kept.
pub struct DataKey {
    /// 256 bits for AES-256-GCM, wiped on drop.
    pub plaintext: Zeroizing<[u8; 32]>,
    /// The same key, encrypted under the root key.
    pub wrapped: Vec<u8>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").finish_non_exhaustive()
    }
}

/// Envelope encryption under a root key that never leaves its service.
///
/// Every implementation passes [`crate::conformance::data_keys`].
#[async_trait]
pub trait DataKeys: fmt::Debug + Send + Sync {
    /// A fresh data key.
    ///
    /// # Errors
    /// `AccessDenied` or a transient kind.
    async fn generate(&self, context: &EncryptionContext) -> StoreResult<DataKey>;

    /// The data key of an earlier [`DataKeys::generate`].
    ///
    /// # Errors
    /// `Corrupt` if `wrapped` is damaged, was made under another root key or under another
    /// context; `AccessDenied` or a transient kind.
    async fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> StoreResult<Zeroizing<[u8; 32]>>;
}
