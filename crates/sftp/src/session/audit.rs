//! One log line per file operation, with the field names of AWS Transfer Family's structured
//! logs. The session's span adds session-id, user, tenant and source-ip.

use std::time::Duration;

use tidegate_vfs::{FsError, FsErrorKind, VirtualPath};
use tracing::{debug, info, warn};

use crate::codec::OpenFlags;

/// A file was opened.
pub(crate) fn opened(path: &VirtualPath, flags: OpenFlags) {
    info!("activity-type" = "OPEN", path = %path, mode = %mode(flags));
}

/// A file was closed. For an upload: it is complete in the store.
pub(crate) fn closed(path: &VirtualPath, bytes_in: u64, bytes_out: u64, took: Duration) {
    info!(
        "activity-type" = "CLOSE",
        path = %path,
        "bytes-in" = bytes_in,
        "bytes-out" = bytes_out,
        "duration-ms" = took.as_millis() as u64
    );
}

/// A session ended with a file still open; an upload was not published.
pub(crate) fn cut(path: &VirtualPath, bytes_in: u64, bytes_out: u64, took: Duration) {
    info!(
        "activity-type" = "PARTIAL_CLOSE",
        path = %path,
        "bytes-in" = bytes_in,
        "bytes-out" = bytes_out,
        "duration-ms" = took.as_millis() as u64
    );
}

/// A path was changed; `activity` is AWS Transfer's word for it.
pub(crate) fn changed(activity: &'static str, path: &VirtualPath, target: Option<&VirtualPath>, took: Duration) {
    let took = took.as_millis() as u64;
    match target {
        Some(target) => info!("activity-type" = activity, path = %path, target = %target, "duration-ms" = took),
        None => info!("activity-type" = activity, path = %path, "duration-ms" = took),
    }
}

/// A request failed. Clients look for files that aren't there all the time, so that is no news.
pub(crate) fn failed(operation: &'static str, path: &VirtualPath, error: &FsError) {
    match error.kind() {
        FsErrorKind::NotFound => {
            debug!("activity-type" = "ERROR", operation, path = %path, message = %error);
        }
        FsErrorKind::Unavailable | FsErrorKind::Corrupt => {
            warn!("activity-type" = "ERROR", operation, path = %path, message = %error, cause = error.report());
        }
        _ => info!("activity-type" = "ERROR", operation, path = %path, message = %error, cause = error.report()),
    }
}

/// The flags of an OPEN in AWS Transfer's words.
fn mode(flags: OpenFlags) -> String {
    [
        (OpenFlags::APPEND, "APPEND"),
        (OpenFlags::CREAT, "CREATE"),
        (OpenFlags::EXCL, "EXCLUSIVE"),
        (OpenFlags::READ, "READ"),
        (OpenFlags::TRUNC, "TRUNCATE"),
        (OpenFlags::WRITE, "WRITE"),
    ]
    .into_iter()
    .filter_map(|(flag, word)| flags.has(flag).then_some(word))
    .collect::<Vec<_>>()
    .join("|")
}
