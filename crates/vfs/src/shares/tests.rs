use std::time::Duration;

use super::*;
use crate::in_flight::InFlight;

fn shares(units: u64) -> (Shares, IntGauge) {
    let gauge = IntGauge::new("used", "used").unwrap();
    (Shares::new(units * UNIT, gauge.clone()), gauge)
}

fn writer(shares: &Shares) -> WriterShare {
    shares.tenant("tenant".parse().unwrap(), InFlight::unlimited()).writer()
}

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn grants_join_and_part_without_losing_bytes() {
    let (shares, used) = shares(16);
    let writer = writer(&shares);
    let mut a = writer.try_take(3 * UNIT - 1, Urgency::Need).unwrap();
    assert_eq!((a.bytes(), writer.held(), used.get()), (3 * UNIT, 3 * UNIT, 3 * 65536));
    a.merge(writer.try_take(2 * UNIT, Urgency::Extra).unwrap());
    let b = a.split_above(4 * UNIT).unwrap();
    assert_eq!((a.bytes(), b.bytes(), used.get()), (4 * UNIT, UNIT, 5 * 65536));
    assert!(a.split_above(4 * UNIT).is_none());
    drop(a);
    assert_eq!((writer.held(), used.get()), (UNIT, 65536));
    drop(b);
    assert_eq!((writer.held(), used.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_in_time_and_leaves_no_trace() {
    let (shares, used) = shares(2);
    let held = writer(&shares).try_take(UNIT, Urgency::Need).unwrap();
    let waiting = writer(&shares);
    assert!(waiting.take(2 * UNIT, Urgency::Need, LIMIT).await.is_none());
    assert!(waiting.take(3 * UNIT, Urgency::Need, LIMIT).await.is_none(), "more than there is");
    drop(held);
    assert_eq!((waiting.held(), used.get()), (0, 0));
    assert!(waiting.take(2 * UNIT, Urgency::Need, LIMIT).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_nobody_takes_any_more_goes_to_the_next() {
    let (shares, used) = shares(2);
    let held = writer(&shares).try_take(2 * UNIT, Urgency::Need).unwrap();
    let (first, second) = (writer(&shares), writer(&shares));
    let mut gone = Box::pin(first.take(2 * UNIT, Urgency::Need, LIMIT));
    let mut next = Box::pin(second.take(2 * UNIT, Urgency::Need, LIMIT));
    assert!(futures::poll!(&mut gone).is_pending());
    assert!(futures::poll!(&mut next).is_pending());
    drop(held);
    assert_eq!(used.get(), 2 * 65536, "the first has its turn");
    drop(gone);
    assert_eq!(next.await.unwrap().bytes(), 2 * UNIT);
    assert_eq!(used.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_lets_those_behind_it_pass() {
    let (shares, _) = shares(4);
    let _held = writer(&shares).try_take(2 * UNIT, Urgency::Need).unwrap();
    let (first, second) = (
        shares.tenant("first".parse().unwrap(), InFlight::unlimited()),
        shares.tenant("second".parse().unwrap(), InFlight::unlimited()),
    );
    let (large, small) = (first.writer(), second.writer());
    let mut waits = Box::pin(large.take(3 * UNIT, Urgency::Need, LIMIT));
    assert!(futures::poll!(&mut waits).is_pending());
    let mut behind = Box::pin(small.take(4 * UNIT, Urgency::Need, LIMIT));
    assert!(futures::poll!(&mut behind).is_pending());
    assert!(small.try_take(2 * UNIT, Urgency::Extra).is_none(), "extras wait behind needs");
    drop(waits);
    drop(behind);
    assert!(small.try_take(2 * UNIT, Urgency::Need).is_some());
}
