//! Why something could not be measured.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

/// Why something could not be measured.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// What came back is not what was sent: worth more than any number.
    #[error("{what} is not what was sent")]
    Corrupt {
        /// What was compared.
        what: String,
    },
    /// A process of ours ended by itself.
    #[error("{name} ended by itself; the end of its output:\n{log}")]
    Ended {
        /// Its name.
        name: String,
        /// The last lines of its output.
        log: String,
    },
    /// A client said that it failed.
    #[error("{program} failed with {status}: {output}")]
    Failed {
        /// The client.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// A signal.
    #[error("interrupted; what was started has been ended")]
    Interrupted,
    /// The operating system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What failed.
        source: io::Error,
    },
    /// A result file.
    #[error("{what}: {source}")]
    Json {
        /// Which.
        what: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The peers' programs that are not there.
    #[error("not installed: {programs}. Install them (Debian: {packages}), or leave them out with {without}")]
    Missing {
        /// Their names.
        programs: String,
        /// The Debian packages that bring them.
        packages: String,
        /// The options that leave them out.
        without: String,
    },
    /// Something answered in a form that is not expected.
    #[error("{what} can't be understood: {text}")]
    Unexpected {
        /// What was read.
        what: String,
        /// What it said.
        text: String,
    },
    /// Some steps of a run failed; they are in its report.
    #[error("{failures} steps failed; the report names them")]
    StepsFailed {
        /// How many.
        failures: usize,
    },
    /// A step that took too long was ended.
    #[error("{what} was not done after {} s and was ended", limit.as_secs())]
    TimedOut {
        /// The step.
        what: String,
        /// Its limit.
        limit: Duration,
    },
    /// Reports that do not belong together.
    #[error("the reports can't be put together: one is of {first}, another of {second}")]
    Unlike {
        /// What one is of.
        first: String,
        /// What another is of.
        second: String,
    },
}

/// Names what was tried when the operating system refuses.
pub(crate) fn during(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
    let what = what.into();
    move |source| BenchError::Io { what, source }
}
