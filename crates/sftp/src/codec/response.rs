//! Packets to the client.

use bytes::{Buf, Bytes};
use tidegate_vfs::FileAttributes;

use super::attributes::write_attributes;
use super::output::Output;
use super::{HandleId, MAX_DATA, MAX_PACKET, VERSION};

const SSH_FXP_VERSION: u8 = 2;
const SSH_FXP_STATUS: u8 = 101;
const SSH_FXP_HANDLE: u8 = 102;
const SSH_FXP_DATA: u8 = 103;
const SSH_FXP_NAME: u8 = 104;
const SSH_FXP_ATTRS: u8 = 105;
const SSH_FXP_EXTENDED_REPLY: u8 = 201;

/// The codes of a STATUS. Source: draft-ietf-secsh-filexfer-02, section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are the draft's")]
pub enum StatusCode {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    OpUnsupported = 8,
}

impl StatusCode {
    /// The word used for this code in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Eof => "eof",
            Self::NoSuchFile => "no-such-file",
            Self::PermissionDenied => "permission-denied",
            Self::Failure => "failure",
            Self::BadMessage => "bad-message",
            Self::OpUnsupported => "unsupported",
        }
    }
}

/// One name of a NAME answer.
#[derive(Clone, Debug)]
pub struct NameEntry {
    /// The file's name, without a path.
    pub name: String,
    /// The line that `ls -l` would print.
    pub longname: String,
    /// The file's attributes.
    pub attributes: FileAttributes,
}

impl NameEntry {
    pub(crate) fn wire_len(&self) -> usize {
        // Two length fields, and the ATTRS structure behind the names.
        8 + self.name.len() + self.longname.len() + 32
    }
}

/// Answers on their way to the client, encoded one behind the other. As a [`Buf`] they are the bytes
/// that wait: whoever sends takes them off the front.
#[derive(Debug, Default)]
pub struct Replies {
    out: Output,
}

impl Buf for Replies {
    fn remaining(&self) -> usize {
        self.out.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.out.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.out.advance(count);
    }
}

impl Replies {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.out.remaining()
    }

    /// Whether no byte waits.
    pub fn is_empty(&self) -> bool {
        !self.out.has_remaining()
    }

    /// Gives memory back that no answer needs.
    pub fn release(&mut self) {
        self.out.release();
    }

    /// VERSION, with the extensions announced as pairs of name and data.
    pub fn version(&mut self, extensions: &[(&str, &str)]) {
        let len = extensions.iter().map(|(name, data)| 8 + name.len() + data.len()).sum::<usize>();
        self.header(SSH_FXP_VERSION, VERSION, len);
        for (name, data) in extensions {
            self.string(name.as_bytes());
            self.string(data.as_bytes());
        }
    }

    /// STATUS with a message for people.
    pub fn status(&mut self, id: u32, code: StatusCode, message: &str) {
        const LANGUAGE: &[u8] = b"en";
        self.header(SSH_FXP_STATUS, id, 12 + message.len() + LANGUAGE.len());
        self.u32(code as u32);
        self.string(message.as_bytes());
        self.string(LANGUAGE);
    }

    /// HANDLE.
    pub fn handle(&mut self, id: u32, handle: HandleId) {
        self.header(SSH_FXP_HANDLE, id, 12);
        self.string(&handle.to_wire());
    }

    /// DATA: the answer to one READ, at most [`MAX_DATA`] bytes in all.
    pub fn data(&mut self, id: u32, chunks: &[Bytes]) {
        let len = chunks.iter().map(Bytes::len).sum::<usize>();
        debug_assert!(len <= MAX_DATA, "a READ was answered with {len} bytes");
        self.header(SSH_FXP_DATA, id, 4 + len);
        self.u32(len as u32);
        chunks.iter().for_each(|chunk| self.out.put(chunk));
    }

    /// ATTRS.
    pub fn attributes(&mut self, id: u32, attributes: &FileAttributes) {
        self.header(SSH_FXP_ATTRS, id, 32);
        self.out.put(&write_attributes(attributes));
    }

    /// NAME with as many of the entries as fit one packet, at least one; returns how many.
    pub fn names<'a, I>(&mut self, id: u32, entries: I) -> usize
    where
        I: IntoIterator<Item = &'a NameEntry, IntoIter: Clone>,
    {
        // Type, id and count come before the entries.
        const BEFORE: usize = 9;
        let entries = entries.into_iter();
        let (mut count, mut body) = (0, 0);
        for entry in entries.clone() {
            if count > 0 && BEFORE + body + entry.wire_len() > MAX_PACKET {
                break;
            }
            count += 1;
            body += entry.wire_len();
        }
        self.header(SSH_FXP_NAME, id, 4 + body);
        self.u32(count as u32);
        for entry in entries.take(count) {
            self.string(entry.name.as_bytes());
            self.string(entry.longname.as_bytes());
            self.out.put(&write_attributes(&entry.attributes));
        }
        count
    }

    /// NAME with one path and no attributes, as REALPATH wants it.
    pub fn path(&mut self, id: u32, path: &str) {
        self.header(SSH_FXP_NAME, id, 4 + 8 + 2 * path.len() + 4);
        self.u32(1);
        self.string(path.as_bytes());
        self.string(path.as_bytes());
        self.u32(0);
    }

    /// The answer to `limits@openssh.com`. Source: OpenSSH's PROTOCOL, section 4.8.
    pub fn limits(&mut self, id: u32, max_open_handles: u64) {
        self.header(SSH_FXP_EXTENDED_REPLY, id, 32);
        for limit in [MAX_PACKET as u64, MAX_DATA as u64, MAX_DATA as u64, max_open_handles] {
            self.out.put(&limit.to_be_bytes());
        }
    }

    /// EXTENDED_REPLY with this body, made by the extension's own encoder.
    pub fn extended(&mut self, id: u32, body: &[u8]) {
        self.header(SSH_FXP_EXTENDED_REPLY, id, body.len());
        self.out.put(body);
    }

    /// The packet's length, its type and the request's id; `body` bytes follow.
    fn header(&mut self, packet_type: u8, id: u32, body: usize) {
        let [a, b, c, d] = ((5 + body) as u32).to_be_bytes();
        let [e, f, g, h] = id.to_be_bytes();
        self.out.put(&[a, b, c, d, packet_type, e, f, g, h]);
    }

    fn string(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32);
        self.out.put(bytes);
    }

    fn u32(&mut self, value: u32) {
        self.out.put(&value.to_be_bytes());
    }
}
