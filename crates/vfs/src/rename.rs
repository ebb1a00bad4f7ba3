//! RENAME of files: a copy inside the store, then a delete.

use tidegate_store::{Condition, CopySource, ObjectKey, Permission, StoreErrorKind, StoreResult, limits};

use crate::error::FsError;
use crate::mount::{Files, Replace};
use crate::open::too_large_to_copy;
use crate::path::VirtualPath;

impl Files {
    /// Readers of the target see its old content or the new, never anything between. Ended half-way,
    /// both names have the content and the rename can be asked for again (with [`Replace::Existing`]).
    /// What someone else writes to `from` between the copy and the delete is lost with it: the store
    /// has no conditional delete that every implementation honours.
    pub(crate) async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: Replace) -> Result<(), FsError> {
        let (source, target) = (self.keys.object(from)?, self.keys.object(to)?);
        if from == to {
            return self.stat(from).await.map(|_| ());
        }
        let may_replace = replace == Replace::Existing && self.rights.of(to).has(Permission::Overwrite);
        let existing = async { if may_replace { Ok(None) } else { self.head(&target).await } };
        let (meta, existing, is_directory) =
            futures::try_join!(self.head(&source), existing, self.is_directory_in_its_parent(to))?;
        let Some(meta) = meta else {
            if self.has_entries(from).await? {
                return Err(FsError::unsupported(
                    "renaming a directory is not supported yet; make the new directory and rename the files in it",
                ));
            }
            return Err(FsError::not_found());
        };
        match replace {
            Replace::Never if existing.is_some() || is_directory => return Err(FsError::already_exists()),
            Replace::Existing if existing.is_some() => self.rights.of(to).require(Permission::Overwrite)?,
            Replace::Existing if is_directory => return Err(FsError::is_a_directory()),
            _ => {}
        }
        if meta.size > limits::PART_MAX {
            return Err(too_large_to_copy());
        }
        if from.parent() != to.parent() {
            self.keep_parent(from, &source).await?;
        }
        let copy = CopySource { key: source.clone(), if_match: Some(meta.etag.clone()) };
        if may_replace {
            self.store.copy(&copy, &target, None, &Condition::Always).await?;
        } else if let Err(error) = self.copy_if_absent(&copy, &target).await {
            let is_taken = error.kind() == StoreErrorKind::PreconditionFailed && self.head(&target).await?.is_some();
            return Err(if is_taken { FsError::already_exists().with_source(error) } else { error.into() });
        }
        match self.store.delete_version(&source, &meta.etag).await {
            // A newer file was closed under the old name while this one was copied. It stays, as if
            // it had been made behind the rename.
            Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => Ok(()),
            deleted => Ok(deleted?),
        }
    }

    async fn copy_if_absent(&self, source: &CopySource, target: &ObjectKey) -> StoreResult<()> {
        match self.store.copy(source, target, None, &Condition::IfAbsent).await {
            // The store can't check it: the look at the target just before has to do.
            Err(error) if error.kind() == StoreErrorKind::Unsupported => {
                self.store.copy(source, target, None, &Condition::Always).await.map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }
}
