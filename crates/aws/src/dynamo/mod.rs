//! The ports on one DynamoDB table. The schema is documented in docs/SCHEMA.md.

mod access;
mod client;
mod directory;
mod journal;
mod leases;
mod login_failures;
mod request;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use client::RetryConflicts;
pub(crate) use directory::DynamoDirectory;
pub(crate) use journal::DynamoJournal;
pub(crate) use leases::DynamoLeases;
pub(crate) use login_failures::DynamoLoginFailures;
pub(crate) use table::{check_table, create_table};
pub(crate) use usage::DynamoUsage;
