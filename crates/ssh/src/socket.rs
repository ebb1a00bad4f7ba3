//! The TCP stream below SSH: counted, and cut when a connection has to end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::negotiated::ClientHello;
use crate::prompt_ack::{PromptAck, acknowledge};

/// The transport reads each packet in two steps, its length first; the buffer saves a system call
/// for each.
const READ_BUFFER: usize = 32 << 10;

/// Bytes that a client may send before it has logged in. A login takes a few KiB, some dozen with
/// large keys; the rest could only make the node compute key exchanges and signatures.
const MAX_BEFORE_LOGIN: u64 = 256 << 10;

/// What a client may send at least without hearing from us.
const MIN_UNANSWERED: u64 = 1 << 20;

/// Bytes on the wire so far, and whether the client stayed within its limits.
#[derive(Debug)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    /// Received since something was sent last.
    unanswered: AtomicU64,
    max_unanswered: u64,
    logged_in: AtomicBool,
}

impl Traffic {
    /// `windows` is the sum of what all channels' windows may be, in bytes.
    ///
    /// An honest client hears from us each half of a window. One that lets a key exchange wait
    /// does not, and its requests' answers pile up in the transport for as long: twice the windows
    /// leaves room for what packets have around their data.
    pub(crate) fn new(windows: u64) -> Self {
        Self {
            received: AtomicU64::default(),
            sent: AtomicU64::default(),
            unanswered: AtomicU64::default(),
            max_unanswered: windows.saturating_mul(2).saturating_add(MIN_UNANSWERED),
            logged_in: AtomicBool::default(),
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The limit of what is sent before a login no longer counts.
    pub(crate) fn logged_in(&self) {
        self.logged_in.store(true, Ordering::Relaxed);
    }

    /// Whether the client has sent more than it may.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) > self.max_unanswered
            || (self.received() > MAX_BEFORE_LOGIN && !self.logged_in.load(Ordering::Relaxed))
    }

    fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.unanswered.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.unanswered.store(0, Ordering::Relaxed);
    }
}

/// A TCP stream that fails from the moment its token is cancelled or its client has sent more than
/// it may. It is the only sure way to end
/// a connection: the transport's own task can't be stopped and may be waiting for a client that
/// neither reads nor closes.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: BufReader<TcpStream>,
    cut: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    traffic: Arc<Traffic>,
    hello: Arc<ClientHello>,
    prompt_ack: PromptAck,
}

impl Socket {
    pub(crate) fn new(
        stream: TcpStream,
        cut: CancellationToken,
        traffic: Arc<Traffic>,
        hello: Arc<ClientHello>,
    ) -> Self {
        let cancelled = Box::pin(cut.clone().cancelled_owned());
        let inner = BufReader::with_capacity(READ_BUFFER, stream);
        Self { inner, cut, cancelled, traffic, hello, prompt_ack: PromptAck::new() }
    }

    /// Polls the stream unless it is cut, and wakes when it is.
    fn poll_uncut<T>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut BufReader<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if !self.cut.is_cancelled() {
            if let Poll::Ready(result) = poll(Pin::new(&mut self.inner), cx) {
                return Poll::Ready(result);
            }
            ready!(self.cancelled.as_mut().poll(cx));
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the node closed the connection")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = self.as_mut().poll_uncut(cx, |stream, cx| stream.poll_read(cx, buf));
        let Self { inner, prompt_ack, .. } = &mut *self;
        match polled {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                if prompt_ack.poll_due(cx) {
                    acknowledge(inner.get_ref());
                }
                return Poll::Pending;
            }
        }
        prompt_ack.received();
        if let Some(read) = buf.filled().get(before..) {
            self.traffic.count_received(read.len());
            self.hello.observe(read);
        }
        if self.traffic.is_over_limit() {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the client sent more than it may");
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.as_mut().poll_uncut(cx, |stream, cx| stream.poll_write(cx, buf)))?;
        self.traffic.count_sent(written);
        self.prompt_ack.sent();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_uncut(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_uncut(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_received_before_a_login() {
        let traffic = Traffic::new(1 << 30);
        traffic.count_received(256 << 10);
        assert!(!traffic.is_over_limit());
        traffic.count_received(1);
        assert!(traffic.is_over_limit());
        traffic.logged_in();
        assert!(!traffic.is_over_limit());
    }

    #[test]
    fn a_client_that_lets_us_say_nothing_can_not_send_for_ever() {
        let traffic = Traffic::new(1 << 20);
        traffic.logged_in();
        for _ in 0..2 {
            traffic.count_received(3 << 20);
            assert!(!traffic.is_over_limit());
            traffic.count_sent(1);
        }
        traffic.count_received(3 << 20);
        traffic.count_received(1);
        assert!(traffic.is_over_limit());
    }
}
