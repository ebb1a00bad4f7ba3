//! Leases and the sessions counted under them: one item for each node, and one for each tenant and each
//! user whose sessions are counted.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_store::{ENDED_MAX, HeldSessions, Lease, LeaseId, Leases, SessionScope, StoreErrorKind, StoreResult};

use super::request::{Deleted, Table, Update};
use super::schema::{Fields, Item, ItemKey, LEASES, SK, TTL, VERSION, number};
use crate::error::own_error;

const BEAT: &str = "beat";

/// What stands before a lease's name in the attribute that has its count.
const HELD: &str = "held_";

/// A count is kept with its turn in one number, turn * this + sessions: so one comparison tells which of
/// two came later. With the last turn it has 26 digits, of the 38 that DynamoDB keeps exactly.
const TURN: u128 = 10_000_000_000;

/// How long what nobody writes any more stays: DynamoDB removes it by its own clock, so this is far more
/// than clocks differ. Whoever holds a lease or sessions writes more often.
const LEASE_LIFE: Duration = Duration::from_secs(24 * 3600);
const SESSIONS_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Leases in the table of tenants and users.
#[derive(Clone)]
pub(crate) struct DynamoLeases {
    table: Table,
}

impl DynamoLeases {
    pub(crate) fn new(client: Client, table: &str) -> Self {
        Self { table: Table::new(client, table) }
    }
}

impl fmt::Debug for DynamoLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoLeases").field("table", &self.table.name()).finish_non_exhaustive()
    }
}

/// When an item may go that is written now, in seconds since the Unix epoch.
fn ttl(life: Duration) -> AttributeValue {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    number((now + life).as_secs())
}

fn lease_of(item: &Item, operation: &'static str) -> StoreResult<Lease> {
    let fields = Fields::new(item, operation)?;
    Ok(Lease { id: fields.parsed(SK)?, beat: fields.number(BEAT)? })
}

fn held(item: &Item, operation: &'static str) -> StoreResult<Vec<HeldSessions>> {
    let fields = Fields::new(item, operation)?;
    item.keys()
        .filter_map(|name| Some((name, name.strip_prefix(HELD)?)))
        .map(|(name, id)| {
            let lease = id.parse::<LeaseId>().map_err(|error| fields.refuse(name, format!("is refused: {error}")))?;
            let sessions = fields.number::<u128>(name)? % TURN;
            Ok(HeldSessions { lease, sessions: u32::try_from(sessions).unwrap_or(u32::MAX) })
        })
        .collect()
}

/// Names for the attributes of leases that have ended, as expressions must be given them.
const ENDED: [&str; ENDED_MAX] = [
    "#e0", "#e1", "#e2", "#e3", "#e4", "#e5", "#e6", "#e7", "#e8", "#e9", "#e10", "#e11", "#e12", "#e13", "#e14",
    "#e15", "#e16", "#e17", "#e18", "#e19", "#e20", "#e21", "#e22", "#e23", "#e24", "#e25", "#e26", "#e27", "#e28",
    "#e29", "#e30", "#e31",
];

#[async_trait]
impl Leases for DynamoLeases {
    async fn begin(&self, id: &LeaseId) -> StoreResult<()> {
        let update = Update {
            expression: "SET #v = :v, #beat = :beat, #ttl = :ttl".into(),
            condition: Some("attribute_not_exists(pk) OR #beat = :beat"),
            names: HashMap::from([("#v", VERSION.to_owned()), ("#beat", BEAT.to_owned()), ("#ttl", TTL.to_owned())]),
            values: HashMap::from([(":v", number(1)), (":beat", number(0)), (":ttl", ttl(LEASE_LIFE))]),
        };
        // Where it is there already, an attempt before this one came late.
        self.table.update(&ItemKey::lease(id), update, "begin lease").await.map(drop)
    }

    async fn renew(&self, lease: &Lease) -> StoreResult<bool> {
        let update = Update {
            expression: "SET #beat = :beat, #ttl = :ttl".into(),
            condition: Some("attribute_exists(pk) AND #beat <= :beat"),
            names: HashMap::from([("#beat", BEAT.to_owned()), ("#ttl", TTL.to_owned())]),
            values: HashMap::from([(":beat", number(lease.beat)), (":ttl", ttl(LEASE_LIFE))]),
        };
        Ok(self.table.update(&ItemKey::lease(&lease.id), update, "renew lease").await?.held)
    }

    async fn end(&self, lease: &Lease) -> StoreResult<bool> {
        let deleted =
            self.table.delete_if(&ItemKey::lease(&lease.id), &[(BEAT, number(lease.beat))], "end lease").await?;
        Ok(deleted != Deleted::Refused)
    }

    async fn all(&self) -> StoreResult<Vec<Lease>> {
        const OPERATION: &str = "leases";
        let items = self.table.partition(LEASES, OPERATION).await?;
        items.iter().map(|item| lease_of(item, OPERATION)).collect()
    }

    async fn hold(
        &self,
        scope: &SessionScope,
        own: &HeldSessions,
        turn: u64,
        ended: &[LeaseId],
    ) -> StoreResult<Vec<HeldSessions>> {
        const OPERATION: &str = "hold sessions";
        if ended.len() > ENDED_MAX {
            let problem = "too many leases that have ended";
            return Err(own_error(StoreErrorKind::InvalidRequest, OPERATION, scope, problem));
        }
        let attribute = |id: &LeaseId| format!("{HELD}{id}");
        let mut names =
            HashMap::from([("#v", VERSION.to_owned()), ("#ttl", TTL.to_owned()), ("#own", attribute(&own.lease))]);
        let mut removed = Vec::new();
        for (alias, id) in ENDED.into_iter().zip(ended.iter().filter(|id| **id != own.lease)) {
            removed.push(alias);
            names.insert(alias, attribute(id));
        }
        let removed = if removed.is_empty() { String::new() } else { format!(" REMOVE {}", removed.join(", ")) };
        let update = Update {
            expression: format!("SET #v = :v, #ttl = :ttl, #own = :own{removed}").into(),
            condition: Some("(attribute_not_exists(#v) OR #v = :v) AND (attribute_not_exists(#own) OR #own <= :own)"),
            names,
            values: HashMap::from([
                (":v", number(1)),
                (":ttl", ttl(SESSIONS_LIFE)),
                (":own", number(u128::from(turn) * TURN + u128::from(own.sessions))),
            ]),
        };
        match self.table.update(&ItemKey::sessions(scope), update, OPERATION).await?.item {
            Some(item) => held(&item, OPERATION),
            None => {
                let problem = "a later turn has been, or another version of Tidegate wrote the item";
                Err(own_error(StoreErrorKind::PreconditionFailed, OPERATION, scope, problem))
            }
        }
    }
}
