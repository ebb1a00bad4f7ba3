//! What harm is done, and to which requests.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::kind::Kind;

/// One kind of harm. An offset behind a body's end stands for its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One byte of the answer's body arrives changed.
    CorruptAnswer {
        /// Its offset.
        at: u64,
    },
    /// One byte of the request's body arrives at the store changed.
    CorruptRequest {
        /// Its offset.
        at: u64,
    },
    /// The answer's body ends too early, with its connection.
    CutAnswer {
        /// How many bytes of it arrive.
        after: u64,
    },
    /// The answer's first byte is held back.
    Delay(Duration),
    /// The request reaches the store so much later: not at all, if its connection has ended by then.
    DelayRequest(Duration),
    /// The store does what it was asked for, but the connection is reset in place of its answer.
    ResetBeforeAnswer,
    /// The connection is reset when the request's head has come; the store hears nothing of it.
    ResetBeforeBody,
    /// The store hears nothing of it: 503 SlowDown, once the whole request has come.
    SlowDown,
    /// The answer's body goes on no more, with its connection open.
    StallAnswer {
        /// How many bytes of it arrive.
        after: u64,
    },
    /// The service hears nothing of it: DynamoDB's 400 ProvisionedThroughputExceededException, once the
    /// whole request has come.
    ThroughputExceeded,
    /// The store hears nothing of it, and there is no answer, with the connection open.
    Unanswered,
}

/// Which requests are harmed, among those of the kinds that were named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// The first so many.
    First(u64),
    /// Each request that is sent again and again, at its first so many tries: a client that tries
    /// once more often gets through, however many requests it has under way.
    FirstTries(u32),
    /// One alone, counted from 1.
    Nth(u64),
    /// So many in a hundred, at random.
    Percent {
        /// How many.
        of_100: u32,
        /// The same seed harms the same requests, if they come in the same order.
        seed: u64,
    },
}

/// Harm to be done, with what it has seen so far.
#[derive(Debug)]
pub(super) struct Rule {
    kinds: Vec<Kind>,
    when: When,
    fault: Fault,
    seen: u64,
    tries: HashMap<String, u32>,
    random: SmallRng,
}

impl Rule {
    pub(super) fn new(kinds: &[Kind], when: When, fault: Fault) -> Self {
        let seed = if let When::Percent { seed, .. } = when { seed } else { 0 };
        let random = SmallRng::seed_from_u64(seed);
        Self { kinds: kinds.to_vec(), when, fault, seen: 0, tries: HashMap::new(), random }
    }

    /// Looks at a request; `name` is the same for each of its tries.
    pub(super) fn strikes(&mut self, kind: Kind, name: &str) -> Option<Fault> {
        if !self.kinds.contains(&kind) {
            return None;
        }
        self.seen += 1;
        let strikes = match self.when {
            When::Always => true,
            When::First(count) => self.seen <= count,
            When::FirstTries(count) => {
                let tries = self.tries.entry(name.to_owned()).or_default();
                *tries += 1;
                *tries <= count
            }
            When::Nth(number) => self.seen == number,
            When::Percent { of_100, .. } => self.random.random_range(0..100) < of_100,
        };
        strikes.then_some(self.fault)
    }
}
