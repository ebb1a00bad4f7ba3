//! The SSH front against real clients: russh's own, and OpenSSH.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that finds something else than expected has to fail"
)]

mod authentication;
mod client;
mod commands;
mod files;
mod host_keys;
mod limits;
mod lock_outs;
mod logs;
mod misuse;
mod node;
mod openssh;
mod proxied;
mod requests;
mod revocation;
mod security_keys;
mod shutdown;
