//! Contents: immutable runs of bytes, made of ranges of bodies. An object and a part each have one.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::bodies::BodyId;
use super::super::checksums::Sum;
use super::super::failure::Failure;

pub(crate) type ContentId = i64;

#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) size: u64,
    pub(crate) crc64: u64,
    /// Without quotes.
    pub(crate) etag: String,
    /// How many parts it was assembled from; `None` for a body sent in one piece.
    pub(crate) parts: Option<u32>,
    /// The checksum that the client chose; the CRC64NVME is always there.
    pub(crate) sum: Option<Sum>,
}

impl Content {
    /// The checksum to show.
    pub(crate) fn shown_sum(&self) -> Sum {
        self.sum.clone().unwrap_or_else(|| Sum::crc64(self.crc64))
    }

    /// Reads the columns `size, crc64, etag, parts, sum` that begin at `first`.
    pub(super) fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let sum: Option<String> = row.get(first + 4)?;
        Ok(Self {
            size: row.get(first)?,
            crc64: row.get::<_, i64>(first + 1)?.cast_unsigned(),
            etag: row.get(first + 2)?,
            parts: row.get(first + 3)?,
            sum: sum.and_then(|sum| serde_json::from_str(&sum).ok()),
        })
    }
}

/// `len` bytes of a content, which lie at `offset` of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) body: BodyId,
    pub(crate) offset: u64,
    pub(crate) crc64: u64,
}

impl Extent {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len
    }
}

pub(crate) fn insert_content(
    connection: &Connection,
    content: &Content,
    extents: &[Extent],
) -> Result<ContentId, Failure> {
    let sum = content.sum.as_ref().map(serde_json::to_string).transpose()?;
    connection
        .prepare_cached("INSERT INTO contents (size, crc64, etag, parts, sum) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![content.size, content.crc64.cast_signed(), content.etag, content.parts, sum])?;
    let id = connection.last_insert_rowid();
    let mut insert = connection.prepare_cached(
        "INSERT INTO extents (content, start, len, body, body_offset, crc64) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for extent in extents {
        let Extent { start, len, body, offset, crc64 } = extent;
        insert.execute(params![id, start, len, body, offset, crc64.cast_signed()])?;
    }
    Ok(id)
}

/// A content of the same bytes, sharing the bodies.
pub(crate) fn copy_content(
    connection: &Connection,
    source: ContentId,
    content: &Content,
) -> Result<ContentId, Failure> {
    let id = insert_content(connection, content, &[])?;
    connection
        .prepare_cached(
            "INSERT INTO extents (content, start, len, body, body_offset, crc64)
             SELECT ?1, start, len, body, body_offset, crc64 FROM extents WHERE content = ?2",
        )?
        .execute([id, source])?;
    Ok(id)
}

/// The extents that hold some byte of `range`, in order.
pub(crate) fn extents(connection: &Connection, content: ContentId, range: &Range<u64>) -> Result<Vec<Extent>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT start, len, body, body_offset, crc64 FROM extents
         WHERE content = ?1 AND start < ?3
           AND start >= coalesce((SELECT max(start) FROM extents WHERE content = ?1 AND start <= ?2), 0)
         ORDER BY start",
    )?;
    let rows = statement.query_map(params![content, range.start, range.end], |row| {
        Ok(Extent {
            start: row.get(0)?,
            len: row.get(1)?,
            body: row.get(2)?,
            offset: row.get(3)?,
            crc64: row.get::<_, i64>(4)?.cast_unsigned(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets a content, and adds the bodies that nothing refers to any more to `unused`.
pub(super) fn release_content(
    connection: &Connection,
    content: ContentId,
    unused: &mut Vec<BodyId>,
) -> Result<(), Failure> {
    let bodies: Vec<BodyId> = connection
        .prepare_cached("SELECT DISTINCT body FROM extents WHERE content = ?1")?
        .query_map([content], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    connection.prepare_cached("DELETE FROM extents WHERE content = ?1")?.execute([content])?;
    connection.prepare_cached("DELETE FROM contents WHERE id = ?1")?.execute([content])?;
    for body in bodies {
        if !is_referenced(connection, body)? {
            unused.push(body);
        }
    }
    Ok(())
}

pub(crate) fn is_referenced(connection: &Connection, body: BodyId) -> Result<bool, Failure> {
    let found: Option<i64> = connection
        .prepare_cached("SELECT 1 FROM extents WHERE body = ?1 LIMIT 1")?
        .query_row([body], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}
