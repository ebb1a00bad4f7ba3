//! Counts and times the calls of an object store, and the bytes that move.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures::TryStreamExt;

use crate::account::Tenant;
use crate::checksum::{Checksum, KeptChecksums};
use crate::error::StoreResult;
use crate::metrics::Metrics;
use crate::object::{
    Body, ByteRange, Condition, CopySource, ETag, GetObject, ListPage, ListRequest, ObjectAttributes, ObjectKey,
    ObjectMeta, Receipt, Tags,
};
use crate::object_store::{ObjectStore, ObjectStores, PartNumber, PartsPage, StoredPart, Upload, UploadsPage};

const SERVICE: &str = "objects";

/// An object store whose calls are counted as the service `objects`.
pub struct MeteredObjectStore {
    inner: Arc<dyn ObjectStore>,
    metrics: Metrics,
}

impl MeteredObjectStore {
    /// Counts the calls of `inner` in `metrics`.
    pub fn new(inner: Arc<dyn ObjectStore>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    async fn measure<T>(
        &self,
        call: &'static str,
        running: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        self.metrics.measure(SERVICE, call, running).await
    }
}

impl fmt::Debug for MeteredObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredObjectStore").field(&self.inner).finish()
    }
}

#[async_trait]
impl ObjectStore for MeteredObjectStore {
    fn now(&self) -> Option<SystemTime> {
        self.inner.now()
    }

    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectMeta> {
        self.measure("head", self.inner.head(key)).await
    }

    async fn kept_checksums(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums> {
        self.measure("checksum", self.inner.kept_checksums(key, if_match)).await
    }

    async fn tags(&self, key: &ObjectKey) -> StoreResult<Tags> {
        self.measure("tags", self.inner.tags(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> StoreResult<GetObject> {
        let GetObject { meta, body } = self.measure("get", self.inner.get(key, range, if_match)).await?;
        let (read, broken) = (self.metrics.clone(), self.metrics.clone());
        let body = body
            .inspect_ok(move |chunk| read.read(chunk.len()))
            .inspect_err(move |error| broken.broken_body(SERVICE, error.kind()));
        Ok(GetObject { meta, body: Box::pin(body) })
    }

    async fn list(&self, request: &ListRequest) -> StoreResult<ListPage> {
        self.measure("list", self.inner.list(request)).await
    }

    async fn put(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let bytes = body.len();
        let receipt = self.measure("put", self.inner.put(key, body, checksum, attributes, condition)).await?;
        self.metrics.written(bytes);
        Ok(receipt)
    }

    async fn begin_upload(&self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload> {
        self.measure("begin_upload", self.inner.begin_upload(key, attributes)).await
    }

    async fn put_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        let bytes = body.len();
        let part = self.measure("put_part", self.inner.put_part(upload, number, body, checksum)).await?;
        self.metrics.written(bytes);
        Ok(part)
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        self.measure("copy_part", self.inner.copy_part(upload, number, source, range)).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.measure("complete_upload", self.inner.complete_upload(upload, parts, checksum, condition)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()> {
        self.measure("abort_upload", self.inner.abort_upload(upload)).await
    }

    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        self.measure("list_parts", self.inner.list_parts(upload, after)).await
    }

    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        self.measure("list_uploads", self.inner.list_uploads(prefix, after)).await
    }

    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.measure("copy", self.inner.copy(source, target, attributes, condition)).await
    }

    async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        self.measure("delete", self.inner.delete(key)).await
    }

    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()> {
        self.measure("delete", self.inner.delete_version(key, etag)).await
    }
}

/// Opens metered object stores; opening itself is the call `open`.
pub struct MeteredObjectStores {
    inner: Arc<dyn ObjectStores>,
    metrics: Metrics,
}

impl MeteredObjectStores {
    /// Counts the calls of every store that `inner` opens in `metrics`.
    pub fn new(inner: Arc<dyn ObjectStores>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl fmt::Debug for MeteredObjectStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredObjectStores").field(&self.inner).finish()
    }
}

#[async_trait]
impl ObjectStores for MeteredObjectStores {
    async fn open(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
        let store = self.metrics.measure(SERVICE, "open", self.inner.open(tenant)).await?;
        Ok(Arc::new(MeteredObjectStore::new(store, self.metrics.clone())))
    }
}
