//! How long a run will still take.

use std::time::Instant;

use super::Row;
use crate::server::ServerKind::{self, Rclone, RcloneWrites, S3fs, Tidegate, Tmpfs};

/// What each row takes of a server: seconds of one run with all the work, as they were on two cores,
/// and the steps in it. Only their proportions count once the first steps are done.
const WORK: [(Row, ServerKind, f64, f64); 25] = [
    (Row::Stream, Tidegate, 22.0, 1.0),
    (Row::Stream, Rclone, 46.0, 1.0),
    (Row::Stream, RcloneWrites, 12.0, 1.0),
    (Row::Stream, S3fs, 46.0, 1.0),
    (Row::Stream, Tmpfs, 24.0, 1.0),
    (Row::Streams8, Tidegate, 22.0, 2.0),
    (Row::Streams8, Rclone, 48.0, 2.0),
    (Row::Streams8, S3fs, 54.0, 2.0),
    (Row::Streams8, Tmpfs, 22.0, 2.0),
    (Row::Small, Tidegate, 40.0, 2.0),
    (Row::Small, Rclone, 46.0, 2.0),
    (Row::Small, S3fs, 28.0, 2.0),
    (Row::Small, Tmpfs, 10.0, 2.0),
    (Row::Listing, Tidegate, 14.0, 1.0),
    (Row::Listing, S3fs, 60.0, 1.0),
    (Row::Listing, Tmpfs, 5.0, 1.0),
    (Row::Logins, Tidegate, 8.0, 1.0),
    (Row::Logins, Rclone, 9.0, 1.0),
    (Row::Logins, Tmpfs, 14.0, 1.0),
    (Row::IdleMemory, Tidegate, 30.0, 1.0),
    (Row::IdleMemory, Rclone, 10.0, 1.0),
    (Row::IdleMemory, Tmpfs, 12.0, 1.0),
    (Row::PeakMemory, Tidegate, 24.0, 2.0),
    (Row::PeakMemory, Tmpfs, 6.0, 2.0),
    (Row::Growth, Tidegate, 120.0, 15.0),
];

/// How far a run has come.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    rows: Vec<Row>,
    servers: Vec<ServerKind>,
    runs: u32,
    /// Rows that are behind us.
    ended: usize,
    /// Seconds of [`WORK`] in the row under way.
    done: f64,
}

impl Progress {
    pub(super) fn new(rows: Vec<Row>, servers: Vec<ServerKind>, runs: u32) -> Self {
        Self { start: Instant::now(), rows, servers, runs, ended: 0, done: 0.0 }
    }

    /// A step of the row under way is done.
    pub(super) fn step_done(&mut self, server: ServerKind) {
        let Some(row) = self.rows.get(self.ended) else { return };
        let is_it = |(of, by, ..): &&(Row, ServerKind, f64, f64)| (of, by) == (row, &server);
        self.done += WORK.iter().find(is_it).map_or(0.0, |(_, _, seconds, steps)| seconds / steps);
    }

    /// The row under way is done, or has failed.
    pub(super) fn row_ended(&mut self) {
        self.ended += 1;
        self.done = 0.0;
    }

    /// What is left, for people; nothing before the first step is done.
    pub(super) fn left(&self) -> Option<String> {
        let seconds = self.seconds_left(self.start.elapsed().as_secs_f64())?;
        Some(match seconds {
            few if few < 90.0 => format!("about {few:.0} s left"),
            many => format!("about {:.0} min left", many / 60.0),
        })
    }

    fn seconds_left(&self, elapsed: f64) -> Option<f64> {
        let all = self.work(&self.rows);
        let ended = self.rows.get(..self.ended).map_or(all, |rows| self.work(rows));
        let done = (ended + self.done).min(all);
        (done > 0.0).then(|| elapsed * (all - done) / done)
    }

    fn work(&self, rows: &[Row]) -> f64 {
        let part =
            |(row, server, ..): &&(Row, ServerKind, f64, f64)| rows.contains(row) && self.servers.contains(server);
        WORK.iter().filter(part).map(|(_, _, seconds, _)| seconds * f64::from(self.runs)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_by_what_is_done() {
        let mut progress = Progress::new(vec![Row::Logins, Row::Listing], vec![Tidegate, Tmpfs], 1);
        assert_eq!(progress.seconds_left(1.0), None);
        // 8 of 22 and then of 41 seconds, in half the time.
        progress.step_done(Tidegate);
        assert!((progress.seconds_left(4.0).unwrap() - 16.5).abs() < 1e-9);
        // A row that failed is no longer to come.
        progress.row_ended();
        assert!((progress.seconds_left(11.0).unwrap() - 9.5).abs() < 1e-9);
        progress.row_ended();
        assert_eq!(progress.seconds_left(20.0), Some(0.0));
    }
}
