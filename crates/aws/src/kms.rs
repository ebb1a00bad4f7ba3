//! [`DataKeys`] on KMS.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use tidegate_store::{DataKey, DataKeys, EncryptionContext, StoreErrorKind, StoreResult};
use zeroize::Zeroizing;

use crate::error::{own_error, store_error};

/// One KMS key, symmetric and for encryption.
#[derive(Clone)]
pub(crate) struct KmsDataKeys {
    client: Client,
    key_id: Arc<str>,
}

impl KmsDataKeys {
    pub(crate) fn new(client: Client, key_id: &str) -> Self {
        Self { client, key_id: key_id.into() }
    }

    fn plaintext(&self, blob: Option<Blob>, operation: &'static str) -> StoreResult<Zeroizing<[u8; 32]>> {
        let bytes = Zeroizing::new(blob.map(Blob::into_inner).unwrap_or_default());
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return Err(own_error(
                StoreErrorKind::Corrupt,
                operation,
                &self.key_id,
                "the data key is not 256 bits long",
            ));
        }
        key.copy_from_slice(&bytes);
        Ok(key)
    }
}

impl fmt::Debug for KmsDataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsDataKeys").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[async_trait]
impl DataKeys for KmsDataKeys {
    async fn generate(&self, context: &EncryptionContext) -> StoreResult<DataKey> {
        const OPERATION: &str = "generate data key";
        let output = self
            .client
            .generate_data_key()
            .key_id(&*self.key_id)
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(pairs(context))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &self.key_id, error))?;
        let plaintext = self.plaintext(output.plaintext, OPERATION)?;
        match output.ciphertext_blob.map(Blob::into_inner) {
            Some(wrapped) if !wrapped.is_empty() => Ok(DataKey { plaintext, wrapped }),
            _ => Err(own_error(StoreErrorKind::Corrupt, OPERATION, &self.key_id, "the answer has no wrapped key")),
        }
    }

    async fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> StoreResult<Zeroizing<[u8; 32]>> {
        const OPERATION: &str = "unwrap data key";
        // KMS takes 1 to 6,144 bytes and calls others invalid requests (AWS KMS API Reference,
        // Decrypt, CiphertextBlob); to the caller such a blob is damaged.
        if !(1..=6144).contains(&wrapped.len()) {
            return Err(own_error(StoreErrorKind::Corrupt, OPERATION, &self.key_id, "no wrapped key has this length"));
        }
        let output = self
            .client
            .decrypt()
            // Named, so that a blob made under another key that we may use is refused.
            .key_id(&*self.key_id)
            .ciphertext_blob(Blob::new(wrapped))
            .set_encryption_context(pairs(context))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &self.key_id, error))?;
        self.plaintext(output.plaintext, OPERATION)
    }
}

fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    (!context.is_empty()).then(|| context.clone().into_iter().collect())
}
