//! What operators see of SSH connections.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::accounting::{LockOut, LoginResult, Outcome, SessionCheck};

/// Counters, gauges and histograms of all connections of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) open: IntGauge,
    pub(crate) accept_errors: IntCounter,
    pub(crate) leases: IntGauge,
    pub(crate) lock_out_entries: IntGauge,
    pub(crate) untold_login_failures: IntCounter,
    connections: IntCounterVec,
    authentications: IntCounterVec,
    handshake: Histogram,
    session_checks: IntCounterVec,
    lock_outs: IntCounterVec,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If one of the names is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            open: IntGauge::new("tidegate_ssh_connections_open", "SSH connections that are open.")?,
            accept_errors: IntCounter::new(
                "tidegate_ssh_accept_errors_total",
                "Times the listener could not accept a connection, for want of file descriptors mostly.",
            )?,
            leases: IntGauge::new(
                "tidegate_ssh_session_leases",
                "Nodes whose sessions count over the cluster, as this node sees it; 0 while it counts none.",
            )?,
            lock_out_entries: IntGauge::new(
                "tidegate_ssh_lock_out_entries",
                "Sources, and users at sources, whose failed logins are remembered.",
            )?,
            untold_login_failures: IntCounter::new(
                "tidegate_ssh_login_failures_untold_total",
                "Failed logins, and successes behind some, that the other nodes could not be told of.",
            )?,
            session_checks: IntCounterVec::new(
                Opts::new(
                    "tidegate_ssh_session_checks_total",
                    "Limits on sessions that logins were held against, by result.",
                ),
                &["result"],
            )?,
            lock_outs: IntCounterVec::new(
                Opts::new(
                    "tidegate_ssh_lock_outs_total",
                    "Times that a source, or a user at a source, was locked out.",
                ),
                &["scope"],
            )?,
            connections: IntCounterVec::new(
                Opts::new("tidegate_ssh_connections_total", "SSH connections that ended or were refused, by outcome."),
                &["outcome"],
            )?,
            authentications: IntCounterVec::new(
                Opts::new(
                    "tidegate_ssh_authentications_total",
                    "Logins by result, one for each connection that tried.",
                ),
                &["result"],
            )?,
            handshake: Histogram::with_opts(
                HistogramOpts::new(
                    "tidegate_ssh_handshake_duration_seconds",
                    "From the accepted connection to the end of a successful login.",
                )
                .buckets(vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
            )?,
        };
        // Every label value is there from the start: a rate over a series that appears late loses
        // its first event.
        for outcome in Outcome::ALL {
            metrics.connections.with_label_values(&[outcome.as_str()]);
        }
        for result in LoginResult::ALL {
            metrics.authentications.with_label_values(&[result.as_str()]);
        }
        for check in SessionCheck::ALL {
            metrics.session_checks.with_label_values(&[check.as_str()]);
        }
        for lock_out in LockOut::ALL {
            metrics.lock_outs.with_label_values(&[lock_out.as_str()]);
        }
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.accept_errors.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.authentications.clone()))?;
        registry.register(Box::new(metrics.handshake.clone()))?;
        registry.register(Box::new(metrics.leases.clone()))?;
        registry.register(Box::new(metrics.lock_out_entries.clone()))?;
        registry.register(Box::new(metrics.untold_login_failures.clone()))?;
        registry.register(Box::new(metrics.session_checks.clone()))?;
        registry.register(Box::new(metrics.lock_outs.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        self.connections.with_label_values(&[outcome.as_str()]).inc();
    }

    pub(crate) fn authenticated(&self, result: LoginResult) {
        self.authentications.with_label_values(&[result.as_str()]).inc();
    }

    pub(crate) fn checked(&self, check: SessionCheck) {
        self.session_checks.with_label_values(&[check.as_str()]).inc();
    }

    pub(crate) fn locked_out(&self, lock_out: LockOut) {
        self.lock_outs.with_label_values(&[lock_out.as_str()]).inc();
    }

    pub(crate) fn handshake_took(&self, took: Duration) {
        self.handshake.observe(took.as_secs_f64());
    }
}
