//! Every setting with the value in force, for people: the documented defaults, and on top of them
//! what the file and the environment say.

use std::fmt;

use toml::{Table, Value};

/// Every setting that has a default, with its default; a test holds it against the code.
const DEFAULTS: &str = include_str!("defaults.toml");

/// What `check-config` prints. Secrets are never in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective(Table);

impl Effective {
    /// The defaults with `set` on top.
    pub(super) fn new(set: Table) -> Self {
        let mut table = toml::from_str(DEFAULTS).unwrap_or_default();
        overlay(&mut table, set);
        redact(&mut table);
        Self(table)
    }

    /// The settings as nested tables.
    pub fn table(&self) -> &Table {
        &self.0
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

fn overlay(table: &mut Table, set: Table) {
    for (name, value) in set {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(set)) => overlay(inner, set),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

fn redact(table: &mut Table) {
    for (name, value) in table {
        match value {
            Value::Table(inner) => redact(inner),
            value if name.contains("secret") => *value = Value::String("***".to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;

    use serde::Deserialize;

    use super::*;
    use crate::config::Config;

    /// The settings in a table, by full name.
    fn flat(table: &Table, prefix: &str, into: &mut BTreeMap<String, String>) {
        for (name, value) in table {
            match value {
                Value::Table(inner) => flat(inner, &format!("{prefix}{name}."), into),
                value => {
                    into.insert(format!("{prefix}{name}"), value.to_string());
                }
            }
        }
    }

    fn defaults() -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        flat(&toml::from_str(DEFAULTS).unwrap(), "", &mut settings);
        settings
    }

    /// What the code takes at `path`: the names that serde lists when it refuses an unknown one.
    fn names_below(path: &[String]) -> Option<BTreeSet<String>> {
        let mut value = Value::Table(Table::from_iter([("no such name".to_owned(), Value::Integer(0))]));
        for name in path.iter().rev() {
            value = Value::Table(Table::from_iter([(name.clone(), value)]));
        }
        let message = Config::deserialize(value).unwrap_err().message().to_owned();
        let names = message.strip_prefix("unknown field `no such name`, expected ")?;
        Some(names.split('`').skip(1).step_by(2).map(str::to_owned).collect())
    }

    /// Every setting that the code takes, by full name.
    fn settings(path: &[String], into: &mut BTreeSet<String>) {
        match names_below(path) {
            Some(names) => {
                for name in names {
                    settings(&[path, &[name]].concat(), into);
                }
            }
            None => {
                into.insert(path.join("."));
            }
        }
    }

    /// The rows of the manual's tables: name and default, `None` where it says "unset".
    fn documented() -> BTreeMap<String, Option<String>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFIGURATION.md");
        let manual = fs::read_to_string(path).unwrap();
        let mut rows = BTreeMap::new();
        for line in manual.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `TIDEGATE_")) {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, name, default, meaning, _] = cells.as_slice() else { panic!("not three columns: {line}") };
            assert!(!meaning.is_empty(), "{line}");
            let default = match *default {
                "unset" => None,
                text => Some(text.trim_matches('`').to_owned()),
            };
            let before = rows.insert(name.trim_matches('`').to_owned(), default);
            assert!(before.is_none(), "documented twice: {line}");
        }
        rows
    }

    #[test]
    fn the_defaults_for_people_are_those_of_the_code() {
        let config: Config = toml::from_str(DEFAULTS).unwrap();
        assert_eq!(format!("{config:#?}"), format!("{:#?}", Config::default()));
    }

    #[test]
    fn the_manual_lists_every_setting_and_no_other() {
        let mut known = BTreeSet::new();
        settings(&[], &mut known);
        assert!(known.contains("aws.endpoints.s3") && known.len() > 40, "{known:?}");
        let documented: BTreeSet<_> = documented().into_keys().collect();
        let differences: Vec<_> = known.symmetric_difference(&documented).collect();
        assert!(differences.is_empty(), "in the code or in the manual only: {differences:?}");
    }

    #[test]
    fn the_manual_gives_the_defaults() {
        let defaults = defaults();
        for (name, default) in documented() {
            assert_eq!(default.as_ref(), defaults.get(&name), "{name}");
        }
    }

    #[test]
    fn what_is_set_lies_on_top_and_secrets_are_hidden() {
        let set = toml::from_str("[aws]\nregion = \"x\"\nsecret_access_key = \"hunter2\"\n[drain]\ndelay = \"1s\"\n");
        let text = Effective::new(set.unwrap()).to_string();
        assert!(text.contains("region = \"x\"") && text.contains("delay = \"1s\""), "{text}");
        assert!(text.contains("secret_access_key = \"***\"") && !text.contains("hunter2"), "{text}");
        assert!(text.contains("max_attempts = "), "{text}");
    }
}
