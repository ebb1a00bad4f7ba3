use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

const PART: u64 = 8 << 20;

/// A store: what a part takes beside its bytes, and the bytes a second that all lanes share.
#[derive(Clone, Copy, Debug)]
struct Store {
    latency: Duration,
    bandwidth: f64,
}

/// What came of an upload: its rate in bytes a second and the parts under way on average, both over
/// the second half.
#[derive(Debug)]
struct Outcome {
    rate: f64,
    under_way: f64,
}

/// An upload of `parts` parts from a client that fills one in `fills`, in simulated time.
fn upload(lanes: &mut Lanes, client: Duration, store: impl Fn(Duration) -> Store, parts: usize) -> Outcome {
    let (mut now, mut link_free) = (Duration::ZERO, Duration::ZERO);
    let mut flying: BinaryHeap<Reverse<(Duration, Duration)>> = BinaryHeap::new();
    let (mut half, mut busy) = (Duration::ZERO, 0.0);
    let land = |lanes: &mut Lanes, flying: &mut BinaryHeap<_>, until: Option<Duration>| -> Option<Duration> {
        let Reverse((end, began)) = *flying.peek()?;
        if until.is_some_and(|until| end > until) {
            return None;
        }
        flying.pop();
        lanes.landed(PART, end - began, end);
        Some(end)
    };
    for n in 0..parts {
        while flying.len() >= lanes.allowed() {
            lanes.waited();
            now = now.max(land(lanes, &mut flying, None).unwrap());
        }
        now += client;
        while land(lanes, &mut flying, Some(now)).is_some() {}
        let Store { latency, bandwidth } = store(now);
        link_free = link_free.max(now) + Duration::from_secs_f64(PART as f64 / bandwidth);
        if n >= parts / 2 {
            busy += (link_free + latency - now).as_secs_f64();
        } else {
            half = now;
        }
        flying.push(Reverse((link_free + latency, now)));
        lanes.launched(PART, client, flying.len(), now);
    }
    let seconds = (now - half).as_secs_f64();
    Outcome { rate: (parts - parts / 2) as f64 * PART as f64 / seconds, under_way: busy / seconds }
}

fn steady(latency_ms: u64, bandwidth: f64) -> impl Fn(Duration) -> Store {
    move |_| Store { latency: Duration::from_millis(latency_ms), bandwidth }
}

/// The time that a client of so many bytes a second takes for a part.
fn client(rate: f64) -> Duration {
    Duration::from_secs_f64(PART as f64 / rate)
}

#[test]
fn twenty_milliseconds_cost_a_client_at_most_a_tenth() {
    let near = upload(&mut Lanes::new(16), client(8e8), steady(0, 2e9), 400);
    let far = upload(&mut Lanes::new(16), client(8e8), steady(20, 2e9), 400);
    assert!(far.rate > 0.9 * near.rate && far.rate > 7.2e8, "{near:?}, {far:?}");
    assert!(near.under_way < 2.0, "{near:?}");
    assert!(far.under_way < 5.0, "{far:?}");
}

#[test]
fn parts_of_two_seconds_get_all_lanes() {
    let mut lanes = Lanes::new(16);
    let outcome = upload(&mut lanes, client(1e8), steady(2_000, 1e10), 400);
    assert!(outcome.rate > 0.9 * 16.0 * PART as f64 / 2.0, "{outcome:?}");
    assert!(lanes.allowed() >= 15, "{lanes:?}");
}

#[test]
fn lanes_that_do_not_help_are_given_up() {
    // The link takes 80 ms for a part and the answer 10 ms: two lanes fill it.
    let mut lanes = Lanes::new(16);
    let outcome = upload(&mut lanes, client(1e9), steady(10, 1e8), 2_000);
    assert!(outcome.rate > 0.9e8, "{outcome:?}");
    assert!(outcome.under_way < 4.0, "{outcome:?} {lanes:?}");
}

#[test]
fn a_store_that_turns_slow_gets_more_lanes_later() {
    let store = |now: Duration| Store {
        latency: Duration::from_millis(if now < Duration::from_secs(20) { 5 } else { 1_000 }),
        bandwidth: 1e10,
    };
    let outcome = upload(&mut Lanes::new(16), client(2e8), store, 2_000);
    assert!(outcome.rate > 0.9 * 16.0 * PART as f64, "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the client and the store are like, the file goes nearly as fast as the slowest of
    /// client, link and lanes lets it.
    #[test]
    fn an_upload_is_as_fast_as_its_slowest_side(
        rate in 1e7..2e9_f64,
        latency_ms in 0..3_000_u64,
        bandwidth in 2e7..4e9_f64,
        max in 1..=64_usize,
    ) {
        let mut lanes = Lanes::new(max);
        let outcome = upload(&mut lanes, client(rate), steady(latency_ms, bandwidth), 3_000);
        // One part is filled while `max` are under way at most, and with the last lane taken the
        // next one is only begun when one has landed.
        let part = PART as f64;
        let cycle = part / rate + part / bandwidth + latency_ms as f64 / 1e3;
        let best = rate.min(bandwidth).min(max as f64 * part / cycle);
        prop_assert!(outcome.rate > 0.8 * best, "{} of {}: {:?} {:?}", outcome.rate, best, outcome, lanes);
        prop_assert!(outcome.under_way <= max as f64 + 1.0);
    }

    #[test]
    fn any_events_keep_the_lanes_in_their_bounds(
        max in 0..70_usize,
        events in prop::collection::vec((0..3_u8, 0..u64::MAX, 0..10_000_u64, 0..100_usize), 0..300),
    ) {
        let mut lanes = Lanes::new(max);
        let mut now = Duration::ZERO;
        for (kind, bytes, micros, under_way) in events {
            now += Duration::from_micros(micros);
            match kind {
                0 => lanes.launched(bytes, Duration::from_micros(micros), under_way, now),
                1 => lanes.waited(),
                _ => lanes.landed(bytes, Duration::from_micros(micros), now),
            }
            prop_assert!((1..=max.max(1)).contains(&lanes.allowed()));
        }
    }
}
