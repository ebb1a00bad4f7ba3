//! The TCP stream below SSH: counted, and cut when a connection has to end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::negotiated::ClientHello;

/// The transport reads each packet in two steps, its length first; the buffer saves a system call
/// for each.
const READ_BUFFER: usize = 32 << 10;

/// Bytes on the wire so far.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A TCP stream that fails from the moment its token is cancelled. It is the only sure way to end
/// a connection: the transport's own task can't be stopped and may be waiting for a client that
/// neither reads nor closes.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: BufReader<TcpStream>,
    cut: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    traffic: Arc<Traffic>,
    hello: Arc<ClientHello>,
}

impl Socket {
    pub(crate) fn new(
        stream: TcpStream,
        cut: CancellationToken,
        traffic: Arc<Traffic>,
        hello: Arc<ClientHello>,
    ) -> Self {
        let cancelled = Box::pin(cut.clone().cancelled_owned());
        Self { inner: BufReader::with_capacity(READ_BUFFER, stream), cut, cancelled, traffic, hello }
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
        ready!(self.as_mut().poll_uncut(cx, |stream, cx| stream.poll_read(cx, buf)))?;
        if let Some(read) = buf.filled().get(before..) {
            self.traffic.received.fetch_add(read.len() as u64, Ordering::Relaxed);
            self.hello.observe(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.as_mut().poll_uncut(cx, |stream, cx| stream.poll_write(cx, buf)))?;
        self.traffic.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_uncut(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_uncut(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}
