//! The client of `russh-sftp`, in this process, over the transport of OpenSSH. It sees every answer,
//! and so knows whether it came to ask for CLOSE.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tidegate_tests::{Login, Ssh};
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::client::{Client, Told};
use crate::history::{Sight, recognise};

/// How long a login or an answer may take, before the client gives its connection up.
const LIMIT: Duration = Duration::from_secs(8);
pub(super) const CHUNK: usize = 128 << 10;

/// A client with one session at a time. It is another one after some requests, which the balancer may
/// bring elsewhere, and after every failure.
pub(crate) struct Packets {
    ssh: Ssh,
    runtime: Runtime,
    session: Option<Session>,
    /// Changes and looks that a session has before the next.
    life: usize,
    /// Every so many uploads the client dies before its CLOSE; 0 for never.
    dies_each: usize,
    uploads: usize,
}

struct Session {
    sftp: RawSftpSession,
    left: usize,
    ssh: Child,
}

/// What became of a request.
pub(super) enum Failed {
    Lost,
    Refused(StatusCode),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Status(status) => Self::Refused(status.status_code),
            _ => Self::Lost,
        }
    }
}

impl Packets {
    pub(crate) fn new(login: &Login, life: usize, dies_each: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { ssh: Ssh::new(login), runtime, session: None, life, dies_each, uploads: 0 }
    }

    /// Runs one request after the other in a session; none is left behind a failure.
    pub(super) fn with<T>(&mut self, run: impl AsyncFnOnce(&RawSftpSession) -> Result<T, Failed>) -> Result<T, Failed> {
        let session = self.session.take().filter(|session| session.left > 0);
        let Self { ssh, runtime, life, .. } = self;
        let (result, session) = runtime.block_on(async {
            let mut session = match session {
                Some(session) => session,
                None => match timeout(LIMIT, Session::begin(ssh, *life)).await {
                    Ok(Ok(session)) => session,
                    Ok(Err(_)) | Err(_) => return (Err(Failed::Lost), None),
                },
            };
            let result = tokio::select! {
                biased;
                result = run(&session.sftp) => result,
                // Its requests would wait to the end of their time.
                _ = session.ssh.wait() => Err(Failed::Lost),
            };
            session.left -= 1;
            (result, Some(session))
        });
        let is_well = !matches!(result, Err(Failed::Lost | Failed::Refused(StatusCode::Failure)));
        self.session = session.filter(|_| is_well);
        result
    }

    /// For what changes a path with one request.
    fn change(&mut self, run: impl AsyncFnOnce(&RawSftpSession) -> Result<(), Failed>) -> Told {
        match self.with(run) {
            Ok(()) => Told::Done,
            Err(Failed::Refused(StatusCode::NoSuchFile)) => Told::Missing,
            Err(Failed::Lost | Failed::Refused(_)) => Told::InDoubt,
        }
    }

    /// Gives the session up; what it has open is cut.
    pub(super) fn disconnect(&mut self) {
        self.session = None;
    }

    /// Makes a directory, or finds it.
    pub(crate) fn make_directory(&mut self, path: &str) {
        let made = self.with(async |sftp| Ok(sftp.mkdir(path, FileAttributes::empty()).await?));
        assert!(made.is_ok(), "{path} can't be made");
    }
}

impl Session {
    async fn begin(ssh: &Ssh, life: usize) -> Result<Self, Error> {
        let mut command = Command::from(ssh.subsystem());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("ssh runs");
        let stream = tokio::io::join(child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
        let sftp = RawSftpSession::new(stream);
        sftp.set_timeout(LIMIT.as_secs());
        sftp.init().await?;
        Ok(Self { sftp, left: life, ssh: child })
    }
}

impl Client for Packets {
    fn publish(&mut self, path: &str, content: &[u8]) -> Told {
        self.uploads += 1;
        let dies = self.dies_each > 0 && self.uploads.is_multiple_of(self.dies_each);
        let mut asked_to_close = false;
        let closed = self.with(async |sftp| {
            let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
            let handle = sftp.open(path, flags, FileAttributes::empty()).await?.handle;
            let end = if dies { content.len() / 2 } else { content.len() };
            for (n, chunk) in content[..end].chunks(CHUNK).enumerate() {
                sftp.write(&handle, (n * CHUNK) as u64, chunk.to_vec()).await?;
            }
            if dies {
                return Err(Failed::Lost);
            }
            asked_to_close = true;
            sftp.close(handle).await?;
            Ok(())
        });
        match closed {
            Ok(()) => Told::Done,
            Err(_) if asked_to_close => Told::InDoubt,
            Err(_) => {
                // Without its session the open file is given up.
                self.disconnect();
                Told::Unclosed
            }
        }
    }

    fn fetch(&mut self, path: &str) -> Option<Sight> {
        let fetched = self.with(async |sftp| {
            let handle = sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await?.handle;
            let mut content = Vec::new();
            loop {
                match sftp.read(&handle, content.len() as u64, CHUNK as u32).await.map_err(Failed::from) {
                    Ok(read) => content.extend_from_slice(&read.data),
                    Err(Failed::Refused(StatusCode::Eof)) => break,
                    // It was there when it was opened.
                    Err(_) => return Err(Failed::Lost),
                }
            }
            sftp.close(handle).await?;
            Ok(content)
        });
        match fetched {
            Ok(content) => Some(recognise(&content).map_or_else(Sight::Damaged, Sight::Whole)),
            Err(Failed::Refused(StatusCode::NoSuchFile)) => Some(Sight::Absent),
            Err(_) => None,
        }
    }

    fn remove(&mut self, path: &str) -> Told {
        self.change(async |sftp| {
            sftp.remove(path).await?;
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> Option<Told> {
        let paths: Vec<u8> = [from, to]
            .into_iter()
            .flat_map(|path| [&(path.len() as u32).to_be_bytes()[..], path.as_bytes()].concat())
            .collect();
        Some(self.change(async |sftp| match sftp.extended("posix-rename@openssh.com", paths).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(Failed::Refused(status.status_code)),
            _ => Err(Failed::Lost),
        }))
    }

    fn names(&mut self, directory: &str) -> Option<BTreeSet<String>> {
        let names = self.with(async |sftp| {
            let handle = sftp.opendir(directory).await?.handle;
            let mut names = BTreeSet::new();
            loop {
                match sftp.readdir(&handle).await.map_err(Failed::from) {
                    Ok(page) => names.extend(page.files.into_iter().map(|file| file.filename)),
                    Err(Failed::Refused(StatusCode::Eof)) => break,
                    Err(error) => return Err(error),
                }
            }
            sftp.close(handle).await?;
            Ok(names)
        });
        names.ok()
    }
}
