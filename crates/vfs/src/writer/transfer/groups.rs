//! Parts that become one part of an upload together, so that a file may have more of them than S3 takes: they are
//! stored as an object of their own, beside the files, which the store then copies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tidegate_store::{Checksum, Condition, CopySource, ObjectAttributes, ObjectKey, PartNumber, StoredPart};

use super::journalling::confirm_part;
use super::landings::{Landed, Landings};
use super::{Running, SharedUpload, Target, Transfer, interrupted, upload_error};
use crate::aborting::abort;
use crate::error::FsError;

/// One such object.
#[derive(Debug)]
pub(crate) struct Group {
    key: ObjectKey,
    pub(super) upload: SharedUpload,
    landed: Mutex<Vec<Landed>>,
    /// It may be an object by now.
    is_completing: AtomicBool,
    /// Nothing of it is left in the store.
    is_gone: AtomicBool,
}

impl Group {
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    pub(super) fn landed(&self) -> MutexGuard<'_, Vec<Landed>> {
        self.landed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has `count` parts, and gives them by number.
    async fn all_landed(&self, count: usize, landings: &Landings) -> Result<Vec<Landed>, FsError> {
        let mut changed = landings.changed.subscribe();
        loop {
            landings.state().failed.clone().map_or(Ok(()), Err)?;
            if self.landed().len() >= count {
                let mut landed = std::mem::take(&mut *self.landed());
                landed.sort_unstable_by_key(|(part, _)| part.number);
                return Ok(landed);
            }
            changed.changed().await.map_err(|_| interrupted())?;
        }
    }

    /// Removes what the store has of it.
    pub(super) async fn give_up(&self, target: &Target) {
        // It was never begun, as far as anyone knows.
        let Ok(Running { upload, .. }) = self.upload.clone().await else { return };
        let aborting = target.store.abort_upload(&upload);
        if self.is_completing.load(Ordering::Relaxed) {
            let _ = aborting.await;
            target.remove_hidden(&self.key).await;
        } else {
            abort(&self.key, &target.metrics, aborting).await;
        }
    }
}

impl Transfer {
    /// Begins a group, and the upload, with `attributes`, if that was not begun.
    ///
    /// # Errors
    /// None but for a tenant whose keys have no room for a name.
    pub(crate) fn open_group(&mut self, attributes: &ObjectAttributes) -> Result<Arc<Group>, FsError> {
        // Its task has begun with this call.
        drop(self.begin(attributes));
        let (target, key) = (Arc::clone(&self.target), self.target.hidden.new_group()?);
        // In a task of its own: were it cancelled half-way, the upload's name would be lost.
        let beginning = tokio::spawn({
            let key = key.clone();
            async move {
                let upload = target.store.begin_upload(&key, &ObjectAttributes::default()).await?;
                Ok(Running { upload, keeper: None })
            }
        });
        let upload = async move { beginning.await.unwrap_or_else(|_| Err(interrupted())) }.boxed().shared();
        let (landed, is_completing, is_gone) = (Mutex::default(), AtomicBool::new(false), AtomicBool::new(false));
        let group = Arc::new(Group { key, upload, landed, is_completing, is_gone });
        self.groups.retain(|group| !group.is_gone());
        self.groups.push(Arc::clone(&group));
        Ok(group)
    }

    /// Makes a group, of which `count` parts were sent, the part of this number, once they have landed. It counts
    /// as one on its way until then.
    pub(crate) fn close_group(
        &mut self,
        group: Arc<Group>,
        number: PartNumber,
        count: usize,
        attributes: &ObjectAttributes,
    ) {
        let landings = Arc::clone(&self.landings);
        self.work(None, 0, (None, Duration::ZERO), attributes, move |target, upload| async move {
            let landed = group.all_landed(count, &landings).await?;
            Ok(vec![target.take_in(&group, landed, &upload.await?, number).await?])
        });
    }
}

impl Target {
    /// Copies a group to its place in an upload, and removes it.
    async fn take_in(
        &self,
        group: &Group,
        landed: Vec<Landed>,
        running: &Running,
        number: PartNumber,
    ) -> Result<Landed, FsError> {
        let hidden = group.upload.clone().await?.upload;
        let whole = landed.iter().try_fold(Checksum::EMPTY, |sum, (_, part)| part.map(|part| sum.then(part)));
        let parts: Vec<StoredPart> = landed.into_iter().map(|(part, _)| part).collect();
        let size = parts.iter().map(|part| part.size).sum();
        group.is_completing.store(true, Ordering::Relaxed);
        let completed = self.store.complete_upload(&hidden, &parts, whole, &Condition::Always).await;
        let source = CopySource { key: hidden.key, if_match: Some(completed.map_err(upload_error)?.etag) };
        if let Some(keeper) = &running.keeper {
            confirm_part(keeper, &running.upload, number).await?;
        }
        let copied = self.copier.copy_parts(&running.upload, &source, vec![(number, 0..size)], 1).await;
        let stored = copied.map_err(upload_error)?.pop().ok_or_else(interrupted)?;
        if let Some(keeper) = &running.keeper {
            keeper.landed(&stored).await?;
        }
        self.remove_hidden(&group.key).await;
        group.is_gone.store(true, Ordering::Relaxed);
        let checksum = whole.or(stored.checksum);
        Ok((stored, checksum))
    }

    async fn remove_hidden(&self, key: &ObjectKey) {
        if let Err(error) = self.store.delete(key).await {
            tracing::warn!(%key, error = %error.report(), "parts of an upload stay beside the files until they are swept out");
        }
    }
}
