//! Accounts kept for a short while, so that logins neither wait for nor overrun the directory; and
//! tenants' stores, where opening one costs a request.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::Expiry;
use moka::future::Cache;
use serde::Deserialize;
use thiserror::Error;

use crate::account::{Account, Accounts, UserName};
use crate::error::StoreResult;
use crate::metrics::Metrics;

/// The part of an entry's life that chance may take away, so that entries made together do not
/// end together.
const JITTER: f64 = 0.2;

/// How accounts are cached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long an account is believed at most: the time within which a key that was removed or a
    /// user that was disabled stops working on this node. Text such as `30s`, 1 s to 15 min;
    /// default 30 s.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How long an unknown user name is believed to be unknown at most: the time within which a
    /// new user can log in after a try that came too early. Text such as `3s`, at most `ttl`;
    /// default 3 s.
    #[serde(with = "humantime_serde")]
    pub negative_ttl: Duration,
    /// How many accounts and unknown names are kept at most, 1 to 1,000,000; default 10,000. An
    /// account takes about 1 KiB, one with the greatest number of large keys about 40 KiB.
    pub capacity: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(30), negative_ttl: Duration::from_secs(3), capacity: 10_000 }
    }
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} {rule}")]
pub struct ConfigError {
    field: &'static str,
    rule: &'static str,
}

impl Config {
    const TTL_MIN: Duration = Duration::from_secs(1);
    const TTL_MAX: Duration = Duration::from_secs(15 * 60);
    const CAPACITY_MAX: u64 = 1_000_000;

    /// Checks the settings.
    ///
    /// # Errors
    /// Names the first field that is out of its range, and the range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(Self::TTL_MIN..=Self::TTL_MAX).contains(&self.ttl) {
            return Err(ConfigError { field: "ttl", rule: "must be between 1 second and 15 minutes" });
        }
        if self.negative_ttl > self.ttl {
            return Err(ConfigError { field: "negative_ttl", rule: "must not be longer than ttl" });
        }
        if !(1..=Self::CAPACITY_MAX).contains(&self.capacity) {
            return Err(ConfigError { field: "capacity", rule: "must be between 1 and 1,000,000" });
        }
        Ok(())
    }

    /// How long an answer of the directory is still believed when it enters the cache, for a user that is
    /// `known` or not. `chance`, 0 to 1, decides which part of the bound is taken away, so that entries
    /// made together do not end together; `took` is how long the directory needed.
    #[must_use]
    pub fn life(&self, known: bool, chance: f64, took: Duration) -> Duration {
        life(if known { self.ttl } else { self.negative_ttl }, chance, took)
    }
}

/// Accounts of `inner`, believed for a bounded time. Concurrent lookups of one name make one
/// request; what fails is not kept.
pub struct CachedAccounts {
    inner: Arc<dyn Accounts>,
    cache: Cache<UserName, Entry>,
    config: Config,
    metrics: Metrics,
}

/// An answer of the directory, and how long it is still believed when it enters the cache.
#[derive(Clone)]
struct Entry {
    account: Option<Arc<Account>>,
    life: Duration,
}

impl CachedAccounts {
    /// Caches what `inner` answers.
    pub fn new(inner: Arc<dyn Accounts>, config: &Config, metrics: Metrics) -> Self {
        let cache = Cache::builder().max_capacity(config.capacity).expire_after(EntryLife).build();
        Self { inner, cache, config: config.clone(), metrics }
    }

    async fn fetch(&self, user: &UserName) -> StoreResult<Entry> {
        let asked = Instant::now();
        let account = self.inner.lookup(user).await?;
        let life = self.config.life(account.is_some(), rand::random(), asked.elapsed());
        Ok(Entry { account, life })
    }
}

/// How long an answer is believed: `bound` less a random part (`chance` from 0 to 1), counted
/// from when the question was asked, since the answer may be as old as that.
fn life(bound: Duration, chance: f64, took: Duration) -> Duration {
    bound.mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0)).saturating_sub(took)
}

/// Gives every entry its own life. An update is a new answer to the same question, and must not
/// inherit the rest of the old one's life.
struct EntryLife;

impl Expiry<UserName, Entry> for EntryLife {
    fn expire_after_create(&self, _: &UserName, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.life)
    }

    fn expire_after_update(&self, _: &UserName, entry: &Entry, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.life)
    }
}

impl fmt::Debug for CachedAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedAccounts")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Accounts for CachedAccounts {
    async fn lookup(&self, user: &UserName) -> StoreResult<Option<Arc<Account>>> {
        let mut asked = false;
        let fetch = async {
            asked = true;
            self.fetch(user).await
        };
        let result = self.cache.try_get_with_by_ref(user, fetch).await;
        if asked {
            self.metrics.cache_misses.inc();
            self.metrics.cache_entries.set(i64::try_from(self.cache.entry_count()).unwrap_or(i64::MAX));
        } else {
            self.metrics.cache_hits.inc();
        }
        // The failure may be shared with others that waited for the same request.
        result.map(|entry| entry.account).map_err(|error| (*error).clone())
    }
}

mod object_stores;
#[cfg(test)]
mod tests;

pub use object_stores::CachedObjectStores;
