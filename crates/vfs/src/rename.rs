//! RENAME: of a file, a copy inside the store, then a delete.

mod moving;
mod progress;
mod tree;

use std::sync::Arc;

use tidegate_store::{
    Condition, CopySource, ETag, JournalEntry, ObjectAttributes, ObjectKey, ObjectMeta, Permission, StoreErrorKind,
};

use crate::error::{FsError, FsErrorKind};
use crate::journal::contended;
use crate::links::is_link;
use crate::mount::Replace;
use crate::open_files::SharedFile;
use crate::path::VirtualPath;
use crate::vfs::Files;

impl Files {
    /// Readers of the target see its old content or the new, never anything between. Ended half-way,
    /// both names have the content and the rename can be asked for again (with [`Replace::Existing`]).
    /// What someone else writes to `from` between the copy and the delete is lost with it where the
    /// store does not honour the condition of the delete.
    ///
    /// A file that the session is writing need not be there yet.
    pub(crate) async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: Replace) -> Result<(), FsError> {
        let (source, target) = (self.keys.object(from)?, self.keys.object(to)?);
        let open = self.open_files.find(&source);
        if from == to {
            return if open.is_none() { self.stat(from).await.map(|_| ()) } else { Ok(()) };
        }
        if replace == Replace::Never && self.open_files.find(&target).is_some() {
            return Err(FsError::already_exists());
        }
        let may_replace = replace == Replace::Existing && self.rights.of(to).has(Permission::Overwrite);
        let existing = async { if may_replace { Ok(None) } else { self.head(&target).await } };
        let (meta, existing, is_directory) =
            futures::try_join!(self.head(&source), existing, self.is_directory_in_its_parent(to))?;
        if meta.is_none() && open.is_none() {
            if let Some(entry) = self.uploads.read(&source).await? {
                return self.rename_interrupted(&entry, &target, (existing.is_some() || is_directory, replace)).await;
            }
            // How far it came before it failed, a lost answer does not tell.
            return self.rename_directory(from, to, replace).await.inspect_err(|_| {
                self.known.unsure(from);
                self.known.unsure(to);
            });
        }
        match replace {
            Replace::Never if existing.is_some() || is_directory => return Err(FsError::already_exists()),
            Replace::Existing if existing.is_some() => self.rights.of(to).require(Permission::Overwrite)?,
            Replace::Existing if is_directory => return Err(FsError::is_a_directory()),
            _ => {}
        }
        let mut others = self.vfs.open_everywhere.changed_at(&self.bucket, &source);
        others.retain(|other| open.as_ref().is_none_or(|open| !Arc::ptr_eq(open, other)));
        let relocations: Vec<_> = open.iter().chain(&others).map(|open| open.relocate()).collect();
        // What was being uploaded to the target is dropped, as by whoever writes it anew.
        let earlier = self.uploads.drop_earlier(&target);
        let moved = match meta {
            Some(meta) => {
                let before = meta.etag.clone();
                Some((before, self.rename_object(from, to, (&source, &target), meta, may_replace).await?))
            }
            None => None,
        };
        if let Some(earlier) = earlier {
            earlier.await;
        }
        for other in others {
            self.take_along(&other, (&source, &target), moved.clone()).await;
        }
        if let Some(open) = open {
            // What was moved is the file's own to replace; where nothing was, nothing that appears there is
            // to be replaced.
            let condition = if moved.is_some() || may_replace { Condition::Always } else { Condition::IfAbsent };
            open.rename(target.clone(), moved, condition);
            open.rename_entry().await;
        }
        drop(relocations);
        self.open_files.rename(&source, &target);
        Ok(())
    }

    /// A file that another session of the node is changing goes on under its new name, if that is the version
    /// which was `moved`.
    async fn take_along(
        &self,
        open: &Arc<SharedFile>,
        (source, target): (&ObjectKey, &ObjectKey),
        moved: Option<(ETag, ETag)>,
    ) {
        if let (Some((before, after)), Some((version, _))) = (moved, open.version())
            && before == version
        {
            open.rename(target.clone(), Some((before, after)), Condition::Always);
            open.rename_entry().await;
            self.vfs.open_everywhere.rename(&self.bucket.as_str().into(), source, target, Arc::downgrade(open));
        }
    }

    /// Renames what nothing is published of yet.
    async fn rename_interrupted(
        &self,
        entry: &JournalEntry,
        target: &ObjectKey,
        (is_taken, replace): (bool, Replace),
    ) -> Result<(), FsError> {
        if is_taken && replace == Replace::Never {
            return Err(FsError::already_exists());
        }
        // What its OPEN found free need not be what is replaced now, and the reverse.
        let condition = match replace {
            Replace::Existing => Condition::Always,
            Replace::Never => Condition::IfAbsent,
        };
        let renamed = self.uploads.rename(entry, target, |record| record.condition = condition).await?;
        if renamed { Ok(()) } else { Err(contended()) }
    }

    async fn rename_object(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        (source, target): (&ObjectKey, &ObjectKey),
        meta: ObjectMeta,
        may_replace: bool,
    ) -> Result<ETag, FsError> {
        if from.parent() != to.parent() {
            self.keep_parent(from, source).await?;
        }
        if is_link(&meta) {
            self.known.linked(to);
        }
        let copy = CopySource { key: source.clone(), if_match: Some(meta.etag.clone()) };
        let condition = if may_replace { Condition::Always } else { Condition::IfAbsent };
        let receipt = match self.copier().copy(&copy, meta.size, target, untold(&meta), &condition).await {
            Ok(receipt) => receipt,
            Err(error) => {
                let is_taken = !may_replace
                    && error.kind() == StoreErrorKind::PreconditionFailed
                    && self.head(target).await?.is_some();
                return Err(if is_taken { FsError::already_exists().with_source(error) } else { error.into() });
            }
        };
        match self.store.delete_version(source, &meta.etag).await {
            // A newer file was closed under the old name while this one was copied. It stays, as if
            // it had been made behind the rename.
            Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => {}
            deleted => deleted?,
        }
        Ok(receipt.etag)
    }
}

/// What a copy must be told so that it is like its source: a copy that is told nothing keeps all but the
/// storage class and a website redirect.
fn untold(meta: &ObjectMeta) -> Option<&ObjectAttributes> {
    let headers = &meta.attributes.headers;
    (headers.storage_class.is_some() || headers.website_redirect.is_some()).then_some(&meta.attributes)
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
