//! Whether a history is one that a file system that keeps the contract can have.
//!
//! Every change of a path is an effect that happens at one moment in a window: between request and
//! answer if it was acknowledged, at any time from its request on if it is in doubt. A look must show
//! what some effect left that began before the look ended and that nothing else has surely replaced
//! by then. Something else surely has if it began after the effect was over and was itself over
//! before the look began: a change that was acknowledged, or one that another look showed.
//!
//! Each content is one upload's alone, so a look tells which effect it saw, or which renames brought
//! it there. What this finds is wrong for certain; an order of effects that can't be told apart from
//! a right one in pairs is let through (deciding all of them is NP-hard with changes in doubt).

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Event, Fate, History, Sight, Version, Violation};

const NEVER: u64 = u64::MAX;

/// Something that left a path as it was seen.
#[derive(Clone, Copy, Debug)]
struct Effect {
    /// The window in which it happened, if it did.
    from: u64,
    until: u64,
    is_certain: bool,
    value: Value,
    /// The rename that it is a half of.
    rename: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Absent,
    /// Whatever that rename found.
    Moved(usize),
    Whole(Version),
}

struct Rename<'a> {
    from: &'a str,
    to: &'a str,
    window: (u64, u64),
    is_acknowledged: bool,
    /// Whether it surely moved a file. One that was acknowledged may have moved an upload that was cut,
    /// which no look shows.
    moved_a_file: bool,
}

#[derive(Default)]
struct Path<'a> {
    effects: Vec<Effect>,
    looks: Vec<(&'a Event, &'a Sight)>,
}

struct Checker<'a> {
    history: &'a History,
    paths: BTreeMap<&'a str, Path<'a>>,
    renames: Vec<Rename<'a>>,
    uploads: BTreeMap<Version, &'a str>,
}

/// Everything in a history that no file system that keeps the contract would have answered.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let checker = Checker::new(history);
    let mut carried = BTreeMap::new();
    let mut violations = Vec::new();
    for (name, path) in &checker.paths {
        checker.check_looks(name, path, &mut carried, &mut violations);
        if let Some(settled) = history.settled {
            check_agreement(name, path, settled, &mut violations);
        }
    }
    violations
}

impl<'a> Checker<'a> {
    fn new(history: &'a History) -> Self {
        let mut checker = Self { history, paths: BTreeMap::new(), renames: Vec::new(), uploads: BTreeMap::new() };
        for event in &history.events {
            let until = match event.fate {
                Fate::Done | Fate::Perhaps => event.until,
                Fate::InDoubt => history.settled.unwrap_or(NEVER).max(event.until),
                Fate::Never => continue,
            };
            let is_certain = event.fate == Fate::Done;
            let effect = |value| Effect { from: event.from, until, is_certain, value, rename: None };
            match &event.action {
                Action::Publish { path, version } => {
                    let twice = checker.uploads.insert(*version, path);
                    assert!(twice.is_none(), "{version:?} is uploaded twice: what a look shows could not be told");
                    checker.path(path).effects.push(effect(Value::Whole(*version)));
                }
                Action::Remove { path } => checker.path(path).effects.push(effect(Value::Absent)),
                Action::Rename { from, to } => {
                    let number = checker.renames.len();
                    let half = |value| Effect { is_certain: false, rename: Some(number), ..effect(value) };
                    let window = (event.from, until);
                    checker.renames.push(Rename { from, to, window, is_acknowledged: is_certain, moved_a_file: false });
                    checker.path(from).effects.push(half(Value::Absent));
                    checker.path(to).effects.push(half(Value::Moved(number)));
                }
                Action::See { path, sight } => checker.path(path).looks.push((event, sight)),
            }
        }
        checker.find_renames_of_files();
        checker.let_renamed_uploads_end();
        checker
    }

    /// Each rename that surely moved a file is one more effect that is certain, and may show that others
    /// did.
    fn find_renames_of_files(&mut self) {
        loop {
            let found: Vec<usize> =
                (0..self.renames.len()).filter(|number| self.surely_moved_a_file(*number)).collect();
            if found.is_empty() {
                return;
            }
            for number in found {
                let rename = &mut self.renames[number];
                rename.moved_a_file = true;
                for name in [rename.from, rename.to] {
                    let effects = self.paths.get_mut(name).into_iter().flat_map(|path| &mut path.effects);
                    effects.filter(|effect| effect.rename == Some(number)).for_each(|effect| effect.is_certain = true);
                }
            }
        }
    }

    /// An upload that is under way while its path is renamed ends under the new name.
    fn let_renamed_uploads_end(&mut self) {
        for number in 0..self.renames.len() {
            let rename = &self.renames[number];
            let under_way = self.paths.get(rename.from).into_iter().flat_map(|path| &path.effects).filter(|effect| {
                let is_upload = matches!(effect.value, Value::Whole(_));
                is_upload && effect.from <= rename.window.1 && effect.until > rename.window.1
            });
            let Some(until) = under_way.map(|upload| upload.until).max() else { continue };
            let (from, to) = (rename.window.0, rename.to);
            let end = Effect { from, until, is_certain: false, value: Value::Moved(number), rename: None };
            self.path(to).effects.push(end);
        }
    }

    /// Whether a rename was acknowledged, and nothing can have left its path without a file meanwhile.
    fn surely_moved_a_file(&self, number: usize) -> bool {
        let rename = &self.renames[number];
        let Some(path) = self.paths.get(rename.from) else { return false };
        let bound = replaced_before(&path.effects, rename.window.0);
        let may_be_absent = path.effects.iter().any(|effect| {
            let is_other = effect.rename != Some(number);
            is_other && effect.value == Value::Absent && effect.from <= rename.window.1 && effect.until >= bound
        });
        // An upload that is moved may not be complete yet.
        let may_be_moved = path.effects.iter().any(|effect| {
            let is_unsure = matches!(effect.value, Value::Moved(by) if !self.renames[by].moved_a_file);
            is_unsure && effect.from <= rename.window.1 && effect.until >= bound
        });
        rename.is_acknowledged && !rename.moved_a_file && !may_be_absent && !may_be_moved
    }

    fn path(&mut self, name: &'a str) -> &mut Path<'a> {
        self.paths.entry(name).or_insert_with(|| {
            let nothing = Effect { from: 0, until: 0, is_certain: true, value: Value::Absent, rename: None };
            Path { effects: vec![nothing], looks: Vec::new() }
        })
    }

    fn check_looks(
        &self,
        name: &str,
        path: &Path<'a>,
        carried: &mut BTreeMap<Version, BTreeSet<usize>>,
        violations: &mut Vec<Violation>,
    ) {
        // When the earliest effect began that can have left what a look saw.
        let mut began = Vec::new();
        let mut looks = Vec::new();
        for (event, sight) in &path.looks {
            if let Sight::Damaged(why) = sight {
                violations.push(Violation(format!("{event}\n  half a file, or a mixture: {why}")));
                continue;
            }
            if let Sight::Whole(version) = sight {
                carried.entry(*version).or_insert_with(|| self.renames_that_carried(*version));
            }
            let sources: Vec<&Effect> = path
                .effects
                .iter()
                .filter(|effect| effect.from <= event.until && can_leave(effect.value, sight, carried))
                .collect();
            if sources.is_empty() {
                violations.push(Violation(format!(
                    "{event}\n  nothing that was asked for leaves that here:\n{}",
                    story(self.history, name, event)
                )));
                continue;
            }
            let bound = replaced_before(&path.effects, event.from);
            let standing = sources.iter().filter(|source| source.until >= bound);
            began.extend(standing.map(|source| source.from).min().map(|first| (event.until, first)));
            looks.push((event, sources, bound));
        }
        for (event, sources, of_changes) in looks {
            let of_looks = began.iter().filter(|(until, _)| *until < event.from).map(|(_, first)| *first).max();
            let bound = of_changes.max(of_looks.unwrap_or_default());
            if sources.iter().all(|source| source.until < bound) {
                violations.push(Violation(format!(
                    "{event}\n  it was replaced before:\n{}",
                    story(self.history, name, event)
                )));
            }
        }
    }

    /// The renames that may have brought a version from where it was uploaded to where they lead.
    fn renames_that_carried(&self, version: Version) -> BTreeSet<usize> {
        let mut carried = BTreeSet::new();
        let Some(origin) = self.uploads.get(&version) else { return carried };
        let mut open = vec![*origin];
        while let Some(at) = open.pop() {
            let Some(path) = self.paths.get(at) else { continue };
            for (number, rename) in self.renames.iter().enumerate().filter(|(_, rename)| rename.from == at) {
                let bound = replaced_before(&path.effects, rename.window.0);
                let finds = path.effects.iter().any(|effect| {
                    let is_it = match effect.value {
                        Value::Absent => false,
                        Value::Moved(by) => carried.contains(&by),
                        Value::Whole(found) => found == version,
                    };
                    is_it && effect.from <= rename.window.1 && effect.until >= bound
                });
                if finds && carried.insert(number) {
                    open.push(rename.to);
                }
            }
        }
        carried
    }
}

/// What concerned a path, or the content seen there, up to a look at it: the latest at the end.
fn story(history: &History, place: &str, look: &Event) -> String {
    const SHOWN: usize = 20;
    let seen = match &look.action {
        Action::See { sight: Sight::Whole(version), .. } => Some(version),
        _ => None,
    };
    let concerns = |event: &&Event| match &event.action {
        Action::Publish { path, version } => path == place || Some(version) == seen,
        Action::Remove { path } => path == place,
        Action::Rename { from, to } => from == place || to == place,
        Action::See { path, sight } => path == place || matches!(sight, Sight::Whole(other) if Some(other) == seen),
    };
    let mut events: Vec<_> = history.events.iter().filter(concerns).filter(|event| event.from <= look.until).collect();
    events.sort_by_key(|event| event.from);
    let latest = events.iter().skip(events.len().saturating_sub(SHOWN));
    latest.map(|event| format!("    {event}")).collect::<Vec<_>>().join("\n")
}

/// Whether an effect can have left what a look saw.
fn can_leave(value: Value, sight: &Sight, carried: &BTreeMap<Version, BTreeSet<usize>>) -> bool {
    match (value, sight) {
        (Value::Absent, Sight::Absent) => true,
        (Value::Whole(left), Sight::Whole(seen)) => left == *seen,
        (Value::Moved(by), Sight::Whole(seen)) => carried.get(seen).is_some_and(|renames| renames.contains(&by)),
        (Value::Moved(_) | Value::Whole(_), Sight::Present) => true,
        _ => false,
    }
}

/// What was over before this has surely been replaced at `time`: when the last change began that was
/// acknowledged by then.
fn replaced_before(effects: &[Effect], time: u64) -> u64 {
    let acknowledged = effects.iter().filter(|effect| effect.is_certain && effect.until < time);
    acknowledged.map(|effect| effect.from).max().unwrap_or_default()
}

/// Whoever looks when nothing is under way any more sees the same.
fn check_agreement(name: &str, path: &Path<'_>, settled: u64, violations: &mut Vec<Violation>) {
    let late = |(event, sight): &&(&Event, &Sight)| event.from >= settled && !matches!(sight, Sight::Damaged(_));
    let late: Vec<_> = path.looks.iter().filter(late).collect();
    // What tells most, as what the others are compared with.
    let Some(first) = late.iter().find(|(_, sight)| **sight != Sight::Present) else { return };
    for look in &late {
        let agrees = first.1 == look.1 || (matches!(first.1, Sight::Whole(_)) && *look.1 == Sight::Present);
        if !agrees {
            let text = format!("{}\n{}\n  {name} is not the same to both, when all is over", first.0, look.0);
            violations.push(Violation(text));
        }
    }
}
