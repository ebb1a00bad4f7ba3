//! Conditional puts, alone and in races.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::deviation::Deviation;
use super::outcome::{done, refused};
use super::suite::{Suite, put};
use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{Condition, ObjectKey, Receipt};

/// How many writers race.
pub(super) const RACERS: u8 = 8;

pub(super) async fn check(suite: &Suite<'_>) {
    if_absent(suite).await;
    if_match(suite).await;
    delete_if_match(suite).await;

    let key = suite.key("conditions/race-absent");
    race(suite, &key, &Condition::IfAbsent).await;
    if !suite.deviates(Deviation::PutIfMatchRaces) {
        let key = suite.key("conditions/race-match");
        let etag = suite.put(&key, Bytes::from_static(b"first")).await;
        race(suite, &key, &Condition::IfMatch(etag)).await;
    }
}

async fn if_absent(suite: &Suite<'_>) {
    let key = suite.key("conditions/absent");
    let first = done("If-None-Match on no object", suite.try_put(&key, "first", &Condition::IfAbsent).await);
    let second = suite.try_put(&key, "second", &Condition::IfAbsent).await;
    refused("If-None-Match on an object", StoreErrorKind::PreconditionFailed, second);
    let (object, found) = suite.get(&key).await;
    assert_eq!(found, b"first", "a put that lost leaves the object as it was");
    assert_eq!(object.meta.etag, first.etag, "a put that lost leaves the version as it was");
    done("delete", suite.store.delete(&key).await);
    done("If-None-Match after delete", suite.try_put(&key, "third", &Condition::IfAbsent).await);
}

async fn if_match(suite: &Suite<'_>) {
    let key = suite.key("conditions/match");
    let first = suite.put(&key, "first").await;
    let second =
        done("If-Match on that version", suite.try_put(&key, "second", &Condition::IfMatch(first.clone())).await);
    let late = suite.try_put(&key, "late", &Condition::IfMatch(first)).await;
    refused("If-Match on a version that was replaced", StoreErrorKind::PreconditionFailed, late);
    assert_eq!(suite.get(&key).await.1, b"second", "a put that lost leaves the object as it was");
    done("delete", suite.store.delete(&key).await);
    let none = suite.try_put(&key, "none", &Condition::IfMatch(second.etag)).await;
    refused("If-Match on no object", StoreErrorKind::PreconditionFailed, none);
    refused("a put that lost makes no object", StoreErrorKind::NotFound, suite.store.head(&key).await);
}

async fn delete_if_match(suite: &Suite<'_>) {
    let key = suite.key("conditions/delete");
    let first = suite.put(&key, "first").await;
    let second = suite.put(&key, "second").await;
    let late = suite.store.delete_version(&key, &first).await;
    refused("a delete of a version that was replaced", StoreErrorKind::PreconditionFailed, late);
    assert_eq!(suite.get(&key).await.1, b"second", "a delete that lost leaves the object as it was");
    done("a delete of that version", suite.store.delete_version(&key, &second).await);
    refused("the object is gone", StoreErrorKind::NotFound, suite.store.head(&key).await);
    done("a delete of a version of no object", suite.store.delete_version(&key, &second).await);
}

/// Writers that all ask for the same condition: one wins, and the object is the winner's.
async fn race(suite: &Suite<'_>, key: &ObjectKey, condition: &Condition) {
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let (store, key, condition) = (Arc::clone(&suite.store), key.clone(), condition.clone());
        racers.spawn(async move { (racer, put(&*store, &key, Bytes::from(vec![racer; 64]), &condition).await) });
    }
    let winner = only_winner(racers.join_all().await, condition);
    assert_eq!(suite.get(key).await.1, [winner; 64], "the object is the winner's");
}

/// The only one of the racers that succeeded.
#[track_caller]
pub(super) fn only_winner(results: Vec<(u8, StoreResult<Receipt>)>, condition: &Condition) -> u8 {
    let mut winners = Vec::new();
    for (racer, result) in results {
        match result {
            Ok(_) => winners.push(racer),
            Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => {}
            Err(error) => panic!("a racer that lost under {condition:?}: {}", error.report()),
        }
    }
    assert_eq!(winners.len(), 1, "exactly one of {RACERS} racers wins under {condition:?}, not {winners:?}");
    winners[0]
}
