//! The servers that are measured, each started anew for what it is to do.

mod mount;
mod rclone;
mod sshd;
mod tidegate;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::client::Login;
use crate::error::{BenchError, during};
use crate::process::{Process, tail};
use crate::testbed::{START_LIMIT, Testbed};
use mount::Mount;

pub(crate) use tidegate::MEMORY_BUDGET;

/// The servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerKind {
    /// A Tidegate node
    Tidegate,
    /// rclone serve sftp, vfs-cache-mode off
    Rclone,
    /// rclone serve sftp, vfs-cache-mode writes: CLOSE succeeds before S3 has the file
    RcloneWrites,
    /// OpenSSH's sshd with internal-sftp on an s3fs mount
    S3fs,
    /// OpenSSH's sshd with internal-sftp on tmpfs, the ceiling
    Tmpfs,
}

impl ServerKind {
    /// All of them, in the order of tables.
    pub(crate) const ALL: [Self; 5] = [Self::Tidegate, Self::Rclone, Self::RcloneWrites, Self::S3fs, Self::Tmpfs];

    /// For tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tidegate => "Tidegate",
            Self::Rclone => "rclone, cache off",
            Self::RcloneWrites => "rclone, cache writes",
            Self::S3fs => "sshd + s3fs",
            Self::Tmpfs => "sshd on tmpfs",
        }
    }

    /// The programs it needs, and the Debian package that brings each.
    pub(crate) fn programs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Tidegate => &[],
            Self::Rclone | Self::RcloneWrites => &[("rclone", "rclone")],
            Self::S3fs => &[("s3fs", "s3fs"), ("fusermount", "fuse3"), ("/usr/sbin/sshd", "openssh-server")],
            Self::Tmpfs => &[("/usr/sbin/sshd", "openssh-server")],
        }
    }

    /// Whether it asks the object store for anything, so that the store's delay matters.
    pub(crate) fn uses_store(self) -> bool {
        self != Self::Tmpfs
    }
}

/// A running server. Dropping it ends it and removes its mount.
#[derive(Debug)]
pub(crate) struct Server {
    /// Which.
    pub(crate) kind: ServerKind,
    /// How clients log in.
    pub(crate) login: Login,
    // The mount goes before the processes: what serves it is among them.
    mount: Option<Mount>,
    processes: Vec<Process>,
    folder: PathBuf,
}

impl Server {
    /// Starts it and waits until it serves. `limit` is how long a client's command may take.
    pub(crate) async fn start(kind: ServerKind, testbed: &Testbed, limit: Duration) -> Result<Self, BenchError> {
        let folder = testbed.make_folder("server")?;
        let started = match kind {
            ServerKind::Tidegate => tidegate::start(testbed, &folder).await?,
            ServerKind::Rclone => rclone::start(testbed, &folder, "off").await?,
            ServerKind::RcloneWrites => rclone::start(testbed, &folder, "writes").await?,
            ServerKind::S3fs => sshd::start_on_s3fs(testbed, &folder).await?,
            ServerKind::Tmpfs => sshd::start_on_tmpfs(testbed, &folder).await?,
        };
        let Started { port, user, processes, mount } = started;
        let (key, client_folder) = (testbed.client_key(), testbed.make_folder("client")?);
        let login = Login { port, user, key, folder: client_folder, limit };
        Ok(Self { kind, login, mount, processes, folder })
    }

    /// The ids of the processes that were started; they may have children.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// The ends of what its processes have printed.
    pub(crate) fn logs(&self) -> String {
        self.processes.iter().map(|process| tail(&process.log())).collect::<Vec<_>>().join("\n")
    }

    /// Ends it, unmounts what it mounted and removes its files but those in the store.
    pub(crate) async fn stop(self) -> Result<(), BenchError> {
        let Self { mount, mut processes, folder, .. } = self;
        // The last is the one that clients connect to.
        if let Some(front) = processes.pop() {
            front.stop().await;
        }
        if let Some(mount) = mount {
            mount.unmount().await?;
        }
        for process in processes {
            process.stop().await;
        }
        std::fs::remove_dir_all(&folder).map_err(during(folder.display().to_string()))
    }
}

/// What starting a server gives.
struct Started {
    port: u16,
    user: String,
    /// What clients connect to comes last.
    processes: Vec<Process>,
    mount: Option<Mount>,
}

/// A port that was free a moment ago, for servers that do not tell which they took.
async fn free_port() -> Result<u16, BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(during("finding a free port"))?;
    Ok(listener.local_addr().map_err(during("finding a free port"))?.port())
}

/// Waits until an SSH server greets on `port`.
async fn greeted(process: &mut Process, port: u16) -> Result<(), BenchError> {
    let greets = async |_: &str| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let mut greeting = [0; 4];
        timeout(Duration::from_secs(5), stream.read_exact(&mut greeting)).await.ok()?.ok()?;
        (&greeting == b"SSH-").then_some(())
    };
    process.until("it serves", START_LIMIT, greets).await
}
