//! What the numbers were taken on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::{self, command};
use crate::procfs;

/// What the numbers were taken on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Day of the run, in UTC: YYYY-MM-DD.
    pub(crate) date: String,
    /// The commit that was checked out, with `-dirty` if files differed from it.
    pub(crate) commit: String,
    /// The processor's name.
    pub(crate) cpu: String,
    /// Processors.
    pub(crate) cores: usize,
    /// Memory in bytes.
    pub(crate) memory: u64,
    /// The kernel's version, without what its builder put behind it.
    pub(crate) kernel: String,
    /// The load average before the run: what else was going on.
    pub(crate) load_before: f64,
    /// The programs, each by what it says of itself.
    pub(crate) versions: Vec<String>,
}

impl Machine {
    /// Looks around.
    pub(crate) async fn look(tidegate: &Path) -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tidegate = tidegate.display().to_string();
        let mut versions = Vec::new();
        for (program, argument) in [
            (tidegate.as_str(), "--version"),
            ("ssh", "-V"),
            ("rclone", "version"),
            ("s3fs", "--version"),
            ("lftp", "--version"),
        ] {
            versions.extend(first_line(program, &[argument], repository).await);
        }
        let commit = first_line("git", &["describe", "--always", "--dirty", "--exclude=*"], repository).await;
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            date: time::OffsetDateTime::now_utc().date().to_string(),
            commit: commit.unwrap_or_else(|| "unknown".to_owned()),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory: field("/proc/meminfo", "MemTotal").and_then(|text| kib(&text)).unwrap_or_default(),
            kernel: release.trim().split('-').next().unwrap_or_default().to_owned(),
            load_before: procfs::load().unwrap_or_default(),
            versions,
        }
    }
}

/// What a program prints first, on whichever output.
async fn first_line(program: &str, arguments: &[&str], home: &Path) -> Option<String> {
    let mut both = command("sh", home);
    both.args(["-c", "exec \"$0\" \"$@\" 2>&1", program]).args(arguments);
    let output = process::run(both, Duration::from_secs(10)).await.ok()?;
    let line = output.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The value of the first line `NAME : VALUE`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim().to_owned())
}

fn kib(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_machine_has_a_name_and_memory() {
        let machine = Machine::look(Path::new("/nonexistent/tidegate")).await;
        assert!(machine.cores >= 1 && machine.memory > 1 << 26, "{machine:?}");
        assert_eq!(machine.date.len(), 10, "{}", machine.date);
        assert!(!machine.kernel.is_empty());
    }
}
