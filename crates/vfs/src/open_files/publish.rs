//! CLOSE: what a file holds becomes its new version.

use std::sync::Arc;

use futures::future::BoxFuture;
use tidegate_store::{Condition, ETag};

use super::file::{Content, SharedFile};
use super::moving::Moving;
use crate::edit::{Base, Publication};
use crate::error::FsError;
use crate::writer::{Published, Upload};

/// What there is to do.
enum Work {
    Edit(Publication),
    Nothing(u64),
    Upload(Box<Upload>),
    Wait(BoxFuture<'static, ()>),
}

impl SharedFile {
    /// Makes what the file holds its new version, if anything was changed. Handles that stay open go on
    /// from there.
    ///
    /// # Errors
    /// `Conflict` if someone else has replaced the version that the changes began with, `AlreadyExists`
    /// if someone else has made the file; the latched failure; any that the store gives. The old file is
    /// untouched then; only where the store's answer to the very last request was lost can the new one be
    /// there, whole, all the same.
    pub(crate) async fn publish(self: &Arc<Self>) -> Result<Published, FsError> {
        loop {
            let (work, target, attributes) = {
                let mut guard = self.state();
                let state = &mut *guard;
                let (target, size) = (self.target(), state.size());
                let work = self.begin(&mut guard, size)?;
                (work, target, guard.draft.attributes().clone())
            };
            let published = match work {
                Work::Wait(change) => {
                    change.await;
                    continue;
                }
                Work::Nothing(size) => return Ok(Published { size }),
                Work::Upload(upload) => {
                    let size = upload.end();
                    let published = upload.finish().await;
                    let content = match &published {
                        Ok((etag, size)) => {
                            let base = self.note_version(etag, *size);
                            self.state().draft.note_published(attributes, Arc::clone(&base));
                            Content::Edit(self.place.edit(Some(base), *size))
                        }
                        Err(error) => Content::Failed(error.clone(), size),
                    };
                    self.arrive(content);
                    published.map(|(_, size)| size)
                }
                Work::Edit(publication) => {
                    let (memory, config) = (self.place.memory(), &self.place.vfs.config);
                    let published = publication.publish(target, &attributes, memory, config).await;
                    let size = publication.size();
                    let mut guard = self.state();
                    guard.publishing = false;
                    if let Ok(etag) = &published {
                        let state = &mut *guard;
                        let base = self.note_version(etag, size);
                        state.draft.note_published(attributes, Arc::clone(&base));
                        if let Content::Edit(edit) = &mut state.content {
                            edit.rebase(&publication, base);
                        }
                        state.room = super::copy::Room::default();
                    }
                    drop(guard);
                    self.changed.send_replace(());
                    published.map(|_| size)
                }
            };
            let metrics = &self.place.vfs.metrics;
            match &published {
                Ok(_) => metrics.published.inc(),
                Err(_) => metrics.upload_failures.inc(),
            }
            return published.map(|size| Published { size });
        }
    }

    /// What is there now is what has to be there when the file is published again.
    fn note_version(&self, etag: &ETag, size: u64) -> Arc<Base> {
        let (key, _) = self.destination.now();
        self.destination.set(key.clone(), Condition::IfMatch(etag.clone()));
        self.place.base(key, etag.clone(), size)
    }

    fn begin(&self, state: &mut super::file::FileState, size: u64) -> Result<Work, FsError> {
        let is_dirty = state.draft.is_dirty();
        let of_base = state.draft.base.as_ref().map(|base| base.size);
        if let Content::Upload(upload) = &state.content
            && !is_dirty
            && Some(upload.end()) == of_base
        {
            upload.check()?;
            return Ok(Work::Nothing(size));
        }
        match &mut state.content {
            Content::Edit(_) if state.publishing => Ok(Work::Wait(self.change())),
            Content::Edit(edit) => {
                edit.check().inspect_err(|_| self.place.vfs.metrics.upload_failures.inc())?;
                if edit.is_unchanged() && !is_dirty {
                    return Ok(Work::Nothing(size));
                }
                state.publishing = true;
                Ok(Work::Edit(edit.begin_publication()))
            }
            Content::Failed(error, _) => Err(error.clone()),
            // Nothing was written: what was cut stays cut.
            Content::Interrupted(_) => Ok(Work::Nothing(size)),
            Content::Moving(_) => Ok(Work::Wait(self.change())),
            content => {
                state.registration = None;
                match std::mem::replace(content, Content::Moving(Moving { size, deferred: Vec::new() })) {
                    Content::Upload(upload) => Ok(Work::Upload(upload)),
                    other => {
                        *content = other;
                        Ok(Work::Wait(self.change()))
                    }
                }
            }
        }
    }
}
