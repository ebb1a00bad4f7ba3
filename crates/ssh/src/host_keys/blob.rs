//! The bytes of a set of host keys, inside and outside of the seal.
//!
//! Inside the envelope (secret), version 1, integers big-endian:
//!
//! | bytes | |
//! |---|---|
//! | 4 | `TGHK` |
//! | 1 | version, 1 |
//! | 1 | number of keys: 3, or fewer or more for imported ones |
//! | 4 + n, for each key | length, then the key as `openssh-key-v1` (OpenSSH's PROTOCOL.key, without the PEM armour), Ed25519, ECDSA, RSA |
//!
//! The stored object (not secret): `TGHS`, version 1 (1 byte), length of the cluster's name
//! (2 bytes), the name, the envelope. The name tells the operator which cluster the keys belong
//! to; what binds them to it is the envelope's encryption context.

use russh::keys::PrivateKey;
use zeroize::Zeroizing;

use super::{HostKeyError, HostKeySet};

const SECRET_MAGIC: &[u8; 4] = b"TGHK";
const STORED_MAGIC: &[u8; 4] = b"TGHS";
const VERSION: u8 = 1;

/// The plaintext of the envelope.
pub(super) fn encode(set: &HostKeySet) -> Result<Zeroizing<Vec<u8>>, HostKeyError> {
    let failed = |error: &dyn std::fmt::Display| HostKeyError::Generation(error.to_string());
    let keys = set.keys.iter().map(PrivateKey::to_bytes).collect::<Result<Vec<_>, _>>().map_err(|e| failed(&e))?;
    // Reserved in one go: a vector that grows leaves copies of secrets behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(6 + keys.iter().map(|key| 4 + key.len()).sum::<usize>()));
    plaintext.extend_from_slice(SECRET_MAGIC);
    plaintext.push(VERSION);
    plaintext.push(u8::try_from(keys.len()).map_err(|e| failed(&e))?);
    for key in &keys {
        plaintext.extend_from_slice(&u32::try_from(key.len()).map_err(|e| failed(&e))?.to_be_bytes());
        plaintext.extend_from_slice(key);
    }
    Ok(plaintext)
}

/// Reads the plaintext of the envelope.
pub(super) fn decode(plaintext: &[u8]) -> Result<HostKeySet, HostKeyError> {
    let damaged = |what: &str| HostKeyError::Damaged { what: what.to_owned(), source: None };
    let rest = plaintext.strip_prefix(SECRET_MAGIC).ok_or_else(|| damaged("the envelope holds no host keys"))?;
    let (&version, rest) = rest.split_first().ok_or_else(|| damaged("it is cut short"))?;
    if version != VERSION {
        return Err(HostKeyError::UnknownVersion(version));
    }
    let (&count, mut rest) = rest.split_first().ok_or_else(|| damaged("it is cut short"))?;
    let mut keys = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let key;
        (key, rest) = split_prefixed(rest).ok_or_else(|| damaged("it is cut short"))?;
        keys.push(PrivateKey::from_bytes(key).map_err(|_| damaged("a key in it can't be read"))?);
    }
    if !rest.is_empty() {
        return Err(damaged("there are bytes behind the last key"));
    }
    HostKeySet::from_keys(keys).map_err(damaged)
}

fn split_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// The stored object: the envelope with the cluster's name in front.
pub(super) fn label(cluster: &str, envelope: &[u8]) -> Result<Vec<u8>, HostKeyError> {
    let length = u16::try_from(cluster.len())
        .map_err(|_| HostKeyError::Generation("the cluster's name is longer than 65,535 bytes".to_owned()))?;
    Ok([STORED_MAGIC, [VERSION].as_slice(), &length.to_be_bytes(), cluster.as_bytes(), envelope].concat())
}

/// The envelope of the stored object, if it is labelled with this cluster.
pub(super) fn unlabel<'a>(stored: &'a [u8], cluster: &str) -> Result<&'a [u8], HostKeyError> {
    let damaged = |what: &str| HostKeyError::Damaged { what: what.to_owned(), source: None };
    let rest = stored.strip_prefix(STORED_MAGIC).ok_or_else(|| damaged("the object is no set of sealed host keys"))?;
    let (&version, rest) = rest.split_first().ok_or_else(|| damaged("it is cut short"))?;
    if version != VERSION {
        return Err(HostKeyError::UnknownVersion(version));
    }
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(|| damaged("it is cut short"))?;
    let (name, envelope) =
        rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(|| damaged("it is cut short"))?;
    if name != cluster.as_bytes() {
        return Err(HostKeyError::OtherCluster {
            found: String::from_utf8_lossy(name).escape_debug().take(128).collect(),
            expected: cluster.to_owned(),
        });
    }
    Ok(envelope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_set_survives_encoding() {
        let set = HostKeySet::generate().await.unwrap();
        let plaintext = encode(&set).unwrap();
        assert_eq!(decode(&plaintext).unwrap().fingerprints(), set.fingerprints());
        assert_eq!(plaintext.capacity(), plaintext.len(), "the buffer never grew");

        for cut in [0, 3, 4, 5, 6, 9, plaintext.len() / 2, plaintext.len() - 1] {
            assert!(decode(&plaintext[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = plaintext.to_vec();
        longer.push(0);
        assert!(matches!(decode(&longer), Err(HostKeyError::Damaged { .. })));
        let mut later = plaintext.to_vec();
        later[4] = 9;
        assert!(matches!(decode(&later), Err(HostKeyError::UnknownVersion(9))));
        let debug = format!("{set:?}");
        assert!(debug.contains("SHA256:") && !debug.contains("Private"), "{debug}");
    }

    #[test]
    fn the_label_names_the_cluster() {
        let stored = label("blue", b"envelope").unwrap();
        assert_eq!(unlabel(&stored, "blue").unwrap(), b"envelope");
        let error = unlabel(&stored, "green").unwrap_err();
        assert_eq!(error.to_string(), "the host keys in the store belong to cluster \"blue\", not \"green\"");
        assert!(matches!(unlabel(b"<?xml", "blue"), Err(HostKeyError::Damaged { .. })));
        assert!(matches!(unlabel(&stored[..8], "blue"), Err(HostKeyError::Damaged { .. })));
    }
}
