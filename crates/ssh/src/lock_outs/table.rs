//! The failures that one node remembers, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tidegate_store::UserName;
use tokio::time::Instant;

use crate::accounting::LockOut;

/// A source, or a user at a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) user: Option<UserName>,
}

impl Key {
    pub(super) fn source(source: IpAddr) -> Self {
        Self { source, user: None }
    }

    pub(super) fn user(source: IpAddr, user: UserName) -> Self {
        Self { source, user: Some(user) }
    }

    /// The source, and the user there if one is named.
    pub(super) fn both(source: IpAddr, user: Option<&UserName>) -> Vec<(LockOut, Self)> {
        let user = user.map(|user| (LockOut::User, Self::user(source, user.clone())));
        [(LockOut::Source, Self::source(source))].into_iter().chain(user).collect()
    }
}

/// Entries in two halves. When the newer one is full it becomes the older, and what was older goes: an
/// entry is lost only after as many others as a half takes were touched behind it.
#[derive(Debug)]
pub(super) struct Table {
    newer: HashMap<Key, Entry>,
    older: HashMap<Key, Entry>,
    half: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    /// When the failures begin to be counted anew.
    until: Instant,
    locked_until: Option<Instant>,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self { newer: HashMap::new(), older: HashMap::new(), half: (capacity / 2).max(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    pub(super) fn is_locked(&self, key: &Key, now: Instant) -> bool {
        let entry = self.newer.get(key).or_else(|| self.older.get(key));
        entry.is_some_and(|entry| entry.is_locked(now))
    }

    /// Changes how many failures there are in the window, and gives how many there are then.
    pub(super) fn count(&mut self, key: Key, now: Instant, window: Duration, to: impl FnOnce(u32) -> u32) -> u32 {
        let entry = self.entry(key, now, window);
        entry.failures = to(entry.failures);
        entry.failures
    }

    /// Locks out what is not yet; whether it did.
    pub(super) fn lock(&mut self, key: &Key, now: Instant, time: Duration) -> bool {
        let Some(entry) = self.newer.get_mut(key).filter(|entry| !entry.is_locked(now)) else { return false };
        entry.locked_until = Some(now + time);
        true
    }

    /// Forgets an entry; whether there was one.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let newer = self.newer.remove(key);
        let older = self.older.remove(key);
        newer.or(older).is_some()
    }

    /// The entry, among the newer ones.
    fn entry(&mut self, key: Key, now: Instant, window: Duration) -> &mut Entry {
        if self.newer.len() >= self.half && !self.newer.contains_key(&key) {
            self.older = std::mem::take(&mut self.newer);
        }
        let before = self.older.remove(&key);
        let fresh = Entry { failures: 0, until: now + window, locked_until: None };
        let entry = self.newer.entry(key).or_insert(before.unwrap_or(fresh));
        if entry.until <= now {
            *entry = fresh;
        }
        entry
    }
}

impl Entry {
    fn is_locked(&self, now: Instant) -> bool {
        self.locked_until.is_some_and(|until| until > now)
    }
}
