//! One channel as a byte stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::ReusableBoxFuture;

use crate::connection::Activity;

type Received = (ChannelReadHalf, Option<ChannelMsg>);

/// The data of a channel, in both directions. Every byte counts as activity of the connection.
///
/// Unlike the transport's own stream it does not take an empty packet for the end, and its
/// shutdown sends nothing: who owns the channel says how it ends.
///
/// The writer below keeps a copy of what it could not send yet. So after a write that was
/// `Pending`, the next one must begin with the same bytes, and it must come: until it is polled,
/// the rest of the connection may wait.
pub(crate) struct ChannelStream {
    reading: Reading,
    chunk: Bytes,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    activity: Activity,
}

/// How far the client's side of the channel has come. It is listened to until the channel is closed:
/// the transport does not wake a write that waits for window on a channel that is gone.
enum Reading {
    Open(ReusableBoxFuture<'static, Received>),
    /// The client sends no more data (EOF).
    HalfClosed(ReusableBoxFuture<'static, Received>),
    /// The channel or its connection is gone.
    Closed,
}

async fn receive(mut half: ChannelReadHalf) -> Received {
    let message = half.wait().await;
    (half, message)
}

impl ChannelStream {
    pub(crate) fn new(channel: Channel<Msg>, activity: Activity) -> Self {
        let writer = Box::pin(channel.make_writer());
        let (reader, _) = channel.split();
        let reading = Reading::Open(ReusableBoxFuture::new(receive(reader)));
        Self { reading, chunk: Bytes::new(), writer, activity }
    }
}

impl ChannelStream {
    /// Behind the client's EOF nothing is read any more, so its CLOSE is looked for here. What it
    /// sends in between is discarded.
    fn poll_close(&mut self, cx: &mut Context<'_>) {
        while let Reading::HalfClosed(next) = &mut self.reading {
            let Poll::Ready((half, message)) = next.poll(cx) else { return };
            match message {
                Some(ChannelMsg::Close) | None => self.reading = Reading::Closed,
                Some(_) => next.set(receive(half)),
            }
        }
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.chunk.is_empty() {
            let Reading::Open(next) = &mut this.reading else {
                return Poll::Ready(Ok(()));
            };
            let (half, message) = ready!(next.poll(cx));
            match message {
                Some(ChannelMsg::Data { data }) => {
                    this.chunk = data;
                    next.set(receive(half));
                }
                Some(ChannelMsg::Eof) => this.reading = Reading::HalfClosed(ReusableBoxFuture::new(receive(half))),
                Some(ChannelMsg::Close) | None => this.reading = Reading::Closed,
                Some(_) => next.set(receive(half)),
            }
        }
        let length = this.chunk.len().min(buf.remaining());
        if let Some(part) = this.chunk.get(..length) {
            buf.put_slice(part);
        }
        this.chunk.advance(length);
        this.activity.touch();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_close(cx);
        if matches!(self.reading, Reading::Closed) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = ready!(self.writer.as_mut().poll_write(cx, buf))?;
        self.activity.touch();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
