//! HEAD, GET and listings.

use std::collections::HashMap;
use std::time::SystemTime;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, EncodingType};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use base64::Engine as _;
use tidegate_store::{
    ByteRange, Checksum, ETag, GetObject, KeptChecksums, ListPage, ListRequest, ListedObject, ObjectAttributes,
    ObjectKey, ObjectMeta, StoreErrorKind, StoreResult, SystemHeaders, Tags,
};

use super::body::answer_body;
use super::encoding::decode_url;
use super::mark::MARK;
use super::tags::is_plain;
use super::{BASE64, S3Bucket, etag};
use crate::config::Checksums;
use crate::error::{own_error, store_error};

impl S3Bucket {
    pub(super) async fn head_object(&self, key: &ObjectKey) -> StoreResult<ObjectMeta> {
        Ok(self.head_marked(key).await?.0)
    }

    /// HEAD, with the id of the conditional write that made the object.
    pub(super) async fn head_marked(&self, key: &ObjectKey) -> StoreResult<(ObjectMeta, Option<String>)> {
        const OPERATION: &str = "head";
        let at = self.at(key);
        let output = self
            .client
            .head_object()
            .bucket(&*self.name)
            .key(key.as_str())
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &at, error))?;
        let headers = SystemHeaders {
            cache_control: output.cache_control,
            content_disposition: output.content_disposition,
            content_encoding: output.content_encoding,
            content_language: output.content_language,
            expires: output.expires_string,
            storage_class: output.storage_class.and_then(|class| named(class.as_str())),
            website_redirect: output.website_redirect_location,
        };
        let (attributes, mark) = attributes(output.content_type, output.metadata, headers);
        let meta = ObjectMeta {
            size: unsigned(output.content_length, OPERATION, &at)?,
            etag: etag(output.e_tag, OPERATION, &at)?,
            last_modified: modified(output.last_modified, OPERATION, &at)?,
            attributes,
            tag_count: output.tag_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            checksum: None,
        };
        Ok((meta, mark))
    }

    /// HEAD in checksum mode. Source: Amazon S3 API Reference, HeadObject.
    pub(super) async fn checksums_of(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums> {
        const OPERATION: &str = "checksum";
        let at = self.at(key);
        let request = self.client.head_object().bucket(&*self.name).key(key.as_str());
        let output = request
            .set_checksum_mode(self.asks_for_checksums().then_some(ChecksumMode::Enabled))
            .set_if_match(if_match.map(|tag| tag.as_str().to_owned()))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &at, error))?;
        let size = unsigned(output.content_length, OPERATION, &at)?;
        let etag = etag(output.e_tag, OPERATION, &at)?;
        let is_plain = is_plain(
            output.server_side_encryption.as_ref(),
            output.ssekms_key_id.as_deref(),
            output.sse_customer_algorithm.as_deref(),
        );
        let is_of_the_whole = output.checksum_type == Some(ChecksumType::FullObject);
        Ok(KeptChecksums {
            crc64nvme: checksum(output.checksum_crc64_nvme, size),
            md5: self.settings.md5_tags.md5(&self.name, &etag).filter(|_| is_plain),
            sha1: output.checksum_sha1.filter(|_| is_of_the_whole).and_then(digest),
            sha256: output.checksum_sha256.filter(|_| is_of_the_whole).and_then(digest),
        })
    }

    pub(super) async fn object_tags(&self, key: &ObjectKey) -> StoreResult<Tags> {
        const OPERATION: &str = "tags";
        let request = self.client.get_object_tagging().bucket(&*self.name).key(key.as_str());
        let output = request.send().await.map_err(|error| store_error(OPERATION, self.at(key), error))?;
        Ok(output.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    fn asks_for_checksums(&self) -> bool {
        self.settings.checksums == Checksums::Crc64nvme
    }

    pub(super) async fn get_object(
        &self,
        key: &ObjectKey,
        range: Option<ByteRange>,
        if_match: Option<&ETag>,
    ) -> StoreResult<GetObject> {
        const OPERATION: &str = "get";
        let at = self.at(key);
        let range = range.map(|range| range_header(range, OPERATION, &at)).transpose()?;
        let ranged = range.is_some();
        let output = self
            .client
            .get_object()
            .bucket(&*self.name)
            .key(key.as_str())
            .set_range(range)
            .set_if_match(if_match.map(|tag| tag.as_str().to_owned()))
            .customize()
            .mutate_request(checksum_mode(self.asks_for_checksums()))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &at, error))?;
        let size = match output.content_range.as_deref() {
            Some(content_range) if ranged => whole_size(content_range)
                .ok_or_else(|| own_error(StoreErrorKind::Corrupt, OPERATION, &at, format!("range {content_range}")))?,
            None if ranged => {
                // The bytes would be taken for those of the range.
                return Err(own_error(StoreErrorKind::Unsupported, OPERATION, &at, "the store ignored the range"));
            }
            _ => unsigned(output.content_length, OPERATION, &at)?,
        };
        // S3 leaves the checksum out of the answer to a range, unless that is a part or the whole.
        let is_whole = !ranged || output.content_length.and_then(|len| u64::try_from(len).ok()) == Some(size);
        let headers = SystemHeaders {
            cache_control: output.cache_control,
            content_disposition: output.content_disposition,
            content_encoding: output.content_encoding,
            content_language: output.content_language,
            expires: output.expires_string,
            storage_class: output.storage_class.and_then(|class| named(class.as_str())),
            website_redirect: output.website_redirect_location,
        };
        let (attributes, _) = attributes(output.content_type, output.metadata, headers);
        let meta = ObjectMeta {
            size,
            etag: etag(output.e_tag, OPERATION, &at)?,
            last_modified: modified(output.last_modified, OPERATION, &at)?,
            attributes,
            tag_count: output.tag_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            checksum: checksum(output.checksum_crc64_nvme, size).filter(|_| is_whole),
        };
        Ok(GetObject { meta, body: answer_body(output.body, at) })
    }

    pub(super) async fn list_objects(&self, request: &ListRequest) -> StoreResult<ListPage> {
        const OPERATION: &str = "list";
        let at = format!("s3://{}/{}", self.name, request.prefix);
        let output = self
            .client
            .list_objects_v2()
            .bucket(&*self.name)
            .prefix(&request.prefix)
            .set_delimiter(request.delimited.then(|| "/".to_owned()))
            .max_keys(i32::from(request.limit))
            .encoding_type(EncodingType::Url)
            .set_continuation_token(request.continuation.clone())
            .set_start_after(request.start_after.clone().filter(|_| request.continuation.is_none()))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &at, error))?;
        let decode = Names { encoded: output.encoding_type == Some(EncodingType::Url), operation: OPERATION, at: &at };

        let mut objects = Vec::with_capacity(output.contents.as_ref().map_or(0, Vec::len));
        for object in output.contents.unwrap_or_default() {
            objects.push(ListedObject {
                key: decode.key(object.key)?,
                size: unsigned(object.size, OPERATION, &at)?,
                etag: etag(object.e_tag, OPERATION, &at)?,
                last_modified: modified(object.last_modified, OPERATION, &at)?,
                storage_class: object.storage_class.and_then(|class| named(class.as_str())),
            });
        }
        let common_prefixes = output
            .common_prefixes
            .unwrap_or_default()
            .into_iter()
            .map(|prefix| decode.text(prefix.prefix))
            .collect::<StoreResult<_>>()?;
        let next = match (output.is_truncated, output.next_continuation_token) {
            (Some(true), None) => {
                return Err(own_error(StoreErrorKind::Corrupt, OPERATION, &at, "more to list, but no token for it"));
            }
            (Some(true), token) => token,
            _ => None,
        };
        Ok(ListPage { objects, common_prefixes, next })
    }
}

/// Takes the names out of a listing.
pub(super) struct Names<'a> {
    /// Whether the store did what `encoding-type=url` asked for; some leave it out.
    pub(super) encoded: bool,
    pub(super) operation: &'static str,
    pub(super) at: &'a str,
}

impl Names<'_> {
    pub(super) fn text(&self, name: Option<String>) -> StoreResult<String> {
        let decoded = if self.encoded { name.as_deref().and_then(decode_url) } else { name.clone() };
        decoded.ok_or_else(|| {
            own_error(StoreErrorKind::Corrupt, self.operation, self.at, format!("unreadable name {name:?}"))
        })
    }

    pub(super) fn key(&self, name: Option<String>) -> StoreResult<ObjectKey> {
        ObjectKey::new(self.text(name)?).ok_or_else(|| {
            own_error(StoreErrorKind::Corrupt, self.operation, self.at, "a key is empty or longer than 1,024 bytes")
        })
    }
}

/// Asks for the checksum without the SDK's knowing. It would compare it with what comes as it comes,
/// while we have to compute it anyway; and for a range that is a whole object sent in parts S3 tells a
/// composite checksum that looks like one of the bytes, so that good bytes would be refused.
fn checksum_mode(ask: bool) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    move |request| {
        if ask {
            request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        }
    }
}

/// CRC-64/NVME always covers the whole object: S3 makes no composite of it.
/// Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3".
pub(super) fn checksum(value: Option<String>, size: u64) -> Option<Checksum> {
    Some(Checksum::new(u64::from_be_bytes(digest(value?)?), size))
}

/// The bytes of a checksum of this length.
fn digest<const LEN: usize>(value: String) -> Option<[u8; LEN]> {
    BASE64.decode(value).ok()?.try_into().ok()
}

/// Content type and metadata, apart from the id of the write.
fn attributes(
    content_type: Option<String>,
    metadata: Option<HashMap<String, String>>,
    headers: SystemHeaders,
) -> (ObjectAttributes, Option<String>) {
    let mut metadata = metadata.unwrap_or_default();
    let mark = metadata.remove(MARK);
    let metadata = metadata.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    (ObjectAttributes { content_type, metadata, headers, tags: Tags::new() }, mark)
}

/// S3 tells every class but `STANDARD` with an object, and other stores tell that one too.
fn named(class: &str) -> Option<String> {
    (class != "STANDARD").then(|| class.to_owned())
}

/// `bytes=first-last` (RFC 9110 section 14.1.2).
pub(super) fn range_header(range: ByteRange, operation: &'static str, at: &str) -> StoreResult<String> {
    match range.len {
        None => Ok(format!("bytes={}-", range.offset)),
        Some(len) => match len.checked_sub(1) {
            Some(ahead) => Ok(format!("bytes={}-{}", range.offset, range.offset.saturating_add(ahead))),
            None => Err(own_error(StoreErrorKind::InvalidRequest, operation, at, "a range of no bytes")),
        },
    }
}

/// The whole size in `bytes first-last/size` (RFC 9110 section 14.4).
fn whole_size(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.rsplit_once('/')?.1.parse().ok()
}

pub(super) fn unsigned(len: Option<i64>, operation: &'static str, at: &str) -> StoreResult<u64> {
    len.and_then(|len| u64::try_from(len).ok())
        .ok_or_else(|| own_error(StoreErrorKind::Corrupt, operation, at, "the answer has no length"))
}

fn modified(time: Option<DateTime>, operation: &'static str, at: &str) -> StoreResult<SystemTime> {
    time.and_then(|time| SystemTime::try_from(time).ok())
        .ok_or_else(|| own_error(StoreErrorKind::Corrupt, operation, at, "the answer has no Last-Modified"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_name_first_and_last_byte() {
        let header = |range| range_header(range, "get", "").ok();
        assert_eq!(header(ByteRange::new(0, 1)).as_deref(), Some("bytes=0-0"));
        assert_eq!(header(ByteRange::new(10, 5)).as_deref(), Some("bytes=10-14"));
        assert_eq!(header(ByteRange { offset: 7, len: None }).as_deref(), Some("bytes=7-"));
        assert_eq!(header(ByteRange::new(0, 0)), None);
        assert_eq!(header(ByteRange::new(u64::MAX, 2)), Some(format!("bytes={0}-{0}", u64::MAX)));
    }

    #[test]
    fn the_size_of_the_whole_is_read_from_the_content_range() {
        assert_eq!(whole_size("bytes 0-4/10"), Some(10));
        for bad in ["bytes 0-4/*", "0-4/10", "bytes 0-4", ""] {
            assert_eq!(whole_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_mark_of_a_write_is_not_shown_as_metadata() {
        let metadata = HashMap::from([(MARK.to_owned(), "0123".to_owned()), ("Mtime".to_owned(), "1".to_owned())]);
        let (attributes, mark) = attributes(None, Some(metadata), SystemHeaders::default());
        assert_eq!(mark.as_deref(), Some("0123"));
        assert_eq!(attributes.metadata.into_iter().collect::<Vec<_>>(), [("mtime".to_owned(), "1".to_owned())]);
    }
}
