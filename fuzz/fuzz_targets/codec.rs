//! The decoder of SFTP packets on any bytes, in any pieces: no panic, no allocation beyond the
//! input, and the same requests however the bytes are cut.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tidegate_sftp::codec::{Malformed, Request, decode};

// The last byte says how long the pieces are.
fuzz_target!(|input: &[u8]| {
    let Some((step, data)) = input.split_last() else { return };
    let whole = decode_all(data, data.len().max(1));
    let pieces = decode_all(data, usize::from(*step).max(1));
    assert_eq!(whole, pieces, "the cut of the stream changed what was read");
});

/// The requests of a stream that arrives `step` bytes at a time, up to its first fault.
fn decode_all(data: &[u8], step: usize) -> (Vec<Request>, Option<Malformed>) {
    let mut input = BytesMut::new();
    let mut requests = Vec::new();
    for piece in data.chunks(step) {
        input.extend_from_slice(piece);
        loop {
            match decode(&mut input) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(fault) => return (requests, Some(fault)),
            }
        }
    }
    (requests, None)
}
