//! Simulates clusters of 1 to 1,000 nodes and writes docs/SCALING.md: requests to DynamoDB and S3, logins after
//! a node's death, growth, and cost.

mod account_cache;
mod charts;
mod cost;
mod error;
mod growth;
mod markdown;
mod measured;
mod parameters;
mod population;
mod queue;
mod random;
mod results;
mod settings;
mod station;
mod steady;
mod storm;
mod table;
#[cfg(test)]
mod tests;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use error::ScalingError;
use measured::Measured;
use parameters::Parameters;
use results::Results;
use settings::Settings;

/// Simulates clusters of 1 to 1,000 nodes and writes what comes out: SCALING.md, its charts and all numbers.
#[derive(Debug, Parser)]
struct Cli {
    /// The folder that gets SCALING.md, and scaling/ with the charts and results.json.
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
    /// Of all chance; the same seed gives the same results. Default: that of the parameters.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scaling: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), ScalingError> {
    let mut parameters = Parameters::default();
    parameters.seed = cli.seed.unwrap_or(parameters.seed);
    let (settings, measured) = (Settings::load()?, Measured::load()?);
    let results = Results::simulate(&parameters, &settings, &measured, |what| eprintln!("{what}"));
    write(&results, &cli.docs)
}

/// Writes everything below `docs`.
fn write(results: &Results, docs: &Path) -> Result<(), ScalingError> {
    let folder = docs.join("scaling");
    let named = |file: &Path| file.display().to_string();
    std::fs::create_dir_all(&folder).map_err(|source| ScalingError::File { file: named(&folder), source })?;
    results.write(&folder.join("results.json"))?;
    let text = |file: PathBuf, text: String| {
        std::fs::write(&file, text).map_err(|source| ScalingError::File { file: named(&file), source })
    };
    let charts = charts::charts(results);
    text(docs.join("SCALING.md"), markdown::document(results, &charts))?;
    for chart in charts {
        text(folder.join(chart.file), chart.svg)?;
    }
    Ok(())
}
