//! What an import has to say of its sources.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Where something was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    file: String,
    /// Counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Severity {
    /// Nothing is written.
    Error,
    /// To be read.
    Warning,
}

/// Something that is wrong or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    #[serde(flatten)]
    place: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    pub(super) text: String,
}

/// A user who is not imported, as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    pub(super) name: String,
    pub(super) reason: String,
}

/// All that was found, in order.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    /// Those who are not imported.
    pub(super) left_out: Vec<LeftOut>,
    /// What holds for many: told once, with their number.
    counted: BTreeMap<&'static str, usize>,
}

impl Place {
    pub(super) fn file(file: &str) -> Self {
        Self { file: printable(file), line: None }
    }

    pub(super) fn line(file: &str, line: usize) -> Self {
        Self { file: printable(file), line: Some(line) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(user) = &self.user {
            write!(f, "{user}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl Findings {
    pub(super) fn error(&mut self, place: &Place, user: Option<&str>, text: impl Into<String>) {
        self.push(Severity::Error, Some(place), user, text.into());
    }

    pub(super) fn warn(&mut self, place: &Place, user: Option<&str>, text: impl Into<String>) {
        self.push(Severity::Warning, Some(place), user, text.into());
    }

    /// An error that has no place, such as a user of `--user` who is nowhere.
    pub(super) fn missing(&mut self, user: &str, text: impl Into<String>) {
        self.push(Severity::Error, None, Some(user), text.into());
    }

    fn push(&mut self, severity: Severity, place: Option<&Place>, user: Option<&str>, text: String) {
        self.found.push(Finding { severity, place: place.cloned(), user: user.map(printable), text });
    }

    /// Counts one more for which `text` holds.
    pub(super) fn count(&mut self, text: &'static str) {
        *self.counted.entry(text).or_default() += 1;
    }

    pub(super) fn leave_out(&mut self, user: &str, reason: impl Into<String>) {
        self.left_out.push(LeftOut { name: printable(user), reason: reason.into() });
    }

    /// Everything, what holds for many behind the rest.
    pub(super) fn all(&self) -> Vec<Finding> {
        let counted = self.counted.iter().map(|(text, count)| Finding {
            severity: Severity::Warning,
            place: None,
            user: None,
            text: format!("{text} ({count} in all)"),
        });
        self.found.iter().cloned().chain(counted).collect()
    }

    /// How many errors there are.
    pub(super) fn errors(&self) -> usize {
        self.found.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

/// A name of a source, fit for a terminal.
pub(super) fn printable(text: &str) -> String {
    let escape = |char: char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() };
    text.chars().take(512).map(escape).collect()
}
