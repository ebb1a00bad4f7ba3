//! `tidegate user …` on the command line.

use clap::{Args, Subcommand};
use tidegate_store::{TenantName, UserName};

use super::AdminArgs;
use crate::access::AccessArgs;
use crate::expiry::Expiry;

/// `tidegate user`
#[derive(Args, Clone, Debug)]
pub struct UserArgs {
    /// Configuration and output.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// What to do with users.
    #[command(subcommand)]
    pub action: UserAction,
}

/// What to do with users.
#[derive(Clone, Debug, Subcommand)]
pub enum UserAction {
    /// Add a user
    Add {
        /// The login name, unique in the cluster
        name: UserName,
        /// Whose files the user sees
        #[arg(long)]
        tenant: TenantName,
        /// Public keys that open the account
        #[command(flatten)]
        keys: KeyArgs,
        /// What the user sees and may do; without it, everything
        #[command(flatten)]
        access: AccessArgs,
    },
    /// List users
    List {
        /// Only this tenant's users
        #[arg(long)]
        tenant: Option<TenantName>,
    },
    /// Show one user with keys and permissions
    Show {
        /// The login name
        name: UserName,
    },
    /// Change what a user sees and may do; what is not named stays
    #[command(mut_group("AccessArgs", |group| group.required(true)))]
    Set {
        /// The login name
        name: UserName,
        /// What to change
        #[command(flatten)]
        access: AccessArgs,
    },
    /// Refuse the user's logins; keys and files stay
    Disable {
        /// The login name
        name: UserName,
    },
    /// Let the user log in again
    Enable {
        /// The login name
        name: UserName,
    },
    /// Remove a user and the user's keys; files stay
    Remove {
        /// The login name
        name: UserName,
    },
    /// A user's public keys
    Key(UserKeyArgs),
}

/// `tidegate user key`
#[derive(Args, Clone, Debug)]
pub struct UserKeyArgs {
    /// What to do with a user's keys.
    #[command(subcommand)]
    pub action: UserKeyAction,
}

/// What to do with a user's keys.
#[derive(Clone, Debug, Subcommand)]
pub enum UserKeyAction {
    /// Add public keys
    Add {
        /// The login name
        name: UserName,
        /// Public keys that open the account
        #[command(flatten)]
        keys: KeyArgs,
    },
    /// List the keys
    List {
        /// The login name
        name: UserName,
    },
    /// Remove a key
    Remove {
        /// The login name
        name: UserName,
        /// The key's id, as `user key list` shows it: SHA256:…
        id: String,
    },
}

/// Public keys on the command line.
#[derive(Args, Clone, Debug)]
pub struct KeyArgs {
    /// A file with public keys in OpenSSH's format, one per line; - for standard input, or the key
    /// itself ("ssh-ed25519 AAAA… comment"). May be given several times
    #[arg(long = "key", value_name = "FILE|-|KEY")]
    pub sources: Vec<String>,
    /// From when on these keys open nothing any more: a time by RFC 3339 (2027-01-31T12:00:00Z), a
    /// date (its midnight in UTC), or a number of days from now (90d)
    #[arg(long = "key-expires", value_name = "WHEN")]
    pub expires: Option<Expiry>,
}
