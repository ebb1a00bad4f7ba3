//! Host keys of another server, taken over so that its clients see no change.

use std::io::{self, Read};

use russh::keys::{PrivateKey, decode_secret_key};
use ssh_key::{Algorithm, HashAlg};
use thiserror::Error;
use zeroize::Zeroizing;

use super::key::{HostKey, KeyState, Times, now};
use crate::algorithms::MIN_RSA_BITS;
use crate::public_key::rsa_bits;

/// The greatest size of a file with a private key, in bytes: far more than RSA of 16,384 bits takes.
const MAX_FILE: usize = 64 << 10;

/// A private host key as it was read. Wiped from memory on drop; shows in no `Debug`.
pub struct ImportedHostKey {
    pub(super) key: PrivateKey,
}

/// Why a key of another server is not taken over.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostKeyFileError {
    /// Two keys of one algorithm, of which key exchange can show one.
    #[error("there are two keys of the algorithm {0}: clients are shown one")]
    Algorithm(String),
    /// It needs a passphrase, which nobody would type in.
    #[error("the key is protected by a passphrase; take a copy without one: ssh-keygen -p -N '' -f COPY")]
    Encrypted,
    /// Nothing to import.
    #[error("no key is given")]
    None,
    /// It is the public half.
    #[error("this is a public key; the private one is in the file without .pub")]
    Public,
    /// It can't be read from the disk.
    #[error("it can't be read: {0}")]
    Read(#[from] io::Error),
    /// No format that is known, or damaged.
    #[error("it is no private key in the format of OpenSSH, PKCS #1, PKCS #8 or SEC 1, or it is damaged")]
    Unreadable,
    /// An algorithm that is not offered.
    #[error("keys of the algorithm {0} are not offered to clients; use Ed25519, ECDSA or RSA")]
    Unsupported(String),
    /// RSA of a size that is not offered.
    #[error("an RSA key must have at least {MIN_RSA_BITS} bits, this one has {0}")]
    WeakRsa(u32),
}

impl ImportedHostKey {
    /// Reads a private key, in the format of OpenSSH or in PEM.
    ///
    /// # Errors
    /// Says what is wrong with it, and never what is in it.
    pub fn read(source: &mut dyn Read) -> Result<Self, HostKeyFileError> {
        // Reserved in one go: a vector that grows leaves copies of secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
        source.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > MAX_FILE {
            return Err(HostKeyFileError::Unreadable);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| HostKeyFileError::Unreadable)?;
        if ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start)) {
            return Err(HostKeyFileError::Public);
        }
        let key = match PrivateKey::from_openssh(text) {
            Ok(key) => key,
            Err(_) if text.contains("ENCRYPTED") => return Err(HostKeyFileError::Encrypted),
            Err(_) => decode_secret_key(text, None).map_err(|_| HostKeyFileError::Unreadable)?,
        };
        if key.is_encrypted() {
            return Err(HostKeyFileError::Encrypted);
        }
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => {}
            Algorithm::Rsa { .. } => {
                if let Some(bits) = rsa_bits(key.public_key().key_data())
                    && bits < MIN_RSA_BITS
                {
                    return Err(HostKeyFileError::WeakRsa(bits));
                }
            }
            other => return Err(HostKeyFileError::Unsupported(other.to_string())),
        }
        Ok(Self { key })
    }

    /// Whether it is on a NIST curve, and so is offered with `ssh.ecdsa_host_key` alone.
    pub fn is_ecdsa(&self) -> bool {
        self.key.algorithm().is_ecdsa()
    }

    /// `SHA256:…`, as OpenSSH prints it.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }
}

impl std::fmt::Debug for ImportedHostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportedHostKey").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// The keys of a set: one of each algorithm at most, in the order in which they are offered.
///
/// # Errors
/// If there are none, or two of one algorithm.
pub(super) fn of_one_server(keys: Vec<ImportedHostKey>) -> Result<Vec<HostKey>, HostKeyFileError> {
    if keys.is_empty() {
        return Err(HostKeyFileError::None);
    }
    let mut keys: Vec<PrivateKey> = keys.into_iter().map(|imported| imported.key).collect();
    keys.sort_by_key(|key| match key.algorithm() {
        Algorithm::Ed25519 => 0,
        Algorithm::Ecdsa { .. } => 1,
        _ => 2,
    });
    for (n, key) in keys.iter().enumerate() {
        if keys.iter().take(n).any(|other| other.algorithm() == key.algorithm()) {
            return Err(HostKeyFileError::Algorithm(key.algorithm().to_string()));
        }
    }
    let times = Times { since: now(), ..Times::default() };
    let active = |key: PrivateKey| {
        let algorithm = key.algorithm().to_string();
        HostKey::new(key, KeyState::Active, times).map_err(|_| HostKeyFileError::Unsupported(algorithm))
    };
    keys.into_iter().map(active).collect()
}

#[cfg(test)]
mod tests {
    use ssh_key::private::{KeypairData, RsaKeypair};
    use ssh_key::{EcdsaCurve, LineEnding};

    use super::*;

    fn read(text: &str) -> Result<ImportedHostKey, HostKeyFileError> {
        ImportedHostKey::read(&mut text.as_bytes())
    }

    fn made(algorithm: Algorithm) -> PrivateKey {
        PrivateKey::random(&mut rand::rng(), algorithm).unwrap()
    }

    #[test]
    fn keys_of_openssh_are_read() {
        for algorithm in [
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        ] {
            let key = made(algorithm.clone());
            let imported = read(&key.to_openssh(LineEnding::LF).unwrap()).unwrap();
            assert_eq!(imported.fingerprint(), key.fingerprint(HashAlg::Sha256).to_string());
            assert_eq!(imported.is_ecdsa(), algorithm.is_ecdsa());
            assert!(!format!("{imported:?}").contains("PrivateKey"));
        }
    }

    #[test]
    fn what_is_no_host_key_is_refused_with_the_reason() {
        let weak = RsaKeypair::random(&mut rand::rng(), 1024).unwrap();
        let weak = PrivateKey::new(KeypairData::from(weak), "").unwrap().to_openssh(LineEnding::LF).unwrap();
        let key = made(Algorithm::Ed25519);
        let (private, public) = (key.to_openssh(LineEnding::LF).unwrap(), key.public_key().to_openssh().unwrap());
        for (text, said) in [
            (weak.as_str(), "at least 2048"),
            (public.as_str(), "public key"),
            ("", "no private key"),
            (&private[..private.len() / 2], "no private key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "passphrase"),
            ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n", "passphrase"),
            (&"x".repeat(MAX_FILE + 1), "no private key"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_set_has_one_key_of_each_algorithm() {
        let imported = |algorithm| ImportedHostKey { key: made(algorithm) };
        let keys = of_one_server(vec![
            imported(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }),
            imported(Algorithm::Ed25519),
        ])
        .unwrap();
        assert_eq!(keys[0].algorithm(), "ssh-ed25519");
        let twice = of_one_server(vec![imported(Algorithm::Ed25519), imported(Algorithm::Ed25519)]);
        assert!(matches!(twice, Err(HostKeyFileError::Algorithm(_))));
        assert!(matches!(of_one_server(vec![]), Err(HostKeyFileError::None)));
    }
}
