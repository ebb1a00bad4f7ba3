//! Objects as values: keys, entity tags, bodies, attributes and listings.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::checksum::Checksum;
use crate::error::StoreResult;

/// The name of an object in its bucket: 1 to 1,024 bytes of UTF-8.
/// Source: Amazon S3 User Guide, "Naming Amazon S3 objects".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

impl ObjectKey {
    /// S3's limit, in bytes of UTF-8.
    pub const MAX_LEN: usize = 1024;

    /// Takes `key` if its length is one that S3 accepts.
    pub fn new(key: impl Into<String>) -> Option<Self> {
        let key = key.into();
        (1..=Self::MAX_LEN).contains(&key.len()).then_some(Self(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = &'static str;

    fn try_from(key: String) -> Result<Self, Self::Error> {
        Self::new(key).ok_or("a key takes 1 to 1,024 bytes")
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entity tag as the store gave it, quotes included. It names one version of an object's bytes
/// and is opaque: for multipart objects it is no MD5.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Takes the tag as the store wrote it.
    pub fn new(tag: impl Into<String>) -> Self {
        Self(tag.into())
    }

    /// The tag as the store wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is kept with an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectAttributes {
    /// `Content-Type`. Where none is given, S3 sets `binary/octet-stream`.
    pub content_type: Option<String>,
    /// User metadata without the `x-amz-meta-` prefix, together at most 2 KiB: names come back in
    /// lower case; values are printable ASCII, without spaces at their ends.
    pub metadata: BTreeMap<String, String>,
    /// What else other tools keep with an object.
    pub headers: SystemHeaders,
    /// Tags that a new object is to have, at most 10. A copy has those of its source, whatever is said here, and
    /// neither HEAD nor GET tells any: [`crate::ObjectStore::tags`] does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
}

/// An object's tags: names of up to 128 characters, each with a value of up to 256.
/// Source: Amazon S3 User Guide, "Categorizing your objects using tags".
pub type Tags = BTreeMap<String, String>;

/// Headers that the store keeps with an object and has no use for itself, and the class that it is stored
/// in. Values are printable ASCII.
/// Source: Amazon S3 User Guide, "Working with object metadata", system-defined metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemHeaders {
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Expires`, as it was given: a date by RFC 9110, or any other text.
    // What the journal says of other uploads is read by earlier releases too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `x-amz-storage-class`; `None` for `STANDARD`.
    pub storage_class: Option<String>,
    /// `x-amz-website-redirect-location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
}

/// What HEAD tells about one version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Size of the whole object, in bytes.
    pub size: u64,
    /// The version's tag.
    pub etag: ETag,
    /// When the store made this version (one-second resolution in S3).
    pub last_modified: SystemTime,
    /// Content type, user metadata and headers.
    pub attributes: ObjectAttributes,
    /// How many tags it has; 0 also where that is not told, as S3 tells it to those who may read them.
    pub tag_count: u32,
    /// CRC-64/NVME of the whole object, where the answer tells it: one to a GET without a range
    /// does, any other need not. [`crate::ObjectStore::checksum`] asks for it.
    pub checksum: Option<Checksum>,
}

/// A range of an object's bytes, in terms of RFC 9110 section 14.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte, counted from 0.
    pub offset: u64,
    /// How many bytes at most (at least 1); `None` means to the end.
    pub len: Option<u64>,
}

impl ByteRange {
    /// `len` bytes from `offset`.
    pub fn new(offset: u64, len: u64) -> Self {
        Self { offset, len: Some(len) }
    }
}

/// The bytes of a running GET, in order. An item of `Err` ends the stream.
pub type ByteStream = Pin<Box<dyn Stream<Item = StoreResult<Bytes>> + Send>>;

/// The answer to a GET. Dropping it cancels the transfer.
pub struct GetObject {
    /// The version that the bytes belong to; `size` is that of the whole object.
    pub meta: ObjectMeta,
    /// The bytes of the range asked for, cut at the object's end.
    pub body: ByteStream,
}

impl fmt::Debug for GetObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetObject").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// Bytes to store: a chain of chunks that is sent without being copied together, and can be sent
/// again on a retry for the price of reference counts.
#[derive(Clone, Debug, Default)]
pub struct Body {
    chunks: Vec<Bytes>,
    len: u64,
}

impl Body {
    /// An empty body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a chunk; empty ones are dropped.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len() as u64;
            self.chunks.push(chunk);
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunks, in order.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The checksum of the whole body, computed here. Writers that compute it as the bytes arrive
    /// pass their own instead.
    pub fn checksum(&self) -> Checksum {
        self.chunks.iter().fold(Checksum::EMPTY, |sum, chunk| sum.then(Checksum::of(chunk)))
    }
}

impl From<Bytes> for Body {
    fn from(chunk: Bytes) -> Self {
        let mut body = Self::new();
        body.push(chunk);
        body
    }
}

impl From<&'static [u8]> for Body {
    fn from(chunk: &'static [u8]) -> Self {
        Bytes::from_static(chunk).into()
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let mut body = Self::new();
        chunks.into_iter().for_each(|chunk| body.push(chunk));
        body
    }
}

/// What must hold for a write to take effect.
/// Source: Amazon S3 User Guide, "Add preconditions to S3 operations with conditional requests".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Write in any case.
    #[default]
    Always,
    /// Only if there is no object under the key (`If-None-Match: *`).
    IfAbsent,
    /// Only if the object under the key is this version (`If-Match`). It does not hold where
    /// there is no object (S3 answers 404 there).
    IfMatch(ETag),
}

/// What a completed write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The tag of the version written.
    pub etag: ETag,
}

/// One page of a listing to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Keys begin with this text; may be empty.
    pub prefix: String,
    /// Whether keys that hold a `/` behind the prefix are rolled up into
    /// [`ListPage::common_prefixes`] (the delimiter is always `/`).
    pub delimited: bool,
    /// How many keys and common prefixes together at most: 1 to 1,000.
    pub limit: u16,
    /// [`ListPage::next`] of the page before; `None` for the first page.
    pub continuation: Option<String>,
    /// Only keys behind this text, in the order of UTF-8 bytes (`StartAfter`); it need not be a key
    /// that exists. Not looked at where there is a continuation. Where it lies inside a prefix that is
    /// rolled up, stores differ in whether they list that prefix.
    pub start_after: Option<String>,
}

/// A key in a listing. S3 gives no user metadata here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The whole key, prefix included.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// The version's tag.
    pub etag: ETag,
    /// When the store made this version.
    pub last_modified: SystemTime,
    /// The class that it is stored in; `None` for `STANDARD`.
    pub storage_class: Option<String>,
}

/// One page of a listing, in the order of the keys' UTF-8 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Objects right below the prefix (all objects when not delimited).
    pub objects: Vec<ListedObject>,
    /// Rolled-up prefixes, each ending in `/`, the listing's prefix included.
    pub common_prefixes: Vec<String>,
    /// Asks for the page behind this one; `None` on the last.
    pub next: Option<String>,
}

/// Names a version to copy from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// The object, in the same bucket.
    pub key: ObjectKey,
    /// Copy only if the object still is this version.
    pub if_match: Option<ETag>,
}
