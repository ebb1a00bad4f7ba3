//! Data keys under a root key in memory.

use std::fmt;

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::refuse;
use crate::data_keys::{DataKey, DataKeys, EncryptionContext};
use crate::envelope::encode_context;
use crate::error::{StoreErrorKind, StoreResult};

/// A root key that lives as long as this value. A wrapped key is the nonce (12 bytes) and the
/// data key under AES-256-GCM, with the context as associated data.
pub struct MemoryDataKeys {
    root: Zeroizing<[u8; 32]>,
}

impl MemoryDataKeys {
    /// A fresh root key.
    pub fn new() -> Self {
        Self { root: Zeroizing::new(rand::random()) }
    }

    fn cipher(&self, operation: &'static str) -> StoreResult<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.root.as_ref())
            .map(LessSafeKey::new)
            .map_err(|error| refuse(StoreErrorKind::InvalidRequest, operation, error.to_string()))
    }
}

impl Default for MemoryDataKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDataKeys").finish_non_exhaustive()
    }
}

#[async_trait]
impl DataKeys for MemoryDataKeys {
    async fn generate(&self, context: &EncryptionContext) -> StoreResult<DataKey> {
        let plaintext = Zeroizing::new(rand::random::<[u8; 32]>());
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = plaintext.to_vec();
        self.cipher("generate")?
            .seal_in_place_append_tag(Nonce::from(&nonce), Aad::from(encode_context(context)), &mut sealed)
            .map_err(|error| refuse(StoreErrorKind::InvalidRequest, "generate", error.to_string()))?;
        Ok(DataKey { plaintext, wrapped: [nonce.as_slice(), &sealed].concat() })
    }

    async fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> StoreResult<Zeroizing<[u8; 32]>> {
        let corrupt = |reason: &str| refuse(StoreErrorKind::Corrupt, "unwrap", reason);
        let (nonce, sealed) =
            wrapped.split_first_chunk::<NONCE_LEN>().ok_or_else(|| corrupt("shorter than its nonce"))?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let plaintext = self
            .cipher("unwrap")?
            .open_in_place(Nonce::from(nonce), Aad::from(encode_context(context)), &mut opened)
            .map_err(|_| corrupt("not made under this root key and context, or damaged"))?;
        let plaintext: &[u8; 32] = (&*plaintext).try_into().map_err(|_| corrupt("not a 256-bit key"))?;
        Ok(Zeroizing::new(*plaintext))
    }
}
