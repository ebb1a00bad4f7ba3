//! Which charts a report has.

use super::Report;
use super::svg::{Bars, Lines, Series};
use crate::figure::{Figure, Operation};
use crate::results::Results;
use crate::server::ServerKind;

/// A chart: its file's name, its title and the document.
pub(super) struct Chart {
    /// Ends in `.svg`.
    pub(super) file: &'static str,
    /// What it shows.
    pub(super) title: &'static str,
    /// The SVG document.
    pub(super) svg: String,
}

/// Figures, each with what stands below its bars.
type Columns = &'static [(Figure, &'static str)];

/// What is drawn as bars: file, title, unit and figures of that unit side by side.
const BARS: [(&str, &str, &str, Columns); 5] = [
    ("streams.svg", "One stream", "MiB/s", &[(Figure::StreamUp, "up"), (Figure::StreamDown, "down")]),
    (
        "eight-streams.svg",
        "Eight streams at once, sum",
        "MiB/s",
        &[(Figure::EightUp, "up"), (Figure::EightDown, "down")],
    ),
    ("cpu.svg", "CPU of the server", "s/GiB", &[(Figure::StreamUpCpu, "up"), (Figure::StreamDownCpu, "down")]),
    (
        "small-files.svg",
        "Files of 4 KiB",
        "files/s",
        &[(Figure::SmallUp, "up, sftp -r"), (Figure::SmallUpLftp, "up, lftp"), (Figure::SmallDown, "down, sftp -r")],
    ),
    (
        "listing.svg",
        "ls -l of a large directory",
        "s",
        &[(Figure::LsCold, "first"), (Figure::LsWarm, "again"), (Figure::LsThird, "third")],
    ),
];

/// The charts for which something was measured.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let mut charts: Vec<Chart> = BARS
        .into_iter()
        .filter_map(|(file, title, unit, figures)| {
            Some(Chart { file, title, svg: bars(&report.results, title, unit, figures)? })
        })
        .collect();
    charts.extend(growth(&report.results));
    charts
}

fn bars(results: &Results, title: &str, unit: &str, figures: Columns) -> Option<String> {
    let conditions: Vec<(Figure, &str, u64)> = figures
        .iter()
        .flat_map(|(figure, label)| results.delays(*figure).into_iter().map(move |delay| (*figure, *label, delay)))
        .collect();
    let groups = conditions.iter().map(|(_, label, delay)| format!("{label}, {delay} ms")).collect();
    let series: Vec<_> = ServerKind::ALL
        .into_iter()
        .enumerate()
        .map(|(colour, server)| {
            let values = conditions
                .iter()
                .map(|(figure, _, delay)| Some(results.summary(*figure, server, *delay)?.median))
                .collect::<Vec<_>>();
            Series { name: server.title().to_owned(), colour, values }
        })
        .filter(|series| series.values.iter().any(Option::is_some))
        .collect();
    (!series.is_empty()).then(|| Bars { title, unit, groups, series }.draw())
}

/// Cost by work, each line relative to its own beginning.
fn growth(results: &Results) -> Option<Chart> {
    let mut series = Vec::new();
    for operation in Operation::ALL {
        let mut points = Vec::new();
        let first = results.growth(operation, 1).map(|summary| summary.median).filter(|first| *first > 0.0);
        for factor in [1, 4, 16] {
            let (Some(first), Some(cost)) = (first, results.growth(operation, factor)) else { continue };
            if cost.median > 0.0 {
                points.push((factor as f64, cost.median / first));
            }
        }
        if points.len() > 1 {
            series.push((operation.title().to_owned(), points));
        }
    }
    if series.is_empty() {
        return None;
    }
    let title = "Cost of 1, 4 and 16 times the work, relative";
    let reference = ("linear".to_owned(), vec![(1.0, 1.0), (16.0, 16.0)]);
    let svg = Lines { title, horizontal: "times the work", series, reference }.draw();
    Some(Chart { file: "growth.svg", title, svg })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_is_drawn() {
        let charts = charts(&super::super::example());
        let files: Vec<_> = charts.iter().map(|chart| chart.file).collect();
        assert_eq!(files, ["streams.svg", "growth.svg"]);
        let streams = &charts[0].svg;
        assert!(streams.contains("Tidegate") && streams.contains("up, 20 ms") && !streams.contains("s3fs"));
    }
}
