//! Holds a session to its bandwidth. Nothing fails here; it only waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytesize::ByteSize;
use tidegate_store::Bandwidth;
use tokio::time::{Instant, sleep_until};

use super::SessionContext;
use crate::meter::Meter;
use crate::tenants::{Direction, TenantShare};

/// How many of some sessions wait for bandwidth, or for the store with a request on a path: while one
/// does, its silence is not its client's. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct ThrottledSessions(Arc<AtomicUsize>);

impl ThrottledSessions {
    /// Whether at least one of them waits.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Counts a session as waiting until it is dropped.
#[derive(Debug)]
pub(crate) struct Held(ThrottledSessions);

impl ThrottledSessions {
    /// Counts a session that works for its client without a byte from or to it.
    pub(crate) fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bandwidth of one session.
#[derive(Debug)]
pub(crate) struct Throttle {
    input: Meter,
    output: Meter,
    /// When the READs that wait may go on.
    reads_resume: Option<Instant>,
    sessions: ThrottledSessions,
    is_counted: bool,
}

impl Throttle {
    pub(crate) fn new(context: &SessionContext) -> Self {
        let now = Instant::now();
        let throttled = context.metrics.throttled_in.clone();
        Self {
            input: Meter::new(Direction::In, rate(context.config.max_bandwidth_in), throttled, now),
            output: output(context, now),
            reads_resume: None,
            sessions: context.throttled.clone(),
            is_counted: false,
        }
    }

    /// Lets a WRITE of this many bytes pass, or tells when to ask again.
    pub(crate) fn pass_write(&mut self, bytes: usize, context: &SessionContext) -> Result<(), Instant> {
        self.input.pass(bytes as u64, context.tenant.share(), Instant::now())
    }

    /// Lets a READ of this many bytes pass, or has [`Throttle::reads_resume`] tell when to ask again.
    pub(crate) fn pass_read(&mut self, bytes: u64, context: &SessionContext) -> bool {
        let passed = self.output.pass(bytes, context.tenant.share(), Instant::now());
        self.reads_resume = passed.err();
        passed.is_ok()
    }

    /// Begins a round over the READs: those that still wait will say so again.
    pub(crate) fn begin_round(&mut self) {
        self.reads_resume = None;
    }

    /// When the READs that wait have to be looked at again, if any wait for bandwidth.
    pub(crate) fn reads_resume(&self) -> Option<Instant> {
        self.reads_resume
    }

    /// Counts the session among those that wait, or no longer.
    pub(crate) fn count(&mut self, waits: bool) {
        if waits != self.is_counted {
            self.is_counted = waits;
            if waits {
                self.sessions.0.fetch_add(1, Ordering::Relaxed);
            } else {
                self.sessions.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

fn rate(limit: Option<ByteSize>) -> Option<Bandwidth> {
    limit.and_then(|size| Bandwidth::try_from(size.as_u64()).ok())
}

fn output(context: &SessionContext, now: Instant) -> Meter {
    let throttled = context.metrics.throttled_out.clone();
    Meter::new(Direction::Out, rate(context.config.max_bandwidth_out), throttled, now)
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.count(false);
    }
}

/// Bandwidth for what a session reads for its client without sending it: as much as it may send.
pub(crate) struct ReadThrottle {
    output: Meter,
    tenant: TenantShare,
}

impl ReadThrottle {
    pub(crate) fn new(context: &SessionContext) -> Self {
        Self { output: output(context, Instant::now()), tenant: context.tenant.share().clone() }
    }

    /// Returns once so many bytes may be read.
    pub(crate) async fn pass(&mut self, bytes: u64) {
        while let Err(at) = self.output.pass(bytes, &self.tenant, Instant::now()) {
            sleep_until(at).await;
        }
    }
}

/// Returns at this time; never without one.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
