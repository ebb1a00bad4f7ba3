//! The state of one bucket, and the rules for whole objects.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};

use super::multipart::Pending;
use super::refuse;
use crate::checksum::{Checksum, KeptChecksums, md5};
use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{
    Body, ByteRange, Condition, CopySource, ETag, ObjectAttributes, ObjectKey, ObjectMeta, Receipt, SystemHeaders, Tags,
};
use crate::object_store::{Upload, limits};

/// What S3 answers where no content type was given.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// Names and values of an object's user metadata together, in bytes.
/// Source: Amazon S3 User Guide, "Working with object metadata".
const METADATA_MAX: usize = 2 << 10;

/// One version of an object.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) meta: ObjectMeta,
    /// Whether it came, or was copied, in one request.
    pub(super) is_one_piece: bool,
    pub(super) tags: Tags,
}

/// A bucket: objects and running uploads, both in the order of their keys' bytes.
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<ObjectKey, Object>,
    pub(super) uploads: BTreeMap<(ObjectKey, String), Pending>,
    pub(super) part_min: u64,
    pub(super) page_max: usize,
    /// Whether it tells the MD5 of what came in one request.
    pub(super) has_md5s: bool,
    /// How far its clock is ahead of ours, in seconds.
    pub(super) clock_shift: i64,
    serial: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            part_min: limits::PART_MIN,
            page_max: usize::from(limits::LIST_MAX),
            has_md5s: false,
            clock_shift: 0,
            serial: 0,
        }
    }
}

impl Bucket {
    pub(super) fn head(&self, operation: &'static str, key: &ObjectKey) -> StoreResult<&Object> {
        self.objects.get(key).ok_or_else(|| refuse(StoreErrorKind::NotFound, operation, "NoSuchKey"))
    }

    pub(super) fn get(
        &self,
        key: &ObjectKey,
        range: Option<ByteRange>,
        if_match: Option<&ETag>,
    ) -> StoreResult<(ObjectMeta, Bytes)> {
        let object = self.version("get", key, if_match)?;
        let mut meta = object.meta.clone();
        let bytes = match range {
            None => object.bytes.clone(),
            Some(range) => {
                if range.len == Some(0) {
                    return Err(refuse(StoreErrorKind::InvalidRequest, "get", "a range of no bytes"));
                }
                if range.offset >= object.meta.size {
                    return Err(refuse(StoreErrorKind::RangeNotSatisfiable, "get", "InvalidRange"));
                }
                slice(&object.bytes, range)
            }
        };
        if bytes.len() < object.bytes.len() {
            // As S3: the checksum of the whole would be taken for that of the range.
            meta.checksum = None;
        }
        Ok((meta, bytes))
    }

    pub(super) fn kept_checksums(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums> {
        let Object { bytes, meta, is_one_piece, .. } = self.version("checksum", key, if_match)?;
        let md5 = (self.has_md5s && *is_one_piece).then(|| md5([&**bytes]));
        Ok(KeptChecksums { crc64nvme: meta.checksum, md5, ..KeptChecksums::default() })
    }

    pub(super) fn put(
        &mut self,
        key: &ObjectKey,
        body: &Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let attributes = as_kept("put", attributes)?;
        let bytes = received("put", body, checksum)?;
        self.check("put", key, condition)?;
        Ok(self.publish(key, bytes, attributes, true))
    }

    pub(super) fn copy(
        &mut self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let attributes = attributes.map(|attributes| as_kept("copy", attributes)).transpose()?;
        if source.key == *target && attributes.is_none() {
            let reason = "InvalidRequest: a copy to itself must change the metadata";
            return Err(refuse(StoreErrorKind::InvalidRequest, "copy", reason));
        }
        let object = self.version("copy", &source.key, source.if_match.as_ref())?.clone();
        if object.meta.size > limits::PART_MAX {
            let reason = "InvalidRequest: the source is larger than a single copy may be";
            return Err(refuse(StoreErrorKind::InvalidRequest, "copy", reason));
        }
        self.check("copy", target, condition)?;
        let mut attributes = attributes.unwrap_or_else(|| {
            let mut attributes = object.meta.attributes;
            // CopyObject, x-amz-storage-class: what is not given is STANDARD. Nor is
            // x-amz-website-redirect-location taken from the source.
            (attributes.headers.storage_class, attributes.headers.website_redirect) = (None, None);
            attributes
        });
        // x-amz-tagging-directive is COPY where none is given.
        attributes.tags = object.tags;
        Ok(self.publish(target, object.bytes, attributes, true))
    }

    /// The object if it is the version asked for.
    pub(super) fn version(
        &self,
        operation: &'static str,
        key: &ObjectKey,
        if_match: Option<&ETag>,
    ) -> StoreResult<&Object> {
        let object = self.head(operation, key)?;
        match if_match {
            Some(etag) if *etag != object.meta.etag => {
                Err(refuse(StoreErrorKind::PreconditionFailed, operation, "the object is another version"))
            }
            _ => Ok(object),
        }
    }

    pub(super) fn check(&self, operation: &'static str, key: &ObjectKey, condition: &Condition) -> StoreResult<()> {
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => !self.objects.contains_key(key),
            Condition::IfMatch(etag) => self.objects.get(key).is_some_and(|object| object.meta.etag == *etag),
        };
        if holds {
            Ok(())
        } else {
            Err(refuse(StoreErrorKind::PreconditionFailed, operation, "the condition does not hold"))
        }
    }

    pub(super) fn publish(
        &mut self,
        key: &ObjectKey,
        bytes: Bytes,
        mut attributes: ObjectAttributes,
        is_one_piece: bool,
    ) -> Receipt {
        let tags = std::mem::take(&mut attributes.tags);
        let etag = self.next_etag();
        let meta = ObjectMeta {
            size: bytes.len() as u64,
            etag: etag.clone(),
            last_modified: whole_seconds(self.now()),
            attributes,
            tag_count: u32::try_from(tags.len()).unwrap_or(u32::MAX),
            checksum: Some(Checksum::of(&bytes)),
        };
        self.objects.insert(key.clone(), Object { bytes, meta, tags, is_one_piece });
        Receipt { etag }
    }

    /// The time by the bucket's clock.
    pub(super) fn now(&self) -> SystemTime {
        let (now, shift) = (SystemTime::now(), Duration::from_secs(self.clock_shift.unsigned_abs()));
        if self.clock_shift < 0 { now - shift } else { now + shift }
    }

    /// A tag that no other version has: also not one of the same bytes, as under SSE-KMS, so that
    /// nobody comes to rely on MD5 sums.
    pub(super) fn next_etag(&mut self) -> ETag {
        self.serial += 1;
        ETag::new(format!("\"{:032x}\"", self.serial))
    }

    pub(super) fn next_upload(&mut self, key: &ObjectKey) -> Upload {
        self.serial += 1;
        Upload { key: key.clone(), id: format!("upload.{:016x}", self.serial) }
    }
}

/// The body as one piece, if it is what its sender meant to send.
pub(super) fn received(operation: &'static str, body: &Body, checksum: Checksum) -> StoreResult<Bytes> {
    if body.len() > limits::PART_MAX {
        return Err(refuse(StoreErrorKind::InvalidRequest, operation, "EntityTooLarge"));
    }
    if body.checksum() != checksum {
        return Err(refuse(StoreErrorKind::Corrupt, operation, "BadDigest: the checksum does not match"));
    }
    Ok(match body.chunks() {
        [only] => only.clone(),
        chunks => {
            let mut joined = BytesMut::new();
            chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
            joined.freeze()
        }
    })
}

/// The range's part of `bytes`. The caller has checked that it begins inside.
pub(super) fn slice(bytes: &Bytes, range: ByteRange) -> Bytes {
    let size = bytes.len() as u64;
    let start = range.offset.min(size);
    let end = range.len.map_or(size, |len| start.saturating_add(len).min(size));
    // Both lie within the length of a buffer in memory.
    bytes.slice(start as usize..end as usize)
}

/// Attributes as S3 gives them back: names in lower case, values without spaces around them.
pub(super) fn as_kept(operation: &'static str, attributes: &ObjectAttributes) -> StoreResult<ObjectAttributes> {
    let mut kept = ObjectAttributes {
        content_type: Some(attributes.content_type.clone().unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned())),
        metadata: BTreeMap::new(),
        headers: headers_as_kept(operation, &attributes.headers)?,
        tags: tags_as_kept(operation, &attributes.tags)?,
    };
    let mut size = 0;
    for (name, value) in &attributes.metadata {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            let reason = format!("\"{}\" can't be a header's name", name.escape_debug());
            return Err(refuse(StoreErrorKind::InvalidRequest, operation, reason));
        }
        if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            let reason = format!("the value of \"{name}\" is not printable ASCII");
            return Err(refuse(StoreErrorKind::InvalidRequest, operation, reason));
        }
        size += name.len() + value.len();
        kept.metadata.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if size > METADATA_MAX {
        return Err(refuse(StoreErrorKind::InvalidRequest, operation, "MetadataTooLarge"));
    }
    Ok(kept)
}

fn headers_as_kept(operation: &'static str, headers: &SystemHeaders) -> StoreResult<SystemHeaders> {
    let mut kept = headers.clone();
    for value in [
        &mut kept.cache_control,
        &mut kept.content_disposition,
        &mut kept.content_encoding,
        &mut kept.content_language,
        &mut kept.expires,
        &mut kept.storage_class,
        &mut kept.website_redirect,
    ] {
        if value.as_ref().is_some_and(|value| !value.bytes().all(|b| (b' '..=b'~').contains(&b))) {
            return Err(refuse(StoreErrorKind::InvalidRequest, operation, "a header is not printable ASCII"));
        }
        *value = value.take().map(|value| value.trim().to_owned());
    }
    kept.storage_class = kept.storage_class.filter(|class| class != "STANDARD");
    Ok(kept)
}

/// Source: Amazon S3 User Guide, "Categorizing your objects using tags".
fn tags_as_kept(operation: &'static str, tags: &Tags) -> StoreResult<Tags> {
    let is_long = |(name, value): (&String, &String)| name.chars().count() > 128 || value.chars().count() > 256;
    if tags.len() > 10 || tags.iter().any(is_long) || tags.contains_key("") {
        return Err(refuse(StoreErrorKind::InvalidRequest, operation, "InvalidTag"));
    }
    Ok(tags.clone())
}

/// A time with S3's resolution.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
