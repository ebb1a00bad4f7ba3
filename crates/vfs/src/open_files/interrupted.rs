//! A file whose upload another session began: it goes on where its first write tells.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tidegate_store::{Condition, ETag};

use super::draft::Draft;
use super::file::{Content, FileState, SharedFile, busy, sent_already};
use super::moving::Moving;
use super::place::Place;
use crate::attributes::SetAttributes;
use crate::error::{FsError, FsErrorKind};
use crate::journal::{Interrupted, Point, earlier, fenced};
use crate::tags::with_tags;
use crate::writer::{Beginning, Upload, settle};

impl SharedFile {
    /// A file that shows what is durable of an upload.
    pub(crate) fn of_interrupted(place: Place, interrupted: Interrupted, reads: bool) -> Arc<Self> {
        let draft = Draft::of_interrupted(&interrupted.record);
        let (condition, hint) = (interrupted.record.condition.clone(), interrupted.record.hint);
        Self::with(place, draft, condition, Content::Interrupted(Box::new(interrupted)), (hint, reads))
    }

    /// Goes on at `offset`, or anew at 0. Whoever waits for the change finds an upload then.
    ///
    /// # Errors
    /// `Unsupported` where nothing can go on.
    pub(super) fn go_on(self: &Arc<Self>, state: &mut FileState, offset: u64) -> Result<(), FsError> {
        let Content::Interrupted(interrupted) = &state.content else { return Ok(()) };
        let size = interrupted.durable.shown();
        let point = interrupted.durable.point(offset).ok_or_else(|| nothing_there(size))?;
        let moving = |size| Content::Moving(Moving { size, deferred: Vec::new() });
        let file = Arc::clone(self);
        if point == Point::Anew
            && let Condition::IfMatch(etag) = &interrupted.record.condition
        {
            let (keeper, etag) = (Arc::clone(&interrupted.keeper), etag.clone());
            state.content = moving(size);
            tokio::spawn(async move {
                keeper.give_up().await;
                let content = file.change_version(&etag).await.unwrap_or_else(|error| Content::Failed(error, size));
                file.arrive(content);
            });
            return Ok(());
        }
        let beginning = point.beginning(interrupted);
        let upload = self.new_upload(state, beginning)?;
        let Content::Interrupted(interrupted) = std::mem::replace(&mut state.content, moving(size)) else {
            return Ok(());
        };
        self.place.vfs.metrics.uploads_resumed.inc();
        tokio::spawn(async move {
            let content = match resume(*interrupted, point, upload).await {
                Ok(upload) => Content::Upload(Box::new(upload)),
                Err(error) => Content::Failed(error, size),
            };
            file.arrive(content);
        });
        Ok(())
    }

    /// The upload that was cut went on behind a version of the file: that is what is changed now.
    async fn change_version(&self, etag: &ETag) -> Result<Content, FsError> {
        let place = &self.place;
        let meta = place.store.head(&place.key).await?;
        if meta.etag != *etag {
            return Err(fenced());
        }
        let meta = with_tags(&*place.store, &place.key, meta).await?;
        let base = place.base(place.key.clone(), meta.etag.clone(), meta.size);
        self.state().draft = Draft::of_version(&meta, Arc::clone(&base), SetAttributes::default());
        Ok(Content::Edit(place.edit(Some(base), meta.size)))
    }

    /// Its size may be set to what it is, and to nothing.
    pub(super) fn resize_interrupted(self: &Arc<Self>, state: &mut FileState, size: u64) -> Result<(), FsError> {
        let Content::Interrupted(interrupted) = &state.content else { return Ok(()) };
        if size == interrupted.durable.shown() {
            return Ok(());
        }
        if size > 0 {
            return Err(sent_already());
        }
        let keeper = Arc::clone(&interrupted.keeper);
        state.earlier = Some(earlier(async move { keeper.give_up().await }));
        let upload = self.new_upload(state, Beginning::default())?;
        state.content = Content::Upload(Box::new(upload));
        Ok(())
    }

    /// Has other nodes know of an upload that takes long to fill its first part.
    pub(super) fn announce(&self) -> Option<BoxFuture<'static, ()>> {
        match &mut self.state().content {
            Content::Upload(upload) => upload.announce(),
            _ => None,
        }
    }

    /// REMOVE of a file that is not published yet: it never is. Resolves once the store has dropped its parts.
    pub(crate) fn remove(&self) -> BoxFuture<'static, ()> {
        self.give_up(fenced())
    }

    /// Takes an upload's bytes out of it, and gives up what the store has of it: all that follows fails with this.
    pub(super) fn give_up(&self, error: FsError) -> BoxFuture<'static, ()> {
        let mut state = self.state();
        let size = state.size();
        match std::mem::replace(&mut state.content, Content::Failed(error, size)) {
            Content::Upload(upload) => upload.abandon(),
            _ => ready(()).boxed(),
        }
    }

    /// Resolves once another session is known not to have taken its upload over, or nobody can tell.
    ///
    /// # Errors
    /// `Conflict` if one has.
    pub(crate) fn still_ours(&self) -> impl Future<Output = Result<(), FsError>> + Send + use<> {
        let keeper = match &self.state().content {
            Content::Interrupted(interrupted) => Some(Arc::clone(&interrupted.keeper)),
            Content::Upload(upload) => upload.keeper_now(),
            Content::Edit(_) | Content::Failed(..) | Content::Moving(_) => None,
        };
        async move {
            let Some(keeper) = keeper else { return Ok(()) };
            while let Some(answer) = keeper.stands()? {
                answer.await;
            }
            Ok(())
        }
    }

    /// fsync.
    pub(crate) async fn sync(self: &Arc<Self>) -> Result<(), FsError> {
        loop {
            match self.take_upload()? {
                Taken::Upload(mut upload) => {
                    // In a task of its own: if nobody waits any more, the file must come back all the same.
                    let file = Arc::clone(self);
                    let persisting = tokio::spawn(async move {
                        let persisted = upload.persist().await;
                        file.arrive(Content::Upload(upload));
                        persisted
                    });
                    return persisting.await.unwrap_or_else(|_| Err(busy()));
                }
                Taken::Changed => return self.publish().await.map(|_| ()),
                Taken::Later(change) => change.await,
                Taken::Nothing => return Ok(()),
            }
        }
    }

    /// Leaves the file to another session.
    pub(crate) async fn cut(self: &Arc<Self>) {
        loop {
            match self.take_upload() {
                Ok(Taken::Upload(upload)) => {
                    // In a task of its own: whoever stops waiting for it must not stop it half-way.
                    let _ = tokio::spawn(upload.cut()).await;
                    return;
                }
                Ok(Taken::Later(change)) => change.await,
                Ok(Taken::Changed | Taken::Nothing) | Err(_) => return,
            }
        }
    }

    /// Takes the upload out of the file, which is on its way meanwhile.
    fn take_upload(&self) -> Result<Taken, FsError> {
        let mut state = self.state();
        let size = state.size();
        match &state.content {
            Content::Edit(_) => return Ok(Taken::Changed),
            Content::Failed(error, _) => return Err(error.clone()),
            Content::Interrupted(_) => return Ok(Taken::Nothing),
            Content::Moving(_) => return Ok(Taken::Later(self.change())),
            Content::Upload(_) => {}
        }
        match std::mem::replace(&mut state.content, Content::Moving(Moving { size, deferred: Vec::new() })) {
            Content::Upload(upload) => Ok(Taken::Upload(upload)),
            _ => Err(busy()),
        }
    }
}

/// What is to be made durable.
enum Taken {
    /// What was changed in place, if anything was.
    Changed,
    /// It is on its way.
    Later(BoxFuture<'static, ()>),
    Nothing,
    Upload(Box<Upload>),
}

async fn resume(interrupted: Interrupted, point: Point, mut upload: Upload) -> Result<Upload, FsError> {
    if point == Point::Anew {
        interrupted.keeper.give_up().await;
        return Ok(upload);
    }
    settle(&interrupted, point).await?;
    let Interrupted { durable, record, keeper } = interrupted;
    upload.resume(keeper, record.multipart.as_ref(), durable);
    if let (Point::InTail { end, to, .. }, Some(tail)) = (point, &record.tail) {
        upload.feed(tail, end..to).await?;
    }
    Ok(upload)
}

fn nothing_there(size: u64) -> FsError {
    let message = format!("an upload of this file was cut; it can be resumed at byte {size}, or begun anew at byte 0");
    FsError::new(FsErrorKind::Unsupported, message)
}
