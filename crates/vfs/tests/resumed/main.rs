//! Uploads that were cut, and what becomes of them: on the same node or another.

mod cluster;
mod dropped;
#[path = "../harness/mod.rs"]
mod harness;
mod owners;
mod resumed;
mod synced;
