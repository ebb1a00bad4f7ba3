//! How many files to open ahead: pure, no I/O.

use std::time::Duration;

/// What one file opened ahead costs until it is used, in quarters.
const FILE: u32 = 4;
/// What a session may risk before it has shown any order, in files.
const INITIAL: usize = 4;
/// What comes on top when a file that was opened ahead is used: so no more than one of three is
/// in vain in the long run.
const USED: u32 = 2;
/// What comes when a file follows in order that was not opened ahead, and would have been right.
const FOLLOWED: u32 = 1;

/// How far ahead of a session to go.
///
/// Two limits hold at once. The depth follows the client's speed: it doubles while the client still
/// has to wait, and falls when files lie unused for a good part of their life. The credit bounds the
/// waste, whatever the client does: opening a file ahead spends it, using that file gives it back
/// with a half on top.
#[derive(Debug)]
pub(super) struct Pace {
    max: usize,
    life: Duration,
    depth: usize,
    /// In quarters of a file.
    credit: u32,
}

impl Pace {
    /// For at most `max` files ahead, each of which may be used for `life`.
    pub(super) fn new(max: usize, life: Duration) -> Self {
        Self { max, life, depth: 0, credit: quarters(INITIAL.min(max)) }
    }

    /// How many files behind the newest OPEN may be open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Spends the credit for one request ahead, if there is any.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.credit.checked_sub(FILE);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }

    /// Takes back what was spent on a request that was not sent.
    pub(super) fn refund(&mut self) {
        self.earn(FILE);
    }

    /// A file that was opened ahead is used, having lain ready for `idle`; `None` if it is still
    /// being opened.
    pub(super) fn used(&mut self, idle: Option<Duration>) {
        self.earn(FILE + USED);
        let depth = match idle {
            None => 2 * self.depth,
            Some(idle) if idle <= self.life / 4 => self.depth + 1,
            Some(idle) if idle <= self.life / 2 => self.depth,
            Some(_) => self.depth / 2,
        };
        self.depth = depth.clamp(1, self.max.max(1));
    }

    /// The next file in order was opened, but not ahead.
    pub(super) fn followed(&mut self) {
        self.earn(FOLLOWED);
        self.depth = self.depth.max(1).min(self.max);
    }

    /// A file that was opened ahead was not used.
    pub(super) fn in_vain(&mut self) {
        self.depth = 0;
    }

    /// A file that was opened ahead, and counted as used, was not to be had.
    pub(super) fn failed(&mut self) {
        self.credit = self.credit.saturating_sub(FILE + USED);
        self.depth = 0;
    }

    fn earn(&mut self, quarters_earned: u32) {
        self.credit = self.credit.saturating_add(quarters_earned).min(quarters(self.max));
    }
}

fn quarters(files: usize) -> u32 {
    u32::try_from(files).unwrap_or(u32::MAX).saturating_mul(FILE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFE: Duration = Duration::from_secs(1);

    #[test]
    fn doubles_while_the_client_waits_up_to_the_limit() {
        let mut pace = Pace::new(20, LIFE);
        assert_eq!(pace.depth(), 0, "one OPEN is no order");
        pace.followed();
        let mut depths = vec![pace.depth()];
        for _ in 0..6 {
            pace.used(None);
            depths.push(pace.depth());
        }
        assert_eq!(depths, [1, 2, 4, 8, 16, 20, 20]);
    }

    #[test]
    fn goes_no_further_ahead_than_a_slow_client_comes_in_time() {
        let mut pace = Pace::new(32, LIFE);
        pace.followed();
        for _ in 0..100 {
            // A client that takes 200 ms per file: what is opened `depth` ahead lies that much longer.
            let lay = Duration::from_millis(200) * u32::try_from(pace.depth()).unwrap();
            assert!(lay < LIFE);
            pace.used(Some(lay));
        }
    }

    #[test]
    fn stops_when_a_file_was_opened_in_vain() {
        let mut pace = Pace::new(32, LIFE);
        pace.followed();
        pace.used(None);
        pace.in_vain();
        assert_eq!(pace.depth(), 0);
    }

    proptest! {
        #[test]
        fn waste_is_bounded_whatever_happens(
            max in 1..64_usize,
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0..1_000_u64), 1..2_000),
        ) {
            let mut pace = Pace::new(max, LIFE);
            let (mut started, mut used, mut followed) = (0_u64, 0_u64, 0_u64);
            for (follows, uses, idle) in steps {
                if follows {
                    pace.followed();
                    followed += 1;
                }
                if uses && used < started {
                    pace.used(Some(Duration::from_millis(idle)));
                    used += 1;
                } else {
                    pace.in_vain();
                }
                while pace.spend() {
                    started += 1;
                }
                prop_assert!(pace.depth() <= max);
                let allowed = INITIAL as u64 + used / 2 + followed / 4 + 1;
                prop_assert!(started - used <= allowed, "{} in vain, {allowed} allowed", started - used);
            }
        }
    }
}
