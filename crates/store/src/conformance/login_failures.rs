//! Counts of failed logins: nothing added at once is lost, and sources do not mix.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::outcome::{done, parsed};
use crate::account::UserName;
use crate::login_failures::{LoginFailureCounts, LoginFailures};

/// So long that the suite does not see it end.
const WINDOW: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
const RACERS: u32 = 8;

pub(super) async fn check(failures: Arc<dyn LoginFailures>) {
    // Networks of documentation and of private use, where a test's counts disturb nobody.
    let four = IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | (rand::random::<u32>() >> 8)));
    let six = IpAddr::V6(Ipv6Addr::from_bits((0xfd_u128 << 120) | (u128::from(rand::random::<u64>() >> 8) << 64)));
    for source in [four, six] {
        counts(&*failures, source).await;
    }
    let source = IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | (rand::random::<u32>() >> 8)));
    let racers: JoinSet<_> = (0..RACERS)
        .map(|_| {
            let failures = Arc::clone(&failures);
            async move { done("add", failures.add(source, Some(&user("alice")), WINDOW).await).source }
        })
        .collect();
    let mut seen = racers.join_all().await;
    seen.sort_unstable();
    assert_eq!(seen, (1..=RACERS).collect::<Vec<_>>(), "of what is added at once nothing is lost");
}

fn user(name: &str) -> UserName {
    parsed(name)
}

async fn counts(failures: &dyn LoginFailures, source: IpAddr) {
    let add = async |name: Option<&str>, window| {
        let user = name.map(user);
        let LoginFailureCounts { source, user } = done("add", failures.add(source, user.as_ref(), window).await);
        (source, user)
    };
    // Every character that a name may have.
    let odd = "_a.B@c-9";
    done("forget", failures.forget(source, &user("alice"), WINDOW).await);
    assert_eq!(add(Some("alice"), WINDOW).await, (1, 1), "{source}: the first is one");
    assert_eq!(add(Some("alice"), WINDOW).await, (2, 2), "{source}: the next is one more");
    assert_eq!(add(Some(odd), WINDOW).await, (3, 1), "{source}: users are told apart");
    assert_eq!(add(Some("Alice"), WINDOW).await, (4, 1), "{source}: by every letter");
    assert_eq!(add(None, WINDOW).await, (5, 0), "{source}: without a user the source alone is counted");
    assert_eq!(add(None, WINDOW * 2).await, (1, 0), "{source}: another window is another count");
    done("forget", failures.forget(source, &user("alice"), WINDOW).await);
    assert_eq!(add(Some("alice"), WINDOW).await, (1, 1), "{source}: what is forgotten begins anew");
    assert_eq!(add(Some(odd), WINDOW).await, (2, 2), "{source}: others' counts stay");
}
