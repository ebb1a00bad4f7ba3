//! A range of an object being fetched, and the reads that wait for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tidegate_store::{ByteRange, ByteStream, ETag, ObjectKey, ObjectStore, StoreError, StoreErrorKind};
use tokio::sync::oneshot;

use super::ReadData;
use crate::budget::Permit;
use crate::error::{FsError, FsErrorKind};
use crate::metrics::Metrics;

/// How often a body that broke off is asked again without a single byte in between, and in all.
const STALLS_MAX: u32 = 3;
const RESUMES_MAX: u32 = 32;

/// How long to wait before a body is asked again that gave nothing the last time: this, doubled each
/// time, give or take a half.
const BACKOFF: Duration = Duration::from_millis(50);

/// The one version of an object that a handle reads.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) key: ObjectKey,
    pub(crate) etag: ETag,
    pub(crate) metrics: Metrics,
}

/// Bytes `start..start + len` of an object, as far as they have come.
#[derive(Debug)]
pub(crate) struct Fill {
    start: u64,
    len: u64,
    state: Mutex<State>,
    /// Given back when the last read has let go of the range.
    _permit: Option<Permit>,
}

#[derive(Debug, Default)]
struct State {
    /// Each with the offset of its end, from the start of the range.
    chunks: Vec<(u64, Bytes)>,
    filled: u64,
    failed: Option<FsError>,
    /// Reads, and how far it must be filled for each.
    waiting: Vec<(u64, oneshot::Sender<()>)>,
}

impl Fill {
    pub(crate) fn new(start: u64, len: u64, permit: Option<Permit>) -> Arc<Self> {
        Arc::new(Self { start, len, state: Mutex::default(), _permit: permit })
    }

    /// Whether it was given up.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().failed.is_some()
    }

    /// Adds the bytes from `from` to `to` (offsets in the object, cut at the range's ends) to
    /// `data`, once they have come.
    pub(crate) async fn read(&self, from: u64, to: u64, data: &mut ReadData) -> Result<(), FsError> {
        let from = from.saturating_sub(self.start);
        let to = to.saturating_sub(self.start).min(self.len);
        loop {
            let arrival = {
                let mut state = self.state();
                if state.filled >= to {
                    state.slice(from, to, data);
                    return Ok(());
                }
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                let (arrived, arrival) = oneshot::channel();
                state.waiting.push((to, arrived));
                arrival
            };
            // An error means that nobody fills any more: the next round finds out why.
            let _ = arrival.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes in order; says how many are still missing.
    fn push(&self, mut bytes: Bytes) -> u64 {
        let mut state = self.state();
        let missing = self.len - state.filled;
        // More than was asked for is a fault of the store; the range stays what it is.
        bytes.truncate(usize::try_from(missing).unwrap_or(usize::MAX));
        if !bytes.is_empty() {
            state.filled += bytes.len() as u64;
            let end = state.filled;
            state.chunks.push((end, bytes));
            state.waiting.retain_mut(|(needed, _)| *needed > end);
        }
        self.len - state.filled
    }

    fn fail(&self, error: FsError) {
        let mut state = self.state();
        state.failed.get_or_insert(error);
        state.waiting.clear();
    }
}

impl State {
    fn slice(&self, from: u64, to: u64, data: &mut ReadData) {
        let first = self.chunks.partition_point(|(end, _)| *end <= from);
        for (end, bytes) in self.chunks.iter().skip(first) {
            let start = end - bytes.len() as u64;
            if start >= to {
                break;
            }
            let (cut, stop) = (from.max(start) - start, to.min(*end) - start);
            data.push(bytes.slice(cut as usize..stop as usize));
        }
    }
}

/// Fetches a range, from a body that is already coming or from a request of its own. A body that
/// breaks off is asked again from there.
pub(crate) fn run(
    source: Arc<Source>,
    fill: Arc<Fill>,
    body: Option<ByteStream>,
) -> impl Future<Output = ()> + Send + 'static {
    // Made now, not when the task first runs: however and whenever it ends, nobody waits for ever.
    let filling = Filling(fill);
    async move {
        if let Err(error) = fetch(&source, &filling.0, body).await {
            filling.0.fail(error);
        }
    }
}

async fn fetch(source: &Source, fill: &Fill, mut body: Option<ByteStream>) -> Result<(), FsError> {
    let mut missing = fill.len;
    let (mut stalls, mut resumes) = (0, 0);
    loop {
        let before = missing;
        let mut stream = match body.take() {
            Some(stream) => stream,
            None => {
                let range = ByteRange::new(fill.start + (fill.len - missing), missing);
                source.store.get(&source.key, Some(range), Some(&source.etag)).await.map_err(read_error)?.body
            }
        };
        let broken = loop {
            match stream.next().await {
                Some(Ok(bytes)) => missing = fill.push(bytes),
                Some(Err(error)) if error.kind().is_transient() => break Some(error),
                Some(Err(error)) => return Err(read_error(error)),
                None => break None,
            }
            if missing == 0 {
                return Ok(());
            }
        };
        if missing == 0 {
            return Ok(());
        }
        stalls = if missing < before { 0 } else { stalls + 1 };
        resumes += 1;
        if stalls > STALLS_MAX || resumes > RESUMES_MAX {
            return Err(broken.map_or_else(broken_off, FsError::from));
        }
        source.metrics.body_resumes.inc();
        if stalls > 0 {
            let half = BACKOFF * 2_u32.pow(stalls - 1) / 2;
            tokio::time::sleep(half + half.mul_f64(2.0 * rand::random::<f64>())).await;
        }
    }
}

fn broken_off() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "the storage broke off the file again and again; try again in a while")
}

/// What a failed GET of an open file means.
fn read_error(error: StoreError) -> FsError {
    let message = match error.kind() {
        StoreErrorKind::PreconditionFailed | StoreErrorKind::RangeNotSatisfiable => {
            "the file was replaced while it was read; open it again"
        }
        StoreErrorKind::NotFound => "the file was removed while it was read",
        _ => return error.into(),
    };
    FsError::new(FsErrorKind::Conflict, message).with_source(error)
}

/// A range that is being fetched. Dropped before it is full, it fails the reads that wait.
struct Filling(Arc<Fill>);

impl Drop for Filling {
    fn drop(&mut self) {
        if self.0.state().filled < self.0.len {
            self.0.fail(FsError::new(FsErrorKind::Unavailable, "the file was closed while it was read"));
        }
    }
}
