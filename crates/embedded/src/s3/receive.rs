//! A request's body on its way into a body file: streamed with bounded memory, summed as it goes.

use std::io::{self, IoSlice, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use hyper::HeaderMap;
use s3s::dto::StreamingBlob;
use s3s::{Body, StdError, TrailingHeaders};
use tokio::task::JoinHandle;

use super::bodies::{Bodies, NewBody};
use super::checksums::{Claims, Hashers, Sum, Sums};
use super::failure::Failure;
use super::index::{Content, Extent};

/// How much is gathered before it is written, in bytes. Two such batches are in memory per upload:
/// the one being written and the one being received.
const BATCH: usize = 1 << 20;

/// Slices per vectored write; Linux takes up to 1,024.
const SLICES: usize = 256;

/// S3's limit for a body, in bytes. Source: Amazon S3 User Guide, "Uploading objects".
const BODY_MAX: u64 = 5 << 30;

/// What the headers announce about a body.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) len: Option<u64>,
    pub(crate) claims: Claims,
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// Receives a body. The last batch is still in memory: [`Received::finish`] writes it, so that a
/// small body costs one trip to a blocking thread, together with its commit.
pub(crate) async fn receive(
    bodies: &Arc<Bodies>,
    body: Option<StreamingBlob>,
    announced: Announced,
) -> Result<Received, Failure> {
    if announced.len.is_some_and(|len| len > BODY_MAX) {
        return Err(Failure::EntityTooLarge);
    }
    let mut writer = Writing::Idle(BodyWriter::boxed(Arc::clone(bodies), announced.claims.hashers()));
    let mut batch = Vec::new();
    let (mut gathered, mut total) = (0, 0);
    let mut body = body.unwrap_or_else(|| StreamingBlob::from(Body::empty()));
    let broken = loop {
        match body.next().await {
            None => break announced.len.is_some_and(|len| len != total).then_some(Failure::IncompleteBody),
            Some(Err(error)) => break Some(broken_body(&error)),
            Some(Ok(chunk)) => {
                gathered += chunk.len();
                total += chunk.len() as u64;
                batch.push(chunk);
            }
        }
        if total > BODY_MAX {
            break Some(Failure::EntityTooLarge);
        }
        if gathered >= BATCH {
            gathered = 0;
            let full = std::mem::take(&mut batch);
            let idle = writer.idle().await?;
            writer = Writing::Busy(tokio::task::spawn_blocking(move || idle.write(&full)));
        }
    };
    // Also if the body is refused: its file is gone before the client hears of it.
    let writer = writer.idle().await?;
    match broken {
        Some(failure) => Err(failure),
        None => {
            let trailers = announced.trailers.and_then(|trailers| trailers.take());
            Ok(Received { writer, rest: batch, claims: announced.claims, trailers })
        }
    }
}

/// Crate s3s gives the failures of its body streams as private types; their texts are stable.
fn broken_body(error: &StdError) -> Failure {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        Failure::ContentSha256Mismatch
    } else if text.contains("SignatureMismatch") {
        Failure::SignatureDoesNotMatch
    } else {
        Failure::IncompleteBody
    }
}

enum Writing {
    Idle(Box<BodyWriter>),
    Busy(JoinHandle<io::Result<Box<BodyWriter>>>),
}

impl Writing {
    async fn idle(self) -> Result<Box<BodyWriter>, Failure> {
        match self {
            Self::Idle(writer) => Ok(writer),
            Self::Busy(task) => Ok(task.await.map_err(|_| Failure::TaskEnded)??),
        }
    }
}

/// Writes and sums; creates the file with the first byte.
struct BodyWriter {
    bodies: Arc<Bodies>,
    hashers: Hashers,
    body: Option<NewBody>,
}

impl BodyWriter {
    fn boxed(bodies: Arc<Bodies>, hashers: Hashers) -> Box<Self> {
        Box::new(Self { bodies, hashers, body: None })
    }

    fn write(mut self: Box<Self>, batch: &[Bytes]) -> io::Result<Box<Self>> {
        for chunk in batch {
            self.hashers.update(chunk);
        }
        if self.body.is_none() && batch.iter().any(|chunk| !chunk.is_empty()) {
            self.body = Some(self.bodies.create()?);
        }
        if let Some(body) = &mut self.body {
            for chunks in batch.chunks(SLICES) {
                let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
                let mut slices = slices.as_mut_slice();
                IoSlice::advance_slices(&mut slices, 0);
                while !slices.is_empty() {
                    match body.file.write_vectored(slices) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(written) => IoSlice::advance_slices(&mut slices, written),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(self)
    }
}

/// A body that has arrived as a whole.
pub(crate) struct Received {
    writer: Box<BodyWriter>,
    rest: Vec<Bytes>,
    claims: Claims,
    trailers: Option<HeaderMap>,
}

impl Received {
    /// Writes the rest and verifies the checksums. Blocks.
    pub(crate) fn finish(self) -> Result<WrittenBody, Failure> {
        let writer = *self.writer.write(&self.rest)?;
        let sums = writer.hashers.finish();
        let sum = self.claims.verify(&sums, self.trailers.as_ref())?;
        Ok(WrittenBody { body: writer.body, sums, sum })
    }
}

/// A body that is whole and verified. Its file goes again unless it is kept.
pub(crate) struct WrittenBody {
    body: Option<NewBody>,
    sums: Sums,
    sum: Option<Sum>,
}

impl WrittenBody {
    pub(crate) fn content(&self) -> Content {
        Content {
            size: self.sums.len,
            crc64: self.sums.crc64,
            etag: self.sums.etag(),
            parts: None,
            sum: self.sum.clone(),
        }
    }

    pub(crate) fn extents(&self) -> Vec<Extent> {
        let extent = |body: &NewBody| Extent {
            start: 0,
            len: self.sums.len,
            body: body.id(),
            offset: 0,
            crc64: self.sums.crc64,
        };
        self.body.iter().map(extent).collect()
    }

    /// The index refers to it now.
    pub(crate) fn keep(self) {
        if let Some(body) = self.body {
            body.keep();
        }
    }
}
