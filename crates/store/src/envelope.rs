//! Envelope encryption: a blob sealed under a data key that itself is wrapped by a root key.
//!
//! The format, version 1; integers are big-endian:
//!
//! | bytes  | what                                                                   |
//! |--------|------------------------------------------------------------------------|
//! | 4      | magic, `TGEV`                                                          |
//! | 1      | version, 1                                                             |
//! | 2      | W, the length of the wrapped data key, 1 to [`WRAPPED_MAX`]            |
//! | W      | the data key, wrapped by [`DataKeys`]                                  |
//! | 12     | the nonce, random                                                      |
//! | N + 16 | the plaintext of N bytes under AES-256-GCM, and the authentication tag |
//!
//! The associated data of AES-GCM are all bytes before the ciphertext, followed by the encryption
//! context (see [`encode_context`]): neither can be changed or exchanged unnoticed. A data key
//! seals one blob, so that nonces can't repeat under it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::data_keys::{DataKeys, EncryptionContext};
use crate::error::{StoreError, StoreErrorKind, StoreResult};

const MAGIC: &[u8; 4] = b"TGEV";
const VERSION: u8 = 1;
const TAG_LEN: usize = 16;

/// The greatest wrapped data key, in bytes: what AWS KMS returns at most (API Reference,
/// `GenerateDataKey`, `CiphertextBlob`).
pub const WRAPPED_MAX: usize = 6_144;

/// The greatest plaintext, in bytes.
pub const PLAINTEXT_MAX: usize = 512 << 10;

/// A sealed blob taken apart. Only its form is known to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Everything before the ciphertext.
    pub header: &'a [u8],
    /// The wrapped data key.
    pub wrapped: &'a [u8],
    /// The nonce.
    pub nonce: &'a [u8; NONCE_LEN],
    /// Ciphertext and tag, at least the tag's 16 bytes.
    pub ciphertext: &'a [u8],
}

/// Why some bytes are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It begins with other bytes than the magic.
    #[error("it is no envelope")]
    Magic,
    /// The rest is larger than [`PLAINTEXT_MAX`] allows.
    #[error("it is larger than an envelope may be")]
    TooLarge,
    /// It ends before it should.
    #[error("it is cut short")]
    Truncated,
    /// A version that this code does not know.
    #[error("version {0} of the envelope is not known; a newer release may have written it")]
    Version(u8),
    /// The wrapped data key is empty or larger than [`WRAPPED_MAX`].
    #[error("the wrapped data key has {0} bytes")]
    WrappedLength(usize),
}

/// Takes a sealed blob apart. Allocates nothing; every length is checked before it is used.
///
/// # Errors
/// [`Malformed`] says what is wrong with the form.
pub fn parse(sealed: &[u8]) -> Result<Envelope<'_>, Malformed> {
    let (magic, rest) = sealed.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
    if magic != MAGIC {
        return Err(Malformed::Magic);
    }
    let (version, rest) = rest.split_first().ok_or(Malformed::Truncated)?;
    if *version != VERSION {
        return Err(Malformed::Version(*version));
    }
    let (len, rest) = rest.split_first_chunk::<2>().ok_or(Malformed::Truncated)?;
    let len = usize::from(u16::from_be_bytes(*len));
    if !(1..=WRAPPED_MAX).contains(&len) {
        return Err(Malformed::WrappedLength(len));
    }
    let (wrapped, rest) = rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Malformed::Truncated)?;
    if ciphertext.len() < TAG_LEN {
        return Err(Malformed::Truncated);
    }
    if ciphertext.len() > PLAINTEXT_MAX + TAG_LEN {
        return Err(Malformed::TooLarge);
    }
    let header = sealed.get(..sealed.len() - ciphertext.len()).ok_or(Malformed::Truncated)?;
    Ok(Envelope { header, wrapped, nonce, ciphertext })
}

/// Seals `plaintext` under a fresh data key.
///
/// # Errors
/// `InvalidRequest` if the plaintext is larger than [`PLAINTEXT_MAX`]; those of
/// [`DataKeys::generate`].
pub async fn seal(keys: &dyn DataKeys, context: &EncryptionContext, plaintext: &[u8]) -> StoreResult<Vec<u8>> {
    let invalid = |reason: String| StoreError::new(StoreErrorKind::InvalidRequest, "seal").with_source(reason);
    if plaintext.len() > PLAINTEXT_MAX {
        return Err(invalid(format!("{} bytes are more than an envelope holds", plaintext.len())));
    }
    let key = keys.generate(context).await?;
    let wrapped_len = Some(key.wrapped.len())
        .filter(|len| (1..=WRAPPED_MAX).contains(len))
        .and_then(|len| u16::try_from(len).ok())
        .ok_or_else(|| invalid(format!("a wrapped data key of {} bytes", key.wrapped.len())))?;
    let nonce: [u8; NONCE_LEN] = rand::random();
    let mut sealed = [MAGIC.as_slice(), &[VERSION], &wrapped_len.to_be_bytes(), &key.wrapped, &nonce].concat();
    let aad = [sealed.as_slice(), &encode_context(context)].concat();

    // Room for the tag, so that no growing leaves a copy of the plaintext behind.
    let mut body = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG_LEN));
    body.extend_from_slice(plaintext);
    cipher(&key.plaintext, "seal")?
        .seal_in_place_append_tag(Nonce::from(&nonce), Aad::from(aad), &mut *body)
        .map_err(|error| invalid(error.to_string()))?;
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// Opens what [`seal`] made under the same context. The plaintext is wiped on drop.
///
/// # Errors
/// `Corrupt` if the blob is damaged or was sealed under another context or root key; those of
/// [`DataKeys::unwrap`].
pub async fn open(keys: &dyn DataKeys, context: &EncryptionContext, sealed: &[u8]) -> StoreResult<Zeroizing<Vec<u8>>> {
    let corrupt = || StoreError::new(StoreErrorKind::Corrupt, "open");
    let envelope = parse(sealed).map_err(|malformed| corrupt().with_source(malformed))?;
    let key = keys.unwrap(envelope.wrapped, context).await?;
    let aad = [envelope.header, &encode_context(context)].concat();
    let mut body = Zeroizing::new(envelope.ciphertext.to_vec());
    let len = cipher(&key, "open")?
        .open_in_place(Nonce::from(envelope.nonce), Aad::from(aad), &mut body)
        .map_err(|_| corrupt().with_source("the authentication tag does not match"))?
        .len();
    body.truncate(len);
    Ok(body)
}

fn cipher(key: &[u8; 32], operation: &'static str) -> StoreResult<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|error| StoreError::new(StoreErrorKind::InvalidRequest, operation).with_source(error))
}

/// The context as associated data, unambiguous: for each pair, in the order of the names' bytes,
/// the name and the value, each behind its length as 8 bytes, big-endian.
pub fn encode_context(context: &EncryptionContext) -> Vec<u8> {
    let mut encoded = Vec::new();
    for text in context.iter().flat_map(|(name, value)| [name, value]) {
        encoded.extend_from_slice(&(text.len() as u64).to_be_bytes());
        encoded.extend_from_slice(text.as_bytes());
    }
    encoded
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryDataKeys;

    fn context() -> EncryptionContext {
        EncryptionContext::from([("tidegate:cluster".to_owned(), "blue".to_owned())])
    }

    fn sealed(keys: &MemoryDataKeys, plaintext: &[u8]) -> Vec<u8> {
        block_on(seal(keys, &context(), plaintext)).unwrap()
    }

    fn kind_of_open(keys: &MemoryDataKeys, context: &EncryptionContext, sealed: &[u8]) -> Option<StoreErrorKind> {
        block_on(open(keys, context, sealed)).err().map(|error| error.kind())
    }

    #[test]
    fn the_format_is_as_documented() {
        let keys = MemoryDataKeys::new();
        let blob = sealed(&keys, b"secret");
        let envelope = parse(&blob).unwrap();
        let wrapped = envelope.wrapped.len();
        assert_eq!(blob[..5], *b"TGEV\x01");
        assert_eq!(blob[5..7], u16::try_from(wrapped).unwrap().to_be_bytes());
        assert_eq!(blob[7..7 + wrapped], *envelope.wrapped);
        assert_eq!(blob[7 + wrapped..19 + wrapped], *envelope.nonce);
        assert_eq!(blob.len(), 19 + wrapped + b"secret".len() + 16);
        assert!(!blob.windows(6).any(|window| window == b"secret"), "the plaintext does not show");

        // The same by other means: the data key opens the ciphertext under header and context.
        let key = block_on(keys.unwrap(envelope.wrapped, &context())).unwrap();
        let mut aad = blob[..19 + wrapped].to_vec();
        aad.extend_from_slice(b"\0\0\0\0\0\0\0\x10tidegate:cluster\0\0\0\0\0\0\0\x04blue");
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
        let mut body = blob[19 + wrapped..].to_vec();
        let nonce = Nonce::from(envelope.nonce);
        assert_eq!(cipher.open_in_place(nonce, Aad::from(aad), &mut body).unwrap(), b"secret");
    }

    #[test]
    fn every_seal_has_a_key_and_a_nonce_of_its_own() {
        let keys = MemoryDataKeys::new();
        let (first, second) = (sealed(&keys, b"same"), sealed(&keys, b"same"));
        let (first, second) = (parse(&first).unwrap(), parse(&second).unwrap());
        assert_ne!(first.wrapped, second.wrapped);
        assert_ne!(first.nonce, second.nonce);
        assert_ne!(first.ciphertext, second.ciphertext);
    }

    #[test]
    fn another_context_or_root_key_opens_nothing() {
        let keys = MemoryDataKeys::new();
        let blob = sealed(&keys, b"secret");
        let other = EncryptionContext::from([("tidegate:cluster".to_owned(), "green".to_owned())]);
        for other in [other, EncryptionContext::new()] {
            assert_eq!(kind_of_open(&keys, &other, &blob), Some(StoreErrorKind::Corrupt));
        }
        assert_eq!(kind_of_open(&MemoryDataKeys::new(), &context(), &blob), Some(StoreErrorKind::Corrupt));
    }

    /// Hands out one key for every context: what is left is the envelope's own binding.
    #[derive(Debug)]
    struct Careless;

    #[async_trait::async_trait]
    impl DataKeys for Careless {
        async fn generate(&self, _: &EncryptionContext) -> StoreResult<crate::DataKey> {
            Ok(crate::DataKey { plaintext: Zeroizing::new([7; 32]), wrapped: vec![1] })
        }

        async fn unwrap(&self, _: &[u8], _: &EncryptionContext) -> StoreResult<Zeroizing<[u8; 32]>> {
            Ok(Zeroizing::new([7; 32]))
        }
    }

    #[test]
    fn the_envelope_itself_is_bound_to_context_and_header() {
        let blob = block_on(seal(&Careless, &context(), b"secret")).unwrap();
        assert_eq!(**block_on(open(&Careless, &context(), &blob)).unwrap(), *b"secret");
        // Names and values can't be shifted into one another.
        let shifted = EncryptionContext::from([("tidegate:clusterb".to_owned(), "lue".to_owned())]);
        let error = block_on(open(&Careless, &shifted, &blob)).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        for at in 0..blob.len() {
            let mut flipped = blob.clone();
            flipped[at] ^= 0x80;
            let error = block_on(open(&Careless, &context(), &flipped)).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "byte {at}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let keys = MemoryDataKeys::new();
        let largest = vec![1; PLAINTEXT_MAX];
        let blob = sealed(&keys, &largest);
        assert_eq!(**block_on(open(&keys, &context(), &blob)).unwrap(), *largest);
        let error = block_on(seal(&keys, &context(), &vec![1; PLAINTEXT_MAX + 1])).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidRequest);
        let longer = [blob.as_slice(), &[0]].concat();
        assert_eq!(parse(&longer), Err(Malformed::TooLarge));
        for len in [0, WRAPPED_MAX + 1] {
            let mut blob = blob.clone();
            blob[5..7].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            assert_eq!(parse(&blob), Err(Malformed::WrappedLength(len)));
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(plaintext in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let keys = MemoryDataKeys::new();
            let opened = block_on(open(&keys, &context(), &sealed(&keys, &plaintext))).unwrap();
            prop_assert_eq!(&*opened, &plaintext);
        }

        #[test]
        fn every_flipped_bit_is_found(at in any::<proptest::sample::Index>(), bit in 0..8_u8) {
            let keys = MemoryDataKeys::new();
            let mut blob = sealed(&keys, b"some secret bytes");
            let at = at.index(blob.len());
            blob[at] ^= 1 << bit;
            prop_assert_eq!(kind_of_open(&keys, &context(), &blob), Some(StoreErrorKind::Corrupt));
        }

        #[test]
        fn every_truncation_is_found(len in any::<proptest::sample::Index>()) {
            let keys = MemoryDataKeys::new();
            let blob = sealed(&keys, b"some secret bytes");
            let cut = &blob[..len.index(blob.len())];
            prop_assert_eq!(kind_of_open(&keys, &context(), cut), Some(StoreErrorKind::Corrupt));
        }

        #[test]
        fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), real in any::<bool>()) {
            let bytes = if real { [b"TGEV\x01\0".as_slice(), &bytes].concat() } else { bytes };
            if let Ok(envelope) = parse(&bytes) {
                prop_assert_eq!([envelope.header, envelope.ciphertext].concat(), bytes.clone());
                prop_assert!(envelope.ciphertext.len() >= TAG_LEN);
            }
        }
    }
}
