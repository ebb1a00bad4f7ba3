//! The headers that S3 keeps with an object.

use std::collections::BTreeMap;

use s3s::dto;
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// S3's limit for names and values of user metadata together, in bytes.
/// Source: Amazon S3 User Guide, "Working with object metadata".
const METADATA_MAX: usize = 2048;

/// How many tags an object has at most.
const TAGS_MAX: usize = 10;

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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) website_redirect: Option<String>,
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
            tags: BTreeMap::new(),
            website_redirect: None,
        })
    }

    /// With the class that a request asks for; it changes nothing in how the object is stored.
    pub(crate) fn in_class(mut self, class: Option<&dto::StorageClass>) -> Self {
        self.storage_class = class.map(dto::StorageClass::as_str).filter(|class| *class != STANDARD).map(str::to_owned);
        self
    }

    /// With the location that a request asks for; it is kept and nothing else.
    pub(crate) fn redirecting(mut self, location: Option<String>) -> Self {
        self.website_redirect = location;
        self
    }

    /// With the tags in the header of a request, the query of a URL.
    pub(crate) fn tagged(mut self, tagging: Option<&str>) -> Result<Self, Failure> {
        let pairs = tagging.into_iter().flat_map(|tagging| tagging.split('&')).filter(|pair| !pair.is_empty());
        let decoded =
            |text: &str| decode_form(text).ok_or(Failure::InvalidArgument("the header x-amz-tagging is damaged"));
        self.tags = pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decoded(name)?, decoded(value)?))
            })
            .collect::<Result<_, Failure>>()?;
        check_tags(&self.tags)?;
        Ok(self)
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

/// Source: Amazon S3 User Guide, "Categorizing your objects using tags".
pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Failure> {
    let is_too_long = |(name, value): (&String, &String)| name.chars().count() > 128 || value.chars().count() > 256;
    if tags.len() > TAGS_MAX || tags.contains_key("") || tags.iter().any(is_too_long) {
        return Err(Failure::InvalidTag);
    }
    Ok(())
}

/// As an HTML form writes it.
fn decode_form(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// `aws-chunked` describes the transfer, and S3 does not keep it.
fn without_aws_chunked(encoding: String) -> Option<String> {
    let kept: Vec<_> = encoding.split(',').map(str::trim).filter(|name| *name != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}
