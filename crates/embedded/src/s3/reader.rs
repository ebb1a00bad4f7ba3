//! Bytes of an object on their way out: streamed from its bodies with bounded memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{Body, StdError};
use tokio::task::JoinHandle;

use super::bodies::{BodyId, Pinned};
use super::checksums::{Hashers, Sums};
use super::index::Extent;

/// How much is read at once, in bytes. Two such chunks are in memory per GET: the one being sent
/// and the one being read.
const CHUNK: u64 = 512 << 10;

/// Reads a range of a content. The bodies stay as they are until it is dropped.
pub(crate) struct Reader {
    pinned: Pinned,
    segments: VecDeque<Segment>,
    open: Option<File>,
    remaining: u64,
}

/// A range of a body.
struct Segment {
    body: BodyId,
    offset: u64,
    len: u64,
}

impl Reader {
    /// `extents` cover `range`, and `pinned` holds their bodies.
    pub(crate) fn new(extents: &[Extent], pinned: Pinned, range: &Range<u64>) -> Self {
        let segments: VecDeque<_> = extents
            .iter()
            .filter_map(|extent| {
                let start = range.start.max(extent.start);
                let end = range.end.min(extent.end());
                (start < end).then(|| Segment {
                    body: extent.body,
                    offset: extent.offset + (start - extent.start),
                    len: end - start,
                })
            })
            .collect();
        let remaining = segments.iter().map(|segment| segment.len).sum();
        Self { pinned, segments, open: None, remaining }
    }

    /// The next bytes, at most [`CHUNK`]; empty at the end. Blocks.
    fn next_chunk(&mut self) -> io::Result<Bytes> {
        let size = self.remaining.min(CHUNK);
        let mut chunk = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut wanted = size;
        while wanted > 0 {
            let Some(segment) = self.segments.front_mut() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            let file = match &mut self.open {
                Some(file) => file,
                None => {
                    let mut file = self.pinned.bodies().open_body(segment.body)?;
                    file.seek(SeekFrom::Start(segment.offset))?;
                    self.open.insert(file)
                }
            };
            let take = wanted.min(segment.len);
            let read = file.by_ref().take(take).read_to_end(&mut chunk)? as u64;
            if read < take {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            wanted -= take;
            segment.len -= take;
            if segment.len == 0 {
                self.segments.pop_front();
                self.open = None;
            }
        }
        self.remaining -= size;
        Ok(chunk.into())
    }

    /// Reads to the end and sums. Blocks.
    pub(crate) fn sum(mut self, mut hashers: Hashers) -> io::Result<Sums> {
        while self.remaining > 0 {
            hashers.update(&self.next_chunk()?);
        }
        Ok(hashers.finish())
    }

    /// Reads the first bytes and makes the rest a stream. Blocks; the stream does not.
    pub(crate) fn into_body(mut self) -> io::Result<StreamingBlob> {
        let first = self.next_chunk()?;
        if self.remaining == 0 {
            return Ok(StreamingBlob::from(Body::from(first)));
        }
        Ok(StreamingBlob::new(ReadAhead {
            remaining: self.remaining + first.len() as u64,
            next: Next::Read(first, self),
        }))
    }
}

/// Sends a chunk while the next one is read.
struct ReadAhead {
    next: Next,
    remaining: u64,
}

enum Next {
    Read(Bytes, Reader),
    Reading(JoinHandle<io::Result<(Bytes, Reader)>>),
    End,
}

impl Stream for ReadAhead {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (chunk, mut reader) = match &mut self.next {
            Next::End => return Poll::Ready(None),
            Next::Reading(task) => match ready!(Pin::new(task).poll(context)) {
                Ok(Ok(read)) => read,
                Ok(Err(error)) => {
                    self.next = Next::End;
                    tracing::error!(%error, "a body of the embedded S3 store can't be read");
                    return Poll::Ready(Some(Err(error.into())));
                }
                Err(error) => {
                    self.next = Next::End;
                    return Poll::Ready(Some(Err(error.into())));
                }
            },
            next @ Next::Read(..) => match std::mem::replace(next, Next::End) {
                Next::Read(chunk, reader) => (chunk, reader),
                _ => return Poll::Ready(None),
            },
        };
        self.remaining -= chunk.len() as u64;
        self.next = if reader.remaining == 0 {
            Next::End
        } else {
            Next::Reading(tokio::task::spawn_blocking(move || {
                let chunk = reader.next_chunk()?;
                Ok((chunk, reader))
            }))
        };
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl ByteStream for ReadAhead {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.remaining).unwrap_or(usize::MAX))
    }
}
