//! Uploads that were cut, and what becomes of them: on the same node or another.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod announced;
mod cluster;
mod dropped;
mod fenced;
#[path = "../harness/mod.rs"]
mod harness;
mod listed;
mod owed;
mod owners;
mod reaped;
mod resumed;
mod scripted;
mod synced;
