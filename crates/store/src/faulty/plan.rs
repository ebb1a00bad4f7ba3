//! When to fail, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::StoreErrorKind;

/// A method of [`crate::ObjectStore`] or [`crate::Leases`]. New ones come last: the place seeds the dice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `abort_upload`
    AbortUpload,
    /// `begin_upload`
    BeginUpload,
    /// `checksum`
    Checksum,
    /// `complete_upload`
    CompleteUpload,
    /// `copy`
    Copy,
    /// `copy_part`
    CopyPart,
    /// `delete`
    Delete,
    /// `get`
    Get,
    /// `head`
    Head,
    /// `list`
    List,
    /// `list_parts`
    ListParts,
    /// `list_uploads`
    ListUploads,
    /// `put`
    Put,
    /// `put_part`
    PutPart,
    /// `begin` of leases
    BeginLease,
    /// `renew` of leases
    RenewLease,
    /// `end` of leases
    EndLease,
    /// `all` of leases
    AllLeases,
    /// `hold` of leases
    HoldSessions,
    /// `tags`
    Tags,
}

impl Call {
    /// The method's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AbortUpload => "abort_upload",
            Self::BeginUpload => "begin_upload",
            Self::Checksum => "checksum",
            Self::CompleteUpload => "complete_upload",
            Self::Copy => "copy",
            Self::CopyPart => "copy_part",
            Self::Delete => "delete",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::ListParts => "list_parts",
            Self::ListUploads => "list_uploads",
            Self::Put => "put",
            Self::PutPart => "put_part",
            Self::BeginLease => "begin",
            Self::RenewLease => "renew",
            Self::EndLease => "end",
            Self::AllLeases => "all",
            Self::HoldSessions => "hold",
            Self::Tags => "tags",
        }
    }
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call takes effect, then fails with this kind, as when the answer is lost.
    After(StoreErrorKind),
    /// The call fails with this kind and takes no effect.
    Before(StoreErrorKind),
    /// The body of a `get` breaks with `Unavailable` after this many bytes; a shorter body ends as
    /// it should.
    BrokenBody {
        /// Bytes that still arrive.
        after: u64,
    },
    /// The body of a `get` has a bit turned round in this byte, counted from the body's first.
    DamagedBody {
        /// The byte.
        at: u64,
    },
    /// The call begins this much later.
    Delay(Duration),
}

/// How often each fault befalls a call, from 0 (never) to 1 (always).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Of [`Fault::After`], on calls that did not fail before.
    pub after: f64,
    /// Of [`Fault::Before`].
    pub before: f64,
    /// Of [`Fault::BrokenBody`], within the first 256 KiB.
    pub broken_body: f64,
    /// Of [`Fault::Delay`].
    pub delay: f64,
    /// The longest delay.
    pub delay_max: Duration,
}

/// A schedule of faults: what befalls the nth call of a method depends on nothing but the seed,
/// the method and n, whatever runs beside it.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    seed: u64,
    rates: Rates,
    script: BTreeMap<Call, Vec<(Turn, Fault)>>,
}

/// Which calls of a method a fault befalls.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Nth(u64),
    From(u64),
}

/// What befalls one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fate {
    pub(super) delay: Option<Duration>,
    pub(super) before: Option<StoreErrorKind>,
    pub(super) after: Option<StoreErrorKind>,
    pub(super) broken_body: Option<u64>,
    pub(super) damaged_body: Option<u64>,
}

impl FaultPlan {
    /// No fault, until some are added.
    pub fn none() -> Self {
        Self::default()
    }

    /// Faults at random, the same ones for the same seed.
    pub fn seeded(seed: u64, rates: Rates) -> Self {
        Self { seed, rates, script: BTreeMap::new() }
    }

    /// Adds a fault to the `nth` call of a method, counted from 1.
    #[must_use]
    pub fn on(mut self, call: Call, nth: u64, fault: Fault) -> Self {
        self.script.entry(call).or_default().push((Turn::Nth(nth), fault));
        self
    }

    /// Adds a fault to the `nth` call of a method, counted from 1, and to all behind it.
    #[must_use]
    pub fn from(mut self, call: Call, nth: u64, fault: Fault) -> Self {
        self.script.entry(call).or_default().push((Turn::From(nth), fault));
        self
    }

    /// What befalls the `nth` call, counted from 1. The script comes before chance.
    pub(super) fn fate(&self, call: Call, nth: u64) -> Fate {
        let mut fate = self.chance(call, nth);
        for (turn, fault) in self.script.get(&call).into_iter().flatten() {
            let due = match turn {
                Turn::Nth(at) => nth == *at,
                Turn::From(at) => nth >= *at,
            };
            match fault {
                _ if !due => {}
                Fault::After(kind) => fate.after = Some(*kind),
                Fault::Before(kind) => fate.before = Some(*kind),
                Fault::BrokenBody { after } => fate.broken_body = Some(*after),
                Fault::DamagedBody { at } => fate.damaged_body = Some(*at),
                Fault::Delay(delay) => fate.delay = Some(*delay),
            }
        }
        fate
    }

    fn chance(&self, call: Call, nth: u64) -> Fate {
        const BODY_MAX: f64 = (256 << 10) as f64;
        let mut dice = Dice::new(self.seed, call, nth);
        // Every die is cast for every call, so that one rate does not shift the others' faults.
        let delay = dice.hit(self.rates.delay).then_some(self.rates.delay_max);
        let delayed = dice.unit();
        let before = dice.hit(self.rates.before);
        let after = dice.hit(self.rates.after);
        let kind = if dice.hit(0.5) { StoreErrorKind::Throttled } else { StoreErrorKind::Unavailable };
        let broken = dice.hit(self.rates.broken_body);
        let breaks_at = dice.unit();
        Fate {
            delay: delay.map(|longest| longest.mul_f64(delayed)),
            before: before.then_some(kind),
            after: after.then_some(StoreErrorKind::Unavailable),
            broken_body: broken.then_some((breaks_at * BODY_MAX) as u64),
            damaged_body: None,
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every platform and for ever.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, call: Call, nth: u64) -> Self {
        let mut dice = Self(seed);
        for word in [call as u64, nth] {
            dice.0 = dice.next() ^ word;
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from 0 up to, not including, 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn hit(&mut self, rate: f64) -> bool {
        self.unit() < rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates =
        Rates { after: 0.2, before: 0.3, broken_body: 0.1, delay: 0.5, delay_max: Duration::from_secs(1) };

    fn fates(plan: &FaultPlan, call: Call) -> Vec<Fate> {
        (1..=1_000).map(|nth| plan.fate(call, nth)).collect()
    }

    #[test]
    fn one_seed_gives_one_schedule() {
        let plan = FaultPlan::seeded(7, RATES);
        assert_eq!(fates(&plan, Call::Put), fates(&FaultPlan::seeded(7, RATES), Call::Put));
        assert_ne!(fates(&plan, Call::Put), fates(&plan, Call::PutPart), "methods have schedules of their own");
        assert_ne!(fates(&plan, Call::Put), fates(&FaultPlan::seeded(8, RATES), Call::Put), "so have seeds");
    }

    #[test]
    fn faults_are_as_frequent_as_asked() {
        let fates = fates(&FaultPlan::seeded(1, RATES), Call::Get);
        let count = |hit: fn(&Fate) -> bool| fates.iter().filter(|fate| hit(fate)).count();
        assert!((250..350).contains(&count(|fate| fate.before.is_some())));
        assert!((150..250).contains(&count(|fate| fate.after.is_some())));
        assert!((60..140).contains(&count(|fate| fate.broken_body.is_some())));
        assert!((440..560).contains(&count(|fate| fate.delay.is_some())));
    }

    #[test]
    fn a_rate_does_not_move_the_other_faults() {
        let fewer = Rates { before: 0.0, ..RATES };
        let afters = |rates| -> Vec<_> {
            fates(&FaultPlan::seeded(3, rates), Call::Put).into_iter().map(|fate| fate.after).collect()
        };
        assert_eq!(afters(RATES), afters(fewer));
    }

    #[test]
    fn the_script_befalls_the_calls_it_names() {
        let kind = StoreErrorKind::AccessDenied;
        let plan = FaultPlan::none().on(Call::PutPart, 2, Fault::Before(kind)).from(Call::Head, 3, Fault::After(kind));
        let befallen = |call| -> Vec<u64> { (1..=5).filter(|nth| plan.fate(call, *nth) != Fate::default()).collect() };
        assert_eq!(befallen(Call::PutPart), [2]);
        assert_eq!(befallen(Call::Head), [3, 4, 5]);
        assert_eq!(befallen(Call::Put), [] as [u64; 0]);
    }
}
