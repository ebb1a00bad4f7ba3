//! The loop: wait for one thing, act on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::events::Event;
use super::handles::{Handles, OpenHandle};
use super::order::PathOrder;
use super::queued::Queued;
use super::requests::Call;
use super::throttle::{Throttle, until};
use super::{SessionContext, SessionEnd, SessionReport, audit};
use crate::codec::{HandleId, MAX_PACKET, Replies, Request, decode};

/// How much memory the input takes while no file is written: more than any request on paths.
const SMALL_BLOCK: usize = 16 * 1024;
/// And while one is: two of the largest packets. A packet that does not fit what is left of a
/// block is moved to the next one, so the larger the block, the fewer bytes are copied.
const LARGE_BLOCK: usize = 2 * MAX_PACKET;
/// How many bytes of answers may wait above `output_buffer`: small answers to requests that were
/// already on their way when it was full.
const OUTPUT_SLACK: usize = 4 << 20;
/// What the queues of one session may take whatever those of others do, in bytes.
const QUEUE_SURE: usize = 64 << 10;
/// How long requests that run may take once the client is gone: files whose CLOSE was received
/// become durable, a rename does not stop half-way.
const FINISH_GRACE: Duration = Duration::from_secs(60);
/// The same once the deadline of a shutdown came.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);
/// How long a session of a node that drains goes on behind its last answer. A disconnect that
/// follows an answer at once makes OpenSSH throw the answer away, and many clients rename what
/// they have just closed.
const DRAIN_LINGER: Duration = Duration::from_secs(2);
/// How long the ends of uploads that are cut may take to become durable.
const CUT_GRACE: Duration = Duration::from_secs(9);

/// A WRITE, or a request for a copy, that waits. Nothing is read from the client meanwhile.
pub(super) struct Stalled {
    pub(super) request: Request,
    pub(super) arrived: Instant,
    pub(super) cause: Shortage,
    pub(super) wait: BoxFuture<'static, ()>,
}

/// What a WRITE waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    Bandwidth,
    /// Of memory; or a file of which bytes are on their way from one place to another.
    Memory,
}

/// All state of one session.
pub(super) struct Session {
    pub(super) context: SessionContext,
    pub(super) initialised: bool,
    pub(super) draining: bool,
    /// When the last answer had all been handed to the stream.
    answered: tokio::time::Instant,
    pub(super) input: BytesMut,
    pub(super) input_ended: bool,
    pub(super) stalled: Option<Stalled>,
    pub(super) throttle: Throttle,
    pub(super) replies: Replies,
    pub(super) handles: Handles,
    /// OPENs and OPENDIRs that run, each of which will take a handle.
    pub(super) opening: usize,
    /// The OPENDIRs among them.
    pub(super) opening_directories: usize,
    pub(super) order: PathOrder<BoxFuture<'static, Event>>,
    pub(super) pending: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Handles with READs or READDIRs to start or answer, each once, served in turn.
    pub(super) ready: VecDeque<HandleId>,
    /// What the queues of READs and READDIRs that wait take, in bytes.
    pub(super) queued_bytes: usize,
    queued: Queued,
    /// Bytes that READs in progress may yet add to the answers.
    pub(super) reading: usize,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Files are read for checksums one after the other.
    pub(super) checks: Arc<Semaphore>,
    /// Nobody waits for answers any more.
    pub(super) ended: CancellationToken,
}

/// Serves SFTP on `stream` until the client or the node ends it.
///
/// When it returns, every file whose CLOSE was received is complete in the store or was answered
/// with an error, every other upload waits for a session that goes on with it, and nothing of this
/// session runs any more. The stream is not shut down: that is its owner's to do.
pub async fn serve<S>(stream: S, context: SessionContext) -> SessionReport
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    context.metrics.sessions.inc();
    let mut session = Session::new(context);
    let end = match session.run(stream).await {
        Ok(end) | Err(end) => end,
    };
    if let SessionEnd::Malformed(error) = &end {
        session.context.metrics.malformed.inc();
        warn!("activity-type" = "ERROR", operation = "decode", message = %error);
    }
    let grace = if matches!(end, SessionEnd::DeadlineReached) { DEADLINE_GRACE } else { FINISH_GRACE };
    session.clean_up(grace).await;
    session.context.metrics.sessions.dec();
    SessionReport { end, bytes_in: session.bytes_in, bytes_out: session.bytes_out }
}

impl Session {
    fn new(context: SessionContext) -> Self {
        let queued = Queued::new(context.metrics.queued.clone());
        Self {
            handles: Handles::new(context.metrics.handles.clone()),
            ended: context.gone.child_token(),
            throttle: Throttle::new(&context),
            context,
            initialised: false,
            draining: false,
            answered: tokio::time::Instant::now(),
            input: BytesMut::new(),
            input_ended: false,
            stalled: None,
            replies: Replies::default(),
            opening: 0,
            opening_directories: 0,
            order: PathOrder::new(),
            pending: FuturesUnordered::new(),
            ready: VecDeque::new(),
            queued_bytes: 0,
            queued,
            reading: 0,
            bytes_in: 0,
            bytes_out: 0,
            checks: Arc::new(Semaphore::new(1)),
        }
    }

    async fn run<S>(&mut self, stream: S) -> Result<SessionEnd, SessionEnd>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let shutdown = self.context.shutdown.clone();
        loop {
            self.advance()?;
            if let Some(end) = self.end() {
                return Ok(end);
            }
            self.make_room();
            let may_read = self.takes_requests() && !self.input_ended;
            let reads_resume = self.throttle.reads_resume();
            let leaves = self.leaves_at();
            let write_waits = self.stalled.as_ref().is_some_and(|stalled| stalled.cause == Shortage::Bandwidth);
            // Nor is it the client that is silent while the store works for it: a directory may be renamed.
            self.throttle.count(reads_resume.is_some() || write_waits || self.order.len() > 0);
            // Every branch may be dropped and begun again without loss: reads and writes move
            // bytes only when they complete. A write that was begun must be tried again with
            // the same bytes in front, which `replies` keeps, as long as any wait.
            tokio::select! {
                read = reader.read_buf(&mut self.input), if may_read => match read {
                    Ok(0) => self.input_ended = true,
                    Ok(_) => {}
                    Err(error) => return Err(SessionEnd::Io(error)),
                },
                written = writer.write_buf(&mut self.replies), if !self.replies.is_empty() => {
                    match written {
                        Ok(0) => return Err(SessionEnd::Io(std::io::ErrorKind::WriteZero.into())),
                        Ok(_) if self.replies.is_empty() => self.answered = tokio::time::Instant::now(),
                        Ok(_) => {}
                        Err(error) => return Err(SessionEnd::Io(error)),
                    }
                }
                Some(event) = self.pending.next(), if !self.pending.is_empty() => self.complete(event),
                () = stalled(&mut self.stalled), if self.stalled.is_some() => self.retry_stalled(),
                // The READs go on in the next round.
                () = until(reads_resume), if reads_resume.is_some() => {}
                () = until(leaves), if leaves.is_some() => {}
                () = shutdown.drain.cancelled(), if !self.draining => self.draining = true,
                () = shutdown.deadline.cancelled() => return Err(SessionEnd::DeadlineReached),
            }
        }
    }

    /// Does all that can be done without waiting.
    fn advance(&mut self) -> Result<(), SessionEnd> {
        while self.takes_requests() {
            match decode(&mut self.input).map_err(super::ProtocolError::Packet)? {
                Some(request) => self.apply(request, Instant::now())?,
                None => break,
            }
        }
        self.pump();
        let output_limit = usize::try_from(self.context.config.output_buffer.as_u64()).unwrap_or(usize::MAX);
        let queue_limit = usize::try_from(self.context.config.request_queue.as_u64()).unwrap_or(usize::MAX);
        let overflow = self.replies.len().saturating_sub(output_limit);
        let queued = self.queued_bytes + overflow;
        self.queued.set(queued);
        let is_sure = queued <= QUEUE_SURE;
        if self.queued_bytes > queue_limit
            || overflow > OUTPUT_SLACK
            || (!is_sure && self.queued.sum() > self.context.config.request_queue_total.as_u64())
        {
            return Err(SessionEnd::NotReading);
        }
        Ok(())
    }

    /// Whether another request may be taken in now. See the module's rules on what may pause it.
    fn takes_requests(&self) -> bool {
        self.stalled.is_none() && self.order.len() < self.context.config.max_path_requests as usize
    }

    /// Whether something of what was asked is still to be done or answered.
    fn is_busy(&self) -> bool {
        !(self.pending.is_empty() && self.replies.is_empty() && self.ready.is_empty() && self.stalled.is_none())
    }

    /// When the session is to end because the node drains, if nothing is asked meanwhile.
    fn leaves_at(&self) -> Option<tokio::time::Instant> {
        let idle = !self.is_busy() && self.handles.is_empty() && self.input.is_empty();
        (self.draining && idle).then(|| self.answered + DRAIN_LINGER)
    }

    fn end(&self) -> Option<SessionEnd> {
        if self.is_busy() {
            return None;
        }
        if self.input_ended {
            if !self.input.is_empty() {
                debug!(bytes = self.input.len(), "the client closed in the middle of a packet");
            }
            return Some(SessionEnd::ClientClosed);
        }
        let leaves = self.leaves_at()?;
        (leaves <= tokio::time::Instant::now()).then_some(SessionEnd::Drained)
    }

    /// Makes room in the input for the next read, and gives memory back where none is needed.
    fn make_room(&mut self) {
        let idle = self.input.is_empty() && self.handles.is_empty();
        if idle && self.input.capacity() > SMALL_BLOCK {
            self.input = BytesMut::new();
        }
        if idle {
            self.replies.release();
        }
        if self.input.capacity() - self.input.len() < SMALL_BLOCK / 4 {
            // The packet in front may be larger than a block.
            let missing = self.input.first_chunk::<4>().map_or(0, |header| {
                ((u32::from_be_bytes(*header) as usize).min(MAX_PACKET) + 4).saturating_sub(self.input.len())
            });
            let block = if self.handles.has_writers() { LARGE_BLOCK } else { SMALL_BLOCK };
            self.input.reserve(block.max(missing));
        }
    }

    fn retry_stalled(&mut self) {
        match self.stalled.take() {
            Some(Stalled { request, arrived, cause: Shortage::Bandwidth, .. }) => self.take_write(request, arrived),
            Some(Stalled { request: Request::Extension { id, extension }, arrived, .. }) => {
                let operation = extension.name();
                self.extension(Call { id, operation, arrived }, extension);
            }
            Some(Stalled { request, arrived, cause: Shortage::Memory, .. }) => self.apply_write(request, arrived),
            None => {}
        }
    }

    /// Lets requests on paths and CLOSEs that run finish, and leaves all other uploads to be resumed.
    async fn clean_up(&mut self, grace: Duration) {
        self.ended.cancel();
        for id in self.handles.closing_writers() {
            if let Some(closing) = self.handles.any(id).and_then(|open| open.readable()?.closing) {
                self.close_writer(id, closing);
            }
        }
        let handles = self.handles.drain();
        let cut = handles.into_iter().filter_map(|handle| match handle {
            OpenHandle::Write(handle) => {
                audit::cut(&handle.path, handle.bytes, handle.bytes_read, handle.opened.elapsed());
                Some(handle.writer.cut())
            }
            OpenHandle::Read(handle) => {
                audit::cut(&handle.path, 0, handle.bytes, handle.opened.elapsed());
                None
            }
            OpenHandle::Directory(_) => None,
        });
        let cut = tokio::time::timeout(CUT_GRACE, join_all(cut));
        let finished = tokio::time::timeout(grace, async {
            while self.order.len() > 0
                && let Some(event) = self.pending.next().await
            {
                self.complete(event);
            }
        });
        let (cut, finished) = tokio::join!(cut, finished);
        if cut.is_err() || finished.is_err() {
            warn!("activity-type" = "ERROR", operation = "end", message = "the store did not answer in time");
        }
        // An OPEN that completed meanwhile has left a handle: dropping it drops its upload.
        drop(self.handles.drain());
    }
}

async fn stalled(stalled: &mut Option<Stalled>) {
    if let Some(stalled) = stalled {
        (&mut stalled.wait).await;
    }
}
