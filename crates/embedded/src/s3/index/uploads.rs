//! Multipart uploads and their parts.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::bodies::BodyId;
use super::super::checksums::{Algorithm, Coverage};
use super::super::failure::Failure;
use super::super::headers::ObjectHeaders;
use super::buckets::BucketId;
use super::contents::{Content, ContentId, release_content};

#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) headers: ObjectHeaders,
    /// What the client chose at the beginning.
    pub(crate) sum: Option<(Algorithm, Coverage)>,
}

#[derive(Debug)]
pub(crate) struct NewUpload<'u> {
    pub(crate) bucket: BucketId,
    pub(crate) key: &'u str,
    pub(crate) id: &'u str,
    pub(crate) upload: &'u Upload,
}

#[derive(Clone, Debug)]
pub(crate) struct StoredPart {
    pub(crate) number: u32,
    pub(crate) content_id: ContentId,
    pub(crate) content: Content,
    pub(crate) modified: i64,
}

pub(crate) fn begin_upload(connection: &Connection, new: &NewUpload<'_>) -> Result<(), Failure> {
    let (algorithm, coverage) = new.upload.sum.map(|(algorithm, coverage)| (algorithm.name(), coverage.name())).unzip();
    connection
        .prepare_cached(
            "INSERT INTO uploads (bucket, key, id, initiated, headers, algorithm, coverage)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            new.bucket,
            new.key.as_bytes(),
            new.id,
            super::now(),
            serde_json::to_string(&new.upload.headers)?,
            algorithm,
            coverage
        ])?;
    Ok(())
}

pub(crate) fn find_upload(connection: &Connection, bucket: BucketId, key: &str, id: &str) -> Result<Upload, Failure> {
    let (headers, algorithm, coverage): (String, Option<String>, Option<String>) = connection
        .prepare_cached("SELECT headers, algorithm, coverage FROM uploads WHERE bucket = ?1 AND key = ?2 AND id = ?3")?
        .query_row(params![bucket, key.as_bytes(), id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?
        .ok_or(Failure::NoSuchUpload)?;
    let algorithm = algorithm.as_deref().and_then(Algorithm::parse);
    let coverage = coverage.as_deref().and_then(Coverage::parse);
    Ok(Upload { headers: serde_json::from_str(&headers)?, sum: algorithm.zip(coverage) })
}

/// Stores a part, in place of one of the same number.
pub(crate) fn put_part(
    connection: &Connection,
    upload: &str,
    number: u32,
    content: ContentId,
    unused: &mut Vec<BodyId>,
) -> Result<i64, Failure> {
    let before: Option<ContentId> = connection
        .prepare_cached("DELETE FROM parts WHERE upload = ?1 AND number = ?2 RETURNING content")?
        .query_row(params![upload, number], |row| row.get(0))
        .optional()?;
    if let Some(before) = before {
        release_content(connection, before, unused)?;
    }
    let modified = super::now();
    connection
        .prepare_cached("INSERT INTO parts (upload, number, content, modified) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![upload, number, content, modified])?;
    Ok(modified)
}

/// Up to `limit` parts behind number `after`.
pub(crate) fn list_parts(
    connection: &Connection,
    upload: &str,
    after: u32,
    limit: usize,
) -> Result<Vec<StoredPart>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT number, content, modified, size, crc64, etag, contents.parts, sum
         FROM parts JOIN contents ON contents.id = parts.content
         WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let rows = statement.query_map(params![upload, after, limit], |row| {
        Ok(StoredPart {
            number: row.get(0)?,
            content_id: row.get(1)?,
            content: Content::from_row(row, 3)?,
            modified: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Moves the bytes of a part to the end of a content that is `at` bytes long so far.
pub(crate) fn append_part(
    connection: &Connection,
    content: ContentId,
    at: u64,
    part: ContentId,
) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE extents SET content = ?1, start = start + ?2 WHERE content = ?3")?
        .execute(params![content, at, part])?;
    Ok(())
}

/// Forgets an upload and the parts it still has.
pub(crate) fn drop_upload(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    id: &str,
    unused: &mut Vec<BodyId>,
) -> Result<(), Failure> {
    let dropped = connection
        .prepare_cached("DELETE FROM uploads WHERE bucket = ?1 AND key = ?2 AND id = ?3")?
        .execute(params![bucket, key.as_bytes(), id])?;
    if dropped == 0 {
        return Err(Failure::NoSuchUpload);
    }
    let contents: Vec<ContentId> = connection
        .prepare_cached("DELETE FROM parts WHERE upload = ?1 RETURNING content")?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    contents.into_iter().try_for_each(|content| release_content(connection, content, unused))
}
