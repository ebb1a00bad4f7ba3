//! [`tidegate_store::Directory`] on one DynamoDB table. The schema is documented in docs/SCHEMA.md.

mod access;
mod client;
mod directory;
mod request;
mod schema;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use client::RetryConflicts;
pub(crate) use directory::DynamoDirectory;
pub(crate) use table::{check_table, create_table};
