//! Ranges of one file over another: the store copies them where it can, at the CLOSE of the file; what it
//! can't copy passes through the node now.

use std::ops::Range;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tidegate_store::StoreErrorKind;
use tokio::sync::oneshot;

use super::file::{Content, FileState, SharedFile, busy, sent_already};
use super::moving::Moving;
use crate::edit::View;
use crate::error::FsError;
use crate::usage::Reservation;

/// What of a file passes through the node at once, in bytes.
const CHUNK: u32 = 1 << 20;

/// What became of a request that may have to wait first.
pub enum Begun<T> {
    /// Not yet: ask again once this has resolved, which needs nothing from the client.
    Later(BoxFuture<'static, ()>),
    /// It was begun.
    Now(T),
}

/// Room that the quota has left for what is copied, and how much of it the file gives back.
#[derive(Debug, Default)]
pub(super) struct Room {
    copied: u64,
    /// The size of the file that is replaced, once it was asked for.
    replaced: Option<u64>,
    reservation: Option<Reservation>,
}

impl SharedFile {
    /// The file as it is now.
    ///
    /// # Errors
    /// The latched failure; `Unsupported` if bytes have gone to the store already.
    pub(crate) fn view(self: &Arc<Self>) -> Result<Begun<View>, FsError> {
        let mut guard = self.state();
        let state = &mut *guard;
        match &mut state.content {
            Content::Edit(edit) => {
                edit.check()?;
                Ok(Begun::Now(edit.view()))
            }
            Content::Failed(error, _) => Err(error.clone()),
            Content::Interrupted(_) => Err(sent_already()),
            Content::Moving(_) => Ok(Begun::Later(self.change())),
            Content::Upload(upload) if upload.is_all_here() => {
                self.move_to_scratch(state);
                Ok(Begun::Later(self.change()))
            }
            Content::Upload(upload) => Err(upload.check().err().unwrap_or_else(sent_already)),
        }
    }

    /// Lays a range of another file, no larger than that, over this one. Resolves once it is.
    ///
    /// # Errors
    /// The latched failure; `TooLarge`; `NoSpace` over the quota; `Unsupported` where bytes were sent already,
    /// for holes beyond the limit, and where neither the store nor the node can do it.
    pub(crate) fn copy(self: &Arc<Self>, view: View, range: Range<u64>, at: u64) -> Result<Begun<Copying>, FsError> {
        let mut guard = self.state();
        let state = &mut *guard;
        let is_stored = view.is_stored(range.clone());
        match &mut state.content {
            Content::Failed(error, _) => return Err(error.clone()),
            Content::Moving(_) => return Ok(Begun::Later(self.change())),
            // Both look for the edit when they end.
            Content::Edit(edit) if !is_stored && (edit.is_flushing() || state.publishing) => {
                return Ok(Begun::Later(self.change()));
            }
            Content::Upload(upload) if is_stored && upload.is_all_here() && upload.end() > 0 => {
                upload.check()?;
                self.move_to_scratch(state);
                return Ok(Begun::Later(self.change()));
            }
            _ => {}
        }
        if let Some(wait) = self.make_room(state, range.end - range.start)? {
            return Ok(Begun::Later(wait));
        }
        let has_changed = state.draft.touch();
        if let Content::Upload(upload) = &mut state.content
            && is_stored
            && upload.is_all_here()
        {
            // It has no byte yet.
            state.content = Content::Edit(self.place.edit(state.draft.base.clone(), 0));
            state.registration = None;
        }
        let copying = match &mut state.content {
            Content::Edit(edit) if is_stored => {
                edit.copy(&view, range, at)?;
                ready(Ok(())).boxed()
            }
            Content::Upload(upload) => {
                if has_changed {
                    upload.set_attributes(state.draft.attributes().clone());
                }
                if !upload.takes(at, range.end - range.start) {
                    return Err(upload.check().err().unwrap_or_else(sent_already));
                }
                self.pour(state, view, range, at)
            }
            Content::Edit(edit) => {
                edit.check()?;
                self.pour(state, view, range, at)
            }
            Content::Failed(..) | Content::Interrupted(_) | Content::Moving(_) => return Err(sent_already()),
        };
        Ok(Begun::Now(copying))
    }

    /// Ends the file: all that follows fails with this.
    pub(crate) fn fail(&self, error: &FsError) {
        let mut state = self.state();
        // What runs ends by itself.
        if !matches!(&state.content, Content::Failed(..)) {
            let failed = Content::Failed(error.clone(), state.size());
            let content = std::mem::replace(&mut state.content, failed);
            drop(state);
            drop(content);
            self.changed.send_replace(());
        }
    }

    /// Writes a range of a file to this one.
    fn pour(self: &Arc<Self>, state: &mut FileState, view: View, range: Range<u64>, at: u64) -> Copying {
        let size = state.size();
        let moving = Content::Moving(Moving { size, deferred: Vec::new() });
        let mut content = std::mem::replace(&mut state.content, moving);
        let file = Arc::clone(self);
        let (done, poured) = oneshot::channel();
        tokio::spawn(async move {
            let result = file.pour_into(&mut content, view, range, at).await;
            let content = match &result {
                Ok(()) => content,
                Err(error) => Content::Failed(error.clone(), size),
            };
            file.arrive(content);
            let _ = done.send(result);
        });
        async move { poured.await.unwrap_or_else(|_| Err(busy())) }.boxed()
    }

    async fn pour_into(&self, content: &mut Content, view: View, range: Range<u64>, at: u64) -> Result<(), FsError> {
        let mut offset = range.start;
        while offset < range.end {
            if !self.is_wanted() {
                return Err(busy());
            }
            let len = u64::from(CHUNK).min(range.end - offset) as u32;
            for chunk in view.read(offset, len).await?.into_chunks() {
                let (to, len) = (offset - range.start + at, chunk.len() as u64);
                match content {
                    Content::Edit(edit) => edit.take(to, chunk).await?,
                    Content::Upload(upload) => upload.take(to, chunk).await?,
                    _ => return Err(busy()),
                }
                offset += len;
            }
        }
        Ok(())
    }

    /// Whether somebody has the file open and has not given it up.
    fn is_wanted(&self) -> bool {
        let state = self.state();
        state.handles > 0 && matches!(&state.content, Content::Moving(_))
    }

    /// Takes the room in the tenant's quota that a copy of so many bytes needs, or tells what to wait for.
    fn make_room(self: &Arc<Self>, state: &mut FileState, len: u64) -> Result<Option<BoxFuture<'static, ()>>, FsError> {
        let Some(usage) = &self.place.usage else { return Ok(None) };
        let replaced = state.room.replaced.or_else(|| state.draft.base.as_ref().map(|base| base.size));
        let copied = state.room.copied.saturating_add(len);
        let reserved = usage.reserve_bytes(&mut state.room.reservation, copied.saturating_sub(replaced.unwrap_or(0)));
        match reserved {
            Ok(()) => {
                state.room.copied = copied;
                Ok(None)
            }
            Err(error) if replaced.is_some() => Err(error.into()),
            Err(_) => {
                // There may be room for the difference to a file that is replaced.
                let file = Arc::clone(self);
                let asking = async move {
                    let (key, _) = file.destination.now();
                    let size = match file.place.store.head(&key).await {
                        Ok(meta) => meta.size,
                        Err(error) if error.kind() == StoreErrorKind::NotFound => 0,
                        // What it is can't be told: that is left to the requests behind it.
                        Err(_) => 0,
                    };
                    file.state().room.replaced = Some(size);
                };
                Ok(Some(asking.boxed()))
            }
        }
    }
}

/// Resolves once a range is copied.
pub(crate) type Copying = BoxFuture<'static, Result<(), FsError>>;

impl<T> std::fmt::Debug for Begun<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Later(_) => "Later",
            Self::Now(_) => "Now",
        })
    }
}
