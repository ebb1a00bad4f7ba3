//! A file on its way from one state to the other.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::file::{Content, FileState, Reading, SharedFile};
use crate::edit::Base;
use crate::error::FsError;
use crate::reader::ReadData;
use crate::writer::Beginning;

pub(super) struct Moving {
    pub(super) size: u64,
    pub(super) deferred: Vec<Deferred>,
}

/// What was asked for while a file was on its way.
pub(super) enum Deferred {
    Read { offset: u64, len: u32, begun: oneshot::Sender<Reading> },
    Resize { size: u64, done: oneshot::Sender<Result<(), FsError>> },
}

impl SharedFile {
    /// Ends the wait for a change: the bytes are somewhere else now. What was asked for meanwhile is
    /// begun, in the order sent.
    pub(super) fn arrive(self: &Arc<Self>, content: Content) {
        let mut guard = self.state();
        let state = &mut *guard;
        if matches!(&state.content, Content::Failed(..)) {
            // It was given up meanwhile. Behind the lock: what the store has of it is dropped.
            drop(guard);
            self.changed.send_replace(());
            return;
        }
        let before = std::mem::replace(&mut state.content, content);
        // A RENAME may have moved it meanwhile.
        if let (Content::Edit(edit), Some(base)) = (&mut state.content, &state.draft.base) {
            edit.move_base(Arc::clone(base));
        }
        if let Content::Moving(moving) = before {
            for deferred in moving.deferred {
                match deferred {
                    Deferred::Read { offset, len, begun } => {
                        let _ = begun.send(self.read_in(state, offset, len));
                    }
                    Deferred::Resize { size, done } => {
                        let resized = self.resize(state, size);
                        tokio::spawn(async move { done.send(resized.await) });
                    }
                }
            }
        }
        drop(guard);
        self.changed.send_replace(());
    }

    /// Puts what the file has, less than a part can have, in front of what is to come.
    pub(super) fn fetch_beginning(self: &Arc<Self>, state: &mut FileState) {
        let Some(base) = state.draft.base.clone() else { return };
        let upload = self.new_upload(state, Beginning::default());
        state.content = Content::Moving(Moving { size: base.size, deferred: Vec::new() });
        let file = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = async {
                let (mut upload, mut at) = (upload?, 0);
                for chunk in file.read_base(Arc::clone(&base)).await?.into_chunks() {
                    let len = chunk.len() as u64;
                    upload.take(at, chunk).await?;
                    at += len;
                }
                Ok(upload)
            };
            let content = match fetched.await {
                Ok(upload) => Content::Upload(Box::new(upload)),
                Err(error) => Content::Failed(error, base.size),
            };
            file.arrive(content);
        });
    }

    /// All of the version that changes begin with.
    async fn read_base(&self, mut base: Arc<Base>) -> Result<ReadData, FsError> {
        loop {
            let error = match base.read(0..base.size).await {
                Ok(data) => return Ok(data),
                Err(error) => error,
            };
            // A RENAME of this very file may have moved it meanwhile.
            self.destination.settled().await;
            let now = self.state().draft.base.clone();
            match now.filter(|now| now.key != base.key) {
                Some(moved) => base = moved,
                None => return Err(error),
            }
        }
    }

    /// Takes the bytes out of an upload that are all here. What the store has of it is dropped.
    pub(super) fn move_to_scratch(self: &Arc<Self>, state: &mut FileState) {
        let size = state.size();
        let moving = Content::Moving(Moving { size, deferred: Vec::new() });
        let mut upload = match std::mem::replace(&mut state.content, moving) {
            Content::Upload(upload) => upload,
            other => {
                state.content = other;
                return;
            }
        };
        state.registration = None;
        let bytes = upload.take_bytes();
        let base_end = upload.begins_with();
        let base = state.draft.base.clone();
        let file = Arc::clone(self);
        tokio::spawn(async move {
            let mut edit = file.place.edit(base, base_end);
            let stored = async {
                if let Some((scratch, spans)) = upload.take_kept().await? {
                    edit.adopt(scratch, &spans);
                }
                upload.outdate().await?;
                edit.store_ahead(bytes.clone()).await?;
                bytes.iter().for_each(|(offset, bytes)| edit.note_stored(*offset, bytes.len() as u64));
                edit.set_size(size)
            };
            let stored: Result<(), FsError> = stored.await;
            let content = match stored {
                Ok(()) => Content::Edit(edit),
                Err(error) => Content::Failed(error, size),
            };
            // The memory that the bytes were in goes back only now.
            drop((bytes, upload));
            file.arrive(content);
        });
    }
}
