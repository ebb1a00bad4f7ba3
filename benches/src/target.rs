//! What must be reached, and whether it was: by the medians.

use std::fmt;

use tidegate_chart::digits;

use crate::cli::Workload;
use crate::figure::{Better, Figure, Operation, memory_bound_mib};
use crate::results::Results;
use crate::rows::Row;
use crate::server::ServerKind::{self, Rclone, S3fs, Tidegate, Tmpfs};

/// Growth from 4 to 16 times the work may cost so much more than 4 times: what runs differ by anyway.
const GROWTH_TOLERANCE: f64 = 1.1;

/// What must be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Target {
    /// The line of the table of goals that it belongs to.
    line: &'static str,
    row: Row,
    figure: Figure,
    at: At,
    bound: Bound,
}

/// At which delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// None, and the one that was asked for.
    Both,
    /// The one that was asked for.
    Delay,
    /// None: the store takes no part in it.
    None,
}

/// The bound of the node's figure: at least or at most, whichever way is better.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    /// So many percent of the node's own without delay may be lost.
    Lost(f64),
    /// A number in the figure's unit.
    Number(f64),
    /// So many times that of a peer in the same conditions.
    Times(f64, ServerKind),
}

/// Whether a target was reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// The line of the table of goals that it belongs to.
    pub(crate) line: &'static str,
    /// Of what.
    pub(crate) subject: String,
    /// What must be reached.
    pub(crate) demand: String,
    /// What was measured, in the demand's terms, for people.
    pub(crate) measured: String,
    /// Whether that is enough.
    pub(crate) outcome: Outcome,
}

/// Whether what was measured is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No.
    Missed,
    /// The node, or the peer that it is held against, was left out or has failed.
    NotMeasured,
    /// Yes.
    Reached,
}

/// The table of what must be reached.
fn targets() -> Vec<Target> {
    use Bound::{Lost, Number, Times};
    let memory = Number(memory_bound_mib());
    let goals: [(&str, Row, Figure, At, &[Bound]); 28] = [
        (
            "upload of one stream",
            Row::Stream,
            Figure::StreamUp,
            At::Both,
            &[Times(2.0, S3fs), Times(2.0, Rclone), Times(0.7, Tmpfs)],
        ),
        ("upload of one stream", Row::Stream, Figure::StreamUp, At::Delay, &[Lost(10.0)]),
        (
            "download of one stream",
            Row::Stream,
            Figure::StreamDown,
            At::Both,
            &[Times(0.85, Tmpfs), Times(1.0, S3fs), Times(1.0, Rclone)],
        ),
        ("download of one stream", Row::Stream, Figure::StreamDown, At::Delay, &[Lost(10.0)]),
        ("eight streams", Row::Streams8, Figure::EightUp, At::Both, &[Times(2.0, S3fs), Times(2.0, Rclone)]),
        ("eight streams", Row::Streams8, Figure::EightDown, At::Both, &[Times(2.0, S3fs), Times(2.0, Rclone)]),
        ("eight streams", Row::Streams8, Figure::EightPeak, At::Both, &[memory]),
        ("node CPU", Row::Stream, Figure::StreamUpCpu, At::Both, &[Times(1.3, Tmpfs)]),
        ("node CPU", Row::Stream, Figure::StreamDownCpu, At::Both, &[Times(1.3, Tmpfs)]),
        ("small files up", Row::Small, Figure::SmallUp, At::Delay, &[Times(2.0, Rclone), Times(10.0, S3fs)]),
        ("small files up", Row::Small, Figure::SmallUpLftp, At::Delay, &[Times(2.5, Rclone)]),
        ("small files down", Row::Small, Figure::SmallDown, At::Delay, &[Times(4.0, Rclone)]),
        ("S3 requests", Row::Small, Figure::SmallUpPuts, At::Delay, &[Number(1.0)]),
        ("S3 requests", Row::Small, Figure::SmallUpOthers, At::Delay, &[Number(0.2)]),
        ("S3 requests", Row::Small, Figure::SmallDownGets, At::Delay, &[Number(1.0)]),
        ("S3 requests", Row::Small, Figure::SmallDownOthers, At::Delay, &[Number(0.2)]),
        ("S3 requests", Row::Listing, Figure::LsLists, At::Delay, &[Number(1.0)]),
        // Whether the directory is there.
        ("S3 requests", Row::Listing, Figure::LsOthers, At::Delay, &[Number(2.0)]),
        // CreateMultipartUpload and CompleteMultipartUpload.
        ("S3 requests", Row::Stream, Figure::StreamUpRequests, At::Both, &[Number(2.0)]),
        ("listing", Row::Listing, Figure::LsCold, At::Delay, &[Times(1.0 / 3.0, S3fs)]),
        ("listing", Row::Listing, Figure::LsWarm, At::Delay, &[Times(1.0 / 3.0, S3fs)]),
        ("logins", Row::Logins, Figure::Logins, At::Delay, &[Times(1.5, Tmpfs)]),
        ("logins", Row::Logins, Figure::LoginCpu, At::Delay, &[Number(3.0)]),
        ("memory", Row::IdleMemory, Figure::IdleMemory, At::None, &[Number(200.0)]),
        ("memory", Row::PeakMemory, Figure::PeakUp, At::Delay, &[memory]),
        ("memory", Row::PeakMemory, Figure::PeakDown, At::Delay, &[memory]),
        ("fairness", Row::PeakMemory, Figure::FairUp, At::Delay, &[Number(2.0)]),
        ("fairness", Row::PeakMemory, Figure::FairDown, At::Delay, &[Number(2.0)]),
    ];
    let each = |(line, row, figure, at, bounds): (_, _, _, _, &[Bound])| {
        bounds.iter().map(|bound| Target { line, row, figure, at, bound: *bound }).collect::<Vec<_>>()
    };
    goals.into_iter().flat_map(each).collect()
}

/// Judges every target of the rows that were run.
pub(crate) fn judge(results: &Results, rows: &[Row], delay: u64) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for target in targets().into_iter().filter(|target| rows.contains(&target.row)) {
        let delays = match target.at {
            At::Both => vec![0, delay],
            At::Delay => vec![delay],
            At::None => vec![0],
        };
        verdicts.extend(delays.into_iter().map(|at| target.judge(results, at)));
    }
    if rows.contains(&Row::Growth) {
        verdicts.extend(Operation::ALL.into_iter().map(|operation| judge_growth(results, operation)));
    }
    verdicts
}

impl Target {
    fn judge(&self, results: &Results, at: u64) -> Verdict {
        let median = |server, at| results.summary(self.figure, server, at).map(|summary| summary.median);
        let (own, unit) = (median(Tidegate, at), self.figure.unit());
        let (value, measured) = match self.bound {
            Bound::Lost(_) => {
                let (own, before) = (own, median(Tidegate, 0));
                let lost = own.zip(before).map(|(own, before)| (1.0 - own / before) * 100.0);
                let shown =
                    lost.map(|lost| format!("{lost:.1} % ({} without delay, {} {unit})", show(before), show(own)));
                (lost, shown)
            }
            Bound::Number(_) => (own, own.map(|own| format!("{} {unit}", digits(own)))),
            Bound::Times(_, server) => {
                let peer = median(server, at);
                let times = own.zip(peer).map(|(own, peer)| own / peer);
                (times, times.map(|times| format!("{times:.2} × ({} to {} {unit})", show(own), show(peer))))
            }
        };
        let outcome = match (value, self.bound, self.figure.better()) {
            (None, ..) => Outcome::NotMeasured,
            (Some(value), Bound::Lost(most), _) => reached_if(value <= most),
            (Some(value), Bound::Number(bound) | Bound::Times(bound, _), Better::Higher) => reached_if(value >= bound),
            (Some(value), Bound::Number(bound) | Bound::Times(bound, _), Better::Lower) => reached_if(value <= bound),
        };
        Verdict {
            line: self.line,
            subject: format!("{}, {at} ms", self.figure.title()),
            demand: self.to_string(),
            measured: measured.unwrap_or_else(|| "–".to_owned()),
            outcome,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.figure.better() {
            Better::Higher => "at least",
            Better::Lower => "at most",
        };
        match self.bound {
            Bound::Lost(percent) => write!(f, "at most {} % lost by the delay", trimmed(percent)),
            Bound::Number(number) => write!(f, "{relation} {} {}", trimmed(number), self.figure.unit()),
            Bound::Times(factor, server) => write!(f, "{relation} {} × {}", trimmed(factor), server.title()),
        }
    }
}

fn judge_growth(results: &Results, operation: Operation) -> Verdict {
    let median = |factor| results.growth(operation, factor).map(|summary| summary.median);
    let growth = median(4).zip(median(16)).map(|(four, sixteen)| sixteen / (4.0 * four));
    let steps = [1, 4, 16].map(|factor| show(median(factor))).join(", ");
    Verdict {
        line: "growth",
        subject: format!("Growth of {}, 4 to 16 times the work", operation.title()),
        demand: format!("at most {GROWTH_TOLERANCE} × linear"),
        measured: growth
            .map_or_else(|| "–".to_owned(), |growth| format!("{growth:.2} × ({steps} {})", operation.unit())),
        outcome: growth.map_or(Outcome::NotMeasured, |growth| reached_if(growth <= GROWTH_TOLERANCE)),
    }
}

fn reached_if(enough: bool) -> Outcome {
    if enough { Outcome::Reached } else { Outcome::Missed }
}

fn show(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), digits)
}

/// Up to two decimals.
fn trimmed(number: f64) -> String {
    format!("{number:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Targets are for the whole work: what differs from it is no verdict on them.
pub(crate) fn is_whole(workload: &Workload) -> bool {
    workload.stream >= 1 << 30
        && workload.small_files >= 1000
        && workload.entries >= 10_000
        && workload.sessions >= 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut results = Results::default();
        for (server, at, speed) in [(Tidegate, 0, 200.0), (Tidegate, 20, 170.0), (Rclone, 0, 100.0), (S3fs, 0, 101.0)] {
            results.add(Figure::StreamUp, server, at, speed);
        }
        results.add(Figure::LoginCpu, Tidegate, 20, 3.5);
        results
    }

    fn verdict(rows: &[Row], subject: &str, demand: &str) -> (String, Outcome) {
        let verdicts = judge(&results(), rows, 20);
        let found = verdicts.into_iter().find(|verdict| verdict.subject == subject && verdict.demand == demand);
        found.map(|found| (found.measured, found.outcome)).unwrap()
    }

    #[test]
    fn ratios_are_against_the_peer_in_the_same_conditions() {
        let upload = |delay, demand| verdict(&[Row::Stream], &format!("Upload, one stream, {delay} ms"), demand);
        let rclone = upload(0, "at least 2 × rclone, cache off");
        assert_eq!(rclone, ("2.00 × (200 to 100 MiB/s)".to_owned(), Outcome::Reached));
        assert_eq!(upload(0, "at least 2 × sshd + s3fs").1, Outcome::Missed);
        // rclone was not measured with the delay.
        assert_eq!(upload(20, "at least 2 × rclone, cache off"), ("–".to_owned(), Outcome::NotMeasured));
        let lost = upload(20, "at most 10 % lost by the delay");
        assert_eq!(lost, ("15.0 % (200 without delay, 170 MiB/s)".to_owned(), Outcome::Missed));
        assert_eq!(verdict(&[Row::Logins], "CPU of the server per login, 20 ms", "at most 3 ms").1, Outcome::Missed);
    }

    #[test]
    fn every_goal_of_a_row_that_was_run_has_its_line() {
        let verdicts = judge(&Results::default(), &[Row::Listing], 20);
        assert!(verdicts.iter().all(|verdict| verdict.outcome == Outcome::NotMeasured));
        assert_eq!(verdicts.len(), 4, "requests, cold and warm");
        assert_eq!(judge(&Results::default(), &[], 20), []);
    }

    #[test]
    fn growth_is_held_against_a_straight_line() {
        let mut results = Results::default();
        for (operation, sixteen) in [(Operation::Upload, 8.0), (Operation::LsCold, 9.0)] {
            results.add_growth(operation, 4, 2.0);
            results.add_growth(operation, 16, sixteen);
        }
        let verdicts = judge(&results, &[Row::Growth], 20);
        let of = |operation: Operation| {
            let title = format!("Growth of {}, 4 to 16 times the work", operation.title());
            verdicts.iter().find(|verdict| verdict.subject == title).unwrap().outcome
        };
        assert_eq!(of(Operation::Upload), Outcome::Reached);
        assert_eq!(of(Operation::LsCold), Outcome::Missed);
        assert_eq!(of(Operation::Logins), Outcome::NotMeasured);
    }
}
