//! `check-file`: checksums of a file, or of each of its blocks, made here.
//!
//! What is read for one is charged to the bandwidth as if it were sent, and no client can have more than one
//! file read at once in a session.
//!
//! Source: draft-ietf-secsh-filexfer-extensions-00, section 3.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tidegate_vfs::{Begun, FsError, FsErrorKind, OpenFile, OpenOptions, View};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::events::Outcome;
use super::handles::OpenHandle;
use super::order::Footprint;
use super::requests::Call;
use super::run::{Session, Shortage, Stalled};
use super::throttle::ReadThrottle;
use crate::codec::{CheckFile, CheckedFile, Extension, MAX_DATA, Request, StatusCode};
use crate::digest::{Algorithm, Digest, kept};

/// The smallest block that the draft allows, in bytes.
const BLOCK_MIN: u32 = 256;

/// What is read at once, in bytes.
const CHUNK: u32 = 256 << 10;

/// How long one request may take, with those before it: 15 minutes.
const TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// The checksums of one request.
struct Check {
    algorithm: Algorithm,
    offset: u64,
    len: u64,
    block: u32,
    bandwidth: ReadThrottle,
    bytes_read: IntCounter,
    /// One request of a session after the other.
    turn: Arc<Semaphore>,
    ended: CancellationToken,
}

impl Session {
    pub(super) fn check_file(&mut self, call: Call, request: CheckFile) {
        let Some(algorithm) = Algorithm::first_of(&request.algorithms) else {
            let message = "None of these checksums is known here; there are md5, sha1, sha224, sha256, sha384, sha512, \
                           crc32 and crc64nvme";
            return self.answer_status(call.id, call.operation, call.arrived, StatusCode::Failure, message);
        };
        if request.block != 0 && request.block < BLOCK_MIN {
            let message = "Blocks have at least 256 bytes";
            return self.answer_status(call.id, call.operation, call.arrived, StatusCode::Failure, message);
        }
        let check = Check {
            algorithm,
            offset: request.offset,
            len: request.len,
            block: request.block,
            bandwidth: ReadThrottle::new(&self.context),
            bytes_read: self.context.metrics.bytes_out.clone(),
            turn: Arc::clone(&self.checks),
            ended: self.ended.clone(),
        };
        match &request.file {
            CheckedFile::Handle(handle) => {
                let viewed = match self.handles.usable(*handle) {
                    Some(OpenHandle::Read(open)) => Ok(Begun::Now(self.context.mount.view(&open.reader))),
                    Some(OpenHandle::Write(open)) => open.writer.view(),
                    _ => return self.no_such_handle(&call),
                };
                let Some(path) = self.handles.usable(*handle).map(|open| open.path().clone()) else { return };
                match viewed {
                    Ok(Begun::Now(view)) => {
                        self.submit(&call, Footprint::look(&path), path, check.run(async { Ok(view) }));
                    }
                    Ok(Begun::Later(wait)) => {
                        let request = Request::Extension { id: call.id, extension: Extension::CheckFile(request) };
                        self.stalled = Some(Stalled { request, arrived: call.arrived, cause: Shortage::Memory, wait });
                    }
                    Err(error) => self.fail(&call.origin(path), &error),
                }
            }
            CheckedFile::Path(path) => {
                let Some(path) = self.path(&call, path) else { return };
                let Some(permit) = self.may_open(&call) else { return };
                let mount = self.context.mount.clone();
                let opening = {
                    let path = path.clone();
                    async move {
                        let options = OpenOptions { read: true, ..OpenOptions::default() };
                        match mount.open(&path, options).await? {
                            OpenFile::Read(reader) => Ok(mount.view(&reader)),
                            OpenFile::Write(writer) => loop {
                                match writer.view()? {
                                    Begun::Later(wait) => wait.await,
                                    Begun::Now(view) => break Ok(view),
                                }
                            },
                        }
                    }
                };
                let checked = check.run(opening);
                self.submit(&call, Footprint::look(&path), path, async move {
                    let _permit = permit;
                    checked.await
                });
            }
        }
    }
}

impl Check {
    async fn run(self, opening: impl Future<Output = Result<View, FsError>>) -> Result<Outcome, FsError> {
        let ended = self.ended.clone();
        // The wait for its turn is part of it: a file that is open for writing keeps what is written meanwhile
        // in memory.
        let work = tokio::time::timeout(TIME_MAX, async {
            let turn = Arc::clone(&self.turn);
            // It is never closed: an error would only mean that there is no limit.
            let _turn = turn.acquire().await;
            self.body(opening.await?).await
        });
        tokio::select! {
            body = work => match body {
                Ok(body) => body.map(Outcome::Extended),
                Err(_) => Err(FsError::new(FsErrorKind::Unavailable, "it took too long; ask for less at once")),
            },
            () = ended.cancelled() => Err(FsError::new(FsErrorKind::Unavailable, "the session has ended")),
        }
    }

    /// The body of the answer.
    async fn body(mut self, view: View) -> Result<Vec<u8>, FsError> {
        let start = self.offset.min(view.size());
        let end = if self.len == 0 { view.size() } else { start.saturating_add(self.len).min(view.size()) };
        let block = if self.block == 0 { (end - start).max(1) } else { u64::from(self.block) };
        // Without blocks there is one checksum, if only of nothing.
        let count = (end - start).div_ceil(block).max(u64::from(self.block == 0));
        if count.saturating_mul(self.algorithm.len() as u64) > MAX_DATA as u64 {
            let message = "there are more blocks than fit one answer; ask for larger ones, or for less of the file";
            return Err(FsError::new(FsErrorKind::TooLarge, message));
        }
        let mut body = Vec::new();
        for text in ["check-file", self.algorithm.name()] {
            body.extend_from_slice(&(text.len() as u32).to_be_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        if (start, end, count) == (0, view.size(), 1)
            && let Some(kept) = kept(self.algorithm, &view).await
        {
            body.extend_from_slice(&kept);
            return Ok(body);
        }
        for n in 0..count {
            let from = start + n * block;
            self.sum(&view, from, end.min(from.saturating_add(block)), &mut body).await?;
        }
        Ok(body)
    }

    /// Appends the checksum of one block.
    async fn sum(&mut self, view: &View, mut at: u64, end: u64, body: &mut Vec<u8>) -> Result<(), FsError> {
        let mut digest = Digest::new(self.algorithm);
        while at < end {
            let len = u64::from(CHUNK).min(end - at);
            self.bandwidth.pass(len).await;
            let data = view.read(at, len as u32).await?;
            data.chunks().iter().for_each(|chunk| digest.update(chunk));
            at += len;
            self.bytes_read.inc_by(len);
            // A file that is in memory already must not keep the thread to itself.
            tokio::task::yield_now().await;
        }
        body.extend_from_slice(&digest.finish());
        Ok(())
    }
}
