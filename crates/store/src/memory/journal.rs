//! The journal of uploads in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::lock;
use crate::account::TenantName;
use crate::error::StoreResult;
use crate::journal::{Generation, Journal, JournalEntry, JournalPage};
use crate::object::ObjectKey;

/// How many entries a page has.
const PAGE: usize = 100;

/// A journal in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<(TenantName, ObjectKey), JournalEntry>,
    reaping_until: u64,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    fn remove_if(&mut self, name: &(TenantName, ObjectKey), holds: impl FnOnce(&JournalEntry) -> bool) -> bool {
        self.entries.get(name).is_some_and(holds) && self.entries.remove(name).is_some()
    }
}

fn name(tenant: &TenantName, key: &ObjectKey) -> (TenantName, ObjectKey) {
    (tenant.clone(), key.clone())
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn read(&self, tenant: &TenantName, key: &ObjectKey) -> StoreResult<Option<JournalEntry>> {
        Ok(lock(&self.state).entries.get(&name(tenant, key)).cloned())
    }

    async fn replace(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<Option<JournalEntry>> {
        let before = lock(&self.state).entries.insert(name(tenant, &entry.key), entry.clone());
        Ok(before.filter(|before| before.generation != entry.generation))
    }

    async fn create(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        let mut state = lock(&self.state);
        let there = state.entries.entry(name(tenant, &entry.key)).or_insert_with(|| entry.clone());
        Ok(there.generation == entry.generation)
    }

    async fn update(&self, tenant: &TenantName, expected: Generation, entry: &JournalEntry) -> StoreResult<bool> {
        let mut state = lock(&self.state);
        let there = state.entries.get_mut(&name(tenant, &entry.key));
        let Some(there) = there.filter(|there| [expected, entry.generation].contains(&there.generation)) else {
            return Ok(false);
        };
        *there = entry.clone();
        Ok(true)
    }

    async fn take_over(
        &self,
        tenant: &TenantName,
        key: &ObjectKey,
        expected: Generation,
        mine: Generation,
    ) -> StoreResult<Option<JournalEntry>> {
        let mut state = lock(&self.state);
        let there = state.entries.get_mut(&name(tenant, key));
        Ok(there.filter(|there| [expected, mine].contains(&there.generation)).map(|there| {
            there.generation = mine;
            there.clone()
        }))
    }

    async fn remove(&self, tenant: &TenantName, key: &ObjectKey, generation: Generation) -> StoreResult<bool> {
        Ok(lock(&self.state).remove_if(&name(tenant, key), |there| there.generation == generation))
    }

    async fn remove_expired(&self, tenant: &TenantName, entry: &JournalEntry) -> StoreResult<bool> {
        let is_as_read =
            |there: &JournalEntry| there.generation == entry.generation && there.record.expires == entry.record.expires;
        Ok(lock(&self.state).remove_if(&name(tenant, &entry.key), is_as_read))
    }

    async fn rename(
        &self,
        tenant: &TenantName,
        from: &JournalEntry,
        to: &JournalEntry,
        over: Option<Generation>,
    ) -> StoreResult<bool> {
        let mut state = lock(&self.state);
        let target = name(tenant, &to.key);
        if state.entries.get(&target).map(|there| there.generation) != over
            || !state.remove_if(&name(tenant, &from.key), |there| there.generation == from.generation)
        {
            return Ok(false);
        }
        state.entries.insert(target, to.clone());
        Ok(true)
    }

    async fn list(&self, tenant: &TenantName, prefix: &str, after: Option<&ObjectKey>) -> StoreResult<JournalPage> {
        let state = lock(&self.state);
        // No key is shorter than one byte, and every key with the prefix is behind the prefix.
        let begin = match after.cloned().or_else(|| ObjectKey::new(prefix)) {
            None => Bound::Unbounded,
            Some(key) if after.is_some() => Bound::Excluded((tenant.clone(), key)),
            Some(key) => Bound::Included((tenant.clone(), key)),
        };
        let of_tenant = state.entries.range((begin, Bound::Unbounded));
        let mut entries: Vec<JournalEntry> = of_tenant
            .skip_while(|((name, _), _)| name < tenant)
            .take_while(|((name, key), _)| name == tenant && key.as_str().starts_with(prefix))
            .take(PAGE + 1)
            .map(|(_, entry)| entry.clone())
            .collect();
        let more = entries.len() > PAGE;
        entries.truncate(PAGE);
        let next = entries.last().filter(|_| more).map(|entry| entry.key.clone());
        Ok(JournalPage { entries, next })
    }

    async fn claim_reaping(&self, now: u64, until: u64) -> StoreResult<bool> {
        let mut state = lock(&self.state);
        let is_free = state.reaping_until <= now;
        if is_free {
            state.reaping_until = until;
        }
        Ok(is_free)
    }
}
