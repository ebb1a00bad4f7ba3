//! One direction of one session's file content, held to the session's bandwidth and its tenant's.

use prometheus::Counter;
use tidegate_store::Bandwidth;
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::tenants::{Direction, TenantShare};

/// How much a session asks its tenant for at once, in bytes: always this much, and again only when
/// it has that. So sessions share by bytes, whatever the size of their requests.
const QUANTUM: u64 = 32 << 10;
const _: () = assert!(QUANTUM <= Bucket::BYTES_MAX);

/// Says when how much may pass. Knows no clock.
#[derive(Debug)]
pub(crate) struct Meter {
    direction: Direction,
    own: Bucket,
    /// Bytes that were earned and did not pass yet: part of a larger request, or the rest of a quantum.
    credit: u64,
    /// When the quantum that was asked for is earned.
    coming: Option<Instant>,
    /// From when on, and until when as far as is known, something has been waiting.
    waiting: Option<(Instant, Instant)>,
    throttled: Counter,
}

impl Meter {
    /// A meter for one session, whose own limit is `rate`; what waits is counted in `throttled`, in
    /// seconds.
    pub(crate) fn new(direction: Direction, rate: Option<Bandwidth>, throttled: Counter, now: Instant) -> Self {
        Self { direction, own: Bucket::new(rate, now), credit: 0, coming: None, waiting: None, throttled }
    }

    /// Passes `bytes` now if they have been earned. Otherwise tells when to ask again: nothing
    /// has passed then, and what was earned so far counts the next time.
    pub(crate) fn pass(&mut self, bytes: u64, tenant: &TenantShare, now: Instant) -> Result<(), Instant> {
        self.count_wait(now);
        loop {
            match self.coming {
                Some(at) if at > now => {
                    self.waiting = Some((now, at));
                    return Err(at);
                }
                Some(_) => {
                    self.credit = self.credit.saturating_add(QUANTUM);
                    self.coming = None;
                }
                None if self.credit >= bytes => {
                    self.credit -= bytes;
                    return Ok(());
                }
                None => {
                    let own = self.own.take(QUANTUM, now);
                    self.coming = Some(own.max(tenant.take(self.direction, QUANTUM, now)));
                }
            }
        }
    }

    fn count_wait(&mut self, now: Instant) {
        if let Some((since, until)) = self.waiting.take() {
            self.throttled.inc_by(now.min(until).saturating_duration_since(since).as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tidegate_store::TenantLimits;

    use super::*;
    use crate::tenants::Tenants;

    const MIB: u64 = 1 << 20;

    fn bandwidth(bytes: u64) -> Bandwidth {
        bytes.try_into().unwrap()
    }

    fn limited(rate: u64) -> TenantLimits {
        TenantLimits { max_bandwidth_in: Some(bandwidth(rate)), ..TenantLimits::default() }
    }

    fn meter(rate: Option<u64>, now: Instant) -> Meter {
        Meter::new(Direction::In, rate.map(bandwidth), Counter::new("name", "help").unwrap(), now)
    }

    /// Passes one request after the other from `now` on; tells when the last one passed.
    fn run(meter: &mut Meter, tenant: &TenantShare, requests: &[u64], mut now: Instant) -> Instant {
        for bytes in requests {
            while let Err(at) = meter.pass(*bytes, tenant, now) {
                assert!(at > now, "it is asked again later");
                now = at;
            }
        }
        now
    }

    #[test]
    fn the_smaller_of_both_limits_holds_and_the_wait_is_counted() {
        let tenants = Tenants::default();
        for (own, tenants_limit) in [(Some(MIB), None), (Some(MIB), Some(3 * MIB)), (Some(3 * MIB), Some(MIB))] {
            let start = Instant::now();
            let limits = tenants_limit.map_or_else(TenantLimits::default, limited);
            let tenant = tenants.enter(&"acme".parse().unwrap(), &limits);
            let mut meter = meter(own, start);
            let end = run(&mut meter, tenant.share(), &[255 << 10; 40], start);
            let took = end.duration_since(start).as_secs_f64();
            assert!((9.9..10.1).contains(&took), "{own:?} {tenants_limit:?}: {took}");
            assert!((meter.throttled.get() - took).abs() < 0.01, "{} {took}", meter.throttled.get());
        }
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let start = Instant::now();
        let tenant = Tenants::default().enter(&"acme".parse().unwrap(), &TenantLimits::default());
        let mut meter = meter(None, start);
        assert_eq!(meter.pass(255 << 10, tenant.share(), start), Ok(()));
        assert_eq!(meter.throttled.get(), 0.0);
    }

    // A READ that finds no room for its answer waits for its client, not for bandwidth.
    #[test]
    fn only_the_time_until_the_bytes_were_earned_counts() {
        let start = Instant::now();
        let tenant = Tenants::default().enter(&"acme".parse().unwrap(), &limited(MIB));
        let mut meter = meter(None, start);
        assert!(meter.pass(32 << 10, tenant.share(), start).is_err());
        assert_eq!(meter.pass(32 << 10, tenant.share(), start + Duration::from_secs(60)), Ok(()));
        assert!((meter.throttled.get() - 1.0 / 32.0).abs() < 0.001, "{}", meter.throttled.get());
    }

    proptest! {
        // Sessions that always have something to send, in requests of sizes of their own.
        #[test]
        fn sessions_of_a_tenant_share_by_bytes(
            rate in 65_536..100_000_000_u64,
            sizes in prop::collection::vec(QUANTUM / 8..=255 << 10, 2..8),
        ) {
            let start = Instant::now();
            let tenants = Tenants::default();
            let name = "acme".parse().unwrap();
            let mut sessions: Vec<_> = sizes
                .iter()
                .map(|size| (tenants.enter(&name, &limited(rate)), meter(None, start), *size, start, 0_u64))
                .collect();
            // Events in the order of their times, as timers fire.
            for _ in 0..4000 {
                let next = sessions.iter().enumerate().min_by_key(|(_, session)| session.3).unwrap().0;
                let (tenant, meter, size, now, passed) = &mut sessions[next];
                match meter.pass(*size, tenant.share(), *now) {
                    Ok(()) => *passed += *size,
                    Err(at) => *now = at,
                }
            }
            let least = sessions.iter().map(|session| session.4).min().unwrap();
            let most = sessions.iter().map(|session| session.4).max().unwrap();
            // One request that is on its way, one quantum of a turn, one that is not used up.
            prop_assert!(most - least <= (255 << 10) + 2 * QUANTUM, "{least} to {most}");
            let end = sessions.iter().map(|session| session.3).max().unwrap();
            let sum: u64 = sessions.iter().map(|session| session.4).sum();
            let bound = end.duration_since(start).as_secs_f64() * rate as f64 + (rate / 10).max(64 << 10) as f64;
            prop_assert!(sum as f64 <= bound + 1.0, "{sum} of {bound}");
        }
    }
}
