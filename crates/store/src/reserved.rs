//! What lies among a tenant's objects and is none of its files.

use crate::account::KeyPrefix;

/// The name at the top of a tenant's files below which the server keeps objects of its own.
pub const RESERVED: &str = ".tidegate";

impl KeyPrefix {
    /// What the keys of those objects begin with. They take no room of the tenant's quota.
    pub fn reserved(&self) -> String {
        format!("{}{RESERVED}/", self.as_str())
    }
}
