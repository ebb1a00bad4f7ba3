//! docs/SCALING.md: every number in it comes from the results.

mod assumptions;
mod cost;
mod everyday;
mod growth;
mod limits;
mod storms;

use std::fmt::Write;

use tidegate_chart::whole as count;

use crate::charts::Chart;
use crate::results::Results;

/// The whole document, which shows these charts of the results.
pub(crate) fn document(results: &Results, charts: &[Chart]) -> String {
    let mut text = head(results);
    for section in [
        limits::section(results),
        everyday::section(results, charts),
        storms::section(results, charts),
        growth::section(results, charts),
        cost::section(results, charts),
        assumptions::section(results),
    ] {
        text.push('\n');
        text.push_str(&section);
    }
    text
}

fn head(results: &Results) -> String {
    let (measured, cluster) = (&results.inputs.measured, &results.inputs.parameters.cluster);
    let nodes = cluster.nodes.iter().copied().max().unwrap_or(0);
    format!(
        "# Scaling\n\n\
         What happens to a cluster of 1 to {nodes} nodes and up to {sessions} sessions: requests to DynamoDB and S3, \
         logins after a death, growth, cost, and what breaks first.\n\n\
         **Nothing here was measured on AWS.** It is a simulation, event by event, with a fixed seed. A node's settings, \
         the rule by which it forgets accounts and the variables of the Terraform module are read from the program. \
         What a login and a file cost is read from [BENCHMARKS](BENCHMARKS.md) (commit {commit}, {date}). AWS's prices \
         and quotas lie in [prices.toml](../benches/scaling/prices.toml) and \
         [quotas.toml](../benches/scaling/quotas.toml), all other assumptions in \
         [parameters.rs](../benches/scaling/src/parameters.rs).\n\n\
         Written by this command, in less than a minute; a test runs a part of it again and compares:\n\n\
         ```sh\ncargo run --release -p tidegate-scaling\n```\n\n\
         All numbers: [results.json](scaling/results.json).\n",
        nodes = count(nodes as f64),
        sessions = count(cluster.max_sessions as f64),
        commit = measured.commit,
        date = measured.date,
    )
}

/// A chart by its file.
fn picture(charts: &[Chart], file: &str) -> String {
    let title = charts.iter().find(|chart| chart.file == file).map_or("", |chart| chart.title);
    format!("![{title}](scaling/{file})\n")
}

/// A table: its head, and its lines.
fn table(head: &[&str], lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for line in lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
    text
}

/// A rate or a time: whole from 10 on, with a digit or two behind the point below.
fn rate(value: f64) -> String {
    match value {
        value if value == value.round() || value >= 10.0 => count(value),
        value if value >= 0.1 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A share as percent.
fn percent(share: f64) -> String {
    match share * 100.0 {
        value if value > 0.0 && value < 0.05 => "under 0.1 %".to_owned(),
        value if value > 0.0 && value < 0.95 => format!("{value:.1} %"),
        value => format!("{value:.0} %"),
    }
}

/// US dollars.
fn dollars(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { count(value) }
}

/// A time in seconds that may not come.
fn time(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "not within the hour".to_owned(), |seconds| format!("{} s", rate(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!((count(0.0), count(999.6), count(1_234_567.0)), ("0".into(), "1,000".into(), "1,234,567".into()));
        assert_eq!(
            [0.0, 0.04, 0.26, 2.0, 9.94, 12.4].map(rate),
            ["0", "0.04", "0.3", "2", "9.9", "12"].map(str::to_owned)
        );
        assert_eq!(
            [0.0, 0.000_1, 0.004, 0.126].map(percent),
            ["0 %", "under 0.1 %", "0.4 %", "13 %"].map(str::to_owned)
        );
        assert_eq!([1.5, 1_500.4].map(dollars), ["1.50", "1,500"].map(str::to_owned));
        assert_eq!((time(None), time(Some(0.5))), ("not within the hour".to_owned(), "0.5 s".to_owned()));
    }

    #[test]
    fn tables_are_tables() {
        let text = table(&["a", "b"], [vec!["1".to_owned(), "2".to_owned()]]);
        assert_eq!(text, "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
