//! Conditional requests: when a read answers, when a write takes effect, when a copy may begin.
//! Source: RFC 9110 section 13; Amazon S3 User Guide, "Add preconditions to S3 operations with
//! conditional requests".

use hyper::HeaderMap;
use s3s::dto::{ETagCondition, Timestamp};

use super::failure::Failure;
use super::index::StoredObject;

/// What must hold for a write to take effect; checked in the transaction that publishes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteCondition {
    if_match: Option<ETagCondition>,
    absent: bool,
}

impl WriteCondition {
    pub(crate) fn new(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> Result<Self, Failure> {
        match if_none_match {
            Some(ETagCondition::ETag(_)) => {
                Err(Failure::NotImplemented("If-None-Match on a write takes no tag, only *"))
            }
            Some(ETagCondition::Any) => Ok(Self { if_match, absent: true }),
            None => Ok(Self { if_match, absent: false }),
        }
    }

    /// CopyObject's conditions on its target, which crate s3s does not parse.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Failure> {
        let condition = |name| match headers.get(name) {
            None => Ok(None),
            Some(value) => ETagCondition::parse_http_header(value.as_bytes())
                .map(Some)
                .map_err(|_| Failure::InvalidArgument("a condition is no entity tag")),
        };
        Self::new(condition("if-match")?, condition("if-none-match")?)
    }

    /// Whether the write may replace `current`.
    pub(crate) fn check(&self, current: Option<&StoredObject>) -> Result<(), Failure> {
        if self.absent && current.is_some() {
            return Err(Failure::PreconditionFailed("If-None-Match"));
        }
        match (&self.if_match, current) {
            (Some(_), None) => Err(Failure::NoSuchKey),
            (Some(condition), Some(current)) if !matches(condition, current) => {
                Err(Failure::PreconditionFailed("If-Match"))
            }
            _ => Ok(()),
        }
    }
}

/// What must hold for a read or a copy of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

impl ReadCondition {
    /// In the order of RFC 9110 section 13.2.2.
    pub(crate) fn check(&self, object: &StoredObject) -> Result<(), Failure> {
        let modified = object.modified();
        if let Some(condition) = &self.if_match {
            if !matches(condition, object) {
                return Err(Failure::PreconditionFailed("If-Match"));
            }
        } else if self.if_unmodified_since.as_ref().is_some_and(|since| modified > *since) {
            return Err(Failure::PreconditionFailed("If-Unmodified-Since"));
        }
        if let Some(condition) = &self.if_none_match {
            if matches(condition, object) {
                return Err(Failure::NotModified);
            }
        } else if self.if_modified_since.as_ref().is_some_and(|since| modified <= *since) {
            return Err(Failure::NotModified);
        }
        Ok(())
    }

    /// A copy answers 412 where a read answers 304.
    pub(crate) fn check_copy(&self, source: &StoredObject) -> Result<(), Failure> {
        self.check(source).map_err(|failure| match failure {
            Failure::NotModified => Failure::PreconditionFailed("x-amz-copy-source-if-none-match"),
            other => other,
        })
    }
}

fn matches(condition: &ETagCondition, object: &StoredObject) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(tag) => tag.value() == object.content.etag,
    }
}
