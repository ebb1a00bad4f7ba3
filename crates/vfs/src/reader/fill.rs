//! A range of an object being fetched, and the reads that wait for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tidegate_store::{ByteRange, ByteStream, Checksum, StoreError, StoreErrorKind};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::ReadData;
use super::share::ReadPermit;
use super::source::Source;
use super::verify;
use crate::error::{FsError, FsErrorKind};

/// How often a body that broke off is asked again without a single byte in between, and in all.
const STALLS_MAX: u32 = 3;
const RESUMES_MAX: u32 = 32;

/// How often the object may get another tag between two requests for one range.
const FOLLOWS_MAX: u32 = 8;

/// How long to wait before a body is asked again that gave nothing the last time: this, doubled each
/// time, give or take a half.
const BACKOFF: Duration = Duration::from_millis(50);

/// A range that is fetched. Dropping it stops the request and gives the memory back.
#[derive(Debug)]
pub(crate) struct Fetch {
    fill: Arc<Fill>,
    task: AbortHandle,
}

impl Fetch {
    /// Begins to fetch `len` bytes from `start`, into memory that is there or else queued for, from a
    /// body that is already coming or else from a request of its own. Where their checksum is known,
    /// nothing is handed out before it was compared; if it differs, they are fetched once more.
    pub(crate) fn begin(
        tasks: &mut JoinSet<()>,
        source: &Arc<Source>,
        start: u64,
        len: u64,
        permit: Option<ReadPermit>,
        body: Option<ByteStream>,
        expected: Option<Checksum>,
    ) -> Arc<Self> {
        let state = State { start, len, permit, hidden: expected.is_some(), ..State::default() };
        let fill = Arc::new(Fill { expected, state: Mutex::new(state) });
        let task = tasks.spawn(run(Arc::clone(source), Arc::clone(&fill), body));
        Arc::new(Self { fill, task })
    }

    /// Whether it was given up, and may succeed another time.
    pub(crate) fn has_failed(&self) -> bool {
        self.fill.state().failed.as_ref().is_some_and(|error| error.kind() != FsErrorKind::Corrupt)
    }

    /// Where the range begins in the object.
    pub(crate) fn start(&self) -> u64 {
        self.fill.state().start
    }

    /// Where it ends.
    pub(crate) fn end(&self) -> u64 {
        let state = self.fill.state();
        state.start + state.len
    }

    /// The checksum of the bytes from its start to this offset in the object, if they have come.
    pub(crate) fn sum_until(&self, end: u64) -> Option<Checksum> {
        self.fill.state().sum_until(end)
    }

    /// The checksum of the range, once it has come.
    pub(crate) async fn whole(&self) -> Result<Checksum, FsError> {
        let end = self.end();
        self.fill.read(end, end, &mut ReadData::default()).await?;
        self.sum_until(end).ok_or_else(broken_off)
    }

    /// The bytes from `from` to `to`, offsets in the object, as far as they lie in the range. They are
    /// kept until the claim is dropped.
    pub(crate) fn claim(self: &Arc<Self>, from: u64, to: u64) -> Claim {
        self.fill.state().claims.push(from);
        Claim { fetch: Arc::clone(self), from, to }
    }

    /// Lets go of whole chunks before this offset in the object that nobody claims. Returns where what
    /// is left begins.
    pub(crate) fn release(&self, before: u64) -> u64 {
        self.fill.release(before)
    }

    /// Makes the range `start..end`, which holds the one it was, if its request was not sent yet.
    /// Returns whether it did.
    pub(crate) fn grow(&self, start: u64, end: u64) -> bool {
        self.fill.grow(start, end)
    }

    /// Bytes of memory that it holds.
    pub(crate) fn held(&self) -> u64 {
        self.fill.state().permit.as_ref().map_or(0, ReadPermit::bytes)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
        // The task goes in a while; its memory is free now.
        self.fill.close();
    }
}

/// Bytes that a read waits for.
#[derive(Debug)]
pub(crate) struct Claim {
    fetch: Arc<Fetch>,
    from: u64,
    to: u64,
}

impl Claim {
    /// Adds the bytes to `data` once they have come.
    pub(crate) async fn read(self, data: &mut ReadData) -> Result<(), FsError> {
        self.fetch.fill.read(self.from, self.to, data).await
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let claims = &mut self.fetch.fill.state().claims;
        if let Some(at) = claims.iter().position(|from| *from == self.from) {
            claims.swap_remove(at);
        }
    }
}

/// A range of an object's bytes, as far as they have come.
#[derive(Debug)]
struct Fill {
    expected: Option<Checksum>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the range begins in the object, and how long it is. They are settled once it is sealed.
    start: u64,
    len: u64,
    sealed: bool,
    /// Each with the offset of its end, from the start of the range, and its checksum.
    chunks: VecDeque<(u64, Bytes, Checksum)>,
    filled: u64,
    /// The checksum of all that has come, and of what was let go of.
    sum: Checksum,
    released: Checksum,
    /// Nobody may see the bytes yet.
    hidden: bool,
    failed: Option<FsError>,
    /// Reads, and up to which offset in the object it must be filled for each.
    waiting: Vec<(u64, oneshot::Sender<()>)>,
    /// Where the bytes begin that reads claim.
    claims: Vec<u64>,
    permit: Option<ReadPermit>,
    closed: bool,
}

impl Fill {
    async fn read(&self, from: u64, to: u64, data: &mut ReadData) -> Result<(), FsError> {
        loop {
            let arrival = {
                let mut state = self.state();
                let end = to.saturating_sub(state.start).min(state.len);
                if state.sealed && state.filled >= end && !state.hidden {
                    let start = from.saturating_sub(state.start);
                    state.slice(start, end, data);
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

    fn release(&self, before: u64) -> u64 {
        let mut state = self.state();
        let before = state.claims.iter().copied().fold(before, u64::min).saturating_sub(state.start);
        while let Some((_, _, sum)) = state.chunks.pop_front_if(|(end, ..)| *end <= before) {
            state.released = state.released.then(sum);
        }
        let left = state.released.covered();
        let keep = state.len - left;
        if let Some(permit) = &mut state.permit {
            permit.shrink(keep);
        }
        state.start + left
    }

    fn grow(&self, start: u64, end: u64) -> bool {
        let mut state = self.state();
        let may_grow = !state.sealed && state.failed.is_none();
        if may_grow {
            (state.start, state.len) = (start, end - start);
        }
        may_grow
    }

    /// Settles the range: where it begins and how long it is.
    fn seal(&self) -> (u64, u64) {
        let mut state = self.state();
        state.sealed = true;
        (state.start, state.len)
    }

    fn hold(&self, permit: ReadPermit) {
        let mut state = self.state();
        if !state.closed {
            state.permit = Some(permit);
        }
    }

    fn close(&self) {
        let state = &mut *self.state();
        (state.closed, state.permit) = (true, None);
        state.chunks.clear();
    }

    /// Takes bytes in order; says how many are still missing.
    fn push(&self, mut bytes: Bytes) -> u64 {
        let missing = self.missing();
        // More than was asked for is a fault of the store; the range stays what it is.
        bytes.truncate(usize::try_from(missing).unwrap_or(usize::MAX));
        // Before the lock is taken: reads of other bytes need not wait for it.
        let sum = Checksum::of(&bytes);
        let mut state = self.state();
        if !bytes.is_empty() && !state.closed {
            state.filled += bytes.len() as u64;
            let (start, filled, full) = (state.start, state.filled, state.filled == state.len);
            state.chunks.push_back((filled, bytes, sum));
            state.sum = state.sum.then(sum);
            if !state.hidden {
                state.waiting.retain(|(needed, _)| *needed > start + filled && !full);
            }
        }
        state.len - state.filled
    }

    fn missing(&self) -> u64 {
        let state = self.state();
        state.len - state.filled
    }

    /// Lets reads see the bytes.
    fn show(&self) {
        let mut state = self.state();
        state.hidden = false;
        state.waiting.clear();
    }

    /// Forgets the bytes, to fetch them again.
    fn start_again(&self) {
        let mut state = self.state();
        state.chunks.clear();
        (state.filled, state.sum) = (0, Checksum::EMPTY);
    }

    fn fail(&self, error: FsError) {
        let mut state = self.state();
        state.failed.get_or_insert(error);
        state.waiting.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sum_until(&self, end: u64) -> Option<Checksum> {
        let end = end.checked_sub(self.start).filter(|end| *end <= self.filled)?;
        if end == self.filled {
            return Some(self.sum);
        }
        let mut sum = self.released;
        for (_, bytes, of_chunk) in &self.chunks {
            let left = end.checked_sub(sum.covered())?;
            match bytes.get(..usize::try_from(left).ok()?) {
                Some(part) => return Some(sum.then(Checksum::of(part))),
                None => sum = sum.then(*of_chunk),
            }
        }
        Some(sum)
    }

    fn slice(&self, from: u64, to: u64, data: &mut ReadData) {
        let first = self.chunks.partition_point(|(end, ..)| *end <= from);
        for (end, bytes, _) in self.chunks.iter().skip(first) {
            let start = end - bytes.len() as u64;
            if start >= to {
                break;
            }
            let (cut, stop) = (from.max(start) - start, to.min(*end) - start);
            data.push(bytes.slice(cut as usize..stop as usize));
        }
    }
}

/// Fetches a range. A body that breaks off is asked again from there.
fn run(source: Arc<Source>, fill: Arc<Fill>, body: Option<ByteStream>) -> impl Future<Output = ()> + Send + 'static {
    // Made now, not when the task first runs: however and whenever it ends, nobody waits for ever.
    let filling = Filling(fill);
    async move {
        let fetched = match filling.0.expected {
            Some(expected) => fetch_checked(&source, &filling.0, body, expected).await,
            None => fetch(&source, &filling.0, body).await,
        };
        if let Err(error) = fetched {
            filling.0.fail(error);
        }
    }
}

async fn fetch_checked(
    source: &Source,
    fill: &Fill,
    body: Option<ByteStream>,
    expected: Checksum,
) -> Result<(), FsError> {
    fetch(source, fill, body).await?;
    let sum = fill.state().sum;
    if verify::compare(source, sum, Some(expected)).is_err() {
        fill.start_again();
        fetch(source, fill, None).await?;
        let sum = fill.state().sum;
        verify::compare(source, sum, Some(expected))?;
    }
    fill.show();
    Ok(())
}

async fn fetch(source: &Source, fill: &Fill, mut body: Option<ByteStream>) -> Result<(), FsError> {
    let (start, len) = fill.seal();
    if fill.state().permit.is_none() {
        fill.hold(source.share.queue(len).granted().await?);
    }
    let mut missing = len;
    let (mut stalls, mut resumes, mut follows) = (0, 0, 0);
    loop {
        let before = missing;
        let asked = Instant::now();
        let (mut stream, waits) = match body.take() {
            Some(stream) => (stream, false),
            None => {
                let range = ByteRange::new(start + (len - missing), missing);
                let etag = source.etag();
                match source.store.get(&source.key, Some(range), Some(&etag)).await {
                    Ok(answer) => (answer.body, true),
                    Err(error)
                        if error.kind() == StoreErrorKind::PreconditionFailed
                            && follows < FOLLOWS_MAX
                            && source.follow(&etag).await =>
                    {
                        follows += 1;
                        continue;
                    }
                    Err(error) => return Err(read_error(error)),
                }
            }
        };
        let mut first = None;
        let broken = loop {
            match stream.next().await {
                Some(Ok(bytes)) => {
                    let first = *first.get_or_insert_with(|| {
                        if waits {
                            source.latency().first_byte(asked.elapsed());
                        }
                        Instant::now()
                    });
                    missing = fill.push(bytes);
                    if missing == 0 {
                        source.latency().body(before, first.elapsed());
                    }
                }
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
        let state = self.0.state();
        let is_full = state.filled == state.len && !state.hidden;
        drop(state);
        if !is_full {
            self.0.fail(FsError::new(FsErrorKind::Unavailable, "the file was closed while it was read"));
        }
    }
}
