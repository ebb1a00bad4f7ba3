//! Packets from the client.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::MAX_PACKET;
use super::attributes::{RawAttributes, read_attributes};
use super::cursor::Cursor;

/// Names an open file or directory of a session. On the wire it is eight hexadecimal digits, as
/// some clients keep handles as text; a handle of any other form was not handed out by us and
/// names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandleId(pub u32);

impl HandleId {
    /// A number that is never given to an open handle.
    pub const NONE: Self = Self(0);

    /// The handle as it is on the wire.
    pub fn to_wire(self) -> [u8; 8] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        std::array::from_fn(|place| {
            let digit = (self.0 >> (28 - 4 * place)) as usize & 0xf;
            DIGITS.get(digit).copied().unwrap_or(b'0')
        })
    }

    /// The handle that these bytes name; [`HandleId::NONE`] if they are none of ours.
    pub fn from_wire(bytes: &[u8]) -> Self {
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(u32::from(byte - b'0')),
            b'a'..=b'f' => Some(u32::from(byte - b'a' + 10)),
            _ => None,
        };
        let number = (bytes.len() == 8)
            .then(|| bytes.iter().try_fold(0, |number: u32, byte| Some(number << 4 | digit(byte)?)))
            .flatten();
        number.map_or(Self::NONE, Self)
    }
}

/// The flags of an OPEN. Source: draft-ietf-secsh-filexfer-02, section 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// Open for reading.
    pub const READ: u32 = 0x01;
    /// Open for writing.
    pub const WRITE: u32 = 0x02;
    /// Every WRITE goes to the end of the file.
    pub const APPEND: u32 = 0x04;
    /// Make the file if there is none.
    pub const CREAT: u32 = 0x08;
    /// Drop what the file held.
    pub const TRUNC: u32 = 0x10;
    /// Fail if there is a file.
    pub const EXCL: u32 = 0x20;

    /// Whether this flag is set.
    pub fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

/// One request. `id` is the client's number for it, which the answer repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields carry the names that the draft gives them")]
pub enum Request {
    Init {
        version: u32,
    },
    Open {
        id: u32,
        path: Bytes,
        flags: OpenFlags,
        attributes: RawAttributes,
    },
    Close {
        id: u32,
        handle: HandleId,
    },
    Read {
        id: u32,
        handle: HandleId,
        offset: u64,
        len: u32,
    },
    Write {
        id: u32,
        handle: HandleId,
        offset: u64,
        data: Bytes,
    },
    Lstat {
        id: u32,
        path: Bytes,
    },
    Fstat {
        id: u32,
        handle: HandleId,
    },
    Setstat {
        id: u32,
        path: Bytes,
        attributes: RawAttributes,
    },
    Fsetstat {
        id: u32,
        handle: HandleId,
        attributes: RawAttributes,
    },
    Opendir {
        id: u32,
        path: Bytes,
    },
    Readdir {
        id: u32,
        handle: HandleId,
    },
    Remove {
        id: u32,
        path: Bytes,
    },
    Mkdir {
        id: u32,
        path: Bytes,
        attributes: RawAttributes,
    },
    Rmdir {
        id: u32,
        path: Bytes,
    },
    Realpath {
        id: u32,
        path: Bytes,
    },
    Stat {
        id: u32,
        path: Bytes,
    },
    Rename {
        id: u32,
        from: Bytes,
        to: Bytes,
    },
    Readlink {
        id: u32,
        path: Bytes,
    },
    /// The target comes first, as OpenSSH sends it, not second as the draft has it. Source: OpenSSH's
    /// PROTOCOL, section 4.1.
    Symlink {
        id: u32,
        target: Bytes,
        link: Bytes,
    },
    PosixRename {
        id: u32,
        from: Bytes,
        to: Bytes,
    },
    Limits {
        id: u32,
    },
    Lsetstat {
        id: u32,
        path: Bytes,
        attributes: RawAttributes,
    },
    /// An extension that is not announced.
    Extended {
        id: u32,
        name: Bytes,
    },
    /// A packet of a type that version 3 does not have.
    Unknown {
        id: u32,
        packet_type: u8,
    },
}

/// The kind of a request, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKind(pub &'static str);

impl Request {
    /// The operation's name in metrics and logs.
    pub fn kind(&self) -> RequestKind {
        RequestKind(match self {
            Self::Init { .. } => "init",
            Self::Open { .. } => "open",
            Self::Close { .. } => "close",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Lstat { .. } => "lstat",
            Self::Fstat { .. } => "fstat",
            Self::Setstat { .. } => "setstat",
            Self::Fsetstat { .. } => "fsetstat",
            Self::Opendir { .. } => "opendir",
            Self::Readdir { .. } => "readdir",
            Self::Remove { .. } => "remove",
            Self::Mkdir { .. } => "mkdir",
            Self::Rmdir { .. } => "rmdir",
            Self::Realpath { .. } => "realpath",
            Self::Stat { .. } => "stat",
            Self::Rename { .. } => "rename",
            Self::Readlink { .. } => "readlink",
            Self::Symlink { .. } => "symlink",
            Self::PosixRename { .. } => "posix-rename",
            Self::Limits { .. } => "limits",
            Self::Lsetstat { .. } => "lsetstat",
            Self::Extended { .. } => "extended",
            Self::Unknown { .. } => "unknown",
        })
    }
}

/// Why a stream of bytes is no SFTP. The framing can't be trusted behind it, so the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A packet announces no byte, or more than [`MAX_PACKET`].
    #[error("a packet announces {0} bytes; 1 to {MAX_PACKET} are allowed")]
    Length(u32),
    /// A field reaches past the end of its packet.
    #[error("a field reaches past the end of its packet")]
    Truncated,
}

/// Takes the next whole packet off the front of `input`; `None` if it has not arrived yet.
///
/// # Errors
/// [`Malformed`] if the bytes can't be a packet; `input` is of no use then.
pub fn decode(input: &mut BytesMut) -> Result<Option<Request>, Malformed> {
    let Some(header) = input.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes(*header);
    if !(1..=MAX_PACKET).contains(&(len as usize)) {
        return Err(Malformed::Length(len));
    }
    if input.len() < 4 + len as usize {
        return Ok(None);
    }
    input.advance(4);
    decode_body(input.split_to(len as usize).freeze()).map(Some)
}

/// Decodes one packet without its length field. Bytes behind the last known field are passed
/// over, as OpenSSH's server does.
fn decode_body(body: Bytes) -> Result<Request, Malformed> {
    let mut cursor = Cursor::new(body);
    let packet_type = cursor.u8()?;
    let id = cursor.u32()?;
    Ok(match packet_type {
        // INIT has its version where the others have their id.
        1 => Request::Init { version: id },
        3 => Request::Open {
            id,
            path: cursor.string()?,
            flags: OpenFlags(cursor.u32()?),
            attributes: read_attributes(&mut cursor)?,
        },
        4 => Request::Close { id, handle: handle(&mut cursor)? },
        5 => Request::Read { id, handle: handle(&mut cursor)?, offset: cursor.u64()?, len: cursor.u32()? },
        6 => Request::Write { id, handle: handle(&mut cursor)?, offset: cursor.u64()?, data: cursor.string()? },
        7 => Request::Lstat { id, path: cursor.string()? },
        8 => Request::Fstat { id, handle: handle(&mut cursor)? },
        9 => Request::Setstat { id, path: cursor.string()?, attributes: read_attributes(&mut cursor)? },
        10 => Request::Fsetstat { id, handle: handle(&mut cursor)?, attributes: read_attributes(&mut cursor)? },
        11 => Request::Opendir { id, path: cursor.string()? },
        12 => Request::Readdir { id, handle: handle(&mut cursor)? },
        13 => Request::Remove { id, path: cursor.string()? },
        14 => Request::Mkdir { id, path: cursor.string()?, attributes: read_attributes(&mut cursor)? },
        15 => Request::Rmdir { id, path: cursor.string()? },
        16 => Request::Realpath { id, path: cursor.string()? },
        17 => Request::Stat { id, path: cursor.string()? },
        18 => Request::Rename { id, from: cursor.string()?, to: cursor.string()? },
        19 => Request::Readlink { id, path: cursor.string()? },
        20 => Request::Symlink { id, target: cursor.string()?, link: cursor.string()? },
        200 => extended(id, cursor)?,
        _ => Request::Unknown { id, packet_type },
    })
}

fn handle(cursor: &mut Cursor) -> Result<HandleId, Malformed> {
    cursor.string().map(|bytes| HandleId::from_wire(&bytes))
}

fn extended(id: u32, mut cursor: Cursor) -> Result<Request, Malformed> {
    let name = cursor.string()?;
    let mut data = Cursor::new(cursor.rest());
    Ok(match name.as_ref() {
        b"posix-rename@openssh.com" => Request::PosixRename { id, from: data.string()?, to: data.string()? },
        b"limits@openssh.com" => Request::Limits { id },
        b"lsetstat@openssh.com" => {
            Request::Lsetstat { id, path: data.string()?, attributes: read_attributes(&mut data)? }
        }
        _ => Request::Extended { id, name },
    })
}
