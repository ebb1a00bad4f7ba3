//! Decorators that count and time every call of a port.

mod data_keys;
mod directory;
mod journal;
mod leases;
mod object_store;
mod usage;

pub use data_keys::MeteredDataKeys;
pub use directory::MeteredDirectory;
pub use journal::MeteredJournal;
pub use leases::{MeteredLeases, MeteredLoginFailures};
pub use object_store::{MeteredObjectStore, MeteredObjectStores};
pub use usage::MeteredUsage;
