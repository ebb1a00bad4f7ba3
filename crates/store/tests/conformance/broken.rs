//! Stores that each break one rule.

use std::time::SystemTime;

use async_trait::async_trait;
use tidegate_store::conformance::Deviation;
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{
    Body, ByteRange, Checksum, Condition, CopySource, ETag, GetObject, KeptChecksums, ListPage, ListRequest,
    ObjectAttributes, ObjectKey, ObjectMeta, ObjectStore, PartNumber, PartsPage, Receipt, StoreError, StoreErrorKind,
    StoreResult, StoredPart, Tags, Upload, UploadsPage,
};
use tokio::sync::Barrier;

/// A store in memory that breaks one rule.
#[derive(Debug)]
pub(crate) struct Broken {
    inner: MemoryObjectStore,
    rule: Option<Deviation>,
    takes_tags_for_md5s: bool,
    /// Lets all racers pass their check before any of them writes.
    checked: Barrier,
}

impl Broken {
    pub(crate) fn new(rule: Deviation) -> Self {
        Self { inner: MemoryObjectStore::new(), rule: Some(rule), takes_tags_for_md5s: false, checked: Barrier::new(8) }
    }

    /// A store that tells as an object's MD5 what is none, though it looks like one.
    pub(crate) fn taking_tags_for_md5s() -> Self {
        Self { inner: MemoryObjectStore::new(), rule: None, takes_tags_for_md5s: true, checked: Barrier::new(8) }
    }

    fn breaks(&self, rule: Deviation) -> bool {
        self.rule == Some(rule)
    }

    fn source(&self, rule: Deviation, source: &CopySource) -> CopySource {
        let if_match = source.if_match.clone().filter(|_| !self.breaks(rule));
        CopySource { if_match, ..source.clone() }
    }

    async fn gone<T>(&self, upload: &Upload, result: StoreResult<T>) -> StoreResult<T> {
        if self.breaks(Deviation::GoneUploadUnnamed) && self.inner.list_parts(upload, None).await.is_err() {
            return result.map_err(|error| StoreError::new(StoreErrorKind::Unavailable, error.operation()));
        }
        result
    }
}

#[async_trait]
impl ObjectStore for Broken {
    fn now(&self) -> Option<SystemTime> {
        self.inner.now()
    }

    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectMeta> {
        self.inner.head(key).await
    }

    async fn kept_checksums(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums> {
        let mut kept = self.inner.kept_checksums(key, if_match).await?;
        if self.breaks(Deviation::ChecksumNotKept) {
            kept.crc64nvme = None;
        }
        if self.takes_tags_for_md5s {
            let etag = self.inner.head(key).await?.etag;
            let digits = u128::from_str_radix(etag.as_str().trim_matches('"'), 16);
            kept.md5 = digits.ok().map(u128::to_be_bytes);
        }
        Ok(kept)
    }

    async fn tags(&self, key: &ObjectKey) -> StoreResult<Tags> {
        self.inner.tags(key).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> StoreResult<GetObject> {
        self.inner.get(key, range, if_match).await
    }

    async fn list(&self, request: &ListRequest) -> StoreResult<ListPage> {
        match self.inner.list(request).await {
            Err(_) if self.breaks(Deviation::ContinuationUnchecked) => {
                self.inner.list(&ListRequest { continuation: None, ..request.clone() }).await
            }
            result => result,
        }
    }

    async fn put(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let checksum = if self.breaks(Deviation::PutChecksumIgnored) { body.checksum() } else { checksum };
        let mut condition = condition.clone();
        if self.breaks(Deviation::PutIfMatchRaces)
            && key.as_str().ends_with("race-match")
            && let Condition::IfMatch(etag) = &condition
            && self.inner.head(key).await?.etag == *etag
        {
            self.checked.wait().await;
            condition = Condition::Always;
        }
        self.inner.put(key, body, checksum, attributes, &condition).await
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
        let checksum = if self.breaks(Deviation::PartChecksumIgnored) { body.checksum() } else { checksum };
        let result = self.inner.put_part(upload, number, body, checksum).await;
        self.gone(upload, result).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        let source = self.source(Deviation::CopyPartSourceIfMatchIgnored, source);
        let mut range = range;
        if self.breaks(Deviation::CopyPartRangeUnchecked)
            && let Ok(meta) = self.inner.head(&source.key).await
        {
            range.len = range.len.map(|len| len.min(meta.size - range.offset));
        }
        let result = self.inner.copy_part(upload, number, &source, range).await;
        self.gone(upload, result).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let checksum = checksum.filter(|_| !self.breaks(Deviation::CompletionChecksumIgnored));
        let condition = match condition {
            Condition::IfMatch(_) if self.breaks(Deviation::CompletionIfMatchIgnored) => &Condition::Always,
            condition => condition,
        };
        let running = self.inner.list_parts(upload, None).await.is_ok();
        let result = self.inner.complete_upload(upload, parts, checksum, condition).await;
        if running { result } else { self.gone(upload, result).await }
    }

    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()> {
        self.inner.abort_upload(upload).await
    }

    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        if !self.breaks(Deviation::PartMarkerIsIndex) {
            return self.inner.list_parts(upload, after).await;
        }
        let mut page = self.inner.list_parts(upload, None).await?;
        let skipped = after.map_or(0, |number| usize::from(number.number())).min(page.parts.len());
        page.parts.drain(..skipped);
        Ok(page)
    }

    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        let after = after.filter(|_| !self.breaks(Deviation::UploadMarkersIgnored));
        self.inner.list_uploads(prefix, after).await
    }

    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let source = self.source(Deviation::CopySourceIfMatchIgnored, source);
        let ignored = self.breaks(Deviation::CopyConditionIgnored);
        let condition = if ignored { &Condition::Always } else { condition };
        self.inner.copy(&source, target, attributes, condition).await
    }

    async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        self.inner.delete(key).await
    }

    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()> {
        self.inner.delete_version(key, etag).await
    }
}
