//! What was measured.

use serde::{Deserialize, Serialize};
use tidegate_chart::Summary;

use crate::figure::{Figure, Operation};
use crate::server::ServerKind;

/// What was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// By figure, server and delay.
    pub(crate) measurements: Vec<Measurement>,
    /// The node's cost of 1, 4 and 16 times the work.
    pub(crate) growth: Vec<Growth>,
    /// Steps that failed or were ended.
    pub(crate) failures: Vec<String>,
}

/// One figure of one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// What.
    pub(crate) figure: Figure,
    /// Of which server.
    pub(crate) server: ServerKind,
    /// With answers of the store delayed by so much, in milliseconds.
    pub(crate) delay_ms: u64,
    /// Of each run, in the figure's unit.
    pub(crate) values: Vec<f64>,
    /// Median and spread of the values.
    pub(crate) summary: Summary,
}

/// What an operation costs the node with more work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    /// What.
    pub(crate) operation: Operation,
    /// Times the work.
    pub(crate) factor: u64,
    /// Of each run, in the operation's unit.
    pub(crate) values: Vec<f64>,
    /// Median and spread of the values.
    pub(crate) summary: Summary,
}

impl Results {
    /// Adds the value of one run and shows it.
    pub(crate) fn add(&mut self, figure: Figure, server: ServerKind, delay_ms: u64, value: f64) {
        eprintln!("    {} at {delay_ms} ms: {value:.2} {}", figure.title(), figure.unit());
        self.put(figure, server, delay_ms, value);
    }

    fn put(&mut self, figure: Figure, server: ServerKind, delay_ms: u64, value: f64) {
        let is_it =
            |known: &&mut Measurement| (known.figure, known.server, known.delay_ms) == (figure, server, delay_ms);
        let Some(known) = self.measurements.iter_mut().find(is_it) else {
            if let Some(summary) = Summary::of(&[value]) {
                self.measurements.push(Measurement { figure, server, delay_ms, values: vec![value], summary });
            }
            return;
        };
        known.values.push(value);
        known.summary = Summary::of(&known.values).unwrap_or(known.summary);
    }

    /// Adds the cost of one run and shows it.
    pub(crate) fn add_growth(&mut self, operation: Operation, factor: u64, value: f64) {
        eprintln!("    {} at {factor}x: {value:.2} {}", operation.title(), operation.unit());
        self.put_growth(operation, factor, value);
    }

    fn put_growth(&mut self, operation: Operation, factor: u64, value: f64) {
        let is_it = |known: &&mut Growth| (known.operation, known.factor) == (operation, factor);
        let Some(known) = self.growth.iter_mut().find(is_it) else {
            if let Some(summary) = Summary::of(&[value]) {
                self.growth.push(Growth { operation, factor, values: vec![value], summary });
            }
            return;
        };
        known.values.push(value);
        known.summary = Summary::of(&known.values).unwrap_or(known.summary);
    }

    /// Adds what another run of the same work has measured.
    pub(crate) fn merge(&mut self, other: Self) {
        for Measurement { figure, server, delay_ms, values, .. } in other.measurements {
            values.into_iter().for_each(|value| self.put(figure, server, delay_ms, value));
        }
        for Growth { operation, factor, values, .. } in other.growth {
            values.into_iter().for_each(|value| self.put_growth(operation, factor, value));
        }
        self.failures.extend(other.failures);
    }

    /// Notes that a step failed.
    pub(crate) fn fail(&mut self, step: &str, error: &dyn std::error::Error) {
        eprintln!("    FAILED: {step}: {error}");
        self.failures.push(format!("{step}: {error}"));
    }

    /// One figure of one server.
    pub(crate) fn summary(&self, figure: Figure, server: ServerKind, delay_ms: u64) -> Option<Summary> {
        let is_it = |known: &&Measurement| (known.figure, known.server, known.delay_ms) == (figure, server, delay_ms);
        Some(self.measurements.iter().find(is_it)?.summary)
    }

    /// The node's cost of an operation.
    pub(crate) fn growth(&self, operation: Operation, factor: u64) -> Option<Summary> {
        let is_it = |known: &&Growth| (known.operation, known.factor) == (operation, factor);
        Some(self.growth.iter().find(is_it)?.summary)
    }

    /// The delays at which a figure was measured, ascending.
    pub(crate) fn delays(&self, figure: Figure) -> Vec<u64> {
        let mut delays: Vec<u64> =
            self.measurements.iter().filter(|known| known.figure == figure).map(|known| known.delay_ms).collect();
        delays.sort_unstable();
        delays.dedup();
        delays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_runs_gather_by_figure_server_and_delay() {
        let mut results = Results::default();
        for value in [3.0, 1.0, 2.0] {
            results.add(Figure::StreamUp, ServerKind::Tidegate, 20, value);
        }
        results.add(Figure::StreamUp, ServerKind::Tidegate, 0, 9.0);
        results.add(Figure::StreamUp, ServerKind::Rclone, 20, 8.0);
        let summary = results.summary(Figure::StreamUp, ServerKind::Tidegate, 20).unwrap();
        assert_eq!((summary.n, summary.median), (3, 2.0));
        assert_eq!(results.delays(Figure::StreamUp), [0, 20]);
        assert_eq!(results.summary(Figure::StreamDown, ServerKind::Tidegate, 20), None);
    }
}
