//! What docs/SCALING.md and its files say is what the simulation gives.

use std::path::{Path, PathBuf};

use crate::charts::charts;
use crate::markdown::document;
use crate::measured::Measured;
use crate::parameters::Parameters;
use crate::results::{Inputs, Results};
use crate::settings::Settings;
use crate::storm::Case;
use crate::{cost, growth, steady, storm};

const COMMAND: &str = "run: cargo run --release -p tidegate-scaling";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn committed() -> Results {
    Results::read(&docs().join("scaling/results.json")).unwrap()
}

fn inputs() -> (Parameters, Settings, Measured) {
    (Parameters::default(), Settings::load().unwrap(), Measured::load().unwrap())
}

/// As it is read from a file, where a last digit may be lost.
fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

#[test]
fn what_went_into_the_results_is_still_so() {
    let (parameters, settings, measured) = inputs();
    let now = through_json(&Inputs::of(&parameters, &settings, &measured));
    assert_eq!(committed().inputs, now, "{COMMAND}");
}

/// The smaller clusters, which take little time; each has its own stream of chance, so all are as in the whole run.
#[test]
fn the_simulation_still_gives_the_results() {
    const NODES_MAX: usize = 10;
    let (parameters, settings, measured) = inputs();
    let committed = committed();
    let small = |nodes: &&usize| **nodes <= NODES_MAX;
    for nodes in parameters.cluster.nodes.iter().filter(small) {
        for profile in &parameters.profiles {
            let now = through_json(&steady::run(profile, *nodes, &parameters, &settings, &measured));
            let then = committed.steady_of(&profile.name).find(|steady| steady.nodes == *nodes);
            assert_eq!(then, Some(&now), "{COMMAND}");
        }
        for case in Case::all(*nodes) {
            let now = through_json(&storm::run(case, &parameters, &settings, &measured));
            let then = committed.storms.iter().find(|storm| storm.case == case);
            assert_eq!(then, Some(&now), "{COMMAND}");
        }
    }
    let shortest = parameters.growth.ramp_minutes.first().unwrap();
    assert_eq!(
        committed.growth.first(),
        Some(&through_json(&growth::run(*shortest, &parameters, &settings))),
        "{COMMAND}"
    );
    let volumes = parameters.transfer.gb_per_month.iter();
    let now: Vec<_> = volumes.map(|gb| through_json(&cost::month(*gb, &parameters, &settings, &measured))).collect();
    assert_eq!(committed.cost, now, "{COMMAND}");
}

#[test]
fn the_document_and_its_charts_show_the_results() {
    let committed = committed();
    let read = |file: &str| std::fs::read_to_string(docs().join(file)).unwrap();
    let charts = charts(&committed);
    assert!(read("SCALING.md") == document(&committed, &charts), "docs/SCALING.md is not of these results; {COMMAND}");
    for chart in &charts {
        let file = format!("scaling/{}", chart.file);
        assert!(read(&file) == chart.svg, "docs/{file} is not of these results; {COMMAND}");
        assert!(read("SCALING.md").contains(&format!("]({file})")), "docs/SCALING.md does not show {file}");
    }
    let svgs = std::fs::read_dir(docs().join("scaling")).unwrap();
    let count = svgs.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "svg")).count();
    assert_eq!(count, charts.len(), "a chart that is no longer made lies in docs/scaling");
}
