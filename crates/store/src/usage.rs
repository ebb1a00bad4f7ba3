//! What the files of a tenant take: counters that all nodes share, and how they are set right.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::account::{Tenant, TenantName};
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::object::ListRequest;
use crate::object_store::{ObjectStore, limits};

/// Bytes and objects, or a change of them. Directory markers are objects of no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageDelta {
    /// Bytes of content.
    pub bytes: i64,
    /// Objects.
    pub objects: i64,
}

/// What a tenant's files take, as far as it was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageFigures {
    /// The counters. They may fall below zero for a while where changes were lost.
    pub used: UsageDelta,
    /// When the objects themselves were last counted, in seconds since the Unix epoch; `None` if they
    /// never were, and then the counters mean nothing yet.
    pub counted: Option<u64>,
}

/// Who counts a tenant's objects, so that no two do at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recount {
    /// Told apart from all others by this.
    pub token: String,
    /// In seconds since the Unix epoch.
    pub now: u64,
    /// From when on another may begin, in seconds since the Unix epoch.
    pub until: u64,
}

/// The counters of tenants whose usage is counted. Every implementation passes
/// [`crate::conformance::usage`].
#[async_trait]
pub trait UsageStore: fmt::Debug + Send + Sync {
    /// A tenant's figures; zeros that were never counted if there are none.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn read(&self, tenant: &TenantName) -> StoreResult<UsageFigures>;

    /// Adds to the counters and gives the figures after that. A change whose answer was lost may be
    /// added twice: a recount sets it right.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn add(&self, tenant: &TenantName, delta: UsageDelta) -> StoreResult<UsageFigures>;

    /// Takes the right to recount, or keeps it for longer; `false` while another holds it.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn begin_recount(&self, tenant: &TenantName, recount: &Recount) -> StoreResult<bool>;

    /// Adds the correction that a recount found, notes when it was, and gives the right back; `false`
    /// if another has taken it meanwhile, and then nothing changes.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn finish_recount(&self, tenant: &TenantName, recount: &Recount, correction: UsageDelta)
    -> StoreResult<bool>;

    /// Makes the figures count as never counted: for a tenant whose usage was not counted for a while.
    ///
    /// # Errors
    /// Any that talking to the service may give.
    async fn forget_count(&self, tenant: &TenantName) -> StoreResult<()>;
}

impl UsageDelta {
    /// A change of so many bytes and objects.
    pub fn new(bytes: i64, objects: i64) -> Self {
        Self { bytes, objects }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), objects: self.objects.saturating_add(other.objects) }
    }

    /// What leads from `other` to this.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), objects: self.objects.saturating_sub(other.objects) }
    }
}

/// How long a recount has its right after each time that it says it goes on, and how often it does.
const LEASE: Duration = Duration::from_secs(600);
const RENEW: Duration = Duration::from_secs(60);

/// Counts a tenant's objects by listing them, one request for 1,000, and corrects its counters;
/// `None` if someone else does at the moment.
///
/// `settle` is how long nodes take to tell their changes: so long it waits before it begins. What
/// changes while it lists may be counted twice or not at all, until the next recount.
///
/// # Errors
/// Any that the stores give. The counters are untouched then, and another recount may begin ten
/// minutes later.
pub async fn recount(
    store: &dyn ObjectStore,
    usage: &dyn UsageStore,
    tenant: &Tenant,
    settle: Duration,
) -> StoreResult<Option<UsageFigures>> {
    let token = format!("{:032x}", rand::random::<u128>());
    if !usage.begin_recount(&tenant.name, &claim(&token)).await? {
        return Ok(None);
    }
    tokio::time::sleep(settle).await;
    let before = usage.read(&tenant.name).await?;
    let mut counted = UsageDelta::default();
    let mut renewed = Instant::now();
    let mut continuation = None;
    let reserved = tenant.prefix.reserved();
    loop {
        let prefix = tenant.prefix.as_str().to_owned();
        let request =
            ListRequest { prefix, delimited: false, limit: limits::LIST_MAX, continuation, start_after: None };
        let page = store.list(&request).await?;
        for object in page.objects.iter().filter(|object| !object.key.as_str().starts_with(&reserved)) {
            counted = counted.plus(UsageDelta::new(i64::try_from(object.size).unwrap_or(i64::MAX), 1));
        }
        continuation = page.next;
        if continuation.is_none() {
            break;
        }
        if renewed.elapsed() >= RENEW {
            if !usage.begin_recount(&tenant.name, &claim(&token)).await? {
                return Ok(None);
            }
            renewed = Instant::now();
        }
    }
    let end = claim(&token);
    if !usage.finish_recount(&tenant.name, &end, counted.minus(before.used)).await? {
        return Err(StoreError::new(StoreErrorKind::Unavailable, "recount").with_source("the recount took too long"));
    }
    usage.read(&tenant.name).await.map(Some)
}

fn claim(token: &str) -> Recount {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Recount { token: token.to_owned(), now, until: now + LEASE.as_secs() }
}
