//! What clients are told when the store does not take an upload.

use tidegate_store::{Condition, StoreError, StoreErrorKind};

use crate::error::{FsError, FsErrorKind};

/// What a failed completion or put means for the client.
pub(crate) fn publish_error(condition: &Condition, error: StoreError) -> FsError {
    match (error.kind(), condition) {
        (StoreErrorKind::PreconditionFailed, Condition::IfAbsent) => FsError::new(
            FsErrorKind::AlreadyExists,
            "a file of that name was made by someone else in the meantime; choose another name or replace it",
        )
        .with_source(error),
        (StoreErrorKind::PreconditionFailed, _) => FsError::new(
            FsErrorKind::Conflict,
            "the file was changed by someone else while it was being written; nothing was stored, upload it again",
        )
        .with_source(error),
        _ => upload_error(error),
    }
}

/// What a failed request on an upload means for the client.
pub(super) fn upload_error(error: StoreError) -> FsError {
    match error.kind() {
        StoreErrorKind::NotFound => {
            FsError::new(FsErrorKind::Conflict, "the upload was removed from the storage; upload the file again")
                .with_source(error)
        }
        _ => error.into(),
    }
}

/// A task of the upload has ended without a result.
pub(super) fn interrupted() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "the upload was interrupted inside the server; upload the file again")
}
