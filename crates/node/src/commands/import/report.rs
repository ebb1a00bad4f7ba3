//! The plan and what became of it, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use tidegate_store::{Permission, User};

use super::findings::{Finding, Findings, LeftOut, Severity};
use super::plan::{Action, Step};
use super::write::Fate;
use crate::commands::CommandError;
use crate::commands::access::MapEntry;
use crate::commands::print::Printer;

/// All that a run has to say.
#[derive(Serialize)]
pub(super) struct Report {
    dry_run: bool,
    summary: Summary,
    users: Vec<Line>,
    left_out: Vec<LeftOut>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Summary {
    add: usize,
    add_keys: usize,
    keep: usize,
    left_out: usize,
    errors: usize,
    warnings: usize,
    /// Users for whom all was written.
    written: usize,
}

/// One user.
#[derive(Serialize)]
struct Line {
    name: String,
    tenant: String,
    action: &'static str,
    /// The ids of the keys that are added.
    keys: Vec<String>,
    home: String,
    permissions: Vec<Permission>,
    mappings: Vec<MapEntry>,
    /// Missing where nothing was to be written, or nothing was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Fate>,
}

impl Report {
    pub(super) fn new(dry_run: bool, steps: &[Step], findings: &Findings) -> Self {
        let users: Vec<Line> = steps.iter().map(line).collect();
        let count = |action: &str| users.iter().filter(|user| user.action == action).count();
        let found = findings.all();
        let warnings = found.iter().filter(|finding| finding.severity == Severity::Warning).count();
        let summary = Summary {
            add: count(ADD),
            add_keys: count(ADD_KEYS),
            keep: count(KEEP),
            left_out: findings.left_out.len(),
            errors: findings.errors(),
            warnings,
            written: 0,
        };
        Self { dry_run, summary, users, left_out: findings.left_out.clone(), findings: found }
    }

    /// Notes what became of the users, and gives how many were written.
    pub(super) fn settle(&mut self, fates: &BTreeMap<String, Fate>) -> usize {
        for user in &mut self.users {
            user.result = fates.get(&user.name).copied();
        }
        self.summary.written = fates.values().filter(|fate| **fate == Fate::Written).count();
        self.summary.written
    }

    pub(super) fn print(&self, printer: &mut Printer<'_>) -> Result<(), CommandError> {
        let json = serde_json::to_value(self).map_err(std::io::Error::from)?;
        printer.document(&json, || self.text())
    }

    /// The users one by one if this is all that is done, or if it did not succeed for all of them.
    fn text(&self) -> String {
        let mut text = String::new();
        let refused = self.summary.errors > 0;
        let cut = self.users.iter().any(|user| user.result.is_some_and(|fate| fate != Fate::Written));
        if self.dry_run && !refused || cut {
            for user in &self.users {
                let _ = writeln!(text, "{}", user.text());
            }
            for LeftOut { name, reason } in self.left_out.iter().filter(|_| self.dry_run) {
                let _ = writeln!(text, "leave out  {name}: {reason}");
            }
        }
        for finding in &self.findings {
            let _ = writeln!(text, "{finding}");
        }
        let Summary { add, add_keys, keep, left_out, written, .. } = self.summary;
        let verb = if refused {
            "would be".to_owned()
        } else if self.dry_run {
            "to be".to_owned()
        } else {
            format!("{written} written of those")
        };
        let _ = writeln!(
            text,
            "{verb} added: {add} users; given more keys: {add_keys}; there already: {keep}; left out: {left_out}{}",
            if left_out > 0 && !self.dry_run { " (--dry-run tells who and why)" } else { "" }
        );
        text
    }
}

const ADD: &str = "add";
const ADD_KEYS: &str = "add-keys";
const KEEP: &str = "keep";

fn line(step: &Step) -> Line {
    let User { name, tenant, home, permissions, mappings, keys, .. } = &step.user;
    let (action, keys) = match &step.action {
        Action::Add => (ADD, keys.as_slice()),
        Action::AddKeys(keys) => (ADD_KEYS, keys.as_slice()),
        Action::Keep => (KEEP, &[][..]),
    };
    Line {
        name: name.to_string(),
        tenant: tenant.to_string(),
        action,
        keys: keys.iter().map(|key| key.id.clone()).collect(),
        home: home.clone(),
        permissions: permissions.iter().copied().collect(),
        mappings: mappings.as_slice().iter().map(MapEntry::new).collect(),
        result: None,
    }
}

impl Line {
    fn text(&self) -> String {
        let result = match self.result {
            None => "",
            Some(Fate::Written) => "written    ",
            Some(Fate::Uncertain) => "uncertain  ",
            Some(Fate::NotWritten) => "not written  ",
        };
        let mut text = format!("{result}{:<9}  {}  tenant {}", self.action, self.name, self.tenant);
        if self.action != KEEP {
            let _ = write!(text, "  keys {}  home {}", self.keys.len(), self.home);
            for mapping in &self.mappings {
                let _ = write!(text, "  {}", mapping.shown());
            }
        }
        text
    }
}
