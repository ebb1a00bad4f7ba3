//! The client of `russh-sftp`, which we did not write, as an oracle at the level of packets. It
//! talks through `ssh -s`, so the transport is OpenSSH's.

use std::process::Stdio;

use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tidegate_tests::Ssh;
use tokio::process::{Child, Command};

/// One SFTP session.
pub(crate) struct Oracle {
    pub(crate) sftp: RawSftpSession,
    /// The extensions that the server announced.
    pub(crate) extensions: Vec<(String, String)>,
    _ssh: Child,
}

impl Oracle {
    pub(crate) async fn connect(ssh: &Ssh) -> Self {
        Self::connect_with_limit(ssh, 30).await
    }

    /// For requests that may have to wait long before they are answered.
    pub(crate) async fn connect_patiently(ssh: &Ssh) -> Self {
        Self::connect_with_limit(ssh, 300).await
    }

    async fn connect_with_limit(ssh: &Ssh, seconds: u64) -> Self {
        let mut command = Command::from(ssh.subsystem());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("ssh runs");
        let stream = tokio::io::join(child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
        let sftp = RawSftpSession::new(stream);
        sftp.set_timeout(seconds);
        let version = sftp.init().await.expect("INIT is answered");
        assert_eq!(version.version, 3);
        let mut extensions: Vec<_> = version.extensions.into_iter().collect();
        extensions.sort();
        Self { sftp, extensions, _ssh: child }
    }

    /// Makes or replaces a file.
    pub(crate) async fn put(&self, path: &str, data: &[u8]) {
        self.try_put(path, data).await.expect("OPEN, WRITE and CLOSE, which publishes");
    }

    /// The same where it may fail. CLOSE is sent in any case, and then fails too.
    pub(crate) async fn try_put(&self, path: &str, data: &[u8]) -> Result<(), Error> {
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let handle = self.open(path, flags).await?;
        let written = self.write_all(&handle, 0, data).await;
        let closed = self.sftp.close(handle).await;
        assert!(written.is_ok() || closed.is_err(), "CLOSE succeeds behind a WRITE that failed");
        written.and(closed.map(|_| ()))
    }

    /// Writes at `offset` and behind it, one WRITE of 32 KiB after the other.
    pub(crate) async fn write_all(&self, handle: &str, offset: u64, data: &[u8]) -> Result<(), Error> {
        for (n, chunk) in data.chunks(32 << 10).enumerate() {
            self.sftp.write(handle, offset + (n * (32 << 10)) as u64, chunk.to_vec()).await?;
        }
        Ok(())
    }

    /// The whole content of a file.
    pub(crate) async fn get(&self, path: &str) -> Vec<u8> {
        let handle = self.open(path, OpenFlags::READ).await.expect("OPEN for reading");
        let mut data = Vec::new();
        loop {
            match self.sftp.read(&handle, data.len() as u64, 32 << 10).await {
                Ok(read) => data.extend_from_slice(&read.data),
                Err(error) => {
                    assert_eq!(status(error), StatusCode::Eof);
                    break;
                }
            }
        }
        self.sftp.close(handle).await.expect("CLOSE");
        data
    }

    pub(crate) async fn open(&self, path: &str, flags: OpenFlags) -> Result<String, Error> {
        Ok(self.sftp.open(path, flags, FileAttributes::empty()).await?.handle)
    }

    /// All names in a directory, in the order of the answers, without `.` and `..`.
    pub(crate) async fn names(&self, path: &str) -> Vec<String> {
        let handle = self.sftp.opendir(path).await.expect("OPENDIR").handle;
        let mut names = Vec::new();
        loop {
            match self.sftp.readdir(&handle).await {
                Ok(page) => names.extend(page.files.into_iter().map(|file| file.filename)),
                Err(error) => {
                    assert_eq!(status(error), StatusCode::Eof);
                    break;
                }
            }
        }
        self.sftp.close(handle).await.expect("CLOSE");
        names.retain(|name| name != "." && name != "..");
        names
    }
}

/// The code of a refusal. Every message has to be fit for a tenant's eyes.
pub(crate) fn status(error: Error) -> StatusCode {
    status_with_message(error).0
}

fn status_with_message(error: Error) -> (StatusCode, String) {
    let Error::Status(status) = error else { panic!("no answer from the server: {error}") };
    let message = status.error_message.to_lowercase();
    assert!(!message.is_empty(), "{:?} says nothing", status.status_code);
    for inner in ["arn:", "aws", "bucket", "dynamo", "s3", "demo/", "tenants/", "sdk", "service error", "panicked"] {
        assert!(!message.contains(inner), "the client is told of our insides: {message}");
    }
    (status.status_code, status.error_message)
}

/// The code of an answer that must be a refusal.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> StatusCode {
    refusal_with_message(answer).0
}

/// The code and the message of an answer that must be a refusal.
#[track_caller]
pub(crate) fn refusal_with_message<T: std::fmt::Debug>(answer: Result<T, Error>) -> (StatusCode, String) {
    status_with_message(answer.expect_err("this must be refused"))
}
