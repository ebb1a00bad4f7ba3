//! Logs: which lines are written, in which format and where.

mod bounded;
mod flat_json;
#[cfg(test)]
mod recorded;
mod text;

use std::io::{IsTerminal, Stderr, Stdout, Write};
use std::sync::OnceLock;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, Registry};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

use crate::config::InvalidSetting;
use bounded::BoundedLines;
use flat_json::FlatJson;
#[cfg(test)]
pub(crate) use recorded::Recorded;
use text::SafeFields;

/// The `[log]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How a line looks. Default: `json`.
    pub format: Format,
    /// Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), or a list of
    /// `target=level`. Lines of the SSH library are left out unless `russh=LEVEL` is in the list.
    /// Default: `info`.
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
        // A filter without any directive shows errors; with those in front it would show nothing.
        let level = if self.level.trim().is_empty() { "error" } else { &self.level };
        EnvFilter::builder().parse(format!("{SILENCED},{level}"))
    }
}

/// In front of every filter, so that a later directive for the same target wins. The SSH library
/// warns of whatever strange thing a client sends, with the client's bytes, before anybody has
/// logged in.
const SILENCED: &str = "russh=off";

/// How many lines may wait for whoever reads the log. A line takes [`bounded::LINE_MAX`] at the
/// most, so that all of them take 128 MiB where clients make every line as long as they can; with
/// usual lines it is some 6 MiB.
const LINES_MAX: usize = 16_384;

/// Lines left out by the process-wide subscriber.
static LEFT_OUT: OnceLock<ErrorCounter> = OnceLock::new();

/// Keeps the log going; dropping it writes what waits.
#[derive(Debug)]
#[must_use = "without it the log ends at once"]
pub struct Log {
    _writer: WorkerGuard,
}

/// Installs the process-wide subscriber, for `tracing` and for the `log` records of libraries.
/// A filter that does not parse counts as the default: [`Config::validate`] refuses it earlier.
///
/// Lines are written by a thread of their own: whoever reads the log slowly must not hold up
/// transfers. When too many lines wait, further ones are left out and counted.
///
/// # Errors
/// If there is one already.
pub fn init(config: &Config, destination: Destination) -> Result<Log, TelemetryError> {
    let filter = config.filter().unwrap_or_else(|_| EnvFilter::new(format!("{SILENCED},info")));
    let registry = tracing_subscriber::registry().with(filter);
    let (lines, writer) = match destination {
        Destination::Stdout => written_apart::<Stdout>(std::io::stdout()),
        Destination::Stderr => written_apart::<Stderr>(std::io::stderr()),
    };
    let is_terminal = match destination {
        Destination::Stdout => std::io::stdout().is_terminal(),
        Destination::Stderr => std::io::stderr().is_terminal(),
    };
    let counter = lines.error_counter();
    let layer = match config.format {
        Format::Json => FlatJson::new(lines).boxed(),
        Format::Text => text_layer(lines, is_terminal).boxed(),
    };
    registry.with(layer).try_init().map_err(TelemetryError)?;
    LEFT_OUT.get_or_init(|| counter);
    Ok(Log { _writer: writer })
}

/// Lines for people.
fn text_layer<S, W>(to: W, is_coloured: bool) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let bounded = BoundedLines::new(to, is_coloured);
    fmt::layer().fmt_fields(SafeFields).with_ansi(is_coloured).with_writer(bounded)
}

fn written_apart<W: Write + Send + 'static>(to: W) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("log").finish(to)
}

/// Registers the counter of log lines that were left out.
///
/// # Errors
/// If the name is registered already.
pub fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    let name = "tidegate_log_lines_left_out_total";
    let help = "Log lines left out because whoever reads the log was too slow.";
    registry.register(Box::new(LinesLeftOut(IntCounter::new(name, help)?)))
}

/// Shows the subscriber's own counter.
struct LinesLeftOut(IntCounter);

impl Collector for LinesLeftOut {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let left_out = LEFT_OUT.get().map_or(0, ErrorCounter::dropped_lines) as u64;
        self.0.inc_by(left_out.saturating_sub(self.0.get()));
        self.0.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::recorded::Recorded;
    use super::*;

    fn logged_at(level: &str) -> String {
        let config = Config { format: Format::Text, level: level.to_owned() };
        let lines = Recorded::default();
        let writer = lines.clone();
        let layer = text_layer(move || writer.clone(), false);
        let subscriber = tracing_subscriber::registry().with(config.filter().unwrap()).with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "russh::server::encrypted", "of the library");
            tracing::error!(target: "tidegate_ssh", "of the node");
        });
        lines.text()
    }

    #[test]
    fn the_ssh_library_is_heard_only_where_it_is_asked_for() {
        for level in ["info", "trace", "error,tidegate_ssh=debug", ""] {
            let text = logged_at(level);
            assert!(text.contains("of the node") && !text.contains("of the library"), "{level}: {text}");
        }
        for level in ["error,russh=warn", "info,russh::server=debug", "russh=trace,info"] {
            let text = logged_at(level);
            assert!(text.contains("of the node") && text.contains("of the library"), "{level}: {text}");
        }
    }

    #[test]
    fn the_lines_that_wait_take_what_their_limit_says() {
        assert_eq!(LINES_MAX * bounded::LINE_MAX, 128 << 20);
    }

    #[test]
    fn lines_left_out_are_a_metric() {
        let registry = Registry::new();
        register(&registry).unwrap();
        let families = registry.gather();
        assert_eq!(families[0].name(), "tidegate_log_lines_left_out_total");
        assert_eq!(families[0].get_metric()[0].get_counter().get_value(), 0.0);
    }

    #[test]
    fn a_reader_that_is_stuck_holds_up_nobody() {
        let (stuck, release) = std::sync::mpsc::sync_channel::<()>(0);
        struct Stuck(std::sync::Mutex<Option<std::sync::mpsc::SyncSender<()>>>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                if let Some(gate) = self.0.lock().unwrap().take() {
                    // Blocks until the test lets it go on.
                    let _ = gate.send(());
                }
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (mut lines, writer) = written_apart(Stuck(std::sync::Mutex::new(Some(stuck))));
        for _ in 0..LINES_MAX + 10 {
            lines.write_all(b"line\n").unwrap();
        }
        let left_out = lines.error_counter().dropped_lines();
        assert!((8..=10).contains(&left_out), "{left_out}");
        release.recv().unwrap();
        drop(writer);
    }
}
