//! Packets of SFTP, as a client sends them and as a node answers.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use tidegate_sftp::codec::{HandleId, NameEntry, decode};
use tidegate_vfs::{FileAttributes, FileKind};

/// The payload of a WRITE or DATA of OpenSSH's client, in bytes.
pub const PAYLOAD: usize = 32 << 10;

/// `count` WRITEs in order, with `payload` bytes each.
pub fn writes(count: u32, payload: usize) -> BytesMut {
    const SSH_FXP_WRITE: u8 = 6;
    let data = vec![0x5a; payload];
    let mut stream = BytesMut::new();
    for id in 0..count {
        stream.put_u32((1 + 4 + 12 + 8 + 4 + payload) as u32);
        stream.put_u8(SSH_FXP_WRITE);
        stream.put_u32(id);
        stream.put_u32(8);
        stream.put_slice(&HandleId(7).to_wire());
        stream.put_u64(u64::from(id) * payload as u64);
        stream.put_u32(payload as u32);
        stream.put_slice(&data);
    }
    stream
}

/// `count` READs in order of [`PAYLOAD`] bytes each.
pub fn reads(count: u32) -> BytesMut {
    const SSH_FXP_READ: u8 = 5;
    let mut stream = BytesMut::new();
    for id in 0..count {
        stream.put_u32(1 + 4 + 12 + 8 + 4);
        stream.put_u8(SSH_FXP_READ);
        stream.put_u32(id);
        stream.put_u32(8);
        stream.put_slice(&HandleId(7).to_wire());
        stream.put_u64(u64::from(id) * PAYLOAD as u64);
        stream.put_u32(PAYLOAD as u32);
    }
    stream
}

/// Decodes a stream to its end and gives the number of requests.
pub fn decode_all(mut stream: BytesMut) -> u32 {
    let mut requests = 0;
    while let Some(request) = decode(&mut stream).expect("the packets are well formed") {
        black_box(request);
        requests += 1;
    }
    requests
}

/// A page of a listing.
pub fn entries(count: usize) -> Vec<NameEntry> {
    let attributes = FileAttributes {
        kind: FileKind::File,
        size: 4096,
        uid: 1000,
        gid: 1000,
        mode: 0o100_644,
        atime: 1_800_000_000,
        mtime: 1_800_000_000,
    };
    let entry = |n: usize| NameEntry {
        name: format!("file-{n:06}"),
        longname: format!("-rw-r--r--    1 1000     1000         4096 Jan 15 08:00 file-{n:06}"),
        attributes,
    };
    (0..count).map(entry).collect()
}

/// The bytes of an answer to READ, in the pieces in which a store's answer has brought them.
pub fn chunks(length: usize, pieces: usize) -> Vec<Bytes> {
    let whole = Bytes::from(vec![0x5a; length]);
    let step = length.div_ceil(pieces.max(1)).max(1);
    (0..length).step_by(step).map(|from| whole.slice(from..length.min(from + step))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_hold_what_was_asked_for() {
        assert_eq!(decode_all(writes(10, 100)), 10);
        assert_eq!(decode_all(reads(10)), 10);
    }

    #[test]
    fn chunks_are_the_whole() {
        let lengths: Vec<_> = chunks(10, 3).iter().map(Bytes::len).collect();
        assert_eq!(lengths, [4, 4, 2]);
    }
}
