//! OPEN.

use tidegate_store::{Condition, ObjectAttributes, Permission, StoreErrorKind};

use crate::attributes::FileKind;
use crate::error::{FsError, FsErrorKind};
use crate::mount::{Files, OpenOptions};
use crate::path::VirtualPath;
use crate::reader::Reader;
use crate::writer::{Target, Writer};

impl Files {
    pub(crate) async fn open_for_reading(&self, path: &VirtualPath, options: OpenOptions) -> Result<Reader, FsError> {
        if !options.read {
            return Err(FsError::unsupported(
                "a file is opened for reading or for writing; the request asks for neither",
            ));
        }
        if options.truncate {
            return Err(FsError::unsupported("a file that is to be emptied must be opened for writing"));
        }
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
                } else if options.create {
                    FsError::unsupported("the file does not exist; open it for writing to make it")
                } else {
                    FsError::not_found().with_source(error)
                });
            }
            Err(error) => return Err(error.into()),
        };
        if options.create && options.exclusive {
            return Err(FsError::already_exists());
        }
        if reader.attributes().kind == FileKind::Symlink {
            return Err(FsError::unsupported(
                "this is a symbolic link, which the server does not follow; open its target",
            ));
        }
        Ok(reader)
    }

    pub(crate) async fn open_for_writing(&self, path: &VirtualPath, options: OpenOptions) -> Result<Writer, FsError> {
        let key = self.keys.object(path)?;
        let may_create = self.rights.of(path).has(Permission::Write);
        let may_replace = self.rights.of(path).has(Permission::Overwrite);
        // Where any answer leads to the same, the store is not asked whether the file exists.
        let indifferent = options.create && options.truncate && !options.exclusive && may_create && may_replace;
        let existing = async { if indifferent { Ok(None) } else { self.head(&key).await } };
        let (existing, is_directory) = futures::try_join!(existing, self.is_directory_in_its_parent(path))?;
        if is_directory && existing.is_none() {
            return Err(FsError::is_a_directory());
        }
        let mut base = ObjectAttributes::default();
        let condition = match existing {
            Some(_) if options.create && options.exclusive => return Err(FsError::already_exists()),
            Some(meta) => {
                self.rights.of(path).require(Permission::Overwrite)?;
                if options.truncate {
                    Condition::Always
                } else if meta.size == 0 {
                    // Made by an earlier OPEN with nothing written (mknod of sshfs): its mode stays.
                    base = meta.attributes;
                    Condition::IfMatch(meta.etag)
                } else {
                    return Err(FsError::unsupported(
                        "changing or continuing a file that has content is not supported yet; upload it as a whole \
                         (open it with TRUNC), or remove it first",
                    ));
                }
            }
            None if indifferent => Condition::Always,
            None if !options.create => return Err(FsError::not_found()),
            None => {
                self.rights.of(path).require(Permission::Write)?;
                // Without TRUNC the content of a file that appears meanwhile must be kept.
                let may_win = options.truncate && !options.exclusive && may_replace;
                if may_win { Condition::Always } else { Condition::IfAbsent }
            }
        };
        let vfs = &self.vfs;
        let target = Target { store: self.store.clone(), key, condition, metrics: vfs.metrics.clone() };
        Writer::open(target, base, options.attributes, options.append, &self.write_share, &vfs.config)
    }
}

/// For requests that copy inside the store.
pub(crate) fn too_large_to_copy() -> FsError {
    FsError::new(
        FsErrorKind::Unsupported,
        "this is not supported yet for files over 5 GiB; upload the file under its new name or with its new attributes",
    )
}
