//! The store: the index and the bodies together, and the one lock that orders all writes.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, TransactionBehavior};

use super::bodies::{Bodies, BodyId, Pinned};
use super::failure::Failure;
use super::index::{self, ContentId, Extent, OpenError};
use crate::data_folder::DataFolder;

/// Index and bodies. Methods block on the file system; [`Store::run`] calls them from async code.
#[derive(Debug)]
pub(crate) struct Store {
    index: Mutex<Connection>,
    bodies: Arc<Bodies>,
    _folder: Arc<DataFolder>,
}

/// What was found when the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Body files that nothing referred to: of requests that the end of the process cut off.
    pub(crate) bodies_removed: u64,
}

impl Store {
    /// Opens or creates the store at `path` in the data folder.
    pub(crate) fn open(path: &Path, folder: Arc<DataFolder>) -> Result<(Arc<Self>, Swept), OpenError> {
        let index = index::open(&path.join("index.sqlite"))?;
        let (bodies, bodies_removed) = Bodies::open(path.join("bodies"), |body| index::is_referenced(&index, body))
            .map_err(|source| OpenError::Sweep { path: path.join("bodies"), source: Box::new(source) })?;
        let store = Self { index: Mutex::new(index), bodies, _folder: folder };
        Ok((Arc::new(store), Swept { bodies_removed }))
    }

    pub(crate) fn bodies(&self) -> &Arc<Bodies> {
        &self.bodies
    }

    /// Runs blocking work on the store where it may block. It runs to its end even if the caller
    /// goes away, as a request that S3 has received does.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let store = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(|_| Failure::TaskEnded)?
    }

    /// Looks something up.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        look(&self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks up bytes, and pins the bodies that hold them before any writer can remove them.
    pub(crate) fn read_pinned<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<(T, ContentId, Range<u64>), Failure>,
    ) -> Result<(T, Vec<Extent>, Pinned), Failure> {
        self.read(|index| {
            let (found, content, range) = look(index)?;
            let extents = index::extents(index, content, &range)?;
            let pinned = self.bodies.pin(extents.iter().map(|extent| extent.body).collect());
            Ok((found, extents, pinned))
        })
    }

    /// Changes the index in one transaction, all or nothing. The change adds the bodies it leaves
    /// without a reference to the list it is given; they are removed once it is committed.
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&Connection, &mut Vec<BodyId>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut unused = Vec::new();
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = change(&transaction, &mut unused)?;
        transaction.commit()?;
        let removable = self.bodies.discard(unused);
        drop(index);
        self.bodies.remove(&removable);
        Ok(result)
    }

    /// As [`Store::write`], for a change that refers to pinned bodies again, which a writer may
    /// have given up since they were pinned.
    pub(crate) fn write_reviving<T>(
        &self,
        pinned: &[Extent],
        change: impl FnOnce(&Connection, &mut Vec<BodyId>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let bodies: Vec<BodyId> = pinned.iter().map(|extent| extent.body).collect();
        self.write(|index, unused| {
            let result = change(index, unused)?;
            // Before the commit: should it fail, the sweep at the next start finds what stays.
            self.bodies.revive(&bodies);
            Ok(result)
        })
    }
}
