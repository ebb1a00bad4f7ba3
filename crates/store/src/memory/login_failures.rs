//! Counts of failed logins in memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::lock;
use crate::account::UserName;
use crate::error::StoreResult;
use crate::login_failures::{LoginFailureCounts, LoginFailures};

/// Counts of failed logins in memory, whose clock is that of `tokio`. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryLoginFailures {
    began: Instant,
    counts: Arc<Mutex<HashMap<Key, u32>>>,
}

/// A source, a window's length and number, and a user for that user's part.
type Key = (IpAddr, Duration, u128, Option<UserName>);

impl MemoryLoginFailures {
    /// No failure yet; the windows begin now.
    pub fn new() -> Self {
        Self { began: Instant::now(), counts: Arc::default() }
    }

    fn key(&self, source: IpAddr, window: Duration, user: Option<&UserName>) -> Key {
        let number = self.began.elapsed().as_nanos() / window.as_nanos().max(1);
        (source, window, number, user.cloned())
    }
}

impl Default for MemoryLoginFailures {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LoginFailures for MemoryLoginFailures {
    async fn add(&self, source: IpAddr, user: Option<&UserName>, window: Duration) -> StoreResult<LoginFailureCounts> {
        let mut counts = lock(&self.counts);
        let mut raise = |user| {
            let count: &mut u32 = counts.entry(self.key(source, window, user)).or_default();
            *count = count.saturating_add(1);
            *count
        };
        Ok(LoginFailureCounts { source: raise(None), user: user.map_or(0, |user| raise(Some(user))) })
    }

    async fn forget(&self, source: IpAddr, user: &UserName, window: Duration) -> StoreResult<()> {
        let mut counts = lock(&self.counts);
        for user in [None, Some(user)] {
            counts.remove(&self.key(source, window, user));
        }
        Ok(())
    }
}
