//! Data keys under a root key that lies in a local file: for `tidegate dev` and tests, where no
//! key management service is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tidegate_store::{DataKey, DataKeys, EncryptionContext, StoreError, StoreErrorKind, StoreResult};
use zeroize::Zeroizing;

use crate::{private_file, random};

const KEY_LEN: usize = 32;

/// The first byte of a wrapped key: version 1, AES-256-GCM; nonce, ciphertext and tag follow.
const VERSION: u8 = 1;

/// The root key file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootKeyError {
    /// Reading or creating it failed, or others than its owner may read it.
    #[error("the root key file {path} can't be used")]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path} is no root key: it does not hold 32 bytes")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Wraps data keys with AES-256-GCM under a root key from a file; the encryption context is
/// authenticated with them.
pub struct LocalDataKeys {
    root: LessSafeKey,
}

impl LocalDataKeys {
    /// Reads the root key from `path`, a file of 32 bytes that only its owner may read. Creates it
    /// if it is not there; of several processes that do so at once, one wins, and all use its key.
    ///
    /// # Errors
    /// [`RootKeyError`].
    pub fn open(path: &Path) -> Result<Self, RootKeyError> {
        let file = |source| RootKeyError::File { path: path.to_owned(), source };
        let root = private_file::read_or_make(path, || {
            let root = Zeroizing::new(random::bytes::<KEY_LEN>().map_err(io::Error::other)?);
            Ok(Zeroizing::new(root.to_vec()))
        })
        .map_err(file)?;
        let root =
            UnboundKey::new(&AES_256_GCM, &root).map_err(|_| RootKeyError::Malformed { path: path.to_owned() })?;
        Ok(Self { root: LessSafeKey::new(root) })
    }

    fn wrap(&self, plaintext: &[u8; KEY_LEN], context: &EncryptionContext) -> Option<Vec<u8>> {
        let nonce = random::bytes::<NONCE_LEN>().ok()?;
        let mut sealed = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .root
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), additional_data(context), &mut sealed)
            .ok()?;
        Some([&[VERSION], nonce.as_slice(), &sealed, tag.as_ref()].concat())
    }
}

impl fmt::Debug for LocalDataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalDataKeys").finish_non_exhaustive()
    }
}

#[async_trait]
impl DataKeys for LocalDataKeys {
    async fn generate(&self, context: &EncryptionContext) -> StoreResult<DataKey> {
        let failed = || StoreError::new(StoreErrorKind::Unavailable, "generate");
        let plaintext = Zeroizing::new(random::bytes::<KEY_LEN>().map_err(|error| failed().with_source(error))?);
        let wrapped = self.wrap(&plaintext, context).ok_or_else(failed)?;
        Ok(DataKey { plaintext, wrapped })
    }

    async fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> StoreResult<Zeroizing<[u8; KEY_LEN]>> {
        let corrupt = || StoreError::new(StoreErrorKind::Corrupt, "unwrap");
        let (version, rest) = wrapped.split_first().ok_or_else(corrupt)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(corrupt)?;
        if *version != VERSION {
            return Err(corrupt());
        }
        let mut opened = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plaintext = self.root.open_in_place(nonce, additional_data(context), &mut opened).map_err(|_| corrupt())?;
        let plaintext: &[u8; KEY_LEN] = (&*plaintext).try_into().map_err(|_| corrupt())?;
        Ok(Zeroizing::new(*plaintext))
    }
}

/// Each name and value behind its length in 8 bytes, in the order of the names: no two contexts
/// give the same bytes.
fn additional_data(context: &EncryptionContext) -> Aad<Vec<u8>> {
    let mut bytes = Vec::new();
    for text in context.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Aad::from(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_key_unwraps_after_the_file_is_opened_again_and_under_no_other() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("root.key");
        let context = EncryptionContext::from([("cluster".to_owned(), "c".to_owned())]);
        let key = LocalDataKeys::open(&path).unwrap().generate(&context).await.unwrap();
        let unwrapped = LocalDataKeys::open(&path).unwrap().unwrap(&key.wrapped, &context).await.unwrap();
        assert_eq!(unwrapped, key.plaintext);
        let other = LocalDataKeys::open(&folder.path().join("other.key")).unwrap();
        let error = other.unwrap(&key.wrapped, &context).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    }

    #[test]
    fn the_file_is_its_owners_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("root.key");
        LocalDataKeys::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(LocalDataKeys::open(&path), Err(RootKeyError::File { .. })));
    }

    #[test]
    fn a_file_of_another_length_is_refused_and_kept() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("root.key");
        std::fs::write(&path, "short").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(LocalDataKeys::open(&path), Err(RootKeyError::Malformed { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"short");
    }

    #[test]
    fn all_who_make_the_file_at_once_get_one_key() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("root.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| LocalDataKeys::open(&path).unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        let context = EncryptionContext::new();
        let wrapped = keys[0].wrap(&[7; KEY_LEN], &context).unwrap();
        for key in &keys {
            let opened = futures::executor::block_on(key.unwrap(&wrapped, &context)).unwrap();
            assert_eq!(*opened, [7; KEY_LEN]);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no unfinished file stays");
    }
}
