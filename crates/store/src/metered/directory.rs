//! Counts and times the calls of a directory.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::access::UserChange;
use crate::account::{Account, Accounts, AuthorizedKey, Directory, Page, Status, Tenant, TenantName, User, UserName};
use crate::error::StoreResult;
use crate::metrics::Metrics;
use crate::tenant_limits::TenantLimitsChange;

const SERVICE: &str = "directory";

/// A directory whose calls are counted as the service `directory`.
pub struct MeteredDirectory {
    inner: Arc<dyn Directory>,
    metrics: Metrics,
}

impl MeteredDirectory {
    /// Counts the calls of `inner` in `metrics`.
    pub fn new(inner: Arc<dyn Directory>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    async fn measure<T>(
        &self,
        call: &'static str,
        running: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        self.metrics.measure(SERVICE, call, running).await
    }
}

impl fmt::Debug for MeteredDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredDirectory").field(&self.inner).finish()
    }
}

#[async_trait]
impl Accounts for MeteredDirectory {
    async fn lookup(&self, user: &UserName) -> StoreResult<Option<Arc<Account>>> {
        self.measure("lookup", self.inner.lookup(user)).await
    }
}

#[async_trait]
impl Directory for MeteredDirectory {
    async fn create_tenant(&self, tenant: &Tenant) -> StoreResult<()> {
        self.measure("create_tenant", self.inner.create_tenant(tenant)).await
    }

    async fn tenant(&self, name: &TenantName) -> StoreResult<Option<Tenant>> {
        self.measure("tenant", self.inner.tenant(name)).await
    }

    async fn tenants(&self, after: Option<&str>) -> StoreResult<Page<Tenant>> {
        self.measure("tenants", self.inner.tenants(after)).await
    }

    async fn set_tenant_limits(&self, name: &TenantName, change: &TenantLimitsChange) -> StoreResult<()> {
        self.measure("set_tenant_limits", self.inner.set_tenant_limits(name, change)).await
    }

    async fn set_tenant_status(&self, name: &TenantName, status: Status) -> StoreResult<()> {
        self.measure("set_tenant_status", self.inner.set_tenant_status(name, status)).await
    }

    async fn create_user(&self, user: &User) -> StoreResult<()> {
        self.measure("create_user", self.inner.create_user(user)).await
    }

    async fn create_users(&self, tenant: &TenantName, users: &[User]) -> StoreResult<()> {
        self.measure("create_users", self.inner.create_users(tenant, users)).await
    }

    async fn user(&self, name: &UserName) -> StoreResult<Option<User>> {
        self.measure("user", self.inner.user(name)).await
    }

    async fn users(&self, tenant: &TenantName, after: Option<&str>) -> StoreResult<Page<User>> {
        self.measure("users", self.inner.users(tenant, after)).await
    }

    async fn set_user(&self, name: &UserName, change: &UserChange) -> StoreResult<()> {
        self.measure("set_user", self.inner.set_user(name, change)).await
    }

    async fn set_user_status(&self, name: &UserName, status: Status) -> StoreResult<()> {
        self.measure("set_user_status", self.inner.set_user_status(name, status)).await
    }

    async fn remove_user(&self, name: &UserName) -> StoreResult<()> {
        self.measure("remove_user", self.inner.remove_user(name)).await
    }

    async fn add_keys(&self, name: &UserName, keys: &[AuthorizedKey]) -> StoreResult<()> {
        self.measure("add_keys", self.inner.add_keys(name, keys)).await
    }

    async fn remove_key(&self, name: &UserName, key_id: &str) -> StoreResult<()> {
        self.measure("remove_key", self.inner.remove_key(name, key_id)).await
    }
}
