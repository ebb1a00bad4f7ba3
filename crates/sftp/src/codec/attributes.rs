//! The ATTRS structure. Source: draft-ietf-secsh-filexfer-02, section 5.

use bytes::BufMut;
use tidegate_vfs::{FileAttributes, SetAttributes};

use super::Malformed;
use super::cursor::Cursor;

const SIZE: u32 = 0x0000_0001;
const UIDGID: u32 = 0x0000_0002;
const PERMISSIONS: u32 = 0x0000_0004;
const ACMODTIME: u32 = 0x0000_0008;
const EXTENDED: u32 = 0x8000_0000;

/// Attributes as a client sent them: only what its flags announced.
pub type RawAttributes = SetAttributes;

/// Reads an ATTRS structure; extended pairs are passed over.
pub(super) fn read_attributes(cursor: &mut Cursor) -> Result<RawAttributes, Malformed> {
    let flags = cursor.u32()?;
    let mut attributes = SetAttributes::default();
    if flags & SIZE != 0 {
        attributes.size = Some(cursor.u64()?);
    }
    if flags & UIDGID != 0 {
        attributes.owner = Some((cursor.u32()?, cursor.u32()?));
    }
    if flags & PERMISSIONS != 0 {
        attributes.mode = Some(cursor.u32()?);
    }
    if flags & ACMODTIME != 0 {
        attributes.times = Some((cursor.u32()?, cursor.u32()?));
    }
    if flags & EXTENDED != 0 {
        // Each pair takes at least 8 bytes of the packet, so the loop ends with the packet at
        // the latest, whatever the count says.
        for _ in 0..cursor.u32()? {
            cursor.string()?;
            cursor.string()?;
        }
    }
    Ok(attributes)
}

/// The ATTRS structure of a file. Times behind 2106 are shown as the last second that the protocol's
/// 32 bits can hold.
pub(super) fn write_attributes(attributes: &FileAttributes) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut out = bytes.as_mut_slice();
    out.put_u32(SIZE | UIDGID | PERMISSIONS | ACMODTIME);
    out.put_u64(attributes.size);
    out.put_u32(attributes.uid);
    out.put_u32(attributes.gid);
    out.put_u32(attributes.mode);
    out.put_u32(u32::try_from(attributes.atime).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(attributes.mtime).unwrap_or(u32::MAX));
    bytes
}
