//! Multipart uploads: their parts, and the rules of completion.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::{Bytes, BytesMut};

use super::bucket::{Bucket, as_kept, received, slice};
use super::refuse;
use crate::checksum::Checksum;
use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{Body, ByteRange, Condition, CopySource, ETag, ObjectAttributes, ObjectKey, Receipt};
use crate::object_store::{PartNumber, PartsPage, StoredPart, Upload, UploadsPage, limits};

/// An upload that was begun and neither completed nor aborted.
pub(super) struct Pending {
    attributes: ObjectAttributes,
    parts: BTreeMap<PartNumber, Part>,
}

struct Part {
    etag: ETag,
    bytes: Bytes,
}

impl Bucket {
    pub(super) fn begin_upload(&mut self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload> {
        let attributes = as_kept("begin_upload", attributes)?;
        let upload = self.next_upload(key);
        let pending = Pending { attributes, parts: BTreeMap::new() };
        self.uploads.insert((upload.key.clone(), upload.id.clone()), pending);
        Ok(upload)
    }

    pub(super) fn put_part(
        &mut self,
        upload: &Upload,
        number: PartNumber,
        body: &Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        self.pending("put_part", upload)?;
        let bytes = received("put_part", body, checksum)?;
        self.keep_part("put_part", upload, number, bytes, Some(checksum))
    }

    pub(super) fn copy_part(
        &mut self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        self.pending("copy_part", upload)?;
        let object = self.version("copy_part", &source.key, source.if_match.as_ref())?;
        let size = object.meta.size;
        let len = range.len.unwrap_or(size.saturating_sub(range.offset));
        let invalid = |reason: &str| Err(refuse(StoreErrorKind::InvalidRequest, "copy_part", reason));
        if len == 0 || range.offset.checked_add(len).is_none_or(|end| end > size) {
            return invalid("InvalidRange: the range leaves the source");
        }
        if len > limits::PART_MAX {
            return invalid("the range is larger than a part may be");
        }
        // UploadPartCopy, x-amz-copy-source-range: "You can copy a range only if the source
        // object is greater than 5 MB."
        if len < size && size <= self.part_min {
            return invalid("the source is too small to copy a range of it");
        }
        let bytes = slice(&object.bytes, range);
        // As S3 does (API Reference, CopyPartResult).
        let checksum = Checksum::of(&bytes);
        self.keep_part("copy_part", upload, number, bytes, Some(checksum))
    }

    fn keep_part(
        &mut self,
        operation: &'static str,
        upload: &Upload,
        number: PartNumber,
        bytes: Bytes,
        checksum: Option<Checksum>,
    ) -> StoreResult<StoredPart> {
        let etag = self.next_etag();
        let size = bytes.len() as u64;
        let part = Part { etag: etag.clone(), bytes };
        self.pending_mut(operation, upload)?.parts.insert(number, part);
        Ok(StoredPart { number, etag, size, checksum })
    }

    pub(super) fn complete_upload(
        &mut self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let pending = self.pending("complete_upload", upload)?;
        let bytes = assemble(pending, parts, self.part_min)?;
        if checksum.is_some_and(|checksum| checksum != Checksum::of(&bytes)) {
            return Err(refuse(StoreErrorKind::Corrupt, "complete_upload", "BadDigest: the whole does not match"));
        }
        self.check("complete_upload", &upload.key, condition)?;
        let attributes = pending.attributes.clone();
        self.uploads.remove(&id(upload));
        Ok(self.publish(&upload.key, bytes, attributes, false))
    }

    pub(super) fn abort_upload(&mut self, upload: &Upload) {
        self.uploads.remove(&id(upload));
    }

    pub(super) fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        let pending = self.pending("list_parts", upload)?;
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = |(number, part): (&PartNumber, &Part)| StoredPart {
            number: *number,
            etag: part.etag.clone(),
            size: part.bytes.len() as u64,
            checksum: Some(Checksum::of(&part.bytes)),
        };
        let mut parts: Vec<_> =
            pending.parts.range((behind, Bound::Unbounded)).take(self.page_max + 1).map(stored).collect();
        let more = parts.len() > self.page_max;
        parts.truncate(self.page_max);
        let next = parts.last().filter(|_| more).map(|part| part.number);
        Ok(PartsPage { parts, next })
    }

    pub(super) fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> UploadsPage {
        let behind = after.map_or(Bound::Unbounded, |upload| Bound::Excluded(id(upload)));
        let mut uploads: Vec<_> = self
            .uploads
            .range((behind, Bound::Unbounded))
            .filter(|((key, _), _)| key.as_str().starts_with(prefix))
            .take(self.page_max + 1)
            .map(|((key, id), _)| Upload { key: key.clone(), id: id.clone() })
            .collect();
        let more = uploads.len() > self.page_max;
        uploads.truncate(self.page_max);
        let next = uploads.last().filter(|_| more).cloned();
        UploadsPage { uploads, next }
    }

    fn pending(&self, operation: &'static str, upload: &Upload) -> StoreResult<&Pending> {
        self.uploads.get(&id(upload)).ok_or_else(|| refuse(StoreErrorKind::NotFound, operation, "NoSuchUpload"))
    }

    fn pending_mut(&mut self, operation: &'static str, upload: &Upload) -> StoreResult<&mut Pending> {
        self.uploads.get_mut(&id(upload)).ok_or_else(|| refuse(StoreErrorKind::NotFound, operation, "NoSuchUpload"))
    }
}

fn id(upload: &Upload) -> (ObjectKey, String) {
    (upload.key.clone(), upload.id.clone())
}

/// The object that the parts make, if they are whole, in order and large enough.
fn assemble(pending: &Pending, named: &[StoredPart], part_min: u64) -> StoreResult<Bytes> {
    let invalid = |reason: &str| refuse(StoreErrorKind::InvalidRequest, "complete_upload", reason);
    if named.is_empty() {
        return Err(invalid("MalformedXML: there must be a part"));
    }
    // CompletedPart, PartNumber: where parts carry checksums, "the PartNumber must start at 1 and
    // the part numbers must be consecutive".
    if !named.iter().map(|part| part.number.number()).eq((1..).take(named.len())) {
        return Err(invalid("InvalidPartOrder"));
    }
    let mut whole = BytesMut::new();
    for (index, part) in named.iter().enumerate() {
        let kept = pending
            .parts
            .get(&part.number)
            .filter(|kept| kept.etag == part.etag)
            .ok_or_else(|| invalid("InvalidPart"))?;
        if index + 1 < named.len() && (kept.bytes.len() as u64) < part_min {
            return Err(invalid("EntityTooSmall"));
        }
        whole.extend_from_slice(&kept.bytes);
    }
    Ok(whole.freeze())
}
