//! Whether a file's bytes go straight to the store, and how its size is set where they do.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::oneshot;

use super::file::{Content, FileState, SharedFile, busy};
use super::moving::Deferred;
use super::place::Place;
use crate::error::FsError;
use crate::writer::{Beginning, Target, Upload};

impl SharedFile {
    pub(super) fn resize(
        self: &Arc<Self>,
        state: &mut FileState,
        size: u64,
    ) -> BoxFuture<'static, Result<(), FsError>> {
        if state.size() != size {
            state.draft.touch();
        }
        match self.try_resize(state, size) {
            ControlFlow::Break(result) => ready(result).boxed(),
            ControlFlow::Continue(()) => {
                self.move_to_scratch(state);
                let Content::Moving(moving) = &mut state.content else { return ready(Err(busy())).boxed() };
                let (done, resized) = oneshot::channel();
                moving.deferred.push(Deferred::Resize { size, done });
                async move { resized.await.unwrap_or_else(|_| Err(busy())) }.boxed()
            }
        }
    }

    /// Changes the size at once, unless the bytes have to be moved first.
    fn try_resize(self: &Arc<Self>, state: &mut FileState, size: u64) -> ControlFlow<Result<(), FsError>> {
        let upload = match &mut state.content {
            Content::Edit(edit) => return ControlFlow::Break(edit.set_size(size)),
            Content::Failed(error, _) => return ControlFlow::Break(Err(error.clone())),
            Content::Interrupted(_) => return ControlFlow::Break(self.resize_interrupted(state, size)),
            Content::Moving(_) => return ControlFlow::Continue(()),
            Content::Upload(upload) => upload,
        };
        if size >= upload.end() {
            return ControlFlow::Break(upload.extend_to(size));
        }
        if size > 0 && upload.cut_to(size) {
            return ControlFlow::Break(Ok(()));
        }
        if size > 0 && upload.is_all_here() {
            return ControlFlow::Continue(());
        }
        if size > 0 {
            return ControlFlow::Break(Err(FsError::unsupported(
                "what is to be cut off is in the storage already, and can't be before the file is closed; close it \
                 and open it again",
            )));
        }
        let empty = Content::Edit(self.place.edit(state.draft.base.clone(), 0));
        if let Content::Upload(upload) = std::mem::replace(&mut state.content, empty) {
            state.earlier = Some(upload.give_way(state.earlier.take()));
        }
        state.registration = None;
        ControlFlow::Break(Ok(()))
    }

    /// How what is written next may go straight to the store: behind this, or behind a beginning that is
    /// fetched first (`Some(None)`).
    pub(super) fn streams(&self, state: &FileState, offset: u64, len: u32) -> Option<Option<Beginning>> {
        let Content::Edit(edit) = &state.content else { return None };
        if state.publishing || len == 0 || !edit.is_untouched() {
            return None;
        }
        if edit.size() == 0 {
            return Some(Some(Beginning::default()));
        }
        let base = state.draft.base.as_ref().filter(|_| edit.is_unchanged() && offset == edit.size())?;
        if base.size <= self.place.copy_min() {
            return Some(None);
        }
        Some(Some(Beginning::of_version(base.size)))
    }

    pub(super) fn begin_upload(self: &Arc<Self>, state: &mut FileState, beginning: Beginning) -> Result<(), FsError> {
        let upload = self.new_upload(state, beginning)?;
        state.content = Content::Upload(Box::new(upload));
        Ok(())
    }

    pub(super) fn new_upload(self: &Arc<Self>, state: &mut FileState, beginning: Beginning) -> Result<Upload, FsError> {
        let share = self.place.write_share.writer();
        let attributes = state.draft.attributes().clone();
        let config = &self.place.vfs.config;
        let keep = (&self.place.vfs.scratch, state.readers > 0 || config.keep_uploads);
        let (_, condition) = self.destination.now();
        let base = beginning.version(&condition);
        let upload = Upload::open(self.target(), attributes, state.hint, beginning, keep, share.clone(), config)?;
        state.registration = Some(share.register(self));
        Ok(upload.journalled(&self.place.uploads, state.earlier.clone(), base))
    }

    /// Where it is published, and under which condition.
    pub(super) fn target(&self) -> Target {
        let Place { vfs, store, key, .. } = &self.place;
        Target {
            store: Arc::clone(store),
            copier: vfs.copier(store),
            key: key.clone(),
            destination: Arc::clone(&self.destination),
            hidden: self.place.uploads.hidden().clone(),
            metrics: vfs.metrics.clone(),
        }
    }
}
