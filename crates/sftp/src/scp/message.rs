//! The lines of the protocol, without I/O.
//!
//! There is no standard; this is what OpenSSH's `scp.c` (`source` and `sink`) and PuTTY's `pscp` speak.

use std::fmt::Write as _;

use thiserror::Error;
use tidegate_vfs::{FileAttributes, VirtualPath};

/// A line that a sender may send, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `D`: a directory begins.
    Directory {
        /// Permission bits.
        mode: u32,
        /// One name, no path.
        name: String,
    },
    /// `E`: the directory that began last ends.
    End,
    /// `C`: a file; its bytes follow.
    File {
        /// Permission bits.
        mode: u32,
        /// How many bytes follow.
        size: u64,
        /// One name, no path.
        name: String,
    },
    /// `T`: the times of what comes next, in seconds since 1970.
    Times {
        /// When it was changed.
        mtime: u32,
        /// When it was read.
        atime: u32,
    },
}

/// Why a line is none of a sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoMessage {
    /// A number is missing or too large.
    #[error("protocol error: a number is not written as it should be")]
    Number,
    /// The name is a path, `.` or `..`, too long or no UTF-8.
    #[error("error: unexpected filename: one name of 1 to 255 bytes of UTF-8 without / is expected")]
    Name,
    /// It is no line of a sender.
    #[error("protocol error: expected control record")]
    Unknown,
}

impl Message {
    /// Parses a line.
    ///
    /// # Errors
    /// [`NoMessage`].
    pub fn parse(line: &[u8]) -> Result<Self, NoMessage> {
        match line {
            b"E" => Ok(Self::End),
            [b'T', rest @ ..] => {
                let mut numbers = rest.split(|byte| *byte == b' ').map(decimal);
                let mut next = || numbers.next().unwrap_or(Err(NoMessage::Number));
                let (mtime, _, atime, _) = (next()?, next()?, next()?, next()?);
                let seconds = |time: u64| u32::try_from(time).unwrap_or(u32::MAX);
                Ok(Self::Times { mtime: seconds(mtime), atime: seconds(atime) })
            }
            [kind @ (b'C' | b'D'), rest @ ..] => {
                let mut fields = rest.splitn(3, |byte| *byte == b' ');
                let mode = octal(fields.next().unwrap_or_default())?;
                let size = decimal(fields.next().unwrap_or_default())?;
                let name = name(fields.next().unwrap_or_default())?;
                Ok(if *kind == b'C' { Self::File { mode, size, name } } else { Self::Directory { mode, name } })
            }
            _ => Err(NoMessage::Unknown),
        }
    }

    /// The line, with its end.
    pub fn encode(&self) -> Vec<u8> {
        let mut line = match self {
            Self::Directory { mode, name } => format!("D{mode:04o} 0 {name}"),
            Self::End => "E".to_owned(),
            Self::File { mode, size, name } => format!("C{mode:04o} {size} {name}"),
            Self::Times { mtime, atime } => format!("T{mtime} 0 {atime} 0"),
        };
        line.push('\n');
        line.into_bytes()
    }

    /// The times of a file.
    pub(super) fn times(attributes: &FileAttributes) -> Self {
        let seconds = |time: u64| u32::try_from(time).unwrap_or(u32::MAX);
        Self::Times { mtime: seconds(attributes.mtime), atime: seconds(attributes.atime) }
    }
}

/// A warning as the other end shows it; it goes on behind it.
pub(super) fn warning(text: &str) -> Vec<u8> {
    let mut line = String::from("\x01scp: ");
    for character in text.chars().take(1024) {
        // One line, and nothing that moves a terminal's cursor.
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line.into_bytes()
}

fn octal(digits: &[u8]) -> Result<u32, NoMessage> {
    let is_octal = (1..=7).contains(&digits.len()) && digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let mode = digits.iter().fold(0, |mode, digit| mode << 3 | u32::from(digit & 7));
    if is_octal { Ok(mode & 0o7777) } else { Err(NoMessage::Number) }
}

fn decimal(digits: &[u8]) -> Result<u64, NoMessage> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok()).ok_or(NoMessage::Number)
}

fn name(bytes: &[u8]) -> Result<String, NoMessage> {
    let name = std::str::from_utf8(bytes).map_err(|_| NoMessage::Name)?;
    let is_name =
        !matches!(name, "" | "." | "..") && name.len() <= VirtualPath::NAME_MAX && !name.contains(['/', '\0', '\n']);
    if is_name { Ok(name.to_owned()) } else { Err(NoMessage::Name) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_scp_and_pscp_are_understood() {
        let file = |mode, size, name: &str| Ok(Message::File { mode, size, name: name.to_owned() });
        assert_eq!(Message::parse(b"C0644 12 a b"), file(0o644, 12, "a b"));
        assert_eq!(Message::parse(b"C0100755 0 x"), file(0o755, 0, "x"));
        assert_eq!(Message::parse(b"C0644 12  leading"), file(0o644, 12, " leading"));
        assert_eq!(Message::parse(b"D0755 0 dir"), Ok(Message::Directory { mode: 0o755, name: "dir".to_owned() }));
        assert_eq!(Message::parse(b"E"), Ok(Message::End));
        assert_eq!(Message::parse(b"T1500000000 0 7 0"), Ok(Message::Times { mtime: 1_500_000_000, atime: 7 }));
    }

    #[test]
    fn everything_else_is_refused() {
        for name in ["", ".", "..", "a/b", "/", "../x", "\0"] {
            assert_eq!(Message::parse(format!("C0644 1 {name}").as_bytes()), Err(NoMessage::Name), "{name:?}");
        }
        assert_eq!(Message::parse(b"C0644 1 \xff"), Err(NoMessage::Name));
        assert_eq!(Message::parse(format!("C0644 1 {}", "x".repeat(256)).as_bytes()), Err(NoMessage::Name));
        for line in ["C", "C0648 1 x", "C0644 -1 x", "C0644 +1 x", "C0644 18446744073709551616 x", "T1 0", "T", "D 0 x"]
        {
            assert_eq!(Message::parse(line.as_bytes()), Err(NoMessage::Number), "{line}");
        }
        for line in ["", "EE", "X0644 1 x", "hello"] {
            assert_eq!(Message::parse(line.as_bytes()), Err(NoMessage::Unknown), "{line}");
        }
    }

    #[test]
    fn warnings_are_one_line_without_control_characters() {
        assert_eq!(warning("a\nb\x1b[2J"), b"\x01scp: a\\nb\\u{1b}[2J\n");
    }

    proptest! {
        #[test]
        fn what_is_sent_means_the_same_when_it_is_read(
            mode in 0_u32..=0o7777,
            size in any::<u64>(),
            name in "[^/\0\n]{1,40}",
            times in any::<(u32, u32)>(),
        ) {
            prop_assume!(!matches!(name.as_str(), "." | ".."));
            for message in [
                Message::File { mode, size, name: name.clone() },
                Message::Directory { mode, name },
                Message::Times { mtime: times.0, atime: times.1 },
                Message::End,
            ] {
                let line = message.encode();
                prop_assert_eq!(Message::parse(&line[..line.len() - 1]), Ok(message));
            }
        }
    }
}
