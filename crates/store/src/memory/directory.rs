//! The directory of tenants and users in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{lock, refuse};
use crate::access::UserChange;
use crate::account::{Account, Accounts, AuthorizedKey, Directory, Page, Status, Tenant, TenantName, User, UserName};
use crate::error::{StoreErrorKind, StoreResult};
use crate::tenant_limits::TenantLimitsChange;

/// The greatest page, in records.
const PAGE_MAX: usize = 100;

/// Tenants and users in memory. Clones share them.
#[derive(Clone)]
pub struct MemoryDirectory {
    records: Arc<Mutex<Records>>,
    page_max: usize,
}

#[derive(Default)]
struct Records {
    tenants: BTreeMap<String, Tenant>,
    users: BTreeMap<String, User>,
}

impl MemoryDirectory {
    /// No tenant and no user.
    pub fn new() -> Self {
        Self { records: Arc::default(), page_max: PAGE_MAX }
    }

    /// The same records, in pages of another size (default: 100, at least 1).
    #[must_use]
    pub fn with_page_max(mut self, records: usize) -> Self {
        self.page_max = records.max(1);
        self
    }
}

impl Default for MemoryDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = lock(&self.records);
        f.debug_struct("MemoryDirectory")
            .field("tenants", &records.tenants.len())
            .field("users", &records.users.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Accounts for MemoryDirectory {
    async fn lookup(&self, user: &UserName) -> StoreResult<Option<Arc<Account>>> {
        let records = lock(&self.records);
        Ok(records.users.get(user.as_str()).and_then(|user| {
            let tenant = records.tenants.get(user.tenant.as_str())?;
            Some(Arc::new(Account { user: user.clone(), tenant: tenant.clone() }))
        }))
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    async fn create_tenant(&self, tenant: &Tenant) -> StoreResult<()> {
        let mut records = lock(&self.records);
        if records.tenants.contains_key(tenant.name.as_str()) {
            return Err(taken("create_tenant"));
        }
        records.tenants.insert(tenant.name.to_string(), tenant.clone());
        Ok(())
    }

    async fn tenant(&self, name: &TenantName) -> StoreResult<Option<Tenant>> {
        Ok(lock(&self.records).tenants.get(name.as_str()).cloned())
    }

    async fn tenants(&self, after: Option<&str>) -> StoreResult<Page<Tenant>> {
        Ok(page(&lock(&self.records).tenants, after, self.page_max, |_| true))
    }

    async fn set_tenant_limits(&self, name: &TenantName, change: &TenantLimitsChange) -> StoreResult<()> {
        let mut records = lock(&self.records);
        let tenant = records.tenants.get_mut(name.as_str()).ok_or_else(|| missing("set_tenant_limits", "tenant"))?;
        tenant.limits = change.apply(&tenant.limits);
        Ok(())
    }

    async fn set_tenant_status(&self, name: &TenantName, status: Status) -> StoreResult<()> {
        let mut records = lock(&self.records);
        let tenant = records.tenants.get_mut(name.as_str()).ok_or_else(|| missing("set_tenant_status", "tenant"))?;
        tenant.status = status;
        Ok(())
    }

    async fn create_user(&self, user: &User) -> StoreResult<()> {
        self.create_users(&user.tenant, std::slice::from_ref(user)).await
    }

    async fn create_users(&self, tenant: &TenantName, users: &[User]) -> StoreResult<()> {
        const OPERATION: &str = "create_users";
        User::check_batch(tenant, users).map_err(|what| refuse(StoreErrorKind::InvalidRequest, OPERATION, what))?;
        let mut records = lock(&self.records);
        if !records.tenants.contains_key(tenant.as_str()) {
            return Err(missing(OPERATION, "tenant"));
        }
        if users.iter().any(|user| records.users.contains_key(user.name.as_str())) {
            return Err(taken(OPERATION));
        }
        records.users.extend(users.iter().map(|user| (user.name.to_string(), user.clone())));
        Ok(())
    }

    async fn user(&self, name: &UserName) -> StoreResult<Option<User>> {
        Ok(lock(&self.records).users.get(name.as_str()).cloned())
    }

    async fn users(&self, tenant: &TenantName, after: Option<&str>) -> StoreResult<Page<User>> {
        Ok(page(&lock(&self.records).users, after, self.page_max, |user| user.tenant == *tenant))
    }

    async fn set_user(&self, name: &UserName, change: &UserChange) -> StoreResult<()> {
        let mut records = lock(&self.records);
        change.apply(records.users.get_mut(name.as_str()).ok_or_else(|| missing("set_user", "user"))?);
        Ok(())
    }

    async fn set_user_status(&self, name: &UserName, status: Status) -> StoreResult<()> {
        let mut records = lock(&self.records);
        records.users.get_mut(name.as_str()).ok_or_else(|| missing("set_user_status", "user"))?.status = status;
        Ok(())
    }

    async fn remove_user(&self, name: &UserName) -> StoreResult<()> {
        lock(&self.records).users.remove(name.as_str()).map(drop).ok_or_else(|| missing("remove_user", "user"))
    }

    async fn add_keys(&self, name: &UserName, keys: &[AuthorizedKey]) -> StoreResult<()> {
        let mut records = lock(&self.records);
        let user = records.users.get_mut(name.as_str()).ok_or_else(|| missing("add_keys", "user"))?;
        if user.keys.iter().any(|known| keys.iter().any(|key| known.id == key.id)) {
            return Err(taken("add_keys"));
        }
        if user.keys.len() + keys.len() > User::MAX_KEYS {
            return Err(refuse(StoreErrorKind::PreconditionFailed, "add_keys", "the user has as many keys as it may"));
        }
        user.keys.extend_from_slice(keys);
        Ok(())
    }

    async fn remove_key(&self, name: &UserName, key_id: &str) -> StoreResult<()> {
        let mut records = lock(&self.records);
        let user = records.users.get_mut(name.as_str()).ok_or_else(|| missing("remove_key", "user"))?;
        let place = user.keys.iter().position(|key| key.id == key_id).ok_or_else(|| missing("remove_key", "key"))?;
        user.keys.remove(place);
        Ok(())
    }
}

fn page<T: Clone>(
    records: &BTreeMap<String, T>,
    after: Option<&str>,
    max: usize,
    wanted: impl Fn(&T) -> bool,
) -> Page<T> {
    let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = records.range::<str, _>((behind, Bound::Unbounded)).filter(|(_, record)| wanted(record)).peekable();
    let mut items = Vec::new();
    let mut last = None;
    for (name, record) in rest.by_ref().take(max) {
        items.push(record.clone());
        last = Some(name.clone());
    }
    let next = last.filter(|_| rest.peek().is_some());
    Page { items, next }
}

fn taken(operation: &'static str) -> crate::error::StoreError {
    refuse(StoreErrorKind::PreconditionFailed, operation, "there is one of that name already")
}

fn missing(operation: &'static str, what: &str) -> crate::error::StoreError {
    refuse(StoreErrorKind::NotFound, operation, format!("there is no such {what}"))
}
