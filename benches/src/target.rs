//! What must be reached, and whether it was: by the medians.

use std::fmt;

use crate::cli::Workload;
use crate::figure::{Better, Figure, Operation, memory_bound_mib};
use crate::results::Results;
use crate::server::ServerKind::{self, Rclone, S3fs, Tidegate, Tmpfs};

/// Growth from 4 to 16 times the work may cost so much more than 4 times: what runs differ by anyway.
const GROWTH_TOLERANCE: f64 = 1.1;

/// What must be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Target {
    figure: Figure,
    at: At,
    bound: Bound,
}

/// At which delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Every one that was measured.
    Any,
    /// The one that was asked for.
    Delay,
}

/// The bound of the node's figure: at least or at most, whichever way is better.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    /// So many times that of a peer in the same conditions.
    Times(f64, ServerKind),
    /// So many times the node's own without delay.
    OwnWithoutDelay(f64),
    /// A number in the figure's unit.
    Number(f64),
}

/// Whether a target was reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Of what.
    pub(crate) subject: String,
    /// What must be reached.
    pub(crate) demand: String,
    /// What was reached, in the demand's terms.
    pub(crate) reached: f64,
    /// Whether that is enough.
    pub(crate) holds: bool,
}

const UP: Figure = Figure::StreamUp;
const DOWN: Figure = Figure::StreamDown;

/// The table of what must be reached.
fn targets() -> Vec<Target> {
    let target = |figure, at, bound| Target { figure, at, bound };
    let times = |figure, factor, server| target(figure, At::Any, Bound::Times(factor, server));
    let delayed = |figure, factor, server| target(figure, At::Delay, Bound::Times(factor, server));
    let number = |figure, number| target(figure, At::Any, Bound::Number(number));
    vec![
        times(UP, 2.0, S3fs),
        times(UP, 2.0, Rclone),
        times(UP, 0.7, Tmpfs),
        target(UP, At::Delay, Bound::OwnWithoutDelay(0.9)),
        times(DOWN, 0.85, Tmpfs),
        times(DOWN, 1.0, S3fs),
        times(DOWN, 1.0, Rclone),
        target(DOWN, At::Delay, Bound::OwnWithoutDelay(0.9)),
        times(Figure::StreamUpCpu, 1.3, Tmpfs),
        times(Figure::StreamDownCpu, 1.3, Tmpfs),
        // CreateMultipartUpload and CompleteMultipartUpload.
        number(Figure::StreamUpRequests, 2.0),
        times(Figure::EightUp, 2.0, S3fs),
        times(Figure::EightUp, 2.0, Rclone),
        times(Figure::EightDown, 2.0, S3fs),
        times(Figure::EightDown, 2.0, Rclone),
        number(Figure::EightPeak, memory_bound_mib()),
        delayed(Figure::SmallUp, 2.0, Rclone),
        delayed(Figure::SmallUp, 10.0, S3fs),
        delayed(Figure::SmallUpLftp, 2.5, Rclone),
        delayed(Figure::SmallDown, 4.0, Rclone),
        number(Figure::SmallUpPuts, 1.0),
        number(Figure::SmallUpOthers, 0.2),
        number(Figure::SmallDownGets, 1.0),
        number(Figure::SmallDownOthers, 0.2),
        delayed(Figure::LsCold, 1.0 / 3.0, S3fs),
        delayed(Figure::LsWarm, 1.0 / 3.0, S3fs),
        number(Figure::LsLists, 1.0),
        // Whether the directory is there.
        number(Figure::LsOthers, 2.0),
        delayed(Figure::Logins, 1.5, Tmpfs),
        number(Figure::LoginCpu, 3.0),
        number(Figure::IdleMemory, 200.0),
        number(Figure::PeakUp, memory_bound_mib()),
        number(Figure::PeakDown, memory_bound_mib()),
        number(Figure::FairUp, 2.0),
        number(Figure::FairDown, 2.0),
    ]
}

/// Judges every target that was measured.
pub(crate) fn judge(results: &Results, delay: u64) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for target in targets() {
        for at in results.delays(target.figure) {
            let wanted = match target.at {
                At::Any => true,
                At::Delay => at == delay,
            };
            if wanted {
                verdicts.extend(target.judge(results, at));
            }
        }
    }
    verdicts.extend(Operation::ALL.into_iter().filter_map(|operation| judge_growth(results, operation)));
    verdicts
}

impl Target {
    fn judge(&self, results: &Results, at: u64) -> Option<Verdict> {
        let own = results.summary(self.figure, Tidegate, at)?.median;
        let (reached, bound) = match self.bound {
            Bound::Number(bound) => (own, bound),
            Bound::Times(factor, server) => (own / results.summary(self.figure, server, at)?.median, factor),
            Bound::OwnWithoutDelay(factor) => (own / results.summary(self.figure, Tidegate, 0)?.median, factor),
        };
        let holds = match self.figure.better() {
            Better::Higher => reached >= bound,
            Better::Lower => reached <= bound,
        };
        let subject = format!("{}, {at} ms", self.figure.title());
        Some(Verdict { subject, demand: self.to_string(), reached, holds })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.figure.better() {
            Better::Higher => "at least",
            Better::Lower => "at most",
        };
        match self.bound {
            Bound::Number(number) => write!(f, "{relation} {} {}", trimmed(number), self.figure.unit()),
            Bound::Times(factor, server) => write!(f, "{relation} {} × {}", trimmed(factor), server.title()),
            Bound::OwnWithoutDelay(factor) => write!(f, "{relation} {} × its own without delay", trimmed(factor)),
        }
    }
}

fn judge_growth(results: &Results, operation: Operation) -> Option<Verdict> {
    let (four, sixteen) = (results.growth(operation, 4)?.median, results.growth(operation, 16)?.median);
    let reached = sixteen / (4.0 * four);
    Some(Verdict {
        subject: format!("Growth of {}, 4 to 16 times the work", operation.title()),
        demand: format!("at most {GROWTH_TOLERANCE} × linear"),
        reached,
        holds: reached <= GROWTH_TOLERANCE,
    })
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
            results.add(UP, server, at, speed);
        }
        results.add(Figure::LoginCpu, Tidegate, 20, 3.5);
        results
    }

    fn verdict<'a>(verdicts: &'a [Verdict], subject: &str, demand: &str) -> Option<&'a Verdict> {
        verdicts.iter().find(|verdict| verdict.subject == subject && verdict.demand == demand)
    }

    #[test]
    fn ratios_are_against_the_peer_in_the_same_conditions() {
        let verdicts = judge(&results(), 20);
        let rclone = verdict(&verdicts, "Upload, one stream, 0 ms", "at least 2 × rclone, cache off").unwrap();
        assert!(rclone.holds && (rclone.reached - 2.0).abs() < 1e-9);
        assert!(!verdict(&verdicts, "Upload, one stream, 0 ms", "at least 2 × sshd + s3fs").unwrap().holds);
        // rclone was not measured with the delay.
        assert_eq!(verdict(&verdicts, "Upload, one stream, 20 ms", "at least 2 × rclone, cache off"), None);
        let own = verdict(&verdicts, "Upload, one stream, 20 ms", "at least 0.9 × its own without delay").unwrap();
        assert!(!own.holds && (own.reached - 0.85).abs() < 1e-9);
        assert!(!verdict(&verdicts, "CPU of the server per login, 20 ms", "at most 3 ms").unwrap().holds);
    }

    #[test]
    fn growth_is_held_against_a_straight_line() {
        let mut results = Results::default();
        for (operation, sixteen) in [(Operation::Upload, 8.0), (Operation::LsCold, 9.0)] {
            results.add_growth(operation, 4, 2.0);
            results.add_growth(operation, 16, sixteen);
        }
        let verdicts = judge(&results, 20);
        assert_eq!(verdicts.iter().map(|verdict| verdict.holds).collect::<Vec<_>>(), [true, false]);
    }
}
