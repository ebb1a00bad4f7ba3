//! PutObject, GetObject, HeadObject, DeleteObject and DeleteObjects.

use std::ops::Range;

use s3s::S3Request;
use s3s::dto::{self, *};

use super::super::checksums::{Claims, Coverage};
use super::super::conditions::{ReadCondition, WriteCondition};
use super::super::failure::Failure;
use super::super::headers::ObjectHeaders;
use super::super::index::{self, Content, StoredObject};
use super::super::reader::Reader;
use super::super::receive::{Announced, receive};
use super::{Service, checksum, etag, size};

impl Service {
    pub(super) async fn put(&self, request: S3Request<PutObjectInput>) -> Result<PutObjectOutput, Failure> {
        let input = request.input;
        let condition = WriteCondition::new(input.if_match, input.if_none_match)?;
        let headers = ObjectHeaders::new(
            input.cache_control,
            input.content_disposition,
            input.content_encoding,
            input.content_language,
            input.content_type,
            input.expires,
            input.metadata,
        )?
        .in_class(input.storage_class.as_ref())
        .redirecting(input.website_redirect_location)
        .tagged(input.tagging.as_deref())?;
        let announced = Announced {
            len: input.content_length.and_then(|len| u64::try_from(len).ok()),
            claims: Claims::parse(&request.headers)?,
            trailers: request.trailing_headers,
        };
        let received = receive(self.store.bodies(), input.body, announced).await?;
        let (bucket, key) = (input.bucket, input.key);
        let content = self
            .store
            .run(move |store| {
                let body = received.finish()?;
                let content = body.content();
                let extents = body.extents();
                store.write(|index, unused| {
                    let bucket = index::bucket(index, &bucket)?;
                    condition.check(index::find_object(index, bucket, &key)?.as_ref())?;
                    let id = index::insert_content(index, &content, &extents)?;
                    index::publish(index, bucket, &key, id, &headers, unused)
                })?;
                body.keep();
                Ok(content)
            })
            .await?;
        let sum = checksum(&content);
        Ok(PutObjectOutput {
            e_tag: Some(etag(&content)),
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            checksum_type: sum.checksum_type,
            ..PutObjectOutput::default()
        })
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> Result<GetObjectOutput, Failure> {
        let condition = ReadCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let (bucket, key) = (input.bucket, input.key);
        let (wanted, part) = (input.range, input.part_number);
        let asks_for_sum = input.checksum_mode.is_some();
        let (object, range, body) = self
            .store
            .run(move |store| {
                let ((object, range), extents, pinned) = store.read_pinned(|index| {
                    let bucket = index::bucket(index, &bucket)?;
                    let object = index::find_object(index, bucket, &key)?.ok_or(Failure::NoSuchKey)?;
                    condition.check(&object)?;
                    only_part(part, &object)?;
                    let range = resolve(wanted, object.content.size)?;
                    Ok(((object.clone(), range.clone()), object.content_id, range))
                })?;
                Ok((object, range.clone(), Reader::new(&extents, pinned, &range).into_body()?))
            })
            .await?;
        let StoredObject { content, headers, .. } = &object;
        let content_range = (wanted.is_some())
            .then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), content.size));
        // A range that is the whole has its checksum in S3, any other has none.
        let with_sum = asks_for_sum && (wanted.is_none() || covers_all(&range, content));
        let sum = if with_sum { checksum(content) } else { Checksum::default() };
        Ok(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(body),
            cache_control: headers.cache_control.clone(),
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            checksum_type: sum.checksum_type,
            content_disposition: headers.content_disposition.clone(),
            content_encoding: headers.content_encoding.clone(),
            content_language: headers.content_language.clone(),
            content_length: Some(size(range.end - range.start)),
            content_range,
            content_type: Some(headers.content_type_or_default()),
            e_tag: Some(etag(content)),
            expires: headers.expires.clone(),
            last_modified: Some(object.modified()),
            metadata: headers.metadata_dto(),
            storage_class: headers.storage_class.clone().map(StorageClass::from),
            tag_count: tag_count(headers),
            website_redirect_location: headers.website_redirect.clone(),
            ..GetObjectOutput::default()
        })
    }

    /// With the number of tags, which has no place in the answer's type.
    pub(super) async fn head(&self, input: HeadObjectInput) -> Result<(HeadObjectOutput, Option<i32>), Failure> {
        let condition = ReadCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let (bucket, key) = (input.bucket, input.key);
        let object = self
            .store
            .run(move |store| {
                store.read(|index| {
                    let bucket = index::bucket(index, &bucket)?;
                    index::find_object(index, bucket, &key)?.ok_or(Failure::NoSuchKey)
                })
            })
            .await?;
        condition.check(&object)?;
        only_part(input.part_number, &object)?;
        let StoredObject { content, headers, .. } = &object;
        let range = resolve(input.range, content.size)?;
        let with_sum = input.checksum_mode.is_some() && input.range.is_none();
        let sum = if with_sum { checksum(content) } else { Checksum::default() };
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: headers.cache_control.clone(),
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            checksum_type: sum.checksum_type,
            content_disposition: headers.content_disposition.clone(),
            content_encoding: headers.content_encoding.clone(),
            content_language: headers.content_language.clone(),
            content_length: Some(size(range.end - range.start)),
            content_range: (input.range.is_some())
                .then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), content.size)),
            content_type: Some(headers.content_type_or_default()),
            e_tag: Some(etag(content)),
            expires: headers.expires.clone(),
            last_modified: Some(object.modified()),
            metadata: headers.metadata_dto(),
            storage_class: headers.storage_class.clone().map(StorageClass::from),
            website_redirect_location: headers.website_redirect.clone(),
            ..HeadObjectOutput::default()
        };
        Ok((output, tag_count(headers)))
    }

    pub(super) async fn delete(&self, input: DeleteObjectInput) -> Result<DeleteObjectOutput, Failure> {
        let condition = WriteCondition::new(input.if_match, None)?;
        self.store
            .run(move |store| {
                store.write(|index, unused| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    condition.check(index::find_object(index, bucket, &input.key)?.as_ref())?;
                    index::delete_object(index, bucket, &input.key, unused)
                })
            })
            .await?;
        Ok(DeleteObjectOutput::default())
    }

    pub(super) async fn delete_many(&self, input: DeleteObjectsInput) -> Result<DeleteObjectsOutput, Failure> {
        /// Source: Amazon S3 API Reference, DeleteObjects.
        const KEYS_MAX: usize = 1000;
        let Delete { objects, quiet } = input.delete;
        if objects.is_empty() || objects.len() > KEYS_MAX {
            return Err(Failure::MalformedXml("DeleteObjects takes 1 to 1,000 keys"));
        }
        let keys: Vec<_> = objects.into_iter().map(|object| object.key).collect();
        let deleted = self
            .store
            .run(move |store| {
                store.write(|index, unused| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    keys.iter().try_for_each(|key| index::delete_object(index, bucket, key, unused))
                })?;
                Ok(keys)
            })
            .await?;
        let deleted = deleted.into_iter().map(|key| DeletedObject { key: Some(key), ..DeletedObject::default() });
        let deleted = (!quiet.unwrap_or(false)).then(|| deleted.collect());
        Ok(DeleteObjectsOutput { deleted, ..DeleteObjectsOutput::default() })
    }
}

/// As S3 tells it: not where there are none.
fn tag_count(headers: &ObjectHeaders) -> Option<i32> {
    i32::try_from(headers.tags.len()).ok().filter(|count| *count > 0)
}

/// Whether a range is the whole object, and the whole has a checksum of its bytes.
fn covers_all(range: &Range<u64>, content: &Content) -> bool {
    *range == (0..content.size) && content.shown_sum().coverage == Coverage::FullObject
}

/// An empty object has no satisfiable range.
fn resolve(range: Option<dto::Range>, size: u64) -> Result<Range<u64>, Failure> {
    let Some(range) = range else { return Ok(0..size) };
    match range.check(size) {
        Ok(range) if range.start < range.end => Ok(range),
        _ => Err(Failure::InvalidRange),
    }
}

/// `?partNumber=1` of an object that has one part is the object.
fn only_part(part: Option<i32>, object: &StoredObject) -> Result<(), Failure> {
    match (part, object.content.parts) {
        (None, _) | (Some(1), None | Some(1)) => Ok(()),
        _ => Err(Failure::NotImplemented("the embedded S3 server does not keep the bounds of parts")),
    }
}
