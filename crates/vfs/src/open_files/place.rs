//! Where an open file belongs.

use std::sync::{Arc, OnceLock};

use tidegate_store::{ETag, ObjectKey, ObjectStore, limits};

use crate::edit::{Base, Edit};
use crate::journal::Uploads;
use crate::reader::TenantMemory;
use crate::shares::TenantShare;
use crate::usage::TenantUsage;
use crate::vfs::Shared;
use crate::writer::Memory;

/// Where a file's bytes go to and come from.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) vfs: Arc<Shared>,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The file's name when it was opened.
    pub(crate) key: ObjectKey,
    pub(crate) read_memory: TenantMemory,
    pub(crate) write_share: TenantShare,
    pub(crate) uploads: Arc<Uploads>,
    /// `None` for a tenant without a quota.
    pub(crate) usage: Option<Arc<TenantUsage>>,
}

impl Place {
    /// A version of the file as what changes begin with.
    pub(crate) fn base(&self, key: ObjectKey, etag: ETag, size: u64) -> Arc<Base> {
        Arc::new(Base {
            vfs: Arc::clone(&self.vfs),
            store: Arc::clone(&self.store),
            memory: self.read_memory.clone(),
            key,
            etag,
            size,
            reader: OnceLock::new(),
        })
    }

    pub(super) fn memory(&self) -> Memory {
        let vfs = &self.vfs;
        Memory::new(self.write_share.writer(), vfs.config.budget_wait, vfs.metrics.budget_refusals.clone())
    }

    pub(super) fn edit(&self, base: Option<Arc<Base>>, base_end: u64) -> Box<Edit> {
        Box::new(Edit::new(base, base_end, &self.vfs.scratch, self.memory(), self.vfs.config.hole_max.as_u64()))
    }

    /// What the store copies at least: the least size of a part.
    pub(super) fn copy_min(&self) -> u64 {
        self.vfs.config.part_size.as_u64().min(limits::PART_MIN)
    }
}
