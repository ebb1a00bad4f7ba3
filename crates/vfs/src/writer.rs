//! A handle of a file that is open for writing.

mod copy;
mod destination;
mod kept;
mod lanes;
mod memory;
mod transfer;
mod upload;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tidegate_store::Permission;

pub use self::copy::Copy;
pub(crate) use self::destination::{Destination, Relocation};
pub(crate) use self::memory::Memory;
pub(crate) use self::transfer::{CopyFrom, Group, Target, Transfer, publish_error};
pub(crate) use self::upload::{Beginning, Upload, settle};
use crate::attributes::{FileAttributes, SetAttributes};
use crate::error::{FsError, FsErrorKind};
use crate::metrics::{Counted, Metrics};
use crate::open_files::SharedFile;
use crate::permission::denied;
use crate::reader::ReadData;

/// Whether a write may come now.
pub enum Admission {
    /// Yes: [`Writer::write`] takes it without waiting.
    Ready,
    /// Not yet: ask again once this has resolved, which needs nothing from the client.
    Wait(BoxFuture<'static, ()>),
}

/// What CLOSE has made visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Size of the file, in bytes.
    pub size: u64,
}

/// A handle of a file that is open for writing, or for reading what is being written. All handles that a
/// session has of a file share one state: what is written through one is read through the others.
///
/// Nothing of its content is visible to others before [`Writer::finish`]; dropped without that, nothing ever
/// is, and what the store holds of it is removed in the background. After [`Writer::cut`] it stays, for
/// another session to go on with.
///
/// A client that stands still in the middle of an upload has to yield its memory to a tenant that lacks its
/// share: all that follows fails with `Unavailable`.
///
/// The first failure latches: all that follows fails with it, [`Writer::finish`] too, because a
/// write that is missing would leave a hole in the file.
#[derive(Debug)]
pub struct Writer {
    file: Arc<SharedFile>,
    access: Access,
    /// Whether it was opened to make or empty the file, or has changed it.
    has_changed: bool,
    _open: Counted,
}

/// What a handle may be used for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// The handle was opened for reading, and the user may do so.
    pub(crate) read: bool,
    /// The user may read files.
    pub(crate) may_read: bool,
    pub(crate) write: bool,
    /// Every write goes to the end.
    pub(crate) append: bool,
    /// Attributes may be set through it: the user may set them of any file, or its OPEN made or replaced
    /// this one.
    pub(crate) may_set: bool,
}

impl Writer {
    /// The handle that a file was opened with, or has been [joined](SharedFile::join) by.
    pub(crate) fn of(file: Arc<SharedFile>, access: Access, has_changed: bool, metrics: &Metrics) -> Self {
        Self { file, access, has_changed, _open: Counted::new(&metrics.open_writers) }
    }

    /// The attributes as they will be published; the size is that of the file as it is now.
    pub fn attributes(&self) -> FileAttributes {
        self.file.attributes()
    }

    /// Asks whether `len` bytes may be written at `offset` now.
    ///
    /// # Errors
    /// `PermissionDenied` if it was opened for reading; the latched failure; `TooLarge`; `NoSpace` if the
    /// node's scratch space is in use; `Unsupported` for what is in the store already, too many separate
    /// places, and holes beyond the limit; `Unavailable` if memory could not be had in time.
    pub fn admit(&mut self, offset: u64, len: u32) -> Result<Admission, FsError> {
        let offset = self.position(offset);
        if self.access.write { self.file.admit(offset, len) } else { Err(not_open_for("writing")) }
    }

    /// Takes bytes, behind [`Admission::Ready`] for them. With APPEND they go to the end of the file, whatever
    /// `offset` says.
    ///
    /// # Errors
    /// As [`Writer::admit`].
    pub fn write(&mut self, offset: u64, data: Bytes) -> Result<(), FsError> {
        if !self.access.write {
            return Err(not_open_for("writing"));
        }
        self.has_changed = true;
        let offset = self.position(offset);
        self.file.write(offset, data)
    }

    /// Reads up to `len` bytes at `offset` as the file is at this moment: fewer only at its end, none behind
    /// it. Reading begins with this call, in a Tokio runtime, not when the future is first polled. Several
    /// reads may run at once; the caller bounds how many.
    ///
    /// # Errors
    /// `PermissionDenied` if it was not opened for reading; `Unsupported` where bytes have gone to the store
    /// already; `Conflict` if someone else has replaced the version that the changes began with.
    pub fn read(&self, offset: u64, len: u32) -> BoxFuture<'static, Result<ReadData, FsError>> {
        match self.may_read() {
            Ok(()) => self.file.read(offset, len),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    /// Sets attributes of the file to be, its size among them: what is cut off is gone, and what was never
    /// written reads as zeros. It takes its place among reads and writes with this call.
    ///
    /// # Errors
    /// `PermissionDenied` for a size if it was opened for reading, and for all else if the file was there
    /// before and the user may not set attributes; the latched failure; `TooLarge`; `Unsupported` for holes
    /// beyond the limit, and for a size below that of an upload of which parts were sent.
    pub fn set_attributes(&mut self, set: SetAttributes) -> BoxFuture<'static, Result<(), FsError>> {
        if set.size.is_some() && !self.access.write {
            return ready(Err(not_open_for("writing"))).boxed();
        }
        if set.changes_metadata() && !self.access.may_set {
            return ready(Err(denied(Permission::SetAttributes))).boxed();
        }
        self.has_changed = true;
        let (still_ours, set) = (self.file.still_ours(), self.file.set_attributes(set));
        async move {
            still_ours.await?;
            set.await
        }
        .boxed()
    }

    fn position(&self, offset: u64) -> u64 {
        if self.access.append { self.file.size() } else { offset }
    }

    /// Makes what was changed visible and durable. The handle stays open.
    ///
    /// # Errors
    /// As [`Writer::finish`].
    pub fn publish(&self) -> BoxFuture<'static, Result<Published, FsError>> {
        let file = Arc::clone(&self.file);
        async move { file.publish().await }.boxed()
    }

    /// CLOSE: resolves once what was changed through this handle is stored whole and visible, and with
    /// the last handle whatever was changed. After an error the old file is untouched; only where the
    /// store's answer to the very last request was lost can the new one be there, whole, all the same.
    pub fn finish(self) -> BoxFuture<'static, Result<Published, FsError>> {
        async move {
            if self.has_changed || self.file.is_last_handle() {
                self.file.publish().await
            } else {
                Ok(Published { size: self.attributes().size })
            }
        }
        .boxed()
    }

    /// fsync: resolves once all bytes that were taken through any handle of the file outlive the node. Those
    /// of a new file wait for whoever goes on with it if it is cut; a file that is changed in place is
    /// published as it is.
    ///
    /// # Errors
    /// As [`Writer::finish`]; `Unsupported` if no journal is kept.
    pub fn sync(&self) -> BoxFuture<'static, Result<(), FsError>> {
        let file = Arc::clone(&self.file);
        async move {
            file.still_ours().await?;
            file.sync().await
        }
        .boxed()
    }

    /// The session is cut: with the last handle, what the file has so far is left to another session, which
    /// goes on with it on any node; nothing is published. Resolves once the rest is durable.
    pub fn cut(self) -> BoxFuture<'static, ()> {
        if !self.file.is_last_handle() {
            return ready(()).boxed();
        }
        let file = Arc::clone(&self.file);
        async move { file.cut().await }.boxed()
    }

    /// Gives the handle up, and with the last one the file: nothing is published. Resolves once the store
    /// has dropped its parts, or after a minute.
    pub fn abandon(self) -> BoxFuture<'static, ()> {
        if self.file.is_last_handle() { self.file.abandon() } else { ready(()).boxed() }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.file.leave(self.access.read);
    }
}

fn not_open_for(what: &'static str) -> FsError {
    FsError::new(FsErrorKind::PermissionDenied, format!("this file was not opened for {what}; open it for that"))
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "Ready",
            Self::Wait(_) => "Wait",
        })
    }
}
