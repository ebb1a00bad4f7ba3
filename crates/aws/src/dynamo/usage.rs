//! The counters of usage: one item for each tenant whose usage is counted.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use tidegate_store::{Recount, StoreErrorKind, StoreResult, TenantName, UsageDelta, UsageFigures, UsageStore};

use super::request::{Table, Update};
use super::schema::{Fields, Item, ItemKey, number, text};
use crate::error::own_error;

/// Counters in the table of tenants and users.
#[derive(Clone)]
pub(crate) struct DynamoUsage {
    table: Table,
}

impl DynamoUsage {
    pub(crate) fn new(client: Client, table: &str) -> Self {
        Self { table: Table::new(client, table) }
    }
}

impl fmt::Debug for DynamoUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoUsage").field("table", &self.table.name()).finish_non_exhaustive()
    }
}

/// The names of attributes, some of which are words of DynamoDB's.
fn names(aliases: &[&'static str]) -> HashMap<&'static str, String> {
    aliases.iter().map(|alias| (*alias, alias.trim_start_matches('#').to_owned())).collect()
}

fn figures(item: &Item, operation: &'static str) -> StoreResult<UsageFigures> {
    let fields = Fields::new(item, operation)?;
    let counter = |name| Ok(fields.optional_number(name)?.unwrap_or_default());
    Ok(UsageFigures {
        used: UsageDelta::new(counter("bytes")?, counter("objects")?),
        counted: fields.optional_number("counted")?,
    })
}

#[async_trait]
impl UsageStore for DynamoUsage {
    async fn read(&self, tenant: &TenantName) -> StoreResult<UsageFigures> {
        const OPERATION: &str = "read usage";
        let item = self.table.get(&ItemKey::usage(tenant), OPERATION).await?;
        item.map_or_else(|| Ok(UsageFigures::default()), |item| figures(&item, OPERATION))
    }

    async fn add(&self, tenant: &TenantName, delta: UsageDelta) -> StoreResult<UsageFigures> {
        const OPERATION: &str = "add usage";
        let update = Update {
            expression: "SET #v = :v ADD #bytes :bytes, #objects :objects".into(),
            condition: Some("attribute_not_exists(#v) OR #v = :v"),
            names: names(&["#v", "#bytes", "#objects"]),
            values: HashMap::from([
                (":v", number(1)),
                (":bytes", number(delta.bytes)),
                (":objects", number(delta.objects)),
            ]),
        };
        match self.table.update(&ItemKey::usage(tenant), update, OPERATION).await?.item {
            Some(item) => figures(&item, OPERATION),
            None => {
                Err(own_error(StoreErrorKind::Corrupt, OPERATION, tenant, "written by another version of Tidegate"))
            }
        }
    }

    async fn begin_recount(&self, tenant: &TenantName, recount: &Recount) -> StoreResult<bool> {
        let update = Update {
            expression: "SET #v = :v, #recount = :token, #recount_until = :until".into(),
            condition: Some("attribute_not_exists(#recount) OR #recount = :token OR #recount_until <= :now"),
            names: names(&["#v", "#recount", "#recount_until"]),
            values: HashMap::from([
                (":v", number(1)),
                (":token", text(&recount.token)),
                (":until", number(recount.until)),
                (":now", number(recount.now)),
            ]),
        };
        Ok(self.table.update(&ItemKey::usage(tenant), update, "begin recount").await?.held)
    }

    async fn finish_recount(
        &self,
        tenant: &TenantName,
        recount: &Recount,
        correction: UsageDelta,
    ) -> StoreResult<bool> {
        let update = Update {
            expression: "SET #counted = :now ADD #bytes :bytes, #objects :objects REMOVE #recount, #recount_until"
                .into(),
            condition: Some("#recount = :token"),
            names: names(&["#counted", "#bytes", "#objects", "#recount", "#recount_until"]),
            values: HashMap::from([
                (":token", text(&recount.token)),
                (":now", number(recount.now)),
                (":bytes", number(correction.bytes)),
                (":objects", number(correction.objects)),
            ]),
        };
        let updated = self.table.update(&ItemKey::usage(tenant), update, "finish recount").await?;
        // Repeated: the first attempt has given the right back.
        Ok(updated.held || updated.repeated)
    }

    async fn forget_count(&self, tenant: &TenantName) -> StoreResult<()> {
        let update = Update {
            expression: "REMOVE #counted".into(),
            condition: Some("attribute_exists(pk)"),
            names: names(&["#counted"]),
            values: HashMap::new(),
        };
        self.table.update(&ItemKey::usage(tenant), update, "forget count").await.map(|_| ())
    }
}
