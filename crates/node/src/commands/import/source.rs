//! What every source of users gives, and how its files are read.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tidegate_store::{AuthorizedKey, TenantName, UserChange, UserName};

use super::findings::{Findings, Place};
use crate::import::ImportOptions;

/// The greatest size of a source, in bytes.
const MAX_SOURCE: u64 = 64 << 20;

/// A user as a source tells it, checked by itself.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: UserName,
    pub(super) keys: Vec<AuthorizedKey>,
    pub(super) place: Place,
    pub(super) view: View,
}

/// What the user sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// This of this tenant's files.
    Of(TenantName, UserChange),
    /// Places in S3, which are some tenant's.
    Located {
        /// Where sessions start.
        home: String,
        /// Entry and `/bucket/key`, without a `/` at their ends.
        targets: Vec<(String, String)>,
    },
}

/// Reads the sources, of which one may be the standard input.
pub(super) struct Files<'a> {
    stdin: &'a mut dyn Read,
}

impl<'a> Files<'a> {
    pub(super) fn new(stdin: &'a mut dyn Read) -> Self {
        Self { stdin }
    }

    /// The name of a file to show, and its content.
    pub(super) fn read(&mut self, path: &Path) -> Result<(String, Vec<u8>), (Place, String)> {
        let standard_input = path == Path::new("-");
        let name = if standard_input { "standard input".to_owned() } else { path.display().to_string() };
        let text = match standard_input {
            true => limited(&mut *self.stdin, MAX_SOURCE),
            false => File::open(path).and_then(|file| limited(file, MAX_SOURCE)),
        };
        match text {
            Ok(text) => Ok((name, text)),
            Err(error) => Err((Place::file(&name), format!("it can't be read: {error}"))),
        }
    }
}

/// A whole file of at most `max` bytes.
pub(super) fn limited(source: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(max + 1).read_to_end(&mut text)?;
    if text.len() as u64 > max {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    Ok(text)
}

/// The users who are asked for by name.
pub(super) struct Picked<'a> {
    only: BTreeSet<&'a str>,
    excluded: BTreeSet<&'a str>,
    missing: BTreeSet<&'a str>,
}

impl<'a> Picked<'a> {
    pub(super) fn new(options: &'a ImportOptions) -> Self {
        let names = |list: &'a [String]| list.iter().map(String::as_str).collect::<BTreeSet<_>>();
        let (only, excluded) = (names(&options.users), names(&options.excluded));
        Self { missing: only.difference(&excluded).copied().collect(), only, excluded }
    }

    /// Whether a user is asked for, and remembers that there is one.
    pub(super) fn wants(&mut self, name: &str) -> bool {
        self.missing.remove(name);
        (self.only.is_empty() || self.only.contains(name)) && !self.excluded.contains(name)
    }

    /// Tells of names that the source does not have.
    pub(super) fn report_missing(self, findings: &mut Findings) {
        for name in self.missing {
            findings.missing(name, "there is no such user in the source (--user)");
        }
    }
}
