//! The DynamoDB table: what is read and written each second, in all and on the busiest partition.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::queue::{Micros, second};

/// Whose partition key an item has (docs/SCHEMA.md). A partition of DynamoDB's holds many keys; a key that is
/// asked for more than all others gets one for itself, and that is the end of splitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// `TENANT#…`: the tenant, its usage, its counter of sessions.
    Tenant(u32),
    /// `USER#…`.
    User(u32),
    /// `LEASES`: those of all nodes.
    Leases,
    /// The uploads of a tenant.
    Uploads(u32),
}

/// What happened in the time that is looked at.
#[derive(Debug)]
pub(crate) struct Table {
    from: Micros,
    reads: Vec<u64>,
    writes: Vec<u64>,
    keys: HashMap<Key, Busy>,
    hottest: Rates,
}

/// The second that a key was used in last.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    second: usize,
    reads: u64,
    writes: u64,
}

/// Reads of 4 KB and writes of 1 KB, as DynamoDB counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rates {
    /// Reads.
    pub(crate) reads: f64,
    /// Writes.
    pub(crate) writes: f64,
}

impl Table {
    /// Counts what happens from then on.
    pub(crate) fn from(from: Micros) -> Self {
        Self { from, reads: Vec::new(), writes: Vec::new(), keys: HashMap::new(), hottest: Rates::default() }
    }

    pub(crate) fn read(&mut self, at: Micros, key: Key, units: u64) {
        self.count(at, key, units, 0);
    }

    pub(crate) fn write(&mut self, at: Micros, key: Key, units: u64) {
        self.count(at, key, 0, units);
    }

    fn count(&mut self, at: Micros, key: Key, reads: u64, writes: u64) {
        let Some(since) = at.checked_sub(self.from) else { return };
        let second = second(since);
        add(&mut self.reads, second, reads);
        add(&mut self.writes, second, writes);
        let busy = self.keys.entry(key).or_default();
        if busy.second != second {
            *busy = Busy { second, ..Busy::default() };
        }
        busy.reads += reads;
        busy.writes += writes;
        self.hottest.reads = self.hottest.reads.max(busy.reads as f64);
        self.hottest.writes = self.hottest.writes.max(busy.writes as f64);
    }

    /// What a key was asked for in the second of `at`, so far.
    pub(crate) fn reads_in_this_second(&self, at: Micros, key: Key) -> u64 {
        let second = second(at.saturating_sub(self.from));
        self.keys.get(&key).filter(|busy| busy.second == second).map_or(0, |busy| busy.reads)
    }

    /// What the whole table was asked for in the second of `at`, so far.
    pub(crate) fn all_reads_in_this_second(&self, at: Micros) -> u64 {
        self.reads.get(second(at.saturating_sub(self.from))).copied().unwrap_or(0)
    }

    /// A second's mean over so many seconds.
    pub(crate) fn mean(&self, seconds: f64) -> Rates {
        let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64 / seconds;
        Rates { reads: sum(&self.reads), writes: sum(&self.writes) }
    }

    /// The busiest second.
    pub(crate) fn peak(&self) -> Rates {
        let most = |counts: &[u64]| counts.iter().copied().max().unwrap_or(0) as f64;
        Rates { reads: most(&self.reads), writes: most(&self.writes) }
    }

    /// The busiest second of the busiest key.
    pub(crate) fn hottest(&self) -> Rates {
        self.hottest
    }
}

/// Counts in the second, with all before it.
pub(crate) fn add(counts: &mut Vec<u64>, second: usize, count: u64) {
    if count == 0 {
        return;
    }
    if counts.len() <= second {
        counts.resize(second + 1, 0);
    }
    if let Some(place) = counts.get_mut(second) {
        *place += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::SECOND;

    #[test]
    fn means_peaks_and_the_busiest_key() {
        let mut table = Table::from(10 * SECOND);
        table.read(9 * SECOND, Key::User(1), 100);
        for (second, key, units) in [(10, Key::User(1), 3), (10, Key::User(2), 4), (12, Key::User(1), 5)] {
            table.read(second * SECOND, key, units);
        }
        table.write(12 * SECOND, Key::Tenant(1), 2);
        table.write(12 * SECOND, Key::Leases, 7);
        assert_eq!(table.mean(4.0), Rates { reads: 3.0, writes: 2.25 });
        assert_eq!(table.peak(), Rates { reads: 7.0, writes: 9.0 });
        assert_eq!(table.hottest(), Rates { reads: 5.0, writes: 7.0 });
        assert_eq!(table.reads_in_this_second(12 * SECOND + 5, Key::User(1)), 5);
        assert_eq!(table.reads_in_this_second(13 * SECOND, Key::User(1)), 0);
        assert_eq!(table.all_reads_in_this_second(10 * SECOND), 7);
    }
}
