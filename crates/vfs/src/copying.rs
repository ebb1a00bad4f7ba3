//! Copies inside the store, of any size: no byte of them passes through the node.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_store::{
    ByteRange, Checksum, Condition, CopySource, ObjectAttributes, ObjectKey, ObjectStore, PartNumber, Receipt,
    StoreError, StoreErrorKind, StoreResult, StoredPart, Tags, Upload, limits,
};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::aborting::abort;
use crate::config::Config;
use crate::metrics::{Counted, Metrics};

/// Requests that copy parts or the files of directories and that the node has under way at once, over all
/// sessions: they must not take every connection to the store.
const COPIES_MAX: usize = 256;

/// What all copies of a node share. Clones share the same.
#[derive(Clone, Debug)]
pub(crate) struct CopyRoom(Arc<Semaphore>);

impl Default for CopyRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COPIES_MAX)))
    }
}

/// Copies objects for one request. Clones are of the same request.
#[derive(Clone, Debug)]
pub(crate) struct Copier {
    store: Arc<dyn ObjectStore>,
    room: CopyRoom,
    /// What this request may have under way at once.
    own: Arc<Semaphore>,
    lanes: usize,
    whole_max: u64,
    part_size: u64,
    metrics: Metrics,
}

/// Leave for one request to the store.
pub(crate) struct Lane<'a> {
    _own: Option<SemaphorePermit<'a>>,
    _room: Option<SemaphorePermit<'a>>,
    _counted: Counted,
}

impl Copier {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, room: CopyRoom, config: &Config, metrics: &Metrics) -> Self {
        let lanes = config.copy_concurrency.max(1);
        Self {
            store,
            room,
            own: Arc::new(Semaphore::new(lanes)),
            lanes,
            whole_max: config.copy_whole_max.as_u64().min(limits::PART_MAX),
            part_size: config.copy_part_size.as_u64().clamp(1, limits::PART_MAX),
            metrics: metrics.clone(),
        }
    }

    /// How many requests one copier has under way at most.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Waits for leave to send one request.
    pub(crate) async fn lane(&self) -> Lane<'_> {
        // The semaphores are never closed: an error would only mean that there is no limit.
        let own = self.own.acquire().await.ok();
        let room = self.room.0.acquire().await.ok();
        Lane { _own: own, _room: room, _counted: Counted::new(&self.metrics.copies_in_flight) }
    }

    /// Whether a file of this size is copied in parts.
    pub(crate) fn is_in_parts(&self, size: u64) -> bool {
        size > self.whole_max
    }

    /// Copies an object of `size` bytes with new attributes, or those that it has, and its tags. In one request
    /// where it is small enough, else in parts, several at once; readers of the target see its old version or
    /// the whole new one. Dropped half-way, it drops its parts too.
    ///
    /// Where the store can't check a condition on a copy, the look at the target that is made then has
    /// to do.
    ///
    /// # Errors
    /// As [`ObjectStore::copy`].
    pub(crate) async fn copy(
        &self,
        source: &CopySource,
        size: u64,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        if self.is_in_parts(size) {
            return self.copy_in_parts(source, size, target, attributes, condition).await;
        }
        match self.store.copy(source, target, attributes, condition).await {
            Err(error) if error.kind() == StoreErrorKind::Unsupported && *condition != Condition::Always => {
                self.look(source, target, condition).await?;
                self.store.copy(source, target, attributes, &Condition::Always).await
            }
            copied => copied,
        }
    }

    /// Makes parts of an upload from these ranges of `source`, at most `at_once` at a time, and gives
    /// them in their order.
    ///
    /// # Errors
    /// The first that a part gives, as [`ObjectStore::copy_part`]; the copies under way are stopped then.
    pub(crate) async fn copy_parts(
        &self,
        upload: &Upload,
        source: &CopySource,
        parts: Vec<(PartNumber, Range<u64>)>,
        at_once: usize,
    ) -> StoreResult<Vec<StoredPart>> {
        let copies = parts.into_iter().map(|(number, range)| async move {
            let _lane = self.lane().await;
            let range = ByteRange::new(range.start, range.end - range.start);
            self.store.copy_part(upload, number, source, range).await
        });
        let mut copied: Vec<StoredPart> = stream::iter(copies).buffer_unordered(at_once).try_collect().await?;
        copied.sort_unstable_by_key(|part| part.number);
        Ok(copied)
    }

    /// Gives the version of `size` bytes that `source` names new attributes, unless another one has
    /// taken its place.
    ///
    /// # Errors
    /// `PreconditionFailed` if so; any that the copy may give.
    pub(crate) async fn copy_onto_itself(
        &self,
        source: &CopySource,
        size: u64,
        attributes: &ObjectAttributes,
    ) -> StoreResult<Receipt> {
        let condition = source.if_match.clone().map_or(Condition::Always, Condition::IfMatch);
        self.copy(source, size, &source.key, Some(attributes), &condition).await
    }

    /// Checks a condition by a look at the target.
    async fn look(&self, source: &CopySource, target: &ObjectKey, condition: &Condition) -> StoreResult<()> {
        if source.key == *target {
            // What the store checks of the source is the same.
            return Ok(());
        }
        let found = match self.store.head(target).await {
            Ok(meta) => Some(meta.etag),
            Err(error) if error.kind() == StoreErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => found.is_none(),
            Condition::IfMatch(etag) => found.as_ref() == Some(etag),
        };
        if holds { Ok(()) } else { Err(StoreError::new(StoreErrorKind::PreconditionFailed, "copy")) }
    }

    async fn copy_in_parts(
        &self,
        source: &CopySource,
        size: u64,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        let mut attributes = match attributes {
            Some(attributes) => attributes.clone(),
            None => {
                let meta = self.store.head(&source.key).await?;
                if source.if_match.as_ref().is_some_and(|etag| *etag != meta.etag) {
                    return Err(StoreError::new(StoreErrorKind::PreconditionFailed, "copy_part"));
                }
                meta.attributes
            }
        };
        // A copy in one request takes them along by itself.
        attributes.tags = self.kept_tags(&source.key).await?;
        let checksum = self.kept_checksum(source).await?;
        let job = Job {
            copier: self.clone(),
            source: source.clone(),
            size,
            target: target.clone(),
            attributes,
            checksum,
            condition: condition.clone(),
        };
        // In a task of its own: were it cancelled while the upload begins, the upload's name would be lost
        // and its parts would stay. The task notices that nobody waits any more, and clears up.
        let (waits, gone) = oneshot::channel::<()>();
        let copied = tokio::spawn(job.run(gone)).await;
        drop(waits);
        copied.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable, "copy_part")))
    }

    /// The tags of the source. Asked for whatever HEAD says: that tells nothing to those who may not read tags, and
    /// none must be lost for that.
    async fn kept_tags(&self, key: &ObjectKey) -> StoreResult<Tags> {
        match self.store.tags(key).await {
            // A store without tags.
            Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(Tags::new()),
            told => told,
        }
    }

    /// The checksum that the store keeps for the source: the copy is published only if it matches.
    async fn kept_checksum(&self, source: &CopySource) -> StoreResult<Option<Checksum>> {
        match self.store.checksum(&source.key, source.if_match.as_ref()).await {
            // Not being told is no reason not to copy.
            Err(error) if error.kind() == StoreErrorKind::AccessDenied => Ok(None),
            told => told,
        }
    }
}

/// One object to copy in parts.
struct Job {
    copier: Copier,
    source: CopySource,
    size: u64,
    target: ObjectKey,
    attributes: ObjectAttributes,
    checksum: Option<Checksum>,
    condition: Condition,
}

impl Job {
    /// Ends early, without a trace, when `gone` resolves.
    async fn run(self, gone: oneshot::Receiver<()>) -> StoreResult<Receipt> {
        let store = &self.copier.store;
        let upload = store.begin_upload(&self.target, &self.attributes).await?;
        let copied = tokio::select! {
            copied = self.publish(&upload) => copied,
            _ = gone => Err(StoreError::new(StoreErrorKind::Unavailable, "copy_part")),
        };
        if copied.is_err() {
            abort(&self.target, &self.copier.metrics, store.abort_upload(&upload)).await;
        }
        copied
    }

    async fn publish(&self, upload: &Upload) -> StoreResult<Receipt> {
        let copier = &self.copier;
        let len = copier.part_size.max(self.size.div_ceil(u64::from(limits::PARTS_MAX)));
        let parts = (1..=limits::PARTS_MAX).map_while(|number| {
            let offset = u64::from(number - 1) * len;
            let rest = self.size.checked_sub(offset).filter(|rest| *rest > 0)?;
            Some((PartNumber::new(number)?, offset..offset + rest.min(len)))
        });
        let parts = copier.copy_parts(upload, &self.source, parts.collect(), copier.lanes).await?;
        copier.store.complete_upload(upload, &parts, self.checksum, &self.condition).await
    }
}
