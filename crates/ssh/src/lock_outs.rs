//! Who failed to log in too often is refused for a while.
//!
//! Failures are counted by source, which is one IPv4 address or one IPv6 /64, and by source and user. A
//! connection that ends without a login counts once, however many keys it offered. After as many failures
//! of one user from one source as the settings say, that user is refused from there; after more failures
//! of any users, all of the source's connections are closed before a byte is exchanged. Each further
//! failure doubles the time, up to a bound. A login that succeeds forgets the failures of its source and
//! of its user there.
//!
//! Nobody is ever locked out for what comes from elsewhere: strangers can't keep a user out but from the
//! user's own address. Failures that meet a lock do not count, so that one program with a wrong key,
//! trying for ever, locks out itself and not all others behind the same address.
//!
//! Every failure that counts is told to the cluster in one write, whose answer has the count of all nodes.
//! So a node learns of failures elsewhere when it meets one itself: before a source is locked out on all
//! of `n` nodes, it may fail `n - 1` times more than the settings say. A source that is locked out, and a
//! login that meets no failures, cost no request. If the cluster can't be told, each node counts alone.

mod report;
mod table;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tidegate_store::{LoginFailureCounts, LoginFailures, UserName};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::accounting::LockOut;
use crate::metrics::Metrics;
use report::Report;
use table::{Key, Table};

/// Sources, and users at sources, that are remembered at once, in about 10 MiB at most.
const MAX_ENTRIES: usize = 65_536;

/// Failures that may wait to be told to the cluster.
const MAX_REPORTS: usize = 1_024;

/// When those who fail to log in are locked out (`[ssh.lock_out]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LockOutConfig {
    /// Failed connections of one user from one source after which that user is refused from there.
    /// 0 is never. Default 10.
    pub user_failures: u32,
    /// Failed connections from one source, of all users, after which it is refused. 0 is never. Default
    /// 30.
    pub source_failures: u32,
    /// How long failures count together: the cluster's counts begin anew this often. 1 min to 24 h,
    /// default 1 h.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// How long the first lock-out lasts; each further failure doubles it. At least 1 s, default 30 s.
    #[serde(with = "humantime_serde")]
    pub first: Duration,
    /// How long one lasts at most; at least `first`, at most `window`. Default 15 min.
    #[serde(with = "humantime_serde")]
    pub longest: Duration,
    /// Networks, as `address/bits`, from which nobody is locked out. Behind a load balancer that hides
    /// client addresses, name its networks. Default none.
    pub exempt_networks: Vec<IpNet>,
}

impl Default for LockOutConfig {
    fn default() -> Self {
        Self {
            user_failures: 10,
            source_failures: 30,
            window: Duration::from_secs(3600),
            first: Duration::from_secs(30),
            longest: Duration::from_secs(15 * 60),
            exempt_networks: Vec::new(),
        }
    }
}

impl LockOutConfig {
    /// How long to lock out after this many failures, of which `allowed` are too many; `None` if they are
    /// not.
    fn duration(&self, failures: u32, allowed: u32) -> Option<Duration> {
        let beyond = failures.checked_sub(allowed).filter(|_| allowed > 0)?;
        let factor = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
        Some(self.first.saturating_mul(factor).min(self.longest))
    }

    fn allowed(&self, kind: LockOut) -> u32 {
        match kind {
            LockOut::Source => self.source_failures,
            LockOut::User => self.user_failures,
        }
    }
}

/// What one IPv4 address or one IPv6 /64 has to itself (RFC 6177).
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Who is locked out on this node, and what is on the way there.
#[derive(Debug)]
pub(crate) struct LockOuts {
    config: LockOutConfig,
    metrics: Metrics,
    table: Mutex<Table>,
    reports: mpsc::Sender<Report>,
}

impl LockOuts {
    /// Tells `failures` of what fails, in a task that ends with `closed`. Must be called within a runtime.
    pub(crate) fn start(
        config: LockOutConfig,
        failures: Arc<dyn LoginFailures>,
        metrics: Metrics,
        closed: CancellationToken,
    ) -> Arc<Self> {
        let (reports, queue) = mpsc::channel(MAX_REPORTS);
        let table = Mutex::new(Table::new(MAX_ENTRIES));
        let lock_outs = Arc::new(Self { config, metrics, table, reports });
        tokio::spawn(report::run(Arc::downgrade(&lock_outs), failures, queue, closed));
        lock_outs
    }

    /// Whether all connections of a client's source are refused at the moment.
    pub(crate) fn refuses(&self, client: IpAddr) -> bool {
        self.is_locked(&Key::source(network(client)))
    }

    /// Whether a user is refused from a client's source at the moment.
    pub(crate) fn refuses_user(&self, client: IpAddr, user: &str) -> bool {
        user.parse().is_ok_and(|user| self.is_locked(&Key::user(network(client), user)))
    }

    /// A client's connection has ended after its login was refused for `user`.
    pub(crate) fn failed(&self, client: IpAddr, user: &str) {
        let source = network(client);
        if self.is_exempt(source) {
            return;
        }
        let user: Option<UserName> = user.parse().ok();
        let keys = Key::both(source, user.as_ref());
        if keys.iter().any(|(_, key)| self.is_locked(key)) {
            return;
        }
        let now = Instant::now();
        for (kind, key) in keys {
            self.count(kind, &key, now, |known| known.saturating_add(1));
        }
        self.report(Report::Failed { source, user });
    }

    /// A client has logged in.
    pub(crate) fn succeeded(&self, client: IpAddr, user: &UserName) {
        let source = network(client);
        let mut table = self.table();
        let mut knew = false;
        for (_, key) in Key::both(source, Some(user)) {
            knew |= table.remove(&key);
        }
        drop(table);
        if knew {
            self.report(Report::Succeeded { source, user: user.clone() });
        }
    }

    /// The cluster's counts after a failure here.
    fn learned(&self, source: IpAddr, user: Option<&UserName>, counts: LoginFailureCounts) {
        let now = Instant::now();
        for (kind, key) in Key::both(source, user) {
            let failures = match kind {
                LockOut::Source => counts.source,
                LockOut::User => counts.user,
            };
            if failures >= self.config.allowed(kind) {
                self.count(kind, &key, now, |known| known.max(failures));
            }
        }
    }

    /// Changes how many failures are counted, and locks out for as long as they say, unless a lock holds
    /// already: then they happened beside those that brought it.
    fn count(&self, kind: LockOut, key: &Key, now: Instant, to: impl FnOnce(u32) -> u32) {
        let mut table = self.table();
        let failures = table.count(key.clone(), now, self.config.window, to);
        self.metrics.lock_out_entries.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
        let Some(time) = self.config.duration(failures, self.config.allowed(kind)) else { return };
        if !table.lock(key, now, time) {
            return;
        }
        drop(table);
        self.metrics.locked_out(kind);
        warn!(
            "activity-type" = "ERROR",
            operation = "lock-out",
            "source-ip" = %key.source,
            user = key.user.as_ref().map(UserName::as_str),
            message = "too many logins have failed",
            failures,
            seconds = time.as_secs(),
        );
    }

    fn report(&self, report: Report) {
        if self.reports.try_send(report).is_err() {
            self.metrics.untold_login_failures.inc();
        }
    }

    fn is_locked(&self, key: &Key) -> bool {
        self.table().is_locked(key, Instant::now())
    }

    fn is_exempt(&self, source: IpAddr) -> bool {
        self.config.exempt_networks.iter().any(|network| network.contains(&source))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
