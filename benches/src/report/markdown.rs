//! Results for people.

use std::fmt::Write;
use std::path::Path;

use super::charts::charts;
use super::{Report, json};
use crate::client::CIPHERS;
use crate::error::{BenchError, during};
use crate::figure::{Figure, Operation, mib};
use crate::results::Results;
use crate::server::{MEMORY_BUDGET, ServerKind};
use crate::statistics::Summary;
use crate::target::judge;

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
    targets(&mut text, report);
    text.push_str("## Figures\n\nMedian (least to most).\n");
    for figure in Figure::ALL {
        figure_table(&mut text, &report.results, figure);
    }
    growth(&mut text, &report.results);
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
        "# Benchmarks\n\nA Tidegate node beside its peers on one machine, one S3 server, in one run. Ratios tell more \
         than numbers: those depend on the machine.\n\n",
    );
    let _ = writeln!(
        text,
        "```sh\ncargo build --release -p tidegate-node -p tidegate-bench\n\
         target/release/bench {} --markdown docs/BENCHMARKS.md\n```\n",
        conditions.arguments.join(" "),
    );
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
        "- n = {runs} per figure, servers in changing order, each started anew for its step; clients are OpenSSH's \
         (ciphers {CIPHERS}) and lftp; times begin when the client has logged in (but for lftp and logins); what comes back \
         is compared with what was sent; measured streams down end in /dev/null\n\
         - The object store is `tidegate dev-store` in memory, a process of its own. Every server reaches it through a \
         proxy that counts requests and delays each answer by 0 or {delay} ms\n\
         - Streams of {stream:.0} MiB (eight: a quarter each; fifty: a sixteenth each), {small} files of 4 KiB (s3fs: a \
         tenth), {entries} entries, {logins} logins, {sessions} idle sessions (peers: a tenth)\n\
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

fn targets(text: &mut String, report: &Report) {
    let verdicts = judge(&report.results, report.conditions.delay_ms);
    if verdicts.is_empty() {
        return;
    }
    let reached = verdicts.iter().filter(|verdict| verdict.holds).count();
    let _ = writeln!(text, "## Targets\n\n{reached} of {} reached, by the medians.", verdicts.len());
    if !report.conditions.whole {
        text.push_str(" The targets are for more work than this run did: it shows whether things work, no more.\n");
    }
    text.push_str("\n| figure | must be | is | |\n|---|---|---|---|\n");
    for verdict in verdicts {
        let mark = if verdict.holds { "reached" } else { "**not reached**" };
        let _ = writeln!(text, "| {} | {} | {} | {mark} |", verdict.subject, verdict.demand, digits(verdict.reached));
    }
    text.push('\n');
}

fn figure_table(text: &mut String, results: &Results, figure: Figure) {
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
            let _ = write!(text, " {} |", cell.map_or_else(|| "–".to_owned(), spread));
        }
        text.push('\n');
    }
}

fn growth(text: &mut String, results: &Results) {
    if results.growth.is_empty() {
        return;
    }
    text.push_str("\n### Growth\n\n| cost of | 1x | 4x | 16x |\n|---|---|---|---|\n");
    for operation in Operation::ALL {
        let cells = [1, 4, 16].map(|factor| results.growth(operation, factor));
        if cells.iter().any(Option::is_some) {
            let cells = cells.map(|cell| cell.map_or_else(|| "–".to_owned(), spread)).join(" | ");
            let _ = writeln!(text, "| {} ({}) | {cells} |", operation.title(), operation.unit());
        }
    }
}

fn spread(summary: Summary) -> String {
    match summary.n {
        1 => digits(summary.median),
        _ => format!("{} ({} to {})", digits(summary.median), digits(summary.min), digits(summary.max)),
    }
}

/// Three digits or so.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_are_missed_are_marked() {
        let text = tables(&super::super::example());
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        let missed = line("| Upload, one stream, 0 ms | at least 2 × rclone");
        assert!(missed.ends_with("| 1.64 | **not reached** |"), "{missed}");
        let reached = line("| Upload, one stream, 20 ms | at least 0.9 × its own");
        assert!(reached.ends_with("| 0.951 | reached |"), "{reached}");
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
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(folder.path().join(link).exists(), "{link}");
        }
        assert!(folder.path().join("benchmarks/streams.svg").exists());
    }
}
