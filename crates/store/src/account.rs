//! Tenants, users and their keys, and the ports that read and administer them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::access::{Mappings, PermissionRules, UserChange};
use crate::error::StoreResult;
use crate::tenant_limits::{TenantLimits, TenantLimitsChange};

/// Why a text is no valid name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} \"{text}\" is not valid: {rule}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { what: $what, text: text.escape_debug().take(128).collect(), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name a user logs in with, unique in the cluster. The same rule as AWS Transfer Family's
    /// user names (`CreateUser`, `UserName`): `[\w][\w@.-]{2,99}`, in ASCII.
    UserName,
    "user name",
    "it takes 3 to 100 characters of a-z, A-Z, 0-9, _, @, . and -, the first a letter, digit or _",
    |text| {
        (3..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_@.-".contains(&b))
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    }
);

name_type!(
    /// The name of a tenant, unique in the cluster.
    TenantName,
    "tenant name",
    "it takes 2 to 63 characters of a-z, 0-9 and -, the first and last a letter or digit",
    |text| {
        (2..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    }
);

name_type!(
    /// The part of a bucket that belongs to a tenant: empty for the whole bucket, else a text
    /// that ends in `/`. No tenant's prefix may lie inside another's.
    KeyPrefix,
    "prefix",
    "it must be empty or end in \"/\", not begin with \"/\", hold no empty, \".\" or \"..\" \
     component and take at most 512 bytes",
    |text| {
        text.is_empty()
            || (text.len() <= 512
                && text.ends_with('/')
                && !text.contains('\0')
                && text
                    .strip_suffix('/')
                    .is_some_and(|path| path.split('/').all(|name| !matches!(name, "" | "." | ".."))))
    }
);

name_type!(
    /// A directory as a user sees it, or in a tenant's files: `/`, or `/` and names joined by `/`.
    DirectoryPath,
    "path",
    "it must be \"/\", or begin with \"/\" and hold names of 1 to 255 bytes joined by \"/\", none of them \
     \".\" or \"..\", and take at most 1024 bytes",
    |text| {
        text == "/"
            || (text.len() <= 1024
                && !text.contains('\0')
                && text.strip_prefix('/').is_some_and(|names| {
                    names.split('/').all(|name| !matches!(name, "" | "." | "..") && name.len() <= 255)
                }))
    }
);

/// Whether a tenant or a user may log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// May log in.
    #[default]
    Active,
    /// May not log in; data and keys stay.
    Disabled,
}

/// A customer: a part of a bucket, shared by its users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The tenant's name.
    pub name: TenantName,
    /// Whether its users may log in.
    pub status: Status,
    /// The S3 bucket.
    pub bucket: String,
    /// Where in the bucket its files lie.
    pub prefix: KeyPrefix,
    /// What it may use.
    pub limits: TenantLimits,
    /// When it was made, in seconds since the Unix epoch.
    pub created: u64,
}

/// One thing a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Remove files and empty directories.
    Delete,
    /// List directories and see attributes.
    List,
    /// Make directories.
    Mkdir,
    /// Replace or change existing files.
    Overwrite,
    /// Read files.
    Read,
    /// Rename files and directories.
    Rename,
    /// Change modes, owners and times.
    SetAttributes,
    /// Make symbolic links.
    Symlink,
    /// Create files.
    Write,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 9] = [
        Self::Delete,
        Self::List,
        Self::Mkdir,
        Self::Overwrite,
        Self::Read,
        Self::Rename,
        Self::SetAttributes,
        Self::Symlink,
        Self::Write,
    ];

    /// The word for it in the schema and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::List => "list",
            Self::Mkdir => "mkdir",
            Self::Overwrite => "overwrite",
            Self::Read => "read",
            Self::Rename => "rename",
            Self::SetAttributes => "set-attributes",
            Self::Symlink => "symlink",
            Self::Write => "write",
        }
    }
}

impl FromStr for Permission {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == text).ok_or_else(|| InvalidName {
            what: "permission",
            text: text.escape_debug().take(128).collect(),
            rule: "it is one of delete, list, mkdir, overwrite, read, rename, set-attributes, symlink, write",
        })
    }
}

/// What a user may do.
pub type Permissions = BTreeSet<Permission>;

/// A public key that opens a user's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizedKey {
    /// Names the key for administration: its SHA-256 fingerprint as OpenSSH prints it
    /// (`SHA256:…`, 43 characters of unpadded base64 behind the colon).
    pub id: String,
    /// Algorithm and base64 blob in OpenSSH's format, without comment: `ssh-ed25519 AAAA…`.
    pub key: String,
    /// Free text, may be empty.
    pub comment: String,
    /// When it was added, in seconds since the Unix epoch.
    pub added: u64,
    /// From when on it opens nothing any more, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// A login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The login name.
    pub name: UserName,
    /// Whose files the user sees.
    pub tenant: TenantName,
    /// Whether the user may log in.
    pub status: Status,
    /// The directory where sessions start, an absolute path as the user sees it.
    pub home: String,
    /// What the user may do where no rule says otherwise.
    pub permissions: Permissions,
    /// What the user may do in some directories.
    #[serde(default)]
    pub rules: PermissionRules,
    /// Which of the tenant's directories the user sees, and where; all as they are without any.
    #[serde(default)]
    pub mappings: Mappings,
    /// Sessions at once, over all nodes; as many as the tenant may have without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Whether READDIR also shows files that are being uploaded or were cut, as STAT does.
    #[serde(default)]
    pub lists_uploads: bool,
    /// The keys that open the account, at most [`User::MAX_KEYS`].
    pub keys: Vec<AuthorizedKey>,
    /// When it was made, in seconds since the Unix epoch.
    pub created: u64,
}

impl User {
    /// The greatest number of keys per user: keeps the item far below DynamoDB's 400 KB with the
    /// largest RSA keys.
    pub const MAX_KEYS: usize = 50;

    /// The greatest number of users that are added at once: two writes each and a check stay far
    /// below the 100 actions of a DynamoDB transaction. Its 4 MB are a matter for the caller: only
    /// users with dozens of the largest keys come near.
    pub const MAX_BATCH: usize = 24;

    /// Whether these may be added at once to `tenant` ([`Directory::create_users`]), apart from what
    /// is there already; else why not.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn check_batch(tenant: &TenantName, users: &[Self]) -> Result<(), &'static str> {
        let mut names: Vec<_> = users.iter().map(|user| &user.name).collect();
        names.sort_unstable();
        names.dedup();
        if users.len() > Self::MAX_BATCH {
            Err("they are too many at once")
        } else if names.len() < users.len() {
            Err("a name comes twice")
        } else if users.iter().any(|user| user.tenant != *tenant) {
            Err("one of them is another tenant's")
        } else if users.iter().any(|user| user.keys.len() > Self::MAX_KEYS) {
            Err("one of them has too many keys")
        } else {
            Ok(())
        }
    }
}

/// A user with the tenant it belongs to: all that a session needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The login.
    pub user: User,
    /// Its tenant.
    pub tenant: Tenant,
}

impl Account {
    /// Whether both the user and the tenant are active.
    pub fn is_active(&self) -> bool {
        self.user.status == Status::Active && self.tenant.status == Status::Active
    }
}

/// Looks up who may log in. On the login path: one call per login, cached by
/// [`crate::cached::CachedAccounts`].
#[async_trait]
pub trait Accounts: fmt::Debug + Send + Sync {
    /// The account of a user name, disabled ones included; `None` if there is no such user.
    ///
    /// # Errors
    /// A transient kind, or `AccessDenied`. A user whose tenant is missing is `None`.
    async fn lookup(&self, user: &UserName) -> StoreResult<Option<Arc<Account>>>;
}

/// One page of names or records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The records, ordered by name.
    pub items: Vec<T>,
    /// Asks for the page behind this one; `None` on the last.
    pub next: Option<String>,
}

/// Administers tenants, users and keys. Every change is one atomic write: two administrators at
/// once never lose one another's keys.
///
/// Every implementation passes [`crate::conformance::directory`], which also checks that its
/// [`Accounts`] sees each change.
#[async_trait]
pub trait Directory: Accounts {
    /// Adds a tenant.
    ///
    /// # Errors
    /// `PreconditionFailed` if the name is taken.
    async fn create_tenant(&self, tenant: &Tenant) -> StoreResult<()>;

    /// One tenant, if it exists.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn tenant(&self, name: &TenantName) -> StoreResult<Option<Tenant>>;

    /// One page of all tenants, behind `after` ([`Page::next`]).
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn tenants(&self, after: Option<&str>) -> StoreResult<Page<Tenant>>;

    /// Changes what a tenant may use; limits that the change does not name stay.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    async fn set_tenant_limits(&self, name: &TenantName, change: &TenantLimitsChange) -> StoreResult<()>;

    /// Enables or disables a tenant.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    async fn set_tenant_status(&self, name: &TenantName, status: Status) -> StoreResult<()>;

    /// Adds a user.
    ///
    /// # Errors
    /// `PreconditionFailed` if the name is taken; `NotFound` if the tenant does not exist.
    async fn create_user(&self, user: &User) -> StoreResult<()>;

    /// Adds users of one tenant: all of them or none. At most [`User::MAX_BATCH`], each with a name of
    /// its own and at most [`User::MAX_KEYS`] keys.
    ///
    /// # Errors
    /// `PreconditionFailed` if one of the names is taken; `NotFound` if the tenant does not exist;
    /// `InvalidRequest` if they are too many, of another tenant, or have too many keys.
    async fn create_users(&self, tenant: &TenantName, users: &[User]) -> StoreResult<()>;

    /// One user, if it exists.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn user(&self, name: &UserName) -> StoreResult<Option<User>>;

    /// One page of a tenant's users, behind `after` ([`Page::next`]).
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn users(&self, tenant: &TenantName, after: Option<&str>) -> StoreResult<Page<User>>;

    /// Changes what a user sees and may do; what the change does not name stays.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    async fn set_user(&self, name: &UserName, change: &UserChange) -> StoreResult<()>;

    /// Enables or disables a user.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    async fn set_user_status(&self, name: &UserName, status: Status) -> StoreResult<()>;

    /// Removes a user and its keys; files stay.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    async fn remove_user(&self, name: &UserName) -> StoreResult<()>;

    /// Adds a key to a user.
    ///
    /// # Errors
    /// `NotFound` if there is no such user; `PreconditionFailed` if the key is there already or
    /// the user has [`User::MAX_KEYS`].
    async fn add_key(&self, name: &UserName, key: &AuthorizedKey) -> StoreResult<()> {
        self.add_keys(name, std::slice::from_ref(key)).await
    }

    /// Adds different keys to a user: all of them or, in case of an error, none.
    ///
    /// # Errors
    /// `NotFound` if there is no such user; `PreconditionFailed` if one of the keys is there already or
    /// the user would have more than [`User::MAX_KEYS`].
    async fn add_keys(&self, name: &UserName, keys: &[AuthorizedKey]) -> StoreResult<()>;

    /// Removes a key from a user.
    ///
    /// # Errors
    /// `NotFound` if there is no such user or key.
    async fn remove_key(&self, name: &UserName, key_id: &str) -> StoreResult<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_follow_the_rule_of_aws_transfer() {
        for good in ["bob", "_ab", "a.b@c-d", "0ab", &"x".repeat(100)] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", "ab", "-ab", ".ab", "@ab", "a b", "bób", "a/b", "a\0b", &"x".repeat(101)] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_name_whole_directories() {
        for good in ["", "a/", "tenants/demo/", "a b/ü/"] {
            assert!(good.parse::<KeyPrefix>().is_ok(), "{good}");
        }
        for bad in ["/", "a", "/a/", "a//b/", "a/../b/", "./", "../"] {
            assert!(bad.parse::<KeyPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn permissions_have_one_spelling() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(permission));
        }
        assert!("Read".parse::<Permission>().is_err());
    }
}
