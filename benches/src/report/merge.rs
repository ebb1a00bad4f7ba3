//! One report of several runs of the same work.

use super::Report;
use crate::error::BenchError;

/// Puts the reports of several runs together, so that a long one can be made in pieces: their rows one
/// behind the other, the values of a row that several of them have side by side.
///
/// # Errors
/// If there is none; or if they are of different programs, machines or work, which no report may mix.
pub(crate) fn merge(reports: impl IntoIterator<Item = Report>) -> Result<Report, BenchError> {
    let mut reports = reports.into_iter();
    let mut whole = reports
        .next()
        .ok_or_else(|| BenchError::Unexpected { what: "the list of reports".to_owned(), text: "empty".to_owned() })?;
    reports.try_for_each(|next| add(&mut whole, next))?;
    Ok(whole)
}

fn add(whole: &mut Report, next: Report) -> Result<(), BenchError> {
    assert_alike(whole, &next)?;
    let (machine, conditions) = (&mut whole.machine, &mut whole.conditions);
    if !machine.date.split(", ").any(|date| date == next.machine.date) {
        machine.date = format!("{}, {}", machine.date, next.machine.date);
    }
    machine.load_before = machine.load_before.max(next.machine.load_before);
    conditions.runs = conditions.runs.max(next.conditions.runs);
    conditions.commands.extend(next.conditions.commands);
    for row in next.conditions.rows {
        if !conditions.rows.contains(&row) {
            conditions.rows.push(row);
        }
    }
    whole.results.merge(next.results);
    Ok(())
}

fn assert_alike(one: &Report, other: &Report) -> Result<(), BenchError> {
    let machine = |report: &Report| {
        let machine = &report.machine;
        format!("{} × {}, commit {}, {}", machine.cores, machine.cpu, machine.commit, machine.versions.join(", "))
    };
    let work = |report: &Report| {
        let work = &report.conditions;
        format!(
            "streams of {} bytes, {} small files, {} entries, {} logins, {} sessions, a delay of {} ms",
            work.stream_bytes, work.small_files, work.entries, work.logins, work.sessions, work.delay_ms
        )
    };
    for (first, second) in [(machine(one), machine(other)), (work(one), work(other))] {
        if first != second {
            return Err(BenchError::Unlike { first, second });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use crate::figure::{Figure, Operation};
    use crate::rows::Row;
    use crate::server::ServerKind::Tidegate;

    #[test]
    fn rows_join_and_values_of_one_row_lie_side_by_side() {
        let mut other = example();
        other.machine.date = "2026-11-23".to_owned();
        other.conditions.rows = vec![Row::Logins, Row::Stream];
        other.results.add(Figure::Logins, Tidegate, 20, 100.0);
        let whole = merge([example(), other]).unwrap();
        assert_eq!(whole.conditions.rows, [Row::Stream, Row::Logins]);
        assert_eq!(whole.conditions.commands.len(), 2);
        assert_eq!(whole.machine.date, "2026-11-22, 2026-11-23");
        assert_eq!(whole.results.summary(Figure::StreamUp, Tidegate, 0).unwrap().n, 4);
        assert_eq!(whole.results.summary(Figure::Logins, Tidegate, 20).unwrap().n, 1);
        assert_eq!(whole.results.growth(Operation::Upload, 4).unwrap().n, 2);
        assert_eq!(whole.results.failures.len(), 2);
    }

    #[test]
    fn what_is_not_alike_is_not_mixed() {
        let mut other = example();
        other.machine.commit = "def5678".to_owned();
        assert!(merge([example(), other]).unwrap_err().to_string().contains("def5678"));
        let mut other = example();
        other.conditions.stream_bytes = 7;
        assert!(merge([example(), other]).unwrap_err().to_string().contains("streams of 7 bytes"));
    }

    #[test]
    fn one_report_stays_as_it_is() {
        let whole = serde_json::to_value(merge([example()]).unwrap()).unwrap();
        assert_eq!(whole, serde_json::to_value(example()).unwrap());
    }
}
