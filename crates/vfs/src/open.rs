//! OPEN.

use std::sync::Arc;

use futures::TryFutureExt;
use tidegate_store::{Condition, ObjectKey, Permission, StoreErrorKind};

use crate::attributes::{FileKind, SetAttributes};
use crate::error::FsError;
use crate::journal::TakenOver;
use crate::links::{Found, is_link, may_be_link};
use crate::mount::OpenOptions;
use crate::open_files::{Draft, Place, SharedFile};
use crate::path::VirtualPath;
use crate::reader::Reader;
use crate::tags::with_tags;
use crate::vfs::Files;
use crate::writer::{Access, Writer};

impl Files {
    pub(crate) async fn open_for_reading(
        &self,
        path: &VirtualPath,
        options: OpenOptions,
    ) -> Result<Found<Reader>, FsError> {
        let key = self.keys.object(path)?;
        let vfs = &self.vfs;
        let opened = match self.prefetch.open(path).await {
            Some(reader) => Ok(reader.asked_for()),
            None => Reader::open(&self.store, key, &self.read_memory, &vfs.config, &vfs.metrics).await,
        };
        let reader = match opened {
            Ok(reader) => reader,
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                return Err(if self.has_entries(path).await? {
                    FsError::is_a_directory()
                } else {
                    FsError::not_found().with_source(error)
                });
            }
            Err(error) => return Err(error.into()),
        };
        if options.create && options.exclusive {
            return Err(FsError::already_exists());
        }
        if reader.attributes().kind == FileKind::Symlink && may_be_link(reader.attributes().size) {
            return Ok(Found::Link);
        }
        Ok(Found::Here(reader))
    }

    /// A handle of a file that the session is changing, for reading it.
    pub(crate) fn join_for_reading(&self, path: &VirtualPath, options: OpenOptions) -> Result<Option<Writer>, FsError> {
        let key = self.keys.object(path)?;
        let Some(file) = self.open_files.find(&key).filter(|file| file.is_readable()) else {
            return Ok(None);
        };
        if options.create && options.exclusive {
            return Err(FsError::already_exists());
        }
        let may_set = file.is_new() || self.rights.of(path).has(Permission::SetAttributes);
        let access = Access { read: true, may_read: true, write: false, append: false, may_set };
        file.join(access.read, access.write);
        Ok(Some(Writer::of(file, access, false, &self.vfs.metrics)))
    }

    pub(crate) async fn open_for_writing(
        &self,
        path: &VirtualPath,
        options: OpenOptions,
    ) -> Result<Found<Writer>, FsError> {
        let key = self.keys.object(path)?;
        let allowed = self.rights.of(path);
        let may_read = allowed.has(Permission::Read);
        let may_set = allowed.has(Permission::SetAttributes);
        let mut access =
            Access { read: options.read && may_read, may_read, write: true, append: options.append, may_set };
        if let Some(file) = self.open_files.find(&key) {
            return self.join_for_writing(path, file, access, options).await.map(Found::Here);
        }
        let may_create = allowed.has(Permission::Write);
        let may_replace = allowed.has(Permission::Overwrite);
        // Where any answer leads to the same, the store is not asked whether the file exists, unless it
        // may be a link.
        let indifferent = options.create && options.truncate && !options.exclusive && may_create && may_replace;
        let is_asked = !indifferent || self.known.may_be_link(path) == Some(true);
        let existing = async { if is_asked { self.head(&key).await } else { Ok(None) } };
        // What was cut is gone on with unless it is to be dropped.
        let keeps = !(options.truncate || options.create && options.exclusive);
        let interrupted = async { if keeps { self.uploads.read(&key).await } else { Ok(None) } };
        let (mut existing, is_directory, interrupted) =
            futures::try_join!(existing, self.is_directory_in_its_parent(path), interrupted.map_err(FsError::from))?;
        if !is_asked && self.known.may_be_link(path) != Some(false) {
            existing = self.head(&key).await?;
        }
        match &existing {
            Some(_) if options.create && options.exclusive => return Err(FsError::already_exists()),
            Some(meta) if is_link(meta) => return Ok(Found::Link),
            Some(meta) => {
                self.known.not_linked(path);
                self.vfs.links.note_file(&self.bucket, &key, &meta.etag);
            }
            None => {}
        }
        if is_directory && existing.is_none() {
            return Err(FsError::is_a_directory());
        }
        let place = self.place(key.clone());
        // STAT has shown an upload that has no byte yet, so it is opened like a file without one.
        let mut was_begun = false;
        if let Some(entry) = interrupted.filter(|_| !options.read || existing.is_none()) {
            self.rights.of(path).require(match existing {
                Some(_) => Permission::Overwrite,
                None => Permission::Write,
            })?;
            match self.uploads.take_over(entry, existing.as_ref()).await? {
                TakenOver::Interrupted(interrupted) => {
                    let file = SharedFile::of_interrupted(place, *interrupted, access.read);
                    access.may_set |= file.is_new();
                    self.open_files.insert(key, &file);
                    return Ok(Found::Here(Writer::of(file, access, false, &self.vfs.metrics)));
                }
                TakenOver::Empty => was_begun = true,
                TakenOver::Nothing => {}
            }
        }
        let earlier = if keeps { None } else { self.uploads.drop_earlier(&key) };
        // Another session of this node that is uploading it is to hear of that at its very next request.
        if let Some(earlier) = &earlier
            && self.vfs.open_everywhere.new_file(&self.bucket, &key).is_some()
        {
            earlier.clone().await;
        }
        let (draft, condition) = match existing {
            Some(meta) => {
                self.rights.of(path).require(Permission::Overwrite)?;
                if options.truncate {
                    (Draft::of_new(options.attributes), Condition::Always)
                } else {
                    let meta = with_tags(&*self.store, &key, meta).await?;
                    // What OPEN says of attributes is for files that it makes, and those that were made just
                    // before, with nothing written (mknod of sshfs).
                    let is_made = meta.size == 0 && may_set;
                    let set = if is_made { options.attributes } else { SetAttributes::default() };
                    let base = place.base(key.clone(), meta.etag.clone(), meta.size);
                    let draft = Draft::of_version(&meta, base, SetAttributes { size: None, ..set });
                    (draft, Condition::IfMatch(meta.etag))
                }
            }
            None if indifferent => (Draft::of_new(options.attributes), Condition::Always),
            None if !options.create && !was_begun => return Err(FsError::not_found()),
            None => {
                self.rights.of(path).require(Permission::Write)?;
                // Without TRUNC the content of a file that appears meanwhile must be kept.
                let may_win = options.truncate && !options.exclusive && may_replace;
                let condition = if may_win { Condition::Always } else { Condition::IfAbsent };
                (Draft::of_new(options.attributes), condition)
            }
        };
        let has_changed = draft.is_dirty();
        let hint = options.attributes.size.unwrap_or(0);
        let file = SharedFile::open(place, draft, condition, (hint, access.read), earlier)?;
        access.may_set |= file.is_new();
        self.open_files.insert(key, &file);
        Ok(Found::Here(Writer::of(file, access, has_changed, &self.vfs.metrics)))
    }

    async fn join_for_writing(
        &self,
        path: &VirtualPath,
        file: Arc<SharedFile>,
        mut access: Access,
        options: OpenOptions,
    ) -> Result<Writer, FsError> {
        if options.create && options.exclusive {
            return Err(FsError::already_exists());
        }
        // A file that exists for this session alone is not one to be overwritten yet.
        let allowed = self.rights.of(path);
        if !(file.is_new() && allowed.has(Permission::Write)) {
            allowed.require(Permission::Overwrite)?;
        }
        access.may_set |= file.is_new() || options.truncate;
        file.join(access.read, access.write);
        let mut writer = Writer::of(file, access, false, &self.vfs.metrics);
        if options.truncate {
            writer.set_attributes(SetAttributes { size: Some(0), ..options.attributes }).await?;
        }
        Ok(writer)
    }

    /// Where a file's bytes go to and come from.
    pub(crate) fn place(&self, key: ObjectKey) -> Place {
        Place {
            vfs: Arc::clone(&self.vfs),
            store: Arc::clone(&self.store),
            key,
            read_memory: self.read_memory.clone(),
            write_share: self.write_share.clone(),
            uploads: self.uploads.clone(),
            usage: self.usage.clone(),
        }
    }
}
