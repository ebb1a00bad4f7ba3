//! Counters of usage: nothing added at once is lost, and one recount at a time.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::outcome::{done, parsed};
use crate::account::TenantName;
use crate::usage::{Recount, UsageDelta, UsageFigures, UsageStore};

const RACERS: i64 = 8;

pub(super) async fn check(usage: Arc<dyn UsageStore>) {
    let nonce: u64 = rand::random();
    counters(&*usage, &tenant(nonce, "counters")).await;
    races(&usage, &tenant(nonce, "races")).await;
    recounts(&*usage, &tenant(nonce, "recounts")).await;
}

fn tenant(nonce: u64, name: &str) -> TenantName {
    parsed(&format!("conf-{nonce:016x}-{name}"))
}

async fn shows(
    usage: &dyn UsageStore,
    tenant: &TenantName,
    rule: &str,
    bytes: i64,
    objects: i64,
    counted: Option<u64>,
) {
    let expected = UsageFigures { used: UsageDelta::new(bytes, objects), counted };
    assert_eq!(done("read", usage.read(tenant).await), expected, "{rule}");
}

async fn counters(usage: &dyn UsageStore, tenant: &TenantName) {
    shows(usage, tenant, "what was never counted is zero", 0, 0, None).await;
    done("forget_count", usage.forget_count(tenant).await);
    shows(usage, tenant, "there is nothing to forget", 0, 0, None).await;
    let large = 1_i64 << 50;
    let added = done("add", usage.add(tenant, UsageDelta::new(large, 3)).await);
    assert_eq!(added.used, UsageDelta::new(large, 3), "add gives the figures after it");
    let added = done("add", usage.add(tenant, UsageDelta::new(-7, -1)).await);
    assert_eq!(added, UsageFigures { used: UsageDelta::new(large - 7, 2), counted: None }, "add subtracts too");
    shows(usage, tenant, "what was added is read", large - 7, 2, None).await;
    done("add", usage.add(tenant, UsageDelta::new(-large, -3)).await);
    shows(usage, tenant, "counters may fall below zero", -7, -1, None).await;
}

async fn races(usage: &Arc<dyn UsageStore>, tenant: &TenantName) {
    let racers: JoinSet<_> = (1..=RACERS)
        .map(|n| {
            let (usage, tenant) = (Arc::clone(usage), tenant.clone());
            async move { done("add", usage.add(&tenant, UsageDelta::new(n, 1)).await) }
        })
        .collect();
    racers.join_all().await;
    shows(&**usage, tenant, "of what is added at once nothing is lost", RACERS * (RACERS + 1) / 2, RACERS, None).await;
    let racers: JoinSet<_> = (0..RACERS)
        .map(|n| {
            let (usage, tenant) = (Arc::clone(usage), tenant.clone());
            async move { done("begin_recount", usage.begin_recount(&tenant, &recount(&n.to_string(), 1_000)).await) }
        })
        .collect();
    let winners = racers.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1, "of several recounts that begin at once one may go on");
}

fn recount(token: &str, now: u64) -> Recount {
    Recount { token: token.to_owned(), now, until: now + 100 }
}

async fn recounts(usage: &dyn UsageStore, tenant: &TenantName) {
    let begin = async |token: &str, now| done("begin_recount", usage.begin_recount(tenant, &recount(token, now)).await);
    let finish = async |token: &str, now, correction| {
        done("finish_recount", usage.finish_recount(tenant, &recount(token, now), correction).await)
    };
    let nothing = UsageDelta::default();
    assert!(!finish("a", 1_000, nothing).await, "a recount that did not begin can't finish");
    assert!(begin("a", 1_000).await, "a tenant without counters can be counted");
    assert!(!begin("b", 1_050).await, "one recount at a time");
    assert!(begin("a", 1_060).await, "a recount may take longer");
    assert!(!begin("b", 1_120).await, "and keeps others off for that long");
    done("add", usage.add(tenant, UsageDelta::new(5, 1)).await);
    assert!(finish("a", 1_130, UsageDelta::new(100, 10)).await, "it finishes");
    shows(usage, tenant, "a correction is added to what was added meanwhile", 105, 11, Some(1_130)).await;
    assert!(!finish("a", 1_131, UsageDelta::new(1, 1)).await, "a recount finishes once");
    shows(usage, tenant, "what was refused changes nothing", 105, 11, Some(1_130)).await;

    assert!(begin("b", 1_140).await, "behind it the next may begin");
    assert!(begin("c", 1_240).await, "a recount that stays away makes way");
    assert!(!finish("b", 1_241, UsageDelta::new(1, 1)).await, "and can't finish any more");
    assert!(finish("c", 1_250, nothing).await, "the one that took its place can");
    shows(usage, tenant, "the count is noted", 105, 11, Some(1_250)).await;
    done("forget_count", usage.forget_count(tenant).await);
    shows(usage, tenant, "a count that is forgotten leaves the counters", 105, 11, None).await;
}
