//! The counts of failed logins: one item for each source and window in which there were any.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use tidegate_store::{LoginFailureCounts, LoginFailures, StoreErrorKind, StoreResult, UserName};

use super::request::{Table, Update};
use super::schema::{Fields, ItemKey, TTL, VERSION, number};
use crate::clock::StoreClock;
use crate::error::own_error;

const SOURCE: &str = "failures";

/// What stands before a user's name in the attribute that has its count.
const OF_USER: &str = "user_";

/// How long an item may stay behind the end of its window.
const REST: Duration = Duration::from_secs(3600);

/// Counts in the table of tenants and users.
#[derive(Clone)]
pub(crate) struct DynamoLoginFailures {
    table: Table,
    clock: StoreClock,
}

impl DynamoLoginFailures {
    pub(crate) fn new(client: Client, table: &str, clock: StoreClock) -> Self {
        Self { table: Table::new(client, table), clock }
    }

    /// The item of the window that runs, and when it may go, in seconds since the Unix epoch. Before
    /// DynamoDB's first answer, which any login needs, our own clock has to do.
    fn item(&self, source: IpAddr, window: Duration) -> (ItemKey, u64) {
        let now = self.clock.now().unwrap_or_else(SystemTime::now);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let length = window.as_secs().max(1);
        let number = now / length;
        let end = number.saturating_add(1).saturating_mul(length);
        (ItemKey::failures(source, window, number), end.saturating_add(REST.as_secs()))
    }
}

impl fmt::Debug for DynamoLoginFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoLoginFailures").field("table", &self.table.name()).finish_non_exhaustive()
    }
}

fn attribute(user: &UserName) -> String {
    format!("{OF_USER}{user}")
}

#[async_trait]
impl LoginFailures for DynamoLoginFailures {
    async fn add(&self, source: IpAddr, user: Option<&UserName>, window: Duration) -> StoreResult<LoginFailureCounts> {
        const OPERATION: &str = "add login failure";
        let (key, ttl) = self.item(source, window);
        let mut names =
            HashMap::from([("#v", VERSION.to_owned()), ("#ttl", TTL.to_owned()), ("#source", SOURCE.to_owned())]);
        let mut expression = "SET #v = :v, #ttl = :ttl ADD #source :one".to_owned();
        if let Some(user) = user {
            expression.push_str(", #user :one");
            names.insert("#user", attribute(user));
        }
        let update = Update {
            expression: expression.into(),
            condition: Some("attribute_not_exists(#v) OR #v = :v"),
            names,
            values: HashMap::from([(":v", number(1)), (":ttl", number(ttl)), (":one", number(1))]),
        };
        let Some(item) = self.table.update(&key, update, OPERATION).await?.item else {
            let problem = "written by another version of Tidegate";
            return Err(own_error(StoreErrorKind::Corrupt, OPERATION, key, problem));
        };
        let fields = Fields::new(&item, OPERATION)?;
        Ok(LoginFailureCounts {
            source: fields.number(SOURCE)?,
            user: user.map_or(Ok(0), |user| fields.number(&attribute(user)))?,
        })
    }

    async fn forget(&self, source: IpAddr, user: &UserName, window: Duration) -> StoreResult<()> {
        let (key, _) = self.item(source, window);
        let update = Update {
            expression: "SET #source = :zero REMOVE #user".into(),
            condition: Some("attribute_exists(pk)"),
            names: HashMap::from([("#source", SOURCE.to_owned()), ("#user", attribute(user))]),
            values: HashMap::from([(":zero", number(0))]),
        };
        self.table.update(&key, update, "forget login failures").await.map(drop)
    }
}
