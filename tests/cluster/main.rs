//! Several real nodes behind a real balancer, as one server.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod addresses;
mod chaos;
mod drain;
mod fleet;
mod history;
mod load;
#[allow(dead_code, reason = "what the end-to-end tests need besides")]
#[path = "../e2e/oracle.rs"]
mod oracle;
mod resume;
mod rolling;
