//! Bodies that suffer on their way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// What happens to a body, at an offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    Corrupt(u64),
    Cut(u64),
    Stall(u64),
}

/// A body that streams through; or text of the proxy's own.
#[derive(Debug)]
pub(super) struct Passing {
    source: Source,
    position: u64,
    harm: Option<Harm>,
}

#[derive(Debug)]
enum Source {
    Far(Incoming),
    Own(Option<Bytes>),
}

impl Passing {
    /// A body from the other side, harmed where `harm` says so, at its last byte at the latest.
    pub(super) fn new(body: Incoming, harm: Option<Harm>) -> Self {
        let last = body.size_hint().exact().map_or(u64::MAX, |len| len.saturating_sub(1));
        let harm = harm.map(|harm| match harm {
            Harm::Corrupt(at) => Harm::Corrupt(at.min(last)),
            Harm::Cut(after) => Harm::Cut(after.min(last)),
            Harm::Stall(after) => Harm::Stall(after.min(last)),
        });
        Self { source: Source::Far(body), position: 0, harm }
    }

    pub(super) fn own(text: &'static str) -> Self {
        Self { source: Source::Own(Some(Bytes::from_static(text.as_bytes()))), position: 0, harm: None }
    }

    /// Harms a chunk that begins at the position, and moves on behind it.
    fn suffer(&mut self, mut data: Bytes) -> Bytes {
        let start = self.position;
        if let Some(Harm::Cut(at) | Harm::Stall(at)) = self.harm {
            data.truncate(usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX));
        }
        self.position = start + data.len() as u64;
        if let Some(Harm::Corrupt(at)) = self.harm
            && (start..self.position).contains(&at)
        {
            let mut changed = data.to_vec();
            changed[(at - start) as usize] ^= 0x20;
            data = changed.into();
        }
        data
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.harm {
            Some(Harm::Cut(at)) if self.position >= at => return Poll::Ready(Some(Err(io::ErrorKind::Other.into()))),
            // Nobody will wake it; its connection ends when the other side gives it up.
            Some(Harm::Stall(at)) if self.position >= at => return Poll::Pending,
            _ => {}
        }
        let frame = match &mut self.source {
            Source::Own(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Far(body) => std::task::ready!(Pin::new(body).poll_frame(cx)),
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(io::Error::other)?;
            Ok(frame.map_data(|data| self.suffer(data)))
        }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(text) => text.is_none(),
            Source::Far(body) => self.harm.is_none() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Far(body) => body.size_hint(),
        }
    }
}
