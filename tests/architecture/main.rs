//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can check.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod direction;
mod documents;
mod sources;
