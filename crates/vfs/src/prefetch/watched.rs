//! The store as a session's files use it: what changes through it is dropped from what the node
//! remembers of its objects, in whatever session.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use tidegate_store::{
    Body, ByteRange, Checksum, Condition, CopySource, ETag, GetObject, KeptChecksums, ListPage, ListRequest,
    ObjectAttributes, ObjectKey, ObjectMeta, ObjectStore, PartNumber, PartsPage, Receipt, StoreResult, StoredPart,
    Tags, Upload, UploadsPage,
};

use super::slot::Register;
use crate::attributes::is_link_mode;
use crate::seen_links::SeenLinks;
use crate::written::Written;

/// A store of one bucket. Here no request that changes an object is overlooked, now or later.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn ObjectStore>,
    bucket: String,
    register: Arc<Register>,
    written: Arc<Written>,
    links: Arc<SeenLinks>,
}

impl Watched {
    pub(crate) fn new(
        inner: Arc<dyn ObjectStore>,
        bucket: String,
        register: Arc<Register>,
        written: Arc<Written>,
        links: Arc<SeenLinks>,
    ) -> Self {
        Self { inner, bucket, register, written, links }
    }

    /// Held while a request runs that changes `key`. However the request ends, it may have.
    fn change<'a>(&'a self, key: &'a ObjectKey) -> Change<'a> {
        Change { watched: self, key }
    }
}

struct Change<'a> {
    watched: &'a Watched,
    key: &'a ObjectKey,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.watched.register.changed(&self.watched.bucket, self.key);
        self.watched.written.forget(&self.watched.bucket, self.key);
        self.watched.links.forget(&self.watched.bucket, self.key);
    }
}

#[async_trait]
impl ObjectStore for Watched {
    fn now(&self) -> Option<SystemTime> {
        self.inner.now()
    }

    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectMeta> {
        self.inner.head(key).await
    }

    async fn kept_checksums(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums> {
        self.inner.kept_checksums(key, if_match).await
    }

    async fn tags(&self, key: &ObjectKey) -> StoreResult<Tags> {
        self.inner.tags(key).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> StoreResult<GetObject> {
        self.inner.get(key, range, if_match).await
    }

    async fn list(&self, request: &ListRequest) -> StoreResult<ListPage> {
        self.inner.list(request).await
    }

    async fn put(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let change = self.change(key);
        let (size, tag_count) = (body.len(), u32::try_from(attributes.tags.len()).unwrap_or(u32::MAX));
        let receipt = self.inner.put(key, body, checksum, attributes, condition).await?;
        drop(change);
        if !is_link_mode(attributes) {
            self.links.note_file(&self.bucket, key, &receipt.etag);
        }
        let attributes = ObjectAttributes { tags: Tags::new(), ..attributes.clone() };
        let meta = ObjectMeta {
            size,
            etag: receipt.etag.clone(),
            last_modified: SystemTime::now(),
            attributes,
            tag_count,
            checksum: Some(checksum),
        };
        self.written.note(&self.bucket, key, meta);
        Ok(receipt)
    }

    async fn begin_upload(&self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload> {
        self.inner.begin_upload(key, attributes).await
    }

    async fn put_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        self.inner.put_part(upload, number, body, checksum).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        self.inner.copy_part(upload, number, source, range).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let _change = self.change(&upload.key);
        self.inner.complete_upload(upload, parts, checksum, condition).await
    }

    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()> {
        self.inner.abort_upload(upload).await
    }

    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        self.inner.list_parts(upload, after).await
    }

    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        self.inner.list_uploads(prefix, after).await
    }

    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let _change = self.change(target);
        let receipt = self.inner.copy(source, target, attributes, condition).await?;
        if source.if_match.as_ref().is_some_and(|etag| self.links.is_file(&self.bucket, &source.key, etag)) {
            self.links.note_file(&self.bucket, target, &receipt.etag);
        }
        Ok(receipt)
    }

    async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        let _change = self.change(key);
        self.inner.delete(key).await
    }

    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()> {
        let _change = self.change(key);
        self.inner.delete_version(key, etag).await
    }
}
