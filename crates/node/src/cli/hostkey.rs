//! `tidegate hostkey …` on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use humantime_serde::re::humantime::parse_duration;
use tidegate_ssh::HostKeyAlgorithm;

use super::AdminArgs;

/// `tidegate hostkey`
#[derive(Args, Clone, Debug)]
pub struct HostkeyArgs {
    /// Configuration and output.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// What to do with the host keys.
    #[command(subcommand)]
    pub action: HostkeyAction,
}

/// What to do with the host keys.
#[derive(Clone, Debug, Subcommand)]
pub enum HostkeyAction {
    /// Make the cluster's host keys, unless it has some already
    Init,
    /// Make the host keys of another server the cluster's, so that its clients see no change
    Import {
        /// Files with private keys, such as /etc/ssh/ssh_host_ed25519_key; one of each algorithm
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Replace the host keys that the cluster has; nodes use the new ones within
        /// host_keys.refresh_interval
        #[arg(long)]
        replace: bool,
    },
    /// Print fingerprints and public keys
    Show,
    /// List the host keys with their states: announced, active or retired
    List,
    /// Make a new host key and announce it: nodes don't show it to clients yet
    Add {
        /// The algorithm
        #[arg(long, value_enum, default_value_t = KeyType::Ed25519)]
        algorithm: KeyType,
        /// How long clients get to learn the key before it may be activated: 30d, 12h, 0s
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_duration)]
        announce_for: Duration,
    },
    /// Let nodes show a key to clients, in place of the active one of its algorithm, which is retired
    Activate(KeyStep),
    /// Let nodes show a key no longer, and none of its algorithm in its place
    Retire(KeyStep),
    /// Forget a key that is announced or retired
    Remove(KeyStep),
    /// Replace all host keys by new ones at once, because they leaked or are lost: clients that know
    /// the old ones refuse to connect within host_keys.refresh_interval
    Rotate {
        /// Do it, although every client will refuse to connect until it knows a new key
        #[arg(long)]
        force: bool,
    },
}

/// A step in the life of one key.
#[derive(Args, Clone, Debug)]
pub struct KeyStep {
    /// The key's fingerprint, as `hostkey list` shows it: SHA256:…
    #[arg(value_name = "FINGERPRINT")]
    pub fingerprint: String,
    /// Do it although clients may refuse to connect
    #[arg(long)]
    pub force: bool,
}

/// The algorithms of new host keys, by the names that ssh-keygen has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyType {
    /// Ed25519
    Ed25519,
    /// ECDSA on P-256, which nodes show with ssh.ecdsa_host_key alone
    Ecdsa,
    /// RSA with 3,072 bits
    Rsa,
}

impl From<KeyType> for HostKeyAlgorithm {
    fn from(of: KeyType) -> Self {
        match of {
            KeyType::Ed25519 => Self::Ed25519,
            KeyType::Ecdsa => Self::EcdsaP256,
            KeyType::Rsa => Self::Rsa,
        }
    }
}
