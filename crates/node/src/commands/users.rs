//! `tidegate user …`

use serde::Serialize;
use serde_json::json;
use tidegate_store::{
    AuthorizedKey, Directory, Mappings, Permission, PermissionRules, Permissions, Status, StoreErrorKind, TenantName,
    User, UserChange, UserName,
};

use super::CommandError;
use super::access::{MapEntry, check_home};
use super::keys::KeyView;
use super::print::{Printer, Shown};
use super::tenants::word;
use crate::expiry::{now, rfc3339};

/// A user as it is shown.
#[derive(Serialize)]
pub(super) struct UserView {
    name: String,
    tenant: String,
    status: Status,
    home: String,
    permissions: Permissions,
    rules: PermissionRules,
    mappings: Vec<MapEntry>,
    max_sessions: Option<u32>,
    lists_uploads: bool,
    keys: Vec<KeyView>,
    created: String,
}

impl UserView {
    pub(super) fn new(user: &User) -> Self {
        Self {
            name: user.name.to_string(),
            tenant: user.tenant.to_string(),
            status: user.status,
            home: user.home.clone(),
            permissions: user.permissions.clone(),
            rules: user.rules.clone(),
            mappings: user.mappings.as_slice().iter().map(MapEntry::new).collect(),
            max_sessions: user.max_sessions,
            lists_uploads: user.lists_uploads,
            keys: user.keys.iter().map(KeyView::new).collect(),
            created: rfc3339(user.created),
        }
    }
}

fn shown(permissions: &Permissions) -> String {
    if permissions.len() == Permission::ALL.len() {
        return "all".to_owned();
    }
    let words: Vec<_> = permissions.iter().map(|permission| permission.as_str()).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(",") }
}

impl Shown for UserView {
    const COLUMNS: &'static [&'static str] = &["name", "tenant", "status", "keys", "home", "permissions"];

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.tenant.clone(),
            word(self.status).to_owned(),
            self.keys.len().to_string(),
            self.home.clone(),
            shown(&self.permissions),
        ]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("name", self.name.clone()),
            ("tenant", self.tenant.clone()),
            ("status", word(self.status).to_owned()),
            ("home", self.home.clone()),
            ("permissions", shown(&self.permissions)),
        ];
        let rule = |path, permissions| ("permission", format!("{path}={}", shown(permissions)));
        lines.extend(self.rules.as_slice().iter().map(|one| rule(&one.path, &one.permissions)));
        lines.extend(self.mappings.iter().map(|mapping| ("mapping", mapping.shown())));
        let sessions = self.max_sessions.map_or_else(|| "no limit".to_owned(), |max| max.to_string());
        lines.push(("max sessions", sessions));
        lines.push(("list uploads", self.lists_uploads.to_string()));
        lines.push(("created", self.created.clone()));
        lines.extend(self.keys.iter().map(|key| ("key", key.row().join("  "))));
        lines
    }
}

/// The user to add, with all permissions unless told otherwise.
pub(super) fn new(
    name: &UserName,
    tenant: &TenantName,
    access: &UserChange,
    keys: Vec<AuthorizedKey>,
) -> Result<User, CommandError> {
    if keys.len() > User::MAX_KEYS {
        return Err(CommandError::TooManyKeys { user: name.to_string(), max: User::MAX_KEYS });
    }
    let mut user = User {
        name: name.clone(),
        tenant: tenant.clone(),
        status: Status::Active,
        home: "/".to_owned(),
        permissions: Permission::ALL.into(),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: None,
        lists_uploads: false,
        keys,
        created: now(),
    };
    access.apply(&mut user);
    check_home(&user)?;
    Ok(user)
}

pub(super) async fn add(directory: &dyn Directory, user: &User, printer: &mut Printer<'_>) -> Result<(), CommandError> {
    directory.create_user(user).await.map_err(|error| match error.kind() {
        StoreErrorKind::PreconditionFailed => CommandError::Exists { what: "user", name: user.name.to_string() },
        StoreErrorKind::NotFound => CommandError::no_tenant(&user.tenant),
        _ => CommandError::store(format!("adding the user {}", user.name), error),
    })?;
    let keys = match user.keys.len() {
        0 => format!("no key yet; add one with: tidegate user key add {} --key FILE", user.name),
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    let text = format!("the user {} of tenant {} is added, with {keys}", user.name, user.tenant);
    printer.done(&text, &UserView::new(user))
}

pub(super) async fn list(
    directory: &dyn Directory,
    tenant: Option<&TenantName>,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let mut list = printer.list::<UserView>();
    let mut pages = async |tenant: &TenantName| {
        let mut after = None;
        loop {
            let page = directory
                .users(tenant, after.as_deref())
                .await
                .map_err(|error| CommandError::store(format!("listing the users of {tenant}"), error))?;
            list.page(&page.items.iter().map(UserView::new).collect::<Vec<_>>())?;
            after = page.next;
            if after.is_none() {
                return Ok::<(), CommandError>(());
            }
        }
    };
    if let Some(name) = tenant {
        let found = directory.tenant(name).await;
        let found = found.map_err(|error| CommandError::store(format!("reading the tenant {name}"), error))?;
        pages(&found.ok_or_else(|| CommandError::no_tenant(name))?.name).await?;
    } else {
        let mut after = None;
        loop {
            let page = directory.tenants(after.as_deref()).await;
            let page = page.map_err(|error| CommandError::store("listing the tenants", error))?;
            for tenant in &page.items {
                pages(&tenant.name).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    list.finish("there are no users; add one with: tidegate user add NAME --tenant TENANT --key FILE")
}

pub(super) async fn show(
    directory: &dyn Directory,
    name: &UserName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    printer.record(&UserView::new(&read(directory, name).await?))
}

pub(super) async fn disable(
    directory: &dyn Directory,
    name: &UserName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let told = "no login any more, once the nodes' caches have run out (accounts.ttl)";
    set_status(directory, name, Status::Disabled, told, printer).await
}

pub(super) async fn enable(
    directory: &dyn Directory,
    name: &UserName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    set_status(directory, name, Status::Active, "may log in", printer).await
}

async fn set_status(
    directory: &dyn Directory,
    name: &UserName,
    status: Status,
    told: &str,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    directory.set_user_status(name, status).await.map_err(|error| match error.kind() {
        StoreErrorKind::NotFound => CommandError::no_user(name),
        _ => CommandError::store(format!("changing the user {name}"), error),
    })?;
    let json = json!({ "name": name, "status": status });
    printer.message(&format!("the user {name} is {}: {told}", word(status)), &json)
}

pub(super) async fn remove(
    directory: &dyn Directory,
    name: &UserName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    directory.remove_user(name).await.map_err(|error| match error.kind() {
        StoreErrorKind::NotFound => CommandError::no_user(name),
        _ => CommandError::store(format!("removing the user {name}"), error),
    })?;
    let text = format!("the user {name} is removed; the files stay");
    printer.message(&text, &json!({ "name": name, "removed": true }))
}

/// The user, who must exist.
pub(super) async fn read(directory: &dyn Directory, name: &UserName) -> Result<User, CommandError> {
    directory
        .user(name)
        .await
        .map_err(|error| CommandError::store(format!("reading the user {name}"), error))?
        .ok_or_else(|| CommandError::no_user(name))
}
