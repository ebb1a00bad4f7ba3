//! The keys by which clients recognise the cluster: one set for all nodes.

mod blob;
mod import;
mod key;
mod rotation;
mod storage;

use russh::keys::PrivateKey;
use thiserror::Error;
use tidegate_store::{ETag, StoreError};

pub use import::{HostKeyFileError, ImportedHostKey};
pub use key::{HostKey, HostKeyAlgorithm, KeyState};
pub use rotation::{Change, RotationError, Rules};
pub use storage::{change_host_keys, import_host_keys, init_host_keys, load_host_keys, rotate_host_keys};

/// The cluster's host keys, each with its state. A new set has an active key of each
/// [`HostKeyAlgorithm`].
///
/// At most one key of an algorithm is active, since key exchange shows one, and at least one key of
/// the set is. Private keys are wiped from memory on drop and show in no `Debug`.
#[derive(Clone)]
pub struct HostKeySet {
    keys: Vec<HostKey>,
    revision: u64,
    changed: u64,
    version: Option<ETag>,
}

/// Why there are no host keys, or why they did not change.
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
    /// Keys could not be made.
    #[error("host keys could not be generated: {0}")]
    Generation(String),
    /// There are none, and none are made by this call.
    #[error("there are no host keys yet; run \"tidegate hostkey init\"")]
    Missing,
    /// Every active key is on a NIST curve, and those are not offered.
    #[error("the only active host keys are ECDSA keys, which are offered with ssh.ecdsa_host_key = true alone")]
    NothingOffered,
    /// The keys belong to another cluster: the wrong bucket or the wrong cluster name.
    #[error("the host keys in the store belong to cluster \"{found}\", not \"{expected}\"")]
    OtherCluster {
        /// The name on the stored keys.
        found: String,
        /// Our own name.
        expected: String,
    },
    /// The step is not allowed, or not yet.
    #[error(transparent)]
    Refused(#[from] RotationError),
    /// There are other ones, which are not to be replaced.
    #[error("the cluster has other host keys already; replace them with --replace, and its clients see the change")]
    Exists,
    /// Somebody else changed the keys at the same time; theirs are in force.
    #[error("the host keys were changed by somebody else at the same time; see: tidegate hostkey list")]
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
    /// How many keys a set has at most, whatever their states.
    pub const MAX_KEYS: usize = 16;

    /// Makes a new set. Takes about a second of one core, off the async threads.
    ///
    /// # Errors
    /// [`HostKeyError::Generation`].
    pub async fn generate() -> Result<Self, HostKeyError> {
        let mut keys = Vec::with_capacity(HostKeyAlgorithm::ALL.len());
        for algorithm in HostKeyAlgorithm::ALL {
            keys.push(HostKey::generate(algorithm, KeyState::Active).await?);
        }
        let changed = keys.iter().map(HostKey::created).max().unwrap_or_default();
        Ok(Self { keys, revision: 1, changed, version: None })
    }

    /// The keys of another server, all of them active.
    ///
    /// # Errors
    /// If there are none, or two of one algorithm.
    pub fn imported(keys: Vec<ImportedHostKey>) -> Result<Self, HostKeyFileError> {
        let keys = import::of_one_server(keys)?;
        let changed = keys.iter().map(HostKey::since).max().unwrap_or_default();
        Ok(Self { keys, revision: 1, changed, version: None })
    }

    /// A set that was read.
    ///
    /// # Errors
    /// What is wrong with it.
    fn new(keys: Vec<HostKey>, revision: u64, changed: u64) -> Result<Self, &'static str> {
        let set = Self { keys, revision, changed, version: None };
        if set.keys.len() > Self::MAX_KEYS {
            return Err("it holds too many keys");
        }
        for (n, key) in set.keys.iter().enumerate() {
            let mut before = set.keys.iter().take(n);
            if before.clone().any(|other| other.fingerprint() == key.fingerprint()) {
                return Err("it holds a key twice");
            }
            if key.is_active() && before.any(|other| other.is_active() && other.replaces(key)) {
                return Err("it holds two active keys of one algorithm");
            }
        }
        if set.keys.iter().any(HostKey::is_active) { Ok(set) } else { Err("it holds no active key") }
    }

    /// The keys, those of a new set in the order of [`HostKeyAlgorithm::ALL`], others behind them.
    pub fn keys(&self) -> &[HostKey] {
        &self.keys
    }

    /// The key with this fingerprint, `SHA256:…`.
    pub fn key(&self, fingerprint: &str) -> Option<&HostKey> {
        self.keys.iter().find(|key| key.fingerprint() == fingerprint)
    }

    /// How many keys are in this state.
    pub fn count(&self, state: KeyState) -> usize {
        self.keys.iter().filter(|key| key.state() == state).count()
    }

    /// Counts the changes of the cluster's set, from 1 on. Greater is newer, but for an older object
    /// that an operator has put back. 0 for a set in the first format, which did not count.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// When the set was changed last, in seconds since the Unix epoch; 0 if that is not known.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// The version of the object that it was read from; `None` of a set that was not read.
    pub fn version(&self) -> Option<&ETag> {
        self.version.as_ref()
    }

    /// Algorithm and fingerprint (`SHA256:…`, as OpenSSH prints it) of each key.
    pub fn fingerprints(&self) -> Vec<(String, String)> {
        self.keys.iter().map(|key| (key.algorithm(), key.fingerprint())).collect()
    }

    /// The public keys in OpenSSH's format (`algorithm base64`), for `known_hosts`.
    pub fn public_keys(&self) -> Vec<String> {
        self.keys.iter().map(HostKey::public_key).collect()
    }

    /// The keys to show in key exchange, those on NIST curves only if asked for.
    pub(crate) fn offered(&self, with_ecdsa: bool) -> Vec<PrivateKey> {
        self.keys.iter().filter(|key| key.is_offered(with_ecdsa)).map(|key| key.private().clone()).collect()
    }

    /// Whether both are one set in one state, wherever they come from.
    fn same_as(&self, other: &Self) -> bool {
        self.revision == other.revision
            && self.changed == other.changed
            && self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(one, two)| one.same_as(two))
    }
}

impl std::fmt::Debug for HostKeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostKeySet").field("revision", &self.revision).field("keys", &self.keys).finish_non_exhaustive()
    }
}
