//! Items and what they mean; docs/SCHEMA.md is their manual.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_store::{
    AuthorizedKey, LeaseId, LimitChange, ObjectKey, SessionScope, Status, StoreError, StoreErrorKind, Tenant,
    TenantLimits, TenantLimitsChange, TenantName, User, UserName,
};

use super::access;
use super::request::Update;
use crate::error::own_error;

/// The attributes of an item.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key of every item.
pub(super) const PK: &str = "pk";
/// The sort key of every item.
pub(super) const SK: &str = "sk";
/// When DynamoDB removes an item by itself, in seconds since the Unix epoch.
pub(super) const TTL: &str = "ttl";
/// The version of an item's format.
pub(super) const VERSION: &str = "v";
const FIRST: &str = "1";
/// Of a user with rules or mappings: a node that does not know them must not let the user in.
pub(super) const WITH_ACCESS: &str = "2";

/// A tenant's limits, each of which may be missing.
const MAX_BANDWIDTH_IN: &str = "max_bandwidth_in";
const MAX_BANDWIDTH_OUT: &str = "max_bandwidth_out";
const MAX_OPEN_HANDLES: &str = "max_open_handles";
const MAX_IN_FLIGHT: &str = "max_in_flight";
/// A user has this one, too.
pub(super) const MAX_SESSIONS: &str = "max_sessions";
/// Of a user; missing where it is not so.
pub(super) const LISTS_UPLOADS: &str = "lists_uploads";
const QUOTA_BYTES: &str = "quota_bytes";
const QUOTA_OBJECTS: &str = "quota_objects";

/// The partition whose items name the tenants.
pub(super) const TENANTS: &str = "TENANTS";

/// The partition whose items are the nodes' leases.
pub(super) const LEASES: &str = "LEASES";

/// The primary key of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ItemKey {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl ItemKey {
    pub(super) fn tenant(name: &TenantName) -> Self {
        Self { pk: format!("TENANT#{name}"), sk: "TENANT".to_owned() }
    }

    pub(super) fn user(name: &UserName) -> Self {
        Self { pk: format!("USER#{name}"), sk: "USER".to_owned() }
    }

    /// What the tenant's files take, if that is counted. In a partition of its own, as rights end there:
    /// nodes write it, and never a tenant.
    pub(super) fn usage(name: &TenantName) -> Self {
        Self { pk: format!("USAGE#{name}"), sk: "USAGE".to_owned() }
    }

    /// An upload of a tenant's.
    pub(super) fn upload(tenant: &TenantName, key: &ObjectKey) -> Self {
        Self { pk: uploads_of(tenant), sk: key.as_str().to_owned() }
    }

    /// Who removes the uploads that have expired.
    pub(super) fn reaping() -> Self {
        Self { pk: "REAPING".to_owned(), sk: "REAPING".to_owned() }
    }

    /// A node's lease.
    pub(super) fn lease(id: &LeaseId) -> Self {
        Self { pk: LEASES.to_owned(), sk: id.to_string() }
    }

    /// The sessions of a scope, by lease.
    pub(super) fn sessions(scope: &SessionScope) -> Self {
        let pk = match scope {
            SessionScope::Tenant(name) => format!("SESSIONS#TENANT#{name}"),
            SessionScope::User(name) => format!("SESSIONS#USER#{name}"),
        };
        Self { pk, sk: "SESSIONS".to_owned() }
    }

    /// The failed logins from a source in one window.
    pub(super) fn failures(source: IpAddr, window: Duration, number: u64) -> Self {
        Self { pk: format!("FAILURES#{source}"), sk: format!("{}#{number}", window.as_secs()) }
    }

    /// The item by which all tenants are listed.
    pub(super) fn tenant_entry(name: &TenantName) -> Self {
        Self { pk: TENANTS.to_owned(), sk: name.to_string() }
    }

    /// The item by which a tenant's users are listed.
    pub(super) fn user_entry(tenant: &TenantName, user: &UserName) -> Self {
        Self { pk: users_of(tenant), sk: user.to_string() }
    }

    pub(super) fn attributes(&self) -> Item {
        Item::from([(PK.to_owned(), text(&self.pk)), (SK.to_owned(), text(&self.sk))])
    }
}

impl Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pk, self.sk)
    }
}

/// The partition whose items name the users of a tenant.
pub(super) fn users_of(tenant: &TenantName) -> String {
    format!("USERS#{tenant}")
}

/// The partition whose items are a tenant's uploads.
pub(super) fn uploads_of(tenant: &TenantName) -> String {
    format!("UPLOADS#{tenant}")
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Disabled => "disabled",
    }
}

/// An item that only says that its key exists.
pub(super) fn entry(key: &ItemKey) -> Item {
    let mut item = key.attributes();
    item.insert(VERSION.to_owned(), number(FIRST));
    item
}

pub(super) fn tenant_item(tenant: &Tenant) -> Item {
    let mut item = entry(&ItemKey::tenant(&tenant.name));
    item.extend([
        ("name".to_owned(), text(tenant.name.as_str())),
        ("status".to_owned(), text(status_word(tenant.status))),
        ("bucket".to_owned(), text(&tenant.bucket)),
        ("prefix".to_owned(), text(tenant.prefix.as_str())),
        ("created".to_owned(), number(tenant.created)),
    ]);
    let limits = &tenant.limits;
    for (attribute, limit) in [
        (MAX_BANDWIDTH_IN, limits.max_bandwidth_in.map(number)),
        (MAX_BANDWIDTH_OUT, limits.max_bandwidth_out.map(number)),
        (MAX_OPEN_HANDLES, limits.max_open_handles.map(number)),
        (MAX_IN_FLIGHT, limits.max_in_flight.map(number)),
        (MAX_SESSIONS, limits.max_sessions.map(number)),
        (QUOTA_BYTES, limits.quota_bytes.map(number)),
        (QUOTA_OBJECTS, limits.quota_objects.map(number)),
    ] {
        item.extend(limit.map(|limit| (attribute.to_owned(), limit)));
    }
    item
}

/// The update that changes a tenant's limits; `None` if the change names none.
pub(super) fn limits_update(change: &TenantLimitsChange) -> Option<Update> {
    fn value<T: Display>(change: LimitChange<T>) -> LimitChange<AttributeValue> {
        match change {
            LimitChange::Keep => LimitChange::Keep,
            LimitChange::Lift => LimitChange::Lift,
            LimitChange::Set(limit) => LimitChange::Set(number(limit)),
        }
    }
    let (mut set, mut lifted, mut values) = (Vec::new(), Vec::new(), HashMap::new());
    for (attribute, alias, change) in [
        (MAX_BANDWIDTH_IN, ":in", value(change.max_bandwidth_in)),
        (MAX_BANDWIDTH_OUT, ":out", value(change.max_bandwidth_out)),
        (MAX_OPEN_HANDLES, ":handles", value(change.max_open_handles)),
        (MAX_IN_FLIGHT, ":flight", value(change.max_in_flight)),
        (MAX_SESSIONS, ":sessions", value(change.max_sessions)),
        (QUOTA_BYTES, ":bytes", value(change.quota_bytes)),
        (QUOTA_OBJECTS, ":objects", value(change.quota_objects)),
    ] {
        match change {
            LimitChange::Keep => {}
            LimitChange::Lift => lifted.push(attribute),
            LimitChange::Set(limit) => {
                set.push(format!("{attribute} = {alias}"));
                values.insert(alias, limit);
            }
        }
    }
    Update::of_present(&set, &lifted, HashMap::new(), values)
}

pub(super) fn user_item(user: &User) -> Item {
    let mut item = entry(&ItemKey::user(&user.name));
    let position = now_position();
    let keys = user.keys.iter().zip(position..).map(|(key, at)| (key.id.clone(), key_value(key, at))).collect();
    item.extend([
        ("name".to_owned(), text(user.name.as_str())),
        ("tenant".to_owned(), text(user.tenant.as_str())),
        ("status".to_owned(), text(status_word(user.status))),
        ("home".to_owned(), text(&user.home)),
        ("created".to_owned(), number(user.created)),
        ("keys".to_owned(), AttributeValue::M(keys)),
    ]);
    item.extend(access::attributes(user));
    item
}

/// The place in the order of a user's keys for one that is added now: nanoseconds since the Unix
/// epoch, so that keys added in the same second keep their order.
pub(super) fn now_position() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// A key as it lies in the map `keys`, under its id.
pub(super) fn key_value(key: &AuthorizedKey, position: u64) -> AttributeValue {
    let mut fields = Item::from([
        ("key".to_owned(), text(&key.key)),
        ("comment".to_owned(), text(&key.comment)),
        ("added".to_owned(), number(key.added)),
        ("position".to_owned(), number(position)),
    ]);
    if let Some(expires) = key.expires {
        fields.insert("expires".to_owned(), number(expires));
    }
    AttributeValue::M(fields)
}

pub(super) fn tenant_of(item: &Item, operation: &'static str) -> Result<Tenant, StoreError> {
    let fields = Fields::new(item, operation)?;
    Ok(Tenant {
        name: fields.parsed("name")?,
        status: fields.status()?,
        bucket: fields.text("bucket")?.to_owned(),
        prefix: fields.parsed("prefix")?,
        limits: TenantLimits {
            max_bandwidth_in: fields.optional_number(MAX_BANDWIDTH_IN)?,
            max_bandwidth_out: fields.optional_number(MAX_BANDWIDTH_OUT)?,
            max_open_handles: fields.optional_number(MAX_OPEN_HANDLES)?,
            max_in_flight: fields.optional_number(MAX_IN_FLIGHT)?,
            max_sessions: fields.optional_number(MAX_SESSIONS)?,
            quota_bytes: fields.optional_number(QUOTA_BYTES)?,
            quota_objects: fields.optional_number(QUOTA_OBJECTS)?,
        },
        created: fields.number("created")?,
    })
}

/// Keys come back in the order in which they were added.
pub(super) fn user_of(item: &Item, operation: &'static str) -> Result<User, StoreError> {
    let fields = Fields::of_versions(item, operation, &[FIRST, WITH_ACCESS])?;
    Ok(User {
        name: fields.parsed("name")?,
        tenant: fields.parsed("tenant")?,
        status: fields.status()?,
        home: fields.text("home")?.to_owned(),
        permissions: access::permissions(&fields)?,
        rules: access::rules(&fields)?,
        mappings: access::mappings(&fields)?,
        max_sessions: fields.optional_number(MAX_SESSIONS)?,
        lists_uploads: fields.optional_flag(LISTS_UPLOADS)?.unwrap_or_default(),
        keys: fields.keys()?,
        created: fields.number("created")?,
    })
}

/// The text of an attribute of a key, such as the name in an entry.
pub(super) fn sort_key(item: &Item, operation: &'static str) -> Result<String, StoreError> {
    Ok(Fields { item, operation, of: String::new() }.text(SK)?.to_owned())
}

/// Reads attributes. Whatever is not as it is written here is refused with the item's key and the
/// attribute's name: nobody logs in by an item that is not understood.
pub(super) struct Fields<'a> {
    pub(super) item: &'a Item,
    operation: &'static str,
    /// The item (and key within it) for the error.
    of: String,
}

impl<'a> Fields<'a> {
    pub(super) fn new(item: &'a Item, operation: &'static str) -> Result<Self, StoreError> {
        Self::of_versions(item, operation, &[FIRST])
    }

    /// The fields of an item whose format is one of these.
    fn of_versions(item: &'a Item, operation: &'static str, versions: &[&str]) -> Result<Self, StoreError> {
        let fields = Self { item, operation, of: String::new() };
        let of = format!("item {}/{}", fields.text(PK)?, fields.text(SK)?);
        let fields = Self { of, ..fields };
        match fields.item.get(VERSION) {
            Some(AttributeValue::N(version)) if versions.contains(&version.as_str()) => Ok(fields),
            _ => {
                let known = versions.join(" or ");
                Err(fields.refuse(VERSION, format!("is not {known}: it was written by another version of Tidegate")))
            }
        }
    }

    /// The fields of a map within this item.
    pub(super) fn within(&self, item: &'a Item, place: impl Display) -> Self {
        Self { item, operation: self.operation, of: format!("{}, {place}", self.of) }
    }

    pub(super) fn refuse(&self, name: &str, problem: impl Display) -> StoreError {
        own_error(StoreErrorKind::Corrupt, self.operation, &self.of, format!("attribute \"{name}\" {problem}"))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, StoreError> {
        match self.item.get(name) {
            Some(AttributeValue::S(text)) => Ok(text),
            Some(_) => Err(self.refuse(name, "is no string")),
            None => Err(self.refuse(name, "is missing")),
        }
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, StoreError> {
        self.text(name)?.parse().map_err(|error: T::Err| self.refuse(name, format!("is refused: {error}")))
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.optional_number(name)?.ok_or_else(|| self.refuse(name, "is missing"))
    }

    pub(super) fn optional_number<T: FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(text)) => text.parse().map(Some).map_err(|_| self.refuse(name, "is out of range")),
            Some(_) => Err(self.refuse(name, "is no number")),
        }
    }

    pub(super) fn optional_flag(&self, name: &str) -> Result<Option<bool>, StoreError> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.refuse(name, "is no boolean")),
        }
    }

    fn status(&self) -> Result<Status, StoreError> {
        match self.text("status")? {
            "active" => Ok(Status::Active),
            "disabled" => Ok(Status::Disabled),
            _ => Err(self.refuse("status", "is neither active nor disabled")),
        }
    }

    fn keys(&self) -> Result<Vec<AuthorizedKey>, StoreError> {
        let Some(AttributeValue::M(keys)) = self.item.get("keys") else {
            return Err(self.refuse("keys", "is missing or no map"));
        };
        let mut keys: Vec<(u64, AuthorizedKey)> =
            keys.iter().map(|(id, value)| self.key(id, value)).collect::<Result<_, _>>()?;
        keys.sort_by(|(a, left), (b, right)| (a, &left.id).cmp(&(b, &right.id)));
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    }

    /// A key and its position.
    fn key(&self, id: &str, value: &AttributeValue) -> Result<(u64, AuthorizedKey), StoreError> {
        let AttributeValue::M(item) = value else { return Err(self.refuse(id, "is no map")) };
        let fields = self.within(item, format_args!("key {id}"));
        let key = AuthorizedKey {
            id: id.to_owned(),
            key: fields.text("key")?.to_owned(),
            comment: fields.text("comment")?.to_owned(),
            added: fields.number("added")?,
            expires: fields.optional_number("expires")?,
        };
        Ok((fields.number("position")?, key))
    }
}
