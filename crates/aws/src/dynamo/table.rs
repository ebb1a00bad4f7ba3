//! The table itself.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
    TimeToLiveSpecification,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tidegate_store::{StoreErrorKind, StoreResult};

use super::schema::{PK, SK, TTL};
use crate::error::{own_error, store_error};

/// How long creation is waited for, and how often it is asked about.
const ACTIVE_MAX: Duration = Duration::from_secs(120);
const ACTIVE_POLL: Duration = Duration::from_millis(500);

const OPERATION: &str = "create table";

/// Creates the table, paid by request, and waits until it can be used. Fine if it exists.
pub(crate) async fn create_table(client: &Client, name: &str) -> StoreResult<()> {
    let invalid = |error| own_error(StoreErrorKind::InvalidRequest, OPERATION, name, error);
    let mut request = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (attribute, role) in [(PK, KeyType::Hash), (SK, KeyType::Range)] {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(|error| invalid(Box::new(error)))?;
        let element = KeySchemaElement::builder()
            .attribute_name(attribute)
            .key_type(role)
            .build()
            .map_err(|error| invalid(Box::new(error)))?;
        request = request.attribute_definitions(definition).key_schema(element);
    }
    match request.send().await {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {}
        Err(error) => return Err(store_error(OPERATION, name, error)),
    }
    tokio::time::timeout(ACTIVE_MAX, active(client, name)).await.map_err(|_| {
        own_error(StoreErrorKind::Unavailable, OPERATION, name, "the table did not become active in two minutes")
    })??;
    enable_expiry(client, name).await
}

async fn active(client: &Client, name: &str) -> StoreResult<()> {
    loop {
        let described = client.describe_table().table_name(name).send().await;
        let status = match described {
            Ok(output) => output.table.and_then(|table| table.table_status),
            // The description may lag behind the creation.
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => None,
            Err(error) => return Err(store_error(OPERATION, name, error)),
        };
        if status == Some(TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(ACTIVE_POLL).await;
    }
}

/// Items with a time to live are removed when it is over.
async fn enable_expiry(client: &Client, name: &str) -> StoreResult<()> {
    let specification = TimeToLiveSpecification::builder()
        .attribute_name(TTL)
        .enabled(true)
        .build()
        .map_err(|error| own_error(StoreErrorKind::InvalidRequest, OPERATION, name, error))?;
    let sent = client.update_time_to_live().table_name(name).time_to_live_specification(specification).send().await;
    match sent {
        Ok(_) => Ok(()),
        // What DynamoDB says if it is on already; there is no code of its own for it.
        Err(error) if error.code() == Some("ValidationException") => Ok(()),
        Err(error) => Err(store_error(OPERATION, name, error)),
    }
}

/// Tells an operator whether the table can be used.
pub(crate) async fn check_table(client: &Client, name: &str) -> Result<String, String> {
    let described = client.describe_table().table_name(name).send().await;
    let table = match described {
        Ok(output) => output.table,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
            return Err(format!("there is no table \"{name}\" in this account and region"));
        }
        Err(error) => return Err(store_error("describe table", name, error).report()),
    };
    let table = table.ok_or_else(|| format!("DynamoDB does not describe the table \"{name}\""))?;
    let keys: Vec<(&str, &KeyType)> =
        table.key_schema().iter().map(|key| (key.attribute_name(), key.key_type())).collect();
    if keys != [(PK, &KeyType::Hash), (SK, &KeyType::Range)] {
        return Err(format!("the table \"{name}\" has other keys than {PK} (hash) and {SK} (range)"));
    }
    match table.table_status() {
        Some(TableStatus::Active | TableStatus::Updating) => Ok(format!("\"{name}\" is active")),
        status => Err(format!("the table \"{name}\" is {}", status.map_or("in no state", TableStatus::as_str))),
    }
}
