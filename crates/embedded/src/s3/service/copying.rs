//! CopyObject and UploadPartCopy. Both share the source's bodies; no byte is copied.

use std::ops::Range;

use s3s::S3Request;
use s3s::dto::{self, *};

use super::super::bodies::Pinned;
use super::super::checksums::{Hashers, Sums, combine_crc64, crc_etag};
use super::super::conditions::{ReadCondition, WriteCondition};
use super::super::failure::Failure;
use super::super::headers::ObjectHeaders;
use super::super::index::{self, Content, Extent};
use super::super::reader::Reader;
use super::super::store::Store;
use super::multipart::part_number;
use super::{Service, checksum, etag};

/// S3's limit for one copy, in bytes.
const COPY_MAX: u64 = 5 << 30;

impl Service {
    pub(super) async fn copy(&self, request: S3Request<CopyObjectInput>) -> Result<CopyObjectOutput, Failure> {
        let to = WriteCondition::parse(&request.headers)?;
        let input = request.input;
        let source = Source::new(&input.copy_source)?;
        let from = ReadCondition {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let replace =
            input.metadata_directive.is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
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
        let retag = input.tagging_directive.is_some_and(|directive| directive.as_str() == TaggingDirective::REPLACE);
        if !replace && source.bucket == input.bucket && source.key == input.key {
            return Err(Failure::InvalidRequest(
                "This copy request is illegal because it is trying to copy an object to itself without changing \
                 the object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let (content, modified) = self
            .store
            .run(move |store| {
                store.write(|index, unused| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    let source_bucket = index::bucket(index, &source.bucket)?;
                    let source = index::find_object(index, source_bucket, &source.key)?.ok_or(Failure::NoSuchKey)?;
                    from.check_copy(&source)?;
                    if source.content.size > COPY_MAX {
                        return Err(Failure::InvalidRequest("The copy source is larger than 5 GiB."));
                    }
                    to.check(index::find_object(index, bucket, &input.key)?.as_ref())?;
                    let content = whole_copy(&source.content);
                    let id = index::copy_content(index, source.content_id, &content)?;
                    // Class and redirect are never the source's: what is not given is STANDARD, and none.
                    let given = headers.clone();
                    let headers = if replace { headers } else { source.headers.clone() };
                    let tags = if retag { given.tags } else { source.headers.tags };
                    let (storage_class, website_redirect) = (given.storage_class, given.website_redirect);
                    let headers = ObjectHeaders { storage_class, tags, website_redirect, ..headers };
                    let modified = index::publish(index, bucket, &input.key, id, &headers, unused)?;
                    Ok((content, modified))
                })
            })
            .await?;
        let sum = checksum(&content);
        let result = CopyObjectResult {
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            checksum_type: sum.checksum_type,
            e_tag: Some(etag(&content)),
            last_modified: Some(modified),
        };
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
    }

    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> Result<UploadPartCopyOutput, Failure> {
        let number = part_number(input.part_number)?;
        let source = Source::new(&input.copy_source)?;
        let from = ReadCondition {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let wanted = input.copy_source_range.as_deref().map(parse_range).transpose()?;
        let (content, modified) = self
            .store
            .run(move |store| {
                let ((range, algorithm), extents, pinned) = store.read_pinned(|index| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    let upload = index::find_upload(index, bucket, &input.key, &input.upload_id)?;
                    let source_bucket = index::bucket(index, &source.bucket)?;
                    let source = index::find_object(index, source_bucket, &source.key)?.ok_or(Failure::NoSuchKey)?;
                    from.check_copy(&source)?;
                    let range = wanted.unwrap_or(0..source.content.size);
                    if range.end > source.content.size {
                        return Err(Failure::InvalidArgument("the range leaves the copy source"));
                    }
                    if range.end - range.start > COPY_MAX {
                        return Err(Failure::InvalidRequest("The specified copy range is larger than 5 GiB."));
                    }
                    let algorithm = upload.sum.map(|(algorithm, _)| algorithm);
                    Ok(((range.clone(), algorithm), source.content_id, range))
                })?;
                // A checksum that can't be joined from those of the extents needs the bytes.
                let sums = match algorithm {
                    None => None,
                    Some(_) => Some(sum_range(store, &extents, &range, Hashers::with(algorithm))?),
                };
                let slices = slice(store, &extents, &range)?;
                let content = part_content(&slices, sums.as_ref().and_then(|sums| sums.of(algorithm?)));
                let modified = store.write_reviving(&extents, |index, unused| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    index::find_upload(index, bucket, &input.key, &input.upload_id)?;
                    let id = index::insert_content(index, &content, &slices)?;
                    index::put_part(index, &input.upload_id, number, id, unused)
                })?;
                drop(pinned);
                Ok((content, modified))
            })
            .await?;
        let sum = content.sum.as_ref().map_or_else(Checksum::default, |sum| sum.to_dto());
        let result = CopyPartResult {
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            e_tag: Some(etag(&content)),
            last_modified: Some(index::timestamp(modified)),
        };
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
    }
}

struct Source {
    bucket: String,
    key: String,
}

impl Source {
    fn new(source: &CopySource) -> Result<Self, Failure> {
        match source {
            CopySource::Bucket { bucket, key, version_id: None } => {
                Ok(Self { bucket: bucket.to_string(), key: key.to_string() })
            }
            _ => Err(Failure::NotImplemented("a copy source is a bucket and a key, without a version")),
        }
    }
}

/// S3 gives the copy of a multipart object, which it makes in one piece, a tag of another form;
/// other copies have the tag of their source.
fn whole_copy(source: &Content) -> Content {
    match source.parts {
        None => source.clone(),
        Some(_) => {
            let etag = crc_etag(source.crc64, source.size, 1);
            Content { etag, parts: None, sum: None, ..source.clone() }
        }
    }
}

fn part_content(slices: &[Extent], sum: Option<super::super::checksums::Sum>) -> Content {
    let crc64 = combine_crc64(slices.iter().map(|slice| (slice.crc64, slice.len)));
    let size = slices.iter().map(|slice| slice.len).sum();
    Content { size, crc64, etag: crc_etag(crc64, size, 1), parts: None, sum }
}

/// The extents of a range of their content, counted from the range's start. Extents that are cut
/// are read for their new checksum.
fn slice(store: &Store, extents: &[Extent], range: &Range<u64>) -> Result<Vec<Extent>, Failure> {
    let mut slices = Vec::with_capacity(extents.len());
    for extent in extents {
        let start = range.start.max(extent.start);
        let end = range.end.min(extent.end());
        if start >= end {
            continue;
        }
        let len = end - start;
        let crc64 = if len == extent.len {
            extent.crc64
        } else {
            sum_range(store, &[*extent], &(start..end), Hashers::with(None))?.crc64
        };
        slices.push(Extent {
            start: start - range.start,
            len,
            body: extent.body,
            offset: extent.offset + (start - extent.start),
            crc64,
        });
    }
    Ok(slices)
}

fn sum_range(store: &Store, extents: &[Extent], range: &Range<u64>, hashers: Hashers) -> Result<Sums, Failure> {
    let pinned: Pinned = store.bodies().pin(extents.iter().map(|extent| extent.body).collect());
    Ok(Reader::new(extents, pinned, range).sum(hashers)?)
}

/// `bytes=first-last`, both needed. Source: Amazon S3 API Reference, UploadPartCopy.
fn parse_range(text: &str) -> Result<Range<u64>, Failure> {
    match dto::Range::parse(text) {
        Ok(dto::Range::Int { first, last: Some(last) }) => Ok(first..last + 1),
        _ => Err(Failure::InvalidArgument("x-amz-copy-source-range must be bytes=first-last")),
    }
}
