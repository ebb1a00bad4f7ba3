//! Why a command failed, in words for the administrator.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tidegate_aws::ConnectError;
use tidegate_ssh::{HostKeyError, HostKeyFileError, PublicKeyError};
use tidegate_store::{InvalidAccess, StoreError, StoreErrorKind};

use crate::expiry::Expired;
use crate::host_keys::LocationError;

/// Why a command failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A node or another administrator counts the tenant's files already.
    #[error("the files of the tenant \"{0}\" are being counted already; see: tidegate tenant show {0}")]
    Counting(String),
    /// No node would offer what is imported.
    #[error("these host keys are ECDSA alone, which nodes offer with ssh.ecdsa_host_key = true only")]
    EcdsaAlone,
    /// There is one of that name.
    #[error("the {what} \"{name}\" exists already")]
    Exists {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A key's end lies in the past.
    #[error(transparent)]
    Expired(#[from] Expired),
    /// Sessions would start where the user sees nothing.
    #[error(
        "the home \"{home}\" of the user \"{user}\" lies in none of the directories that are mapped; give another \
         with --home, such as /"
    )]
    HiddenHome {
        /// The home.
        home: String,
        /// Whose.
        user: String,
    },
    /// The home is no path.
    #[error("the home \"{0}\" is no absolute path in the tenant's files, such as / or /incoming")]
    Home(String),
    /// The host keys would be a tenant's file.
    #[error(
        "the host keys' object s3://{bucket}/{key} lies among the files of the tenant \"{tenant}\", whose users could \
         read, replace and remove it; set host_keys.bucket or host_keys.key to a place that no tenant's prefix covers"
    )]
    HostKeysExposed {
        /// The tenant's name.
        tenant: String,
        /// The bucket.
        bucket: String,
        /// The object.
        key: String,
    },
    /// A file with a host key.
    #[error("the host key file {} is not imported", .path.display())]
    HostKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: HostKeyFileError,
    },
    /// Files with host keys that don't go together.
    #[error("these host keys are not imported")]
    HostKeyFiles(#[source] HostKeyFileError),
    /// Host keys.
    #[error(transparent)]
    HostKeys(#[from] HostKeyError),
    /// What seals the host keys, or where they lie.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A service failed while an import was written.
    #[error(
        "{done} of {all} users are written, the others are not, or not for certain (see above); run the same command \
         again: it goes on from there"
    )]
    ImportCut {
        /// How many are written.
        done: usize,
        /// How many there are to write.
        all: usize,
        /// What failed.
        source: Box<CommandError>,
    },
    /// A line that is no acceptable key.
    #[error("{place} is no acceptable public key")]
    Key {
        /// The file and line.
        place: String,
        /// What is wrong with it.
        source: PublicKeyError,
    },
    /// What is to be mapped can't be.
    #[error("the mappings in {place} can't be used: {problem}")]
    Mappings {
        /// The file.
        place: String,
        /// What is wrong with them.
        problem: String,
    },
    /// No key was given.
    #[error("no key is given: name a file, - for standard input, or the key itself with --key")]
    NoKey,
    /// The file holds no key.
    #[error("there is no public key in {0}")]
    NoKeyIn(String),
    /// There is none of that name.
    #[error("there is no {what} \"{name}\"; see: {see}")]
    NotFound {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// The command that lists what there is.
        see: String,
    },
    /// What is to be imported has errors.
    #[error("nothing is written; errors (see above): {errors}")]
    NotImported {
        /// How many.
        errors: usize,
    },
    /// The output can't be written.
    #[error("the output can't be written")]
    Output(#[from] io::Error),
    /// The tenant's files would be another's too.
    #[error(
        "the prefix \"{prefix}\" in bucket {bucket} overlaps with {other}: no tenant's files may lie among \
         another's; choose another prefix"
    )]
    Overlap {
        /// What was asked for.
        prefix: String,
        /// The bucket.
        bucket: String,
        /// What is there.
        other: String,
    },
    /// Some probes failed.
    #[error("{failed} of {all} checks failed")]
    Probes {
        /// How many failed.
        failed: usize,
        /// How many were made.
        all: usize,
    },
    /// A key file can't be read.
    #[error("the key file {} can't be read", .path.display())]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// AWS, or what stands in for it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// All keys at once, without `--force`.
    #[error(
        "this replaces all host keys at once, and every client that knows the cluster refuses to connect until it is told \
         the new ones: add --force for keys that leaked or are lost. To rotate without that, see: tidegate hostkey add \
         --help"
    )]
    RotateAll,
    /// Rules that contradict one another.
    #[error("the rules of --permission can't be used")]
    Rules(#[source] InvalidAccess),
    /// A durable service said no.
    #[error("{action} failed{}", Hint(.source.kind()))]
    Store {
        /// What was tried.
        action: String,
        /// What it said.
        source: StoreError,
    },
    /// Nodes could not reach its files.
    #[error("nodes could not reach the files of the tenant \"{name}\"")]
    TenantFiles {
        /// The tenant.
        name: String,
        /// Why.
        source: StoreError,
    },
    /// More keys than a user may have.
    #[error("the user \"{user}\" would have more than {max} keys; remove some first: tidegate user key remove")]
    TooManyKeys {
        /// Whose.
        user: String,
        /// The limit.
        max: usize,
    },
    /// More users than one run imports.
    #[error("these are {users} users, and one run takes {max}; divide them with --user, or the files")]
    TooManyUsers {
        /// How many.
        users: usize,
        /// The limit.
        max: usize,
    },
}

impl CommandError {
    /// A durable service refused `action`, which reads as "adding the tenant acme".
    pub(super) fn store(action: impl Into<String>, source: StoreError) -> Self {
        Self::Store { action: action.into(), source }
    }

    /// There is no such tenant.
    pub(super) fn no_tenant(name: impl ToString) -> Self {
        Self::NotFound { what: "tenant", name: name.to_string(), see: "tidegate tenant list".to_owned() }
    }

    /// There is no such user.
    pub(super) fn no_user(name: impl ToString) -> Self {
        Self::NotFound { what: "user", name: name.to_string(), see: "tidegate user list".to_owned() }
    }

    /// Whether the reader of the output went away, as `head` does: no failure of ours.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What to do about a refusal.
struct Hint(StoreErrorKind);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            StoreErrorKind::AccessDenied => " (check the credentials and what the role may do)",
            StoreErrorKind::InvalidRequest => {
                " (check aws.table and aws.region; a table that does not exist yet is made by: tidegate init)"
            }
            StoreErrorKind::Throttled | StoreErrorKind::Unavailable => {
                " (check the network and aws.endpoints, and try again)"
            }
            _ => "",
        })
    }
}

/// An error with the chain of its causes, on one line.
#[derive(Debug)]
pub struct Failure<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors tell their causes in their own text.
            if !said.contains(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
            cause = error.source();
        }
        f.write_str(&said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_of_causes_is_told_once_each() {
        let cause = StoreError::new(StoreErrorKind::AccessDenied, "create_tenant")
            .with_source("the table tidegate: no right to PutItem");
        let error = CommandError::store("adding the tenant acme", cause);
        assert_eq!(
            Failure(&error).to_string(),
            "adding the tenant acme failed (check the credentials and what the role may do): create_tenant failed: \
             access-denied: the table tidegate: no right to PutItem"
        );
        let wrapped = CommandError::Output(io::Error::other("disk full"));
        assert_eq!(Failure(&wrapped).to_string(), "the output can't be written: disk full");
    }
}
