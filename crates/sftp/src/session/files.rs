//! OPEN, CLOSE, READ and WRITE of files.

use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use tidegate_vfs::{Admission, OpenOptions, SetAttributes};

use super::events::Outcome;
use super::handles::{Closing, OpenHandle};
use super::order::Footprint;
use super::requests::Call;
use super::run::{Session, Shortage, Stalled};
use crate::codec::{HandleId, MAX_DATA, OpenFlags, Request};

/// The least payload that is kept as a slice of the input, whose blocks are at most two and a half
/// times as large. What is smaller is copied: the memory budget counts payloads, not blocks.
const SLICE_MIN: usize = 192 << 10;

impl Session {
    pub(super) fn open(&mut self, call: Call, path: &Bytes, flags: OpenFlags, attributes: SetAttributes) {
        let Some(path) = self.path(&call, path) else { return };
        let Some(permit) = self.may_open(&call) else { return };
        let options = OpenOptions {
            read: flags.has(OpenFlags::READ),
            write: flags.has(OpenFlags::WRITE) || flags.has(OpenFlags::APPEND),
            append: flags.has(OpenFlags::APPEND),
            create: flags.has(OpenFlags::CREAT),
            truncate: flags.has(OpenFlags::TRUNC),
            exclusive: flags.has(OpenFlags::EXCL),
            attributes,
        };
        let changes = options.write || options.create || options.truncate;
        let footprint = if changes { Footprint::open(&path) } else { Footprint::look(&path) };
        let footprint = footprint.also(self.handles.behind_link(&path));
        let mount = self.context.mount.clone();
        self.opening += 1;
        self.submit(&call, footprint, path.clone(), async move {
            let (file, real) = mount.open_real(&path, options).await?;
            Ok(Outcome::File(Box::new(file), real, flags, permit))
        });
    }

    pub(super) fn close(&mut self, call: Call, handle: HandleId) {
        match self.handles.usable(handle) {
            Some(OpenHandle::Read(open)) => {
                open.closing = Some(Closing { id: call.id, arrived: call.arrived });
                self.make_ready(handle);
            }
            Some(OpenHandle::Directory(open)) => {
                open.closing = Some(Closing { id: call.id, arrived: call.arrived });
                self.make_ready(handle);
            }
            Some(OpenHandle::Write(open)) => {
                let closing = Closing { id: call.id, arrived: call.arrived };
                if open.reads.is_empty() {
                    self.close_writer(handle, closing);
                } else {
                    open.closing = Some(closing);
                    self.make_ready(handle);
                }
            }
            None => self.no_such_handle(&call),
        }
    }

    /// Publishes a file whose READs were answered.
    pub(super) fn close_writer(&mut self, handle: HandleId, closing: Closing) {
        let Some(OpenHandle::Write(open)) = self.handles.remove(handle) else { return };
        let call = Call { id: closing.id, operation: "close", arrived: closing.arrived };
        let (path, bytes, read, opened) = (open.path, open.bytes, open.bytes_read, open.opened);
        let closed = open.writer.finish();
        self.submit(&call, Footprint::close(&path, open.copied_from).also(open.real), path.clone(), async move {
            closed.await.map(|published| Outcome::Closed(published, bytes, read, opened))
        });
    }

    pub(super) fn read(&mut self, call: Call, handle: HandleId, offset: u64, len: u32) {
        match self.handles.usable(handle) {
            Some(open @ (OpenHandle::Read(_) | OpenHandle::Write(_))) => {
                let is_written = matches!(open, OpenHandle::Write(_));
                let len = len.min(MAX_DATA as u32);
                if let Some(open) = open.readable() {
                    self.queued_bytes += open.reads.push(call.id, offset, len, call.arrived);
                }
                self.make_ready(handle);
                if is_written {
                    // A WRITE that comes behind it must not be seen by it.
                    self.begin_reads(handle);
                }
            }
            _ => self.no_such_handle(&call),
        }
    }

    /// Acts on a WRITE, now or once it has its bandwidth.
    pub(super) fn take_write(&mut self, request: Request, arrived: Instant) {
        let Request::Write { data, .. } = &request else { return };
        match self.throttle.pass_write(data.len(), &self.context) {
            Ok(()) => self.apply_write(request, arrived),
            Err(at) => {
                let wait = tokio::time::sleep_until(at).boxed();
                self.stalled = Some(Stalled { request, arrived, cause: Shortage::Bandwidth, wait });
            }
        }
    }

    /// Acts on a WRITE, now or once there is memory for it.
    pub(super) fn apply_write(&mut self, request: Request, arrived: Instant) {
        let Request::Write { id, handle, offset, mut data } = request else { return };
        // A slice keeps the whole block of input in memory; only one that is a good part of it may.
        if data.len() < SLICE_MIN {
            data = Bytes::copy_from_slice(&data);
        }
        let call = Call { id, operation: "write", arrived };
        let Some(OpenHandle::Write(open)) = self.handles.usable(handle) else {
            return self.no_such_handle(&call);
        };
        let at = if open.append { open.writer.attributes().size } else { offset };
        let len = data.len() as u64;
        let result = match open.writer.admit(at, data.len() as u32) {
            Ok(Admission::Wait(wait)) => {
                self.context.metrics.write_stalls.inc();
                let request = Request::Write { id, handle, offset, data };
                self.stalled = Some(Stalled { request, arrived, cause: Shortage::Memory, wait });
                return;
            }
            Ok(Admission::Ready) => open.writer.write(at, data),
            Err(error) => Err(error),
        };
        if result.is_ok() {
            open.bytes += len;
            self.bytes_in += len;
            self.context.metrics.bytes_in.inc_by(len);
        }
        let path = open.path.clone();
        self.answer_unit(&call, path, result);
    }
}
