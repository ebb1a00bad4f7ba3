//! The remote end of `scp` with its old protocol: `scp -f` sends files, `scp -t` takes them.
//!
//! Both ends answer each line with a byte 0, or with a line that begins with 1 (a warning) or 2 (the
//! end). Nothing is known of a tree but what came so far, and nothing is kept of it but the
//! directories that are open.

mod message;
mod pattern;
mod sink;
mod source;

pub use self::message::{Message, NoMessage};
use self::pattern::{Source, plain_path};
use crate::commands::{Files, Pipe, Refusal, Stop, Word};
use tokio::io::{AsyncRead, AsyncWrite};

/// Directories inside one another at most.
const DEPTH_MAX: usize = 64;

/// An answer of success.
const OK: &[u8] = b"\0";

/// What `scp` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scp {
    options: Options,
    direction: Direction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    /// `-d`: the target has to be a directory.
    into_directory: bool,
    /// `-p`: times and modes as they are.
    preserve: bool,
    /// `-r`.
    recursive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Direction {
    /// `-f`: from here.
    From(Vec<Source>),
    /// `-t`: to here.
    To(Vec<u8>),
}

impl Scp {
    pub(crate) fn parse(arguments: Vec<Word>) -> Result<Self, Refusal> {
        let mut options = Options::default();
        let (mut from, mut to) = (false, false);
        let mut arguments = arguments.into_iter().peekable();
        while let Some(word) = arguments.next_if(|word| matches!(word.bytes.as_slice(), [b'-', _, ..])) {
            if word.bytes == b"--" {
                break;
            }
            for letter in word.bytes.iter().skip(1) {
                match letter {
                    b'd' => options.into_directory = true,
                    b'f' => from = true,
                    b'p' => options.preserve = true,
                    b'q' | b'v' => {}
                    b'r' => options.recursive = true,
                    b't' => to = true,
                    _ => return Err(Refusal::Malformed("this option of scp is not known here")),
                }
            }
        }
        let mut paths = arguments.collect::<Vec<_>>();
        let direction = match (from, to, paths.len()) {
            (true, false, 1..) => {
                let sources = paths.into_iter().map(Source::of).collect::<Option<_>>();
                Direction::From(sources.ok_or(Refusal::Malformed(
                    "patterns are supported in the last part of a path only; quote what is none",
                ))?)
            }
            (false, true, 1) => Direction::To(plain_path(paths.pop().unwrap_or_default())),
            _ => return Err(Refusal::Malformed("scp runs here as the other end of an scp only")),
        };
        Ok(Self { options, direction })
    }

    pub(crate) fn operation(&self) -> &'static str {
        match self.direction {
            Direction::From(_) => "scp-from",
            Direction::To(_) => "scp-to",
        }
    }

    /// Whether everything went well.
    pub(crate) async fn run<S>(self, pipe: &mut Pipe<S>, files: &mut Files) -> Result<bool, Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut end = End { pipe, files, options: self.options, errors: 0 };
        match self.direction {
            Direction::From(sources) => end.send(sources).await?,
            Direction::To(target) => end.take(&target).await?,
        }
        Ok(end.errors == 0)
    }
}

/// One end of the protocol.
struct End<'a, S> {
    pipe: &'a mut Pipe<S>,
    files: &'a mut Files,
    options: Options,
    errors: u64,
}

/// What the other end thinks of a line.
#[derive(PartialEq, Eq)]
enum Answer {
    /// It goes on.
    Ok,
    /// It does not want what the line was about.
    Refused,
}

impl<S: AsyncRead + AsyncWrite + Unpin> End<'_, S> {
    /// Tells the other end what can't be done; both go on.
    async fn warn(&mut self, what: &str, why: &(dyn std::fmt::Display + Sync)) -> Result<(), Stop> {
        self.errors += 1;
        self.pipe.write(&message::warning(&format!("{what}: {why}"))).await
    }

    /// Ends the command, and tells the other end.
    async fn fail<T>(&mut self, why: &str) -> Result<T, Stop> {
        // A client that is gone does not read it.
        let _ = self.pipe.write(&message::warning(why)).await;
        Err(Stop::Fatal(format!("scp: {why}")))
    }

    /// Waits for the other end's answer.
    async fn answer(&mut self) -> Result<Answer, Stop> {
        match self.pipe.byte().await? {
            Some(0) => Ok(Answer::Ok),
            Some(1) => {
                self.errors += 1;
                self.pipe.line().await?;
                Ok(Answer::Refused)
            }
            Some(2) => {
                let line = self.pipe.line().await?;
                Err(Stop::Fatal(format!("scp: the client ended: {}", line.escape_ascii())))
            }
            Some(_) => Err(Stop::Fatal("scp: protocol error: expected an answer".to_owned())),
            None => Err(Stop::Io(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}
