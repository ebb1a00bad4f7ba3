//! The node's file system: what all sessions share, and what each has of its own.

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::{
    Account, Journal, ObjectStore, ObjectStores, Permission, StoreResult, Tenant, UsageStore, UserName,
};
use tokio::sync::Semaphore;

use crate::attribute_cache::AttributeCache;
use crate::config::Config;
use crate::copying::{Copier, CopyRoom};
use crate::directory::boundaries::Boundaries;
use crate::edit::Scratch;
use crate::error::FsError;
use crate::hidden::Hidden;
use crate::in_flight::TenantsInFlight;
use crate::journal::{BoundedJournal, Life, Owed, Owners, Sweeps, Uploads};
use crate::key::KeySpace;
use crate::known_directories::KnownDirectories;
use crate::lookups::{Lookups, TenantLookups};
use crate::metrics::Metrics;
use crate::mount::Mount;
use crate::mounted::Mounted;
use crate::open_files::{OpenEverywhere, OpenFiles};
use crate::path::VirtualPath;
use crate::permission::Rights;
use crate::prefetch::{Opener, Prefetch, Register, Watched};
use crate::reader::{ReadMemory, TenantMemory};
use crate::seen_links::SeenLinks;
use crate::shares::{Shares, TenantShare};
use crate::usage::{Book, Counted, TenantUsage};
use crate::written::Written;

/// The file system of a node: settings, memory budget and caches that all sessions share.
#[derive(Clone, Debug)]
pub struct Vfs {
    shared: Arc<Shared>,
}

/// The durable services that a file system needs.
#[derive(Clone, Debug)]
pub struct Services {
    /// Where the files lie.
    pub stores: Arc<dyn ObjectStores>,
    /// The counters of tenants with quotas; without them quotas are not heeded.
    pub usage: Option<Arc<dyn UsageStore>>,
    /// The journal of uploads; without it every upload ends with its session.
    pub journal: Option<Arc<dyn Journal>>,
}

/// What all mounts of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    stores: Arc<dyn ObjectStores>,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    write_shares: Shares,
    read_memory: ReadMemory,
    in_flight: TenantsInFlight,
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
    journal: Option<Arc<dyn Journal>>,
    /// What the journal is to be told once it answers.
    owed: Arc<Owed>,
    /// Which uploads in the journal its sessions have.
    owners: Arc<Owners>,
    /// How far the reaper has looked for what the journal does not name.
    sweeps: Sweeps,
    /// Symbolic links that were seen lately.
    pub(crate) links: Arc<SeenLinks>,
    usage: Book,
    /// What all sessions have open for writing.
    pub(crate) open_everywhere: Arc<OpenEverywhere>,
}

/// Pages of names that all listings together have ahead. A page takes 0.2 MiB where names are short,
/// and 1.2 where all are as long as they may be.
const PAGES_AHEAD_MAX: usize = 48;

impl Vfs {
    /// A file system over these stores, with settings that are [valid](Config::validate). Quotas are
    /// not heeded.
    pub fn new(stores: Arc<dyn ObjectStores>, config: Config, metrics: Metrics) -> Self {
        Self::over(Services { stores, usage: None, journal: None }, config, metrics)
    }

    /// Tells the counters of usage what this node has not told them yet. For its end.
    pub async fn settle_usage(&self) {
        self.shared.usage.settle().await;
    }

    /// Tells the journal which uploads are to go that it was not told of yet. For its end: without an answer it
    /// takes for ever.
    pub async fn settle_journal(&self) {
        self.shared.owed.settle().await;
    }

    /// A file system over these services, with settings that are [valid](Config::validate).
    pub fn over(services: Services, config: Config, metrics: Metrics) -> Self {
        let Services { stores, usage, journal } = services;
        let journal = journal.map(|journal| Arc::new(BoundedJournal::new(journal)) as Arc<dyn Journal>);
        let write_shares = Shares::new(config.write_budget(), metrics.write_memory.clone());
        let read_memory = ReadMemory::new(config.read_budget(), config.budget_wait, metrics.clone());
        for (side, total) in [("write", write_shares.total()), ("read", read_memory.total())] {
            metrics.memory_limits.with_label_values(&[side]).set(i64::try_from(total).unwrap_or(i64::MAX));
        }
        let prefetches = Arc::new(Register::new(metrics.clone()));
        let usage = Book::new(usage, metrics.quota_refusals.clone());
        let attributes = AttributeCache::new(config.attribute_cache_entries, config.directory_life, metrics.clone());
        let owed = Owed::new(metrics.clone());
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
                in_flight: TenantsInFlight::default(),
                attributes,
                lookups: Lookups::new(),
                boundaries: Boundaries::default(),
                pages_ahead: Arc::new(Semaphore::new(PAGES_AHEAD_MAX)),
                prefetches,
                written: Arc::default(),
                scratch,
                copies: CopyRoom::default(),
                journal,
                owed,
                owners: Arc::default(),
                sweeps: Sweeps::default(),
                links: Arc::default(),
                usage,
                open_everywhere: Arc::default(),
            }),
        }
    }

    pub(crate) fn journal(&self) -> Option<Arc<dyn Journal>> {
        self.shared.journal.clone()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn sweeps(&self) -> &Sweeps {
        &self.shared.sweeps
    }

    pub(crate) fn upload_age_max(&self) -> Duration {
        self.shared.config.upload_age_max
    }

    /// Where a tenant's files lie, for no session.
    pub(crate) async fn store_of(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
        self.shared.stores.open(tenant).await
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
            Some(usage) => Arc::new(Counted::new(store, Arc::clone(usage), Hidden::beside(&account.tenant.prefix))),
        };
        let store: Arc<dyn ObjectStore> = Arc::new(Watched::new(
            store,
            bucket.clone(),
            vfs.prefetches.clone(),
            vfs.written.clone(),
            vfs.links.clone(),
        ));
        let keys = KeySpace::new(Mounted::new(&account.tenant.prefix, &account.user.mappings)?);
        let rights = Rights::new(account.user.permissions.clone(), &account.user.rules);
        let session_max = vfs.config.session_in_flight_max.map(|max| max.as_u64());
        let limits = (session_max, account.tenant.limits.max_in_flight);
        let in_flight = vfs.in_flight.session(&account.tenant.name, limits, &vfs.metrics);
        let read_memory = vfs.read_memory.of(account.tenant.name.clone(), in_flight.clone());
        let write_share = vfs.write_shares.tenant(account.tenant.name.clone(), in_flight);
        let prefetch = if rights.has_anywhere(Permission::List) && rights.has_anywhere(Permission::Read) {
            let (vfs, store, memory) = (vfs.clone(), store.clone(), read_memory.clone());
            Prefetch::new(Opener { vfs, store, memory, bucket: bucket.clone(), keys: keys.clone() })
        } else {
            Prefetch::off()
        };
        let lookups = vfs.lookups.of(&account.tenant.name);
        let known = KnownDirectories::new(vfs.config.directory_life);
        let open_files = OpenFiles::among(Arc::clone(&vfs.open_everywhere), bucket.clone());
        let user = account.user.name.clone();
        let uploads = vfs.uploads(Arc::clone(&store), &account.tenant, user.clone());
        let files = Files {
            user,
            vfs,
            store,
            bucket,
            keys,
            rights,
            home,
            usage,
            read_memory,
            write_share,
            lookups,
            known,
            prefetch,
            open_files,
            uploads,
            lists_uploads: account.user.lists_uploads,
        };
        Ok(Mount::of(files))
    }
}

/// What a mount's requests work on.
pub(crate) struct Files {
    pub(crate) user: UserName,
    pub(crate) vfs: Arc<Shared>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) read_memory: TenantMemory,
    pub(crate) bucket: String,
    pub(crate) keys: KeySpace,
    pub(crate) rights: Rights,
    pub(crate) home: VirtualPath,
    /// `None` for a tenant without a quota.
    pub(crate) usage: Option<Arc<TenantUsage>>,
    /// The tenant's view of the memory for uploads.
    pub(crate) write_share: TenantShare,
    /// Requests for the attributes of listed objects.
    pub(crate) lookups: TenantLookups,
    pub(crate) known: KnownDirectories,
    pub(crate) prefetch: Prefetch,
    /// What the session has open for writing.
    pub(crate) open_files: OpenFiles,
    pub(crate) uploads: Arc<Uploads>,
    /// Whether READDIR shows files that are being uploaded or were cut.
    pub(crate) lists_uploads: bool,
}

impl Shared {
    /// A tenant's uploads, in this store and for this user.
    fn uploads(&self, store: Arc<dyn ObjectStore>, tenant: &Tenant, user: UserName) -> Arc<Uploads> {
        let of = (tenant.name.clone(), user);
        let life = Life { idle: self.config.upload_life, whole: self.config.upload_age_max };
        let node = (Arc::clone(&self.owed), Arc::clone(&self.owners));
        Uploads::new(self.journal.clone(), store, of, Hidden::beside(&tenant.prefix), life, node)
    }

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

#[cfg(test)]
impl Shared {
    /// That of a node without files.
    pub(crate) fn of_test() -> Arc<Self> {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let stores = Arc::new(tidegate_store::memory::MemoryObjectStores::new());
        Vfs::new(stores, Config::default(), metrics).shared
    }

    pub(crate) fn read_memory_of_test(&self) -> TenantMemory {
        self.read_memory.of("test".parse().unwrap(), crate::in_flight::InFlight::unlimited())
    }
}
