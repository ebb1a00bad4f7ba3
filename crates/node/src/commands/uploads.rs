//! `tidegate uploads …`

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use tidegate_store::{Directory, Journal, JournalEntry, ObjectKey, ObjectStores, Tenant, TenantName, UploadState};

use super::print::{Printer, Shown};
use super::{CommandError, tenants};
use crate::expiry::rfc3339;

/// An upload as it is shown.
#[derive(Serialize)]
struct UploadView {
    tenant: String,
    /// Where it lies in the tenant's files, without a leading `/`.
    path: String,
    user: String,
    state: UploadState,
    /// The final size as the client told it; null if it did not.
    size: Option<u64>,
    begun: String,
    expires: String,
    /// The multipart upload's id; null if it has no part.
    upload: Option<String>,
}

impl UploadView {
    fn new(tenant: &Tenant, entry: &JournalEntry) -> Self {
        let record = &entry.record;
        let path = entry.key.as_str().strip_prefix(tenant.prefix.as_str()).unwrap_or(entry.key.as_str());
        Self {
            tenant: tenant.name.to_string(),
            path: path.to_owned(),
            user: record.user.to_string(),
            state: record.state,
            size: Some(record.hint).filter(|hint| *hint > 0),
            begun: rfc3339(record.begun),
            expires: rfc3339(record.expires),
            upload: record.multipart.as_ref().map(|multipart| multipart.upload.id.clone()),
        }
    }
}

impl Shown for UploadView {
    const COLUMNS: &'static [&'static str] = &["tenant", "path", "user", "state", "begun", "expires"];

    fn row(&self) -> Vec<String> {
        let state = match self.state {
            UploadState::Cut => "cut",
            UploadState::Running => "running",
        };
        let (tenant, path, user) = (self.tenant.clone(), self.path.escape_debug().to_string(), self.user.clone());
        vec![tenant, path, user, state.to_owned(), self.begun.clone(), self.expires.clone()]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().copied().zip(self.row()).collect()
    }
}

/// Lists a tenant's uploads, or those of all.
pub(super) async fn list(
    directory: &dyn Directory,
    journal: &dyn Journal,
    tenant: Option<&TenantName>,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let only = match tenant {
        Some(name) => Some(tenants::read(directory, name).await?),
        None => None,
    };
    let mut list = printer.list::<UploadView>();
    let mut after = None;
    loop {
        let page = match &only {
            Some(tenant) => tidegate_store::Page { items: vec![tenant.clone()], next: None },
            None => directory
                .tenants(after.as_deref())
                .await
                .map_err(|error| CommandError::store("listing the tenants", error))?,
        };
        for tenant in &page.items {
            let mut behind = None;
            loop {
                let uploads = journal
                    .list(&tenant.name, "", behind.as_ref())
                    .await
                    .map_err(|error| CommandError::store("listing the uploads", error))?;
                list.page(&uploads.entries.iter().map(|entry| UploadView::new(tenant, entry)).collect::<Vec<_>>())?;
                behind = uploads.next;
                if behind.is_none() {
                    break;
                }
            }
        }
        after = page.next;
        if after.is_none() {
            return list.finish("no upload has run for a second or two, and none waits to be resumed");
        }
    }
}

/// Removes an upload: what it has is dropped, and who works on it fails.
pub(super) async fn abort(
    directory: &dyn Directory,
    stores: &dyn ObjectStores,
    journal: Arc<dyn Journal>,
    (name, path): (&TenantName, &str),
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let tenant = tenants::read(directory, name).await?;
    let told = path.trim_start_matches('/');
    let missing = || CommandError::NotFound {
        what: "upload",
        name: told.to_owned(),
        see: format!("tidegate uploads list --tenant {name}"),
    };
    let failed = |error| CommandError::store(format!("removing the upload {told}"), error);
    let key = ObjectKey::new([tenant.prefix.as_str(), told].concat()).ok_or_else(missing)?;
    let entry = journal.read(name, &key).await.map_err(failed)?.ok_or_else(missing)?;
    if !tidegate_vfs::abort_upload(stores, journal, &tenant, &entry).await.map_err(failed)? {
        return Err(missing());
    }
    let json = json!({ "tenant": name, "path": told, "status": "removed" });
    printer.message(&format!("the upload {told} of {name} is removed"), &json)
}
