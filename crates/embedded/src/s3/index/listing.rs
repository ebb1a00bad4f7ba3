//! Listings: one page of keys or uploads in the order of the keys' UTF-8 bytes, with the keys that
//! share a prefix up to the delimiter rolled up into one entry.
//! Source: Amazon S3 API Reference, ListObjectsV2 and ListMultipartUploads.

use rusqlite::{Connection, params};

use super::super::failure::Failure;
use super::buckets::BucketId;

/// No UTF-8 text holds this byte, so it sorts behind every key.
const BEHIND_ALL_KEYS: &[u8] = &[0xff];

/// A page of keys to ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectsQuery {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    /// The last key or common prefix of the page before, or the key to start behind.
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listed<T> {
    Entry(T),
    CommonPrefix(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified: i64,
    pub(crate) storage_class: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct ObjectsPage {
    pub(crate) entries: Vec<Listed<ListedObject>>,
    pub(crate) truncated: bool,
}

impl ObjectsPage {
    /// What the next page goes on behind.
    pub(crate) fn last(&self) -> Option<&str> {
        match self.entries.last()? {
            Listed::Entry(object) => Some(&object.key),
            Listed::CommonPrefix(prefix) => Some(prefix),
        }
    }
}

pub(crate) fn list_objects(
    connection: &Connection,
    bucket: BucketId,
    query: &ObjectsQuery,
) -> Result<ObjectsPage, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT key, size, etag, modified, headers ->> 'storage_class' FROM objects JOIN contents ON contents.id = objects.content
         WHERE bucket = ?1 AND key >= ?2 AND key < ?3 ORDER BY key",
    )?;
    let rollup = Rollup { prefix: &query.prefix, delimiter: query.delimiter.as_deref() };
    let mut from = rollup.begin(query.after.as_deref());
    let behind = rollup.end();
    let mut page = ObjectsPage::default();
    if query.limit == 0 {
        return Ok(page);
    }
    'seek: loop {
        let mut rows = statement.query(params![bucket, from, behind])?;
        while let Some(row) = rows.next()? {
            if page.entries.len() == query.limit {
                page.truncated = true;
                return Ok(page);
            }
            let key = text(row.get(0)?);
            if let Some(common) = rollup.common_prefix(&key) {
                from = successor(common.as_bytes());
                page.entries.push(Listed::CommonPrefix(common.to_owned()));
                continue 'seek;
            }
            let (size, etag, modified) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let object = ListedObject { key, size, etag, modified, storage_class: row.get(4)? };
            page.entries.push(Listed::Entry(object));
        }
        return Ok(page);
    }
}

/// A page of uploads to ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct UploadsQuery {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    pub(crate) key_marker: Option<String>,
    /// Names one of the uploads of the key marker; without it the page begins behind that key.
    pub(crate) id_marker: Option<String>,
    pub(crate) limit: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListedUpload {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) initiated: i64,
}

#[derive(Debug, Default)]
pub(crate) struct UploadsPage {
    pub(crate) entries: Vec<Listed<ListedUpload>>,
    pub(crate) truncated: bool,
}

pub(crate) fn list_uploads(
    connection: &Connection,
    bucket: BucketId,
    query: &UploadsQuery,
) -> Result<UploadsPage, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT key, id, initiated FROM uploads
         WHERE bucket = ?1 AND (key, id) > (?2, ?3) AND key < ?4 ORDER BY key, id",
    )?;
    let rollup = Rollup { prefix: &query.prefix, delimiter: query.delimiter.as_deref() };
    let (mut from, mut id) = match (&query.key_marker, &query.id_marker) {
        (Some(key), Some(id)) if *key >= query.prefix => (key.clone().into_bytes(), id.clone()),
        (key, _) => (rollup.begin(key.as_deref()), String::new()),
    };
    let behind = rollup.end();
    let mut page = UploadsPage::default();
    if query.limit == 0 {
        return Ok(page);
    }
    'seek: loop {
        let mut rows = statement.query(params![bucket, from, id, behind])?;
        while let Some(row) = rows.next()? {
            if page.entries.len() == query.limit {
                page.truncated = true;
                return Ok(page);
            }
            let key = text(row.get(0)?);
            if let Some(common) = rollup.common_prefix(&key) {
                (from, id) = (successor(common.as_bytes()), String::new());
                page.entries.push(Listed::CommonPrefix(common.to_owned()));
                continue 'seek;
            }
            page.entries.push(Listed::Entry(ListedUpload { key, id: row.get(1)?, initiated: row.get(2)? }));
        }
        return Ok(page);
    }
}

/// How keys are rolled up.
struct Rollup<'q> {
    prefix: &'q str,
    delimiter: Option<&'q str>,
}

impl Rollup<'_> {
    /// The prefix up to and with the first delimiter behind the listing's prefix.
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter.filter(|delimiter| !delimiter.is_empty())?;
        let at = key.strip_prefix(self.prefix)?.find(delimiter)?;
        key.get(..self.prefix.len() + at + delimiter.len())
    }

    /// The least key of the page. A marker inside a rolled-up prefix skips all of that prefix.
    fn begin(&self, after: Option<&str>) -> Vec<u8> {
        let Some(after) = after.filter(|after| *after >= self.prefix) else { return self.prefix.into() };
        match self.common_prefix(after) {
            Some(common) => successor(common.as_bytes()),
            None => [after.as_bytes(), &[0]].concat(),
        }
    }

    /// What lies behind all keys of the listing.
    fn end(&self) -> Vec<u8> {
        if self.prefix.is_empty() { BEHIND_ALL_KEYS.into() } else { successor(self.prefix.as_bytes()) }
    }
}

/// The least string of bytes behind all that begin with `prefix`, which is UTF-8 and not empty.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = last.saturating_add(1);
    }
    bytes
}

fn text(key: Vec<u8>) -> String {
    String::from_utf8(key).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests;
