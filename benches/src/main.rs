//! The benchmark: a node beside its peers, on one object store, side by side in one run.
//!
//! Everything listens on loopback. Each measured operation runs on a server that was started for
//! it, one server at a time, in an order that changes from run to run.

mod cli;
mod client;
mod error;
mod figure;
mod files;
mod machine;
mod measure;
mod process;
mod procfs;
mod proxy;
mod report;
mod results;
mod rows;
mod server;
mod target;
mod testbed;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use cli::{Cli, Command, MergeArgs, RenderArgs, RunArgs};
use error::{BenchError, during};
use report::Report;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Merge(args)) => merge(&args),
        Some(Command::Proxy(args)) => proxy::run(&args),
        Some(Command::Render(args)) => render(&args),
        None if cli.run.list => {
            print!("{}", rows::list());
            Ok(())
        }
        None => run(&cli.run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> Result<(), BenchError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(during("starting the runtime"))?;
    // Dropping what runs ends every process it started and unmounts what it mounted.
    let report = runtime.block_on(async {
        tokio::select! {
            report = rows::run(args) => report,
            error = interrupted() => Err(error),
        }
    })?;
    if let Some(path) = &args.markdown {
        report::markdown::write(&report, path)?;
    }
    print!("\n{}", report::markdown::tables(&report));
    match report.results.failures.len() {
        0 => Ok(()),
        failures => Err(BenchError::StepsFailed { failures }),
    }
}

fn merge(args: &MergeArgs) -> Result<(), BenchError> {
    let reports = args.files.iter().map(|file| report::json::read(file)).collect::<Result<Vec<_>, _>>()?;
    let report = report::merge(reports)?;
    report::json::write(&report, &args.json)?;
    args.markdown.as_ref().map_or(Ok(()), |path| report::markdown::write(&report, path))
}

fn render(args: &RenderArgs) -> Result<(), BenchError> {
    let report: Report = report::json::read(&args.json)?;
    report::markdown::write(&report, &args.markdown)
}

async fn interrupted() -> BenchError {
    let wait = |kind: SignalKind| async move {
        match signal(kind) {
            Ok(mut signals) => signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = wait(SignalKind::interrupt()) => {}
        _ = wait(SignalKind::terminate()) => {}
        _ = wait(SignalKind::hangup()) => {}
    }
    BenchError::Interrupted
}
