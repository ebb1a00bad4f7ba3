//! The rows of the table, and how they run.

mod growth;
mod idle;
mod listing;
mod logins;
mod many;
mod progress;
mod small;
mod stream;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cli::{RunArgs, Workload};
use crate::error::BenchError;
use crate::figure::{Figure, Operation};
use crate::machine::Machine;
use crate::measure::{Usage, measured};
use crate::report::{Conditions, Report, json};
use crate::results::Results;
use crate::server::{Server, ServerKind};
use crate::testbed::Testbed;
use progress::Progress;

pub(crate) use growth::FACTORS;

/// How long one command of a client may take.
const STEP_LIMIT: Duration = Duration::from_secs(15 * 60);
/// The same with `--quick`.
const QUICK_STEP_LIMIT: Duration = Duration::from_secs(3 * 60);

/// The rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Row {
    /// One stream up and down: speed, CPU, requests
    Stream,
    /// Eight streams at once, up and down: speed, memory
    Streams8,
    /// Small files up and down: speed, requests
    Small,
    /// A large directory, cold and warm: time, requests
    Listing,
    /// Logins, 16 at once: speed, CPU
    Logins,
    /// Memory per idle session
    IdleMemory,
    /// Peak memory and fairness with 50 uploads and 50 downloads at once
    PeakMemory,
    /// The node at 1, 4 and 16 times the work
    Growth,
}

/// The rows and servers, for people.
pub(crate) fn list() -> String {
    fn section<T: ValueEnum>(text: &mut String, title: &str) {
        let _ = writeln!(text, "{title}");
        for value in T::value_variants().iter().filter_map(ValueEnum::to_possible_value) {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {:<14} {help}", value.get_name());
        }
    }
    let mut text = String::new();
    section::<Row>(&mut text, "Rows (--rows):");
    section::<ServerKind>(&mut text, "Servers (--without):");
    text
}

/// Measures what was asked for. Steps that fail are noted in the report.
pub(crate) async fn run(args: &RunArgs) -> Result<Report, BenchError> {
    let servers: Vec<_> = ServerKind::ALL.into_iter().filter(|kind| !args.without.contains(kind)).collect();
    assert_installed(&servers)?;
    raise_file_limit();
    let rows = if args.rows.is_empty() { Row::value_variants().to_vec() } else { args.rows.clone() };
    let workload = args.workload();
    let step_limit = if args.quick { QUICK_STEP_LIMIT } else { STEP_LIMIT };
    let testbed = Testbed::start(args).await?;
    let machine = Machine::look(&testbed.tidegate).await;
    let conditions = Conditions::new(&workload, rows.clone(), &measuring_arguments(std::env::args().skip(1)));
    let mut report = Report { machine, conditions, results: Results::default() };
    let progress = Progress::new(rows.clone(), servers.clone(), workload.runs);
    let results = Results::default();
    let mut bench = Bench { testbed, workload, servers, step_limit, results, progress, seeded: BTreeSet::new() };
    for row in &rows {
        let done = match row {
            Row::Stream => stream::measure(&mut bench).await,
            Row::Streams8 => many::measure_eight(&mut bench).await,
            Row::Small => small::measure(&mut bench).await,
            Row::Listing => listing::measure(&mut bench).await,
            Row::Logins => logins::measure(&mut bench).await,
            Row::IdleMemory => idle::measure(&mut bench).await,
            Row::PeakMemory => many::measure_fifty(&mut bench).await,
            Row::Growth => growth::measure(&mut bench).await,
        };
        if let Err(error) = done {
            bench.results.fail(&format!("{row:?}"), &error);
        }
        bench.progress.row_ended();
        // After each row: what is there stays when a long run is cut.
        report.results.clone_from(&bench.results);
        if let Some(path) = &args.json {
            json::write(&report, path)?;
        }
    }
    bench.testbed.stop().await;
    Ok(report)
}

/// The arguments that decide about what is measured, without those that say where files lie.
fn measuring_arguments(arguments: impl Iterator<Item = String>) -> Vec<String> {
    const PLACES: [&str; 4] = ["--json", "--markdown", "--tidegate", "--work-dir"];
    let mut kept = Vec::new();
    let mut is_place = false;
    for argument in arguments {
        let name = argument.split('=').next().unwrap_or_default();
        if PLACES.contains(&name) {
            is_place = !argument.contains('=');
        } else if is_place {
            is_place = false;
        } else {
            kept.push(argument);
        }
    }
    kept
}

/// A run under way.
struct Bench {
    testbed: Testbed,
    workload: Workload,
    servers: Vec<ServerKind>,
    step_limit: Duration,
    results: Results,
    progress: Progress,
    /// How many entries the large directories have that are there already.
    seeded: BTreeSet<u64>,
}

/// One server that was started for one step.
struct Step<'a> {
    testbed: &'a mut Testbed,
    results: &'a mut Results,
    server: Server,
    name: String,
}

impl Bench {
    /// Those of `kinds` that take part, in the order of this run: rotated, and backwards in every
    /// other round, so that none is always first or always behind the same one.
    fn order(&self, run: u32, kinds: &[ServerKind]) -> Vec<ServerKind> {
        let mut kinds: Vec<_> = self.servers.iter().copied().filter(|kind| kinds.contains(kind)).collect();
        if kinds.is_empty() {
            return kinds;
        }
        let by = run as usize % kinds.len();
        kinds.rotate_left(by);
        if run % 2 == 1 {
            kinds.reverse();
        }
        kinds
    }

    /// Starts a server and does something with it. What fails is noted, and the run goes on.
    async fn step(
        &mut self,
        name: &str,
        kind: ServerKind,
        run: u32,
        work: impl AsyncFnOnce(&mut Step<'_>) -> Result<(), BenchError>,
    ) {
        let name = format!("{name}, {}, run {}", kind.title(), run + 1);
        let left = self.progress.left().map(|left| format!(" ({left})")).unwrap_or_default();
        eprintln!("{name} of {}{left}", self.workload.runs);
        if let Err(error) = self.try_step(name.clone(), kind, work).await {
            self.results.fail(&name, &error);
        }
        self.progress.step_done(kind);
    }

    async fn try_step(
        &mut self,
        name: String,
        kind: ServerKind,
        work: impl AsyncFnOnce(&mut Step<'_>) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        self.testbed.proxy.set_delay(0).await?;
        let server = Server::start(kind, &self.testbed, self.step_limit).await?;
        let mut step = Step { testbed: &mut self.testbed, results: &mut self.results, server, name };
        let done = work(&mut step).await;
        if done.is_err() {
            eprintln!("{}", step.server.logs());
        }
        let Step { server, testbed, .. } = step;
        // Whatever the server still asks for at its end is not to take long.
        testbed.proxy.set_delay(0).await?;
        let stopped = server.stop().await;
        let tidied = if done.is_err() { testbed.remove_received() } else { Ok(()) };
        done.and(stopped).and(tidied)
    }
}

impl Step<'_> {
    fn kind(&self) -> ServerKind {
        self.server.kind
    }

    /// A file of the clients'.
    fn local(&self, name: &str) -> PathBuf {
        self.server.login.folder.join(name)
    }

    async fn delay(&mut self, milliseconds: u64) -> Result<(), BenchError> {
        self.testbed.proxy.set_delay(milliseconds).await
    }

    async fn sftp(&self, command: String) -> Result<f64, BenchError> {
        Ok(self.server.login.sftp(&[command]).await?.seconds())
    }

    /// Runs clients and tells what that has cost.
    async fn measured<T>(
        &mut self,
        operation: impl Future<Output = Result<T, BenchError>>,
    ) -> Result<(T, Usage), BenchError> {
        let (done, usage) = measured(self.testbed, &self.server, operation).await?;
        if self.server.kind.uses_store() {
            eprintln!("    requests: {}", usage.requests);
        }
        if usage.requests.failed > 0 {
            let failed = format!("{} requests did not reach the store", usage.requests.failed);
            return Err(BenchError::Unexpected { what: self.name.clone(), text: failed });
        }
        Ok((done, usage))
    }

    /// Notes what this run gave.
    fn add(&mut self, figure: Figure, delay: u64, value: f64) {
        self.results.add(figure, self.server.kind, delay, value);
    }

    fn add_growth(&mut self, operation: Operation, factor: u64, value: f64) {
        self.results.add_growth(operation, factor, value);
    }
}

/// Every program of every server is there, or the missing ones are named.
fn assert_installed(servers: &[ServerKind]) -> Result<(), BenchError> {
    const CLIENTS: [(&str, &str); 4] =
        [("lftp", "lftp"), ("sftp", "openssh-client"), ("ssh", "openssh-client"), ("ssh-keygen", "openssh-client")];
    let found = |program: &str| {
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .into_iter()
            .any(|folder| PathBuf::from(folder).join(program).exists())
    };
    let (mut programs, mut packages, mut without) = (Vec::new(), Vec::new(), Vec::new());
    let mut miss = |wanted: &[(&'static str, &'static str)]| {
        let missing: Vec<_> = wanted.iter().filter(|(program, _)| !found(program)).collect();
        programs.extend(missing.iter().map(|(program, _)| *program));
        packages.extend(missing.iter().map(|(_, package)| *package));
        !missing.is_empty()
    };
    miss(&CLIENTS);
    for kind in servers {
        if miss(kind.programs()) {
            without.extend(kind.to_possible_value().map(|value| format!("--without {}", value.get_name())));
        }
    }
    if programs.is_empty() {
        return Ok(());
    }
    for list in [&mut programs, &mut packages] {
        list.sort_unstable();
        list.dedup();
    }
    let without = if without.is_empty() { "nothing: the clients are needed".to_owned() } else { without.join(" ") };
    Err(BenchError::Missing { programs: programs.join(", "), packages: packages.join(" "), without })
}

/// Many clients at once need many pipes, and servers inherit the limit.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If that is refused, the step that needs more files says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_no_places_of_the_machine() {
        let arguments = "--quick --json /tmp/a.json --runs 3 --markdown=/tmp/b.md --rows stream";
        let kept = measuring_arguments(arguments.split(' ').map(str::to_owned));
        assert_eq!(kept.join(" "), "--quick --runs 3 --rows stream");
    }

    #[test]
    fn rows_and_servers_are_listed() {
        let text = list();
        for name in ["streams8", "peak-memory", "rclone-writes", "tmpfs"] {
            assert!(text.contains(&format!("\n  {name} ")), "{name} is missing");
        }
    }
}
