//! How fast the store answers and how fast the client reads: pure, times are passed in.

use std::time::Duration;

const KIB: u64 = 1 << 10;

/// How much of the last time a measure is worth against all before it.
const WEIGHT: f64 = 0.25;

/// More than what the client reads while a range is fetched is kept ahead by this factor. Above 1 it
/// is also what lets a reader that had to wait grow: what it reads is what was kept ahead for it.
const MARGIN: f64 = 2.0;

/// The least that is kept ahead.
const AHEAD_MIN: u64 = 256 * KIB;

/// The longest time that one range should last the client, in seconds: a slow one has little held.
const RANGE_LASTS: f64 = 2.0;

/// The first rate, and a faster one, is believed after the first of these times, a slower one after
/// the second.
const FASTER: Duration = Duration::from_millis(50);
const SLOWER: Duration = Duration::from_millis(250);

/// What requests to the store take, for one handle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    /// To the first byte, in seconds, and how much that deviates.
    first: Option<(f64, f64)>,
    /// From there, in seconds per byte.
    byte: Option<f64>,
}

impl Latency {
    /// A request's first byte came after this time.
    pub(crate) fn first_byte(&mut self, after: Duration) {
        let after = after.as_secs_f64();
        self.first = Some(match self.first {
            None => (after, after / 2.0),
            Some((mean, deviation)) => {
                (mean + WEIGHT * (after - mean), deviation + WEIGHT * ((after - mean).abs() - deviation))
            }
        });
    }

    /// `len` bytes of a body, at least 1, came in this time.
    pub(crate) fn body(&mut self, len: u64, took: Duration) {
        let byte = took.as_secs_f64() / len as f64;
        self.byte = Some(self.byte.map_or(byte, |mean| mean + WEIGHT * (byte - mean)));
    }

    /// How long a range of `len` bytes takes, with some margin, in seconds; `None` if nothing was
    /// fetched yet.
    fn of(&self, len: u64) -> Option<f64> {
        let (mean, deviation) = self.first?;
        Some(mean + 2.0 * deviation + self.byte.unwrap_or_default() * len as f64)
    }
}

/// How fast a client reads in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Bytes per second.
    rate: Option<f64>,
    /// Since when, and how many bytes were read since.
    since: Option<Duration>,
    read: u64,
}

/// How to read ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many bytes to keep ahead; `None` while there is no measure.
    pub(crate) ahead: Option<u64>,
    /// The greatest range to fetch at once.
    pub(crate) range: Option<u64>,
}

impl Pace {
    /// The client reads so many bytes, at this time on any clock.
    pub(crate) fn read(&mut self, bytes: u64, now: Duration) {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_sub(since);
        if elapsed >= FASTER {
            let rate = self.read as f64 / elapsed.as_secs_f64();
            let believed = match self.rate {
                Some(before) if rate >= before => Some(rate),
                Some(before) if elapsed >= SLOWER => Some((before + rate) / 2.0),
                Some(_) => None,
                None => Some(rate),
            };
            if believed.is_some() {
                (self.rate, self.since, self.read) = (believed, Some(now), 0);
            }
        }
        self.read += bytes;
    }

    /// Enough to hide the store's latency from this client, and no more. `range` is the size of the
    /// ranges that are fetched.
    pub(crate) fn plan(&self, latency: &Latency, range: u64) -> Plan {
        let Some(rate) = self.rate else { return Plan::default() };
        let lasting = (rate * RANGE_LASTS) as u64;
        let ahead = latency.of(range.min(lasting)).map(|latency| ((MARGIN * rate * latency) as u64).max(AHEAD_MIN));
        Plan { ahead, range: Some(lasting) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn store(first: u64, mib_per_second: u64) -> Latency {
        let mut latency = Latency::default();
        for _ in 0..20 {
            latency.first_byte(millis(first));
            latency.body(MIB, Duration::from_secs(1) / mib_per_second as u32);
        }
        latency
    }

    /// A client that reads 32 KiB at a time, so many a second, for two seconds.
    fn client(reads_per_second: u32) -> Pace {
        let mut pace = Pace::default();
        for n in 0..2 * reads_per_second {
            pace.read(32 * KIB, Duration::from_secs(1) / reads_per_second * n);
        }
        pace
    }

    #[test]
    fn nothing_is_planned_before_anything_was_measured() {
        assert_eq!(Pace::default().plan(&store(20, 100), 8 * MIB), Plan::default());
        assert_eq!(client(100).plan(&Latency::default(), 8 * MIB).ahead, None);
    }

    #[test]
    fn a_fast_client_has_its_bandwidth_times_the_latency_ahead() {
        // 400 MiB/s, and 20 ms to a body that comes at once: 8 MiB, twice.
        let ahead = client(12_800).plan(&store(20, 100_000), 8 * MIB).ahead.unwrap();
        assert!((15 * MIB..20 * MIB).contains(&ahead), "{ahead}");
        // One connection gives 100 MiB/s: 8 MiB take 100 ms in all, so it takes several at once.
        let ahead = client(12_800).plan(&store(20, 100), 8 * MIB).ahead.unwrap();
        assert!((75 * MIB..90 * MIB).contains(&ahead), "{ahead}");
    }

    #[test]
    fn a_slow_client_has_little_ahead() {
        let plan = client(32).plan(&store(20, 100), 8 * MIB);
        assert_eq!(plan.ahead, Some(AHEAD_MIN));
        assert!(plan.range.unwrap() <= 2 * MIB + MIB / 2, "{plan:?}");
    }

    #[test]
    fn a_client_that_slows_down_is_noticed_and_one_that_speeds_up_at_once() {
        let mut pace = client(12_800);
        let fast = pace.rate.unwrap();
        for n in 0..64 {
            pace.read(32 * KIB, Duration::from_secs(2) + millis(n * 31));
        }
        let slow = pace.rate.unwrap();
        assert!(slow < fast / 50.0, "{slow} after {fast}");
        for n in 0..200 {
            pace.read(32 * KIB, Duration::from_secs(4) + Duration::from_micros(n * 500));
        }
        assert!(pace.rate.unwrap() > 50.0 * MIB as f64, "{pace:?}");
    }

    proptest! {
        #[test]
        fn plans_are_never_nonsense(
            reads in prop::collection::vec((0..u64::from(u32::MAX), 0..10_000_u64), 0..50),
            requests in prop::collection::vec((0..100_000_u64, 1..u64::MAX, 0..100_000_u64), 0..20),
            range in any::<u64>(),
        ) {
            let (mut pace, mut latency, mut now) = (Pace::default(), Latency::default(), 0);
            for (bytes, later) in reads {
                now += later;
                pace.read(bytes, millis(now));
            }
            for (first, len, took) in requests {
                latency.first_byte(millis(first));
                latency.body(len, millis(took));
            }
            let plan = pace.plan(&latency, range);
            prop_assert!(plan.ahead.is_none_or(|ahead| ahead >= AHEAD_MIN));
        }
    }
}
