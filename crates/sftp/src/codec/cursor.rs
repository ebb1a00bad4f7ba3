//! Reads the primitive types of a packet, never past its end.

use bytes::{Buf, Bytes};

use super::Malformed;

/// The unread rest of one packet's body.
#[derive(Debug)]
pub(super) struct Cursor(Bytes);

impl Cursor {
    pub(super) fn new(body: Bytes) -> Self {
        Self(body)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed::Truncated)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed::Truncated)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed::Truncated)
    }

    /// A length and that many bytes, as a slice of the packet.
    pub(super) fn string(&mut self) -> Result<Bytes, Malformed> {
        let len = self.u32()? as usize;
        if len > self.0.len() {
            return Err(Malformed::Truncated);
        }
        Ok(self.0.split_to(len))
    }

    /// What is left, for an extension to parse.
    pub(super) fn rest(self) -> Bytes {
        self.0
    }
}
