//! Multipart uploads that are given up.

use std::time::Duration;

use tidegate_store::{ObjectKey, StoreResult};

use crate::metrics::Metrics;

/// How long an abort may take; what it leaves behind falls to the bucket's lifecycle rule.
const ABORT_WAIT: Duration = Duration::from_secs(60);

/// Waits for an upload under `key` to be aborted, but not for ever, and counts and logs how it ended.
pub(crate) async fn abort(key: &ObjectKey, metrics: &Metrics, aborted: impl Future<Output = StoreResult<()>>) {
    let reason = match tokio::time::timeout(ABORT_WAIT, aborted).await {
        Ok(Ok(())) => {
            metrics.uploads_aborted.inc();
            return;
        }
        Ok(Err(error)) => error.report(),
        Err(_) => "it took too long".to_owned(),
    };
    metrics.abort_failures.inc();
    tracing::warn!(%key, error = reason, "an upload could not be aborted; its parts stay until the bucket's lifecycle rule removes them");
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tidegate_store::{StoreError, StoreErrorKind};

    use super::*;

    async fn counted(aborted: impl Future<Output = StoreResult<()>>) -> (u64, u64) {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        abort(&ObjectKey::new("k").unwrap(), &metrics, aborted).await;
        (metrics.uploads_aborted.get(), metrics.abort_failures.get())
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_is_counted_by_how_it_ends_and_ends_in_any_case() {
        assert_eq!(counted(async { Ok(()) }).await, (1, 0));
        let failed = async { Err(StoreError::new(StoreErrorKind::AccessDenied, "abort_upload")) };
        assert_eq!(counted(failed).await, (0, 1));
        assert_eq!(counted(std::future::pending()).await, (0, 1));
    }
}
