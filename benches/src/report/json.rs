//! Results for programs.

use std::path::Path;

use super::Report;
use crate::error::{BenchError, during};

/// Writes a report.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), BenchError> {
    let failed = |source| BenchError::Json { what: path.display().to_string(), source };
    let mut text = serde_json::to_string_pretty(report).map_err(failed)?;
    text.push('\n');
    make_folder_of(path)?;
    // As a whole: a run that ends while it writes leaves the results of the row before.
    let beside = path.with_extension("json.new");
    std::fs::write(&beside, text).map_err(during(beside.display().to_string()))?;
    std::fs::rename(&beside, path).map_err(during(path.display().to_string()))
}

/// Makes the folder in which a file is to lie.
fn make_folder_of(path: &Path) -> Result<(), BenchError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(during(folder.display().to_string()))
}

/// Reads a report that [`write()`] wrote.
pub(crate) fn read(path: &Path) -> Result<Report, BenchError> {
    let text = std::fs::read_to_string(path).map_err(during(path.display().to_string()))?;
    serde_json::from_str(&text).map_err(|source| BenchError::Json { what: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let path = tempfile::tempdir().unwrap().keep().join("results.json");
        let report = super::super::example();
        write(&report, &path).unwrap();
        let again = read(&path).unwrap();
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&report).unwrap());
    }
}
