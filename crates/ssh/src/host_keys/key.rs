//! One host key and what it is used for.

use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::PrivateKey;
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};

use super::HostKeyError;

/// The size of a new RSA key: NIST SP 800-57 puts 3,072 bits level with the other two algorithms.
const RSA_BITS: usize = 3072;

/// The algorithms that host keys are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKeyAlgorithm {
    /// Ed25519.
    Ed25519,
    /// ECDSA on the curve P-256.
    EcdsaP256,
    /// RSA with 3,072 bits.
    Rsa,
}

impl HostKeyAlgorithm {
    /// All of them, in the order in which clients should prefer them.
    pub const ALL: [Self; 3] = [Self::Ed25519, Self::EcdsaP256, Self::Rsa];
}

/// What a host key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Made known to clients, and not yet shown in key exchange.
    Announced,
    /// Shown in key exchange.
    Active,
    /// No longer shown in key exchange, and kept so that it can be made active again.
    Retired,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Announced, Self::Active, Self::Retired];

    /// The state in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

/// A private host key with its state. Wiped from memory on drop; shows in no `Debug`.
#[derive(Clone)]
pub struct HostKey {
    private: PrivateKey,
    state: KeyState,
    times: Times,
}

/// When what happened to a key, each in seconds since the Unix epoch, 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// The key was made.
    pub(super) created: u64,
    /// It came into its state.
    pub(super) since: u64,
    /// From when on it may become active, of an announced key.
    pub(super) ready: u64,
}

impl HostKey {
    /// Makes a new key, off the async threads: RSA takes about a second of one core.
    ///
    /// # Errors
    /// [`HostKeyError::Generation`].
    pub async fn generate(algorithm: HostKeyAlgorithm, state: KeyState) -> Result<Self, HostKeyError> {
        let now = now();
        let private = tokio::task::spawn_blocking(move || generate_blocking(algorithm))
            .await
            .map_err(|error| HostKeyError::Generation(error.to_string()))?
            .map_err(|error| HostKeyError::Generation(error.to_string()))?;
        Ok(Self { private, state, times: Times { created: now, since: now, ready: 0 } })
    }

    /// A key that was read.
    ///
    /// # Errors
    /// If its algorithm is none that can be offered.
    pub(super) fn new(private: PrivateKey, state: KeyState, times: Times) -> Result<Self, &'static str> {
        match private.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(Self { private, state, times }),
            _ => Err("it holds a key of an algorithm that is not offered"),
        }
    }

    /// The algorithm's name in SSH: `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`.
    pub fn algorithm(&self) -> String {
        self.private.algorithm().to_string()
    }

    /// `SHA256:…`, as OpenSSH prints it.
    pub fn fingerprint(&self) -> String {
        self.private.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The public key in OpenSSH's format, `algorithm base64`, and a comment if it has one.
    pub fn public_key(&self) -> String {
        // Fails for no key that was read or made: only memory is written to.
        self.private.public_key().to_openssh().unwrap_or_default()
    }

    /// What it is used for.
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// When it was made, in seconds since the Unix epoch; 0 if that is not known.
    pub fn created(&self) -> u64 {
        self.times.created
    }

    /// When it came into its state, in seconds since the Unix epoch; 0 if that is not known.
    pub fn since(&self) -> u64 {
        self.times.since
    }

    /// From when on an announced key may become active, in seconds since the Unix epoch.
    pub fn ready(&self) -> Option<u64> {
        (self.state == KeyState::Announced).then_some(self.times.ready)
    }

    pub(super) fn private(&self) -> &PrivateKey {
        &self.private
    }

    pub(super) fn times(&self) -> Times {
        self.times
    }

    pub(super) fn is_active(&self) -> bool {
        self.state == KeyState::Active
    }

    /// Whether nodes show it in key exchange, given whether they show keys on NIST curves.
    pub(super) fn is_offered(&self, with_ecdsa: bool) -> bool {
        self.is_active() && (with_ecdsa || !self.private.algorithm().is_ecdsa())
    }

    /// Whether key exchange can show only one of the two.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.private.algorithm() == other.private.algorithm()
    }

    /// Brings it into another state.
    pub(super) fn become_at(&mut self, state: KeyState, now: u64) {
        self.state = state;
        self.times = Times { since: now, ready: 0, ..self.times };
    }

    /// Announces it until `ready`.
    pub(super) fn announce_at(&mut self, now: u64, ready: u64) {
        self.become_at(KeyState::Announced, now);
        self.times.ready = ready;
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.state == other.state && self.times == other.times && self.fingerprint() == other.fingerprint()
    }
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (algorithm, fingerprint) = (self.algorithm(), self.fingerprint());
        write!(f, "{algorithm} {fingerprint} {}", self.state.as_str())
    }
}

fn generate_blocking(algorithm: HostKeyAlgorithm) -> Result<PrivateKey, ssh_key::Error> {
    let rng = &mut rand::rng();
    match algorithm {
        HostKeyAlgorithm::Ed25519 => PrivateKey::random(rng, Algorithm::Ed25519),
        HostKeyAlgorithm::EcdsaP256 => PrivateKey::random(rng, Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }),
        HostKeyAlgorithm::Rsa => PrivateKey::new(KeypairData::from(RsaKeypair::random(rng, RSA_BITS)?), ""),
    }
}

/// Seconds since the Unix epoch; 0 if the clock stands before it.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
