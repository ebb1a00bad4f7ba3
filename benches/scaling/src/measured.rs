//! What the benchmark has measured: docs/benchmarks/results.json.

use serde::{Deserialize, Serialize};

use crate::error::ScalingError;

const RESULTS: &str = include_str!("../../../docs/benchmarks/results.json");
/// The benchmark's delay of the store's answers, as of S3's own.
const DELAY_MS: u64 = 20;

/// Medians of a node's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Which commit was measured.
    pub(crate) commit: String,
    /// When.
    pub(crate) date: String,
    /// On how many cores, which clients and store shared with the node.
    pub(crate) cores: f64,
    /// Logins a second, with 16 clients at once.
    pub(crate) logins_per_second: f64,
    /// CPU of the node per login, in milliseconds.
    pub(crate) login_cpu_ms: f64,
    /// CPU of the node per GiB up, in seconds.
    pub(crate) upload_cpu_s: f64,
    /// CPU of the node per GiB down, in seconds.
    pub(crate) download_cpu_s: f64,
    /// Memory per idle session, in KiB.
    pub(crate) idle_session_kib: f64,
    /// Requests for a small file up: PUTs and others.
    pub(crate) small_up: (f64, f64),
    /// Requests for a small file down: GETs and others.
    pub(crate) small_down: (f64, f64),
    /// Requests of a large upload besides its parts: two that frame it, and what the client asks itself.
    pub(crate) large_up_others: f64,
    /// Small files a second of one `sftp -r`, up and down.
    pub(crate) sftp_files_per_second: (f64, f64),
    /// Small files a second of lftp with eight connections, up.
    pub(crate) lftp_files_per_second: f64,
}

#[derive(Deserialize)]
struct File {
    machine: Machine,
    results: Results,
}

#[derive(Deserialize)]
struct Machine {
    date: String,
    commit: String,
    cores: f64,
}

#[derive(Deserialize)]
struct Results {
    measurements: Vec<Measurement>,
}

#[derive(Deserialize)]
struct Measurement {
    figure: String,
    server: String,
    delay_ms: u64,
    summary: tidegate_chart::Summary,
}

impl Measured {
    /// # Errors
    /// Names what the file lacks.
    pub(crate) fn load() -> Result<Self, ScalingError> {
        let file: File = serde_json::from_str(RESULTS)
            .map_err(|source| ScalingError::Json { file: "docs/benchmarks/results.json".to_owned(), source })?;
        let at = |figure: &'static str, delay_ms: u64| {
            let is_it = |known: &&Measurement| {
                known.figure == figure && known.server == "tidegate" && known.delay_ms == delay_ms
            };
            let found = file.results.measurements.iter().find(is_it);
            found.map(|known| known.summary.median).ok_or(ScalingError::NoFigure { figure, delay_ms })
        };
        let figure = |name| at(name, DELAY_MS);
        Ok(Self {
            commit: file.machine.commit.clone(),
            date: file.machine.date.clone(),
            cores: file.machine.cores,
            logins_per_second: figure("logins")?,
            login_cpu_ms: figure("login-cpu")?,
            upload_cpu_s: figure("stream-up-cpu")?,
            download_cpu_s: figure("stream-down-cpu")?,
            idle_session_kib: at("idle-memory", 0)?,
            small_up: (figure("small-up-puts")?, figure("small-up-others")?),
            small_down: (figure("small-down-gets")?, figure("small-down-others")?),
            large_up_others: figure("stream-up-requests")?,
            sftp_files_per_second: (figure("small-up")?, figure("small-down")?),
            lftp_files_per_second: figure("small-up-lftp")?,
        })
    }

    /// Logins a second that the CPU of so many cores would give, if a login took nothing else.
    pub(crate) fn logins_by_cpu(&self, cores: f64) -> f64 {
        cores * 1_000.0 / self.login_cpu_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmark_has_all_that_is_needed() {
        let measured = Measured::load().unwrap();
        assert!(measured.logins_per_second > 1.0 && measured.small_up.0 >= 1.0);
        assert!(measured.logins_by_cpu(2.0) > measured.logins_per_second);
    }
}
