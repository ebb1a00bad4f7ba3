//! An object store and leases that fail on schedule, for tests of what must survive failures.

mod leases;
mod object_store;
mod plan;

pub use leases::FaultyLeases;
pub use object_store::{FaultyObjectStore, Sleep};
pub use plan::{Call, Fault, FaultPlan, Rates};
