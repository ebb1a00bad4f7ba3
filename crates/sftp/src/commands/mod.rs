//! The few commands that clients run instead of SFTP: `scp` at its remote end, and the programs that
//! print checksums of files. Nothing is executed: each is a routine here, on the user's files.

mod files;
mod pipe;
mod sums;
mod words;

use std::io;
use std::time::Instant;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::files::{Files, Listing, Upload};
pub(crate) use self::pipe::Pipe;
pub use self::sums::Checksums;
pub use self::words::{Unsplittable, Word, split};
use crate::scp::Scp;
use crate::session::SessionContext;

/// What a client may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `md5sum`, `sha1sum` or `sha256sum`.
    Checksums(Checksums),
    /// `scp -f` or `scp -t`.
    Scp(Scp),
}

/// Why a command is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is one of ours, but not in words that mean something here; the text says what is wrong.
    #[error("{0}")]
    Malformed(&'static str),
    /// It is none of ours.
    #[error("this service allows SFTP connections only")]
    Unknown,
}

impl Command {
    /// The command of this line of an exec request (RFC 4254, section 6.5).
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let program = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty());
        let (is_scp, algorithm) = (program == Some(b"scp"), program.and_then(sums::algorithm));
        if !is_scp && algorithm.is_none() {
            return Err(Refusal::Unknown);
        }
        let words = split(line).map_err(|error| match error {
            // `md5sum file | grep …`: what a shell would run is none of ours.
            Unsplittable::Shell if !is_scp => Refusal::Unknown,
            Unsplittable::Shell => Refusal::Malformed(
                "there is no shell here: quote the characters of the path that mean something to one",
            ),
            Unsplittable::Open => Refusal::Malformed("a quote in the command is not closed"),
            Unsplittable::TooLong => Refusal::Malformed("the command is too long"),
        })?;
        let arguments = words.into_iter().skip(1).collect::<Vec<_>>();
        match algorithm {
            Some(algorithm) => Checksums::parse(algorithm, arguments).map(Self::Checksums),
            None => Scp::parse(arguments).map(Self::Scp),
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::Checksums(_) => "checksums",
            Self::Scp(scp) => scp.operation(),
        }
    }
}

/// Why a command ends before it is done.
#[derive(Debug, Error)]
pub(crate) enum Stop {
    #[error("the deadline of a shutdown came")]
    Deadline,
    #[error("the node is going down")]
    Drained,
    #[error("{0}")]
    Fatal(String),
    #[error("the client went away")]
    Io(#[from] io::Error),
}

/// What became of a command.
#[derive(Debug)]
pub struct CommandReport {
    /// Its exit status; `None` if the node goes down.
    pub status: Option<u32>,
    /// What it says on standard error, in whole lines; a few kilobytes at most.
    pub stderr: String,
    /// Why it ended, for the log.
    pub message: String,
    /// File bytes taken from the client.
    pub bytes_in: u64,
    /// File bytes given to the client, or read for it.
    pub bytes_out: u64,
}

/// Runs a command on `stream`, which is its standard input and output, until it is done or the node
/// ends it.
///
/// When it returns, every file that the client was told of is complete in the store, and every
/// other upload is dropped. The stream is not shut down: that is its owner's to do.
pub async fn run_command<S>(stream: S, command: Command, context: SessionContext) -> CommandReport
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let begun = Instant::now();
    let (metrics, shutdown, operation) = (context.metrics.clone(), context.shutdown.clone(), command.operation());
    metrics.sessions.inc();
    let gone = context.gone.clone();
    let mut pipe = Pipe::new(stream, shutdown.drain.clone());
    let mut files = Files::new(context);
    let mut stderr = String::new();
    let ended = tokio::select! {
        ended = async {
            match command {
                Command::Checksums(checksums) => checksums.run(&mut pipe, &mut files, &mut stderr, &gone).await,
                Command::Scp(scp) => scp.run(&mut pipe, &mut files).await,
            }
        } => ended,
        () = shutdown.deadline.cancelled() => Err(Stop::Deadline),
    };
    let (status, message) = match ended {
        Ok(true) => (Some(0), "the command ended".to_owned()),
        Ok(false) => (Some(1), "the command ended with errors".to_owned()),
        Err(stop @ (Stop::Deadline | Stop::Drained)) => (None, stop.to_string()),
        Err(stop) => (Some(1), stop.to_string()),
    };
    if let (Some(1), true) = (status, stderr.is_empty()) {
        stderr = format!("{message}\n");
    }
    metrics.answered(operation, if status == Some(0) { "ok" } else { "failure" }, begun.elapsed());
    metrics.sessions.dec();
    CommandReport { status, stderr, message, bytes_in: files.bytes_in, bytes_out: files.bytes_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_and_everything_it_could_run_are_refused() {
        for line in ["", " ", "id", "sh -c 'scp -t x'", "/bin/scp -t x", "'scp' -t x", "md5sum x | sh", "echo 'abc'"] {
            assert_eq!(Command::parse(line.as_bytes()), Err(Refusal::Unknown), "{line}");
        }
        for line in ["scp -t x; id", "scp -f $HOME", "scp", "scp -S sh -t x", "scp -t", "scp -f -t x", "scp -t 'x"] {
            assert!(matches!(Command::parse(line.as_bytes()), Err(Refusal::Malformed(_))), "{line}");
        }
        assert!(Command::parse(b"scp -r -p -f -- -x").is_ok() && Command::parse(b"md5sum").is_ok());
    }
}
