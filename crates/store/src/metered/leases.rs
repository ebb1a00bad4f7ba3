//! Counts and times the calls of leases and of the counts of failed logins.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::account::UserName;
use crate::error::StoreResult;
use crate::leases::{HeldSessions, Lease, LeaseId, Leases, SessionScope};
use crate::login_failures::{LoginFailureCounts, LoginFailures};
use crate::metrics::Metrics;

const LEASES: &str = "leases";
const LOGIN_FAILURES: &str = "login_failures";

/// Leases whose calls are counted as the service `leases`.
pub struct MeteredLeases {
    inner: Arc<dyn Leases>,
    metrics: Metrics,
}

/// Counts of failed logins whose calls are counted as the service `login_failures`.
pub struct MeteredLoginFailures {
    inner: Arc<dyn LoginFailures>,
    metrics: Metrics,
}

impl MeteredLeases {
    /// Counts the calls of `inner` in `metrics`.
    pub fn new(inner: Arc<dyn Leases>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl MeteredLoginFailures {
    /// Counts the calls of `inner` in `metrics`.
    pub fn new(inner: Arc<dyn LoginFailures>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl fmt::Debug for MeteredLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredLeases").field(&self.inner).finish()
    }
}

impl fmt::Debug for MeteredLoginFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredLoginFailures").field(&self.inner).finish()
    }
}

#[async_trait]
impl Leases for MeteredLeases {
    async fn begin(&self, id: &LeaseId) -> StoreResult<()> {
        self.metrics.measure(LEASES, "begin", self.inner.begin(id)).await
    }

    async fn renew(&self, lease: &Lease) -> StoreResult<bool> {
        self.metrics.measure(LEASES, "renew", self.inner.renew(lease)).await
    }

    async fn end(&self, lease: &Lease) -> StoreResult<bool> {
        self.metrics.measure(LEASES, "end", self.inner.end(lease)).await
    }

    async fn all(&self) -> StoreResult<Vec<Lease>> {
        self.metrics.measure(LEASES, "all", self.inner.all()).await
    }

    async fn hold(
        &self,
        scope: &SessionScope,
        held: &HeldSessions,
        turn: u64,
        ended: &[LeaseId],
    ) -> StoreResult<Vec<HeldSessions>> {
        self.metrics.measure(LEASES, "hold", self.inner.hold(scope, held, turn, ended)).await
    }
}

#[async_trait]
impl LoginFailures for MeteredLoginFailures {
    async fn add(&self, source: IpAddr, user: Option<&UserName>, window: Duration) -> StoreResult<LoginFailureCounts> {
        self.metrics.measure(LOGIN_FAILURES, "add", self.inner.add(source, user, window)).await
    }

    async fn forget(&self, source: IpAddr, user: &UserName, window: Duration) -> StoreResult<()> {
        self.metrics.measure(LOGIN_FAILURES, "forget", self.inner.forget(source, user, window)).await
    }
}
