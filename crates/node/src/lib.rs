//! The binary `tidegate`: command line, configuration, composition, side port, drain, telemetry.

pub mod access;
pub mod admin;
mod atomic_file;
pub mod build_info;
pub mod cli;
pub mod commands;
pub mod compose;
pub mod config;
pub mod dev;
pub mod expiry;
mod file_limit;
mod guarded_stores;
pub mod host_keys;
pub mod import;
pub mod limits;
pub mod readiness;
mod run;
pub mod shutdown;
pub mod telemetry;

pub use run::{RunError, main};
