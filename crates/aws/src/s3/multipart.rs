//! Multipart uploads.

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_sdk_s3::types::{EncodingType, Part, StorageClass};
use tidegate_store::{
    Body, ByteRange, Checksum, Condition, CopySource, ETag, ObjectAttributes, ObjectKey, PartNumber, PartsPage,
    Receipt, StoreError, StoreErrorKind, StoreResult, StoredPart, Upload, UploadsPage,
};
use tracing::info;

use super::body::request_body;
use super::encoding::{copy_source, tagging};
use super::read::{Names, checksum, range_header, unsigned};
use super::write::{Failure, check_body, condition_failure, expires};
use super::{S3Bucket, condition_headers, etag, signed};
use crate::attempts::Attempts;
use crate::config::Checksums;
use crate::error::{kind, own_error, store_error, store_error_as};

impl S3Bucket {
    pub(super) async fn create_multipart_upload(
        &self,
        key: &ObjectKey,
        attributes: &ObjectAttributes,
    ) -> StoreResult<Upload> {
        const OPERATION: &str = "begin upload";
        let at = self.at(key);
        let mut request = self
            .client
            .create_multipart_upload()
            .bucket(&*self.name)
            .key(key.as_str())
            .set_content_type(attributes.content_type.clone())
            .set_cache_control(attributes.headers.cache_control.clone())
            .set_content_disposition(attributes.headers.content_disposition.clone())
            .set_content_encoding(attributes.headers.content_encoding.clone())
            .set_content_language(attributes.headers.content_language.clone())
            .set_storage_class(attributes.headers.storage_class.as_deref().map(StorageClass::from))
            .set_website_redirect_location(attributes.headers.website_redirect.clone())
            .set_metadata(Some(attributes.metadata.clone().into_iter().collect()))
            .set_tagging(tagging(&attributes.tags));
        if self.settings.checksums == Checksums::Crc64nvme {
            // FULL_OBJECT: the completion carries the checksum of the whole, which S3 joins from
            // those of the parts, so that it also proves their order.
            request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        }
        let request = request.customize().mutate_request(expires(Some(attributes)));
        let output = request.send().await.map_err(|error| store_error(OPERATION, &at, error))?;
        match output.upload_id {
            Some(id) if !id.is_empty() => Ok(Upload { key: key.clone(), id }),
            _ => Err(own_error(StoreErrorKind::Corrupt, OPERATION, at, "the answer has no upload id")),
        }
    }

    pub(super) async fn upload_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        const OPERATION: &str = "put part";
        let at = self.at(&upload.key);
        check_body(&body, checksum, OPERATION, &at)?;
        let len = body.len();
        let output = self
            .client
            .upload_part()
            .bucket(&*self.name)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .part_number(i32::from(number.number()))
            .content_length(signed(len))
            .set_checksum_crc64_nvme(self.checksum(checksum))
            .body(request_body(body))
            .customize()
            .disable_payload_signing()
            .config_override(self.attempt_time(self.settings.timeouts.upload_attempt(len)))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &at, error))?;
        let etag = etag(output.e_tag, OPERATION, &at)?;
        let sent = (self.settings.checksums == Checksums::Crc64nvme).then_some(checksum);
        Ok(StoredPart { number, etag, size: len, checksum: sent })
    }

    pub(super) async fn upload_part_copy(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        const OPERATION: &str = "copy part";
        let at = self.at(&upload.key);
        // S3 takes no open range here (Amazon S3 API Reference, UploadPartCopy). Where the end is
        // asked for first, the copy is bound to the version that it is the end of.
        let (size, version) = match range.len {
            Some(size) => (size, source.if_match.clone()),
            None => {
                let meta = self.head_object(&source.key).await?;
                let outside = || own_error(StoreErrorKind::InvalidRequest, OPERATION, &at, "a range behind the end");
                let size = meta.size.checked_sub(range.offset).filter(|size| *size > 0).ok_or_else(outside)?;
                (size, Some(source.if_match.clone().unwrap_or(meta.etag)))
            }
        };
        let range = range_header(ByteRange::new(range.offset, size), OPERATION, &at)?;
        let output = self
            .client
            .upload_part_copy()
            .bucket(&*self.name)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .part_number(i32::from(number.number()))
            .copy_source(copy_source(&self.name, &source.key))
            .copy_source_range(range)
            .set_copy_source_if_match(version.map(|tag| tag.as_str().to_owned()))
            .customize()
            .config_override(self.attempt_time(self.settings.timeouts.server_work))
            .send()
            .await
            .map_err(|error| {
                let kind = match kind(&error) {
                    StoreErrorKind::RangeNotSatisfiable => StoreErrorKind::InvalidRequest,
                    kind => kind,
                };
                store_error_as(kind, OPERATION, &at, error)
            })?;
        let (tag, told) =
            output.copy_part_result.map_or((None, None), |copied| (copied.e_tag, copied.checksum_crc64_nvme));
        let told = told.filter(|_| self.settings.checksums == Checksums::Crc64nvme);
        Ok(StoredPart { number, etag: etag(tag, OPERATION, &at)?, size, checksum: checksum(told, size) })
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        const OPERATION: &str = "complete upload";
        let at = self.at(&upload.key);
        let checksums = self.settings.checksums == Checksums::Crc64nvme;
        let whole = checksum.and_then(|checksum| self.checksum(checksum));
        let list = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(i32::from(part.number.number()))
                .e_tag(part.etag.as_str())
                .set_checksum_crc64_nvme(part.checksum.and_then(|checksum| self.checksum(checksum)))
                .build()
        });
        let attempts = Attempts::default();
        let (if_match, if_none_match) = condition_headers(condition);
        let sent = self
            .client
            .complete_multipart_upload()
            .bucket(&*self.name)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(list.collect())).build())
            .set_checksum_type(checksums.then_some(ChecksumType::FullObject))
            .set_checksum_crc64_nvme(whole.clone())
            .mpu_object_size(signed(size(parts)))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .customize()
            .config_override(self.attempt_time(self.settings.timeouts.server_work))
            .interceptor(attempts.clone())
            .send()
            .await;
        match sent {
            Ok(output) => Ok(Receipt { etag: etag(output.e_tag, OPERATION, &at)? }),
            Err(error) => {
                let failure = condition_failure(condition, OPERATION, &at, error);
                match attempts.repeated() {
                    true => self.believe_completion(upload, parts, whole.as_deref(), failure).await,
                    false => Err(failure.error),
                }
            }
        }
    }

    /// Decides whether a repeated completion that failed really did. The first attempt took effect
    /// exactly if the upload is gone: whoever completes an upload is the only one to abort it. The
    /// object's size, number of parts and checksum (where it has one) guard against the case that
    /// somebody aborted it all the same and another writer's object is there.
    async fn believe_completion(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<&str>,
        failure: Failure,
    ) -> StoreResult<Receipt> {
        let unknown =
            |cause: StoreError| StoreError::new(StoreErrorKind::Unavailable, "complete upload").with_source(cause);
        if !matches!(failure.error.kind(), StoreErrorKind::NotFound | StoreErrorKind::PreconditionFailed) {
            return Err(failure.error);
        }
        match self.parts_behind(upload, None).await {
            Ok(_) => return Err(failure.settled()),
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(unknown(error)),
        }
        let at = self.at(&upload.key);
        let head = self
            .client
            .head_object()
            .bucket(&*self.name)
            .key(upload.key.as_str())
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match head.map_err(|error| store_error("head", &at, error)) {
            Ok(found) => {
                let found_etag = etag(found.e_tag, "head", &at)?;
                let ours = unsigned(found.content_length, "head", &at)? == size(parts)
                    && found_etag.as_str().trim_matches('"').ends_with(&format!("-{}", parts.len()))
                    && checksum.zip(found.checksum_crc64_nvme.as_deref()).is_none_or(|(sent, found)| sent == found);
                if !ours {
                    return Err(failure.error);
                }
                info!(key = %upload.key, "the answer to a completion was lost; the object shows that it took effect");
                Ok(Receipt { etag: found_etag })
            }
            Err(error) if error.kind() == StoreErrorKind::NotFound => Err(failure.error),
            Err(error) => Err(unknown(error)),
        }
    }

    pub(super) async fn abort_multipart_upload(&self, upload: &Upload) -> StoreResult<()> {
        let sent = self
            .client
            .abort_multipart_upload()
            .bucket(&*self.name)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            Err(error) if kind(&error) == StoreErrorKind::NotFound => Ok(()),
            Err(error) => Err(store_error("abort upload", self.at(&upload.key), error)),
        }
    }

    pub(super) async fn parts_behind(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        const OPERATION: &str = "list parts";
        let at = self.at(&upload.key);
        let output = self
            .client
            .list_parts()
            .bucket(&*self.name)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .set_part_number_marker(after.map(|after| after.number().to_string()))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &at, error))?;
        let parts: Vec<StoredPart> = output
            .parts
            .unwrap_or_default()
            .into_iter()
            .map(|part| stored_part(part, OPERATION, &at))
            .collect::<StoreResult<_>>()?;
        let next = parts.last().map(|part| part.number).filter(|_| output.is_truncated == Some(true));
        Ok(PartsPage { parts, next })
    }

    pub(super) async fn uploads_behind(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        const OPERATION: &str = "list uploads";
        let at = format!("s3://{}/{prefix}", self.name);
        let output = self
            .client
            .list_multipart_uploads()
            .bucket(&*self.name)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_key_marker(after.map(|after| after.key.as_str().to_owned()))
            .set_upload_id_marker(after.map(|after| after.id.clone()))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &at, error))?;
        let decode = Names { encoded: output.encoding_type == Some(EncodingType::Url), operation: OPERATION, at: &at };
        let uploads: Vec<Upload> = output
            .uploads
            .unwrap_or_default()
            .into_iter()
            .map(|upload| Ok(Upload { key: decode.key(upload.key)?, id: upload.upload_id.unwrap_or_default() }))
            .collect::<StoreResult<_>>()?;
        let next = uploads.last().cloned().filter(|_| output.is_truncated == Some(true));
        Ok(UploadsPage { uploads, next })
    }
}

fn stored_part(part: Part, operation: &'static str, at: &str) -> StoreResult<StoredPart> {
    let number = part
        .part_number
        .and_then(|number| PartNumber::new(u16::try_from(number).ok()?))
        .ok_or_else(|| own_error(StoreErrorKind::Corrupt, operation, at, "a part without a number"))?;
    let etag: ETag = etag(part.e_tag, operation, at)?;
    let size = unsigned(part.size, operation, at)?;
    Ok(StoredPart { number, etag, size, checksum: checksum(part.checksum_crc64_nvme, size) })
}

/// The size of the object that the parts make.
fn size(parts: &[StoredPart]) -> u64 {
    parts.iter().map(|part| part.size).sum()
}
