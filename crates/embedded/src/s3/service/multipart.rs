//! Multipart uploads.

use std::time::{SystemTime, UNIX_EPOCH};

use s3s::S3Request;
use s3s::dto::*;

use super::super::checksums::{Algorithm, Claims, Coverage, Sum, assemble, combine_crc64, crc_etag};
use super::super::conditions::WriteCondition;
use super::super::failure::Failure;
use super::super::headers::ObjectHeaders;
use super::super::index::{self, Content, NewUpload, StoredPart, Upload};
use super::super::receive::{Announced, receive};
use super::{Service, checksum, etag, size};
use crate::random;

/// S3's limits. Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits".
const PARTS_MAX: u32 = 10_000;
const PART_MIN: u64 = 5 << 20;

impl Service {
    pub(super) async fn begin_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> Result<CreateMultipartUploadOutput, Failure> {
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
        let sum = chosen_sum(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
        let upload = Upload { headers, sum };
        let id = new_upload_id()?;
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(id.clone()),
            checksum_algorithm: sum.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
            checksum_type: sum.map(|(_, coverage)| ChecksumType::from_static(coverage.name())),
            ..CreateMultipartUploadOutput::default()
        };
        self.store
            .run(move |store| {
                store.write(|index, _| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    index::begin_upload(index, &NewUpload { bucket, key: &input.key, id: &id, upload: &upload })
                })
            })
            .await?;
        Ok(output)
    }

    pub(super) async fn receive_part(&self, request: S3Request<UploadPartInput>) -> Result<UploadPartOutput, Failure> {
        let input = request.input;
        let number = part_number(input.part_number)?;
        let announced = Announced {
            len: input.content_length.and_then(|len| u64::try_from(len).ok()),
            claims: Claims::parse(&request.headers)?,
            trailers: request.trailing_headers,
        };
        let received = receive(self.store.bodies(), input.body, announced).await?;
        let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
        let content = self
            .store
            .run(move |store| {
                let body = received.finish()?;
                let content = body.content();
                let extents = body.extents();
                store.write(|index, unused| {
                    let bucket = index::bucket(index, &bucket)?;
                    index::find_upload(index, bucket, &key, &id)?;
                    let content = index::insert_content(index, &content, &extents)?;
                    index::put_part(index, &id, number, content, unused)
                })?;
                body.keep();
                Ok(content)
            })
            .await?;
        let sum = checksum(&content);
        Ok(UploadPartOutput {
            e_tag: Some(etag(&content)),
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            ..UploadPartOutput::default()
        })
    }

    /// The object takes over the parts' bodies. A refused completion leaves the upload as it is.
    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> Result<CompleteMultipartUploadOutput, Failure> {
        let condition = WriteCondition::new(input.if_match.clone(), input.if_none_match.clone())?;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let content = self
            .store
            .run(move |store| {
                store.write(|index, unused| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    let upload = index::find_upload(index, bucket, &input.key, &input.upload_id)?;
                    let stored = index::list_parts(index, &input.upload_id, 0, PARTS_MAX as usize)?;
                    let parts = named_parts(&stored, input.multipart_upload.as_ref(), upload.sum.is_some())?;
                    let content = assembled(&parts, &upload)?;
                    check_claims(&content, &input)?;
                    condition.check(index::find_object(index, bucket, &input.key)?.as_ref())?;
                    let id = index::insert_content(index, &content, &[])?;
                    let mut at = 0;
                    for part in &parts {
                        index::append_part(index, id, at, part.content_id)?;
                        at += part.content.size;
                    }
                    index::drop_upload(index, bucket, &input.key, &input.upload_id, unused)?;
                    index::publish(index, bucket, &input.key, id, &upload.headers, unused)?;
                    Ok(content)
                })
            })
            .await?;
        let sum = checksum(&content);
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(etag(&content)),
            checksum_crc32: sum.checksum_crc32,
            checksum_crc32c: sum.checksum_crc32c,
            checksum_crc64nvme: sum.checksum_crc64nvme,
            checksum_sha1: sum.checksum_sha1,
            checksum_sha256: sum.checksum_sha256,
            checksum_type: sum.checksum_type,
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) async fn abort_upload(
        &self,
        input: AbortMultipartUploadInput,
    ) -> Result<AbortMultipartUploadOutput, Failure> {
        self.store
            .run(move |store| {
                store.write(|index, unused| {
                    let bucket = index::bucket(index, &input.bucket)?;
                    index::drop_upload(index, bucket, &input.key, &input.upload_id, unused)
                })
            })
            .await?;
        Ok(AbortMultipartUploadOutput::default())
    }
}

pub(super) fn part_number(number: i32) -> Result<u32, Failure> {
    u32::try_from(number)
        .ok()
        .filter(|number| (1..=PARTS_MAX).contains(number))
        .ok_or(Failure::InvalidArgument("Part number must be an integer between 1 and 10000, inclusive"))
}

/// Identifiers sort in the order of their making, as S3 lists the uploads of a key.
fn new_upload_id() -> Result<String, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let random = random::bytes::<8>().map_err(std::io::Error::other)?;
    Ok(format!("{:016x}{:016x}", now.as_micros(), u64::from_be_bytes(random)))
}

fn chosen_sum(
    algorithm: Option<&ChecksumAlgorithm>,
    coverage: Option<&ChecksumType>,
) -> Result<Option<(Algorithm, Coverage)>, Failure> {
    let Some(algorithm) = algorithm else { return Ok(None) };
    let algorithm = Algorithm::parse(algorithm.as_str())
        .ok_or(Failure::InvalidRequest("Checksum algorithm provided is unsupported."))?;
    let coverage = match coverage {
        None => algorithm.default_coverage(),
        Some(coverage) => {
            Coverage::parse(coverage.as_str()).ok_or(Failure::InvalidRequest("the checksum type is unknown"))?
        }
    };
    if !algorithm.allows(coverage) {
        return Err(Failure::InvalidRequest("the checksum type can't be used with this algorithm"));
    }
    Ok(Some((algorithm, coverage)))
}

/// The stored parts that the completion names, checked as S3 does. Where the upload was begun with
/// a checksum algorithm, numbers have no gaps (API Reference, CompletedPart).
fn named_parts(
    stored: &[StoredPart],
    named: Option<&CompletedMultipartUpload>,
    without_gaps: bool,
) -> Result<Vec<StoredPart>, Failure> {
    let named = named.and_then(|named| named.parts.as_deref()).unwrap_or_default();
    if named.is_empty() {
        return Err(Failure::MalformedXml("You must specify at least one part"));
    }
    let mut parts: Vec<StoredPart> = Vec::with_capacity(named.len());
    for name in named {
        let number = name.part_number.and_then(|number| u32::try_from(number).ok()).ok_or(Failure::InvalidPart)?;
        let before = parts.last().map_or(0, |before| before.number);
        if number <= before || (without_gaps && number != before + 1) {
            return Err(Failure::InvalidPartOrder);
        }
        let part = stored
            .binary_search_by_key(&number, |part| part.number)
            .ok()
            .and_then(|at| stored.get(at))
            .ok_or(Failure::InvalidPart)?;
        if name.e_tag.as_ref().is_none_or(|tag| tag.value() != part.content.etag) || !sum_agrees(name, &part.content) {
            return Err(Failure::InvalidPart);
        }
        parts.push(part.clone());
    }
    if parts.iter().rev().skip(1).any(|part| part.content.size < PART_MIN) {
        return Err(Failure::EntityTooSmall);
    }
    Ok(parts)
}

/// Whether a completion's checksum of a part is the one that the part was stored with.
fn sum_agrees(name: &CompletedPart, content: &Content) -> bool {
    let agrees = |algorithm, value: &Option<String>| match value {
        None => true,
        Some(value) if algorithm == Algorithm::Crc64Nvme => Sum::crc64(content.crc64).value == *value,
        Some(value) => content.sum.as_ref().is_some_and(|sum| sum.algorithm == algorithm && sum.value == *value),
    };
    agrees(Algorithm::Crc32, &name.checksum_crc32)
        && agrees(Algorithm::Crc32c, &name.checksum_crc32c)
        && agrees(Algorithm::Crc64Nvme, &name.checksum_crc64nvme)
        && agrees(Algorithm::Sha1, &name.checksum_sha1)
        && agrees(Algorithm::Sha256, &name.checksum_sha256)
}

fn assembled(parts: &[StoredPart], upload: &Upload) -> Result<Content, Failure> {
    let crc64 = combine_crc64(parts.iter().map(|part| (part.content.crc64, part.content.size)));
    let size = parts.iter().map(|part| part.content.size).sum();
    let sum = match upload.sum {
        None | Some((Algorithm::Crc64Nvme, _)) => None,
        Some((algorithm, coverage)) => Some(
            assemble(algorithm, coverage, parts.iter().map(|part| (part.content.sum.as_ref(), part.content.size)))
                .ok_or(Failure::InvalidRequest("a part lacks the checksum that the upload was begun with"))?,
        ),
    };
    let count = u32::try_from(parts.len()).unwrap_or(PARTS_MAX);
    Ok(Content { size, crc64, etag: crc_etag(crc64, size, parts.len()), parts: Some(count), sum })
}

/// What the completion says about the whole object.
fn check_claims(content: &Content, input: &CompleteMultipartUploadInput) -> Result<(), Failure> {
    if input.mpu_object_size.is_some_and(|claimed| claimed != size(content.size)) {
        return Err(Failure::InvalidRequest("the object's size is not x-amz-mp-object-size"));
    }
    let claims = [
        (Algorithm::Crc32, &input.checksum_crc32),
        (Algorithm::Crc32c, &input.checksum_crc32c),
        (Algorithm::Crc64Nvme, &input.checksum_crc64nvme),
        (Algorithm::Sha1, &input.checksum_sha1),
        (Algorithm::Sha256, &input.checksum_sha256),
    ];
    for (algorithm, claimed) in claims {
        let Some(claimed) = claimed else { continue };
        let actual = match &content.sum {
            _ if algorithm == Algorithm::Crc64Nvme => Sum::crc64(content.crc64),
            Some(sum) if sum.algorithm == algorithm => sum.clone(),
            _ => return Err(Failure::InvalidRequest("the upload was begun with another checksum algorithm")),
        };
        // The number of parts behind a composite need not be sent.
        let bare = actual.value.split_once('-').map_or(actual.value.as_str(), |(bare, _)| bare);
        if *claimed != actual.value && claimed != bare {
            return Err(Failure::BadDigest(algorithm.name()));
        }
    }
    let shown = content.shown_sum().coverage;
    if input.checksum_type.as_ref().is_some_and(|claimed| claimed.as_str() != shown.name()) {
        return Err(Failure::InvalidRequest("the upload's checksum is of another type"));
    }
    Ok(())
}

/// A part as ListParts shows it.
pub(super) fn listed_part(part: StoredPart) -> Part {
    let sum = part.content.sum.as_ref().map_or_else(Checksum::default, Sum::to_dto);
    Part {
        checksum_crc32: sum.checksum_crc32,
        checksum_crc32c: sum.checksum_crc32c,
        checksum_crc64nvme: sum.checksum_crc64nvme,
        checksum_sha1: sum.checksum_sha1,
        checksum_sha256: sum.checksum_sha256,
        e_tag: Some(etag(&part.content)),
        last_modified: Some(index::timestamp(part.modified)),
        part_number: i32::try_from(part.number).ok(),
        size: Some(size(part.content.size)),
    }
}
