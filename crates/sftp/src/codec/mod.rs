//! The packets of SFTP version 3, without I/O: bytes in, [`Request`]s out; answers in, bytes out.
//!
//! Lengths are checked before anything is allocated, names stay bytes, and the payload of a WRITE
//! is a slice of the buffer that it arrived in.
//! Source: draft-ietf-secsh-filexfer-02; "limits@openssh.com" and "posix-rename@openssh.com" in
//! OpenSSH's PROTOCOL, section 4.

mod attributes;
mod cursor;
mod extension;
mod output;
mod request;
mod response;

pub use attributes::RawAttributes;
pub use extension::{CheckFile, CheckedFile, CopyData, Extension, FileSystem, names_by_id};
pub use request::{HandleId, Malformed, OpenFlags, Request, RequestKind, decode};
pub use response::{NameEntry, Replies, StatusCode};

/// The version spoken; any other that a client offers is answered with this one.
pub const VERSION: u32 = 3;

/// The greatest packet accepted and sent, in bytes behind the length field: what OpenSSH's server
/// announces and enforces (`SFTP_MAX_MSG_LENGTH`).
pub const MAX_PACKET: usize = 256 * 1024;

/// The greatest READ answered in one packet, and the greatest WRITE payload that surely fits one:
/// OpenSSH's margin of 1,024 bytes for the header.
pub const MAX_DATA: usize = MAX_PACKET - 1024;
