//! Implementations of every port in memory, for tests: as strict as the services they stand for.

mod bucket;
mod data_keys;
mod directory;
mod journal;
mod leases;
mod listing;
mod login_failures;
mod multipart;
mod object_store;
mod usage;

pub use data_keys::MemoryDataKeys;
pub use directory::MemoryDirectory;
pub use journal::MemoryJournal;
pub use leases::MemoryLeases;
pub use login_failures::MemoryLoginFailures;
pub use object_store::{MemoryObjectStore, MemoryObjectStores};
pub use usage::MemoryUsage;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{StoreError, StoreErrorKind};

/// Locks a fake's state. A test that panicked while it held the lock has failed already; the
/// state itself is changed only by whole steps.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of this kind, with the reason as its source.
fn refuse(kind: StoreErrorKind, operation: &'static str, reason: impl Into<String>) -> StoreError {
    StoreError::new(kind, operation).with_source(reason.into())
}

#[cfg(test)]
mod tests;
