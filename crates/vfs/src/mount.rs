//! The node's file system, and one user's view of it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use tidegate_store::{Account, ObjectStore, ObjectStores, Permission};

use crate::attribute_cache::AttributeCache;
use crate::attributes::{FileAttributes, FileKind, SetAttributes};
use crate::config::Config;
use crate::copying::{Copier, CopyRoom};
use crate::directory::Directory;
use crate::directory::boundaries::Boundaries;
use crate::edit::Scratch;
use crate::error::{FsError, FsErrorKind};
use crate::key::KeySpace;
use crate::known_directories::KnownDirectories;
use crate::links::{Found, may_be_link};
use crate::lookups::{Lookups, TenantLookups};
use crate::metrics::Metrics;
use crate::mounted::Mounted;
use crate::open_files::OpenFiles;
use crate::path::VirtualPath;
use crate::permission::Rights;
use crate::prefetch::{Opener, Prefetch, Register, Watched};
use crate::reader::{ReadMemory, Reader, TenantMemory};
use crate::seen_links::SeenLinks;
use crate::shares::{Shares, TenantShare};
use crate::writer::Writer;
use crate::written::Written;

/// The file system of a node: settings, memory budget and caches that all sessions share.
#[derive(Clone, Debug)]
pub struct Vfs {
    shared: Arc<Shared>,
}

/// What all mounts of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    stores: Arc<dyn ObjectStores>,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    write_shares: Shares,
    read_memory: ReadMemory,
    pub(crate) attributes: AttributeCache,
    lookups: Lookups,
    /// Where the pages of large directories begin.
    pub(crate) boundaries: Boundaries,
    /// Pages that all listings have ahead of the ones being read.
    pub(crate) pages_ahead: Arc<Semaphore>,
    /// Files that are open ahead of their OPEN.
    pub(crate) prefetches: Arc<Register>,
    /// Files that were stored lately.
    pub(crate) written: Arc<Written>,
    /// Where files that are changed in place wait for their CLOSE.
    pub(crate) scratch: Scratch,
    copies: CopyRoom,
    /// Symbolic links that were seen lately.
    pub(crate) links: Arc<SeenLinks>,
}

/// Pages of names that all listings together have ahead. A page takes 0.2 MiB where names are short,
/// and 1.2 where all are as long as they may be.
const PAGES_AHEAD_MAX: usize = 48;

impl Vfs {
    /// A file system over these stores, with settings that are [valid](Config::validate).
    pub fn new(stores: Arc<dyn ObjectStores>, config: Config, metrics: Metrics) -> Self {
        let write_shares = Shares::new(config.write_budget(), metrics.write_memory.clone());
        let read_memory = ReadMemory::new(config.read_budget(), config.budget_wait, metrics.clone());
        for (side, total) in [("write", write_shares.total()), ("read", read_memory.total())] {
            metrics.memory_limits.with_label_values(&[side]).set(i64::try_from(total).unwrap_or(i64::MAX));
        }
        let prefetches = Arc::new(Register::new(metrics.clone()));
        let attributes = AttributeCache::new(config.attribute_cache_entries, config.directory_life, metrics.clone());
        let scratch_limit = config.scratch_limit.as_u64();
        metrics.scratch_limit.set(i64::try_from(scratch_limit).unwrap_or(i64::MAX));
        let scratch = Scratch::new(config.scratch_folder(), scratch_limit, metrics.scratch_used.clone());
        Self {
            shared: Arc::new(Shared {
                stores,
                config,
                metrics,
                write_shares,
                read_memory,
                attributes,
                lookups: Lookups::new(),
                boundaries: Boundaries::default(),
                pages_ahead: Arc::new(Semaphore::new(PAGES_AHEAD_MAX)),
                prefetches,
                written: Arc::default(),
                scratch,
                copies: CopyRoom::default(),
                links: Arc::default(),
            }),
        }
    }

    /// The files of an account's tenant as its user may see them.
    ///
    /// # Errors
    /// `PermissionDenied` or `Unavailable` if the tenant's store can't be opened; `InvalidName` if
    /// the account's home, or where something is mounted for it, is no path.
    pub async fn mount(&self, account: &Account) -> Result<Mount, FsError> {
        let home = VirtualPath::resolve(&VirtualPath::root(), account.user.home.as_bytes())?;
        let (vfs, bucket) = (Arc::clone(&self.shared), account.tenant.bucket.clone());
        let store = vfs.stores.open(&account.tenant).await?;
        let store: Arc<dyn ObjectStore> = Arc::new(Watched::new(
            store,
            bucket.clone(),
            vfs.prefetches.clone(),
            vfs.written.clone(),
            vfs.links.clone(),
        ));
        let keys = KeySpace::new(Mounted::new(&account.tenant.prefix, &account.user.mappings)?);
        let rights = Rights::new(account.user.permissions.clone(), &account.user.rules);
        let read_memory = vfs.read_memory.of(account.tenant.name.clone());
        let write_share = vfs.write_shares.tenant(account.tenant.name.clone());
        let prefetch = if rights.has_anywhere(Permission::List) && rights.has_anywhere(Permission::Read) {
            let (vfs, store, memory) = (vfs.clone(), store.clone(), read_memory.clone());
            Prefetch::new(Opener { vfs, store, memory, bucket: bucket.clone(), keys: keys.clone() })
        } else {
            Prefetch::off()
        };
        let lookups = vfs.lookups.of(&account.tenant.name);
        let known = KnownDirectories::new(vfs.config.directory_life);
        let open_files = OpenFiles::default();
        let files = Files {
            vfs,
            store,
            bucket,
            keys,
            rights,
            home,
            read_memory,
            write_share,
            lookups,
            known,
            prefetch,
            open_files,
        };
        Ok(Mount { files: Arc::new(files) })
    }
}

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

/// What a mount's requests work on.
pub(crate) struct Files {
    pub(crate) vfs: Arc<Shared>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) read_memory: TenantMemory,
    pub(crate) bucket: String,
    pub(crate) keys: KeySpace,
    pub(crate) rights: Rights,
    home: VirtualPath,
    /// The tenant's view of the memory for uploads.
    pub(crate) write_share: TenantShare,
    /// Requests for the attributes of listed objects.
    pub(crate) lookups: TenantLookups,
    pub(crate) known: KnownDirectories,
    pub(crate) prefetch: Prefetch,
    /// What the session has open for writing.
    pub(crate) open_files: OpenFiles,
}

impl Shared {
    /// For the copies of one request.
    pub(crate) fn copier(&self, store: &Arc<dyn ObjectStore>) -> Copier {
        Copier::new(Arc::clone(store), self.copies.clone(), &self.config, &self.metrics)
    }
}

impl Files {
    /// For the copies of one request.
    pub(crate) fn copier(&self) -> Copier {
        self.vfs.copier(&self.store)
    }
}

impl Mount {
    /// Where the user's sessions start.
    pub fn home(&self) -> &VirtualPath {
        &self.files.home
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

    /// Opens a file; a symbolic link opens what it leads to.
    ///
    /// # Errors
    /// `NotFound` for a missing file or parent directory; `AlreadyExists`; `IsADirectory`;
    /// `PermissionDenied`; `TooLarge` if the size that is announced can't be stored; `LinkLoop`.
    pub async fn open(&self, path: &VirtualPath, options: OpenOptions) -> Result<OpenFile, FsError> {
        self.files.follow(path, async |path| self.open_here(&path, options).await).await
    }

    async fn open_here(&self, path: &VirtualPath, options: OpenOptions) -> Result<Found<OpenFile>, FsError> {
        if options.write || options.append {
            // Which of the two is needed depends on whether the file exists: `open_for_writing`.
            self.files.rights.of(path).require_any(&[Permission::Write, Permission::Overwrite])?;
            self.files.keys.mounted().may_create(path)?;
            Ok(self.files.open_for_writing(path, options).await?.map(OpenFile::Write))
        } else {
            self.files.rights.of(path).require(Permission::Read)?;
            match self.files.join_for_reading(path, options)? {
                Some(writer) => Ok(Found::Here(OpenFile::Write(writer))),
                None => Ok(self.files.open_for_reading(path, options).await?.map(OpenFile::Read)),
            }
        }
    }

    /// Opens a directory to list it.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `LinkLoop`.
    pub async fn open_directory(&self, path: &VirtualPath) -> Result<Directory, FsError> {
        self.files
            .follow(path, async |path| {
                self.files.rights.inside(&path).require(Permission::List)?;
                Directory::open(Arc::clone(&self.files), &path).await
            })
            .await
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `AlreadyExists`; `NotFound` if the parent directory is missing.
    pub async fn make_directory(&self, path: &VirtualPath, attributes: SetAttributes) -> Result<(), FsError> {
        self.files
            .follow(path, async |path| {
                self.files.rights.of(&path).require(Permission::Mkdir)?;
                self.files.keys.mounted().may_create(&path)?;
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

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("home", &self.files.home)
            .field("rights", &self.files.rights)
            .finish_non_exhaustive()
    }
}
