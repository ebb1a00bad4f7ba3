//! What operators see of SFTP sessions.

use std::time::Duration;

use prometheus::{
    Counter, CounterVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Counters and histograms of all sessions of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) sessions: IntGauge,
    pub(crate) handles: IntGauge,
    pub(crate) queued: IntGauge,
    pub(crate) malformed: IntCounter,
    pub(crate) write_stalls: IntCounter,
    pub(crate) bytes_in: IntCounter,
    pub(crate) bytes_out: IntCounter,
    pub(crate) throttled_in: Counter,
    pub(crate) throttled_out: Counter,
    refused_handles: IntCounterVec,
    operations: IntCounterVec,
    seconds: HistogramVec,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If one of the names is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let bytes = IntCounterVec::new(
            Opts::new("tidegate_sftp_bytes_total", "File bytes moved for clients, by direction."),
            &["direction"],
        )?;
        let throttled = CounterVec::new(
            Opts::new(
                "tidegate_sftp_throttled_seconds_total",
                "Time that sessions waited for bandwidth, their own or their tenant's, by direction.",
            ),
            &["direction"],
        )?;
        let metrics = Self {
            sessions: IntGauge::new("tidegate_sftp_sessions", "SFTP sessions that are open.")?,
            handles: IntGauge::new("tidegate_sftp_handles", "Files and directories that are open.")?,
            queued: IntGauge::new(
                "tidegate_sftp_queued_bytes",
                "What requests that wait, and answers beyond sftp.output_buffer, take in all sessions.",
            )?,
            malformed: IntCounter::new(
                "tidegate_sftp_malformed_packets_total",
                "Packets that could not be decoded; each ended its session.",
            )?,
            write_stalls: IntCounter::new(
                "tidegate_sftp_write_stalls_total",
                "Times a session was not read from because a WRITE waited for memory.",
            )?,
            bytes_in: bytes.with_label_values(&["in"]),
            bytes_out: bytes.with_label_values(&["out"]),
            throttled_in: throttled.with_label_values(&["in"]),
            throttled_out: throttled.with_label_values(&["out"]),
            refused_handles: IntCounterVec::new(
                Opts::new(
                    "tidegate_sftp_refused_handles_total",
                    "Files and directories that were not opened because too many were open already, by limit.",
                ),
                &["limit"],
            )?,
            operations: IntCounterVec::new(
                Opts::new("tidegate_sftp_operations_total", "Requests answered, by operation and result."),
                &["operation", "result"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "tidegate_sftp_operation_duration_seconds",
                    "From the arrival of a request to its answer, by operation.",
                )
                .buckets(vec![
                    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
                ]),
                &["operation"],
            )?,
        };
        registry.register(Box::new(metrics.sessions.clone()))?;
        registry.register(Box::new(metrics.handles.clone()))?;
        registry.register(Box::new(metrics.queued.clone()))?;
        registry.register(Box::new(metrics.malformed.clone()))?;
        registry.register(Box::new(metrics.write_stalls.clone()))?;
        registry.register(Box::new(bytes))?;
        registry.register(Box::new(throttled))?;
        for limit in ["directories", "session", "tenant"] {
            metrics.refused_handles.with_label_values(&[limit]);
        }
        registry.register(Box::new(metrics.refused_handles.clone()))?;
        registry.register(Box::new(metrics.operations.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn handle_refused(&self, limit: &'static str) {
        self.refused_handles.with_label_values(&[limit]).inc();
    }

    pub(crate) fn answered(&self, operation: &'static str, result: &'static str, took: Duration) {
        self.operations.with_label_values(&[operation, result]).inc();
        self.seconds.with_label_values(&[operation]).observe(took.as_secs_f64());
    }
}
