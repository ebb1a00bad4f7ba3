//! Failed logins, counted over all nodes.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::account::UserName;
use crate::error::StoreResult;

/// How many logins have failed in the window of time that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginFailureCounts {
    /// From the source, whoever was named.
    pub source: u32,
    /// From the source, of the user who was named; 0 if none was.
    pub user: u32,
}

/// Counts failed logins by where they came from. Windows follow one another without overlap, and the
/// clock of the store alone tells which one runs: the nodes' clocks have no part in it.
///
/// A source is one IPv4 address, or the first address of an IPv6 /64. Every implementation passes
/// [`crate::conformance::login_failures`].
#[async_trait]
pub trait LoginFailures: fmt::Debug + Send + Sync {
    /// Counts one more failed login, and gives the counts after it. One whose answer was lost may be
    /// counted twice.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn add(&self, source: IpAddr, user: Option<&UserName>, window: Duration) -> StoreResult<LoginFailureCounts>;

    /// Sets the source's count to zero, and that of one of its users.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn forget(&self, source: IpAddr, user: &UserName, window: Duration) -> StoreResult<()>;
}
