//! The conformance suite: what every implementation of a port must do, as functions that its
//! tests call. Each panics with the rule that was broken.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a suite for tests reports by panicking, and its own constants are in range"
)]

mod checksums;
mod conditions;
mod copies;
mod data_keys;
mod deviation;
mod directory;
mod journal;
mod leases;
mod listing;
mod login_failures;
mod multipart;
mod names;
mod objects;
mod outcome;
mod reads;
mod suite;
mod tags;
mod uploads;
mod usage;

use std::sync::Arc;

pub use deviation::Deviation;
use suite::Suite;

use crate::account::Directory;
use crate::data_keys::DataKeys;
use crate::journal::Journal;
use crate::leases::Leases;
use crate::login_failures::LoginFailures;
use crate::object_store::ObjectStore;
use crate::usage::UsageStore;

/// Checks an object store. All keys lie under `prefix`, which must be this run's own, end in `/`
/// and take at most 100 bytes; the suite removes what it finds and leaves there. It sends about
/// 25 MiB.
///
/// `deviations` are rules that the store behind the implementation is known to break: each is
/// checked to be broken indeed, so that the list can't outlive its reasons.
///
/// # Panics
/// If a rule does not hold, or a listed deviation does not show.
pub async fn object_store(store: Arc<dyn ObjectStore>, prefix: &str, deviations: &[Deviation]) {
    object_store_listed_by(Arc::clone(&store), store, prefix, deviations).await;
}

/// The same for a store that may not list uploads: `lister`, a store of the same objects, does it.
///
/// # Panics
/// If a rule does not hold, or a listed deviation does not show.
pub async fn object_store_listed_by(
    store: Arc<dyn ObjectStore>,
    lister: Arc<dyn ObjectStore>,
    prefix: &str,
    deviations: &[Deviation],
) {
    assert!(prefix.ends_with('/') && prefix.len() <= 100, "the prefix {prefix:?} must end in / and be short");
    let suite = Suite::new(store, lister, prefix, deviations);
    suite.sweep().await;
    objects::check(&suite).await;
    reads::check(&suite).await;
    checksums::check(&suite).await;
    conditions::check(&suite).await;
    names::check(&suite).await;
    listing::check(&suite).await;
    multipart::check(&suite).await;
    uploads::check(&suite).await;
    copies::check(&suite).await;
    tags::check(&suite).await;
    suite.sweep().await;
    suite.is_swept().await;
}

/// Checks a directory of tenants and users, and that its [`crate::Accounts`] sees each change.
/// All names are random; the users are removed again, two tenants stay (nothing removes tenants).
///
/// # Panics
/// If a rule does not hold.
pub async fn directory(directory: Arc<dyn Directory>) {
    directory::check(directory).await;
}

/// Checks a guardian of data keys.
///
/// # Panics
/// If a rule does not hold.
pub async fn data_keys(keys: Arc<dyn DataKeys>) {
    data_keys::check(&*keys).await;
}

/// Checks leases and the sessions counted under them. Leases and names are random; what is counted for
/// the names stays.
///
/// # Panics
/// If a rule does not hold.
pub async fn leases(leases: Arc<dyn Leases>) {
    leases::check(leases).await;
}

/// Checks counts of failed logins. The sources are random, and their counts stay.
///
/// # Panics
/// If a rule does not hold.
pub async fn login_failures(failures: Arc<dyn LoginFailures>) {
    login_failures::check(failures).await;
}

/// Checks counters of usage. The tenants' names are random, and their counters stay.
///
/// # Panics
/// If a rule does not hold.
pub async fn usage(usage: Arc<dyn UsageStore>) {
    usage::check(usage).await;
}

/// Checks a journal of uploads. The tenants' names are random, and the suite removes its entries; a
/// claim to reap stays, far in the future.
///
/// # Panics
/// If a rule does not hold.
pub async fn journal(journal: Arc<dyn Journal>) {
    journal::check(journal).await;
}
