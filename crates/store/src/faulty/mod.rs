//! An object store that fails on schedule, for tests of what must survive failures.

mod object_store;
mod plan;

pub use object_store::{FaultyObjectStore, Sleep};
pub use plan::{Call, Fault, FaultPlan, Rates};
