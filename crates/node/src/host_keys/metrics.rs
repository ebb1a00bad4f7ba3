//! What operators see of the host keys on a node.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tidegate_ssh::{HostKeySet, KeyState};

use super::refresh::Outcome;
use crate::expiry::now;

/// Gauges and counters of a node's host keys. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    keys: IntGaugeVec,
    revision: IntGauge,
    changed: IntGauge,
    checked: IntGauge,
    current: IntGauge,
    refreshes: IntCounterVec,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If one of the names is registered already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            keys: IntGaugeVec::new(
                Opts::new("tidegate_host_keys", "Host keys that the node has, by state."),
                &["state"],
            )?,
            revision: IntGauge::new(
                "tidegate_host_keys_revision",
                "Which change of the cluster's host keys the node has; nodes with different values show different keys.",
            )?,
            changed: IntGauge::new(
                "tidegate_host_keys_changed_timestamp_seconds",
                "When an administrator changed the host keys that the node has; 0 if that is not known.",
            )?,
            checked: IntGauge::new(
                "tidegate_host_keys_checked_timestamp_seconds",
                "When the node last found that it has the host keys that the store holds.",
            )?,
            current: IntGauge::new(
                "tidegate_host_keys_current",
                "1 if the last look found that the node has the host keys that the store holds, else 0.",
            )?,
            refreshes: IntCounterVec::new(
                Opts::new("tidegate_host_keys_refreshes_total", "Looks for changed host keys, by what came of them."),
                &["result"],
            )?,
        };
        for outcome in Outcome::ALL {
            metrics.refreshes.with_label_values(&[outcome.as_str()]);
        }
        registry.register(Box::new(metrics.keys.clone()))?;
        registry.register(Box::new(metrics.revision.clone()))?;
        registry.register(Box::new(metrics.changed.clone()))?;
        registry.register(Box::new(metrics.checked.clone()))?;
        registry.register(Box::new(metrics.current.clone()))?;
        registry.register(Box::new(metrics.refreshes.clone()))?;
        Ok(metrics)
    }

    /// The node has these keys now.
    pub(super) fn has(&self, keys: &HostKeySet) {
        for state in KeyState::ALL {
            self.keys.with_label_values(&[state.as_str()]).set(gauge(keys.count(state) as u64));
        }
        self.revision.set(gauge(keys.revision()));
        self.changed.set(gauge(keys.changed()));
        self.is_current();
    }

    /// What came of a look.
    pub(super) fn refreshed(&self, outcome: Outcome) {
        self.refreshes.with_label_values(&[outcome.as_str()]).inc();
        if outcome.is_current() { self.is_current() } else { self.current.set(0) }
    }

    fn is_current(&self) {
        self.current.set(1);
        self.checked.set(gauge(now()));
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
