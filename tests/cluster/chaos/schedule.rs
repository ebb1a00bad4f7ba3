//! What is done to the nodes, and when: the same for the same seed.

use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// What is done to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disturbance {
    /// SIGTERM; another takes its place.
    Drain,
    /// SIGKILL; another takes its place.
    Kill,
    /// It can't talk to one of its services.
    Partition(Service, Manner),
    /// SIGSTOP, and SIGCONT at its end.
    Pause,
    /// A service throttles most of its requests.
    Throttle(Service),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    DynamoDb,
    S3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    /// The service does what it is asked for, and no answer arrives.
    LoseAnswers,
    /// Every connection is reset.
    Refuse,
    /// Nothing arrives, and no connection ends.
    Stall,
}

impl Disturbance {
    pub(crate) const ALL: [Self; 11] = [
        Self::Drain,
        Self::Kill,
        Self::Partition(Service::DynamoDb, Manner::LoseAnswers),
        Self::Partition(Service::DynamoDb, Manner::Refuse),
        Self::Partition(Service::DynamoDb, Manner::Stall),
        Self::Partition(Service::S3, Manner::LoseAnswers),
        Self::Partition(Service::S3, Manner::Refuse),
        Self::Partition(Service::S3, Manner::Stall),
        Self::Pause,
        Self::Throttle(Service::DynamoDb),
        Self::Throttle(Service::S3),
    ];
}

/// One disturbance of the node in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) until: Duration,
    pub(crate) place: usize,
    pub(crate) disturbance: Disturbance,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, until) = (self.at.as_secs_f64(), self.until.as_secs_f64());
        write!(f, "{at:.3} s to {until:.3} s: node {} {:?}", self.place, self.disturbance)
    }
}

/// How many nodes may be disturbed at once: one at least of three is well.
const AT_ONCE: usize = 2;
/// How long a node is left alone behind a disturbance.
const REST: Duration = Duration::from_millis(1500);
/// Nothing begins earlier, or ends later than so long before the end.
const CALM: Duration = Duration::from_millis(1500);

/// The disturbances of a run of `length` over so many nodes. All kinds come in turn, shuffled.
pub(crate) fn schedule(seed: u64, length: Duration, places: usize) -> Vec<Step> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut deck = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    let mut at = CALM;
    loop {
        let lasts = Duration::from_millis(random.random_range(500..3000));
        if at + lasts + CALM > length {
            return steps;
        }
        let is_busy = |place: usize| steps.iter().any(|step| step.place == place && step.until + REST > at);
        let free: Vec<_> = (0..places).filter(|place| !is_busy(*place)).collect();
        let running = steps.iter().filter(|step| step.until > at).count();
        if running < AT_ONCE && !free.is_empty() {
            if deck.is_empty() {
                deck = Disturbance::ALL.to_vec();
                deck.shuffle(&mut random);
            }
            let disturbance = deck.pop().expect("it has just been filled");
            let place = free[random.random_range(0..free.len())];
            steps.push(Step { at, until: at + lasts, place, disturbance });
        }
        at += Duration::from_millis(random.random_range(600..2200));
    }
}

#[test]
fn the_seed_alone_says_what_is_done() {
    let length = Duration::from_secs(120);
    assert_eq!(schedule(7, length, 3), schedule(7, length, 3));
    assert_ne!(schedule(7, length, 3), schedule(8, length, 3));
}

#[test]
fn a_short_run_has_every_disturbance_and_always_a_node_that_is_well() {
    for seed in 0..200 {
        let steps = schedule(seed, super::SHORT, 3);
        for kind in Disturbance::ALL {
            assert!(steps.iter().any(|step| step.disturbance == kind), "seed {seed} has no {kind:?}: {steps:#?}");
        }
        for step in &steps {
            let others = steps.iter().filter(|other| other.at <= step.at && other.until > step.at);
            let places: Vec<_> = others.map(|other| other.place).collect();
            assert!(places.len() <= AT_ONCE, "seed {seed}: {steps:#?}");
            assert_eq!(places.iter().filter(|place| **place == step.place).count(), 1, "seed {seed}: {steps:#?}");
        }
    }
}
