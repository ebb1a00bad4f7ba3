//! What a tenant's files take: `tidegate tenant recount`, and what `tenant show` tells of it.

use serde::Serialize;
use tidegate_store::{Directory, ObjectStores, TenantName, UsageFigures, UsageStore, recount as count};
use tidegate_vfs::USAGE_SETTLES;

use super::print::{Printer, Shown};
use super::{CommandError, tenants};
use crate::expiry::rfc3339;
use crate::limits::shown_size;

/// What a tenant's files take, as it is shown.
#[derive(Serialize)]
pub(super) struct UsageView {
    bytes: i64,
    objects: i64,
    /// Null if the objects themselves were never counted.
    counted: Option<String>,
}

impl UsageView {
    fn new(figures: UsageFigures) -> Self {
        Self { bytes: figures.used.bytes, objects: figures.used.objects, counted: figures.counted.map(rfc3339) }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let Some(counted) = &self.counted else { return "not counted yet".to_owned() };
        let bytes = u64::try_from(self.bytes).unwrap_or(0);
        format!("{} in {} objects (last counted {counted})", shown_size(bytes), self.objects.max(0))
    }
}

impl Shown for UsageView {
    const COLUMNS: &'static [&'static str] = &["used"];

    fn row(&self) -> Vec<String> {
        vec![self.shown()]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![("used", self.shown())]
    }
}

/// What the counters say of a tenant.
pub(super) async fn read(usage: &dyn UsageStore, name: &TenantName) -> Result<UsageView, CommandError> {
    let figures = usage.read(name).await;
    let figures = figures.map_err(|error| CommandError::store(format!("reading the usage of {name}"), error))?;
    Ok(UsageView::new(figures))
}

/// Counts a tenant's objects and sets its counters right.
pub(super) async fn recount(
    directory: &dyn Directory,
    stores: &dyn ObjectStores,
    usage: &dyn UsageStore,
    name: &TenantName,
    printer: &mut Printer<'_>,
) -> Result<(), CommandError> {
    let failed = |error| CommandError::store(format!("counting the files of {name}"), error);
    let tenant = tenants::read(directory, name).await?;
    let store = stores.open(&tenant).await.map_err(failed)?;
    match count(&*store, usage, &tenant, USAGE_SETTLES).await.map_err(failed)? {
        Some(figures) => printer.record(&UsageView::new(figures)),
        None => Err(CommandError::Counting(name.to_string())),
    }
}
