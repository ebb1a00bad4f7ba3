//! RENAME: of a file, a copy inside the store, then a delete.

mod moving;
mod progress;
mod tree;

use tidegate_store::{Condition, CopySource, ObjectAttributes, ObjectKey, ObjectMeta, Permission, StoreErrorKind};

use crate::error::{FsError, FsErrorKind};
use crate::links::is_link;
use crate::mount::{Files, Replace};
use crate::path::VirtualPath;

impl Files {
    /// Readers of the target see its old content or the new, never anything between. Ended half-way,
    /// both names have the content and the rename can be asked for again (with [`Replace::Existing`]).
    /// What someone else writes to `from` between the copy and the delete is lost with it where the
    /// store does not honour the condition of the delete.
    ///
    /// A file that the session is writing need not be there yet.
    pub(crate) async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: Replace) -> Result<(), FsError> {
        let (source, target) = (self.keys.object(from)?, self.keys.object(to)?);
        let uploads = self.uploads.at(&source);
        if from == to {
            return if uploads.is_empty() { self.stat(from).await.map(|_| ()) } else { Ok(()) };
        }
        if replace == Replace::Never && !self.uploads.at(&target).is_empty() {
            return Err(FsError::already_exists());
        }
        let may_replace = replace == Replace::Existing && self.rights.has(Permission::Overwrite);
        let existing = async { if may_replace { Ok(None) } else { self.head(&target).await } };
        let (meta, existing, is_directory) =
            futures::try_join!(self.head(&source), existing, self.is_directory_in_its_parent(to))?;
        if meta.is_none() && uploads.is_empty() {
            return self.rename_directory(from, to, replace).await;
        }
        match replace {
            Replace::Never if existing.is_some() || is_directory => return Err(FsError::already_exists()),
            Replace::Existing if existing.is_some() => self.rights.require(Permission::Overwrite)?,
            Replace::Existing if is_directory => return Err(FsError::is_a_directory()),
            _ => {}
        }
        if let Some(meta) = meta {
            self.rename_object(from, to, (&source, &target), meta, may_replace).await?;
        } else if !may_replace {
            // Nothing is at the target, and nothing that appears there is to be replaced.
            uploads.iter().for_each(|upload| upload.set(target.clone(), Condition::IfAbsent));
            return Ok(());
        }
        uploads.iter().for_each(|upload| upload.set(target.clone(), Condition::Always));
        Ok(())
    }

    async fn rename_object(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        (source, target): (&ObjectKey, &ObjectKey),
        meta: ObjectMeta,
        may_replace: bool,
    ) -> Result<(), FsError> {
        if from.parent() != to.parent() {
            self.keep_parent(from, source).await?;
        }
        if is_link(&meta) {
            self.known.linked(to);
        }
        let copy = CopySource { key: source.clone(), if_match: Some(meta.etag.clone()) };
        let condition = if may_replace { Condition::Always } else { Condition::IfAbsent };
        if let Err(error) = self.copier().copy(&copy, meta.size, target, in_its_class(&meta), &condition).await {
            let is_taken = !may_replace
                && error.kind() == StoreErrorKind::PreconditionFailed
                && self.head(target).await?.is_some();
            return Err(if is_taken { FsError::already_exists().with_source(error) } else { error.into() });
        }
        match self.store.delete_version(source, &meta.etag).await {
            // A newer file was closed under the old name while this one was copied. It stays, as if
            // it had been made behind the rename.
            Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => Ok(()),
            deleted => Ok(deleted?),
        }
    }
}

/// What a copy must be told so that it is like its source: a copy that is told nothing keeps all but the
/// storage class.
fn in_its_class(meta: &ObjectMeta) -> Option<&ObjectAttributes> {
    meta.attributes.headers.storage_class.as_ref().map(|_| &meta.attributes)
}

/// `key`, which begins with `from`, with `to` in place of that.
///
/// # Errors
/// `InvalidName` if that would be longer than a key may be.
fn moved_key(key: &ObjectKey, from: &ObjectKey, to: &ObjectKey) -> Result<ObjectKey, FsError> {
    let rest = key.as_str().strip_prefix(from.as_str()).unwrap_or_default();
    ObjectKey::new([to.as_str(), rest].concat()).ok_or_else(|| {
        FsError::new(
            FsErrorKind::InvalidName,
            "a path in this directory would get too long: about 1,000 bytes of UTF-8 at most; choose a shorter name",
        )
    })
}
