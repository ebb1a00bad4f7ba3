//! `TIDEGATE_*` variables: `TIDEGATE_SSH__LISTEN` is `ssh.listen`, a double underscore nests.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;
use toml::{Table, Value};

use super::Config;

const PREFIX: &str = "TIDEGATE_";

/// Variables of ours that are no settings of the node: `CONFIG` names the file, `BIN` and `COMMIT`
/// serve tests and builds.
const NO_SETTINGS: [&str; 3] = ["BIN", "COMMIT", "CONFIG"];

/// Short for `TIDEGATE_LOG__LEVEL`, which wins over it.
const LOG: &str = "LOG";

/// The variables that begin with `TIDEGATE_`.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

/// A variable that is no setting, or whose value does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the environment variable {name} is not valid: {reason}")]
pub struct VariableError {
    name: String,
    reason: String,
}

impl Environment {
    /// The process' own.
    pub fn of_process() -> Self {
        Self::new(
            std::env::vars_os()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())),
        )
    }

    /// Those of `variables` that begin with `TIDEGATE_`.
    pub fn new<N: AsRef<str>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(
            variables
                .into_iter()
                .filter_map(|(name, value)| Some((name.as_ref().strip_prefix(PREFIX)?.to_owned(), value.into())))
                .filter(|(name, _)| !NO_SETTINGS.contains(&name.as_str()))
                .collect(),
        )
    }

    /// Puts the values into `table`, and reads the whole into a configuration.
    ///
    /// # Errors
    /// Names the first variable that is no setting or does not fit it, and never the value of a
    /// secret.
    pub(super) fn apply(&self, table: &mut Table) -> Result<Config, VariableError> {
        // `LOG` sorts before `LOG__LEVEL`, which therefore wins.
        for (name, text) in &self.0 {
            let path = path(name);
            let refuse = |reason: String| VariableError { name: format!("{PREFIX}{name}"), reason };
            *table = with_value(table, &path, text).map_err(refuse)?;
        }
        Config::deserialize(table.clone())
            .map_err(|error| VariableError { name: PREFIX.to_owned(), reason: error.message().to_owned() })
    }
}

fn path(name: &str) -> Vec<String> {
    match name {
        LOG => vec!["log".to_owned(), "level".to_owned()],
        _ => name.split("__").map(str::to_lowercase).collect(),
    }
}

/// `table` with the value that `text` stands for: a TOML value if the setting takes it, else the
/// text as it is.
fn with_value(table: &Table, path: &[String], text: &str) -> Result<Table, String> {
    let as_text = place(table, path, Value::String(text.to_owned()))?;
    let Err(text_error) = Config::deserialize(as_text.clone()) else { return Ok(as_text) };
    let Some(value) = toml_value(text) else { return Err(reason(path, &text_error)) };
    let typed = place(table, path, value)?;
    match Config::deserialize(typed.clone()) {
        Ok(_) => Ok(typed),
        Err(error) => Err(reason(path, &error)),
    }
}

fn reason(path: &[String], error: &toml::de::Error) -> String {
    let of_a_secret = path.iter().any(|name| name.contains("secret"));
    if of_a_secret { "the value does not fit".to_owned() } else { error.message().to_owned() }
}

/// The value if `text` is exactly one.
fn toml_value(text: &str) -> Option<Value> {
    let mut table: Table = toml::from_str(&format!("value = {text}")).ok()?;
    let value = table.remove("value")?;
    table.is_empty().then_some(value)
}

fn place(table: &Table, path: &[String], value: Value) -> Result<Table, String> {
    let mut whole = table.clone();
    let Some((last, sections)) = path.split_last() else { return Err("it names no setting".to_owned()) };
    let mut inner = &mut whole;
    for section in sections {
        match inner.entry(section.clone()).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(table) => inner = table,
            _ => return Err(format!("{section} is a setting, not a section")),
        }
    }
    inner.insert(last.clone(), value);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn apply(variables: &[(&str, &str)]) -> Result<Config, String> {
        Environment::new(variables.iter().copied()).apply(&mut Table::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_typed_by_the_setting_that_takes_them() {
        let config = apply(&[
            ("TIDEGATE_CLUSTER", "2026"),
            ("TIDEGATE_SSH__LISTEN", "127.0.0.1:0"),
            ("TIDEGATE_SSH__MAX_CHANNELS", "3"),
            ("TIDEGATE_SSH__WINDOW", "8MiB"),
            ("TIDEGATE_DRAIN__DELAY", "1m 30s"),
            ("TIDEGATE_AWS__PATH_STYLE", "true"),
            ("TIDEGATE_AWS__TABLE", "\"quoted\""),
            ("TIDEGATE_AWS__ENDPOINTS__S3", "http://127.0.0.1:1"),
            ("HOME", "/"),
        ])
        .unwrap();
        assert_eq!(config.cluster, "2026");
        assert_eq!(config.ssh.listen.port(), 0);
        assert_eq!(config.ssh.max_channels, 3);
        assert_eq!(config.ssh.window.as_u64(), 8 << 20);
        assert_eq!(config.drain.delay, Duration::from_secs(90));
        assert!(config.aws.path_style);
        assert_eq!(config.aws.table, "\"quoted\"");
        assert_eq!(config.aws.endpoints.s3.as_deref(), Some("http://127.0.0.1:1"));
    }

    #[test]
    fn a_variable_that_is_no_setting_is_refused_by_name() {
        for name in ["TIDEGATE_SSH__LISEN", "TIDEGATE_SHS__LISTEN", "TIDEGATE_", "TIDEGATE_CLUSTER__NAME"] {
            let message = apply(&[(name, "1")]).unwrap_err();
            assert!(message.contains(&format!("variable {name} is")), "{message}");
        }
        let message = apply(&[("TIDEGATE_SSH__MAX_CHANNELS", "many")]).unwrap_err();
        assert!(message.contains("TIDEGATE_SSH__MAX_CHANNELS"), "{message}");
    }

    #[test]
    fn variables_that_are_no_settings_are_let_pass() {
        apply(&[("TIDEGATE_CONFIG", "x"), ("TIDEGATE_BIN", "x"), ("TIDEGATE_COMMIT", "x")]).unwrap();
    }

    #[test]
    fn the_short_log_variable_yields_to_the_long_one() {
        assert_eq!(apply(&[("TIDEGATE_LOG", "debug")]).unwrap().log.level, "debug");
        let both = apply(&[("TIDEGATE_LOG__LEVEL", "warn"), ("TIDEGATE_LOG", "debug")]).unwrap();
        assert_eq!(both.log.level, "warn");
    }

    #[test]
    fn a_value_can_not_smuggle_in_another_setting() {
        assert!(apply(&[("TIDEGATE_SSH__MAX_CHANNELS", "3\nmax_connections = 1")]).is_err());
    }
}
