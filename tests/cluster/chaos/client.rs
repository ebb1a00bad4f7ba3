//! What a client of the chaos run can do, and what it hears.

use std::collections::BTreeSet;

use crate::history::Sight;

/// What a client was told of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    /// It was told of a failure, or nothing.
    InDoubt,
    /// There is no such file.
    Missing,
    /// It never came to the CLOSE.
    Unclosed,
}

/// A client with a login, which it takes as often as it needs.
pub(crate) trait Client {
    /// Makes or replaces a file.
    fn publish(&mut self, path: &str, content: &[u8]) -> Told;
    /// The same where nobody else writes; and what was lost of it that had to be kept, if anything was.
    fn publish_alone(&mut self, path: &str, content: &[u8]) -> (Told, Option<String>) {
        (self.publish(path, content), None)
    }
    /// Of a hundred files that nobody else writes, how many are to be of several parts.
    fn large_of_100(&self) -> u32 {
        6
    }
    /// Reads a file to its end; `None` if that told nothing.
    fn fetch(&mut self, path: &str) -> Option<Sight>;
    fn remove(&mut self, path: &str) -> Told;
    /// Renames a file and replaces what has the name; `None` if this client does that in other ways.
    fn rename(&mut self, from: &str, to: &str) -> Option<Told>;
    /// The names in a directory; `None` if that told nothing.
    fn names(&mut self, directory: &str) -> Option<BTreeSet<String>>;
    /// Whether an upload that fails is followed by a removal of what it was to replace.
    fn removes_behind_failure(&self) -> bool {
        false
    }
}
