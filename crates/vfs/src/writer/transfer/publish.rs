//! How what was sent becomes the file.

use tidegate_store::{
    Body, Checksum, Condition, CopySource, ETag, ObjectAttributes, ObjectKey, StoreErrorKind, StoredPart,
};

use super::errors::{interrupted, publish_error};
use super::journalling::confirm_whole;
use super::landings::Landed;
use super::{Running, Target, Transfer};
use crate::error::FsError;

impl Transfer {
    /// Waits until all parts have landed and publishes them as one object. Gives its tag.
    pub(crate) async fn complete(&mut self, attributes: &ObjectAttributes) -> Result<ETag, FsError> {
        self.all_landed().await?;
        let Some(begun) = &self.begun else { return Err(interrupted()) };
        let Running { upload, keeper } = begun.upload.clone().await?;
        let landed = self.landed();
        if let Some(keeper) = &keeper
            && let Err(error) = confirm_whole(keeper, &upload, &landed).await
        {
            // It stays as it is: whose it is, whoever opens the file next finds out.
            self.begun = None;
            return Err(error);
        }
        // Unknown where the store does not tell that of a part that it copied: then it makes it itself.
        let whole = landed.iter().try_fold(Checksum::EMPTY, |sum, (_, part)| part.map(|part| sum.then(part)));
        let parts: Vec<StoredPart> = landed.into_iter().map(|(part, _)| part).collect();
        let size = parts.iter().map(|part| part.size).sum();
        let target = &self.target;
        let (key, condition) = target.destination.now();
        if key != upload.key {
            let receipt = target.store.complete_upload(&upload, &parts, whole, &Condition::IfAbsent).await;
            let etag = receipt.map_err(|error| publish_error(&Condition::IfAbsent, error))?.etag;
            self.begun = None;
            let published = target.publish_renamed(upload.key, etag, size, attributes).await;
            self.left_the_journal(keeper).await;
            return published;
        }
        let receipt = target
            .store
            .complete_upload(&upload, &parts, whole, &condition)
            .await
            .map_err(|error| publish_error(&condition, error))?;
        let begun = self.begun.take();
        self.left_the_journal(keeper).await;
        if begun.is_some_and(|begun| begun.attributes != *attributes) {
            return Ok(rewrite_attributes(&self.target, key, receipt.etag, size, attributes).await);
        }
        Ok(receipt.etag)
    }

    /// The parts that the store has, by number. Of a part that was sent again, the later one.
    pub(super) fn landed(&self) -> Vec<Landed> {
        let mut landed = self.landings.state().landed.clone();
        landed.reverse();
        landed.sort_by_key(|(part, _)| part.number);
        landed.dedup_by_key(|(part, _)| part.number);
        landed
    }

    /// Publishes a file of one part in one request. Gives its tag.
    pub(crate) async fn put(
        &self,
        body: Body,
        checksum: Checksum,
        attributes: &ObjectAttributes,
    ) -> Result<ETag, FsError> {
        // Another session may have taken over what others know of it.
        if let Some(keeper) = self.early().await {
            keeper.confirm().await?;
        }
        let target = &self.target;
        let (key, condition) = target.destination.now();
        let put = target.store.put(&key, body, checksum, attributes, &condition);
        let (put, ()) = futures::join!(put, self.earlier_dropped());
        let etag = put.map(|receipt| receipt.etag).map_err(|error| publish_error(&condition, error))?;
        self.left_the_journal(None).await;
        Ok(etag)
    }
}

impl Target {
    /// A multipart upload can only be completed under the name that it was begun with. If the file was
    /// renamed since, it goes on from there to its new name.
    async fn publish_renamed(
        &self,
        old: ObjectKey,
        etag: ETag,
        size: u64,
        attributes: &ObjectAttributes,
    ) -> Result<ETag, FsError> {
        let (key, condition) = self.destination.now();
        let source = CopySource { key: old, if_match: Some(etag.clone()) };
        let copied = self.copier.copy(&source, size, &key, Some(attributes), &condition).await;
        let receipt = copied.map_err(|error| publish_error(&condition, error))?;
        match self.store.delete_version(&source.key, &etag).await {
            // Somebody has made another file of the old name by now.
            Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => {}
            deleted => deleted?,
        }
        Ok(receipt.etag)
    }
}

/// Puts attributes that were set after the upload was begun onto the published object. Failing
/// would be wrong here: the file is there, whole. Gives the tag of what is there then.
async fn rewrite_attributes(
    target: &Target,
    key: ObjectKey,
    etag: ETag,
    size: u64,
    attributes: &ObjectAttributes,
) -> ETag {
    let source = CopySource { key, if_match: Some(etag.clone()) };
    match target.copier.copy_onto_itself(&source, size, attributes).await {
        Ok(receipt) => receipt.etag,
        Err(error) => {
            tracing::warn!(key = %target.key, error = %error.report(), "attributes set during the upload are left out");
            etag
        }
    }
}
