use prometheus::Registry;

use super::fairness::SHARES_LIFE;
use super::*;
use crate::in_flight::InFlight;

fn memory(units: u64) -> ReadMemory {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    ReadMemory::new(units * UNIT, Duration::from_secs(5), metrics)
}

fn tenant(memory: &ReadMemory, name: &str) -> TenantMemory {
    memory.of(name.parse().unwrap(), InFlight::unlimited())
}

fn ready(queued: Queued) -> ReadPermit {
    match queued {
        Queued::Ready(permit) => permit,
        Queued::Waiting(_) => panic!("must wait"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_free_goes_to_the_tenant_that_holds_the_least() {
    let memory = memory(8);
    let (rich, poor) = (tenant(&memory, "rich").join(), tenant(&memory, "poor").join());
    let mut held: Vec<_> = (0..8).map(|_| ready(rich.queue(UNIT))).collect();
    let rich_waits = [rich.queue(UNIT), rich.queue(UNIT)];
    let poor_waits = poor.queue(2 * UNIT);
    held.pop();
    let Queued::Waiting(mut place) = poor_waits else { panic!("nothing is free") };
    assert!(place.granted.try_recv().is_err(), "not enough for it, and nobody else gets it");
    held.pop();
    let permit = Queued::Waiting(place).granted().await.unwrap();
    assert_eq!(permit.bytes(), 2 * UNIT);
    for waits in rich_waits {
        held.pop();
        waits.granted().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_given_up_holds_nobody_up() {
    let memory = memory(4);
    let share = tenant(&memory, "acme").join();
    let held = ready(share.queue(3 * UNIT));
    let (large, small) = (share.queue(2 * UNIT), share.queue(UNIT));
    assert!(share.try_take(UNIT).is_none(), "others wait");
    drop(large);
    drop(small.granted().await.unwrap());
    assert!(share.try_take(UNIT).is_some());
    drop(held);
    assert_eq!(memory.node.state().free, memory.total());
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_so_in_time() {
    let memory = memory(1);
    let share = tenant(&memory, "acme").join();
    let _held = ready(share.queue(UNIT));
    let began = Instant::now();
    assert_eq!(share.queue(UNIT).granted().await.unwrap_err().kind(), FsErrorKind::Unavailable);
    assert!((5..6).contains(&began.elapsed().as_secs()));
    assert_eq!(memory.node.state().wanted, 0);
}

#[tokio::test(start_paused = true)]
async fn shares_are_even_between_tenants_and_then_between_readers() {
    const MIB: u64 = 1 << 20;
    let memory = memory(64 * 16);
    let (crowd, one) = (tenant(&memory, "crowd"), tenant(&memory, "one"));
    let crowd: Vec<_> = (0..20).map(|_| crowd.join()).collect();
    let one = one.join();
    assert_eq!(one.claim(40 * MIB), u64::MAX, "alone");
    for _ in 0..2 {
        crowd.iter().for_each(|share| _ = share.claim(40 * MIB));
        tokio::time::advance(Duration::from_millis(SHARES_LIFE)).await;
    }
    assert_eq!(one.claim(40 * MIB), 28 * MIB);
    assert_eq!(crowd[7].claim(40 * MIB), 28 * MIB / 20);
    // The one wants less: the others get the rest.
    one.claim(8 * MIB);
    tokio::time::advance(Duration::from_millis(SHARES_LIFE)).await;
    assert_eq!((one.claim(8 * MIB), crowd[7].claim(40 * MIB)), (u64::MAX, 48 * MIB / 20));
    // And all of it once it has stopped reading.
    tokio::time::advance(Duration::from_millis(IDLE)).await;
    crowd.iter().for_each(|share| _ = share.claim(40 * MIB));
    tokio::time::advance(Duration::from_millis(SHARES_LIFE)).await;
    assert_eq!(crowd[7].claim(40 * MIB), 56 * MIB / 20);
}

#[tokio::test(start_paused = true)]
async fn tenants_without_readers_are_forgotten() {
    let memory = memory(4);
    let share = tenant(&memory, "acme").join();
    let permit = ready(share.queue(UNIT));
    drop(share);
    assert_eq!(memory.node.state().tenants.len(), 1, "still holds memory");
    drop(permit);
    assert!(memory.node.state().tenants.is_empty() && memory.node.state().readers.is_empty());
}
