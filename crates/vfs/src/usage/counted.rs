//! The store of a tenant whose usage is counted: what changes through it is counted, and what would
//! take too much is refused before it is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use tidegate_store::{
    Body, ByteRange, Checksum, Condition, CopySource, ETag, GetObject, KeptChecksums, ListPage, ListRequest,
    ObjectAttributes, ObjectKey, ObjectMeta, ObjectStore, PartNumber, PartsPage, Receipt, StoreErrorKind, StoreResult,
    StoredPart, Tags, Upload, UploadsPage, UsageDelta,
};

use super::{Reservation, TenantUsage};
use crate::hidden::Hidden;

/// A store of one bucket. What an object takes that is replaced or removed is asked for before: one
/// HEAD each.
#[derive(Debug)]
pub(crate) struct Counted {
    inner: Arc<dyn ObjectStore>,
    usage: Arc<TenantUsage>,
    /// What takes no room: an object of the server's own.
    hidden: Hidden,
    /// The uploads that were begun through this store, by their ids.
    uploads: Mutex<HashMap<String, Room>>,
}

/// What an upload has sent, and the room for what of it is more than the object that it replaces.
#[derive(Debug)]
struct Room {
    replaced: UsageDelta,
    sent: u64,
    reservation: Reservation,
}

impl Counted {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, usage: Arc<TenantUsage>, hidden: Hidden) -> Self {
        Self { inner, usage, hidden, uploads: Mutex::default() }
    }

    /// What an object takes; nothing if there is none.
    async fn size(&self, key: &ObjectKey) -> StoreResult<UsageDelta> {
        match self.inner.head(key).await {
            Ok(meta) => Ok(one(meta.size)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(UsageDelta::default()),
            Err(error) => Err(error),
        }
    }

    /// What an object takes that a write under this condition replaces.
    async fn replaced(&self, key: &ObjectKey, condition: &Condition) -> StoreResult<UsageDelta> {
        match condition {
            Condition::IfAbsent => Ok(UsageDelta::default()),
            _ => self.size(key).await,
        }
    }

    /// Has an object removed, and counts it off.
    async fn remove(&self, key: &ObjectKey, removing: impl Future<Output = StoreResult<()>> + Send) -> StoreResult<()> {
        if self.hidden.has(key) {
            return removing.await;
        }
        let size = self.size(key).await?;
        removing.await?;
        if size != UsageDelta::default() {
            self.usage.count(UsageDelta::default().minus(size));
        }
        Ok(())
    }

    /// Takes room for bytes of an upload, as far as the object that it replaces does not give it.
    fn note_sent(&self, upload: &Upload, bytes: u64) -> StoreResult<()> {
        if let Some(room) = self.uploads().get_mut(&upload.id) {
            room.sent = room.sent.saturating_add(bytes);
            let wanted = growth(one(room.sent).minus(room.replaced));
            room.reservation.grow_to(wanted)?;
        }
        Ok(())
    }

    fn uploads(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One object of so many bytes.
fn one(bytes: u64) -> UsageDelta {
    UsageDelta::new(i64::try_from(bytes).unwrap_or(i64::MAX), 1)
}

/// What of a change has to find room.
fn growth(change: UsageDelta) -> UsageDelta {
    UsageDelta::new(change.bytes.max(0), change.objects.max(0))
}

#[async_trait]
impl ObjectStore for Counted {
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
        if self.hidden.has(key) {
            return self.inner.put(key, body, checksum, attributes, condition).await;
        }
        let change = one(body.len()).minus(self.replaced(key, condition).await?);
        // A directory's marker is also put when its last entry goes, which must always be possible.
        let is_marker = body.is_empty() && key.as_str().ends_with('/');
        let wanted = if is_marker { UsageDelta::default() } else { growth(change) };
        let reservation = self.usage.reserve(wanted)?;
        let receipt = self.inner.put(key, body, checksum, attributes, condition).await?;
        self.usage.count(change);
        drop(reservation);
        Ok(receipt)
    }

    async fn begin_upload(&self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload> {
        if self.hidden.has(key) {
            return self.inner.begin_upload(key, attributes).await;
        }
        let replaced = self.size(key).await?;
        // Room is taken with the parts.
        let reservation = self.usage.reserve(UsageDelta::default())?;
        let upload = self.inner.begin_upload(key, attributes).await?;
        self.uploads().insert(upload.id.clone(), Room { replaced, sent: 0, reservation });
        Ok(upload)
    }

    async fn put_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        self.note_sent(upload, body.len())?;
        self.inner.put_part(upload, number, body, checksum).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        // What the version that is replaced gives to the new one takes its room again. What comes from elsewhere has
        // its room, if it needs any, from who asks for the copy: a rename must never be refused.
        if source.key == upload.key || self.hidden.has(&source.key) {
            self.note_sent(upload, range.len.unwrap_or(0))?;
        }
        self.inner.copy_part(upload, number, source, range).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        if self.hidden.has(&upload.key) {
            return self.inner.complete_upload(upload, parts, checksum, condition).await;
        }
        let size = parts.iter().fold(0_u64, |size, part| size.saturating_add(part.size));
        let change = one(size).minus(self.replaced(&upload.key, condition).await?);
        let receipt = self.inner.complete_upload(upload, parts, checksum, condition).await?;
        self.usage.count(change);
        self.uploads().remove(&upload.id);
        Ok(receipt)
    }

    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()> {
        self.uploads().remove(&upload.id);
        self.inner.abort_upload(upload).await
    }

    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        self.inner.list_parts(upload, after).await
    }

    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        self.inner.list_uploads(prefix, after).await
    }

    /// Counted, and never refused: a rename is a copy and a delete, and must not need the room twice.
    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        if source.key == *target {
            return self.inner.copy(source, target, attributes, condition).await;
        }
        let (size, replaced) = futures::try_join!(self.size(&source.key), self.replaced(target, condition))?;
        let receipt = self.inner.copy(source, target, attributes, condition).await?;
        self.usage.count(size.minus(replaced));
        Ok(receipt)
    }

    async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        self.remove(key, self.inner.delete(key)).await
    }

    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()> {
        self.remove(key, self.inner.delete_version(key, etag)).await
    }
}
