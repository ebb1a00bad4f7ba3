//! Results for people.

use std::fmt::Write;
use std::path::Path;

use clap::ValueEnum;
use tidegate_chart::{Summary, digits};

use super::charts::charts;
use super::{Report, json};
use crate::client::CIPHERS;
use crate::error::{BenchError, during};
use crate::figure::{Figure, Operation, mib};
use crate::results::Results;
use crate::rows::Row;
use crate::server::{MEMORY_BUDGET, ServerKind};
use crate::target::{Outcome, judge};

/// Writes the report to `path`. Its charts, and the numbers as JSON, go to the folder beside it that
/// has its name in small letters.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), BenchError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let folder = path.with_file_name(&stem);
    std::fs::create_dir_all(&folder).map_err(during(folder.display().to_string()))?;
    json::write(report, &folder.join("results.json"))?;
    let mut text = head(report);
    let _ = writeln!(text, "All numbers: [results.json]({stem}/results.json).\n");
    for chart in charts(report) {
        let file = folder.join(chart.file);
        std::fs::write(&file, chart.svg).map_err(during(file.display().to_string()))?;
        let _ = writeln!(text, "![{}]({stem}/{})\n", chart.title, chart.file);
    }
    text.push_str(&tables(report));
    std::fs::write(path, text).map_err(during(path.display().to_string()))
}

/// The tables alone.
pub(crate) fn tables(report: &Report) -> String {
    let mut text = String::new();
    verdict(&mut text, report);
    text.push_str("## Figures\n\nMedian (least to most).\n");
    for figure in Figure::ALL {
        figure_table(&mut text, report, figure);
    }
    growth(&mut text, &report.results, report.conditions.runs as usize);
    if !report.results.failures.is_empty() {
        text.push_str("\n## Steps that failed\n\n");
        for failure in &report.results.failures {
            let _ = writeln!(text, "- {}", failure.replace('\n', " / "));
        }
    }
    text
}

fn head(report: &Report) -> String {
    let (machine, conditions) = (&report.machine, &report.conditions);
    let mut text = String::from(
        "# Benchmarks\n\nWritten by the benchmark tool ([how to run it](../benches/README.md)). A Tidegate node beside its peers on one machine, one S3 server, in one run. Ratios tell more \
         than numbers: those depend on the machine.\n\n",
    );
    text.push_str("```sh\ncargo build --release -p tidegate-node -p tidegate-bench\n");
    match conditions.commands.as_slice() {
        [one] => {
            let _ = writeln!(text, "target/release/bench {one} --markdown docs/BENCHMARKS.md");
        }
        several => {
            let files: Vec<_> = (1..=several.len()).map(|n| format!("{n}.json")).collect();
            for (command, file) in several.iter().zip(&files) {
                let _ = writeln!(text, "target/release/bench {command} --json {file}");
            }
            let files = files.join(" ");
            let _ = writeln!(text, "target/release/bench merge {files} --json all.json --markdown docs/BENCHMARKS.md");
        }
    }
    text.push_str("```\n\n");
    let _ = writeln!(
        text,
        "- {date}, commit {commit}, {cores} × {cpu}, {memory:.0} MiB of memory, Linux {kernel}, load {load:.2} before the run",
        date = machine.date,
        commit = machine.commit,
        cores = machine.cores,
        cpu = machine.cpu,
        memory = mib(machine.memory),
        kernel = machine.kernel,
        load = machine.load_before,
    );
    for version in &machine.versions {
        let _ = writeln!(text, "- {version}");
    }
    let _ = writeln!(
        text,
        "- n = {runs} per figure unless its cell says otherwise, servers in changing order, each started anew for its step; clients are OpenSSH's \
         (ciphers {CIPHERS}) and lftp; times begin when the client has logged in (but for lftp and logins); what comes back \
         is compared with what was sent in the first run; measured streams down end in /dev/null\n\
         - The object store is `tidegate dev-store` in memory, a process of its own. Every server reaches it through a \
         proxy that counts requests and delays each answer by 0 or {delay} ms\n\
         - Streams of {stream:.0} MiB (eight: an eighth each; fifty: an eighth each, too), {small} files of 4 KiB (one after the \
         other, rclone gets two fifths of them; s3fs always a twentieth), {entries} entries, {logins} logins, {sessions} idle sessions (peers: a tenth)\n\
         - The node has its default settings and a memory budget of {budget:.0} MiB\n",
        runs = conditions.runs,
        delay = conditions.delay_ms,
        stream = mib(conditions.stream_bytes),
        small = conditions.small_files,
        entries = conditions.entries,
        logins = conditions.logins,
        sessions = conditions.sessions,
        budget = mib(MEMORY_BUDGET),
    );
    text
}

fn verdict(text: &mut String, report: &Report) {
    let verdicts = judge(&report.results, &report.conditions.rows, report.conditions.delay_ms);
    if verdicts.is_empty() {
        return;
    }
    let count = |outcome| verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
    let _ = write!(
        text,
        "## Verdict\n\n{} of {} goals reached, {} not reached, {} not measured; by the medians.",
        count(Outcome::Reached),
        verdicts.len(),
        count(Outcome::Missed),
        count(Outcome::NotMeasured),
    );
    if !report.conditions.whole {
        text.push_str(" The goals are for more work than this run did: it shows whether things work, no more.");
    }
    let missing: Vec<_> = Row::value_variants().iter().filter(|row| !report.conditions.rows.contains(row)).collect();
    if !missing.is_empty() {
        let names = missing.into_iter().filter_map(|row| Some(row.to_possible_value()?.get_name().to_owned()));
        let _ = write!(text, " Rows that were not run: {}.", names.collect::<Vec<_>>().join(", "));
    }
    text.push_str("\n\n| row | figure | goal | measured | |\n|---|---|---|---|---|\n");
    for verdict in verdicts {
        let mark = match verdict.outcome {
            Outcome::Missed => "**not reached**",
            Outcome::NotMeasured => "**not measured**",
            Outcome::Reached => "reached",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {mark} |",
            verdict.line, verdict.subject, verdict.demand, verdict.measured
        );
    }
    text.push('\n');
}

fn figure_table(text: &mut String, report: &Report, figure: Figure) {
    let (results, runs) = (&report.results, report.conditions.runs as usize);
    let delays = results.delays(figure);
    if delays.is_empty() {
        return;
    }
    let _ = write!(text, "\n### {}\n\n| {} |", figure.title(), figure.unit());
    for delay in &delays {
        let _ = write!(text, " S3 at {delay} ms |");
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(delays.len()));
    for server in ServerKind::ALL {
        let cells: Vec<_> = delays.iter().map(|delay| results.summary(figure, server, *delay)).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(text, "| {} |", server.title());
        for cell in cells {
            let _ = write!(text, " {} |", cell.map_or_else(|| "–".to_owned(), |cell| spread(cell, runs)));
        }
        text.push('\n');
    }
}

fn growth(text: &mut String, results: &Results, runs: usize) {
    if results.growth.is_empty() {
        return;
    }
    text.push_str("\n### Growth\n\n| cost of | 1x | 4x | 16x |\n|---|---|---|---|\n");
    for operation in Operation::ALL {
        let cells = [1, 4, 16].map(|factor| results.growth(operation, factor));
        if cells.iter().any(Option::is_some) {
            let cells = cells.map(|cell| cell.map_or_else(|| "–".to_owned(), |cell| spread(cell, runs))).join(" | ");
            let _ = writeln!(text, "| {} ({}) | {cells} |", operation.title(), operation.unit());
        }
    }
}

/// Median, least and most; the number of runs where it is not the usual one.
fn spread(summary: Summary, runs: usize) -> String {
    let n = if summary.n == runs { String::new() } else { format!(", n = {}", summary.n) };
    match summary.n {
        1 => format!("{}{n}", digits(summary.median)),
        _ => format!("{} ({} to {}{n})", digits(summary.median), digits(summary.min), digits(summary.max)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_that_are_missed_or_not_measured_are_marked() {
        let text = tables(&super::super::example());
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        let missed = line("| upload of one stream | Upload, one stream, 0 ms | at least 2 × rclone");
        assert!(missed.ends_with("| 1.64 × (205 to 125 MiB/s) | **not reached** |"), "{missed}");
        let reached = line("| upload of one stream | Upload, one stream, 20 ms | at most 10 % lost");
        assert!(reached.ends_with("| 4.9 % (205 without delay, 195 MiB/s) | reached |"), "{reached}");
        let unknown = line("| upload of one stream | Upload, one stream, 20 ms | at least 2 × rclone");
        assert!(unknown.ends_with("| – | **not measured** |"), "{unknown}");
        assert!(text.contains(" Rows that were not run: streams8, small, "), "{text}");
        assert_eq!(line("| Tidegate |"), "| Tidegate | 205 (200 to 210) | 195 (190 to 200) |");
        assert_eq!(line("| rclone, cache off |"), "| rclone, cache off | 125 (120 to 130) | – |");
        assert!(text.contains("- listing, sshd + s3fs, run 1: s3fs was not done"));
    }

    #[test]
    fn charts_and_numbers_lie_beside_the_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("BENCHMARKS.md");
        write(&super::super::example(), &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("target/release/bench --runs 2 --markdown docs/"), "{text}");
        for link in
            text.split("](").filter(|rest| !rest.starts_with("../")).skip(1).filter_map(|rest| rest.split(')').next())
        {
            assert!(folder.path().join(link).exists(), "{link}");
        }
        assert!(folder.path().join("benchmarks/streams.svg").exists());
    }
}
