//! A command's standard input and output.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use super::Stop;

/// The longest line of a client, in bytes: a name, or a message of two kilobytes.
pub(crate) const LINE_MAX: usize = 4096;

/// What is taken from the client at once, in bytes.
const BLOCK: usize = 256 << 10;

/// How long a command of a node that drains goes on behind its last answer: the client may be about
/// to end it by itself.
const LINGER: Duration = Duration::from_secs(2);

/// Both directions of a command's channel.
pub(crate) struct Pipe<S> {
    input: BufReader<ReadHalf<S>>,
    output: WriteHalf<S>,
    drain: CancellationToken,
}

impl<S: AsyncRead + AsyncWrite> Pipe<S> {
    pub(crate) fn new(stream: S, drain: CancellationToken) -> Self {
        let (input, output) = tokio::io::split(stream);
        Self { input: BufReader::new(input), output, drain }
    }

    /// The next byte; `None` at the end.
    pub(crate) async fn byte(&mut self) -> Result<Option<u8>, Stop> {
        let byte = self.input.fill_buf().await?.first().copied();
        self.input.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// The same where no file is open: it ends the command if the node drains.
    pub(crate) async fn byte_between_files(&mut self) -> Result<Option<u8>, Stop> {
        let drained = async {
            self.drain.cancelled().await;
            sleep(LINGER).await;
        };
        let byte = tokio::select! {
            biased;
            buffer = self.input.fill_buf() => buffer?.first().copied(),
            () = drained => return Err(Stop::Drained),
        };
        self.input.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// What is left of a line, without its end; at most [`LINE_MAX`] bytes.
    pub(crate) async fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let mut line = Vec::new();
        loop {
            match self.byte().await? {
                Some(b'\n') => return Ok(line),
                Some(byte) if line.len() < LINE_MAX => line.push(byte),
                Some(_) => return Err(Stop::Fatal("a line of the protocol is too long".to_owned())),
                None => return Err(Stop::Io(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// A block of the next `left` bytes of a file: whole ones, but for the last.
    pub(crate) async fn block(&mut self, left: u64) -> Result<Bytes, Stop> {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK);
        let mut block = BytesMut::with_capacity(len);
        while block.len() < len {
            let missing = (len - block.len()) as u64;
            if (&mut self.input).take(missing).read_buf(&mut block).await? == 0 {
                return Err(Stop::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(block.freeze())
    }

    /// Whatever comes next; empty at the end.
    pub(crate) async fn some(&mut self) -> Result<Bytes, Stop> {
        let mut block = BytesMut::with_capacity(32 << 10);
        self.input.read_buf(&mut block).await?;
        Ok(block.freeze())
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        Ok(self.output.write_all(bytes).await?)
    }
}
