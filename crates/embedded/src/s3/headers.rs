//! The headers that S3 keeps with an object.

use std::collections::BTreeMap;

use s3s::dto;
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// S3's limit for names and values of user metadata together, in bytes.
/// Source: Amazon S3 User Guide, "Working with object metadata".
const METADATA_MAX: usize = 2048;

/// The class that S3 does not name.
const STANDARD: &str = dto::StorageClass::STANDARD;

/// Kept as JSON in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ObjectHeaders {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<dto::Timestamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    /// `None` for `STANDARD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class: Option<String>,
}

impl ObjectHeaders {
    /// Takes the headers of a request: PutObject, CreateMultipartUpload and CopyObject name them alike.
    pub(crate) fn new(
        cache_control: Option<String>,
        content_disposition: Option<String>,
        content_encoding: Option<String>,
        content_language: Option<String>,
        content_type: Option<String>,
        expires: Option<dto::Timestamp>,
        metadata: Option<dto::Metadata>,
    ) -> Result<Self, Failure> {
        let metadata: BTreeMap<_, _> = metadata.unwrap_or_default().into_iter().collect();
        if metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > METADATA_MAX {
            return Err(Failure::MetadataTooLarge);
        }
        Ok(Self {
            cache_control,
            content_disposition,
            content_encoding: content_encoding.and_then(without_aws_chunked),
            content_language,
            content_type,
            expires,
            metadata,
            storage_class: None,
        })
    }

    /// With the class that a request asks for; it changes nothing in how the object is stored.
    pub(crate) fn in_class(mut self, class: Option<&dto::StorageClass>) -> Self {
        self.storage_class = class.map(dto::StorageClass::as_str).filter(|class| *class != STANDARD).map(str::to_owned);
        self
    }

    /// As S3 answers for objects that were stored without a type.
    pub(crate) fn content_type_or_default(&self) -> String {
        self.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned())
    }

    pub(crate) fn metadata_dto(&self) -> Option<dto::Metadata> {
        let metadata: dto::Metadata = self.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        (!metadata.is_empty()).then_some(metadata)
    }
}

/// `aws-chunked` describes the transfer, and S3 does not keep it.
fn without_aws_chunked(encoding: String) -> Option<String> {
    let kept: Vec<_> = encoding.split(',').map(str::trim).filter(|name| *name != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}
