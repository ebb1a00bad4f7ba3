//! What operators see of the file system.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The file system's metrics. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) write_memory: IntGauge,
    pub(crate) read_memory: IntGauge,
    pub(crate) memory_limits: IntGaugeVec,
    pub(crate) scratch_used: IntGauge,
    pub(crate) scratch_limit: IntGauge,
    pub(crate) budget_refusals: IntCounter,
    pub(crate) limited_by_session: IntCounter,
    pub(crate) limited_by_tenant: IntCounter,
    pub(crate) read_ahead_refusals: IntCounter,
    pub(crate) read_ahead_dropped: IntCounter,
    pub(crate) read_waits: IntCounter,
    pub(crate) reads_good: IntCounter,
    pub(crate) reads_corrupt: IntCounter,
    pub(crate) reads_unchecked: IntCounter,
    pub(crate) reads_waiting: IntGauge,
    pub(crate) open_readers: IntGauge,
    pub(crate) open_writers: IntGauge,
    pub(crate) parts_in_flight: IntGauge,
    pub(crate) memory_stalls: IntCounter,
    pub(crate) lane_stalls: IntCounter,
    pub(crate) published: IntCounter,
    pub(crate) upload_failures: IntCounter,
    pub(crate) uploads_yielded: IntCounter,
    pub(crate) uploads_aborted: IntCounter,
    pub(crate) abort_failures: IntCounter,
    pub(crate) uploads_cut: IntCounter,
    pub(crate) uploads_resumed: IntCounter,
    pub(crate) uploads_fenced: IntCounter,
    pub(crate) interrupted_dropped: IntCounter,
    pub(crate) unjournalled: IntCounter,
    pub(crate) drops_owed: IntGauge,
    pub(crate) drops_given_up: IntCounter,
    pub(crate) uploads_expired: IntCounter,
    pub(crate) interrupted: IntGauge,
    pub(crate) tails_removed: IntCounter,
    pub(crate) body_resumes: IntCounter,
    pub(crate) prefetches: IntGauge,
    pub(crate) prefetches_started: IntCounter,
    pub(crate) prefetches_used: IntCounter,
    pub(crate) prefetches_in_vain: IntCounter,
    pub(crate) prefetched_in_vain_bytes: IntCounter,
    pub(crate) unnameable_keys: IntCounter,
    pub(crate) listing_pages_ahead: IntCounter,
    pub(crate) quota_refusals: IntCounter,
    pub(crate) attribute_hits: IntCounter,
    pub(crate) attribute_misses: IntCounter,
    pub(crate) copies_in_flight: IntGauge,
    pub(crate) directory_renames: IntGauge,
    pub(crate) renamed_objects: IntCounter,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If one of the names is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let sides = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["side"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        let memory = sides("tidegate_vfs_memory_used_bytes", "Memory budget that is reserved, by side (write, read)")?;
        let cache = IntCounterVec::new(
            Opts::new("tidegate_vfs_attribute_cache_total", "Look-ups of attributes for listings, by result"),
            &["result"],
        )?;
        registry.register(Box::new(cache.clone()))?;
        let stalls = IntCounterVec::new(
            Opts::new(
                "tidegate_vfs_write_stalls_total",
                "Writes that had to wait, by cause: memory, or lanes (as many parts of the file as help are under way)",
            ),
            &["cause"],
        )?;
        registry.register(Box::new(stalls.clone()))?;
        let limited = IntCounterVec::new(
            Opts::new(
                "tidegate_vfs_in_flight_limited_total",
                "Times that a transfer had to do with fewer bytes in flight, by whose limit it was (session, tenant)",
            ),
            &["limit"],
        )?;
        registry.register(Box::new(limited.clone()))?;
        let checks = IntCounterVec::new(
            Opts::new(
                "tidegate_vfs_download_checks_total",
                "Files read as a whole, by what their checksum said (good, corrupt, unknown)",
            ),
            &["result"],
        )?;
        registry.register(Box::new(checks.clone()))?;
        Ok(Self {
            write_memory: memory.with_label_values(&["write"]),
            read_memory: memory.with_label_values(&["read"]),
            memory_limits: sides("tidegate_vfs_memory_limit_bytes", "Memory budget, by side (write, read)")?,
            scratch_used: gauge(
                "tidegate_vfs_scratch_used_bytes",
                "Scratch space that files being changed in place take, and what is kept there of uploads",
            )?,
            scratch_limit: gauge("tidegate_vfs_scratch_limit_bytes", "Scratch space that they may take")?,
            budget_refusals: counter(
                "tidegate_vfs_budget_refusals_total",
                "Files and writes refused because the memory budget stayed in use",
            )?,
            limited_by_session: limited.with_label_values(&["session"]),
            limited_by_tenant: limited.with_label_values(&["tenant"]),
            read_ahead_refusals: counter(
                "tidegate_vfs_read_ahead_refusals_total",
                "Times that read-ahead was left out because the file had its share of the memory budget, or it was in use",
            )?,
            read_ahead_dropped: counter(
                "tidegate_vfs_read_ahead_dropped_total",
                "Ranges read ahead that were dropped, mostly unread, because others lacked memory",
            )?,
            read_waits: counter(
                "tidegate_vfs_read_waits_total",
                "Ranges that reads waited for and that had to wait for memory first",
            )?,
            reads_waiting: gauge("tidegate_vfs_reads_waiting", "Ranges that wait for memory")?,
            reads_good: checks.with_label_values(&["good"]),
            reads_corrupt: checks.with_label_values(&["corrupt"]),
            reads_unchecked: checks.with_label_values(&["unknown"]),
            open_readers: gauge("tidegate_vfs_open_readers", "Files open for reading")?,
            open_writers: gauge("tidegate_vfs_open_writers", "Files open for writing")?,
            parts_in_flight: gauge("tidegate_vfs_parts_in_flight", "Parts of uploads under way to the store")?,
            memory_stalls: stalls.with_label_values(&["memory"]),
            lane_stalls: stalls.with_label_values(&["lanes"]),
            published: counter("tidegate_vfs_uploads_published_total", "Uploads that were published")?,
            upload_failures: counter("tidegate_vfs_uploads_failed_total", "Uploads that failed for good")?,
            uploads_yielded: counter(
                "tidegate_vfs_uploads_yielded_total",
                "Uploads that stood still and had to give their memory to a tenant that lacked its share",
            )?,
            uploads_aborted: counter(
                "tidegate_vfs_uploads_aborted_total",
                "Multipart uploads that were begun and aborted",
            )?,
            abort_failures: counter(
                "tidegate_vfs_upload_abort_failures_total",
                "Multipart uploads that could not be aborted and wait for the bucket's lifecycle rule",
            )?,
            uploads_cut: counter(
                "tidegate_vfs_uploads_cut_total",
                "Uploads that were cut with all bytes kept for their resumption",
            )?,
            uploads_resumed: counter("tidegate_vfs_uploads_resumed_total", "Uploads that were gone on with")?,
            uploads_fenced: counter(
                "tidegate_vfs_uploads_fenced_total",
                "Times that an upload was found to be another session's by now",
            )?,
            interrupted_dropped: counter(
                "tidegate_vfs_interrupted_uploads_dropped_total",
                "Uploads in the journal that were dropped for what took their place",
            )?,
            unjournalled: counter(
                "tidegate_vfs_uploads_unjournalled_total",
                "Uploads that were begun while the journal did not answer, and can't be resumed",
            )?,
            drops_owed: gauge(
                "tidegate_vfs_journal_drops_owed",
                "Uploads that this node could not drop from the journal, or look for there, and tries to drop again",
            )?,
            drops_given_up: counter(
                "tidegate_vfs_journal_drops_given_up_total",
                "Such uploads that it does not try to drop again, because there are too many",
            )?,
            uploads_expired: counter(
                "tidegate_vfs_uploads_expired_total",
                "Uploads that nobody resumed in time and that this node removed",
            )?,
            interrupted: gauge(
                "tidegate_vfs_interrupted_uploads",
                "Uploads of the whole cluster that were cut and wait to be resumed, as this node counted them when it last \
                 removed expired ones; 0 once another node's turn has come",
            )?,
            tails_removed: counter(
                "tidegate_vfs_upload_tails_removed_total",
                "Ends of uploads that no upload named any more and that this node removed",
            )?,
            body_resumes: counter(
                "tidegate_vfs_read_resumes_total",
                "Reads from the store that broke off and were asked again from there",
            )?,
            prefetches: gauge("tidegate_vfs_prefetches", "Files opened ahead of their OPEN that wait for it")?,
            prefetches_started: counter("tidegate_vfs_prefetches_started_total", "Files opened ahead of their OPEN")?,
            prefetches_used: counter("tidegate_vfs_prefetches_used_total", "Files opened ahead that were opened then")?,
            prefetches_in_vain: counter(
                "tidegate_vfs_prefetches_in_vain_total",
                "Files opened ahead that were dropped without being opened",
            )?,
            prefetched_in_vain_bytes: counter(
                "tidegate_vfs_prefetched_in_vain_bytes_total",
                "Bytes of files opened ahead that were dropped without being opened",
            )?,
            quota_refusals: counter(
                "tidegate_vfs_quota_refusals_total",
                "Requests refused because the tenant's files take as much as they may",
            )?,
            unnameable_keys: counter(
                "tidegate_vfs_unnameable_keys_total",
                "Keys left out of listings because no path can name them",
            )?,
            listing_pages_ahead: counter(
                "tidegate_vfs_listing_pages_ahead_total",
                "Pages of listings that were asked for before their turn",
            )?,
            attribute_hits: cache.with_label_values(&["hit"]),
            attribute_misses: cache.with_label_values(&["miss"]),
            copies_in_flight: gauge(
                "tidegate_vfs_copies_in_flight",
                "Copies of parts and of directories' files under way inside the store",
            )?,
            directory_renames: gauge("tidegate_vfs_directory_renames", "Directories being renamed")?,
            renamed_objects: counter(
                "tidegate_vfs_renamed_objects_total",
                "Objects that renames of directories have moved",
            )?,
        })
    }
}

/// Counts one in a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(IntGauge);

impl Counted {
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_once() {
        let registry = Registry::new();
        assert!(Metrics::register(&registry).is_ok());
        assert!(Metrics::register(&registry).is_err(), "names are taken");
    }
}
