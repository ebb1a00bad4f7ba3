//! The object store that fails on schedule.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};

use super::plan::{Call, Fate, FaultPlan};
use crate::account::Tenant;
use crate::checksum::{Checksum, KeptChecksums};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::object::{
    Body, ByteRange, ByteStream, Condition, CopySource, ETag, GetObject, ListPage, ListRequest, ObjectAttributes,
    ObjectKey, ObjectMeta, Receipt, Tags,
};
use crate::object_store::{ObjectStore, ObjectStores, PartNumber, PartsPage, StoredPart, Upload, UploadsPage};

/// How a delay is spent. A test may await an event of its own instead of the time.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// An object store whose calls fail as a [`FaultPlan`] says. Clones share the schedule.
///
/// It also stands for [`ObjectStores`], as the one store of every tenant.
#[derive(Clone)]
pub struct FaultyObjectStore {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<FaultPlan>,
    calls: Arc<Mutex<BTreeMap<Call, u64>>>,
    sleep: Sleep,
}

impl FaultyObjectStore {
    /// Lets `inner` fail as `plan` says. Delays are spent in `tokio::time::sleep`.
    pub fn new(inner: Arc<dyn ObjectStore>, plan: FaultPlan) -> Self {
        let sleep: Sleep = Arc::new(|delay| tokio::time::sleep(delay).boxed());
        Self { inner, plan: Arc::new(plan), calls: Arc::default(), sleep }
    }

    /// Spends delays in another way.
    #[must_use]
    pub fn with_sleep(mut self, sleep: Sleep) -> Self {
        self.sleep = sleep;
        self
    }

    /// How many calls of a method there were so far, failed ones included.
    pub fn calls(&self, call: Call) -> u64 {
        self.counts().get(&call).copied().unwrap_or_default()
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<Call, u64>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, call: Call) -> (u64, Fate) {
        let mut counts = self.counts();
        let nth = counts.entry(call).or_default();
        *nth += 1;
        (*nth, self.plan.fate(call, *nth))
    }

    /// Runs one call as the plan says; the fate of its body is the caller's to apply.
    async fn run<T>(&self, call: Call, running: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<(T, Fate)> {
        let (nth, fate) = self.next(call);
        if let Some(delay) = fate.delay {
            (self.sleep)(delay).await;
        }
        if let Some(kind) = fate.before {
            return Err(fault(call, kind, format!("injected before {} number {nth}", call.as_str())));
        }
        let value = running.await?;
        match fate.after {
            Some(kind) => Err(fault(call, kind, format!("injected after {} number {nth}", call.as_str()))),
            None => Ok((value, fate)),
        }
    }

    async fn done<T>(&self, call: Call, running: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        self.run(call, running).await.map(|(value, _)| value)
    }
}

fn fault(call: Call, kind: StoreErrorKind, reason: String) -> StoreError {
    StoreError::new(kind, call.as_str()).with_source(reason)
}

impl fmt::Debug for FaultyObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyObjectStore")
            .field("inner", &self.inner)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// The body up to `left` bytes, then an error if there would be more.
fn broken(body: ByteStream, left: u64) -> ByteStream {
    let state = Some((body, left));
    stream::unfold(state, |state| async move {
        let (mut body, left) = state?;
        let chunk = match body.next().await? {
            Ok(chunk) => chunk,
            Err(error) => return Some((Err(error), None)),
        };
        let len = chunk.len() as u64;
        if len <= left {
            return Some((Ok(chunk), Some((body, left - len))));
        }
        if left > 0 {
            // The rest goes back to the front, so that the next step meets it with nothing left.
            let (head, tail) = split(chunk, left);
            let body = stream::iter([Ok(tail)]).chain(body).boxed();
            return Some((Ok(head), Some((body, 0))));
        }
        Some((Err(fault(Call::Get, StoreErrorKind::Unavailable, "injected into the body".to_owned())), None))
    })
    .boxed()
}

/// The body with the lowest bit of one byte turned round.
fn damaged(body: ByteStream, at: u64) -> ByteStream {
    let mut passed = 0;
    body.map(move |chunk| {
        let mut chunk = Vec::from(chunk?);
        let here = at.checked_sub(passed).and_then(|here| chunk.get_mut(usize::try_from(here).ok()?));
        if let Some(byte) = here {
            *byte ^= 1;
        }
        passed += chunk.len() as u64;
        Ok(Bytes::from(chunk))
    })
    .boxed()
}

fn split(mut chunk: Bytes, at: u64) -> (Bytes, Bytes) {
    // Less than the chunk's length, which is a usize.
    let head = chunk.split_to(at as usize);
    (head, chunk)
}

#[async_trait]
impl ObjectStore for FaultyObjectStore {
    fn now(&self) -> Option<SystemTime> {
        self.inner.now()
    }

    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectMeta> {
        self.done(Call::Head, self.inner.head(key)).await
    }

    async fn kept_checksums(&self, key: &ObjectKey, if_match: Option<&ETag>) -> StoreResult<KeptChecksums> {
        self.done(Call::Checksum, self.inner.kept_checksums(key, if_match)).await
    }

    async fn tags(&self, key: &ObjectKey) -> StoreResult<Tags> {
        self.done(Call::Tags, self.inner.tags(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> StoreResult<GetObject> {
        let (mut object, fate) = self.run(Call::Get, self.inner.get(key, range, if_match)).await?;
        if let Some(at) = fate.damaged_body {
            object.body = damaged(object.body, at);
        }
        if let Some(after) = fate.broken_body {
            object.body = broken(object.body, after);
        }
        Ok(object)
    }

    async fn list(&self, request: &ListRequest) -> StoreResult<ListPage> {
        self.done(Call::List, self.inner.list(request)).await
    }

    async fn put(
        &self,
        key: &ObjectKey,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.done(Call::Put, self.inner.put(key, body, checksum, attributes, condition)).await
    }

    async fn begin_upload(&self, key: &ObjectKey, attributes: &ObjectAttributes) -> StoreResult<Upload> {
        self.done(Call::BeginUpload, self.inner.begin_upload(key, attributes)).await
    }

    async fn put_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        body: Body,
        checksum: Checksum,
    ) -> StoreResult<StoredPart> {
        self.done(Call::PutPart, self.inner.put_part(upload, number, body, checksum)).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: PartNumber,
        source: &CopySource,
        range: ByteRange,
    ) -> StoreResult<StoredPart> {
        self.done(Call::CopyPart, self.inner.copy_part(upload, number, source, range)).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        checksum: Option<Checksum>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.done(Call::CompleteUpload, self.inner.complete_upload(upload, parts, checksum, condition)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> StoreResult<()> {
        self.done(Call::AbortUpload, self.inner.abort_upload(upload)).await
    }

    async fn list_parts(&self, upload: &Upload, after: Option<PartNumber>) -> StoreResult<PartsPage> {
        self.done(Call::ListParts, self.inner.list_parts(upload, after)).await
    }

    async fn list_uploads(&self, prefix: &str, after: Option<&Upload>) -> StoreResult<UploadsPage> {
        self.done(Call::ListUploads, self.inner.list_uploads(prefix, after)).await
    }

    async fn copy(
        &self,
        source: &CopySource,
        target: &ObjectKey,
        attributes: Option<&ObjectAttributes>,
        condition: &Condition,
    ) -> StoreResult<Receipt> {
        self.done(Call::Copy, self.inner.copy(source, target, attributes, condition)).await
    }

    async fn delete(&self, key: &ObjectKey) -> StoreResult<()> {
        self.done(Call::Delete, self.inner.delete(key)).await
    }

    async fn delete_version(&self, key: &ObjectKey, etag: &ETag) -> StoreResult<()> {
        self.done(Call::Delete, self.inner.delete_version(key, etag)).await
    }
}

#[async_trait]
impl ObjectStores for FaultyObjectStore {
    async fn open(&self, _tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
        Ok(Arc::new(self.clone()))
    }
}
