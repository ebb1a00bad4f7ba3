//! Objects: what a key names now.

use rusqlite::{Connection, OptionalExtension as _, params};
use s3s::dto::Timestamp;

use super::super::bodies::BodyId;
use super::super::failure::Failure;
use super::super::headers::ObjectHeaders;
use super::buckets::BucketId;
use super::contents::{Content, ContentId, release_content};

#[derive(Clone, Debug)]
pub(crate) struct StoredObject {
    pub(crate) content_id: ContentId,
    pub(crate) content: Content,
    modified: i64,
    pub(crate) headers: ObjectHeaders,
}

impl StoredObject {
    pub(crate) fn modified(&self) -> Timestamp {
        super::timestamp(self.modified)
    }
}

pub(crate) fn find_object(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
) -> Result<Option<StoredObject>, Failure> {
    let found = connection
        .prepare_cached(
            "SELECT objects.content, modified, headers, size, crc64, etag, parts, sum
             FROM objects JOIN contents ON contents.id = objects.content WHERE bucket = ?1 AND key = ?2",
        )?
        .query_row(params![bucket, key.as_bytes()], |row| {
            let headers: String = row.get(2)?;
            Ok((row.get(0)?, Content::from_row(row, 3)?, row.get(1)?, headers))
        })
        .optional()?;
    let Some((content_id, content, modified, headers)) = found else { return Ok(None) };
    Ok(Some(StoredObject { content_id, content, modified, headers: serde_json::from_str(&headers)? }))
}

/// Puts a content under a key, in place of what is there. Returns the time of the new version.
pub(crate) fn publish(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    content: ContentId,
    headers: &ObjectHeaders,
    unused: &mut Vec<BodyId>,
) -> Result<Timestamp, Failure> {
    let modified = super::now();
    delete_object(connection, bucket, key, unused)?;
    connection
        .prepare_cached("INSERT INTO objects (bucket, key, content, modified, headers) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![bucket, key.as_bytes(), content, modified, serde_json::to_string(headers)?])?;
    Ok(super::timestamp(modified))
}

/// Changes what is kept with an object, which stays as it is otherwise.
pub(crate) fn set_headers(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    headers: &ObjectHeaders,
) -> Result<(), Failure> {
    connection.prepare_cached("UPDATE objects SET headers = ?3 WHERE bucket = ?1 AND key = ?2")?.execute(params![
        bucket,
        key.as_bytes(),
        serde_json::to_string(headers)?
    ])?;
    Ok(())
}

/// Succeeds if there is none, as in S3.
pub(crate) fn delete_object(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    unused: &mut Vec<BodyId>,
) -> Result<(), Failure> {
    let content: Option<ContentId> = connection
        .prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2 RETURNING content")?
        .query_row(params![bucket, key.as_bytes()], |row| row.get(0))
        .optional()?;
    match content {
        Some(content) => release_content(connection, content, unused),
        None => Ok(()),
    }
}
