//! Why the store refuses a request, and the one table that turns it into S3's error codes.

use std::io;

use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode};

/// Source: Amazon S3 API Reference, "Error responses".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the bytes do not match their {0}")]
    BadDigest(&'static str),
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    #[error("the payload does not match x-amz-content-sha256")]
    ContentSha256Mismatch,
    #[error("the object or part is larger than 5 GiB")]
    EntityTooLarge,
    #[error("a part other than the last is smaller than 5 MiB")]
    EntityTooSmall,
    #[error("the body is shorter or longer than announced")]
    IncompleteBody,
    #[error("{0}")]
    InvalidArgument(&'static str),
    #[error("Content-MD5 is not the base64 of 16 bytes")]
    InvalidDigest,
    #[error("a part is missing or its tag differs")]
    InvalidPart,
    #[error("the parts do not ascend by number")]
    InvalidPartOrder,
    #[error("the range can't be satisfied")]
    InvalidRange,
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("an object has 10 tags at most, with names of 1 to 128 and values of up to 256 characters")]
    InvalidTag,
    #[error("body file or index")]
    Io(#[from] io::Error),
    #[error("{0}")]
    MalformedXml(&'static str),
    #[error("user metadata is larger than 2 KiB")]
    MetadataTooLarge,
    #[error("there is no such bucket")]
    NoSuchBucket,
    #[error("there is no such key")]
    NoSuchKey,
    #[error("there is no such upload")]
    NoSuchUpload,
    #[error("{0}")]
    NotImplemented(&'static str),
    #[error("not modified")]
    NotModified,
    #[error("the condition {0} does not hold")]
    PreconditionFailed(&'static str),
    #[error("the signature of a chunk or trailer is wrong")]
    SignatureDoesNotMatch,
    #[error("index")]
    Sql(#[from] rusqlite::Error),
    #[error("a stored record can't be read")]
    Record(#[from] serde_json::Error),
    #[error("the request was given up")]
    TaskEnded,
}

impl Failure {
    fn code(&self) -> S3ErrorCode {
        match self {
            Self::BadDigest(_) => S3ErrorCode::BadDigest,
            Self::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            Self::ContentSha256Mismatch => S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            Self::EntityTooLarge => S3ErrorCode::EntityTooLarge,
            Self::EntityTooSmall => S3ErrorCode::EntityTooSmall,
            Self::IncompleteBody => S3ErrorCode::IncompleteBody,
            Self::InvalidArgument(_) => S3ErrorCode::InvalidArgument,
            Self::InvalidDigest => S3ErrorCode::InvalidDigest,
            Self::InvalidPart => S3ErrorCode::InvalidPart,
            Self::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            Self::InvalidRange => S3ErrorCode::InvalidRange,
            Self::InvalidRequest(_) => S3ErrorCode::InvalidRequest,
            Self::InvalidTag => S3ErrorCode::Custom("InvalidTag".into()),
            Self::Io(_) | Self::Record(_) | Self::Sql(_) | Self::TaskEnded => S3ErrorCode::InternalError,
            Self::MalformedXml(_) => S3ErrorCode::MalformedXML,
            Self::MetadataTooLarge => S3ErrorCode::MetadataTooLarge,
            Self::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            Self::NoSuchKey => S3ErrorCode::NoSuchKey,
            Self::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            Self::NotImplemented(_) => S3ErrorCode::NotImplemented,
            Self::NotModified => S3ErrorCode::NotModified,
            Self::PreconditionFailed(_) => S3ErrorCode::PreconditionFailed,
            Self::SignatureDoesNotMatch => S3ErrorCode::SignatureDoesNotMatch,
        }
    }
}

impl From<Failure> for S3Error {
    fn from(failure: Failure) -> Self {
        let code = failure.code();
        if code == S3ErrorCode::InternalError {
            tracing::error!(error = %failure, cause = ?std::error::Error::source(&failure), "the embedded S3 store failed");
        }
        let mut error = S3Error::with_message(code, failure.to_string());
        if matches!(failure, Failure::ContentSha256Mismatch | Failure::InvalidTag) {
            error.set_status_code(StatusCode::BAD_REQUEST);
        }
        error
    }
}
