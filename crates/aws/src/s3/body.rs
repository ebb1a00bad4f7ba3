//! Bodies in both directions, without copies.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream as SdkStream, SdkBody};
use bytes::Bytes;
use futures::stream;
use http_body::{Frame, SizeHint};
use tidegate_store::{Body, ByteStream, StoreErrorKind};

use crate::error::own_error;

/// The greatest frame handed to the HTTP client at once, in bytes. The stall watch sees an upload
/// move only when it takes the next frame, so a frame must take far less than the stall time.
const FRAME_MAX: usize = 256 << 10;

/// A request body that can be sent again: each attempt walks the same chunks anew.
pub(super) fn request_body(body: Body) -> SdkStream {
    if body.is_empty() {
        return SdkStream::new(SdkBody::empty());
    }
    let body = Arc::new(body);
    SdkStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(Chain::new(Arc::clone(&body)))))
}

/// Walks the chunks of a body.
struct Chain {
    body: Arc<Body>,
    chunk: usize,
    /// Where in the chunk the next frame begins.
    offset: usize,
    remaining: u64,
}

impl Chain {
    fn new(body: Arc<Body>) -> Self {
        let remaining = body.len();
        Self { body, chunk: 0, offset: 0, remaining }
    }

    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.body.chunks().get(self.chunk)?;
        let end = chunk.len().min(self.offset + FRAME_MAX);
        let frame = chunk.slice(self.offset..end);
        if end == chunk.len() {
            (self.chunk, self.offset) = (self.chunk + 1, 0);
        } else {
            self.offset = end;
        }
        self.remaining -= frame.len() as u64;
        Some(frame)
    }
}

impl http_body::Body for Chain {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(self.next().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// The bytes of an answer. Whatever cuts them short (a broken connection, a stall, fewer bytes
/// than announced) is a passing fault: the rest can be asked for again.
pub(super) fn answer_body(mut body: SdkStream, at: String) -> ByteStream {
    let mut ended = false;
    Box::pin(stream::poll_fn(move |cx| {
        if ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut body).poll_next(cx);
        ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled.map(|item| item.map(|item| item.map_err(|e| own_error(StoreErrorKind::Unavailable, "get", &at, e))))
    }))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body::Body as _;

    use super::*;

    fn chunks(lens: &[usize]) -> Body {
        lens.iter().map(|len| Bytes::from(vec![b'x'; *len])).collect()
    }

    async fn frames(mut body: SdkBody) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            frames.push(frame.unwrap().into_data().unwrap());
        }
        frames
    }

    #[tokio::test]
    async fn a_body_is_sent_in_order_and_can_be_sent_again() {
        let body: Body = ["a", "bc", "def"].into_iter().map(Bytes::from).collect();
        let sent = request_body(body).into_inner();
        assert_eq!(sent.content_length(), Some(6));
        let again = sent.try_clone().unwrap();
        assert_eq!(frames(sent).await.concat(), b"abcdef");
        assert_eq!(again.content_length(), Some(6));
        assert_eq!(frames(again).await.concat(), b"abcdef");
    }

    #[tokio::test]
    async fn frames_are_views_of_the_chunks_and_bounded() {
        let body = chunks(&[FRAME_MAX * 2 + 1, 3]);
        let first = body.chunks()[0].as_ptr();
        let frames = frames(request_body(body).into_inner()).await;
        let lens: Vec<usize> = frames.iter().map(Bytes::len).collect();
        assert_eq!(lens, [FRAME_MAX, FRAME_MAX, 1, 3]);
        assert_eq!(frames[0].as_ptr(), first, "copied");
    }

    #[tokio::test]
    async fn an_empty_body_has_length_zero() {
        let body = request_body(Body::new()).into_inner();
        assert_eq!(body.content_length(), Some(0));
        assert!(frames(body).await.is_empty());
    }
}
