//! The node's memory for read-ahead, and what memory is counted in. That for uploads is in
//! [`crate::shares`].

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What bytes are counted in.
pub(crate) const UNIT: u64 = 64 << 10;

/// A fixed number of bytes, handed out as [`Permit`]s. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    semaphore: Arc<Semaphore>,
    total: u64,
    used: IntGauge,
}

impl Pool {
    /// A pool of `bytes`, rounded down to whole units; what is taken shows in `used`.
    pub(crate) fn new(bytes: u64, used: IntGauge) -> Self {
        let units = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { semaphore: Arc::new(Semaphore::new(units)), total: units as u64 * UNIT, used }
    }

    /// Bytes that the pool has in all.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Takes `bytes`, rounded up to whole units, if they are free now.
    pub(crate) fn try_acquire(&self, bytes: u64) -> Option<Permit> {
        let permit = Arc::clone(&self.semaphore).try_acquire_many_owned(units(bytes)?).ok()?;
        Some(Permit::new(permit, self.used.clone()))
    }

    /// The same, but only while at least half of the pool stays free: for what nobody has asked for.
    pub(crate) fn try_acquire_spare(&self, bytes: u64) -> Option<Permit> {
        let free = self.semaphore.available_permits() as u64 * UNIT;
        if free.saturating_sub(bytes) < self.total / 2 { None } else { self.try_acquire(bytes) }
    }
}

fn units(bytes: u64) -> Option<u32> {
    u32::try_from(bytes.div_ceil(UNIT)).ok()
}

/// Rounds up to whole units, as everything does that is taken.
pub(crate) fn round_up(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT).saturating_mul(UNIT)
}

/// Bytes of a [`Pool`]; dropping gives them back.
#[derive(Debug)]
pub(crate) struct Permit {
    inner: OwnedSemaphorePermit,
    used: IntGauge,
}

impl Permit {
    fn new(inner: OwnedSemaphorePermit, used: IntGauge) -> Self {
        used.add(as_gauge(inner.num_permits()));
        Self { inner, used }
    }

    /// How many bytes it stands for.
    pub(crate) fn bytes(&self) -> u64 {
        self.inner.num_permits() as u64 * UNIT
    }

    /// Splits off what lies above `bytes` (rounded up to whole units), if anything.
    pub(crate) fn split_above(&mut self, bytes: u64) -> Option<Self> {
        let keep = usize::try_from(bytes.div_ceil(UNIT)).ok()?;
        let over = self.inner.num_permits().checked_sub(keep).filter(|over| *over > 0)?;
        let inner = self.inner.split(over)?;
        Some(Self { inner, used: self.used.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.used.sub(as_gauge(self.inner.num_permits()));
    }
}

fn as_gauge(units: usize) -> i64 {
    i64::try_from((units as u64).saturating_mul(UNIT)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(units: u64) -> (Pool, IntGauge) {
        let gauge = IntGauge::new("used", "used").unwrap();
        (Pool::new(units * UNIT, gauge.clone()), gauge)
    }

    #[test]
    fn hands_out_no_more_than_it_has() {
        let (pool, used) = pool(4);
        let three = pool.try_acquire(3 * UNIT - 1).unwrap();
        assert_eq!((three.bytes(), used.get()), (3 * UNIT, 3 * 65536));
        assert!(pool.try_acquire(2 * UNIT).is_none());
        let one = pool.try_acquire(1).unwrap();
        assert!(pool.try_acquire(1).is_none());
        drop((three, one));
        assert_eq!(used.get(), 0);
        assert!(pool.try_acquire(4 * UNIT).is_some());
    }

    #[test]
    fn permits_part_without_losing_bytes() {
        let (pool, used) = pool(8);
        let mut a = pool.try_acquire(5 * UNIT).unwrap();
        let b = a.split_above(4 * UNIT).unwrap();
        assert_eq!((a.bytes(), b.bytes(), used.get()), (4 * UNIT, UNIT, 5 * 65536));
        assert!(a.split_above(4 * UNIT).is_none());
        drop((a, b));
        assert_eq!(used.get(), 0);
        assert!(pool.try_acquire(8 * UNIT).is_some());
    }
}
