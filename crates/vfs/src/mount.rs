//! The node's file system, and one user's view of it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use tidegate_store::{Account, ObjectStore, ObjectStores, Permission, UsageStore};

use crate::attribute_cache::AttributeCache;
use crate::attributes::{FileAttributes, SetAttributes};
use crate::config::Config;
use crate::directory::Directory;
use crate::error::FsError;
use crate::key::KeySpace;
use crate::known_directories::KnownDirectories;
use crate::metrics::Metrics;
use crate::mounted::Mounted;
use crate::path::VirtualPath;
use crate::permission::Rights;
use crate::prefetch::{Opener, Prefetch, Register, Watched};
use crate::reader::{ReadMemory, Reader, TenantMemory};
use crate::shares::{Shares, TenantShare};
use crate::usage::{Book, Counted, TenantUsage, Usage};
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
    /// Requests for the attributes of listed objects, over all listings of the node.
    pub(crate) lookups: Semaphore,
    /// Files that are open ahead of their OPEN.
    pub(crate) prefetches: Arc<Register>,
    /// Files that were stored lately.
    pub(crate) written: Arc<Written>,
    usage: Book,
}

/// Requests for attributes that all listings together have under way at once: as many directories as
/// all sessions may open would otherwise take every socket of the node.
const LOOKUPS_MAX: usize = 512;

impl Vfs {
    /// A file system over these stores, with settings that are [valid](Config::validate). Quotas are
    /// not heeded.
    pub fn new(stores: Arc<dyn ObjectStores>, config: Config, metrics: Metrics) -> Self {
        Self::build(stores, None, config, metrics)
    }

    /// The same for tenants with quotas, whose usage the nodes count together.
    pub fn with_usage(
        stores: Arc<dyn ObjectStores>,
        usage: Arc<dyn UsageStore>,
        config: Config,
        metrics: Metrics,
    ) -> Self {
        Self::build(stores, Some(usage), config, metrics)
    }

    /// Tells the counters of usage what this node has not told them yet. For its end.
    pub async fn settle_usage(&self) {
        self.shared.usage.settle().await;
    }

    fn build(
        stores: Arc<dyn ObjectStores>,
        usage: Option<Arc<dyn UsageStore>>,
        config: Config,
        metrics: Metrics,
    ) -> Self {
        let write_shares = Shares::new(config.write_budget(), metrics.write_memory.clone());
        let read_memory = ReadMemory::new(config.read_budget(), config.budget_wait, metrics.clone());
        for (side, total) in [("write", write_shares.total()), ("read", read_memory.total())] {
            metrics.memory_limits.with_label_values(&[side]).set(i64::try_from(total).unwrap_or(i64::MAX));
        }
        let prefetches = Arc::new(Register::new(metrics.clone()));
        let usage = Book::new(usage, metrics.quota_refusals.clone());
        let attributes = AttributeCache::new(config.attribute_cache_entries, config.directory_life, metrics.clone());
        Self {
            shared: Arc::new(Shared {
                stores,
                config,
                metrics,
                write_shares,
                read_memory,
                attributes,
                lookups: Semaphore::new(LOOKUPS_MAX),
                prefetches,
                written: Arc::default(),
                usage,
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
        let usage = vfs.usage.tenant(&account.tenant, &store);
        let store: Arc<dyn ObjectStore> = match &usage {
            None => store,
            Some(usage) => Arc::new(Counted::new(store, Arc::clone(usage))),
        };
        let store: Arc<dyn ObjectStore> =
            Arc::new(Watched::new(store, bucket.clone(), vfs.prefetches.clone(), vfs.written.clone()));
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
        let known = KnownDirectories::new(vfs.config.directory_life);
        let files = Files { vfs, store, bucket, keys, rights, home, usage, read_memory, write_share, known, prefetch };
        Ok(Mount { files: Arc::new(files) })
    }
}

/// What OPEN asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Open for reading.
    pub read: bool,
    /// Open for writing. A file that is open for both is a [`Writer`].
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
    /// `None` for a tenant without a quota.
    usage: Option<Arc<TenantUsage>>,
    /// The tenant's view of the memory for uploads.
    pub(crate) write_share: TenantShare,
    pub(crate) known: KnownDirectories,
    pub(crate) prefetch: Prefetch,
}

impl Mount {
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

    /// Attributes of a file or directory. Symbolic links are shown as themselves.
    ///
    /// # Errors
    /// `NotFound`; any other that the store gives.
    pub async fn stat(&self, path: &VirtualPath) -> Result<FileAttributes, FsError> {
        let seen = [Permission::List, Permission::Read, Permission::Write];
        if !self.files.rights.inside(path).has_any(&seen) {
            self.files.rights.of(path).require_any(&seen)?;
        }
        self.files.stat(path).await
    }

    /// Attributes of a file, directory or symbolic link.
    ///
    /// # Errors
    /// As [`Mount::stat`].
    pub async fn lstat(&self, path: &VirtualPath) -> Result<FileAttributes, FsError> {
        self.stat(path).await
    }

    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` for a missing file or parent directory; `AlreadyExists`; `IsADirectory`;
    /// `PermissionDenied`; `NoSpace` over the quota; `Unsupported` for writing into a file that has content without `truncate`;
    /// `TooLarge` if the size that is announced can't be stored.
    pub async fn open(&self, path: &VirtualPath, options: OpenOptions) -> Result<OpenFile, FsError> {
        if options.write || options.append {
            // Which of the two is needed depends on whether the file exists: `open_for_writing`.
            self.files.rights.of(path).require_any(&[Permission::Write, Permission::Overwrite])?;
            self.files.keys.mounted().may_create(path)?;
            self.files.has_room(path).await?;
            self.files.open_for_writing(path, options).await.map(OpenFile::Write)
        } else {
            self.files.rights.of(path).require(Permission::Read)?;
            self.files.open_for_reading(path, options).await.map(OpenFile::Read)
        }
    }

    /// Opens a directory to list it.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    pub async fn open_directory(&self, path: &VirtualPath) -> Result<Directory, FsError> {
        self.files.rights.inside(path).require(Permission::List)?;
        Directory::open(Arc::clone(&self.files), path).await
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `AlreadyExists`; `NotFound` if the parent directory is missing; `NoSpace` over the quota.
    pub async fn make_directory(&self, path: &VirtualPath, attributes: SetAttributes) -> Result<(), FsError> {
        self.files.rights.of(path).require(Permission::Mkdir)?;
        self.files.keys.mounted().may_create(path)?;
        if let Some(usage) = &self.files.usage {
            usage.refresh().await;
            if !usage.has_room_for_object() {
                return Err(usage.no_room_for_object());
            }
        }
        self.files.make_directory(path, attributes).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `DirectoryNotEmpty`; `PermissionDenied` for the root.
    pub async fn remove_directory(&self, path: &VirtualPath) -> Result<(), FsError> {
        self.files.rights.of(path).require(Permission::Delete)?;
        self.files.keys.mounted().may_change(path)?;
        self.files.remove_directory(path).await
    }

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub async fn remove(&self, path: &VirtualPath) -> Result<(), FsError> {
        self.files.rights.of(path).require(Permission::Delete)?;
        self.files.keys.mounted().may_change(path)?;
        self.files.remove(path).await
    }

    /// Renames a file; its content and attributes stay. A path renamed to itself stays.
    ///
    /// # Errors
    /// `NotFound` for the file or the target's parent directory; `AlreadyExists` if the target exists
    /// and may not be replaced; `IsADirectory` if it is a directory; `Unsupported` for directories and
    /// for files over 5 GiB.
    pub async fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: Replace) -> Result<(), FsError> {
        // A file that exists is replaced only by those who may overwrite: `rename` asks.
        for path in [from, to] {
            self.files.rights.of(path).require(Permission::Rename)?;
            self.files.keys.mounted().may_change(path)?;
            self.files.rights.require_uniform(path)?;
        }
        self.files.keys.mounted().may_create(to)?;
        self.files.rename(from, to, replace).await
    }

    /// Sets attributes of a file or directory. A size equal to the file's changes nothing; 0 empties
    /// the file.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` for any other size and for files over 5 GiB; `Conflict` if the file
    /// changed meanwhile.
    pub async fn set_attributes(&self, path: &VirtualPath, set: SetAttributes) -> Result<(), FsError> {
        if set.changes_metadata() || set.is_empty() {
            self.files.rights.of(path).require(Permission::SetAttributes)?;
        }
        if set.size.is_some() {
            self.files.rights.of(path).require(Permission::Overwrite)?;
        }
        self.files.keys.mounted().may_change(path)?;
        self.files.set_attributes(path, set).await
    }
}

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
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("home", &self.files.home)
            .field("rights", &self.files.rights)
            .finish_non_exhaustive()
    }
}
