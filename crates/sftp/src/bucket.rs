//! A token bucket that knows no clock: the time is passed in.

use std::time::Duration;

use tidegate_store::Bandwidth;
use tokio::time::Instant;

/// The least that a bucket holds, in bytes.
const BURST_MIN: u64 = 64 << 10;
/// Otherwise it holds this part of a second's worth. Timers fire some milliseconds late; what was
/// earned meanwhile must not run over.
const BURST_PART: u64 = 10;

/// Levels are counted in this part of a byte: then a nanosecond earns a whole number of them at
/// any rate, and nothing is ever rounded away.
const PER_BYTE: i128 = 1_000_000_000;

/// Earns bytes at a rate and promises them in the order in which they are asked for: over any time
/// it gives no more than the rate makes plus one [`Bucket::burst`].
///
/// It begins empty. So nobody gains by leaving it and coming back, and it may be forgotten at any
/// time.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// `None`: whatever is asked for is there.
    rate: Option<Bandwidth>,
    /// Below zero: what was promised and is not earned yet.
    level: i128,
    /// When `level` was right.
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: Option<Bandwidth>, now: Instant) -> Self {
        Self { rate, level: 0, at: now }
    }

    /// Changes the rate from now on. Promises that were made keep their time.
    pub(crate) fn set_rate(&mut self, rate: Option<Bandwidth>, now: Instant) {
        if self.rate == rate {
            return;
        }
        self.settle(now);
        if self.rate.is_none() || rate.is_none() {
            self.level = 0;
        }
        self.rate = rate;
        self.level = self.level.min(self.burst());
    }

    /// Takes `bytes` out; tells when they are earned, `now` or later. No more than
    /// [`Bucket::BYTES_MAX`] at once.
    pub(crate) fn take(&mut self, bytes: u64, now: Instant) -> Instant {
        let Some(rate) = self.rate else { return now };
        self.settle(now);
        self.level = self.level.saturating_sub(i128::from(bytes).saturating_mul(PER_BYTE));
        if self.level >= 0 {
            return now;
        }
        let wait = self.level.unsigned_abs().div_ceil(u128::from(rate.bytes_per_second()));
        self.at + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    /// The most that may be taken at once: what the smallest bucket holds.
    pub(crate) const BYTES_MAX: u64 = BURST_MIN;

    /// Adds what was earned since.
    fn settle(&mut self, now: Instant) {
        let Some(rate) = self.rate else {
            self.at = self.at.max(now);
            return;
        };
        // Zero if another session came first with a later time.
        let passed = i128::try_from(now.saturating_duration_since(self.at).as_nanos()).unwrap_or(i128::MAX);
        let earned = passed.saturating_mul(i128::from(rate.bytes_per_second()));
        self.level = self.level.saturating_add(earned).min(self.burst());
        self.at = self.at.max(now);
    }

    /// What it holds at most.
    fn burst(&self) -> i128 {
        let rate = self.rate.map_or(0, Bandwidth::bytes_per_second);
        i128::from((rate / BURST_PART).max(BURST_MIN)).saturating_mul(PER_BYTE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bandwidth(bytes: u64) -> Bandwidth {
        bytes.try_into().unwrap()
    }

    fn rates() -> impl Strategy<Value = u64> {
        prop_oneof![Just(65_536_u64), 65_536..10_000_000_u64, 10_000_000..20_000_000_000_u64, Just(u64::MAX)]
    }

    /// The fewest whole bytes that take at least this long to earn at `rate`, rounded up.
    fn earned_within(rate: u64, time: Duration) -> u128 {
        (u128::from(rate) * time.as_nanos()).div_ceil(1_000_000_000)
    }

    proptest! {
        // A promise is rounded up to a nanosecond, which the bound has to allow for once.
        #[test]
        fn over_any_time_it_gives_no_more_than_the_rate_and_one_burst(
            rate in rates(),
            asked in prop::collection::vec((0..200_000_000_u64, 1..=Bucket::BYTES_MAX), 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(Some(bandwidth(rate)), start);
            let burst = u128::from((rate / BURST_PART).max(BURST_MIN));
            let mut now = start;
            let mut given = Vec::new();
            for (pause, bytes) in asked {
                now += Duration::from_nanos(pause);
                let at = bucket.take(bytes, now);
                prop_assert!(at >= now);
                prop_assert!(given.last().is_none_or(|(before, _)| *before <= at), "first asked, first served");
                given.push((at, bytes));
            }
            for first in 0..given.len() {
                let mut sum = 0;
                for (at, bytes) in &given[first..] {
                    sum += u128::from(*bytes);
                    let time = at.duration_since(given[first].0) + Duration::from_nanos(1);
                    prop_assert!(sum <= earned_within(rate, time) + burst, "{sum} bytes within {time:?}");
                }
            }
        }

        #[test]
        fn nobody_waits_longer_than_all_that_was_asked_for_takes(
            rate in rates(),
            asked in prop::collection::vec((0..50_000_000_u64, 1..=Bucket::BYTES_MAX), 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(Some(bandwidth(rate)), start);
            let (mut now, mut sum) = (start, 0);
            for (pause, bytes) in asked {
                now += Duration::from_nanos(pause);
                sum += u128::from(bytes);
                let wait = bucket.take(bytes, now).duration_since(now);
                let all = u64::try_from((sum * 1_000_000_000).div_ceil(u128::from(rate))).unwrap();
                prop_assert!(wait <= Duration::from_nanos(all), "{wait:?}");
            }
        }

        #[test]
        fn a_long_run_takes_exactly_its_time(rate in rates(), sizes in prop::collection::vec(1..=Bucket::BYTES_MAX, 1..500)) {
            let start = Instant::now();
            let mut bucket = Bucket::new(Some(bandwidth(rate)), start);
            let (mut now, mut sum) = (start, 0);
            for bytes in sizes {
                sum += u128::from(bytes);
                now = bucket.take(bytes, now);
                let exact = u64::try_from((sum * 1_000_000_000).div_ceil(u128::from(rate))).unwrap();
                prop_assert_eq!(now.duration_since(start), Duration::from_nanos(exact));
            }
        }
    }

    #[test]
    fn what_a_late_timer_missed_is_made_up_for() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(bandwidth(1 << 20)), start);
        let mut now = start;
        for _ in 0..32 {
            now = bucket.take(32 << 10, now) + Duration::from_millis(20);
        }
        assert!(now.duration_since(start) <= Duration::from_millis(1020), "{:?}", now.duration_since(start));
    }

    #[test]
    fn a_new_rate_holds_from_now_on() {
        let start = Instant::now();
        let mut bucket = Bucket::new(None, start);
        assert_eq!(bucket.take(u64::MAX, start), start, "without a rate nothing is waited for");
        bucket.set_rate(Some(bandwidth(65_536)), start);
        assert_eq!(bucket.take(65_536, start), start + Duration::from_secs(1));
        bucket.set_rate(Some(bandwidth(131_072)), start);
        assert_eq!(bucket.take(65_536, start), start + Duration::from_secs(1), "two seconds' worth at twice the rate");
        bucket.set_rate(None, start);
        assert_eq!(bucket.take(u64::MAX, start), start);
        bucket.set_rate(Some(bandwidth(65_536)), start + Duration::from_secs(9));
        let then = start + Duration::from_secs(9);
        assert_eq!(bucket.take(65_536, then), then + Duration::from_secs(1), "it begins empty");
    }

    #[test]
    fn times_that_come_out_of_order_earn_nothing_twice() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Some(bandwidth(65_536)), start);
        let later = start + Duration::from_secs(1);
        assert_eq!(bucket.take(65_536, later), later);
        assert_eq!(bucket.take(65_536, start), later + Duration::from_secs(1));
        assert_eq!(bucket.take(65_536, later), later + Duration::from_secs(2));
    }
}
