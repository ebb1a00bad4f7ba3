//! One file that a session has open, whatever the number of its handles.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tidegate_store::{Condition, ObjectKey};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::copy::Room;
use super::draft::Draft;
use super::moving::{Deferred, Moving};
use super::place::Place;
use crate::attributes::{FileAttributes, SetAttributes};
use crate::edit::Edit;
use crate::error::{FsError, FsErrorKind};
use crate::journal::{Earlier, Interrupted};
use crate::reader::ReadData;
use crate::shares::{Registration, Yields};
use crate::writer::{Admission, Beginning, Destination, Upload};

/// A file that is open. What is written goes straight to the store where that is possible (a new file, or one
/// that is emptied or appended to), else to scratch: [`crate::edit`]. It moves from the first way to the
/// second as long as all of it is still here.
pub(crate) struct SharedFile {
    pub(super) place: Place,
    pub(super) destination: Arc<Destination>,
    pub(super) state: Mutex<FileState>,
    pub(super) changed: watch::Sender<()>,
}

pub(super) struct FileState {
    pub(super) content: Content,
    pub(super) draft: Draft,
    /// The file's final size as its client told, 0 if it did not.
    pub(super) hint: u64,
    /// Handles that are open, and those of them that may read.
    pub(super) handles: usize,
    pub(super) readers: usize,
    /// An edit is being published.
    pub(super) publishing: bool,
    pub(super) registration: Option<Registration>,
    /// An upload of the file that its OPEN drops.
    pub(super) earlier: Option<Earlier>,
    pub(super) room: Room,
}

/// Where the file's bytes are.
pub(super) enum Content {
    Edit(Box<Edit>),
    Failed(FsError, u64),
    /// Taken over from another session: where it goes on, the first write tells.
    Interrupted(Box<Interrupted>),
    /// On the way from one to the other: what is asked for meanwhile waits.
    Moving(Moving),
    Upload(Box<Upload>),
}

pub(super) type Reading = BoxFuture<'static, Result<ReadData, FsError>>;

impl SharedFile {
    /// A file that shows what its draft begins with, to be published where `condition` holds. `hint` is its
    /// final size, 0 if that is not known; `reads` tells whether its first handle may read. `earlier` is an
    /// upload of the file that is being dropped: this one is not published before it is.
    ///
    /// # Errors
    /// `TooLarge` if a new file of `hint` bytes can't be stored.
    pub(crate) fn open(
        place: Place,
        draft: Draft,
        condition: Condition,
        (hint, reads): (u64, bool),
        earlier: Option<Earlier>,
    ) -> Result<Arc<Self>, FsError> {
        let size = draft.base.as_ref().map_or(0, |base| base.size);
        let content = Content::Edit(place.edit(draft.base.clone(), size));
        let file = Self::with(place, draft, condition, content, (hint, reads));
        let mut state = file.state();
        state.earlier = earlier;
        if size == 0 {
            file.begin_upload(&mut state, Beginning::default())?;
        }
        drop(state);
        Ok(file)
    }

    /// With one handle, as yet. `hint` and `reads` are as for [`SharedFile::open`].
    pub(super) fn with(
        place: Place,
        draft: Draft,
        condition: Condition,
        content: Content,
        (hint, reads): (u64, bool),
    ) -> Arc<Self> {
        let destination = Destination::new(place.key.clone(), condition);
        let state = FileState {
            content,
            draft,
            hint,
            handles: 1,
            readers: usize::from(reads),
            publishing: false,
            registration: None,
            earlier: None,
            room: Room::default(),
        };
        Arc::new(Self { place, destination, state: Mutex::new(state), changed: watch::channel(()).0 })
    }

    /// Another handle. What may be read through one that also writes must not be gone to the store.
    pub(crate) fn join(&self, reads: bool, writes: bool) {
        let mut state = self.state();
        state.handles += 1;
        state.readers += usize::from(reads);
        if let Content::Upload(upload) = &mut state.content
            && reads
            && writes
        {
            upload.keep_all();
        }
    }

    /// A handle less.
    pub(crate) fn leave(&self, reads: bool) {
        let mut state = self.state();
        state.handles -= 1;
        state.readers -= usize::from(reads);
    }

    /// Whether it is open and has not failed.
    pub(crate) fn is_usable(&self) -> bool {
        let state = self.state();
        state.handles > 0 && !matches!(&state.content, Content::Failed(..))
    }

    /// Whether it is made or replaced as a whole, as opposed to changed: what it has is this session's alone
    /// until it is published.
    pub(crate) fn is_new(&self) -> bool {
        !matches!(self.condition(), Condition::IfMatch(_))
    }

    /// Whether its bytes can be read, as opposed to having gone to the store.
    pub(crate) fn is_readable(&self) -> bool {
        match &self.state().content {
            Content::Edit(_) | Content::Moving(_) => true,
            Content::Failed(..) | Content::Interrupted(_) => false,
            Content::Upload(upload) => upload.is_all_here(),
        }
    }

    /// Whether it is to be published under this key.
    pub(crate) fn is_named(&self, key: &ObjectKey) -> bool {
        self.key() == *key
    }

    /// The key that it is to be published under.
    pub(crate) fn key(&self) -> ObjectKey {
        self.destination.now().0
    }

    /// What other sessions are shown of a file of which nothing is durable: it is there, with no byte that they
    /// could go on behind.
    pub(crate) fn attributes_for_others(&self) -> FileAttributes {
        self.state().draft.shown(0)
    }

    pub(crate) fn is_last_handle(&self) -> bool {
        self.state().handles == 1
    }

    /// The attributes as they will be published; the size is that of the file as it is now.
    pub(crate) fn attributes(&self) -> FileAttributes {
        let state = self.state();
        state.draft.shown(state.size())
    }

    /// The size of the file as it is now.
    pub(crate) fn size(&self) -> u64 {
        self.state().size()
    }

    /// Asks whether `len` bytes may be written at `offset` now.
    ///
    /// # Errors
    /// The latched failure; others as they are of [`Upload::admit`] and [`Edit::admit`].
    pub(crate) fn admit(self: &Arc<Self>, offset: u64, len: u32) -> Result<Admission, FsError> {
        let mut guard = self.state();
        let state = &mut *guard;
        if let Some(beginning) = self.streams(state, offset, len) {
            state.draft.touch();
            match beginning {
                Some(beginning) => self.begin_upload(state, beginning)?,
                None => self.fetch_beginning(state),
            }
        }
        if let Content::Interrupted(_) = &state.content {
            self.go_on(state, offset)?;
        }
        if let Content::Upload(upload) = &mut state.content
            && !upload.takes(offset, u64::from(len))
        {
            if !upload.is_all_here() {
                let error = upload.check().err().unwrap_or_else(sent_already);
                upload.fail(&error);
                return Err(error);
            }
            self.move_to_scratch(state);
        }
        match &mut state.content {
            Content::Edit(edit) => edit.admit(offset, u64::from(len), || self.change()),
            Content::Failed(error, _) => Err(error.clone()),
            Content::Interrupted(_) | Content::Moving(_) => Ok(Admission::Wait(self.change())),
            Content::Upload(upload) => upload.admit(offset, len),
        }
    }

    /// Takes bytes, behind [`Admission::Ready`] for them.
    ///
    /// # Errors
    /// As [`SharedFile::admit`].
    pub(crate) fn write(self: &Arc<Self>, offset: u64, data: Bytes) -> Result<(), FsError> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.draft.touch()
            && let Content::Upload(upload) = &mut state.content
        {
            upload.set_attributes(state.draft.attributes().clone());
        }
        match &mut state.content {
            Content::Edit(edit) => {
                edit.write(offset, data)?;
                self.flush(edit);
                Ok(())
            }
            Content::Failed(error, _) => Err(error.clone()),
            Content::Interrupted(_) | Content::Moving(_) => Err(busy()),
            Content::Upload(upload) => upload.write(offset, data),
        }
    }

    /// The bytes of a range as they are now, fewer at the end of the file. Reading begins with this call.
    pub(crate) fn read(self: &Arc<Self>, offset: u64, len: u32) -> Reading {
        self.read_in(&mut self.state(), offset, len)
    }

    /// Sets attributes of the file to be.
    pub(crate) fn set_attributes(self: &Arc<Self>, set: SetAttributes) -> BoxFuture<'static, Result<(), FsError>> {
        let mut state = self.state();
        state.draft.set(set);
        let attributes = state.draft.attributes().clone();
        if let Content::Upload(upload) = &mut state.content {
            upload.set_attributes(attributes);
        }
        match set.size {
            Some(size) => self.resize(&mut state, size),
            None => ready(Ok(())).boxed(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves with the next change of the state.
    pub(super) fn change(&self) -> BoxFuture<'static, ()> {
        let mut changed = self.changed.subscribe();
        async move {
            // An error means that the file is gone: nothing to wait for.
            let _ = changed.changed().await;
        }
        .boxed()
    }

    /// Takes an upload's bytes out of it, and gives up what the store has of it.
    pub(crate) fn abandon(&self) -> BoxFuture<'static, ()> {
        self.give_up(busy())
    }

    /// Brings what is in memory to scratch, in the background.
    pub(super) fn flush(self: &Arc<Self>, edit: &mut Edit) {
        let Some(mut flush) = edit.begin_flush() else { return };
        let file = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let flushed = flush.run().await;
                let next = match &mut file.state().content {
                    Content::Edit(edit) => {
                        edit.end_flush(flushed);
                        edit.begin_flush()
                    }
                    _ => None,
                };
                file.changed.send_replace(());
                match next {
                    Some(next) => flush = next,
                    None => break,
                }
            }
        });
    }

    pub(super) fn read_in(self: &Arc<Self>, state: &mut FileState, offset: u64, len: u32) -> Reading {
        if matches!(&state.content, Content::Upload(upload) if upload.is_all_here()) {
            self.move_to_scratch(state);
        }
        match &mut state.content {
            Content::Edit(edit) => match edit.check() {
                Ok(()) => edit.read(offset, u64::from(len)),
                Err(error) => ready(Err(error)).boxed(),
            },
            Content::Failed(error, _) => ready(Err(error.clone())).boxed(),
            Content::Moving(moving) => {
                let (begun, reading) = oneshot::channel::<Reading>();
                moving.deferred.push(Deferred::Read { offset, len, begun });
                async move {
                    match reading.await {
                        Ok(reading) => reading.await,
                        Err(_) => Err(busy()),
                    }
                }
                .boxed()
            }
            Content::Interrupted(_) => ready(Err(sent_already())).boxed(),
            Content::Upload(upload) => ready(Err(upload.check().err().unwrap_or_else(sent_already))).boxed(),
        }
    }
}

impl FileState {
    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::Edit(edit) => edit.size(),
            Content::Failed(_, size) => *size,
            Content::Interrupted(interrupted) => interrupted.durable.shown(),
            Content::Moving(moving) => moving.size,
            Content::Upload(upload) => upload.end(),
        }
    }
}

impl Yields for SharedFile {
    fn still_since(&self) -> Option<Instant> {
        match &self.state().content {
            Content::Upload(upload) => upload.still_since(),
            _ => None,
        }
    }

    fn make_way(&self) {
        let mut state = self.state();
        if !matches!(&state.content, Content::Upload(_)) {
            return;
        }
        let size = state.size();
        let upload = std::mem::replace(&mut state.content, Content::Failed(yielded(), size));
        drop(state);
        let metrics = &self.place.vfs.metrics;
        metrics.uploads_yielded.inc();
        metrics.upload_failures.inc();
        // Behind the lock: that gives the memory back. What the store has stays for a session that goes on.
        if let Content::Upload(upload) = upload {
            upload.drop_memory();
        }
        self.changed.send_replace(());
    }
}

impl std::fmt::Debug for SharedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedFile").field("key", &self.place.key).finish_non_exhaustive()
    }
}

pub(super) fn sent_already() -> FsError {
    FsError::unsupported(
        "this range of the file is in the storage already and can't be read or written again before the file is \
         closed; close it and open it again",
    )
}

pub(super) fn busy() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "the server is busy with this file; try again")
}

fn yielded() -> FsError {
    FsError::new(
        FsErrorKind::Unavailable,
        "the upload stood still while the server needed its memory for others; resume it, or upload the file again",
    )
}
