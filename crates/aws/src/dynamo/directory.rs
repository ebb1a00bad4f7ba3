//! The operations on tenants, users and keys.

use std::collections::HashMap;
use std::fmt;
use std::iter;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_store::{
    Account, Accounts, AuthorizedKey, Directory, Page, Status, StoreErrorKind, StoreResult, Tenant, TenantLimitsChange,
    TenantName, User, UserChange, UserName,
};

use super::access;
use super::request::{Table, Update, absent, present};
use super::schema::{
    ItemKey, TENANTS, entry, key_value, limits_update, now_position, number, status_word, tenant_item, tenant_of, text,
    user_item, user_of, users_of,
};
use crate::error::own_error;

/// Tenants, users and their keys in one table.
#[derive(Clone)]
pub(crate) struct DynamoDirectory {
    table: Table,
}

impl DynamoDirectory {
    pub(crate) fn new(client: Client, table: &str) -> Self {
        Self { table: Table::new(client, table) }
    }

    async fn read_user(&self, name: &UserName, operation: &'static str) -> StoreResult<Option<User>> {
        let item = self.table.get(&ItemKey::user(name), operation).await?;
        item.map(|item| user_of(&item, operation)).transpose()
    }

    async fn read_tenant(&self, name: &TenantName, operation: &'static str) -> StoreResult<Option<Tenant>> {
        let item = self.table.get(&ItemKey::tenant(name), operation).await?;
        item.map(|item| tenant_of(&item, operation)).transpose()
    }

    async fn set_status(&self, key: ItemKey, status: Status, operation: &'static str) -> StoreResult<()> {
        let update = Update {
            expression: "SET #status = :status".into(),
            condition: Some("attribute_exists(pk)"),
            names: HashMap::from([("#status", "status".to_owned())]),
            values: HashMap::from([(":status", text(status_word(status)))]),
        };
        match self.table.update(&key, update, operation).await?.held {
            true => Ok(()),
            false => Err(own_error(StoreErrorKind::NotFound, operation, key, "there is no such item")),
        }
    }
}

impl fmt::Debug for DynamoDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDirectory").field("table", &self.table.name()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Accounts for DynamoDirectory {
    async fn lookup(&self, name: &UserName) -> StoreResult<Option<Arc<Account>>> {
        const OPERATION: &str = "lookup";
        // One after the other, as the user's item names the tenant. The tenant is not copied into
        // its users' items: then disabling it would have to reach all of them.
        let Some(user) = self.read_user(name, OPERATION).await? else { return Ok(None) };
        let tenant = self.read_tenant(&user.tenant, OPERATION).await?;
        Ok(tenant.map(|tenant| Arc::new(Account { user, tenant })))
    }
}

#[async_trait]
impl Directory for DynamoDirectory {
    async fn create_tenant(&self, tenant: &Tenant) -> StoreResult<()> {
        const OPERATION: &str = "create tenant";
        let writes = [
            self.table.put(tenant_item(tenant), absent()),
            self.table.put(entry(&ItemKey::tenant_entry(&tenant.name)), None),
        ];
        match self.table.transact(writes, OPERATION).await?.first() {
            Some(0) => Err(own_error(StoreErrorKind::PreconditionFailed, OPERATION, &tenant.name, "the name is taken")),
            _ => Ok(()),
        }
    }

    async fn tenant(&self, name: &TenantName) -> StoreResult<Option<Tenant>> {
        self.read_tenant(name, "tenant").await
    }

    async fn tenants(&self, after: Option<&str>) -> StoreResult<Page<Tenant>> {
        const OPERATION: &str = "tenants";
        let names = self.table.sort_keys(TENANTS, after, OPERATION).await?;
        let keys = names.items.iter().map(|name| Ok(ItemKey::tenant(&parsed(name, OPERATION)?)));
        let items = self.table.get_all(keys.collect::<StoreResult<_>>()?, OPERATION).await?;
        let mut items: Vec<_> = items.iter().map(|item| tenant_of(item, OPERATION)).collect::<StoreResult<_>>()?;
        items.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Page { items, next: names.next })
    }

    async fn set_tenant_limits(&self, name: &TenantName, change: &TenantLimitsChange) -> StoreResult<()> {
        const OPERATION: &str = "set tenant limits";
        let exists = match limits_update(change) {
            Some(update) => self.table.update(&ItemKey::tenant(name), update, OPERATION).await?.held,
            None => self.read_tenant(name, OPERATION).await?.is_some(),
        };
        match exists {
            true => Ok(()),
            false => Err(own_error(StoreErrorKind::NotFound, OPERATION, name, "there is no such tenant")),
        }
    }

    async fn set_tenant_status(&self, name: &TenantName, status: Status) -> StoreResult<()> {
        self.set_status(ItemKey::tenant(name), status, "set tenant status").await
    }

    async fn create_user(&self, user: &User) -> StoreResult<()> {
        self.create_users(&user.tenant, std::slice::from_ref(user)).await
    }

    async fn create_users(&self, tenant: &TenantName, users: &[User]) -> StoreResult<()> {
        const OPERATION: &str = "create users";
        User::check_batch(tenant, users)
            .map_err(|what| own_error(StoreErrorKind::InvalidRequest, OPERATION, tenant, what))?;
        let puts = users.iter().flat_map(|user| {
            let entry = entry(&ItemKey::user_entry(tenant, &user.name));
            [self.table.put(user_item(user), absent()), self.table.put(entry, None)]
        });
        let check = self.table.check(&ItemKey::tenant(tenant), present());
        match self.table.transact(iter::once(check).chain(puts), OPERATION).await?.first() {
            None => Ok(()),
            Some(0) => Err(own_error(StoreErrorKind::NotFound, OPERATION, tenant, "there is no such tenant")),
            Some(place) => {
                // Two writes for each, behind the check.
                let name = users.get((place - 1) / 2).map_or(tenant.as_str(), |user| user.name.as_str());
                Err(own_error(StoreErrorKind::PreconditionFailed, OPERATION, name, "the name is taken"))
            }
        }
    }

    async fn user(&self, name: &UserName) -> StoreResult<Option<User>> {
        self.read_user(name, "user").await
    }

    async fn users(&self, tenant: &TenantName, after: Option<&str>) -> StoreResult<Page<User>> {
        const OPERATION: &str = "users";
        let names = self.table.sort_keys(&users_of(tenant), after, OPERATION).await?;
        let keys = names.items.iter().map(|name| Ok(ItemKey::user(&parsed(name, OPERATION)?)));
        let items = self.table.get_all(keys.collect::<StoreResult<_>>()?, OPERATION).await?;
        let mut items: Vec<_> = items.iter().map(|item| user_of(item, OPERATION)).collect::<StoreResult<_>>()?;
        // Made anew under another tenant between the two reads.
        items.retain(|user| user.tenant == *tenant);
        items.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Page { items, next: names.next })
    }

    async fn set_user(&self, name: &UserName, change: &UserChange) -> StoreResult<()> {
        const OPERATION: &str = "set user";
        let exists = match access::update(change) {
            Some(update) => self.table.update(&ItemKey::user(name), update, OPERATION).await?.held,
            None => self.read_user(name, OPERATION).await?.is_some(),
        };
        match exists {
            true => Ok(()),
            false => Err(own_error(StoreErrorKind::NotFound, OPERATION, name, "there is no such user")),
        }
    }

    async fn set_user_status(&self, name: &UserName, status: Status) -> StoreResult<()> {
        self.set_status(ItemKey::user(name), status, "set user status").await
    }

    async fn remove_user(&self, name: &UserName) -> StoreResult<()> {
        const OPERATION: &str = "remove user";
        let missing = || own_error(StoreErrorKind::NotFound, OPERATION, name, "there is no such user");
        let user = self.read_user(name, OPERATION).await?.ok_or_else(missing)?;
        let writes = [
            self.table.delete(&ItemKey::user(name), present()),
            self.table.delete(&ItemKey::user_entry(&user.tenant, name), None),
        ];
        match self.table.transact(writes, OPERATION).await?.first() {
            Some(0) => Err(missing()),
            _ => Ok(()),
        }
    }

    async fn add_keys(&self, name: &UserName, keys: &[AuthorizedKey]) -> StoreResult<()> {
        const OPERATION: &str = "add keys";
        let refuse = |kind, what: &'static str| Err(own_error(kind, OPERATION, name, what));
        let Some(room) = User::MAX_KEYS.checked_sub(keys.len()) else {
            return refuse(StoreErrorKind::PreconditionFailed, TOO_MANY_KEYS);
        };
        if keys.is_empty() {
            return Ok(());
        }
        let values: Vec<_> = (now_position()..).zip(keys).map(|(position, key)| key_value(key, position)).collect();
        let each = |part: fn(usize) -> String| (0..keys.len()).map(part).collect::<Vec<_>>();
        let mut condition = vec!["attribute_exists(pk) AND size(#keys) <= :room".to_owned()];
        condition.extend(each(|n| format!("attribute_not_exists(#keys.#id{n})")));
        let mut update = Update::<String> {
            expression: format!("SET {}", each(|n| format!("#keys.#id{n} = :key{n}")).join(", ")).into(),
            condition: Some(condition.join(" AND ")),
            names: HashMap::from([("#keys".to_owned(), "keys".to_owned())]),
            values: HashMap::from([(":room".to_owned(), number(room))]),
        };
        for (n, (key, value)) in keys.iter().zip(&values).enumerate() {
            update.names.insert(format!("#id{n}"), key.id.clone());
            update.values.insert(format!(":key{n}"), value.clone());
        }
        let updated = self.table.update(&ItemKey::user(name), update, OPERATION).await?;
        if updated.held {
            return Ok(());
        }
        let Some(item) = self.table.get(&ItemKey::user(name), OPERATION).await? else {
            return refuse(StoreErrorKind::NotFound, "there is no such user");
        };
        let mut stored = keys.iter().zip(&values).map(|(key, value)| (stored_key(&item, &key.id), value));
        // The first of several attempts took effect: no other writer has these positions.
        if updated.repeated && stored.clone().all(|(stored, value)| stored == Some(value)) {
            return Ok(());
        }
        match stored.any(|(stored, _)| stored.is_some()) {
            true => refuse(StoreErrorKind::PreconditionFailed, "a key is there already"),
            false => refuse(StoreErrorKind::PreconditionFailed, TOO_MANY_KEYS),
        }
    }

    async fn remove_key(&self, name: &UserName, key_id: &str) -> StoreResult<()> {
        const OPERATION: &str = "remove key";
        let update = Update {
            expression: "REMOVE #keys.#id".into(),
            condition: Some("attribute_exists(#keys.#id)"),
            names: HashMap::from([("#keys", "keys".to_owned()), ("#id", key_id.to_owned())]),
            values: HashMap::new(),
        };
        let updated = self.table.update(&ItemKey::user(name), update, OPERATION).await?;
        // Repeated: gone is what was asked for, whoever did it.
        match updated.held || updated.repeated {
            true => Ok(()),
            false => Err(own_error(StoreErrorKind::NotFound, OPERATION, name, "there is no such user or key")),
        }
    }
}

const TOO_MANY_KEYS: &str = "the user has as many keys as a user may have";

fn stored_key<'a>(item: &'a super::schema::Item, id: &str) -> Option<&'a AttributeValue> {
    item.get("keys")?.as_m().ok()?.get(id)
}

fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    name: &str,
    operation: &'static str,
) -> StoreResult<T> {
    name.parse().map_err(|error: T::Err| own_error(StoreErrorKind::Corrupt, operation, "entry", error))
}
