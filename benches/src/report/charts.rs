//! Which charts a report has.

use tidegate_chart::{Bars, Panel, Panels, Series};

use super::Report;
use crate::figure::{Figure, Operation};
use crate::results::Results;
use crate::rows::FACTORS;
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
const BARS: [(&str, &str, &str, Columns); 10] = [
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
    (
        "requests.svg",
        "S3 requests per file of 4 KiB",
        "requests",
        &[
            (Figure::SmallUpPuts, "up, PUT"),
            (Figure::SmallUpOthers, "up, others"),
            (Figure::SmallDownGets, "down, GET"),
            (Figure::SmallDownOthers, "down, others"),
        ],
    ),
    ("logins.svg", "Logins, 16 at once", "logins/s", &[(Figure::Logins, "logins")]),
    ("login-cpu.svg", "CPU of the server per login", "ms", &[(Figure::LoginCpu, "login")]),
    ("idle-memory.svg", "Memory per idle session", "KiB", &[(Figure::IdleMemory, "sessions")]),
    (
        "fairness.svg",
        "Slowest by fastest of fifty at once",
        "times",
        &[(Figure::FairUp, "up"), (Figure::FairDown, "down")],
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
                .map(|(figure, _, delay)| results.summary(*figure, server, *delay))
                .collect::<Vec<_>>();
            Series { name: server.title().to_owned(), colour, values }
        })
        .filter(|series| series.values.iter().any(Option::is_some))
        .collect();
    (!series.is_empty()).then(|| Bars { title, unit, groups, series }.draw())
}

/// Cost by work, a panel for each operation.
fn growth(results: &Results) -> Option<Chart> {
    let panel = |operation: Operation| {
        let points: Vec<_> = FACTORS
            .into_iter()
            .filter_map(|factor| Some((factor as f64, results.growth(operation, factor)?)))
            .filter(|(_, cost)| cost.min > 0.0)
            .collect();
        (points.len() > 1).then(|| Panel { title: operation.title(), unit: operation.unit(), points })
    };
    let panels: Vec<_> = Operation::ALL.into_iter().filter_map(panel).collect();
    if panels.is_empty() {
        return None;
    }
    let title = "The node at 1, 4 and 16 times the work";
    Some(Chart { file: "growth.svg", title, svg: Panels { title, panels }.draw() })
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
