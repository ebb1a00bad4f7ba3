//! The fakes in memory and every decorator over them pass the suite that real services pass, and
//! the suite finds what it is to find.
#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

mod broken;
mod decorators;
mod deviations;
mod memory;
