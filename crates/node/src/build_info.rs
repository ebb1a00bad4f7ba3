//! Which build this is.

use prometheus::{IntGaugeVec, Opts, Registry};
use serde::Serialize;

/// The build as `/version` and `tidegate_build_info` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The package's version.
    pub version: &'static str,
    /// The commit it was built from, where the build said so (environment variable
    /// `TIDEGATE_COMMIT` at compile time).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<&'static str>,
    /// What `rustc --version` printed.
    pub rustc: &'static str,
}

impl BuildInfo {
    /// The build that is running.
    pub const CURRENT: Self = Self {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("TIDEGATE_COMMIT"),
        rustc: env!("BUILD_RUSTC_VERSION"),
    };

    /// Registers `tidegate_build_info`, which is 1 and carries the build in its labels.
    ///
    /// # Errors
    /// If the registry has a metric of that name.
    pub fn register(self, registry: &Registry) -> Result<(), prometheus::Error> {
        let gauge = IntGaugeVec::new(
            Opts::new("tidegate_build_info", "Always 1; the labels tell which build runs."),
            &["version", "commit", "rustc"],
        )?;
        gauge.with_label_values(&[self.version, self.commit.unwrap_or("unknown"), self.rustc]).set(1);
        registry.register(Box::new(gauge))
    }
}
