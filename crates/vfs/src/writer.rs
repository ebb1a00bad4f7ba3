//! A file open for writing.

mod destination;
mod lanes;
mod memory;
mod transfer;
mod upload;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tidegate_store::ObjectAttributes;
use tokio::time::Instant;

pub(crate) use self::destination::{Destination, Destinations};
pub(crate) use self::transfer::Target;
use self::upload::Upload;
use crate::attributes::{FileAttributes, SetAttributes};
use crate::config::Config;
use crate::error::{FsError, FsErrorKind};
use crate::metrics::Metrics;
use crate::shares::{Registration, TenantShare, Yields};

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

/// A file open for writing. Nothing of it is visible before [`Writer::finish`]; dropped without
/// that, nothing ever is, and what the store holds of it is removed in the background.
///
/// From its first byte on it holds the memory of one part (less if the file's size is known to be
/// less). A client that then stands still has to yield it to a tenant that lacks its share: all that
/// follows fails with `Unavailable`.
///
/// The first failure latches: all that follows fails with it, [`Writer::finish`] too, because a
/// write that is missing would leave a hole in the file.
#[derive(Debug)]
pub struct Writer {
    slot: Arc<Slot>,
    _registration: Registration,
}

/// An upload that may be taken away.
#[derive(Debug)]
struct Slot {
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Debug)]
enum State {
    Open(Box<Upload>),
    /// What was last known of it.
    Yielded(FileAttributes),
}

impl Writer {
    /// Opens a file that has no bytes yet and keeps the attributes of `base` where `set` says nothing.
    /// It takes no memory before its first byte comes.
    ///
    /// # Errors
    /// `TooLarge` if `set.size` (the final size, as a hint) can't be stored.
    pub(crate) fn open(
        target: Target,
        base: ObjectAttributes,
        set: SetAttributes,
        append: bool,
        share: &TenantShare,
        config: &Config,
    ) -> Result<Self, FsError> {
        let metrics = target.metrics.clone();
        let share = share.writer();
        let upload = Upload::open(target, base, set, append, share.clone(), config)?;
        let slot = Arc::new(Slot { state: Mutex::new(State::Open(Box::new(upload))), metrics });
        let registration = share.register(&slot);
        Ok(Self { slot, _registration: registration })
    }

    /// The attributes as they will be published; the size is the end of the bytes so far.
    pub fn attributes(&self) -> FileAttributes {
        match &*self.slot.state() {
            State::Open(upload) => upload.attributes(),
            State::Yielded(attributes) => *attributes,
        }
    }

    /// Asks whether `len` bytes may be written at `offset` now.
    ///
    /// # Errors
    /// The latched failure; `TooLarge`; `Unsupported` where bytes were sent to the store already;
    /// `Unavailable` if memory could not be had in time.
    pub fn admit(&mut self, offset: u64, len: u32) -> Result<Admission, FsError> {
        self.slot.state().upload()?.admit(offset, len)
    }

    /// Takes bytes, behind [`Admission::Ready`] for them. With APPEND they go to the end of the
    /// file, whatever `offset` says.
    ///
    /// # Errors
    /// As [`Writer::admit`].
    pub fn write(&mut self, offset: u64, data: Bytes) -> Result<(), FsError> {
        self.slot.state().upload()?.write(offset, data)
    }

    /// Sets attributes of the file to be. A size beyond the bytes so far leaves zeros between.
    ///
    /// # Errors
    /// `Unsupported` for a size below the bytes so far; `TooLarge`.
    pub fn set_attributes(&mut self, set: SetAttributes) -> Result<(), FsError> {
        self.slot.state().upload()?.set_attributes(set)
    }

    /// CLOSE: resolves once the file is stored whole and visible. After an error the old file is
    /// untouched; only where the store's answer to the very last request was lost can the new one be
    /// there, whole, all the same.
    pub fn finish(self) -> BoxFuture<'static, Result<Published, FsError>> {
        match self.slot.take() {
            Some(upload) => upload.finish(),
            None => ready(Err(yielded())).boxed(),
        }
    }

    /// Gives the file up: nothing is published. Resolves once the store has dropped its parts, or
    /// after a minute.
    pub fn abandon(self) -> BoxFuture<'static, ()> {
        self.slot.take().map_or_else(|| ready(()).boxed(), |upload| upload.abandon())
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Box<Upload>> {
        let mut state = self.state();
        let State::Open(upload) = &*state else { return None };
        let attributes = upload.attributes();
        match std::mem::replace(&mut *state, State::Yielded(attributes)) {
            State::Open(upload) => Some(upload),
            State::Yielded(_) => None,
        }
    }
}

impl State {
    fn upload(&mut self) -> Result<&mut Upload, FsError> {
        match self {
            Self::Open(upload) => Ok(upload),
            Self::Yielded(_) => Err(yielded()),
        }
    }
}

impl Yields for Slot {
    fn still_since(&self) -> Option<Instant> {
        match &*self.state() {
            State::Open(upload) => upload.still_since(),
            State::Yielded(_) => None,
        }
    }

    fn make_way(&self) {
        // Dropped behind the lock: that gives the memory back and aborts in the background.
        if self.take().is_some() {
            self.metrics.uploads_yielded.inc();
            self.metrics.upload_failures.inc();
        }
    }
}

fn yielded() -> FsError {
    FsError::new(
        FsErrorKind::Unavailable,
        "the upload stood still while the server needed its memory for others; upload the file again",
    )
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "Ready",
            Self::Wait(_) => "Wait",
        })
    }
}
