//! A tenant's store whose uploads are listed with the node's credentials.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use tidegate_store::{
    Body, ByteRange, Checksum, Condition, CopySource, ETag, GetObject, ListPage, ListRequest, ObjectAttributes,
    ObjectKey, ObjectMeta, ObjectStore, PartNumber, PartsPage, Receipt, StoreResult, StoredPart, Upload, UploadsPage,
};

#[derive(Debug)]
pub(crate) struct NodeLists {
    pub(crate) tenant: Arc<dyn ObjectStore>,
    pub(crate) node: Arc<dyn ObjectStore>,
}

#[async_trait]
impl ObjectStore for NodeLists {
    fn now(&self) -> Option<SystemTime> {
        self.tenant.now()
    }

    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectMeta> {
        self.tenant.head(key).await
    }

    async fn checksum(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<Option<Checksum>> {
        self.tenant.checksum(key, if_match).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> StoreResult<GetObject> {
        self.tenant.get(key, range, if_match).await
    }

    async fn list(&self, request: &ListRequest) -> StoreResult<ListPage> {
        self.tenant.list(request).await
    }

    async fn put(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.tenant.put(key, body, checksum, attributes, condition).await
    }

    async fn begin_upload(&self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload> {
        self.tenant.begin_upload(key, attributes).await
    }

    async fn put_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        self.tenant.put_part(upload, number, body, checksum).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        self.tenant.copy_part(upload, number, source, range).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.tenant.complete_upload(upload, parts, checksum, condition).await
    }

    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()> {
        self.tenant.abort_upload(upload).await
    }

    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        self.tenant.list_parts(upload, after).await
    }

    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        self.node.list_uploads(prefix, after).await
    }

    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.tenant.copy(source, target, attributes, condition).await
    }

    async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        self.tenant.delete(key).await
    }

    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()> {
        self.tenant.delete_version(key, etag).await
    }
}
