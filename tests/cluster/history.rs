//! What clients did and what they were told.
//!
//! Clients write it down as they go; [`check`] says afterwards whether a file system that keeps the
//! contract could have answered like that. Nothing here does any I/O.

mod check;
mod content;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub(crate) use check::check;
pub(crate) use content::{content, recognise};

/// One upload's content. No two uploads have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64);

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A whole upload, from OPEN to CLOSE.
    Publish {
        path: String,
        version: Version,
    },
    Remove {
        path: String,
    },
    /// posix-rename: it replaces what is there.
    Rename {
        from: String,
        to: String,
    },
    /// A look at a path that told something.
    See {
        path: String,
        sight: Sight,
    },
}

/// What a look at a path showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Absent,
    /// Bytes that are not one upload's content, and why.
    Damaged(String),
    /// A file, whatever is in it.
    Present,
    /// The whole content of that upload.
    Whole(Version),
}

/// What is known of the effect of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It took effect between its two times: the client was told so.
    Done,
    /// It may have taken effect, or may yet: no answer came, or one that leaves it open.
    InDoubt,
    /// It may have taken effect between its two times, and may not any more.
    Perhaps,
    /// It must never take effect: the client never asked for the last step, its CLOSE.
    Never,
}

/// One action of one client, with the microseconds since the beginning at which it was asked for and
/// at which its answer came, or its client gave up.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) client: String,
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) action: Action,
    pub(crate) fate: Fate,
}

/// All that happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    /// From then on nothing was under way any more: what was in doubt has happened by then or never
    /// will, and all looks agree.
    pub(crate) settled: Option<u64>,
}

/// An answer that no file system that keeps the contract gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |micros: u64| micros as f64 / 1e6;
        write!(f, "{:.6}..{:.6} {}: ", seconds(self.from), seconds(self.until), self.client)?;
        match &self.action {
            Action::Publish { path, version } => write!(f, "publish {path} as {}, {:?}", version.0, self.fate),
            Action::Remove { path } => write!(f, "remove {path}, {:?}", self.fate),
            Action::Rename { from, to } => write!(f, "rename {from} to {to}, {:?}", self.fate),
            Action::See { path, sight } => write!(f, "see {path}: {sight:?}"),
        }
    }
}

/// Where clients of several threads write down what they did.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    history: Mutex<History>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), history: Mutex::default() }
    }

    /// Microseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Writes down what ends now.
    pub(crate) fn record(&self, client: &str, from: u64, action: Action, fate: Fate) {
        let event = Event { client: client.to_owned(), from, until: self.now(), action, fate };
        self.history.lock().unwrap_or_else(PoisonError::into_inner).events.push(event);
    }

    pub(crate) fn settle(&self) {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).settled = Some(self.now());
    }

    pub(crate) fn history(&self) -> History {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
