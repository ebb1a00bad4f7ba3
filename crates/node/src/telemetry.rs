//! Logs: which lines are written, in which format and where.

mod flat_json;

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

use crate::config::InvalidSetting;
use flat_json::FlatJson;

/// The `[log]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How a line looks. Default: `json`.
    pub format: Format,
    /// Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), or a list of
    /// `target=level`. Default: `info`.
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One flat JSON object per line.
    Json,
    /// For people; coloured on a terminal.
    Text,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// For `tidegate serve`: what journald and container runtimes collect.
    Stdout,
    /// For every other command, whose standard output is its result.
    Stderr,
}

/// Why the log could not be set up.
#[derive(Debug, Error)]
#[error("the log can't be set up")]
pub struct TelemetryError(#[source] TryInitError);

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Json, level: "info".to_owned() }
    }
}

impl Config {
    /// Checks the filter.
    ///
    /// # Errors
    /// Names `log.level` if it is no filter.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.filter().map(drop).map_err(|error| InvalidSetting::new("log.level", error.to_string()))
    }

    fn filter(&self) -> Result<EnvFilter, ParseError> {
        EnvFilter::builder().parse(&self.level)
    }
}

/// Installs the process-wide subscriber, for `tracing` and for the `log` records of libraries.
/// A filter that does not parse counts as the default: [`Config::validate`] refuses it earlier.
///
/// # Errors
/// If there is one already.
pub fn init(config: &Config, destination: Destination) -> Result<(), TelemetryError> {
    let filter = config.filter().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = match (config.format, destination) {
        (Format::Json, Destination::Stdout) => FlatJson::new(std::io::stdout).boxed(),
        (Format::Json, Destination::Stderr) => FlatJson::new(std::io::stderr).boxed(),
        (Format::Text, Destination::Stdout) => {
            fmt::layer().with_ansi(std::io::stdout().is_terminal()).with_writer(std::io::stdout).boxed()
        }
        (Format::Text, Destination::Stderr) => {
            fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed()
        }
    };
    registry.with(layer).try_init().map_err(TelemetryError)
}
