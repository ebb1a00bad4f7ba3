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
mod copies;
mod crowd;
mod dependencies;
mod dev;
mod drain;
mod files;
mod greedy;
mod host_keys;
mod import;
mod libraries;
mod limits;
mod metrics;
mod mounts;
mod names;
mod oracle;
mod other_clients;
mod packets;
mod paused;
mod pipelines;
mod programs;
mod proxied;
mod rclone;
mod scp;
mod ssh_front;
mod store_corruption;
mod store_faults;
mod store_requests;
mod tenant_isolation;
mod transfers;
mod users;
