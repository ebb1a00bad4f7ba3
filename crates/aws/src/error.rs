//! The one place where an SDK's error becomes a [`StoreError`].

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use thiserror::Error;
use tidegate_store::{StoreError, StoreErrorKind};

use StoreErrorKind::*;

/// What a request was about, for the log.
#[derive(Debug, Error)]
#[error("{resource}{}", status.map(|status| format!(" (HTTP {status})")).unwrap_or_default())]
struct About {
    resource: String,
    status: Option<u16>,
    source: Box<dyn Error + Send + Sync>,
}

/// Turns the failure of `operation` on `resource` into the port's error. The SDK's own error, with
/// the service's code, message and request id, becomes the source.
pub(crate) fn store_error<E>(
    operation: &'static str,
    resource: impl Display,
    error: SdkError<E, HttpResponse>,
) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    store_error_as(kind(&error), operation, resource, error)
}

/// The same with a kind that follows from what was asked for.
pub(crate) fn store_error_as<E>(
    kind: StoreErrorKind,
    operation: &'static str,
    resource: impl Display,
    error: SdkError<E, HttpResponse>,
) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let wait = error.raw_response().and_then(retry_after);
    let status = error.raw_response().map(|response| response.status().as_u16());
    let about = About { resource: resource.to_string(), status, source: Box::new(error) };
    let error = StoreError::new(kind, operation).with_source(about);
    match wait {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// An error that no service reported: an answer that makes no sense, or a request that can't be
/// put into the protocol.
pub(crate) fn own_error(
    kind: StoreErrorKind,
    operation: &'static str,
    resource: impl Display,
    what: impl Into<Box<dyn Error + Send + Sync>>,
) -> StoreError {
    StoreError::new(kind, operation).with_source(About {
        resource: resource.to_string(),
        status: None,
        source: what.into(),
    })
}

/// The kind that the error has by itself.
pub(crate) fn kind<E>(error: &SdkError<E, HttpResponse>) -> StoreErrorKind
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => InvalidRequest,
        SdkError::ServiceError(context) => context
            .err()
            .code()
            .and_then(kind_of_code)
            .unwrap_or_else(|| kind_of_status(context.raw().status().as_u16())),
        // An answer that could not be parsed: a body cut short, or a proxy's error page.
        SdkError::ResponseError(context) => match context.raw().status().as_u16() {
            200..=299 => Unavailable,
            status => kind_of_status(status),
        },
        // Credentials that can't be had surface as a failure to dispatch. Those of a tenant's role tell why.
        _ => match caused_by::<CredentialsError>(error) {
            Some(CredentialsError::ProviderTimedOut(_)) | None => Unavailable,
            Some(_) => caused_by::<StoreError>(error).map_or(AccessDenied, StoreError::kind),
        },
    }
}

/// Error codes whose kind does not follow from the status of the answer, or that come in a 200.
/// Sources: Amazon S3 API Reference, "Error responses"; Amazon DynamoDB Developer Guide, "Error
/// handling with DynamoDB"; AWS KMS API Reference, "Decrypt" and "GenerateDataKey".
fn kind_of_code(code: &str) -> Option<StoreErrorKind> {
    Some(match code {
        "NoSuchKey" | "NoSuchUpload" | "NotFound" => NotFound,
        // Not NotFound: a wrong name in the configuration must not look like an empty store.
        "NoSuchBucket" | "ResourceNotFoundException" | "NotFoundException" => InvalidRequest,

        "PreconditionFailed" | "ConditionalCheckFailedException" => PreconditionFailed,
        // Another write of the same key was under way at the same instant, so the condition does
        // not hold any more by the time the caller hears of it. S3 advises to look again and to
        // decide anew, which is what a caller does that lost a race; sending the same bytes again
        // here would not know whether it still should.
        "ConditionalRequestConflict" => PreconditionFailed,
        "BucketAlreadyExists" | "BucketAlreadyOwnedByYou" => PreconditionFailed,

        "InvalidRange" => RangeNotSatisfiable,

        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException" => Throttled,

        "BadDigest"
        | "InvalidDigest"
        | "XAmzContentChecksumMismatch"
        | "XAmzContentSHA256Mismatch"
        | "IncompleteBody"
        | "InvalidCiphertextException"
        | "IncorrectKeyException" => Corrupt,

        "EntityTooSmall" | "EntityTooLarge" | "InvalidPart" | "InvalidPartOrder" | "MalformedXML" => InvalidRequest,

        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationHeaderMalformed"
        | "DisabledException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "KMSInvalidStateException"
        | "MissingAuthenticationTokenException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => AccessDenied,

        "NotImplemented" | "MethodNotAllowed" | "UnknownOperationException" => Unsupported,
        // An object in a cold storage class has to be restored by its owner first.
        "InvalidObjectState" => Unsupported,

        "OperationAborted"
        | "RequestTimeout"
        | "TransactionConflictException"
        | "TransactionInProgressException"
        | "DependencyTimeoutException"
        // Codes that S3 may send in the body of a 200.
        | "InternalError"
        | "KMSInternalException"
        | "KeyUnavailableException" => Unavailable,
        _ => return None,
    })
}

fn kind_of_status(status: u16) -> StoreErrorKind {
    match status {
        401 | 403 => AccessDenied,
        404 => NotFound,
        405 | 501 => Unsupported,
        409 | 412 => PreconditionFailed,
        // 2xx: an error in the body of an answer that began as a success.
        200..=299 | 408 => Unavailable,
        416 => RangeNotSatisfiable,
        429 | 503 => Throttled,
        500.. => Unavailable,
        _ => InvalidRequest,
    }
}

/// How long the service asked us to wait: `Retry-After` in seconds (RFC 9110 section 10.2.3; AWS
/// sends no dates), or `x-amz-retry-after` in milliseconds.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let header = |name: &str| response.headers().get(name)?.parse::<u64>().ok();
    header("x-amz-retry-after")
        .map(Duration::from_millis)
        .or_else(|| header("retry-after").map(Duration::from_secs))
        .map(|wait| wait.min(Duration::from_secs(300)))
}

fn caused_by<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::operation::get_object::GetObjectError;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn answer(status: u16, code: Option<&str>) -> SdkError<GetObjectError, HttpResponse> {
        let mut meta = ErrorMetadata::builder().message("arn:aws:s3:::secret-bucket");
        if let Some(code) = code {
            meta = meta.code(code);
        }
        let response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        SdkError::service_error(GetObjectError::generic(meta.build()), response)
    }

    fn mapped(error: SdkError<GetObjectError, HttpResponse>) -> StoreError {
        store_error("get", "bucket/key", error)
    }

    #[test]
    fn codes_decide_before_the_status() {
        for (status, code, kind) in [
            (404, "NoSuchKey", NotFound),
            (404, "NoSuchUpload", NotFound),
            (404, "NoSuchBucket", InvalidRequest),
            (412, "PreconditionFailed", PreconditionFailed),
            (409, "ConditionalRequestConflict", PreconditionFailed),
            (409, "OperationAborted", Unavailable),
            (416, "InvalidRange", RangeNotSatisfiable),
            (503, "SlowDown", Throttled),
            (400, "ThrottlingException", Throttled),
            (400, "BadDigest", Corrupt),
            (400, "InvalidDigest", Corrupt),
            (400, "XAmzContentChecksumMismatch", Corrupt),
            (400, "EntityTooSmall", InvalidRequest),
            (400, "InvalidPart", InvalidRequest),
            (400, "InvalidPartOrder", InvalidRequest),
            (403, "AccessDenied", AccessDenied),
            (400, "ExpiredToken", AccessDenied),
            (400, "AccessDeniedException", AccessDenied),
            (501, "NotImplemented", Unsupported),
            (400, "RequestTimeout", Unavailable),
            (200, "InternalError", Unavailable),
            (400, "InvalidCiphertextException", Corrupt),
            (400, "IncorrectKeyException", Corrupt),
            (400, "ConditionalCheckFailedException", PreconditionFailed),
        ] {
            assert_eq!(mapped(answer(status, Some(code))).kind(), kind, "{status} {code}");
        }
    }

    #[test]
    fn the_status_decides_where_there_is_no_known_code() {
        for (status, kind) in [
            (400, InvalidRequest),
            (401, AccessDenied),
            (403, AccessDenied),
            (404, NotFound),
            (409, PreconditionFailed),
            (412, PreconditionFailed),
            (416, RangeNotSatisfiable),
            (429, Throttled),
            (500, Unavailable),
            (501, Unsupported),
            (502, Unavailable),
            (503, Throttled),
            (504, Unavailable),
        ] {
            assert_eq!(mapped(answer(status, None)).kind(), kind, "{status}");
            assert_eq!(mapped(answer(status, Some("SomethingNew"))).kind(), kind, "{status}");
        }
    }

    #[test]
    fn faults_of_the_line_are_passing() {
        let io = ConnectorError::io("connection reset".into());
        for error in [
            SdkError::timeout_error("too slow"),
            SdkError::dispatch_failure(io),
            SdkError::response_error(
                "not XML",
                HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::empty()),
            ),
        ] {
            assert_eq!(mapped(error).kind(), Unavailable);
        }
        assert_eq!(mapped(SdkError::construction_failure("bad header")).kind(), InvalidRequest);
    }

    #[test]
    fn missing_credentials_are_no_passing_fault() {
        let none = ConnectorError::other(CredentialsError::not_loaded("no providers").into(), None);
        assert_eq!(mapped(SdkError::dispatch_failure(none)).kind(), AccessDenied);
        let slow = ConnectorError::other(CredentialsError::provider_timed_out(Duration::from_secs(5)).into(), None);
        assert_eq!(mapped(SdkError::dispatch_failure(slow)).kind(), Unavailable);
        let throttled = CredentialsError::provider_error(StoreError::new(Throttled, "assume role"));
        let throttled = ConnectorError::other(throttled.into(), None);
        assert_eq!(mapped(SdkError::dispatch_failure(throttled)).kind(), Throttled);
    }

    #[test]
    fn the_wish_to_wait_is_passed_on_with_a_limit() {
        for (header, value, wait) in [
            ("retry-after", "7", Some(Duration::from_secs(7))),
            ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", None),
            ("retry-after", "99999999", Some(Duration::from_secs(300))),
            ("x-amz-retry-after", "1500", Some(Duration::from_millis(1500))),
        ] {
            let mut response = HttpResponse::new(StatusCode::try_from(503).unwrap(), SdkBody::empty());
            response.headers_mut().insert(header, value);
            let error = SdkError::service_error(GetObjectError::generic(ErrorMetadata::builder().build()), response);
            assert_eq!(mapped(error).retry_after(), wait, "{header}: {value}");
        }
    }

    #[test]
    fn what_the_service_said_is_for_the_log_only() {
        let error = mapped(answer(403, Some("AccessDenied")));
        assert_eq!(error.to_string(), "get failed: access-denied");
        let report = error.report();
        assert!(report.contains("bucket/key (HTTP 403)") && report.contains("secret-bucket"), "{report}");
    }
}
