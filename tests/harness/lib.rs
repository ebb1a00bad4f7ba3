//! Starts real nodes, emulators and clients for the end-to-end tests, and ends them again.
//!
//! Every wait has a limit, every process is ended by its own handle, every port is one that the
//! system picked on the loopback address, and every file lies in a folder of the test's own. What
//! a process printed is shown when the test that started it fails.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness fails its test by panicking, with a message that names what was missing"
)]

mod binary;
mod client;
mod cluster;
mod digest;
mod emulator;
mod haproxy;
mod http;
mod lftp;
mod node;
mod openssh;
mod process;
mod proxy;
mod rclone;
mod wait;

pub use binary::{python, repository_root, tidegate, tidegate_path};
pub use client::{Output, Unfinished, run_client, try_client};
pub use cluster::Cluster;
pub use digest::{random_bytes, sha256_of_file, write_random_file};
pub use emulator::{DevStore, Moto, S3Access};
pub use haproxy::{Check, Haproxy, Server};
pub use http::get;
pub use lftp::Lftp;
pub use node::{Login, Node, Ready};
pub use openssh::{Ssh, keygen};
pub use process::Process;
pub use proxy::{Fault, FaultProxy, Kind, Seen, When};
pub use rclone::Rclone;
pub use wait::{until, until_ok};
