//! What Linux tells about processes (proc(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::error::{BenchError, during};

/// One process in `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The parent's id.
    pub(crate) parent: u32,
    /// User and system time of the process and of the children it has waited for, in clock ticks.
    pub(crate) ticks: u64,
    /// That of the children alone.
    pub(crate) children_ticks: u64,
}

impl Stat {
    /// Parses one line. The name in parentheses may itself hold blanks and parentheses.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        // Behind the name: field 3 (state) is the first. 4 is ppid, 14 to 17 are utime, stime,
        // cutime, cstime.
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let children_ticks = number(16)? + number(17)?;
        let ticks = number(14)? + number(15)? + children_ticks;
        Some(Self { parent: u32::try_from(number(4)?).ok()?, ticks, children_ticks })
    }
}

/// The processes of some servers at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    members: BTreeMap<u32, Stat>,
}

impl Tree {
    /// `roots` and everything below them.
    pub(crate) fn of(roots: &[u32]) -> Result<Self, BenchError> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir("/proc").map_err(during("/proc"))? {
            let name = entry.map_err(during("/proc"))?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // A process that has just ended is none.
            let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            if let Some(stat) = Stat::parse(&line) {
                all.insert(pid, stat);
            }
        }
        Ok(Self { members: descendants(&all, roots) })
    }

    /// How many processes.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// User and system time so far, in seconds, with that of children that have ended.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        seconds(self.members.values().map(|stat| stat.ticks).sum())
    }

    /// Memory in bytes: resident for a single process; for several, proportional shares (PSS),
    /// because they share their program's pages.
    pub(crate) fn memory(&self) -> Option<u64> {
        if let (1, Some((pid, _))) = (self.len(), self.members.first_key_value()) {
            return status(*pid, "VmRSS");
        }
        let share = |pid: &u32| amount(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss");
        // A process that has just ended has none.
        Some(self.members.keys().filter_map(share).sum())
    }
}

fn descendants(all: &BTreeMap<u32, Stat>, roots: &[u32]) -> BTreeMap<u32, Stat> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, stat) in all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let mut open: Vec<u32> = roots.to_vec();
    let mut found = BTreeSet::new();
    while let Some(pid) = open.pop() {
        if all.contains_key(&pid) && found.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    all.iter().filter(|(pid, _)| found.contains(pid)).map(|(pid, stat)| (*pid, *stat)).collect()
}

/// User and system time of this process's children that have ended, in seconds.
pub(crate) fn cpu_of_ended_children() -> Result<f64, BenchError> {
    let line = fs::read_to_string("/proc/self/stat").map_err(during("/proc/self/stat"))?;
    let stat = Stat::parse(&line);
    let stat = stat.ok_or_else(|| BenchError::Unexpected { what: "/proc/self/stat".to_owned(), text: line })?;
    Ok(seconds(stat.children_ticks))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The most memory that `pid` ever had resident, in bytes.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    status(pid, "VmHWM")
}

/// A size in `/proc/PID/status`, in bytes.
fn status(pid: u32, name: &str) -> Option<u64> {
    amount(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, name)
}

/// The line `NAME: N kB`, in bytes.
fn amount(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The load average over one minute.
pub(crate) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4711 (sshd: a) b (c)) S 12 4711 4711 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 1 0 99 1 2";

    #[test]
    fn times_of_ended_children_count_and_names_do_not_confuse() {
        assert_eq!(Stat::parse(LINE), Some(Stat { parent: 12, ticks: 210, children_ticks: 10 }));
        assert_eq!(Stat::parse("4711 (x) S 12"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn sizes_are_read_by_their_whole_name() {
        let status = "Name:\tbench\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(amount(status, "VmRSS"), Some(1 << 20));
        assert_eq!(amount(status, "VmHWM"), Some(2 << 20));
        assert_eq!(amount(status, "Vm"), None);
        assert_eq!(amount("Pss: 3 kB\nPss_Dirty: 1 kB\n", "Pss"), Some(3072));
    }

    #[test]
    fn a_tree_holds_what_is_below_its_roots_only() {
        let all: BTreeMap<u32, Stat> = [(1, 0), (2, 1), (3, 2), (4, 1), (5, 4)]
            .map(|(pid, parent)| (pid, Stat { parent, ticks: u64::from(pid), children_ticks: 0 }))
            .into();
        let tree = descendants(&all, &[2, 5, 99]);
        assert_eq!(tree.keys().copied().collect::<Vec<_>>(), [2, 3, 5]);
    }

    #[test]
    fn this_process_can_be_read() {
        let tree = Tree::of(&[std::process::id()]).unwrap();
        assert!(tree.len() >= 1);
        assert!(tree.memory().is_some_and(|bytes| bytes > 1 << 16));
        assert!(peak_memory(std::process::id()).is_some());
        assert!(load().is_some());
    }
}
