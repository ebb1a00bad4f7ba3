//! One role that a node takes for each tenant apart, with a session policy that leaves that
//! tenant's files alone of what the role may do: a mistake of ours in a key can then not reach
//! another tenant's files, for S3 itself refuses it.
//!
//! Source: AWS STS API Reference, AssumeRole; AWS IAM User Guide, "Policies and permissions in
//! IAM", session policies.

mod config;
mod credentials;
mod policy;
mod probe;
mod stores;
#[cfg(test)]
mod tests;

pub use config::TenantRole;
pub(crate) use probe::probe;
pub(crate) use stores::TenantBuckets;
