//! The bytes of a set of host keys, inside and outside of the seal.
//!
//! Inside the envelope (secret), version 2, integers big-endian:
//!
//! | bytes | |
//! |---|---|
//! | 4 | `TGHK` |
//! | 1 | version, 2 |
//! | 8 | revision: counts the changes of the set, from 1 on |
//! | 8 | when it was changed last, in seconds since the Unix epoch |
//! | 1 | number of keys, 1 to [`HostKeySet::MAX_KEYS`] |
//! | 4 + n, for each key | length of the record, then the record |
//!
//! A record:
//!
//! | bytes | |
//! |---|---|
//! | 1 | state: 1 announced, 2 active, 3 retired |
//! | 8 | when the key was made; this and the next two in seconds since the Unix epoch, 0 where it is not known |
//! | 8 | when it came into its state |
//! | 8 | from when on it may become active, 0 unless it is announced |
//! | 4 + n | length, then the key as `openssh-key-v1` (OpenSSH's PROTOCOL.key, without the PEM armour), with its comment |
//! | … | what a later release adds, ignored |
//!
//! Version 1, which is still read: `TGHK`, 1 (1 byte), 3 (1 byte), and for each key its length (4 bytes)
//! and the key, Ed25519, ECDSA P-256, RSA. All three are active. The first change of the set writes
//! version 2, which releases that know only version 1 refuse by its number.
//!
//! The stored object (not secret): `TGHS`, version 1 (1 byte), length of the cluster's name
//! (2 bytes), the name, the envelope. The name tells the operator which cluster the keys belong
//! to; what binds them to it is the envelope's encryption context.

use russh::keys::PrivateKey;
use ssh_key::{Algorithm, EcdsaCurve};
use zeroize::Zeroizing;

use super::key::Times;
use super::{HostKey, HostKeyError, HostKeySet, KeyState};

const SECRET_MAGIC: &[u8; 4] = b"TGHK";
const STORED_MAGIC: &[u8; 4] = b"TGHS";
const STORED_VERSION: u8 = 1;
const ALL_ACTIVE: u8 = 1;
const WITH_STATES: u8 = 2;

/// The bytes of a record before its key.
const RECORD_HEAD: usize = 1 + 3 * 8;

/// The plaintext of the envelope.
pub(super) fn encode(set: &HostKeySet) -> Result<Zeroizing<Vec<u8>>, HostKeyError> {
    let failed = |error: &dyn std::fmt::Display| HostKeyError::Generation(error.to_string());
    let length = |n: usize| u32::try_from(n).map(u32::to_be_bytes).map_err(|e| failed(&e));
    let mut keys = Vec::with_capacity(set.keys().len());
    for key in set.keys() {
        keys.push((key, key.private().to_bytes().map_err(|e| failed(&e))?));
    }
    // Reserved in one go: a vector that grows leaves copies of secrets behind.
    let records: usize = keys.iter().map(|(_, bytes)| 4 + RECORD_HEAD + 4 + bytes.len()).sum();
    let mut plaintext = Zeroizing::new(Vec::with_capacity(4 + 1 + 8 + 8 + 1 + records));
    plaintext.extend_from_slice(SECRET_MAGIC);
    plaintext.push(WITH_STATES);
    plaintext.extend_from_slice(&set.revision().to_be_bytes());
    plaintext.extend_from_slice(&set.changed().to_be_bytes());
    plaintext.push(u8::try_from(keys.len()).map_err(|e| failed(&e))?);
    for (key, bytes) in &keys {
        let Times { created, since, ready } = key.times();
        plaintext.extend_from_slice(&length(RECORD_HEAD + 4 + bytes.len())?);
        plaintext.push(state_to_byte(key.state()));
        for time in [created, since, ready] {
            plaintext.extend_from_slice(&time.to_be_bytes());
        }
        plaintext.extend_from_slice(&length(bytes.len())?);
        plaintext.extend_from_slice(bytes);
    }
    Ok(plaintext)
}

/// Reads the plaintext of the envelope, of either version.
pub(super) fn decode(plaintext: &[u8]) -> Result<HostKeySet, HostKeyError> {
    let rest = plaintext.strip_prefix(SECRET_MAGIC).ok_or_else(|| damaged("the envelope holds no host keys"))?;
    match rest.split_first() {
        Some((&ALL_ACTIVE, rest)) => decode_all_active(rest),
        Some((&WITH_STATES, rest)) => decode_with_states(rest),
        Some((&version, _)) => Err(HostKeyError::UnknownVersion(version)),
        None => Err(cut_short()),
    }
}

fn decode_all_active(rest: &[u8]) -> Result<HostKeySet, HostKeyError> {
    let (&count, mut rest) = rest.split_first().ok_or_else(cut_short)?;
    let mut keys = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let key;
        (key, rest) = split_prefixed(rest).ok_or_else(cut_short)?;
        keys.push(HostKey::new(private_key(key)?, KeyState::Active, Times::default()).map_err(damaged)?);
    }
    expect_end(rest)?;
    let algorithms: Vec<_> = keys.iter().map(|key| key.private().algorithm()).collect();
    match algorithms.as_slice() {
        [Algorithm::Ed25519, Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }, Algorithm::Rsa { .. }] => {
            HostKeySet::new(keys, 0, 0).map_err(damaged)
        }
        _ => Err(damaged("it does not hold one Ed25519, one ECDSA P-256 and one RSA key")),
    }
}

fn decode_with_states(rest: &[u8]) -> Result<HostKeySet, HostKeyError> {
    let (revision, rest) = split_u64(rest).ok_or_else(cut_short)?;
    let (changed, rest) = split_u64(rest).ok_or_else(cut_short)?;
    let (&count, mut rest) = rest.split_first().ok_or_else(cut_short)?;
    let mut keys = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let record;
        (record, rest) = split_prefixed(rest).ok_or_else(cut_short)?;
        keys.push(decode_record(record)?);
    }
    expect_end(rest)?;
    HostKeySet::new(keys, revision, changed).map_err(damaged)
}

fn decode_record(record: &[u8]) -> Result<HostKey, HostKeyError> {
    let (&state, rest) = record.split_first().ok_or_else(cut_short)?;
    let state = state_of_byte(state).ok_or_else(|| damaged("a key in it is in no known state"))?;
    let (created, rest) = split_u64(rest).ok_or_else(cut_short)?;
    let (since, rest) = split_u64(rest).ok_or_else(cut_short)?;
    let (ready, rest) = split_u64(rest).ok_or_else(cut_short)?;
    let (key, _later) = split_prefixed(rest).ok_or_else(cut_short)?;
    HostKey::new(private_key(key)?, state, Times { created, since, ready }).map_err(damaged)
}

fn private_key(bytes: &[u8]) -> Result<PrivateKey, HostKeyError> {
    PrivateKey::from_bytes(bytes).map_err(|_| damaged("a key in it can't be read"))
}

fn state_to_byte(state: KeyState) -> u8 {
    match state {
        KeyState::Announced => 1,
        KeyState::Active => 2,
        KeyState::Retired => 3,
    }
}

fn state_of_byte(byte: u8) -> Option<KeyState> {
    KeyState::ALL.into_iter().find(|state| state_to_byte(*state) == byte)
}

fn expect_end(rest: &[u8]) -> Result<(), HostKeyError> {
    if rest.is_empty() { Ok(()) } else { Err(damaged("there are bytes behind the last key")) }
}

fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn split_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn damaged(what: &str) -> HostKeyError {
    HostKeyError::Damaged { what: what.to_owned(), source: None }
}

fn cut_short() -> HostKeyError {
    damaged("it is cut short")
}

/// The stored object: the envelope with the cluster's name in front.
pub(super) fn label(cluster: &str, envelope: &[u8]) -> Result<Vec<u8>, HostKeyError> {
    let length = u16::try_from(cluster.len())
        .map_err(|_| HostKeyError::Generation("the cluster's name is longer than 65,535 bytes".to_owned()))?;
    Ok([STORED_MAGIC, [STORED_VERSION].as_slice(), &length.to_be_bytes(), cluster.as_bytes(), envelope].concat())
}

/// The envelope of the stored object, if it is labelled with this cluster.
pub(super) fn unlabel<'a>(stored: &'a [u8], cluster: &str) -> Result<&'a [u8], HostKeyError> {
    let rest = stored.strip_prefix(STORED_MAGIC).ok_or_else(|| damaged("the object is no set of sealed host keys"))?;
    let (&version, rest) = rest.split_first().ok_or_else(cut_short)?;
    if version != STORED_VERSION {
        return Err(HostKeyError::UnknownVersion(version));
    }
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut_short)?;
    let (name, envelope) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(cut_short)?;
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
    use std::time::Duration;

    use super::super::{HostKeyAlgorithm, Rules};
    use super::*;

    /// What the first release wrote.
    fn version_1(set: &HostKeySet) -> Vec<u8> {
        let mut plaintext = b"TGHK\x01\x03".to_vec();
        for key in set.keys() {
            let bytes = key.private().to_bytes().unwrap();
            plaintext.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
            plaintext.extend_from_slice(&bytes);
        }
        plaintext
    }

    #[tokio::test]
    async fn a_set_survives_encoding_with_its_states() {
        let mut set = HostKeySet::generate().await.unwrap();
        let rules = Rules { now: 2_000, force: true, ecdsa_offered: false };
        for (announce_for, step) in [(0, "activate"), (3_600, "leave")] {
            let key = HostKey::generate(HostKeyAlgorithm::Ed25519, KeyState::Announced).await.unwrap();
            let fingerprint = key.fingerprint();
            set.add(key, Duration::from_secs(announce_for), &rules).unwrap();
            if step == "activate" {
                set.activate(&fingerprint, &rules).unwrap();
            }
        }
        (set.revision, set.changed) = (7, 2_000);
        let plaintext = encode(&set).unwrap();
        assert_eq!(plaintext.capacity(), plaintext.len(), "the buffer never grew");
        let decoded = decode(&plaintext).unwrap();
        assert!(decoded.same_as(&set), "{decoded:?} {set:?}");
        assert_eq!(decoded.keys().last().unwrap().ready(), Some(5_600));
        assert_eq!(KeyState::ALL.map(|state| decoded.count(state)), [1, 3, 1]);

        for cut in [0, 3, 4, 5, 12, 20, 21, 22, 25, 26, 50, plaintext.len() / 2, plaintext.len() - 1] {
            assert!(decode(&plaintext[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = plaintext.to_vec();
        longer.push(0);
        assert!(matches!(decode(&longer), Err(HostKeyError::Damaged { .. })));
        let changed = |at: usize, to: u8| {
            let mut changed = plaintext.to_vec();
            changed[at] = to;
            decode(&changed)
        };
        assert!(matches!(changed(4, 9), Err(HostKeyError::UnknownVersion(9))));
        let unknown_state = changed(26, 4).unwrap_err();
        assert!(unknown_state.to_string().contains("no known state"), "{unknown_state}");
        let two_active = changed(26, 2).unwrap_err();
        assert!(two_active.to_string().contains("two active keys"), "{two_active}");
        let debug = format!("{set:?}");
        assert!(debug.contains("SHA256:") && !debug.contains("Private"), "{debug}");
    }

    #[tokio::test]
    async fn the_first_format_reads_as_all_active() {
        let set = HostKeySet::generate().await.unwrap();
        let plaintext = version_1(&set);
        let decoded = decode(&plaintext).unwrap();
        assert_eq!(decoded.fingerprints(), set.fingerprints());
        assert_eq!((decoded.count(KeyState::Active), decoded.revision(), decoded.changed()), (3, 0, 0));
        assert!(decoded.keys().iter().all(|key| key.created() == 0 && key.ready().is_none()));
        for cut in [5, 6, 9, plaintext.len() - 1] {
            assert!(matches!(decode(&plaintext[..cut]), Err(HostKeyError::Damaged { .. })), "cut at {cut}");
        }
        let fewer = HostKeySet { keys: set.keys[..2].to_vec(), ..set };
        let mut plaintext = version_1(&fewer);
        plaintext[5] = 2;
        assert!(matches!(decode(&plaintext), Err(HostKeyError::Damaged { .. })));
    }

    #[tokio::test]
    async fn a_set_that_nobody_could_connect_to_is_damaged() {
        let refused = |keys: &[HostKey]| {
            let set = HostKeySet { keys: keys.to_vec(), revision: 1, changed: 1, version: None };
            decode(&encode(&set).unwrap()).unwrap_err().to_string()
        };
        let key = HostKey::generate(HostKeyAlgorithm::Ed25519, KeyState::Announced).await.unwrap();
        assert!(refused(&[]).contains("no active key"));
        assert!(refused(std::slice::from_ref(&key)).contains("no active key"));
        assert!(refused(&[key.clone(), key]).contains("a key twice"));
    }

    #[tokio::test]
    async fn what_a_later_release_appends_to_a_record_is_ignored() {
        let key = HostKey::generate(HostKeyAlgorithm::Ed25519, KeyState::Active).await.unwrap();
        let set = HostKeySet { keys: vec![key], revision: 1, changed: 1, version: None };
        let mut plaintext = encode(&set).unwrap().to_vec();
        let length = u32::from_be_bytes(plaintext[22..26].try_into().unwrap());
        plaintext[22..26].copy_from_slice(&(length + 3).to_be_bytes());
        plaintext.extend_from_slice(b"new");
        assert!(decode(&plaintext).unwrap().same_as(&set));
    }

    proptest::proptest! {
        /// The seal vouches for who wrote the plaintext, not for what a later release means by it.
        #[test]
        fn any_plaintext_is_read_or_refused(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), version in 1..=2_u8,
        ) {
            let plaintext = [b"TGHK".as_slice(), &[version], &bytes].concat();
            let refused = matches!(decode(&plaintext), Err(HostKeyError::Damaged { .. }));
            proptest::prop_assert!(refused, "no key of these few bytes is one");
        }
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
