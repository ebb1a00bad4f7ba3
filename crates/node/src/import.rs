//! What to import and from where, as given on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tidegate_store::TenantName;

use crate::access::PermissionList;
use crate::cli::AdminArgs;

/// `tidegate import`
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Configuration and output.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Where the users come from.
    #[command(subcommand)]
    pub source: ImportSource,
}

/// Where users come from.
#[derive(Clone, Debug, Subcommand)]
pub enum ImportSource {
    /// Import users of a passwd file and the keys of their authorized_keys files
    Passwd(PasswdArgs),
    /// Import users of AWS Transfer Family, as "aws transfer describe-user" prints them
    TransferFamily(TransferArgs),
}

/// What holds for every source.
#[derive(Args, Clone, Debug, Default)]
pub struct ImportOptions {
    /// Check everything and print the plan; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Add keys to users that exist already with the same tenant, home, permissions and mappings
    #[arg(long)]
    pub update: bool,
    /// Only this user. May be given several times
    #[arg(long = "user", value_name = "NAME", value_delimiter = ',')]
    pub users: Vec<String>,
    /// Not this user. May be given several times
    #[arg(long = "exclude", value_name = "NAME", value_delimiter = ',')]
    pub excluded: Vec<String>,
    /// What all of them may do: "all", "none" or a list as with user add
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub permissions: Option<PermissionList>,
    /// Options of authorized_keys to ignore, such as "from,command": their keys are imported
    /// without these restrictions
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub ignore_options: Vec<String>,
    /// Leave out keys that can't be taken, in place of importing nothing
    #[arg(long)]
    pub skip_keys: bool,
    /// Let several users have the same key
    #[arg(long)]
    pub allow_shared_keys: bool,
}

/// `tidegate import passwd`
#[derive(Args, Clone, Debug)]
pub struct PasswdArgs {
    /// What holds for every source.
    #[command(flatten)]
    pub options: ImportOptions,
    /// The passwd file; - for standard input, such as from getent passwd
    #[arg(long, value_name = "FILE|-")]
    pub passwd: PathBuf,
    /// Where a user's keys lie, as sshd's AuthorizedKeysFile: %u is the user's name, %h the home of
    /// the passwd file, %U the user's number, %% is %. May be given several times
    #[arg(long, value_name = "TEMPLATE", required = true)]
    pub keys: Vec<String>,
    /// Whose files the users see
    #[arg(long)]
    pub tenant: TenantName,
    /// The directory of the tenant's files that a user sees as /, with %u, %h and %U; without it,
    /// users see all of the tenant's files
    #[arg(long, value_name = "TEMPLATE")]
    pub root: Option<String>,
    /// Where sessions start, as the user sees it, with %u, %h and %U
    #[arg(long, value_name = "TEMPLATE", default_value = "/")]
    pub home: String,
    /// What is taken from the front of the homes in the passwd file for %h in --root and --home
    #[arg(long, value_name = "DIR")]
    pub home_base: Option<String>,
    /// Leave out users with smaller numbers
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub min_uid: u32,
    /// Leave out users with greater numbers
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub max_uid: u32,
    /// Only members of this group, by name or number. May be given several times
    #[arg(long = "group", value_name = "GROUP", value_delimiter = ',')]
    pub groups: Vec<String>,
    /// The group file that tells who is in the groups of --group
    #[arg(long, value_name = "FILE", requires = "groups")]
    pub group_file: Option<PathBuf>,
    /// Take users whose shell is nologin or false, too: they had SFTP if sshd forced internal-sftp
    #[arg(long)]
    pub include_nologin: bool,
    /// Take users without keys, too
    #[arg(long)]
    pub include_keyless: bool,
}

/// `tidegate import transfer-family`
#[derive(Args, Clone, Debug)]
pub struct TransferArgs {
    /// What holds for every source.
    #[command(flatten)]
    pub options: ImportOptions,
    /// Files with what "aws transfer describe-user" printed, one or many users in each, and
    /// "list-users", to check that none is missing; - for standard input
    #[arg(value_name = "FILE|-", required = true)]
    pub files: Vec<PathBuf>,
    /// Refuse users whose files are not this tenant's
    #[arg(long)]
    pub tenant: Option<TenantName>,
    /// Show users with the home directory type PATH their home as /, in place of under its path in
    /// S3, which is what they saw
    #[arg(long)]
    pub home_as_root: bool,
    /// Import users with a session policy without what it restricts
    #[arg(long)]
    pub ignore_policies: bool,
}
