//! Why there are no results.

use std::io;

use thiserror::Error;

/// Why there are no results.
#[derive(Debug, Error)]
pub(crate) enum ScalingError {
    /// A file that could not be read or written.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A figure that the benchmark has not measured.
    #[error("docs/benchmarks/results.json: no figure \"{figure}\" of Tidegate at {delay_ms} ms")]
    NoFigure {
        /// Its name.
        figure: &'static str,
        /// With answers of the store delayed by so much.
        delay_ms: u64,
    },
    /// A variable that the Terraform module no longer has, or that is no number.
    #[error("deploy/terraform/variables.tf: no default of \"{name}\" that is understood")]
    NoVariable {
        /// Its name.
        name: &'static str,
    },
    /// Results that could not be written as JSON or read from it.
    #[error("{file}: {source}")]
    Json {
        /// Which.
        file: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A table of settings that is not understood.
    #[error("{file}: {source}")]
    Table {
        /// Which.
        file: &'static str,
        /// Why.
        source: Box<toml::de::Error>,
    },
}
