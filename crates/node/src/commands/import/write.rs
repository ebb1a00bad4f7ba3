//! Writes a plan: new users many at a time, each batch whole or not at all.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, stream};
use serde::Serialize;
use tidegate_store::{AuthorizedKey, Directory, StoreError, StoreErrorKind, TenantName, User};

use super::plan::{Action, Step};
use crate::commands::CommandError;

/// How many tenants are written to at once. The batches of one tenant go one after the other: all of
/// them check that the tenant is there, and transactions on the same item get in each other's way.
const TENANTS: usize = 8;

/// How many users get keys at once.
const UPDATES: usize = 16;

/// About how many bytes a batch may take; a transaction of DynamoDB takes 4 MB.
const BATCH_BYTES: usize = 1 << 20;

/// What became of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fate {
    /// Nothing of it was written.
    NotWritten,
    /// There was no answer.
    Uncertain,
    /// All of it is there.
    Written,
}

/// What a run has done.
#[derive(Debug)]
pub(super) struct Written {
    /// By name; only users for whom something was to be written.
    pub(super) fates: BTreeMap<String, Fate>,
    /// Why it ended early.
    pub(super) failure: Option<CommandError>,
}

/// What is shared by all that writes.
struct Run<'a> {
    directory: &'a dyn Directory,
    progress: &'a (dyn Fn(usize) + Sync),
    state: Mutex<State>,
}

/// How far a run is. It stops at its first failure.
struct State {
    written: Written,
    /// How many users are written.
    done: usize,
}

/// Writes the plan. Ends at the first failure, when what runs then has ended: what is written then
/// stays, and a run of the same plan goes on from there. `progress` is told how many users are done.
pub(super) async fn write(directory: &dyn Directory, steps: &[Step], progress: &(dyn Fn(usize) + Sync)) -> Written {
    let mut fates = BTreeMap::new();
    let mut added: BTreeMap<&TenantName, Vec<&User>> = BTreeMap::new();
    let mut updated = Vec::new();
    for Step { user, action } in steps {
        match action {
            Action::Keep => continue,
            Action::Add => added.entry(&user.tenant).or_default().push(user),
            Action::AddKeys(keys) => updated.push((user, keys.as_slice())),
        }
        fates.insert(user.name.to_string(), Fate::NotWritten);
    }
    let state = State { written: Written { fates, failure: None }, done: 0 };
    let run = Run { directory, progress, state: Mutex::new(state) };
    stream::iter(added).for_each_concurrent(TENANTS, |(tenant, users)| run.add(tenant, users)).await;
    stream::iter(updated).for_each_concurrent(UPDATES, |(user, keys)| run.add_keys(user, keys)).await;
    run.state.into_inner().unwrap_or_else(PoisonError::into_inner).written
}

impl Run<'_> {
    /// Adds one tenant's users.
    async fn add(&self, tenant: &TenantName, users: Vec<&User>) {
        for batch in batches(users) {
            if self.has_failed() {
                return;
            }
            let result = self.directory.create_users(tenant, &batch).await;
            let names = batch.iter().map(|user| user.name.as_str());
            match result {
                Ok(()) => self.settle(names, Fate::Written),
                Err(error) => {
                    self.settle(names, unanswered(&error));
                    let context = format!("adding {} users of the tenant {tenant}", batch.len());
                    return self.fail(CommandError::store(context, error));
                }
            }
        }
    }

    /// Adds keys to a user, all of them or none. One that somebody else has added meanwhile is as good.
    async fn add_keys(&self, user: &User, keys: &[AuthorizedKey]) {
        if self.has_failed() {
            return;
        }
        let mut missing = keys.to_vec();
        while let Err(error) = self.directory.add_keys(&user.name, &missing).await {
            let before = missing.len();
            if error.kind() == StoreErrorKind::PreconditionFailed
                && let Ok(Some(found)) = self.directory.user(&user.name).await
            {
                missing.retain(|key| found.keys.iter().all(|known| known.id != key.id));
            }
            if missing.len() == before {
                self.settle([user.name.as_str()], unanswered(&error));
                return self.fail(CommandError::store(format!("adding keys to {}", user.name), error));
            }
        }
        self.settle([user.name.as_str()], Fate::Written);
    }

    fn settle<'n>(&self, names: impl IntoIterator<Item = &'n str>, fate: Fate) {
        let done = {
            let mut state = self.state();
            for name in names {
                // Each user is settled once.
                state.written.fates.insert(name.to_owned(), fate);
                state.done += usize::from(fate == Fate::Written);
            }
            state.done
        };
        (self.progress)(done);
    }

    fn fail(&self, error: CommandError) {
        // The first one tells why; others are its company.
        self.state().written.failure.get_or_insert(error);
    }

    fn has_failed(&self) -> bool {
        self.state().written.failure.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a request that failed may have taken effect nevertheless.
fn unanswered(error: &StoreError) -> Fate {
    if error.kind() == StoreErrorKind::Unavailable { Fate::Uncertain } else { Fate::NotWritten }
}

/// In the order in which they are given, as many at once as may be. A plan has no user twice.
fn batches(users: Vec<&User>) -> Vec<Vec<User>> {
    let mut batches: Vec<Vec<User>> = Vec::new();
    let mut room = 0;
    for user in users {
        let size = size(user);
        match batches.last_mut() {
            Some(batch) if batch.len() < User::MAX_BATCH && size <= room => {
                batch.push(user.clone());
                room -= size;
            }
            _ => {
                batches.push(vec![user.clone()]);
                room = BATCH_BYTES.saturating_sub(size);
            }
        }
    }
    batches
}

/// About how many bytes a user takes.
fn size(user: &User) -> usize {
    let keys: usize = user.keys.iter().map(|key| 128 + key.key.len() + key.comment.len()).sum();
    let mappings: usize = user
        .mappings
        .as_slice()
        .iter()
        .map(|mapping| 64 + mapping.entry.as_str().len() + mapping.target.as_str().len())
        .sum();
    512 + keys + mappings + user.home.len()
}

#[cfg(test)]
mod tests;
