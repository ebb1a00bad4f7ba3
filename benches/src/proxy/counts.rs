//! How many requests of each kind.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::Kind;

/// How many requests of each kind, and how many the proxy could not pass on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    requests: BTreeMap<Kind, u64>,
    /// Requests that were answered by the proxy with 502.
    pub(crate) failed: u64,
}

impl Counts {
    pub(super) fn new(requests: BTreeMap<Kind, u64>, failed: u64) -> Self {
        Self { requests, failed }
    }

    /// Requests of one kind.
    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.requests.get(&kind).copied().unwrap_or_default()
    }

    /// Requests of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Requests of all other kinds.
    pub(crate) fn other_than(&self, kind: Kind) -> u64 {
        self.total() - self.of(kind)
    }

    /// What came after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let requests = Kind::ALL.map(|kind| (kind, self.of(kind).saturating_sub(earlier.of(kind))));
        Self {
            requests: requests.into_iter().filter(|(_, count)| *count > 0).collect(),
            failed: self.failed.saturating_sub(earlier.failed),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (kind, count)) in self.requests.iter().enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            write!(f, "{separator}{count} {kind:?}")?;
        }
        if self.requests.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_by_kind() {
        let earlier = Counts::new([(Kind::Put, 2), (Kind::Head, 5)].into(), 1);
        let later = Counts::new([(Kind::Put, 5), (Kind::Head, 5), (Kind::List, 1)].into(), 1);
        let between = later.since(&earlier);
        assert_eq!((between.of(Kind::Put), between.of(Kind::Head), between.of(Kind::List)), (3, 0, 1));
        assert_eq!((between.total(), between.other_than(Kind::Put), between.failed), (4, 1, 0));
        assert_eq!(between.to_string(), "3 Put, 1 List");
        assert_eq!(later.since(&later).to_string(), "none");
    }
}
