//! ListObjects, ListObjectsV2, ListMultipartUploads and ListParts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use s3s::dto::*;

use super::super::failure::Failure;
use super::super::index::{self, Listed, ObjectsPage, ObjectsQuery, UploadsQuery};
use super::multipart::listed_part;
use super::{Service, size};

/// S3's greatest page.
const PAGE_MAX: usize = 1000;

impl Service {
    pub(super) async fn objects_page(&self, input: ListObjectsInput) -> Result<ListObjectsOutput, Failure> {
        let limit = page_limit(input.max_keys)?;
        let query = ObjectsQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: input.marker.clone(),
            limit,
        };
        let page = self.query_objects(input.bucket.clone(), query).await?;
        let names = Names::new(input.encoding_type.as_ref())?;
        // S3 gives it only with a delimiter; without one it is the last key.
        let next_marker =
            page.last().filter(|_| page.truncated && input.delimiter.is_some()).map(|name| names.write(name));
        let is_truncated = Some(page.truncated);
        let (contents, common_prefixes) = entries(page, &names);
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.write(input.prefix.as_deref().unwrap_or_default())),
            marker: Some(names.write(input.marker.as_deref().unwrap_or_default())),
            max_keys: i32::try_from(limit).ok(),
            is_truncated,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            next_marker,
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    pub(super) async fn objects_page_v2(&self, input: ListObjectsV2Input) -> Result<ListObjectsV2Output, Failure> {
        let limit = page_limit(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => Some(parse_token(token)?),
            None => input.start_after.clone(),
        };
        let query = ObjectsQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after,
            limit,
        };
        let page = self.query_objects(input.bucket.clone(), query).await?;
        let names = Names::new(input.encoding_type.as_ref())?;
        let next_continuation_token = page.last().filter(|_| page.truncated).map(token);
        let key_count = i32::try_from(page.entries.len()).ok();
        let is_truncated = Some(page.truncated);
        let (contents, common_prefixes) = entries(page, &names);
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(names.write(input.prefix.as_deref().unwrap_or_default())),
            max_keys: i32::try_from(limit).ok(),
            key_count,
            continuation_token: input.continuation_token,
            is_truncated,
            next_continuation_token,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|key| names.write(&key)),
            ..ListObjectsV2Output::default()
        })
    }

    async fn query_objects(&self, bucket: String, query: ObjectsQuery) -> Result<ObjectsPage, Failure> {
        self.store
            .run(move |store| store.read(|index| index::list_objects(index, index::bucket(index, &bucket)?, &query)))
            .await
    }

    pub(super) async fn uploads_page(
        &self,
        input: ListMultipartUploadsInput,
    ) -> Result<ListMultipartUploadsOutput, Failure> {
        let limit = page_limit(input.max_uploads)?;
        let query = UploadsQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            key_marker: input.key_marker.clone().filter(|key| !key.is_empty()),
            id_marker: input.upload_id_marker.clone().filter(|id| !id.is_empty()),
            limit,
        };
        let bucket = input.bucket.clone();
        let page = self
            .store
            .run(move |store| store.read(|index| index::list_uploads(index, index::bucket(index, &bucket)?, &query)))
            .await?;
        let names = Names::new(input.encoding_type.as_ref())?;
        let last = page.entries.last().filter(|_| page.truncated);
        let next_key_marker = last.map(|last| match last {
            Listed::Entry(upload) => names.write(&upload.key),
            Listed::CommonPrefix(prefix) => names.write(prefix),
        });
        let next_upload_id_marker = last.and_then(|last| match last {
            Listed::Entry(upload) => Some(upload.id.clone()),
            Listed::CommonPrefix(_) => None,
        });
        let (mut uploads, mut common_prefixes) = (Vec::new(), Vec::new());
        for entry in page.entries {
            match entry {
                Listed::Entry(upload) => uploads.push(MultipartUpload {
                    initiated: Some(index::timestamp(upload.initiated)),
                    key: Some(names.write(&upload.key)),
                    storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                    upload_id: Some(upload.id),
                    ..MultipartUpload::default()
                }),
                Listed::CommonPrefix(prefix) => {
                    common_prefixes.push(CommonPrefix { prefix: Some(names.write(&prefix)) })
                }
            }
        }
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(|delimiter| names.write(&delimiter)),
            encoding_type: input.encoding_type,
            is_truncated: Some(page.truncated),
            key_marker: input.key_marker.map(|key| names.write(&key)),
            max_uploads: i32::try_from(limit).ok(),
            next_key_marker,
            next_upload_id_marker,
            prefix: input.prefix.map(|prefix| names.write(&prefix)),
            upload_id_marker: input.upload_id_marker,
            uploads: Some(uploads),
            ..ListMultipartUploadsOutput::default()
        })
    }

    pub(super) async fn parts_page(&self, input: ListPartsInput) -> Result<ListPartsOutput, Failure> {
        let limit = page_limit(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let after_number =
            u32::try_from(after).map_err(|_| Failure::InvalidArgument("part-number-marker is negative"))?;
        let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
        let (upload, mut parts) = self
            .store
            .run(move |store| {
                store.read(|index| {
                    let bucket = index::bucket(index, &bucket)?;
                    let upload = index::find_upload(index, bucket, &key, &id)?;
                    Ok((upload, index::list_parts(index, &id, after_number, limit + 1)?))
                })
            })
            .await?;
        let is_truncated = parts.len() > limit;
        parts.truncate(limit);
        let next = parts.last().filter(|_| is_truncated).and_then(|part| i32::try_from(part.number).ok());
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            checksum_algorithm: upload.sum.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
            checksum_type: upload.sum.map(|(_, coverage)| ChecksumType::from_static(coverage.name())),
            is_truncated: Some(is_truncated),
            key: Some(input.key),
            max_parts: i32::try_from(limit).ok(),
            next_part_number_marker: next,
            part_number_marker: Some(after),
            parts: Some(parts.into_iter().map(listed_part).collect()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            upload_id: Some(input.upload_id),
            ..ListPartsOutput::default()
        })
    }
}

fn page_limit(asked: Option<i32>) -> Result<usize, Failure> {
    let asked = asked.map_or(Ok(PAGE_MAX), usize::try_from);
    Ok(asked.map_err(|_| Failure::InvalidArgument("the page's size is negative"))?.min(PAGE_MAX))
}

fn entries(page: ObjectsPage, names: &Names) -> (Vec<Object>, Vec<CommonPrefix>) {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            Listed::Entry(object) => objects.push(Object {
                e_tag: Some(ETag::Strong(object.etag)),
                key: Some(names.write(&object.key)),
                last_modified: Some(index::timestamp(object.modified)),
                size: Some(size(object.size)),
                storage_class: Some(match object.storage_class {
                    Some(class) => ObjectStorageClass::from(class),
                    None => ObjectStorageClass::from_static(ObjectStorageClass::STANDARD),
                }),
                ..Object::default()
            }),
            Listed::CommonPrefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(names.write(&prefix)) }),
        }
    }
    (objects, prefixes)
}

/// How names are written: as they are, or percent-encoded where the client asked for it, because
/// XML 1.0 can't carry every character that a key may hold.
struct Names {
    encoded: bool,
}

impl Names {
    fn new(encoding: Option<&EncodingType>) -> Result<Self, Failure> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self { encoded: false }),
            Some(EncodingType::URL) => Ok(Self { encoded: true }),
            Some(_) => Err(Failure::InvalidArgument("Invalid Encoding Method specified in Request")),
        }
    }

    fn write(&self, name: &str) -> String {
        if !self.encoded {
            return name.to_owned();
        }
        let mut written = String::with_capacity(name.len());
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b'*' => {
                    written.push(char::from(byte));
                }
                _ => written.push_str(&format!("%{byte:02X}")),
            }
        }
        written
    }
}

/// A continuation token: the name to go on behind, with a checksum that tells ours from others.
fn token(last: &str) -> String {
    let sum = crc_fast::crc32_iscsi(last.as_bytes()).to_be_bytes();
    BASE64.encode([sum.as_slice(), last.as_bytes()].concat())
}

fn parse_token(token: &str) -> Result<String, Failure> {
    let parse = || {
        let bytes = BASE64.decode(token).ok()?;
        let (sum, last) = bytes.split_first_chunk::<4>()?;
        let genuine = crc_fast::crc32_iscsi(last).to_be_bytes() == *sum;
        String::from_utf8(last.to_vec()).ok().filter(|_| genuine)
    };
    parse().ok_or(Failure::InvalidArgument("The continuation token provided is incorrect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_the_name_it_was_made_of() {
        for name in ["k", "a/b/", "ключ\n \u{1}"] {
            assert_eq!(parse_token(&token(name)).unwrap(), name);
        }
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for foreign in ["", "abc", "bm90IG91cnM", "!!"] {
            assert!(matches!(parse_token(foreign), Err(Failure::InvalidArgument(_))), "{foreign}");
        }
    }

    #[test]
    fn encoded_names_hold_no_character_that_xml_can_not_carry() {
        let names = Names { encoded: true };
        assert_eq!(names.write("a b/ü+%\u{1}\n"), "a%20b/%C3%BC%2B%25%01%0A");
    }
}
