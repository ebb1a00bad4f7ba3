//! A file open for reading: one version of an object, from OPEN to CLOSE.

mod fill;
mod level;
mod pace;
mod random;
mod share;
mod source;
mod verify;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_store::{ByteRange, ETag, GetObject, ObjectKey, ObjectMeta, ObjectStore, StoreErrorKind, StoreResult};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::fill::{Claim, Fetch};
use self::pace::{Latency, Pace};
use self::random::{Random, Range};
pub(crate) use self::share::{ReadMemory, TenantMemory};
use self::share::{ReadPermit, Share, Trim};
use self::source::Source;
use self::verify::{Ending, Verification};
pub(crate) use self::window::FIRST;
use self::window::{Purpose, Window};
use crate::attributes::FileAttributes;
use crate::config::Config;
use crate::error::FsError;
use crate::metrics::{Counted, Metrics};

/// After so many reads at random in a row, a file has no claim to read-ahead until one is in order.
const TURNS_RANDOM: u32 = 4;

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

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.chunks.push(bytes);
        }
    }
}

impl ReadData {
    /// Appends a range of these bytes to others.
    pub(crate) fn push_range_to(&self, other: &mut Self, range: std::ops::Range<u64>) {
        let mut at = 0_u64;
        for chunk in &self.chunks {
            let len = chunk.len() as u64;
            let (from, to) = (range.start.clamp(at, at + len), range.end.clamp(at, at + len));
            // Both lie within the chunk.
            other.push(chunk.slice((from - at) as usize..(to - at) as usize));
            at += len;
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
    /// When the client asked for the file.
    opened: Instant,
    /// `None` while nobody has asked for it.
    open: Option<Counted>,
}

#[derive(Debug)]
struct State {
    window: Window<Arc<Fetch>>,
    random: Random<Arc<Fetch>>,
    /// How many reads at random there were in a row.
    in_a_row: u32,
    pace: Pace,
    verification: Verification,
    /// The memory of the transfer's buffers outside of this crate, once it is a long one.
    buffers: Option<ReadPermit>,
    overhead: u64,
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
        let share = memory.join();
        let permit = if config.read_ahead_max.as_u64() > 0 { share.try_take(FIRST) } else { None };
        Ok(Self::open_ahead(store, key, share, permit, config, metrics).await?.asked_for())
    }

    /// Opens an object that nobody has asked for yet: fetches as many of its first bytes as `permit`
    /// stands for, or none.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub(crate) async fn open_ahead(
        store: &Arc<dyn ObjectStore>,
        key: ObjectKey,
        share: Share,
        permit: Option<ReadPermit>,
        config: &Config,
        metrics: &Metrics,
    ) -> StoreResult<Self> {
        let (opened, mut latency) = (Instant::now(), Latency::default());
        let (meta, first) = match permit {
            Some(permit) => match store.get(&key, Some(ByteRange::new(0, permit.bytes())), None).await {
                Ok(GetObject { meta, body }) => {
                    latency.first_byte(opened.elapsed());
                    (meta, Some((permit, body)))
                }
                Err(error) if error.kind() == StoreErrorKind::RangeNotSatisfiable => (store.head(&key).await?, None),
                Err(error) => return Err(error),
            },
            None => (store.head(&key).await?, None),
        };
        let attributes = FileAttributes::of_file(&meta);
        let ObjectMeta { size, etag, checksum, .. } = meta;
        // What came whole with OPEN is compared before it is handed out, the rest at its end.
        let is_whole = first.as_ref().is_some_and(|(permit, _)| size <= permit.bytes());
        let expected = checksum.filter(|_| is_whole && config.verify_downloads);
        let verification =
            if config.verify_downloads && !is_whole { Verification::new(size) } else { Verification::off() };
        let source = Source::new(Arc::clone(store), key, (etag, size), (share, latency), metrics.clone());
        let source = Arc::new(source);
        let mut state = State::new(size, verification, config, metrics);
        if let Some((mut permit, body)) = first {
            let len = permit.bytes().min(size);
            permit.shrink(len);
            let fetch = Fetch::begin(&mut state.tasks, &source, 0, len, Some(permit), Some(body), expected);
            state.window.push(len, fetch);
        }
        Ok(Self::of(source, attributes, state, opened))
    }

    /// Opens a version of an object that is known, without a request.
    pub(crate) fn of_version(
        store: Arc<dyn ObjectStore>,
        key: ObjectKey,
        etag: ETag,
        size: u64,
        share: Share,
        config: &Config,
        metrics: &Metrics,
    ) -> Self {
        let source = Source::new(store, key, (etag, size), (share, Latency::default()), metrics.clone());
        let verification = if config.verify_downloads { Verification::new(size) } else { Verification::off() };
        let state = State::new(size, verification, config, metrics);
        let attributes = FileAttributes::listed(size, std::time::UNIX_EPOCH);
        Self::of(Arc::new(source), attributes, state, Instant::now())
    }

    fn of(source: Arc<Source>, attributes: FileAttributes, state: State, opened: Instant) -> Self {
        let state = Arc::new(Mutex::new(state));
        let trim: Arc<dyn Trim> = Arc::<Mutex<State>>::clone(&state);
        source.share.trims(Arc::downgrade(&trim));
        Self { source, attributes, state, opened, open: None }
    }

    /// Counts the file as open, from now on.
    pub(crate) fn asked_for(mut self) -> Self {
        self.opened = Instant::now();
        self.open = Some(Counted::new(&self.source.metrics.open_readers));
        self
    }

    /// The version that it shows: its key, tag and size.
    pub(crate) fn version(&self) -> (ObjectKey, ETag, u64) {
        (self.source.key.clone(), self.source.etag(), self.attributes.size)
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
        let (claims, ending) = self.claims(offset, end);
        let source = Arc::clone(&self.source);
        let state = Arc::downgrade(&self.state);
        async move {
            let mut data = ReadData::default();
            for claim in claims {
                claim.read(&mut data).await?;
            }
            if let Some(ending) = ending {
                ending.check(&source).await?;
            }
            // Each claim was let go of above: what served a read at random is kept for the next one
            // only where there is memory.
            if source.share.is_short()
                && let Some(state) = state.upgrade()
            {
                lock(&state).drop_random();
            }
            Ok(data)
        }
        .boxed()
    }

    /// The bytes of a read, and what is to be compared if it reaches the end of a file that was read
    /// from its beginning.
    fn claims(&self, offset: u64, end: u64) -> (Vec<Claim>, Option<Ending>) {
        let mut state = lock(&self.state);
        while state.tasks.try_join_next().is_some() {}
        if state.window.is_random(offset) {
            return (self.at_random(&mut state, offset, end), None);
        }
        let claims = self.in_order(&mut state, offset, end);
        state.note_passed();
        let State { window, verification, tasks, .. } = &mut *state;
        let first = window.segments().next();
        // Early, so that the version is known by its bytes if it gets another tag meanwhile.
        let is_of_use = end > FIRST || window.reaches_the_end();
        if is_of_use && first.is_some_and(|first| verification.goes_on_at(first.bytes.start())) {
            verification.expect(|| verify::ask(&self.source, tasks));
        }
        let reaches_the_end = end == self.attributes.size;
        (claims, if reaches_the_end { verification.ending(window.segments()) } else { None })
    }

    fn in_order(&self, state: &mut State, offset: u64, end: u64) -> Vec<Claim> {
        state.in_a_row = 0;
        let State { window, pace, tasks, buffers, overhead, .. } = state;
        pace.read(end - offset, self.opened.elapsed());
        let plan = pace.plan(&self.source.latency(), window.step());
        let is_long = end > FIRST && *overhead > 0;
        let may_hold = self.source.share.claim(window.wants(offset, end, plan) + if is_long { *overhead } else { 0 });
        if is_long && buffers.is_none() {
            *buffers = self.source.share.try_take(*overhead);
        }
        let may_hold = may_hold.saturating_sub(buffers.as_ref().map_or(0, ReadPermit::bytes));
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
            Some(Fetch::begin(tasks, &self.source, start, len, permit, None, None))
        };
        let mut segments = window.read(offset, end, may_hold, plan, &mut fetch);
        if segments.iter().any(|segment| segment.bytes.has_failed()) {
            // An earlier read has told of the failure; this one tries afresh.
            window.restart(offset);
            segments = window.read(offset, end, may_hold, plan, &mut fetch);
        }
        if without_memory {
            window.drop_behind(offset);
        }
        let claims = segments.iter().map(|segment| segment.bytes.claim(offset.max(segment.start), end)).collect();
        window.release(offset, may_hold, |fetch, before| fetch.release(before));
        claims
    }

    fn at_random(&self, state: &mut State, offset: u64, end: u64) -> Vec<Claim> {
        let State { window, random, in_a_row, tasks, .. } = state;
        *in_a_row += 1;
        if *in_a_row == TURNS_RANDOM {
            self.source.share.claim(0);
        } else {
            self.source.share.touch();
        }
        // So that the version is known by its bytes if it gets another tag meanwhile. Not for who looks at one place.
        if *in_a_row == 2 && !self.source.is_sum_asked() {
            drop(verify::ask(&self.source, tasks));
        }
        window.skip_to(end);
        random.forget(|fetch| fetch.has_failed());
        let grow = |fetch: &Arc<Fetch>, range: Range| fetch.grow(range.start, range.end);
        let bytes = random.read(offset, end, grow, |range| {
            Fetch::begin(tasks, &self.source, range.start, range.end - range.start, None, None, None)
        });
        vec![bytes.claim(offset, end)]
    }
}

impl State {
    fn new(size: u64, verification: Verification, config: &Config, metrics: &Metrics) -> Self {
        Self {
            window: Window::new(size, config.read_ahead_max.as_u64()),
            random: Random::new(size),
            in_a_row: 0,
            pace: Pace::default(),
            verification,
            buffers: None,
            overhead: config.transfer_overhead.as_u64(),
            tasks: JoinSet::new(),
            metrics: metrics.clone(),
        }
    }

    /// Adds what the reader has passed to the checksum of the whole.
    fn note_passed(&mut self) {
        for segment in self.window.take_passed() {
            self.verification.pass(&segment);
        }
        self.verification.settle();
    }

    /// Drops what served reads at random and none waits for. Returns how many bytes came free.
    fn drop_random(&mut self) -> u64 {
        let mut freed = 0;
        self.random.forget(|fetch| {
            let idle = Arc::strong_count(fetch) == 1;
            freed += if idle { fetch.held() } else { 0 };
            idle
        });
        freed
    }
}

impl Trim for Mutex<State> {
    fn trim(&self, keep: u64) -> u64 {
        // The lock may be held by a reader that asks others for memory just as this one does.
        let Ok(mut state) = self.try_lock() else { return 0 };
        let held = |window: &Window<Arc<Fetch>>| window.segments().map(|segment| segment.bytes.held()).sum::<u64>();
        // What served a read at random may never serve another.
        let freed = state.drop_random();
        let State { window, metrics, .. } = &mut *state;
        let before = held(window);
        let mut left = before;
        let dropped = window.drop_farthest(|fetch| {
            let may_drop = left > keep && Arc::strong_count(fetch) == 1;
            left -= if may_drop { fetch.held() } else { 0 };
            may_drop
        });
        metrics.read_ahead_dropped.inc_by(dropped);
        let freed = freed + before - held(window);
        state.note_passed();
        freed
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
