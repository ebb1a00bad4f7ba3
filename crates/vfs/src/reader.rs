//! A file open for reading: one version of an object, from OPEN to CLOSE.

mod fill;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_store::{ByteRange, GetObject, ObjectKey, ObjectMeta, ObjectStore, StoreErrorKind, StoreResult};
use tokio::task::JoinSet;

use self::fill::{Fill, Source};
pub(crate) use self::window::FIRST;
use self::window::{Purpose, Segment, Window};
use crate::attributes::FileAttributes;
use crate::budget::{Permit, Pool};
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
    state: Mutex<State>,
    pool: Pool,
    /// `None` while nobody has asked for the file.
    open: Option<Counted>,
}

#[derive(Debug)]
struct State {
    window: Window<Arc<Fill>>,
    tasks: JoinSet<()>,
}

impl Reader {
    /// Opens an object with one request that also fetches its first bytes (two if it is empty).
    ///
    /// # Errors
    /// The store's `NotFound` and whatever talking to it gives.
    pub(crate) async fn open(
        store: &Arc<dyn ObjectStore>,
        key: ObjectKey,
        pool: &Pool,
        config: &Config,
        metrics: &Metrics,
    ) -> StoreResult<Self> {
        let reads_ahead = config.read_ahead_max.as_u64() > 0;
        let permit = if reads_ahead { pool.try_acquire(FIRST) } else { None };
        Ok(Self::open_ahead(store, key, permit, pool, config, metrics).await?.asked_for())
    }

    /// Opens an object that nobody has asked for yet: fetches as many of its first bytes as `permit`
    /// stands for, or none.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub(crate) async fn open_ahead(
        store: &Arc<dyn ObjectStore>,
        key: ObjectKey,
        permit: Option<Permit>,
        pool: &Pool,
        config: &Config,
        metrics: &Metrics,
    ) -> StoreResult<Self> {
        let (meta, first) = match permit {
            Some(permit) => match store.get(&key, Some(ByteRange::new(0, permit.bytes())), None).await {
                Ok(GetObject { meta, body }) => (meta, Some((permit, body))),
                Err(error) if error.kind() == StoreErrorKind::RangeNotSatisfiable => (store.head(&key).await?, None),
                Err(error) => return Err(error),
            },
            None => (store.head(&key).await?, None),
        };
        let attributes = FileAttributes::of_file(&meta);
        let ObjectMeta { size, etag, .. } = meta;
        let source = Arc::new(Source { store: Arc::clone(store), key, etag, metrics: metrics.clone() });
        let window = Window::new(size, config.read_ahead_max.as_u64());
        let mut state = State { window, tasks: JoinSet::new() };
        if let Some((mut permit, body)) = first {
            let len = permit.bytes().min(size);
            drop(permit.split_above(len));
            let fill = Fill::new(0, len, Some(permit));
            state.tasks.spawn(fill::run(Arc::clone(&source), Arc::clone(&fill), Some(body)));
            state.window.push(len, fill);
        }
        Ok(Self { source, attributes, state: Mutex::new(state), pool: pool.clone(), open: None })
    }

    /// Counts the file as open.
    pub(crate) fn asked_for(mut self) -> Self {
        self.open = Some(Counted::new(&self.source.metrics.open_readers));
        self
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

    fn segments(&self, offset: u64, end: u64) -> Vec<Segment<Arc<Fill>>> {
        let mut state = self.state();
        let State { window, tasks } = &mut *state;
        while tasks.try_join_next().is_some() {}
        let mut fetch = |start, len, purpose| {
            let permit = match (purpose, self.pool.try_acquire(len)) {
                (Purpose::ReadAhead, None) => {
                    self.source.metrics.read_ahead_refusals.inc();
                    return None;
                }
                (_, permit) => permit,
            };
            let fill = Fill::new(start, len, permit);
            tasks.spawn(fill::run(Arc::clone(&self.source), Arc::clone(&fill), None));
            Some(fill)
        };
        let segments = window.read(offset, end, &mut fetch);
        if segments.iter().any(|segment| segment.bytes.has_failed()) {
            // An earlier read has told of the failure; this one tries afresh.
            window.restart(offset);
            return window.read(offset, end, &mut fetch);
        }
        segments
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
