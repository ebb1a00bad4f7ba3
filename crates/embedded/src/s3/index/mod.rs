//! The index: buckets, objects, uploads, and which ranges of which bodies they are made of.

mod buckets;
mod contents;
mod listing;
mod objects;
mod uploads;

pub(crate) use self::buckets::{bucket, create_bucket, delete_bucket, list_buckets};
pub(crate) use self::contents::{Content, ContentId, Extent, copy_content, extents, insert_content, is_referenced};
pub(crate) use self::listing::{Listed, ObjectsPage, ObjectsQuery, UploadsQuery, list_objects, list_uploads};
pub(crate) use self::objects::{StoredObject, delete_object, find_object, publish, set_headers};
pub(crate) use self::uploads::{
    NewUpload, StoredPart, Upload, append_part, begin_upload, drop_upload, find_upload, list_parts, put_part,
};

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

/// The layout that this version reads and writes, kept as SQLite's `user_version`.
const VERSION: i64 = 1;

/// Keys are blobs: they sort by their UTF-8 bytes, as S3 lists them.
const SCHEMA: &str = "
CREATE TABLE buckets (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL
);
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    crc64 INTEGER NOT NULL,
    etag TEXT NOT NULL,
    parts INTEGER,
    sum TEXT
);
CREATE TABLE extents (
    content INTEGER NOT NULL,
    start INTEGER NOT NULL,
    len INTEGER NOT NULL,
    body INTEGER NOT NULL,
    body_offset INTEGER NOT NULL,
    crc64 INTEGER NOT NULL,
    PRIMARY KEY (content, start)
) WITHOUT ROWID;
CREATE INDEX extents_by_body ON extents (body);
CREATE TABLE objects (
    bucket INTEGER NOT NULL,
    key BLOB NOT NULL,
    content INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    headers TEXT NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE uploads (
    bucket INTEGER NOT NULL,
    key BLOB NOT NULL,
    id TEXT NOT NULL,
    initiated INTEGER NOT NULL,
    headers TEXT NOT NULL,
    algorithm TEXT,
    coverage TEXT,
    PRIMARY KEY (bucket, key, id)
) WITHOUT ROWID;
CREATE TABLE parts (
    upload TEXT NOT NULL,
    number INTEGER NOT NULL,
    content INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
";

/// Why the index can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the index {path} can't be opened")]
    Sql { path: PathBuf, source: rusqlite::Error },
    #[error("the bodies below {path} can't be looked through")]
    Sweep { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the index {path} has layout {found}; this version of Tidegate reads layout {VERSION}")]
    Version { path: PathBuf, found: i64 },
}

/// Opens or creates the index. Commits survive the death of the process at once, and that of the
/// machine up to the last checkpoint (`synchronous = NORMAL`).
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    let sql = |source| OpenError::Sql { path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(sql)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(sql)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32768;")
        .map_err(sql)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sql)?;
    match found {
        VERSION => {}
        0 => connection
            .execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"))
            .map_err(sql)?,
        found => return Err(OpenError::Version { path: path.to_owned(), found }),
    }
    Ok(connection)
}

/// Whole seconds since 1970: S3's resolution of times.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// [`now`]'s seconds as a time that S3 shows.
pub(crate) fn timestamp(seconds: i64) -> s3s::dto::Timestamp {
    (UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))).into()
}
