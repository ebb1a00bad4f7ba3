//! Which nodes live, and how many sessions each of them has: what limits over the whole cluster are
//! judged by.
//!
//! A node holds one lease and shows that it lives by raising the lease's beat. No time is kept with it:
//! who wants to know whether a node lives looks again and again, and sees by its own clock for how long
//! the beat has not changed. Counts of sessions are kept under the lease of the node that has the
//! sessions, and count for nothing once the lease is gone. So a node's death needs no clean-up, and the
//! nodes' clocks may differ by any amount.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use rand::random;
use thiserror::Error;

use crate::account::{TenantName, UserName};
use crate::error::StoreResult;

/// Names a lease: 64 random bits as 16 hexadecimal digits. A lease that has ended never comes back; its
/// node begins another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(String);

/// The text names no lease.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a lease is named by 16 hexadecimal digits in lower case")]
pub struct InvalidLeaseId;

/// A lease as it was seen or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// Raised by its holder, and by nobody else.
    pub beat: u64,
}

/// Whose sessions are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionScope {
    /// All of a tenant's.
    Tenant(TenantName),
    /// One user's.
    User(UserName),
}

/// How many sessions of a scope one node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSessions {
    /// The node's lease, which may have ended.
    pub lease: LeaseId,
    /// 0 where it has none any more: what orders its turns is kept until the lease has ended and is forgotten.
    pub sessions: u32,
}

/// The leases of a cluster's nodes, and the sessions counted under them. Every implementation passes
/// [`crate::conformance::leases`].
#[async_trait]
pub trait Leases: fmt::Debug + Send + Sync {
    /// Begins a lease, with beat 0.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn begin(&self, id: &LeaseId) -> StoreResult<()>;

    /// Raises a lease's beat to that of `lease`, which its holder has not used before; `false` if the
    /// lease has ended, and then nothing changes.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn renew(&self, lease: &Lease) -> StoreResult<bool>;

    /// Ends a lease unless its beat is another by now; whether it has ended.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn end(&self, lease: &Lease) -> StoreResult<bool>;

    /// All leases that have not ended.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn all(&self) -> StoreResult<Vec<Lease>>;

    /// Sets how many sessions of `scope` a node has, forgets those of the leases in `ended` (at most
    /// [`ENDED_MAX`]), and gives what there is then under every lease, its own included, and also those that have
    /// had sessions and have none. Calls at once take
    /// effect one behind the other: of two that raise counts, one sees both.
    ///
    /// `turn` orders the calls under one lease: one that was given up, and takes effect behind the next,
    /// changes nothing. At most [`TURN_MAX`].
    ///
    /// # Errors
    /// `PreconditionFailed` if a later turn has been; any that talking to the service may give.
    async fn hold(
        &self,
        scope: &SessionScope,
        held: &HeldSessions,
        turn: u64,
        ended: &[LeaseId],
    ) -> StoreResult<Vec<HeldSessions>>;
}

/// The last turn: a million a second for 500 years.
pub const TURN_MAX: u64 = 1 << 54;

/// How many leases that have ended one call of [`Leases::hold`] may name.
pub const ENDED_MAX: usize = 32;

impl LeaseId {
    /// A new one.
    pub fn random() -> Self {
        Self(format!("{:016x}", random::<u64>()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LeaseId {
    type Err = InvalidLeaseId;

    fn from_str(text: &str) -> Result<Self, InvalidLeaseId> {
        let is_hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() == 16 && is_hex { Ok(Self(text.to_owned())) } else { Err(InvalidLeaseId) }
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SessionScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(name) => write!(f, "tenant {name}"),
            Self::User(name) => write!(f, "user {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_ids_are_hexadecimal() {
        let id = LeaseId::random();
        assert_eq!(id.as_str().parse(), Ok(id));
        for bad in ["", "0123", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcdef0"] {
            assert_eq!(bad.parse::<LeaseId>(), Err(InvalidLeaseId), "{bad}");
        }
    }
}
