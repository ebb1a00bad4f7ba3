//! The object store in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::bucket::Bucket;
use super::lock;
use crate::account::Tenant;
use crate::checksum::{Checksum, KeptChecksums};
use crate::error::StoreResult;
use crate::object::{
    Body, ByteRange, ByteStream, Condition, CopySource, ETag, GetObject, ListPage, ListRequest, ObjectAttributes,
    ObjectKey, ObjectMeta, Receipt, Tags,
};
use crate::object_store::{ObjectStore, ObjectStores, PartNumber, PartsPage, StoredPart, Upload, UploadsPage};

/// The size of a chunk in the body of a GET, in bytes.
const CHUNK: usize = 64 << 10;

/// One bucket in memory, as strict as S3: the least size of parts, conditions with one winner,
/// checksums, paging. Clones share the bucket.
///
/// Stricter where S3 leaves room: no two versions share an entity tag, and `LastModified` has
/// whole seconds.
#[derive(Clone, Default)]
pub struct MemoryObjectStore {
    bucket: Arc<Mutex<Bucket>>,
}

impl MemoryObjectStore {
    /// An empty bucket with S3's own limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same bucket, with another least size of every part but the last, in bytes
    /// (default: 5 MiB).
    #[must_use]
    pub fn with_part_min(self, bytes: u64) -> Self {
        lock(&self.bucket).part_min = bytes;
        self
    }

    /// The same bucket, with another greatest page of parts and uploads (default: 1,000, at
    /// least 1), so that few of them make several pages.
    #[must_use]
    pub fn with_page_max(self, entries: usize) -> Self {
        lock(&self.bucket).page_max = entries.max(1);
        self
    }

    /// The same bucket, which tells the MD5 of what came in one request, as S3 does by its tags.
    #[must_use]
    pub fn with_md5s(self) -> Self {
        lock(&self.bucket).has_md5s = true;
        self
    }

    /// Puts the bucket's clock forward by so many seconds, or back: like a store whose clock is not
    /// ours, or that time has passed for.
    pub fn shift_clock(&self, seconds: i64) {
        let mut bucket = lock(&self.bucket);
        bucket.clock_shift = bucket.clock_shift.saturating_add(seconds);
    }
}

impl fmt::Debug for MemoryObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bucket = lock(&self.bucket);
        f.debug_struct("MemoryObjectStore")
            .field("objects", &bucket.objects.len())
            .field("uploads", &bucket.uploads.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStore for MemoryObjectStore {
    fn now(&self) -> Option<SystemTime> {
        Some(lock(&self.bucket).now())
    }

    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectMeta> {
        let meta = lock(&self.bucket).head("head", key)?.meta.clone();
        Ok(ObjectMeta { checksum: None, ..meta })
    }

    async fn kept_checksums(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums> {
        lock(&self.bucket).kept_checksums(key, if_match)
    }

    async fn tags(&self, key: &ObjectKey) -> StoreResult<Tags> {
        Ok(lock(&self.bucket).head("tags", key)?.tags.clone())
    }

    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> StoreResult<GetObject> {
        let (meta, bytes) = lock(&self.bucket).get(key, range, if_match)?;
        Ok(GetObject { meta, body: in_chunks(bytes) })
    }

    async fn list(&self, request: &ListRequest) -> StoreResult<ListPage> {
        lock(&self.bucket).list(request)
    }

    async fn put(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        lock(&self.bucket).put(key, &body, checksum, attributes, condition)
    }

    async fn begin_upload(&self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload> {
        lock(&self.bucket).begin_upload(key, attributes)
    }

    async fn put_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        lock(&self.bucket).put_part(upload, number, &body, checksum)
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        lock(&self.bucket).copy_part(upload, number, source, range)
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        lock(&self.bucket).complete_upload(upload, parts, checksum, condition)
    }

    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()> {
        lock(&self.bucket).abort_upload(upload);
        Ok(())
    }

    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        lock(&self.bucket).list_parts(upload, after)
    }

    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        Ok(lock(&self.bucket).list_uploads(prefix, after))
    }

    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        lock(&self.bucket).copy(source, target, attributes, condition)
    }

    async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        lock(&self.bucket).objects.remove(key);
        Ok(())
    }

    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()> {
        let mut bucket = lock(&self.bucket);
        if bucket.objects.contains_key(key) {
            bucket.check("delete_version", key, &Condition::IfMatch(etag.clone()))?;
            bucket.objects.remove(key);
        }
        Ok(())
    }
}

/// The body as a network would deliver it: in several chunks.
fn in_chunks(mut bytes: Bytes) -> ByteStream {
    let mut chunks = Vec::with_capacity(bytes.len().div_ceil(CHUNK));
    while !bytes.is_empty() {
        chunks.push(Ok(bytes.split_to(bytes.len().min(CHUNK))));
    }
    stream::iter(chunks).boxed()
}

/// A bucket in memory for every bucket name, made when it is first opened. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryObjectStores {
    part_min: Option<u64>,
    buckets: Arc<Mutex<BTreeMap<String, MemoryObjectStore>>>,
}

impl MemoryObjectStores {
    /// No bucket yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Buckets opened from now on have another least size of every part but the last, in bytes
    /// (default: 5 MiB).
    #[must_use]
    pub fn with_part_min(mut self, bytes: u64) -> Self {
        self.part_min = Some(bytes);
        self
    }

    /// The bucket of this name.
    pub fn bucket(&self, name: &str) -> MemoryObjectStore {
        let fresh = || match self.part_min {
            Some(bytes) => MemoryObjectStore::new().with_part_min(bytes),
            None => MemoryObjectStore::new(),
        };
        lock(&self.buckets).entry(name.to_owned()).or_insert_with(fresh).clone()
    }
}

#[async_trait]
impl ObjectStores for MemoryObjectStores {
    async fn open(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
        Ok(Arc::new(self.bucket(&tenant.bucket)))
    }
}
