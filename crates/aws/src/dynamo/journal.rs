//! The journal of uploads: one item for each upload that runs or was cut, in its tenant's partition.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_store::{
    Generation, Journal, JournalEntry, JournalPage, ObjectKey, StoreErrorKind, StoreResult, TenantName, UploadRecord,
};

use super::request::{Deleted, Equal, Table, Update};
use super::schema::{Fields, Item, ItemKey, SK, TTL, number, sort_key, text, uploads_of};
use crate::error::own_error;

/// How long behind the end of its life DynamoDB removes an item that nobody has removed, in seconds: the
/// store's lifecycle rule has removed its parts by then.
const LAST_RESORT: u64 = 7 * 24 * 3600;

const GENERATION: &str = "generation";

/// The item has the generation that is expected, or the new one: a second attempt meets its own effect.
const OF_EITHER: &str = "#generation IN (:expected, :generation)";

/// A journal in the table of tenants and users.
#[derive(Clone)]
pub(crate) struct DynamoJournal {
    table: Table,
}

impl DynamoJournal {
    pub(crate) fn new(client: Client, table: &str) -> Self {
        Self { table: Table::new(client, table) }
    }

    async fn delete(&self, tenant: &TenantName, key: &ObjectKey, equal: Equal<'_>) -> StoreResult<bool> {
        Ok(match self.table.delete_if(&ItemKey::upload(tenant, key), equal, "remove upload").await? {
            Deleted::Yes => true,
            Deleted::Absent { repeated } => repeated,
            Deleted::Refused => false,
        })
    }
}

impl fmt::Debug for DynamoJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoJournal").field("table", &self.table.name()).finish_non_exhaustive()
    }
}

fn entry_of(item: &Item, operation: &'static str) -> StoreResult<JournalEntry> {
    let fields = Fields::new(item, operation)?;
    let key = ObjectKey::new(sort_key(item, operation)?).ok_or_else(|| fields.refuse(SK, "is no key"))?;
    let record = UploadRecord::from_json(fields.text("record")?)
        .map_err(|error| fields.refuse("record", format!("is refused: {error}")))?;
    Ok(JournalEntry { key, generation: Generation::new(fields.number(GENERATION)?), record })
}

/// The change that writes an entry, if `condition` holds.
fn writing(entry: &JournalEntry, condition: Option<&'static str>, operation: &'static str) -> StoreResult<Update> {
    let record = entry
        .record
        .to_json()
        .map_err(|error| own_error(StoreErrorKind::InvalidRequest, operation, &entry.key, error))?;
    let names = [("#v", "v"), ("#generation", GENERATION), ("#record", "record"), ("#ttl", TTL)];
    Ok(Update {
        expression: "SET #v = :v, #generation = :generation, #record = :record, #ttl = :ttl".into(),
        condition,
        names: names.map(|(alias, name)| (alias, name.to_owned())).into(),
        values: HashMap::from([
            (":v", number(1)),
            (":generation", number(entry.generation.number())),
            (":record", text(record)),
            (":ttl", ttl(entry)),
        ]),
    })
}

/// When DynamoDB removes an entry. Moves with the end of its life.
fn ttl(entry: &JournalEntry) -> AttributeValue {
    number(entry.record.expires.saturating_add(LAST_RESORT))
}

#[async_trait]
impl Journal for DynamoJournal {
    async fn read(&self, tenant: &TenantName, key: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        const OPERATION: &str = "read upload";
        let item = self.table.get(&ItemKey::upload(tenant, key), OPERATION).await?;
        item.map(|item| entry_of(&item, OPERATION)).transpose()
    }

    async fn replace(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<Option<JournalEntry>> {
        const OPERATION: &str = "replace upload";
        let update = writing(entry, None, OPERATION)?;
        let before = self.table.exchange(&ItemKey::upload(tenant, &entry.key), update, OPERATION).await?;
        // What is not understood can't be cleared up either: the store's lifecycle rule does.
        let before = before.and_then(|item| entry_of(&item, OPERATION).ok());
        Ok(before.filter(|before| before.generation != entry.generation))
    }

    async fn create(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        const OPERATION: &str = "create upload";
        let update = writing(entry, Some("attribute_not_exists(pk) OR #generation = :generation"), OPERATION)?;
        Ok(self.table.update(&ItemKey::upload(tenant, &entry.key), update, OPERATION).await?.held)
    }

    async fn update(&self, tenant: &TenantName, expected: Generation, entry: &JournalEntry) -> StoreResult<bool> {
        const OPERATION: &str = "update upload";
        let mut update = writing(entry, Some(OF_EITHER), OPERATION)?;
        update.values.insert(":expected", number(expected.number()));
        Ok(self.table.update(&ItemKey::upload(tenant, &entry.key), update, OPERATION).await?.held)
    }

    async fn take_over(
        &self,
        tenant: &TenantName,
        key: &ObjectKey,
        expected: Generation,
        mine: Generation,
    ) -> StoreResult<Option<JournalEntry>> {
        const OPERATION: &str = "take upload over";
        let update = Update {
            expression: "SET #generation = :generation".into(),
            condition: Some(OF_EITHER),
            names: HashMap::from([("#generation", GENERATION.to_owned())]),
            values: HashMap::from([(":generation", number(mine.number())), (":expected", number(expected.number()))]),
        };
        let updated = self.table.update(&ItemKey::upload(tenant, key), update, OPERATION).await?;
        updated.item.map(|item| entry_of(&item, OPERATION)).transpose()
    }

    async fn remove(&self, tenant: &TenantName, key: &ObjectKey, generation: Generation) -> StoreResult<bool> {
        self.delete(tenant, key, &[(GENERATION, number(generation.number()))]).await
    }

    async fn remove_expired(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        let as_read = [(GENERATION, number(entry.generation.number())), (TTL, ttl(entry))];
        self.delete(tenant, &entry.key, &as_read).await
    }

    async fn rename(
        &self,
        tenant: &TenantName,
        from: &JournalEntry,
        to: &JournalEntry,
        over: Option<Generation>,
    ) -> StoreResult<bool> {
        const OPERATION: &str = "rename upload";
        let mut writing = writing(to, Some("attribute_not_exists(pk)"), OPERATION)?;
        if let Some(over) = over {
            writing.condition = Some("#generation = :over");
            writing.values.insert(":over", number(over.number()));
        }
        // An update makes an item as well as a put does, and nodes have the right to it.
        let writes = [
            self.table.change(&ItemKey::upload(tenant, &to.key), writing),
            self.table
                .delete_equal(&ItemKey::upload(tenant, &from.key), &[(GENERATION, number(from.generation.number()))]),
        ];
        Ok(self.table.transact(writes, OPERATION).await?.is_empty())
    }

    async fn list(&self, tenant: &TenantName, prefix: &str, after: Option<&ObjectKey>) -> StoreResult<JournalPage> {
        const OPERATION: &str = "list uploads";
        let after = after.map(ObjectKey::as_str);
        let (items, next) = self.table.query(&uploads_of(tenant), prefix, after, OPERATION).await?;
        let entries = items.iter().filter_map(|item| entry_of(item, OPERATION).ok()).collect();
        Ok(JournalPage { entries, next: next.and_then(ObjectKey::new) })
    }

    async fn claim_reaping(&self, now: u64, until: u64) -> StoreResult<bool> {
        let update = Update {
            expression: "SET #v = :v, #until = :until".into(),
            condition: Some("attribute_not_exists(#until) OR #until <= :now"),
            names: HashMap::from([("#v", "v".to_owned()), ("#until", "until".to_owned())]),
            values: HashMap::from([(":v", number(1)), (":until", number(until)), (":now", number(now))]),
        };
        let updated = self.table.update(&ItemKey::reaping(), update, "claim reaping").await?;
        // Repeated: the first attempt may have taken it. One reaper too many does no harm.
        Ok(updated.held || updated.repeated)
    }
}
