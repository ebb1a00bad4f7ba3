//! The one error of the file system, and the one place that maps the store's errors to it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tidegate_store::{StoreError, StoreErrorKind};

/// What a session may branch on: each kind maps to one SSH_FX code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FsErrorKind {
    /// There is a file or directory of that name already.
    AlreadyExists,
    /// The file changed in the meantime, under a request that needs it unchanged.
    Conflict,
    /// Bytes were damaged on the way and refused.
    Corrupt,
    /// The directory has entries.
    DirectoryNotEmpty,
    /// A name, path or key that can't exist here.
    InvalidName,
    /// A directory where a file is needed.
    IsADirectory,
    /// A path leads through too many symbolic links.
    LinkLoop,
    /// A quota or the node's scratch space is used up.
    NoSpace,
    /// A file where a directory is needed.
    NotADirectory,
    /// There is no such file or directory.
    NotFound,
    /// The user may not do this.
    PermissionDenied,
    /// The file would get larger than an upload can be, or an answer larger than a packet.
    TooLarge,
    /// A passing fault: the same request may succeed later.
    Unavailable,
    /// Not possible on this server, or not yet.
    Unsupported,
}

impl FsErrorKind {
    /// The word used for this kind in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already-exists",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::DirectoryNotEmpty => "directory-not-empty",
            Self::InvalidName => "invalid-name",
            Self::IsADirectory => "is-a-directory",
            Self::LinkLoop => "link-loop",
            Self::NoSpace => "no-space",
            Self::NotADirectory => "not-a-directory",
            Self::NotFound => "not-found",
            Self::PermissionDenied => "permission-denied",
            Self::TooLarge => "too-large",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A failure of a file operation: the kind to branch on, a message for the tenant, and the cause
/// for the log.
///
/// `Display` is the tenant's message: it says what to do and never names a bucket, a key prefix,
/// an ARN or anything an SDK said. [`FsError::report`] is for the log. Cloning is cheap: a latched
/// error is handed out again and again.
#[derive(Clone, Debug)]
pub struct FsError {
    kind: FsErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<StoreError>>,
}

impl FsError {
    /// An error with its message for the tenant.
    pub fn new(kind: FsErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// What to branch on.
    pub fn kind(&self) -> FsErrorKind {
        self.kind
    }

    /// The whole chain of causes on one line, for the log and for operators; never for tenants.
    pub fn report(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {}", self.message, source.report()),
            None => self.message.clone().into_owned(),
        }
    }

    pub(crate) fn with_source(mut self, source: StoreError) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Takes over the cause of another error, for the log.
    pub(crate) fn caused_by(mut self, other: Self) -> Self {
        self.source = other.source;
        self
    }

    pub(crate) fn not_found() -> Self {
        Self::new(FsErrorKind::NotFound, "no such file or directory")
    }

    pub(crate) fn parent_not_found() -> Self {
        Self::new(FsErrorKind::NotFound, "the parent directory does not exist; make it first")
    }

    pub(crate) fn is_a_directory() -> Self {
        Self::new(FsErrorKind::IsADirectory, "this is a directory")
    }

    pub(crate) fn not_a_directory() -> Self {
        Self::new(FsErrorKind::NotADirectory, "this is not a directory")
    }

    pub(crate) fn already_exists() -> Self {
        Self::new(FsErrorKind::AlreadyExists, "there is a file or directory of that name already")
    }

    pub(crate) fn unsupported(message: &'static str) -> Self {
        Self::new(FsErrorKind::Unsupported, message)
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for FsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// The general mapping. Callers that know more about a condition (what `PreconditionFailed` or
/// `NotFound` means for their request) branch before they come here.
impl From<StoreError> for FsError {
    fn from(error: StoreError) -> Self {
        let (kind, message) = match error.kind() {
            StoreErrorKind::AccessDenied => {
                (FsErrorKind::PermissionDenied, "the server may not access its storage for this; tell its operator")
            }
            StoreErrorKind::Corrupt => {
                (FsErrorKind::Corrupt, "the data was damaged on the way and has been refused; send it again")
            }
            StoreErrorKind::NotFound => (FsErrorKind::NotFound, "no such file or directory"),
            StoreErrorKind::PreconditionFailed => {
                (FsErrorKind::Conflict, "the file was changed by someone else in the meantime; try again")
            }
            StoreErrorKind::QuotaExceeded => (
                FsErrorKind::NoSpace,
                "quota exceeded: all that this account's files may take is used; remove some first",
            ),
            StoreErrorKind::Throttled => (FsErrorKind::Unavailable, "the storage is busy; try again in a while"),
            StoreErrorKind::Unavailable => {
                (FsErrorKind::Unavailable, "the storage can't be reached at the moment; try again")
            }
            StoreErrorKind::Unsupported => {
                (FsErrorKind::Unsupported, "the storage behind this server can't do this; tell its operator")
            }
            // A request that the store refuses, a range past the end where none was expected, and
            // kinds that are not known yet: nothing the tenant can do.
            _ => (FsErrorKind::Unavailable, "the server failed inside; tell its operator"),
        };
        Self::new(kind, message).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [StoreErrorKind; 10] = [
        StoreErrorKind::AccessDenied,
        StoreErrorKind::Corrupt,
        StoreErrorKind::InvalidRequest,
        StoreErrorKind::NotFound,
        StoreErrorKind::PreconditionFailed,
        StoreErrorKind::QuotaExceeded,
        StoreErrorKind::RangeNotSatisfiable,
        StoreErrorKind::Throttled,
        StoreErrorKind::Unavailable,
        StoreErrorKind::Unsupported,
    ];

    #[test]
    fn messages_for_tenants_never_carry_what_the_store_said() {
        for kind in KINDS {
            let secret = "arn:aws:s3:::bucket/tenants/other/ SdkError";
            let error = FsError::from(StoreError::new(kind, "put_part").with_source(secret));
            let shown = error.to_string();
            for leak in ["arn:", "bucket", "tenants/", "Sdk", "put_part"] {
                assert!(!shown.contains(leak), "{shown}");
            }
            assert!(error.report().contains(secret), "the log has the cause: {}", error.report());
        }
    }

    #[test]
    fn passing_faults_of_the_store_are_unavailable() {
        for kind in KINDS.into_iter().filter(|kind| kind.is_transient()) {
            assert_eq!(FsError::from(StoreError::new(kind, "get")).kind(), FsErrorKind::Unavailable);
        }
    }
}
