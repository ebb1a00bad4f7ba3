//! The work that is timed by Criterion (`benches`) and counted in instructions (`src/bin/counted.rs`).
//!
//! Only through what the crates make public: what is measured is what a session does.

#![allow(clippy::expect_used, reason = "a benchmark fails by panicking")]

pub mod packets;
pub mod uploads;
