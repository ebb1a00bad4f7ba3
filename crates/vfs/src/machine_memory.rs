//! How much memory this process may use: the machine's, or its control group's if that is less.

use std::fs;
use std::path::Path;

const CGROUPS: &str = "/sys/fs/cgroup";

/// In bytes; `None` where neither is told, outside of Linux.
pub(crate) fn machine_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| group_limit(Path::new(CGROUPS), &text));
    machine.into_iter().chain(group).min()
}

/// Source: proc_meminfo(5), `MemTotal`, in KiB.
fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least `memory.max` of the process's group and those above it.
/// Source: cgroups(7), "/proc/[pid]/cgroup"; the kernel's cgroup-v2 document, "memory.max".
fn group_limit(root: &Path, proc_cgroup: &str) -> Option<u64> {
    let group = proc_cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limits = Path::new(group).ancestors().map(|group| root.join(group).join("memory.max"));
    // A group without a limit says "max"; the root group has no such file.
    limits.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(mem_total("MemTotal:       16303060 kB\nMemFree: 1 kB\n"), Some(16_303_060 << 10));
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
        assert!(machine_memory().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn the_least_limit_of_a_group_and_its_parents_holds() {
        let root = tempfile::tempdir().unwrap();
        let service = root.path().join("system.slice/tidegate.service");
        fs::create_dir_all(&service).unwrap();
        let limit = |proc_cgroup| group_limit(root.path(), proc_cgroup);
        assert_eq!(limit("0::/system.slice/tidegate.service\n"), None);
        fs::write(service.join("memory.max"), "max\n").unwrap();
        fs::write(root.path().join("system.slice/memory.max"), "4294967296\n").unwrap();
        assert_eq!(limit("0::/system.slice/tidegate.service\n"), Some(4 << 30));
        fs::write(service.join("memory.max"), "1073741824\n").unwrap();
        assert_eq!(limit("0::/system.slice/tidegate.service\n"), Some(1 << 30));
        assert_eq!(limit("1:memory:/elsewhere\n"), None, "version 1 of control groups");
    }
}
