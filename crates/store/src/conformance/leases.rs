//! Leases: one holder raises the beat, a beat that was raised keeps the lease, and counts are seen
//! together.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::outcome::{done, parsed, refused};
use crate::error::StoreErrorKind;
use crate::leases::{ENDED_MAX, HeldSessions, Lease, LeaseId, Leases, SessionScope, TURN_MAX};

const RACERS: u32 = 8;

pub(super) async fn check(leases: Arc<dyn Leases>) {
    let nonce: u64 = rand::random();
    beats(&*leases).await;
    counts(&*leases, nonce).await;
    races(&leases, nonce).await;
}

fn at(id: &LeaseId, beat: u64) -> Lease {
    Lease { id: id.clone(), beat }
}

fn user(nonce: u64, name: &str) -> SessionScope {
    SessionScope::User(parsed(&format!("conf-{nonce:016x}-{name}")))
}

/// The beat of a lease that has not ended.
async fn beat(leases: &dyn Leases, id: &LeaseId) -> Option<u64> {
    done("all", leases.all().await).into_iter().find(|lease| lease.id == *id).map(|lease| lease.beat)
}

async fn beats(leases: &dyn Leases) {
    let (id, other) = (LeaseId::random(), LeaseId::random());
    assert!(!done("renew", leases.renew(&at(&id, 1)).await), "a lease that never began can't be renewed");
    assert_eq!(beat(leases, &id).await, None, "and does not begin so");
    for id in [&id, &other] {
        done("begin", leases.begin(id).await);
    }
    assert_eq!(beat(leases, &id).await, Some(0), "a lease begins with beat 0");
    assert!(done("renew", leases.renew(&at(&id, 1)).await), "a lease can be renewed");
    assert!(done("renew", leases.renew(&at(&id, 7)).await), "by any greater beat");
    assert!(done("renew", leases.renew(&at(&id, 7)).await), "and an attempt may be repeated");
    assert!(!done("renew", leases.renew(&at(&id, 6)).await), "a beat that comes late does not count");
    assert_eq!(beat(leases, &id).await, Some(7), "the beat is seen");
    assert!(!done("end", leases.end(&at(&id, 6)).await), "a lease that was renewed does not end");
    assert_eq!(beat(leases, &id).await, Some(7), "and stays as it is");
    assert!(done("end", leases.end(&at(&id, 7)).await), "one that was not renewed ends");
    assert_eq!(beat(leases, &id).await, None, "and is gone");
    assert!(done("end", leases.end(&at(&id, 7)).await), "a lease that has ended may be ended again");
    assert!(!done("renew", leases.renew(&at(&id, 8)).await), "and can't be renewed any more");
    assert_eq!(beat(leases, &other).await, Some(0), "others stay");
    assert!(done("end", leases.end(&at(&other, 0)).await), "a lease may end that was never renewed");
}

async fn counts(leases: &dyn Leases, nonce: u64) {
    let scope = user(nonce, "counts");
    let mut ids = [LeaseId::random(), LeaseId::random(), LeaseId::random()];
    ids.sort();
    let [a, b, c] = &ids;
    let of = |lease: &LeaseId, sessions| HeldSessions { lease: lease.clone(), sessions };
    let hold = async |scope: &SessionScope, lease: &LeaseId, sessions, turn, ended: &[LeaseId]| {
        let mut held = done("hold", leases.hold(scope, &of(lease, sessions), turn, ended).await);
        held.sort_by(|left, right| left.lease.cmp(&right.lease));
        held
    };
    assert_eq!(hold(&scope, a, 0, 1, &[]).await, [of(a, 0)], "nothing is counted at first");
    assert_eq!(hold(&scope, a, 2, 2, &[]).await, [of(a, 2)], "a count is seen");
    assert_eq!(hold(&scope, b, 5, 1, &[]).await, [of(a, 2), of(b, 5)], "beside those of others");
    assert_eq!(hold(&scope, a, 1, 7, &[]).await, [of(a, 1), of(b, 5)], "it is set, not added");
    assert_eq!(hold(&scope, a, 1, 7, &[]).await, [of(a, 1), of(b, 5)], "an attempt may be repeated");
    let late = leases.hold(&scope, &of(a, 9), 6, &[]).await;
    refused("a turn that comes late changes nothing", StoreErrorKind::PreconditionFailed, late);
    assert_eq!(hold(&scope, b, 6, 2, &[]).await, [of(a, 1), of(b, 6)], "and each lease has turns of its own");
    assert_eq!(hold(&scope, a, 0, 8, &[]).await, [of(a, 0), of(b, 6)], "who has none any more is shown");
    let late = leases.hold(&scope, &of(a, 9), 7, &[]).await;
    refused("and still keeps what comes late off", StoreErrorKind::PreconditionFailed, late);
    assert_eq!(hold(&user(nonce, "other"), a, 3, 1, &[]).await, [of(a, 3)], "each scope has counts of its own");
    let tenant = SessionScope::Tenant(parsed(&format!("conf-{nonce:016x}-counts")));
    assert_eq!(hold(&tenant, a, u32::MAX, TURN_MAX, &[]).await, [of(a, u32::MAX)], "a tenant is no user of its name");
    let ended = [b.clone(), c.clone()];
    assert_eq!(hold(&scope, a, 1, 9, &ended).await, [of(a, 1)], "what has ended is forgotten");
    assert_eq!(hold(&scope, b, 0, 3, &[]).await, [of(a, 1), of(b, 0)], "one that has none");
    assert_eq!(hold(&scope, a, 1, 10, &ended).await, [of(a, 1)], "is forgotten like others once its lease has ended");
    let many: Vec<_> = (0..ENDED_MAX).map(|_| LeaseId::random()).collect();
    assert_eq!(hold(&scope, a, 1, 11, &many).await, [of(a, 1)], "many may have ended");
    let too_many = [&many[..], &[LeaseId::random()]].concat();
    let result = leases.hold(&scope, &of(a, 1), 12, &too_many).await;
    refused("too many may not", StoreErrorKind::InvalidRequest, result);
}

async fn races(leases: &Arc<dyn Leases>, nonce: u64) {
    let scope = user(nonce, "races");
    let racers: JoinSet<_> = (0..RACERS)
        .map(|_| {
            let (leases, scope) = (Arc::clone(leases), scope.clone());
            async move {
                let held = done(
                    "hold",
                    leases.hold(&scope, &HeldSessions { lease: LeaseId::random(), sessions: 1 }, 1, &[]).await,
                );
                held.iter().map(|held| held.sessions).sum::<u32>()
            }
        })
        .collect();
    let mut sums = racers.join_all().await;
    sums.sort_unstable();
    let expected: Vec<u32> = (1..=RACERS).collect();
    assert_eq!(sums, expected, "each of several that count at once sees those before it");
}
