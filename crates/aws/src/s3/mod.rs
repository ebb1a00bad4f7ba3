//! [`ObjectStore`] on S3.

mod body;
mod encoding;
#[cfg(test)]
mod kept_tests;
mod mark;
mod multipart;
mod read;
mod tags;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tidegate_store::{
    Body, ByteRange, Checksum, Condition, CopySource, ETag, GetObject, KeptChecksums, ListPage, ListRequest,
    ObjectAttributes, ObjectKey, ObjectMeta, ObjectStore, ObjectStores, PartNumber, PartsPage, Receipt, StoreErrorKind,
    StoreResult, StoredPart, Tags, Tenant, Upload, UploadsPage,
};

pub(crate) use self::tags::Md5Tags;
use crate::clock::StoreClock;
use crate::config::{Checksums, Timeouts};
use crate::error::{own_error, store_error};

/// What every bucket needs to know of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) checksums: Checksums,
    pub(crate) timeouts: Timeouts,
    pub(crate) clock: StoreClock,
    pub(crate) md5_tags: Md5Tags,
}

/// One bucket.
#[derive(Clone)]
pub(crate) struct S3Bucket {
    client: Client,
    name: Arc<str>,
    settings: Settings,
}

impl S3Bucket {
    pub(crate) fn new(client: Client, name: &str, settings: Settings) -> Self {
        Self { client, name: name.into(), settings }
    }

    /// Names an object in the log.
    fn at(&self, key: &ObjectKey) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// The value of `x-amz-checksum-crc64nvme`, if checksums are sent at all.
    fn checksum(&self, checksum: Checksum) -> Option<String> {
        match self.settings.checksums {
            Checksums::Crc64nvme => Some(BASE64.encode(checksum.to_be_bytes())),
            Checksums::Off => None,
        }
    }
}

impl fmt::Debug for S3Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Bucket").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStore for S3Bucket {
    fn now(&self) -> Option<SystemTime> {
        self.settings.clock.now()
    }

    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectMeta> {
        self.head_object(key).await
    }

    async fn kept_checksums(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums> {
        self.checksums_of(key, if_match).await
    }

    async fn tags(&self, key: &ObjectKey) -> StoreResult<Tags> {
        self.object_tags(key).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> StoreResult<GetObject> {
        self.get_object(key, range, if_match).await
    }

    async fn list(&self, request: &ListRequest) -> StoreResult<ListPage> {
        self.list_objects(request).await
    }

    async fn put(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.put_object(key, body, checksum, attributes, condition).await
    }

    async fn begin_upload(&self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload> {
        self.create_multipart_upload(key, attributes).await
    }

    async fn put_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        self.upload_part(upload, number, body, checksum).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        self.upload_part_copy(upload, number, source, range).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.complete_multipart_upload(upload, parts, checksum, condition).await
    }

    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()> {
        self.abort_multipart_upload(upload).await
    }

    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        self.parts_behind(upload, after).await
    }

    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        self.uploads_behind(prefix, after).await
    }

    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.copy_object(source, target, attributes, condition).await
    }

    async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        self.delete_object(key, None).await
    }

    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()> {
        self.delete_object(key, Some(etag)).await
    }
}

/// The buckets of all tenants, reached with one set of credentials.
#[derive(Debug)]
pub(crate) struct Buckets {
    client: Client,
    settings: Settings,
}

impl Buckets {
    pub(crate) fn new(client: Client, settings: Settings) -> Self {
        Self { client, settings }
    }
}

#[async_trait]
impl ObjectStores for Buckets {
    async fn open(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
        Ok(Arc::new(S3Bucket::new(self.client.clone(), &tenant.bucket, self.settings.clone())))
    }
}

/// Creates a bucket in the client's region; fine if it is ours already.
pub(crate) async fn create_bucket(client: &Client, name: &str) -> StoreResult<()> {
    const OPERATION: &str = "create bucket";
    // us-east-1 is the one region that must not be named (Amazon S3 API Reference, CreateBucket).
    let region = client.config().region().map(|region| region.as_ref().to_owned()).filter(|name| name != "us-east-1");
    let location = region.map(|region| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(region.as_str()))
            .build()
    });
    let sent = client.create_bucket().bucket(name).set_create_bucket_configuration(location).send().await;
    match sent {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_bucket_already_owned_by_you()) => Ok(()),
        Err(error) => Err(store_error(OPERATION, format!("s3://{name}"), error)),
    }
}

/// The tag as the port has it. Some stores leave out the quotes that make it an entity tag
/// (RFC 9110 section 8.8.3) in some answers and not in others.
fn etag(tag: Option<String>, operation: &'static str, at: &str) -> StoreResult<ETag> {
    match tag {
        Some(tag) if tag.starts_with('"') || tag.starts_with("W/") => Ok(ETag::new(tag)),
        Some(tag) if !tag.is_empty() => Ok(ETag::new(format!("\"{tag}\""))),
        _ => Err(own_error(StoreErrorKind::Corrupt, operation, at, "the answer has no ETag")),
    }
}

/// The headers of a condition on the target: `If-Match` and `If-None-Match`.
fn condition_headers(condition: &Condition) -> (Option<String>, Option<String>) {
    match condition {
        Condition::Always => (None, None),
        Condition::IfAbsent => (None, Some("*".to_owned())),
        Condition::IfMatch(tag) => (Some(tag.as_str().to_owned()), None),
    }
}

/// A length in the type that the SDK uses for it.
fn signed(len: u64) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
