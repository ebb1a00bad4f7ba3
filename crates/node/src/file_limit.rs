//! How many files, sockets among them, the process may have open at once.

use std::fmt;

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

/// What a node opens besides its clients' connections, at the most: those to S3 and DynamoDB, the
/// side port's, and the files of the embedded stores.
const BESIDES_CLIENTS: u64 = 1_024;

/// A limit of open files, and how many a node needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileLimit {
    /// `None` is no limit.
    allowed: Option<u64>,
    needed: u64,
}

/// Sets the soft limit to the hard one, and logs what is in force. The soft limit is often 1,024, for
/// the sake of programs that use `select`; past it, connections would be refused long before
/// `ssh.max_connections` (how many clients may be connected at once).
pub(crate) fn raise(max_connections: u32) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit of open files can't be raised");
    }
    let FileLimit { allowed, needed } = FileLimit::new(getrlimit(Resource::Nofile).current, max_connections);
    // Without a limit, the field is left out.
    if FileLimit::new(allowed, max_connections).suffices() {
        info!("open-files-allowed" = allowed, "open-files-needed" = needed, "the limit of open files suffices");
    } else {
        warn!(
            "open-files-allowed" = allowed,
            "open-files-needed" = needed,
            "the limit of open files is too low for ssh.max_connections: raise the hard limit (ulimit -Hn, LimitNOFILE \
             of systemd, or the container's nofile)"
        );
    }
}

impl FileLimit {
    fn new(allowed: Option<u64>, max_connections: u32) -> Self {
        Self { allowed, needed: u64::from(max_connections) + BESIDES_CLIENTS }
    }

    /// What a node that is started like this process has after [`raise`].
    pub(crate) fn reachable(max_connections: u32) -> Self {
        Self::new(getrlimit(Resource::Nofile).maximum, max_connections)
    }

    fn suffices(self) -> bool {
        self.allowed.is_none_or(|allowed| allowed >= self.needed)
    }
}

impl fmt::Display for FileLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.allowed {
            Some(allowed) => write!(f, "{allowed} files may be open at once")?,
            None => f.write_str("any number of files may be open at once")?,
        }
        let verdict = if self.suffices() { "enough" } else { "TOO FEW" };
        write!(f, ": {verdict}, ssh.max_connections and {BESIDES_CLIENTS} more are {}", self.needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let lowered = rustix::process::Rlimit { current: Some(256), maximum: hard };
        setrlimit(Resource::Nofile, lowered).unwrap();
        raise(1);
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }

    #[test]
    fn what_is_needed_is_the_clients_and_some_more() {
        assert!(FileLimit::new(Some(5_120), 4_096).suffices());
        assert!(!FileLimit::new(Some(5_119), 4_096).suffices());
        assert!(FileLimit::new(None, u32::MAX).suffices());
        let told = FileLimit::new(Some(1_024), 4_096).to_string();
        assert_eq!(told, "1024 files may be open at once: TOO FEW, ssh.max_connections and 1024 more are 5120");
    }
}
