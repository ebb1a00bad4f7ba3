//! A FUSE mount of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::error::BenchError;
use crate::process::{command, run};

const LIMIT: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(100);

/// A mounted folder. Dropping it unmounts it.
#[derive(Debug)]
pub(super) struct Mount {
    point: PathBuf,
    mounted: bool,
}

impl Mount {
    pub(super) fn new(point: PathBuf) -> Self {
        Self { point, mounted: true }
    }

    /// Unmounts it, once nothing uses it any more.
    pub(super) async fn unmount(mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut command = command("fusermount", Path::new("/"));
            command.arg("-u").arg(&self.point);
            match run(command, LIMIT).await {
                Ok(_) => break,
                // sshd's last session is still leaving.
                Err(BenchError::Failed { .. }) if Instant::now() < deadline => sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            // At once, even if it is in use: the process that serves it ends now.
            let _ = std::process::Command::new("fusermount").args(["-u", "-z", "-q"]).arg(&self.point).status();
        }
    }
}

/// Whether something is mounted at `point`.
pub(super) fn is_mounted(point: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| mounted_in(&mounts, point))
}

fn mounted_in(mounts: &str, point: &Path) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|path| Path::new(path) == point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_whole_path() {
        let mounts = "tmpfs /dev/shm tmpfs rw 0 0\ns3fs /dev/shm/x/mount fuse.s3fs rw 0 0\n";
        assert!(mounted_in(mounts, Path::new("/dev/shm/x/mount")));
        assert!(!mounted_in(mounts, Path::new("/dev/shm/x")));
    }
}
