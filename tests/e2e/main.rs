//! Real clients against real nodes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod cluster;
mod configuration;
mod dev;
mod drain;
mod files;
mod metrics;
mod names;
mod oracle;
mod other_clients;
mod packets;
mod pipelines;
mod rclone;
mod ssh_front;
mod transfers;
mod users;
