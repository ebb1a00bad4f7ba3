//! PUT, copies and removal of whole objects.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::config::Builder as ConfigOverride;
use aws_sdk_s3::types::{MetadataDirective, StorageClass};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tidegate_store::{
    Body, Checksum, Condition, CopySource, ETag, ObjectAttributes, ObjectKey, Receipt, StoreError, StoreErrorKind,
    StoreResult, limits,
};
use tracing::info;

use super::body::request_body;
use super::encoding::{copy_source, tagging};
use super::mark::{MARK, new_mark};
use super::tags::is_plain;
use super::{S3Bucket, condition_headers, etag, signed};
use crate::attempts::Attempts;
use crate::error::{kind, own_error, store_error, store_error_as};

impl S3Bucket {
    pub(super) async fn put_object(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        const OPERATION: &str = "put";
        let at = self.at(key);
        check_body(&body, checksum, OPERATION, &at)?;
        let (len, lesson) = (body.len(), self.settings.md5_tags.lesson(&self.name, &body));
        let mark = (*condition != Condition::Always).then(new_mark);
        let attempts = Attempts::default();
        let (if_match, if_none_match) = condition_headers(condition);
        let sent = self
            .client
            .put_object()
            .bucket(&*self.name)
            .key(key.as_str())
            .content_length(signed(len))
            .set_content_type(attributes.content_type.clone())
            .set_cache_control(attributes.headers.cache_control.clone())
            .set_content_disposition(attributes.headers.content_disposition.clone())
            .set_content_encoding(attributes.headers.content_encoding.clone())
            .set_content_language(attributes.headers.content_language.clone())
            .set_storage_class(attributes.headers.storage_class.as_deref().map(StorageClass::from))
            .set_website_redirect_location(attributes.headers.website_redirect.clone())
            .set_metadata(Some(marked(attributes, mark.as_deref())))
            .set_tagging(tagging(&attributes.tags))
            .set_checksum_crc64_nvme(self.checksum(checksum))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .body(request_body(body))
            .customize()
            .mutate_request(expires(Some(attributes)))
            .disable_payload_signing()
            .config_override(self.attempt_time(self.settings.timeouts.upload_attempt(len)))
            .interceptor(attempts.clone())
            .send()
            .await;
        match sent {
            Ok(output) => {
                let etag = etag(output.e_tag, OPERATION, &at)?;
                let (kms_key, client) = (output.ssekms_key_id.as_deref(), output.sse_customer_algorithm.as_deref());
                if let Some(lesson) = lesson
                    && is_plain(output.server_side_encryption.as_ref(), kms_key, client)
                {
                    self.settings.md5_tags.learn(&self.name, &lesson, &etag);
                }
                Ok(Receipt { etag })
            }
            Err(error) => {
                let failure = condition_failure(condition, OPERATION, &at, error);
                self.believe(key, failure, mark.as_deref().filter(|_| attempts.repeated())).await
            }
        }
    }

    pub(super) async fn copy_object(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        const OPERATION: &str = "copy";
        let at = self.at(target);
        let mark = (*condition != Condition::Always && attributes.is_some()).then(new_mark);
        let attempts = Attempts::default();
        let (if_match, if_none_match) = condition_headers(condition);
        let mut request = self
            .client
            .copy_object()
            .bucket(&*self.name)
            .key(target.as_str())
            .copy_source(copy_source(&self.name, &source.key))
            .set_copy_source_if_match(source.if_match.as_ref().map(|tag| tag.as_str().to_owned()))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match);
        request = match attributes {
            None => request.metadata_directive(MetadataDirective::Copy),
            Some(attributes) => request
                .metadata_directive(MetadataDirective::Replace)
                .set_content_type(attributes.content_type.clone())
                .set_cache_control(attributes.headers.cache_control.clone())
                .set_content_disposition(attributes.headers.content_disposition.clone())
                .set_content_encoding(attributes.headers.content_encoding.clone())
                .set_content_language(attributes.headers.content_language.clone())
                .set_storage_class(attributes.headers.storage_class.as_deref().map(StorageClass::from))
                .set_website_redirect_location(attributes.headers.website_redirect.clone())
                .set_metadata(Some(marked(attributes, mark.as_deref()))),
        };
        // x-amz-tagging-directive is COPY where none is given.
        let sent = request
            .customize()
            .mutate_request(expires(attributes))
            .config_override(self.attempt_time(self.settings.timeouts.server_work))
            .interceptor(attempts.clone())
            .send()
            .await;
        match sent {
            Ok(output) => {
                let tag = output.copy_object_result.and_then(|result| result.e_tag);
                Ok(Receipt { etag: etag(tag, OPERATION, &at)? })
            }
            Err(error) => {
                // NotFound stays: it names the source.
                let failure = Failure::new(kind(&error), OPERATION, &at, error);
                self.believe(target, failure, mark.as_deref().filter(|_| attempts.repeated())).await
            }
        }
    }

    /// Source of the condition: Amazon S3 User Guide, "How to perform conditional deletes".
    pub(super) async fn delete_object(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<()> {
        let request = self.client.delete_object().bucket(&*self.name).key(key.as_str());
        let sent = request.set_if_match(if_match.map(|etag| etag.as_str().to_owned())).send().await;
        match sent {
            Ok(_) => Ok(()),
            // S3 says so with a condition only, other stores without one too: nothing is left to do.
            Err(error) if kind(&error) == StoreErrorKind::NotFound => Ok(()),
            Err(error) => Err(store_error("delete", self.at(key), error)),
        }
    }

    /// The settings of one request that is to have this time for an attempt.
    pub(super) fn attempt_time(&self, time: Duration) -> ConfigOverride {
        // The same connect time-out as everywhere: connections are pooled by it.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.settings.timeouts.connect)
            .operation_attempt_timeout(time)
            .build();
        ConfigOverride::new().timeout_config(timeouts)
    }

    /// Decides whether a conditional write that failed really did; see [`super::mark`].
    /// `mark` is its id if it was tried more than once.
    async fn believe(&self, key: &ObjectKey, failure: Failure, mark: Option<&str>) -> StoreResult<Receipt> {
        let Some(mark) = mark.filter(|_| failure.error.kind() == StoreErrorKind::PreconditionFailed) else {
            return Err(failure.error);
        };
        match self.head_marked(key).await {
            Ok((meta, Some(found))) if found == mark => {
                info!(%key, "the answer to a conditional write was lost; the object shows that it took effect");
                Ok(Receipt { etag: meta.etag })
            }
            Ok(_) => Err(failure.settled()),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Err(failure.settled()),
            Err(error) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, failure.error.operation()).with_source(error))
            }
        }
    }
}

/// A failed conditional write.
pub(super) struct Failure {
    pub(super) error: StoreError,
    /// Whether the store said that another write of the key is under way (409) rather than that
    /// the condition does not hold (412).
    under_way: bool,
}

impl Failure {
    pub(super) fn new<E>(
        kind: StoreErrorKind,
        operation: &'static str,
        at: &str,
        error: SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let under_way = error.raw_response().is_some_and(|response| response.status().as_u16() == 409);
        Self { error: store_error_as(kind, operation, at, error), under_way }
    }

    /// The error to report when the write was repeated and its effect is not to be seen. After a
    /// 409 the write that is under way may be our own first attempt, so nothing is known.
    pub(super) fn settled(self) -> StoreError {
        match self.under_way {
            true => StoreError::new(StoreErrorKind::Unavailable, self.error.operation()).with_source(self.error),
            false => self.error,
        }
    }
}

/// S3 answers `If-Match` with 404 where there is no object at all.
pub(super) fn condition_failure<E>(
    condition: &Condition,
    operation: &'static str,
    at: &str,
    error: SdkError<E, HttpResponse>,
) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let absent = matches!(condition, Condition::IfMatch(_)) && error.code() == Some("NoSuchKey");
    let kind = if absent { StoreErrorKind::PreconditionFailed } else { kind(&error) };
    Failure::new(kind, operation, at, error)
}

/// Refuses bytes that are not those that the checksum was made of, and sizes that S3 refuses.
pub(super) fn check_body(body: &Body, checksum: Checksum, operation: &'static str, at: &str) -> StoreResult<()> {
    if checksum.covered() != body.len() {
        let what = format!("the body has {} bytes, its checksum covers {}", body.len(), checksum.covered());
        return Err(own_error(StoreErrorKind::Corrupt, operation, at, what));
    }
    if body.len() > limits::PART_MAX {
        let what = format!("{} bytes are more than one request may carry", body.len());
        return Err(own_error(StoreErrorKind::InvalidRequest, operation, at, what));
    }
    Ok(())
}

/// Sets `Expires` as it was given: the SDK takes none but dates.
pub(super) fn expires(attributes: Option<&ObjectAttributes>) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    let expires = attributes.and_then(|attributes| attributes.headers.expires.clone());
    move |request| {
        if let Some(expires) = &expires {
            // It came in a header, so it is one.
            let _ = request.headers_mut().try_insert("expires", expires.clone());
        }
    }
}

fn marked(attributes: &ObjectAttributes, mark: Option<&str>) -> HashMap<String, String> {
    let own = mark.map(|mark| (MARK.to_owned(), mark.to_owned()));
    attributes.metadata.clone().into_iter().chain(own).collect()
}
