//! What is to be written, compared with what is there.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use tidegate_store::{AuthorizedKey, Directory, Tenant, TenantName, User};

use super::findings::{Findings, Place};
use super::locate::resolve;
use super::source::Draft;
use crate::commands::{CommandError, users};
use crate::import::ImportOptions;

/// How many users are looked up at once.
const LOOKUPS: usize = 32;

/// One user of the plan.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) user: User,
    pub(super) action: Action,
}

/// What is done for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The user is added.
    Add,
    /// These keys are added to the user, who is there already.
    AddKeys(Vec<AuthorizedKey>),
    /// Nothing: all of it is there already.
    Keep,
}

/// The users that the sources tell of, whole, with the places they come from.
pub(super) fn users(
    drafts: Vec<Draft>,
    tenants: &[Tenant],
    only: Option<&TenantName>,
    options: &ImportOptions,
    findings: &mut Findings,
) -> Vec<(Place, User)> {
    let mut whole = Vec::with_capacity(drafts.len());
    for Draft { name, keys, place, view } in drafts {
        let (tenant, mut access) = match resolve(view, tenants) {
            Ok(resolved) => resolved,
            Err(problem) => {
                findings.error(&place, Some(name.as_str()), problem);
                continue;
            }
        };
        if let Some(only) = only.filter(|only| **only != tenant) {
            let text = format!("the user's files are those of the tenant {tenant}, not of {only} (--tenant)");
            findings.error(&place, Some(name.as_str()), text);
            continue;
        }
        access.permissions = options.permissions.as_ref().map(|list| list.0.clone());
        match users::new(&name, &tenant, &access, keys) {
            Ok(user) => whole.push((place, user)),
            Err(error) => findings.error(&place, Some(name.as_str()), error.to_string()),
        }
    }
    check_together(&whole, options.allow_shared_keys, findings);
    whole
}

/// What no two users may have alike.
fn check_together(users: &[(Place, User)], shared_keys: bool, findings: &mut Findings) {
    let mut names: BTreeMap<&str, &Place> = BTreeMap::new();
    let mut keys: BTreeMap<&str, &User> = BTreeMap::new();
    for (place, user) in users {
        let name = user.name.as_str();
        if let Some(first) = names.insert(name, place) {
            findings.error(place, Some(name), format!("the user comes twice, the first time at {first}"));
            continue;
        }
        for key in &user.keys {
            match keys.insert(&key.id, user) {
                Some(other) if !shared_keys => findings.error(
                    place,
                    Some(name),
                    format!("the key {} is {}'s, too (see --allow-shared-keys)", key.id, other.name),
                ),
                _ => {}
            }
        }
    }
}

/// Looks up which users are there already, and says what is to be done for each.
///
/// # Errors
/// If the directory can't be read.
pub(super) async fn steps(
    directory: &dyn Directory,
    users: Vec<(Place, User)>,
    update: bool,
    findings: &mut Findings,
) -> Result<Vec<Step>, CommandError> {
    let mut found = stream::iter(users)
        .map(|(place, user)| async move {
            match directory.user(&user.name).await {
                Ok(existing) => Ok((place, user, existing)),
                Err(error) => Err(CommandError::store(format!("reading the user {}", user.name), error)),
            }
        })
        .buffered(LOOKUPS);
    let mut steps = Vec::new();
    while let Some(found) = found.next().await {
        let (place, user, existing) = found?;
        match existing.map_or(Ok(Action::Add), |existing| compare(&existing, &user, update)) {
            Ok(action) => steps.push(Step { user, action }),
            Err(problem) => findings.error(&place, Some(user.name.as_str()), problem),
        }
    }
    Ok(steps)
}

/// What is missing of `wanted` in `existing`.
fn compare(existing: &User, wanted: &User, update: bool) -> Result<Action, String> {
    let differs = |what: &str, there: &dyn std::fmt::Display, here: &dyn std::fmt::Display| {
        Err(format!("the user exists already with another {what}: {there} there, {here} here"))
    };
    if existing.tenant != wanted.tenant {
        return differs("tenant", &existing.tenant, &wanted.tenant);
    }
    if existing.home != wanted.home {
        return differs("home", &existing.home, &wanted.home);
    }
    if existing.permissions != wanted.permissions || existing.rules != wanted.rules {
        return Err("the user exists already with other permissions (tidegate user show)".to_owned());
    }
    let sorted = |user: &User| {
        let mut mappings = user.mappings.as_slice().to_vec();
        mappings.sort_by(|one, other| one.entry.cmp(&other.entry));
        mappings
    };
    if sorted(existing) != sorted(wanted) {
        return Err("the user exists already with other mappings (tidegate user show)".to_owned());
    }
    let mut missing = Vec::new();
    for key in &wanted.keys {
        match existing.keys.iter().find(|known| known.id == key.id) {
            None => missing.push(key.clone()),
            Some(known) if known.expires != key.expires => {
                return Err(format!(
                    "the user has the key {} already, with another end; remove it first (tidegate user key remove)",
                    key.id
                ));
            }
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return Ok(Action::Keep);
    }
    if !update {
        return Err(format!("the user exists already, without {} of these keys (see --update)", missing.len()));
    }
    if existing.keys.len() + missing.len() > User::MAX_KEYS {
        return Err(format!("the user would have more than {} keys", User::MAX_KEYS));
    }
    Ok(Action::AddKeys(missing))
}

/// All tenants.
///
/// # Errors
/// If the directory can't be read.
pub(super) async fn tenants(directory: &dyn Directory) -> Result<Vec<Tenant>, CommandError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = directory
            .tenants(after.as_deref())
            .await
            .map_err(|error| CommandError::store("listing the tenants", error))?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
