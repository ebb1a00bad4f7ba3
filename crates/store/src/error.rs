//! The one error of every port.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The result of a port's operation.
pub type StoreResult<T> = Result<T, StoreError>;

/// What a caller may branch on. Few on purpose: everything else is for humans, in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The service refused our credentials or our right to the resource.
    AccessDenied,
    /// Bytes or a sealed blob did not match their checksum or authentication tag.
    Corrupt,
    /// The request itself is wrong and would fail again: a bug of ours or a bad configuration.
    InvalidRequest,
    /// There is no such object, upload or item.
    NotFound,
    /// An `If-Match` or `If-None-Match` condition did not hold, or the item exists already.
    PreconditionFailed,
    /// The tenant would take more than it may.
    QuotaExceeded,
    /// The first byte asked for lies at or past the end of the object.
    RangeNotSatisfiable,
    /// The service asked us to slow down.
    Throttled,
    /// A passing fault: time-out, broken connection, 5xx.
    Unavailable,
    /// The store can't do this at all.
    Unsupported,
}

impl StoreErrorKind {
    /// The word used for this kind in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access-denied",
            Self::Corrupt => "corrupt",
            Self::InvalidRequest => "invalid-request",
            Self::NotFound => "not-found",
            Self::PreconditionFailed => "precondition-failed",
            Self::QuotaExceeded => "quota-exceeded",
            Self::RangeNotSatisfiable => "range-not-satisfiable",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }

    /// Whether the same request may succeed later without a change.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable)
    }
}

/// A failure of a durable service: the kind to branch on, the source for the log.
///
/// `Display` names the operation and the kind and never the source, so that no SDK text, bucket
/// name or ARN can reach a client by accident; log the chain with [`StoreError::report`].
///
/// Clones share the source: one failure may reach every caller that waited for the same call.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    source: Option<Arc<dyn Error + Send + Sync + 'static>>,
    retry_after: Option<Duration>,
}

impl StoreError {
    /// A failure of `operation` (the port's method name) of this kind.
    pub fn new(kind: StoreErrorKind, operation: &'static str) -> Self {
        Self { kind, operation, source: None, retry_after: None }
    }

    /// Attaches what the service or the library said.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Attaches how long the service asked us to wait.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What to branch on.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The port's method that failed.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// How long the service asked us to wait, if it said.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The whole chain of causes on one line, for the log and for operators; never for tenants.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.operation, self.kind.as_str())
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
