//! `tidegate tenant …`

use serde::Serialize;
use serde_json::json;
use tidegate_store::{
    Bandwidth, Directory, KeyPrefix, Status, StoreError, StoreErrorKind, Tenant, TenantLimits, TenantLimitsChange,
    TenantName, UsageStore,
};

use super::print::{Printer, Shown};
use super::quotas::UsageView;
use super::{CommandError, quotas};
use crate::expiry::{now, rfc3339};
use crate::host_keys;
use crate::limits::{shown_bandwidth, shown_size};

/// A tenant as it is shown.
#[derive(Serialize)]
struct TenantView {
    name: String,
    status: Status,
    bucket: String,
    prefix: String,
    /// Each is null if the tenant has no limit of its own.
    max_bandwidth_in: Option<Bandwidth>,
    max_bandwidth_out: Option<Bandwidth>,
    max_open_handles: Option<u32>,
    max_in_flight: Option<u64>,
    max_sessions: Option<u32>,
    quota_bytes: Option<u64>,
    quota_objects: Option<u64>,
    /// What the files take, where it was asked for: for a tenant with a quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<UsageView>,
    created: String,
}

impl TenantView {
    fn new(tenant: &Tenant) -> Self {
        Self {
            name: tenant.name.to_string(),
            status: tenant.status,
            bucket: tenant.bucket.clone(),
            prefix: tenant.prefix.to_string(),
            max_bandwidth_in: tenant.limits.max_bandwidth_in,
            max_bandwidth_out: tenant.limits.max_bandwidth_out,
            max_open_handles: tenant.limits.max_open_handles,
            max_in_flight: tenant.limits.max_in_flight,
            max_sessions: tenant.limits.max_sessions,
            quota_bytes: tenant.limits.quota_bytes,
            quota_objects: tenant.limits.quota_objects,
            used: None,
            created: rfc3339(tenant.created),
        }
    }
}

impl Shown for TenantView {
    const COLUMNS: &'static [&'static str] = &["name", "status", "bucket", "prefix"];

    fn row(&self) -> Vec<String> {
        vec![self.name.clone(), word(self.status).to_owned(), self.bucket.clone(), shown_prefix(&self.prefix)]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let shown = |limit: Option<u32>| limit.map_or_else(|| "the node's limit".to_owned(), |max| max.to_string());
        let quota = |limit: Option<String>| limit.unwrap_or_else(|| "no limit".to_owned());
        let mut lines = vec![
            ("name", self.name.clone()),
            ("status", word(self.status).to_owned()),
            ("bucket", self.bucket.clone()),
            ("prefix", shown_prefix(&self.prefix)),
            ("max bandwidth in", shown_bandwidth(self.max_bandwidth_in)),
            ("max bandwidth out", shown_bandwidth(self.max_bandwidth_out)),
            ("max open handles", shown(self.max_open_handles)),
            ("max in flight", quota(self.max_in_flight.map(shown_size))),
            ("max sessions", quota(self.max_sessions.map(|max| max.to_string()))),
            ("quota bytes", quota(self.quota_bytes.map(shown_size))),
            ("quota objects", quota(self.quota_objects.map(|max| max.to_string()))),
        ];
        lines.extend(self.used.as_ref().map(|used| ("used", used.shown())));
        lines.push(("created", self.created.clone()));
        lines
    }
}

fn shown_prefix(prefix: &str) -> String {
    if prefix.is_empty() { "(whole bucket)".to_owned() } else { prefix.to_owned() }
}

/// The word for a status.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Disabled => "disabled",
    }
}

/// The tenant to add.
pub(super) fn new(name: &TenantName, bucket: &str, prefix: &KeyPrefix, limits: TenantLimits) -> Tenant {
    Tenant {
        name: name.clone(),
        status: Status::Active,
        bucket: bucket.to_owned(),
        prefix: prefix.clone(),
        limits,
        created: now(),
    }
}

/// Adds it, unless its files would lie among another's. Two administrators who add overlapping
/// tenants in the same second are not told apart.
pub(super) async fn add(
    directory: &dyn Directory,
    tenant: &Tenant,
    host_keys: &host_keys::Config,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let prefix = tenant.prefix.as_str();
    let overlaps =
        |other: String| CommandError::Overlap { prefix: prefix.to_owned(), bucket: tenant.bucket.clone(), other };
    if host_keys.lie_within(tenant) {
        return Err(overlaps("the host keys of the cluster".to_owned()));
    }
    let mut after = None;
    loop {
        let page = directory
            .tenants(after.as_deref())
            .await
            .map_err(|error| CommandError::store("listing the tenants", error))?;
        for other in page.items.iter().filter(|other| other.bucket == tenant.bucket && other.name != tenant.name) {
            let theirs = other.prefix.as_str();
            if theirs.starts_with(prefix) || prefix.starts_with(theirs) {
                return Err(overlaps(format!("the tenant \"{}\" ({})", other.name, shown_prefix(theirs))));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    directory.create_tenant(tenant).await.map_err(|error| match error.kind() {
        StoreErrorKind::PreconditionFailed => CommandError::Exists { what: "tenant", name: tenant.name.to_string() },
        _ => CommandError::store(format!("adding the tenant {}", tenant.name), error),
    })?;
    let text = format!("the tenant {} is added: s3://{}/{prefix}", tenant.name, tenant.bucket);
    printer.done(&text, &TenantView::new(tenant))
}

pub(super) async fn list(directory: &dyn Directory, printer: &mut Printer<'_>) -> Result<(), CommandError> {
    let mut list = printer.list::<TenantView>();
    let mut after = None;
    loop {
        let page = directory
            .tenants(after.as_deref())
            .await
            .map_err(|error| CommandError::store("listing the tenants", error))?;
        list.page(&page.items.iter().map(TenantView::new).collect::<Vec<_>>())?;
        after = page.next;
        if after.is_none() {
            return list.finish("there are no tenants; add one with: tidegate tenant add NAME --bucket BUCKET");
        }
    }
}

pub(super) async fn show(
    directory: &dyn Directory,
    usage: &dyn UsageStore,
    name: &TenantName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let tenant = read(directory, name).await?;
    let used = if tenant.limits.has_quota() { Some(quotas::read(usage, name).await?) } else { None };
    printer.record(&TenantView { used, ..TenantView::new(&tenant) })
}

/// The tenant, which must exist.
pub(super) async fn read(directory: &dyn Directory, name: &TenantName) -> Result<Tenant, CommandError> {
    directory
        .tenant(name)
        .await
        .map_err(|error| CommandError::store(format!("reading the tenant {name}"), error))?
        .ok_or_else(|| CommandError::no_tenant(name))
}

/// Changes limits and shows the tenant as it is then. What was counted before the tenant had a quota
/// is of no use: nodes count anew.
pub(super) async fn set(
    directory: &dyn Directory,
    usage: &dyn UsageStore,
    name: &TenantName,
    change: &TenantLimitsChange,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let before = read(directory, name).await?.limits;
    if !before.has_quota() && change.apply(&before).has_quota() {
        usage.forget_count(name).await.map_err(|error| not_changed(name, error))?;
    }
    directory.set_tenant_limits(name, change).await.map_err(|error| not_changed(name, error))?;
    printer.record(&TenantView::new(&read(directory, name).await?))?;
    printer.note(
        "the limits hold on each node from the first session of the tenant that begins once the node's cache has run \
         out (accounts.ttl)",
    )
}

fn not_changed(name: &TenantName, error: StoreError) -> CommandError {
    match error.kind() {
        StoreErrorKind::NotFound => CommandError::no_tenant(name),
        _ => CommandError::store(format!("changing the tenant {name}"), error),
    }
}

pub(super) async fn disable(
    directory: &dyn Directory,
    name: &TenantName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let told = "its users can't log in any more, once the nodes' caches have run out (accounts.ttl)";
    set_status(directory, name, Status::Disabled, told, printer).await
}

pub(super) async fn enable(
    directory: &dyn Directory,
    name: &TenantName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    set_status(directory, name, Status::Active, "its users may log in", printer).await
}

async fn set_status(
    directory: &dyn Directory,
    name: &TenantName,
    status: Status,
    told: &str,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    directory.set_tenant_status(name, status).await.map_err(|error| not_changed(name, error))?;
    let json = json!({ "name": name, "status": status });
    printer.message(&format!("the tenant {name} is {}: {told}", word(status)), &json)
}
