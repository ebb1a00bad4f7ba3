//! What the sessions of one tenant share, for as long as it has any.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tidegate_store::TenantName;

/// One of these for each tenant that has a session.
#[derive(Debug)]
pub(crate) struct PerTenant<T>(Mutex<HashMap<TenantName, Weak<T>>>);

impl<T> PerTenant<T> {
    /// That of a tenant, made anew if none of its sessions has it.
    pub(crate) fn of(&self, tenant: &TenantName, make: impl FnOnce() -> T) -> Arc<T> {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tenants.get(tenant).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let own = Arc::new(make());
            tenants.retain(|_, tenant| tenant.strong_count() > 0);
            tenants.insert(tenant.clone(), Arc::downgrade(&own));
            own
        })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl<T> Default for PerTenant<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
