//! A run's results, as JSON and as Markdown with charts.

mod charts;
pub(crate) mod json;
pub(crate) mod markdown;
mod merge;

use serde::{Deserialize, Serialize};

use crate::cli::Workload;
use crate::machine::Machine;
use crate::results::Results;
use crate::rows::Row;
use crate::target::is_whole;

pub(crate) use merge::merge;

/// Everything about one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What it ran on.
    pub(crate) machine: Machine,
    /// What was asked for.
    pub(crate) conditions: Conditions,
    /// What came out.
    pub(crate) results: Results,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Conditions {
    /// The tool's arguments; of a merged report, those of each run.
    pub(crate) commands: Vec<String>,
    /// The rows.
    pub(crate) rows: Vec<Row>,
    /// How often each was measured.
    pub(crate) runs: u32,
    /// Bytes of one stream.
    pub(crate) stream_bytes: u64,
    /// Small files, of 4 KiB each.
    pub(crate) small_files: u64,
    /// Entries of the large directory.
    pub(crate) entries: u64,
    /// Logins per run.
    pub(crate) logins: u64,
    /// Idle sessions.
    pub(crate) sessions: u64,
    /// The store's delay in milliseconds.
    pub(crate) delay_ms: u64,
    /// Whether this is all the work that the targets are for.
    pub(crate) whole: bool,
}

impl Conditions {
    /// What was asked for.
    pub(crate) fn new(workload: &Workload, rows: Vec<Row>, arguments: &[String]) -> Self {
        Self {
            commands: vec![arguments.join(" ")],
            rows,
            runs: workload.runs,
            stream_bytes: workload.stream,
            small_files: workload.small_files,
            entries: workload.entries,
            logins: workload.logins,
            sessions: workload.sessions,
            delay_ms: workload.delay,
            whole: is_whole(workload),
        }
    }
}

/// A report for tests.
#[cfg(test)]
fn example() -> Report {
    use crate::figure::{Figure, Operation};
    use crate::server::ServerKind;

    let workload = Workload {
        runs: 2,
        stream: 1 << 30,
        small_files: 1000,
        entries: 10_000,
        logins: 320,
        sessions: 1000,
        delay: 20,
    };
    let machine = Machine {
        date: "2026-11-22".to_owned(),
        commit: "abc1234".to_owned(),
        cpu: "A <fast> CPU & more".to_owned(),
        cores: 2,
        memory: 8 << 30,
        kernel: "6.1".to_owned(),
        load_before: 0.25,
        versions: vec!["rclone v1.60.1".to_owned()],
    };
    let mut results = Results::default();
    for (server, at, values) in [
        (ServerKind::Tidegate, 0, [200.0, 210.0]),
        (ServerKind::Tidegate, 20, [190.0, 200.0]),
        (ServerKind::Rclone, 0, [120.0, 130.0]),
    ] {
        values.into_iter().for_each(|value| results.add(Figure::StreamUp, server, at, value));
    }
    for (factor, seconds) in [(1, 0.5), (4, 1.5), (16, 6.0)] {
        results.add_growth(Operation::Upload, factor, seconds);
    }
    results.failures.push("listing, sshd + s3fs, run 1: s3fs was not done".to_owned());
    Report {
        machine,
        conditions: Conditions::new(&workload, vec![Row::Stream], &["--runs".to_owned(), "2".to_owned()]),
        results,
    }
}
