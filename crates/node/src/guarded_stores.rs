//! Keeps tenants away from the host keys. `tenant add` refuses a tenant whose files would include
//! them, but only if the administrator's configuration names the place that the nodes use, and the
//! table may be written by other means: the node itself must not hand out the store.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_store::{ObjectStore, ObjectStores, StoreError, StoreErrorKind, StoreResult, Tenant};
use tracing::error;

use crate::host_keys;

/// Opens no store to a tenant among whose files the host keys lie.
#[derive(Debug)]
pub(crate) struct GuardedObjectStores {
    inner: Arc<dyn ObjectStores>,
    host_keys: host_keys::Config,
}

impl GuardedObjectStores {
    pub(crate) fn new(inner: Arc<dyn ObjectStores>, host_keys: host_keys::Config) -> Self {
        Self { inner, host_keys }
    }
}

#[async_trait]
impl ObjectStores for GuardedObjectStores {
    /// # Errors
    /// `AccessDenied` too if the tenant's files include the host keys.
    async fn open(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
        if !self.host_keys.lie_within(tenant) {
            return self.inner.open(tenant).await;
        }
        // Told here, where the remedy is known; whoever asked knows only that it is refused.
        error!(
            tenant = %tenant.name,
            bucket = tenant.bucket,
            prefix = %tenant.prefix,
            "host-keys-key" = self.host_keys.key,
            "the tenant's files include the host keys, so its users get no session: copy the object to a place that \
             no tenant's prefix covers, and set host_keys.bucket and host_keys.key to it on every node"
        );
        Err(StoreError::new(StoreErrorKind::AccessDenied, "open")
            .with_source("the tenant's prefix covers the host keys' object"))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_store::memory::MemoryObjectStores;
    use tidegate_store::{Status, TenantLimits};

    use super::*;

    fn tenant(bucket: &str, prefix: &str) -> Tenant {
        Tenant {
            name: "acme".parse().unwrap(),
            status: Status::Active,
            bucket: bucket.to_owned(),
            prefix: prefix.parse().unwrap(),
            limits: TenantLimits::default(),
            created: 0,
        }
    }

    #[tokio::test]
    async fn a_tenant_whose_files_include_the_host_keys_gets_no_store() {
        let place = host_keys::Config { bucket: Some("main".to_owned()), ..host_keys::Config::default() };
        let stores = GuardedObjectStores::new(Arc::new(MemoryObjectStores::new()), place);
        for prefix in ["", "tidegate/"] {
            let error = stores.open(&tenant("main", prefix)).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::AccessDenied, "{prefix:?}");
        }
        for (bucket, prefix) in [("main", "tenants/acme/"), ("main", "tide/"), ("other", ""), ("other", "tidegate/")] {
            assert!(stores.open(&tenant(bucket, prefix)).await.is_ok(), "{bucket} {prefix:?}");
        }
    }

    #[tokio::test]
    async fn the_log_says_what_to_change() {
        let lines = crate::telemetry::Recorded::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _log = tracing::subscriber::set_default(subscriber);
        let place = host_keys::Config { bucket: Some("main".to_owned()), ..host_keys::Config::default() };
        let stores = GuardedObjectStores::new(Arc::new(MemoryObjectStores::new()), place);
        assert!(stores.open(&tenant("main", "")).await.is_err());
        let text = lines.text();
        assert!(text.contains("ERROR") && text.contains("acme") && text.contains("set host_keys.bucket"), "{text}");
    }
}
