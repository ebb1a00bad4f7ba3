//! The keys by which clients recognise the cluster: one set for all nodes.

mod blob;
mod import;
mod storage;

use russh::keys::PrivateKey;
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use thiserror::Error;
use tidegate_store::StoreError;

pub use import::{HostKeyFileError, ImportedHostKey};
pub use storage::{import_host_keys, init_host_keys, load_host_keys, rotate_host_keys};

/// The size of the RSA key: NIST SP 800-57 puts 3,072 bits level with the other two keys.
const RSA_BITS: usize = 3072;

/// The cluster's private host keys: those made here are Ed25519, ECDSA P-256 and RSA-3072, in this
/// order; imported ones are one of each algorithm that the other server had.
///
/// They are wiped from memory on drop and show in no `Debug`.
#[derive(Clone)]
pub struct HostKeySet {
    keys: Vec<PrivateKey>,
}

/// Why there are no host keys.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// The sealed keys do not open, or what is in them is no set of host keys.
    #[error("the sealed host keys are damaged: {what}")]
    Damaged {
        /// What is wrong with them.
        what: String,
        /// What the envelope said, if it was the envelope.
        #[source]
        source: Option<StoreError>,
    },
    /// There are other ones, and they are not to be replaced.
    #[error("the cluster has other host keys already; --replace puts these in their place")]
    Exists,
    /// Keys could not be made.
    #[error("host keys could not be generated: {0}")]
    Generation(String),
    /// There are none, and none are made by this call.
    #[error("there are no host keys yet; run \"tidegate hostkey init\"")]
    Missing,
    /// The keys belong to another cluster: the wrong bucket or the wrong cluster name.
    #[error("the host keys in the store belong to cluster \"{found}\", not \"{expected}\"")]
    OtherCluster {
        /// The name on the stored keys.
        found: String,
        /// Our own name.
        expected: String,
    },
    /// Somebody else replaced the keys at the same time; theirs are in force.
    #[error("the host keys were replaced by somebody else at the same time")]
    Replaced,
    /// The service that guards the root key refused or could not be reached.
    #[error("the key service did not {action} the host keys: {}", .source.report())]
    Sealing {
        /// "seal" or "open".
        action: &'static str,
        /// What it said.
        source: StoreError,
    },
    /// The object could not be read or written.
    #[error("the object of the host keys could not be {action}: {}", .source.report())]
    Store {
        /// "read" or "written".
        action: &'static str,
        /// What the store said.
        source: StoreError,
    },
    /// The keys were written by a later version.
    #[error("the host keys have format version {0}, which this version does not know")]
    UnknownVersion(u8),
}

impl HostKeySet {
    /// Makes a new set. Takes about a second of one core, off the async threads.
    ///
    /// # Errors
    /// [`HostKeyError::Generation`].
    pub async fn generate() -> Result<Self, HostKeyError> {
        tokio::task::spawn_blocking(Self::generate_blocking)
            .await
            .map_err(|error| HostKeyError::Generation(error.to_string()))?
    }

    /// The keys of another server.
    ///
    /// # Errors
    /// If there are none, or two of one algorithm.
    pub fn imported(keys: Vec<ImportedHostKey>) -> Result<Self, HostKeyFileError> {
        Ok(Self { keys: import::of_one_server(keys)? })
    }

    fn generate_blocking() -> Result<Self, HostKeyError> {
        let rng = &mut rand::rng();
        let mut make = || {
            let ed25519 = PrivateKey::random(rng, Algorithm::Ed25519)?;
            let ecdsa = PrivateKey::random(rng, Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })?;
            let rsa = PrivateKey::new(KeypairData::from(RsaKeypair::random(rng, RSA_BITS)?), "")?;
            Ok(Self { keys: vec![ed25519, ecdsa, rsa] })
        };
        make().map_err(|error: ssh_key::Error| HostKeyError::Generation(error.to_string()))
    }

    /// Algorithm and fingerprint (`SHA256:…`, as OpenSSH prints it) of each key.
    pub fn fingerprints(&self) -> Vec<(String, String)> {
        self.keys
            .iter()
            .map(|key| (key.algorithm().to_string(), key.fingerprint(HashAlg::Sha256).to_string()))
            .collect()
    }

    /// The public keys in OpenSSH's format (`algorithm base64`), for `known_hosts`.
    pub fn public_keys(&self) -> Vec<String> {
        self.keys.iter().filter_map(|key| key.public_key().to_openssh().ok()).collect()
    }

    /// The keys to serve with, those on NIST curves only if asked for.
    pub(crate) fn private_keys(&self, with_ecdsa: bool) -> Vec<PrivateKey> {
        self.keys.iter().filter(|key| with_ecdsa || !key.algorithm().is_ecdsa()).cloned().collect()
    }

    /// Checks that the keys are such as a set has: at least one, and no algorithm twice.
    fn from_keys(keys: Vec<PrivateKey>) -> Result<Self, &'static str> {
        let offered = |algorithm: &Algorithm| {
            matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. })
        };
        let algorithms: Vec<Algorithm> = keys.iter().map(PrivateKey::algorithm).collect();
        let twice = algorithms.iter().enumerate().any(|(n, one)| algorithms.iter().take(n).any(|other| other == one));
        if algorithms.is_empty() || twice || !algorithms.iter().all(offered) {
            return Err("it does not hold one key of each of some algorithms");
        }
        Ok(Self { keys })
    }
}

impl std::fmt::Debug for HostKeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostKeySet").field("fingerprints", &self.fingerprints()).finish_non_exhaustive()
    }
}
