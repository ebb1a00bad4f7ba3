//! `tidegate tenant …` on the command line.

use clap::{Args, Subcommand};
use tidegate_store::{KeyPrefix, TenantName};

use super::AdminArgs;
use crate::limits::{LimitArgs, LimitChangeArgs};

/// `tidegate tenant`
#[derive(Args, Clone, Debug)]
pub struct TenantArgs {
    /// Configuration and output.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// What to do with tenants.
    #[command(subcommand)]
    pub action: TenantAction,
}

/// What to do with tenants.
#[derive(Clone, Debug, Subcommand)]
pub enum TenantAction {
    /// Add a tenant
    Add {
        /// The tenant's name: a-z, 0-9 and -
        name: TenantName,
        /// The S3 bucket that holds its files
        #[arg(long)]
        bucket: String,
        /// Where in the bucket they lie, ending in "/"; without it the whole bucket
        #[arg(long, default_value = "")]
        prefix: KeyPrefix,
        /// What it may use
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// List all tenants
    List,
    /// Show one tenant
    Show {
        /// The tenant's name
        name: TenantName,
    },
    /// Change what a tenant may use; limits that are not named stay
    Set {
        /// The tenant's name
        name: TenantName,
        /// What to change
        #[command(flatten)]
        limits: LimitChangeArgs,
    },
    /// Count what the tenant's files take by listing them all, and set the counters right; nodes do
    /// so once a day for tenants with a quota
    Recount {
        /// The tenant's name
        name: TenantName,
    },
    /// Refuse logins of the tenant's users; files, users and keys stay
    Disable {
        /// The tenant's name
        name: TenantName,
    },
    /// Let the tenant's users log in again
    Enable {
        /// The tenant's name
        name: TenantName,
    },
}
