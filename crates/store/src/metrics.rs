//! What the decorators count.

use std::time::{Duration, Instant};

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::error::{StoreErrorKind, StoreResult};

/// Upper bounds of the latency histogram, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The metrics of the decorators. Clones count into the same ones.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    read: IntCounter,
    written: IntCounter,
    pub(crate) cache_hits: IntCounter,
    pub(crate) cache_misses: IntCounter,
    pub(crate) cache_entries: IntGauge,
    pub(crate) tenant_hits: IntCounter,
    pub(crate) tenant_misses: IntCounter,
    pub(crate) tenant_entries: IntGauge,
}

impl Metrics {
    /// Makes the metrics and adds them to `registry`:
    ///
    /// - `tidegate_store_requests_total{service,call,result}`: calls of a port, by method;
    ///   `result` is `ok`, a [`StoreErrorKind`] or `cancelled`. A body that breaks while it
    ///   streams counts as the call `get_body`.
    /// - `tidegate_store_request_duration_seconds{service,call}`: their latency; for `get` to the
    ///   first byte.
    /// - `tidegate_store_bytes_total{direction}`: bytes of objects, `read` or `written`.
    /// - `tidegate_store_account_cache_lookups_total{result}`: `hit` or `miss`.
    /// - `tidegate_store_account_cache_entries`: accounts and unknown names in the cache.
    /// - `tidegate_store_tenant_cache_lookups_total{result}`: sessions that opened a tenant's store by
    ///   credentials of the tenant's own; `hit` or `miss`.
    /// - `tidegate_store_tenant_cache_entries`: such stores in the cache.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("tidegate_store_requests_total", "Requests to durable services, by result."),
            &["service", "call", "result"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "tidegate_store_request_duration_seconds",
                "Latency of requests to durable services; of a get, to its first byte.",
            )
            .buckets(SECONDS.into()),
            &["service", "call"],
        )?;
        let bytes = IntCounterVec::new(
            Opts::new("tidegate_store_bytes_total", "Bytes of objects read from and written to the object store."),
            &["direction"],
        )?;
        let lookups = IntCounterVec::new(
            Opts::new("tidegate_store_account_cache_lookups_total", "Lookups of accounts, by whether the cache knew."),
            &["result"],
        )?;
        let cache_entries =
            IntGauge::new("tidegate_store_account_cache_entries", "Accounts and unknown user names in the cache.")?;
        let tenant_lookups = IntCounterVec::new(
            Opts::new(
                "tidegate_store_tenant_cache_lookups_total",
                "Openings of tenants' stores, by whether the cache had one with credentials.",
            ),
            &["result"],
        )?;
        let tenant_entries = IntGauge::new(
            "tidegate_store_tenant_cache_entries",
            "Tenants' stores in the cache, with credentials each.",
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(lookups.clone()))?;
        registry.register(Box::new(cache_entries.clone()))?;
        registry.register(Box::new(tenant_lookups.clone()))?;
        registry.register(Box::new(tenant_entries.clone()))?;
        Ok(Self {
            requests,
            duration,
            read: bytes.with_label_values(&["read"]),
            written: bytes.with_label_values(&["written"]),
            cache_hits: lookups.with_label_values(&["hit"]),
            cache_misses: lookups.with_label_values(&["miss"]),
            cache_entries,
            tenant_hits: tenant_lookups.with_label_values(&["hit"]),
            tenant_misses: tenant_lookups.with_label_values(&["miss"]),
            tenant_entries,
        })
    }

    /// Counts a call of a service, also if its future is dropped, and takes its time.
    pub async fn measure<T>(
        &self,
        service: &'static str,
        call: &'static str,
        running: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        let mut request = Request { metrics: self, service, call, result: "cancelled", began: Instant::now() };
        let result = running.await;
        request.result = result.as_ref().map_or_else(|error| error.kind().as_str(), |_| "ok");
        result
    }

    pub(crate) fn broken_body(&self, service: &'static str, kind: StoreErrorKind) {
        self.requests.with_label_values(&[service, "get_body", kind.as_str()]).inc();
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.read.inc_by(bytes as u64);
    }

    pub(crate) fn written(&self, bytes: u64) {
        self.written.inc_by(bytes);
    }
}

/// A running request: counted when it ends, also when its future is dropped.
struct Request<'a> {
    metrics: &'a Metrics,
    service: &'static str,
    call: &'static str,
    result: &'static str,
    began: Instant,
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let took: Duration = self.began.elapsed();
        self.metrics.requests.with_label_values(&[self.service, self.call, self.result]).inc();
        self.metrics.duration.with_label_values(&[self.service, self.call]).observe(took.as_secs_f64());
    }
}
