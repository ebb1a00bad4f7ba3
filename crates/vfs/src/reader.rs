//! A file open for reading: one version of an object, from OPEN to CLOSE.

mod fill;
mod level;
mod share;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_store::{ByteRange, GetObject, ObjectKey, ObjectMeta, ObjectStore, StoreErrorKind, StoreResult};
use tokio::task::JoinSet;

use self::fill::{Fetch, Source};
use self::share::Trim;
pub(crate) use self::share::{ReadMemory, TenantMemory};
use self::window::{Purpose, Segment, Window};
use crate::attributes::FileAttributes;
use crate::config::Config;
use crate::error::FsError;
use crate::metrics::{Counted, Metrics};

/// Bytes of a file, as slices of what the store sent.
#[derive(Clone, Debug, Default)]
pub struct ReadData {
    chunks: Vec<Bytes>,
    len: usize,
}

impl ReadData {
    /// The bytes, in order; no chunk is empty.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The bytes, in order.
    pub fn into_chunks(self) -> Vec<Bytes> {
        self.chunks
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none: at or behind the end of the file.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.chunks.push(bytes);
        }
    }
}

/// A file open for reading. It shows one version of the file; once that is gone, reads fail with
/// `Conflict`. Dropping it stops everything that is being fetched, and fails reads that wait.
#[derive(Debug)]
pub struct Reader {
    source: Arc<Source>,
    attributes: FileAttributes,
    state: Arc<Mutex<State>>,
    _open: Counted,
}

#[derive(Debug)]
struct State {
    window: Window<Arc<Fetch>>,
    tasks: JoinSet<()>,
    metrics: Metrics,
}

impl Reader {
    /// Opens an object with one request that also fetches its first bytes (two if it is empty).
    ///
    /// # Errors
    /// The store's `NotFound` and whatever talking to it gives.
    pub(crate) async fn open(
        store: &Arc<dyn ObjectStore>,
        key: ObjectKey,
        memory: &TenantMemory,
        config: &Config,
        metrics: &Metrics,
    ) -> StoreResult<Self> {
        let ahead_max = config.read_ahead_max.as_u64();
        let share = memory.join();
        let (meta, first) = match share.try_take(window::FIRST) {
            Some(permit) if ahead_max > 0 => {
                match store.get(&key, Some(ByteRange::new(0, window::FIRST)), None).await {
                    Ok(GetObject { meta, body }) => (meta, Some((permit, body))),
                    Err(error) if error.kind() == StoreErrorKind::RangeNotSatisfiable => {
                        (store.head(&key).await?, None)
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => (store.head(&key).await?, None),
        };
        let attributes = FileAttributes::of_file(&meta);
        let ObjectMeta { size, etag, .. } = meta;
        let source = Arc::new(Source { store: Arc::clone(store), key, etag, share, metrics: metrics.clone() });
        let mut state = State { window: Window::new(size, ahead_max), tasks: JoinSet::new(), metrics: metrics.clone() };
        if let Some((mut permit, body)) = first {
            let len = window::FIRST.min(size);
            permit.shrink(len);
            let fetch = Fetch::begin(&mut state.tasks, &source, 0, len, Some(permit), Some(body));
            state.window.push(len, fetch);
        }
        let state = Arc::new(Mutex::new(state));
        let trim: Arc<dyn Trim> = Arc::<Mutex<State>>::clone(&state);
        source.share.trims(Arc::downgrade(&trim));
        let open = Counted::new(&metrics.open_readers);
        Ok(Self { source, attributes, state, _open: open })
    }

    /// The file's attributes at OPEN.
    pub fn attributes(&self) -> FileAttributes {
        self.attributes
    }

    /// Reads up to `len` bytes at `offset`: fewer only at the end of the file, none behind it.
    /// Fetching begins with this call, in a Tokio runtime, not when the future is first polled.
    /// Several reads may run at once; the caller bounds how many.
    pub fn read(&self, offset: u64, len: u32) -> BoxFuture<'static, Result<ReadData, FsError>> {
        let end = offset.saturating_add(u64::from(len)).min(self.attributes.size);
        if offset >= end {
            return futures::future::ready(Ok(ReadData::default())).boxed();
        }
        let segments = self.segments(offset, end);
        async move {
            let mut data = ReadData::default();
            for segment in segments {
                segment.bytes.read(offset.max(segment.start), end, &mut data).await?;
            }
            Ok(data)
        }
        .boxed()
    }

    fn segments(&self, offset: u64, end: u64) -> Vec<Segment<Arc<Fetch>>> {
        let mut state = lock(&self.state);
        let State { window, tasks, .. } = &mut *state;
        while tasks.try_join_next().is_some() {}
        let may_hold = self.source.share.claim(window.wants(offset, end));
        let mut without_memory = false;
        let mut fetch = |start, len, purpose| {
            let permit = self.source.share.try_take(len);
            if permit.is_none() {
                without_memory = true;
                if purpose == Purpose::ReadAhead {
                    self.source.metrics.read_ahead_refusals.inc();
                    return None;
                }
            }
            Some(Fetch::begin(tasks, &self.source, start, len, permit, None))
        };
        let mut segments = window.read(offset, end, may_hold, &mut fetch);
        if segments.iter().any(|segment| segment.bytes.has_failed()) {
            // An earlier read has told of the failure; this one tries afresh.
            window.restart(offset);
            segments = window.read(offset, end, may_hold, &mut fetch);
        }
        if without_memory {
            window.drop_behind(offset);
        }
        window.release(offset, may_hold, |fetch, before| match Arc::strong_count(fetch) {
            1 => Some(fetch.release(before)),
            _ => None,
        });
        segments
    }
}

impl Trim for Mutex<State> {
    fn trim(&self, keep: u64) -> u64 {
        // The lock may be held by a reader that asks others for memory just as this one does.
        let Ok(mut state) = self.try_lock() else { return 0 };
        let State { window, metrics, .. } = &mut *state;
        let held = |window: &Window<Arc<Fetch>>| window.segments().map(|segment| segment.bytes.held()).sum::<u64>();
        let before = held(window);
        let mut left = before;
        let dropped = window.drop_farthest(|fetch| {
            let may_drop = left > keep && Arc::strong_count(fetch) == 1;
            left -= if may_drop { fetch.held() } else { 0 };
            may_drop
        });
        metrics.read_ahead_dropped.inc_by(dropped);
        before - held(window)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
