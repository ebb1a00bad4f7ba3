//! The one table that turns failures into codes.

use tidegate_vfs::FsErrorKind;

use crate::codec::StatusCode;

/// The code for a failure of the file system. Version 3 has few; where OpenSSH's server meets the
/// same condition, the code is the one that it answers (`errno_to_portable`).
pub(crate) fn code(kind: FsErrorKind) -> StatusCode {
    match kind {
        FsErrorKind::LinkLoop | FsErrorKind::NotADirectory | FsErrorKind::NotFound => StatusCode::NoSuchFile,
        FsErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        FsErrorKind::InvalidName => StatusCode::BadMessage,
        FsErrorKind::Unsupported => StatusCode::OpUnsupported,
        _ => StatusCode::Failure,
    }
}
