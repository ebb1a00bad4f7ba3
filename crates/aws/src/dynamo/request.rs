//! Requests to the table, with its errors mapped.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    self, AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put, ReturnValue, TransactWriteItem,
};
use aws_smithy_types::error::operation::BuildError;
use tidegate_store::{Page, StoreErrorKind, StoreResult};

use super::client::{cancellation_codes, is_conflict};
use super::schema::{Item, ItemKey, sort_key, text};
use crate::attempts::Attempts;
use crate::error::{kind, own_error, store_error, store_error_as};

/// Items per page: the greatest number that one BatchGetItem takes.
const PAGE: i32 = 100;
/// How often the rest of a batch is asked for. DynamoDB leaves out what goes beyond 16 MiB; 100
/// items of at most 400 KiB each take three requests.
const BATCH_ROUNDS: usize = 10;

/// How many pages of 1 MiB a partition may have that is read as a whole.
const PARTITION_PAGES: usize = 10;

/// A condition expression.
pub(super) type Condition = Option<&'static str>;

/// The item is not there yet.
pub(super) fn absent() -> Condition {
    Some("attribute_not_exists(pk)")
}

/// The item is there.
pub(super) fn present() -> Condition {
    Some("attribute_exists(pk)")
}

/// A conditional change of one item. `A` is a text: of an alias, or of the condition.
pub(super) struct Update<A = &'static str> {
    pub(super) expression: Cow<'static, str>,
    /// What must hold for it; `None` for a change in any case.
    pub(super) condition: Option<A>,
    pub(super) names: HashMap<A, String>,
    pub(super) values: HashMap<A, AttributeValue>,
}

impl Update {
    /// Assigns attributes of an item that is there, and removes others; `None` if neither is to be done.
    pub(super) fn of_present(
        assigned: &[String],
        removed: &[&str],
        names: HashMap<&'static str, String>,
        values: HashMap<&'static str, AttributeValue>,
    ) -> Option<Self> {
        let clauses: Vec<String> = [("SET", assigned.join(", ")), ("REMOVE", removed.join(", "))]
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(verb, list)| format!("{verb} {list}"))
            .collect();
        let expression = clauses.join(" ").into();
        (!clauses.is_empty()).then_some(Self { expression, condition: Some("attribute_exists(pk)"), names, values })
    }
}

/// What became of an [`Update`].
pub(super) struct Updated {
    /// Whether the condition held.
    pub(super) held: bool,
    /// Whether it was sent more than once, so that it may have met its own effect.
    pub(super) repeated: bool,
    /// The whole item behind the change; `None` if the condition did not hold.
    pub(super) item: Option<Item>,
}

/// What became of an item that was to be removed if a condition held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deleted {
    /// There was none. If it was asked for more than once (`repeated`), it may have met its own effect.
    Absent { repeated: bool },
    /// The condition did not hold.
    Refused,
    /// It was there, and is gone.
    Yes,
}

/// Attributes and the values that an item must have in them.
pub(super) type Equal<'a> = &'a [(&'static str, AttributeValue)];

type Names = HashMap<String, String>;
type Values = HashMap<String, AttributeValue>;

/// As a condition, with its aliases.
fn conjunction(equal: Equal<'_>) -> (String, Names, Values) {
    let terms: Vec<String> = equal.iter().map(|(attribute, _)| format!("#{attribute} = :{attribute}")).collect();
    let names = equal.iter().map(|(attribute, _)| (format!("#{attribute}"), (*attribute).to_owned())).collect();
    let values = equal.iter().map(|(attribute, value)| (format!(":{attribute}"), value.clone())).collect();
    (terms.join(" AND "), names, values)
}

/// With names of its own, as the SDK wants them.
fn owned<A: Into<String>, T>(by_alias: HashMap<A, T>) -> HashMap<String, T> {
    by_alias.into_iter().map(|(alias, value)| (alias.into(), value)).collect()
}

/// One write of a transaction.
pub(super) type Write = Result<TransactWriteItem, BuildError>;

/// The table.
#[derive(Clone)]
pub(super) struct Table {
    client: Client,
    name: Arc<str>,
}

impl Table {
    pub(super) fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.into() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One item, as the latest write left it.
    pub(super) async fn get(&self, key: &ItemKey, operation: &'static str) -> StoreResult<Option<Item>> {
        self.client
            .get_item()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .consistent_read(true)
            .send()
            .await
            .map(|output| output.item)
            .map_err(|error| store_error(operation, key, error))
    }

    /// Those of at most [`PAGE`] items that exist, in no order, as the latest writes left them.
    pub(super) async fn get_all(&self, keys: Vec<ItemKey>, operation: &'static str) -> StoreResult<Vec<Item>> {
        let mut found = Vec::with_capacity(keys.len());
        if keys.is_empty() {
            return Ok(found);
        }
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys.iter().map(ItemKey::attributes).collect()))
            .consistent_read(true)
            .build()
            .map_err(|error| own_error(StoreErrorKind::InvalidRequest, operation, &self.name, error))?;
        let mut remaining = Some(HashMap::from([(self.name.to_string(), request)]));
        for _ in 0..BATCH_ROUNDS {
            let output = self
                .client
                .batch_get_item()
                .set_request_items(remaining.take())
                .send()
                .await
                .map_err(|error| store_error(operation, &self.name, error))?;
            found.extend(output.responses.unwrap_or_default().into_values().flatten());
            remaining = output.unprocessed_keys.filter(|rest| !rest.is_empty());
            if remaining.is_none() {
                return Ok(found);
            }
        }
        Err(own_error(StoreErrorKind::Throttled, operation, &self.name, "a batch was not finished"))
    }

    /// A page of the sort keys of one partition, in the order of their bytes.
    pub(super) async fn sort_keys(
        &self,
        partition: &str,
        after: Option<&str>,
        operation: &'static str,
    ) -> StoreResult<Page<String>> {
        let mut request = self.querying(partition).limit(PAGE);
        if let Some(after) = after {
            request = request
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":after", text(after));
        }
        let output = request.send().await.map_err(|error| store_error(operation, partition, error))?;
        let items = output.items.unwrap_or_default();
        let items: Vec<String> = items.iter().map(|item| sort_key(item, operation)).collect::<StoreResult<_>>()?;
        let next = items.last().cloned().filter(|_| output.last_evaluated_key.is_some());
        Ok(Page { items, next })
    }

    /// A page of the items of one partition whose sort keys begin with `prefix`, in the order of their
    /// bytes, and the sort key to go on behind.
    pub(super) async fn query(
        &self,
        partition: &str,
        prefix: &str,
        after: Option<&str>,
        operation: &'static str,
    ) -> StoreResult<(Vec<Item>, Option<String>)> {
        let after = after.map(|after| ItemKey { pk: partition.to_owned(), sk: after.to_owned() }.attributes());
        let mut request = self.querying(partition).limit(PAGE).set_exclusive_start_key(after);
        if !prefix.is_empty() {
            request = request
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", text(prefix));
        }
        let output = request.send().await.map_err(|error| store_error(operation, partition, error))?;
        let next = output.last_evaluated_key.map(|key| sort_key(&key, operation)).transpose()?;
        Ok((output.items.unwrap_or_default(), next))
    }

    /// Removes an item if it has these values.
    pub(super) async fn delete_if(
        &self,
        key: &ItemKey,
        equal: Equal<'_>,
        operation: &'static str,
    ) -> StoreResult<Deleted> {
        let attempts = Attempts::default();
        let (condition, names, values) = conjunction(equal);
        let sent = self
            .client
            .delete_item()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .condition_expression(format!("attribute_not_exists(pk) OR ({condition})"))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllOld)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        match sent {
            Ok(output) if output.attributes.as_ref().is_some_and(|item| !item.is_empty()) => Ok(Deleted::Yes),
            Ok(_) => Ok(Deleted::Absent { repeated: attempts.repeated() }),
            Err(error) if kind(&error) == StoreErrorKind::PreconditionFailed => Ok(Deleted::Refused),
            Err(error) => Err(store_error(operation, key, error)),
        }
    }

    /// All items of one partition, as the latest writes left them; for partitions of few small items.
    pub(super) async fn partition(&self, partition: &str, operation: &'static str) -> StoreResult<Vec<Item>> {
        let (mut items, mut after) = (Vec::new(), None);
        for _ in 0..PARTITION_PAGES {
            let request = self.querying(partition).set_exclusive_start_key(after.take());
            let output = request.send().await.map_err(|error| store_error(operation, partition, error))?;
            items.extend(output.items.unwrap_or_default());
            after = output.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() {
                return Ok(items);
            }
        }
        Err(own_error(StoreErrorKind::Corrupt, operation, partition, "the partition has too many items"))
    }

    /// Asks for the whole partition, as the latest writes left it.
    fn querying(&self, partition: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&*self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(partition))
    }

    /// Changes one item if the condition holds.
    pub(super) async fn update<A: Into<String>>(
        &self,
        key: &ItemKey,
        update: Update<A>,
        operation: &'static str,
    ) -> StoreResult<Updated> {
        let attempts = Attempts::default();
        let sent =
            self.updating(key, update, ReturnValue::AllNew).customize().interceptor(attempts.clone()).send().await;
        match sent {
            Ok(output) => Ok(Updated { held: true, repeated: attempts.repeated(), item: output.attributes }),
            Err(error) if kind(&error) == StoreErrorKind::PreconditionFailed => {
                Ok(Updated { held: false, repeated: attempts.repeated(), item: None })
            }
            Err(error) => Err(store_error(operation, key, error)),
        }
    }

    /// Changes one item in any case, and gives it as it was before, if it was there.
    pub(super) async fn exchange(
        &self,
        key: &ItemKey,
        update: Update,
        operation: &'static str,
    ) -> StoreResult<Option<Item>> {
        let sent = self.updating(key, update, ReturnValue::AllOld).send().await;
        let before = sent.map_err(|error| store_error(operation, key, error))?.attributes;
        Ok(before.filter(|item| !item.is_empty()))
    }

    fn updating<A: Into<String>>(
        &self,
        key: &ItemKey,
        update: Update<A>,
        shown: ReturnValue,
    ) -> UpdateItemFluentBuilder {
        let (names, values) = (owned(update.names), owned(update.values));
        self.client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .update_expression(update.expression)
            .set_condition_expression(update.condition.map(Into::into))
            .return_values(shown)
            .set_expression_attribute_names(Some(names).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
    }

    pub(super) fn put(&self, item: Item, condition: Condition) -> Write {
        let put = Put::builder()
            .table_name(&*self.name)
            .set_item(Some(item))
            .set_condition_expression(condition.map(str::to_owned))
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    pub(super) fn delete(&self, key: &ItemKey, condition: Condition) -> Write {
        let delete = Delete::builder()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .set_condition_expression(condition.map(str::to_owned))
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// Removes an item that has these values.
    pub(super) fn delete_equal(&self, key: &ItemKey, equal: Equal<'_>) -> Write {
        let (condition, names, values) = conjunction(equal);
        let delete = Delete::builder()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// Changes an item if the condition holds.
    pub(super) fn change(&self, key: &ItemKey, update: Update) -> Write {
        let change = types::Update::builder()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .update_expression(update.expression)
            .set_condition_expression(update.condition.map(str::to_owned))
            .set_expression_attribute_names(Some(owned(update.names)))
            .set_expression_attribute_values(Some(owned(update.values)))
            .build()?;
        Ok(TransactWriteItem::builder().update(change).build())
    }

    pub(super) fn check(&self, key: &ItemKey, condition: Condition) -> Write {
        let check = ConditionCheck::builder()
            .table_name(&*self.name)
            .set_key(Some(key.attributes()))
            .set_condition_expression(condition.map(str::to_owned))
            .build()?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// Does all of the writes or none. Gives the places of those whose conditions did not hold;
    /// none means that all were done. Attempts of the same transaction carry the same token (the
    /// SDK makes it), so that a repeated one does not meet its own effect.
    pub(super) async fn transact(
        &self,
        writes: impl IntoIterator<Item = Write>,
        operation: &'static str,
    ) -> StoreResult<Vec<usize>> {
        let writes = writes
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| own_error(StoreErrorKind::InvalidRequest, operation, &self.name, error))?;
        let Err(error) = self.client.transact_write_items().set_transact_items(Some(writes)).send().await else {
            return Ok(Vec::new());
        };
        let Some(cause) = error.as_service_error() else {
            return Err(store_error(operation, &self.name, error));
        };
        let failed: Vec<usize> = cancellation_codes(cause)
            .into_iter()
            .enumerate()
            .filter_map(|(place, code)| (code == "ConditionalCheckFailed").then_some(place))
            .collect();
        if !failed.is_empty() {
            return Ok(failed);
        }
        let kind = match cancellation_codes(cause) {
            _ if is_conflict(cause) => StoreErrorKind::Unavailable,
            codes if codes.iter().any(|code| matches!(*code, "ThrottlingError" | "ProvisionedThroughputExceeded")) => {
                StoreErrorKind::Throttled
            }
            _ => kind(&error),
        };
        Err(store_error_as(kind, operation, &self.name, error))
    }
}
