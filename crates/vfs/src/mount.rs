//! One user's view of the files.

use std::fmt;
use std::sync::Arc;

use tidegate_store::Permission;

use crate::attributes::{FileAttributes, FileKind, SetAttributes};
use crate::directory::Directory;
use crate::edit::View;
use crate::error::{FsError, FsErrorKind};
use crate::links::{Found, may_be_link};
use crate::path::VirtualPath;
use crate::reader::Reader;
use crate::usage::Usage;
use crate::vfs::Files;
use crate::writer::Writer;

/// What OPEN asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Open for reading.
    pub read: bool,
    /// Open for writing. A file that is open for both is a [`Writer`], as is one that the same session is
    /// changing.
    pub write: bool,
    /// Write at the end, whatever the offset.
    pub append: bool,
    /// Make the file if it is missing.
    pub create: bool,
    /// Drop what the file holds.
    pub truncate: bool,
    /// With `create`: fail if the file exists, also if it appears before CLOSE.
    pub exclusive: bool,
    /// Attributes of the new file; `size` is a hint of its final size.
    pub attributes: SetAttributes,
}

/// An open file.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once per OPEN, then taken apart")]
pub enum OpenFile {
    /// Open for reading.
    Read(Reader),
    /// Open for writing.
    Write(Writer),
}

/// Whether a rename may replace a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It replaces an existing file (posix-rename@openssh.com).
    Existing,
    /// It fails if the target exists (RENAME of version 3).
    Never,
}

/// One user's view of a tenant's files. Clones are the same view.
///
/// Each method checks the user's permissions first (the table is at the permissions' own module),
/// then does its work; errors carry messages that may be shown to the user.
#[derive(Clone)]
pub struct Mount {
    files: Arc<Files>,
}

impl Mount {
    pub(crate) fn of(files: Files) -> Self {
        Self { files: Arc::new(files) }
    }

    /// The name that the user logged in with.
    pub fn user(&self) -> &str {
        self.files.user.as_str()
    }

    /// Where the user's sessions start.
    pub fn home(&self) -> &VirtualPath {
        &self.files.home
    }

    /// What the tenant's files take and may take, at most some seconds old.
    pub async fn usage(&self) -> Usage {
        let Some(usage) = &self.files.usage else { return Usage::default() };
        usage.refresh().await;
        usage.report()
    }

    /// Attributes of what a path leads to, through symbolic links.
    ///
    /// # Errors
    /// `NotFound`, also for what a link leads to; `LinkLoop`; any other that the store gives.
    pub async fn stat(&self, path: &VirtualPath) -> Result<FileAttributes, FsError> {
        self.files
            .follow(path, async |path| {
                let attributes = self.look(&path).await?;
                Ok(match attributes.kind {
                    FileKind::Symlink if may_be_link(attributes.size) => Found::Link,
                    _ => Found::Here(attributes),
                })
            })
            .await
    }

    /// Attributes of a file, directory or symbolic link.
    ///
    /// # Errors
    /// As [`Mount::stat`].
    pub async fn lstat(&self, path: &VirtualPath) -> Result<FileAttributes, FsError> {
        self.files.follow(path, async |path| self.look(&path).await.map(Found::Here)).await
    }

    /// Whether the user may see what is at a path. Of a directory, what is allowed in it counts too.
    fn may_look(&self, path: &VirtualPath) -> Result<(), FsError> {
        let rights = &self.files.rights;
        if rights.inside(path).has_any(&LOOK) { Ok(()) } else { rights.of(path).require_any(&LOOK) }
    }

    async fn look(&self, path: &VirtualPath) -> Result<FileAttributes, FsError> {
        self.may_look(path)?;
        self.files.stat(path).await
    }

    /// The path without symbolic links, as far as it exists. Asks the store only where it must, and
    /// never for a user who may not look.
    ///
    /// # Errors
    /// `LinkLoop`; `InvalidName` for a link whose target is no path.
    pub async fn real_path(&self, path: &VirtualPath) -> Result<VirtualPath, FsError> {
        if self.may_look(path).is_err() {
            return Ok(path.clone());
        }
        self.files.real_path(path).await
    }

    /// Whether [`Mount::real_path`] gives the path itself, as far as is known already.
    pub fn is_real_path(&self, path: &VirtualPath) -> bool {
        *path == self.files.home || self.files.is_plain(path)
    }

    /// Opens a file; a symbolic link opens what it leads to. As with OpenSSH's server, what asks neither for
    /// reading nor for writing reads, and a file that is opened for reading is made or emptied first if that is
    /// asked for: that needs the permissions of writing too.
    ///
    /// # Errors
    /// `NotFound` for a missing file or parent directory; `AlreadyExists`; `IsADirectory`;
    /// `PermissionDenied`; `NoSpace` over the quota; `TooLarge` if the size that is announced can't be
    /// stored; `LinkLoop`.
    pub async fn open(&self, path: &VirtualPath, options: OpenOptions) -> Result<OpenFile, FsError> {
        self.open_real(path, options).await.map(|(file, _)| file)
    }

    /// The same, and the path that the file was found at: another one where links lead there.
    ///
    /// # Errors
    /// As [`Mount::open`].
    pub async fn open_real(
        &self,
        path: &VirtualPath,
        options: OpenOptions,
    ) -> Result<(OpenFile, VirtualPath), FsError> {
        self.files.follow(path, async |path| Ok(self.open_here(&path, options).await?.map(|file| (file, path)))).await
    }

    async fn open_here(&self, path: &VirtualPath, options: OpenOptions) -> Result<Found<OpenFile>, FsError> {
        if options.write || options.append {
            return Ok(self.open_writer(path, options).await?.map(OpenFile::Write));
        }
        self.files.rights.of(path).require(Permission::Read)?;
        let reading = OpenOptions { read: true, ..options };
        if options.truncate {
            return match self.store_empty(path, options).await? {
                Found::Here(()) => self.open_reader(path, OpenOptions { exclusive: false, ..reading }).await,
                Found::Link => Ok(Found::Link),
            };
        }
        match self.open_reader(path, reading).await {
            Err(error) if error.kind() == FsErrorKind::NotFound && options.create => {
                match self.store_empty(path, OpenOptions { exclusive: true, ..options }).await {
                    // Somebody else has made it meanwhile.
                    Err(error) if error.kind() == FsErrorKind::AlreadyExists && !options.exclusive => {}
                    stored => {
                        stored?;
                    }
                }
                self.open_reader(path, OpenOptions { exclusive: false, ..reading }).await
            }
            opened => opened,
        }
    }

    async fn open_writer(&self, path: &VirtualPath, options: OpenOptions) -> Result<Found<Writer>, FsError> {
        // Which of the two is needed depends on whether the file exists: `open_for_writing`.
        self.files.rights.of(path).require_any(&[Permission::Write, Permission::Overwrite])?;
        self.files.keys.mounted().may_create(path)?;
        self.files.has_room(path).await?;
        self.files.open_for_writing(path, options).await
    }

    /// Makes or empties a file, as if it were written and closed.
    async fn store_empty(&self, path: &VirtualPath, options: OpenOptions) -> Result<Found<()>, FsError> {
        let options = OpenOptions { read: false, write: true, ..options };
        match self.open_writer(path, options).await? {
            Found::Here(writer) => writer.finish().await.map(|_| Found::Here(())),
            Found::Link => Ok(Found::Link),
        }
    }

    async fn open_reader(&self, path: &VirtualPath, options: OpenOptions) -> Result<Found<OpenFile>, FsError> {
        match self.files.join_for_reading(path, options)? {
            Some(writer) => Ok(Found::Here(OpenFile::Write(writer))),
            None => Ok(self.files.open_for_reading(path, options).await?.map(OpenFile::Read)),
        }
    }

    /// What a handle for reading shows, to be copied or read through apart from the handle.
    pub fn view(&self, reader: &Reader) -> View {
        let (key, etag, size) = reader.version();
        View::of_version(self.files.place(key.clone()).base(key, etag, size), &self.files.vfs.scratch)
    }

    /// Opens a directory to list it: what is published in it, and for a user with
    /// [`lists_uploads`](tidegate_store::User::lists_uploads) what is being uploaded or was cut.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `LinkLoop`.
    pub async fn open_directory(&self, path: &VirtualPath) -> Result<Directory, FsError> {
        self.directory(path, self.files.lists_uploads).await
    }

    /// Opens a directory to list what is published in it, for any user.
    ///
    /// # Errors
    /// As [`Mount::open_directory`].
    pub async fn open_published_directory(&self, path: &VirtualPath) -> Result<Directory, FsError> {
        self.directory(path, false).await
    }

    async fn directory(&self, path: &VirtualPath, lists_uploads: bool) -> Result<Directory, FsError> {
        self.files
            .follow(path, async |path| {
                self.files.rights.inside(&path).require(Permission::List)?;
                Directory::open(Arc::clone(&self.files), &path, lists_uploads).await
            })
            .await
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `AlreadyExists`; `NotFound` if the parent directory is missing; `NoSpace` over the quota.
    pub async fn make_directory(&self, path: &VirtualPath, attributes: SetAttributes) -> Result<(), FsError> {
        self.files
            .follow(path, async |path| {
                self.files.rights.of(&path).require(Permission::Mkdir)?;
                self.files.keys.mounted().may_create(&path)?;
                self.files.has_room_for_object().await?;
                self.files.make_directory(&path, attributes).await.map(Found::Here)
            })
            .await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `DirectoryNotEmpty`; `PermissionDenied` for the root.
    pub async fn remove_directory(&self, path: &VirtualPath) -> Result<(), FsError> {
        self.files
            .follow(path, async |path| {
                self.files.rights.of(&path).require(Permission::Delete)?;
                self.files.keys.mounted().may_change(&path)?;
                self.files.remove_directory(&path).await.map(Found::Here)
            })
            .await
    }

    /// Removes a file or a symbolic link.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub async fn remove(&self, path: &VirtualPath) -> Result<(), FsError> {
        self.files
            .follow(path, async |path| {
                self.files.rights.of(&path).require(Permission::Delete)?;
                self.files.keys.mounted().may_change(&path)?;
                self.files.remove(&path).await.map(Found::Here)
            })
            .await
    }

    /// What a symbolic link says, as it was written.
    ///
    /// # Errors
    /// `NotFound`; `InvalidName` for what is no link.
    pub async fn read_link(&self, path: &VirtualPath) -> Result<Arc<str>, FsError> {
        self.files
            .follow(path, async |path| {
                self.may_look(&path)?;
                self.files.read_link(&path).await.map(Found::Here)
            })
            .await
    }

    /// Makes a symbolic link. What it leads to need not exist.
    ///
    /// # Errors
    /// `AlreadyExists`; `NotFound` if the parent directory is missing; `InvalidName` for a target that no
    /// link can have.
    pub async fn make_link(&self, target: &[u8], path: &VirtualPath) -> Result<(), FsError> {
        self.files
            .follow(path, async |path| {
                self.files.rights.of(&path).require(Permission::Symlink)?;
                self.files.keys.mounted().may_create(&path)?;
                self.files.has_room_for_object().await?;
                self.files.make_link(target, &path).await.map(Found::Here)
            })
            .await
    }

    /// Renames a file, a symbolic link, or a directory with everything below it; content and attributes
    /// stay. What this session is uploading is published under its new name. A path renamed to itself stays. Takes as long as the store takes to copy; if it ends half-way,
    /// asking again goes on.
    ///
    /// # Errors
    /// `NotFound` for the file or the target's parent directory; `AlreadyExists` if the target exists
    /// and may not be replaced, or if a file of a directory meets another one at its target;
    /// `IsADirectory` for a file onto a directory and `NotADirectory` for the reverse;
    /// `DirectoryNotEmpty`; `InvalidName` for a directory into itself, or if paths get too long;
    /// `Conflict` if files keep changing.
    pub async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: Replace) -> Result<(), FsError> {
        self.files
            .follow_two(from, to, async |from, to| {
                // A file that exists is replaced only by those who may overwrite: `rename` asks.
                for path in [&from, &to] {
                    self.files.rights.of(path).require(Permission::Rename)?;
                    self.files.keys.mounted().may_change(path)?;
                    self.files.rights.require_uniform(path)?;
                }
                self.files.keys.mounted().may_create(&to)?;
                self.files.rename(&from, &to, replace).await
            })
            .await
    }

    /// Sets attributes of a file or directory, through symbolic links. A file of another size is cut, or
    /// gets zeros at its end.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` for more zeros than the limit on holes; `Conflict` if the file changed
    /// meanwhile; `LinkLoop`.
    pub async fn set_attributes(&self, path: &VirtualPath, set: SetAttributes) -> Result<(), FsError> {
        self.files.follow(path, async |path| self.set_attributes_here(&path, set, true).await).await
    }

    /// The same for a symbolic link itself, where the path names one. There is no size to set.
    ///
    /// # Errors
    /// As [`Mount::set_attributes`]; `InvalidName` for a size.
    pub async fn set_link_attributes(&self, path: &VirtualPath, set: SetAttributes) -> Result<(), FsError> {
        if set.size.is_some() {
            return Err(FsError::new(FsErrorKind::InvalidName, "a symbolic link has no size to set"));
        }
        self.files.follow(path, async |path| self.set_attributes_here(&path, set, false).await).await
    }

    async fn set_attributes_here(
        &self,
        path: &VirtualPath,
        set: SetAttributes,
        follow: bool,
    ) -> Result<Found<()>, FsError> {
        if set.changes_metadata() || set.is_empty() {
            self.files.rights.of(path).require(Permission::SetAttributes)?;
        }
        if set.size.is_some() {
            self.files.rights.of(path).require(Permission::Overwrite)?;
        }
        self.files.keys.mounted().may_change(path)?;
        self.files.set_attributes(path, set, follow).await
    }
}

/// Who has one of these may see what is there.
const LOOK: [Permission; 3] = [Permission::List, Permission::Read, Permission::Write];

impl Files {
    /// Fails if the tenant may store nothing more: no byte, or no file at `path` where none is.
    async fn has_room(&self, path: &VirtualPath) -> Result<(), FsError> {
        let Some(usage) = &self.usage else { return Ok(()) };
        usage.refresh().await;
        usage.has_room()?;
        if usage.has_room_for_object() || self.head(&self.keys.object(path)?).await?.is_some() {
            return Ok(());
        }
        Err(usage.no_room_for_object())
    }

    /// Fails if the tenant may have no more objects.
    async fn has_room_for_object(&self) -> Result<(), FsError> {
        let Some(usage) = &self.usage else { return Ok(()) };
        usage.refresh().await;
        if usage.has_room_for_object() { Ok(()) } else { Err(usage.no_room_for_object()) }
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("home", &self.files.home)
            .field("rights", &self.files.rights)
            .finish_non_exhaustive()
    }
}
