//! Sessions over memory, packet by packet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, unreachable_pub, reason = "tests")]

mod checks;
mod client;
mod commands;
mod copies;
mod ends;
mod extensions;
mod files;
mod in_place;
mod links;
mod order;
mod paused;
mod throttled;
