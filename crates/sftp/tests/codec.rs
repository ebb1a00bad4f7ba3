//! Our codec against one that we did not write: the packets of crate russh-sftp.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;
use russh_sftp::protocol::{self as oracle, Packet};
use tidegate_sftp::codec::{
    HandleId, MAX_PACKET, Malformed, NameEntry, OpenFlags, Replies, Request, StatusCode, decode,
};
use tidegate_vfs::{FileAttributes, FileKind, SetAttributes};

fn decode_packet(packet: impl Into<Packet>) -> Request {
    let bytes = Bytes::try_from(packet.into()).unwrap();
    let mut input = BytesMut::from(bytes.as_ref());
    let request = decode(&mut input).unwrap().expect("a whole packet");
    assert!(input.is_empty(), "the packet was taken whole");
    request
}

fn oracle_packet(replies: &mut Replies) -> Packet {
    let bytes = replies.copy_to_bytes(replies.remaining());
    let len = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(len as usize, bytes.len() - 4, "the length field");
    let mut body = bytes.slice(4..);
    Packet::try_from(&mut body).unwrap()
}

fn handle_text(handle: HandleId) -> String {
    String::from_utf8(handle.to_wire().to_vec()).unwrap()
}

proptest! {
    #[test]
    fn requests_mean_what_the_oracle_meant(
        id: u32, path in "\\PC{0,40}", other in "\\PC{0,40}", handle in 1_u32.., offset: u64, len: u32,
        data in prop::collection::vec(any::<u8>(), 0..200), mode in prop::option::of(any::<u32>()),
        times in prop::option::of(any::<(u32, u32)>()), owner in prop::option::of(any::<(u32, u32)>()),
        size in prop::option::of(any::<u64>()), flags in 0_u32..64,
    ) {
        let handle = HandleId(handle);
        let attrs = oracle::FileAttributes {
            size, uid: owner.map(|o| o.0), gid: owner.map(|o| o.1), permissions: mode,
            atime: times.map(|t| t.0), mtime: times.map(|t| t.1), ..oracle::FileAttributes::empty()
        };
        let attributes = SetAttributes { size, owner, mode, times };
        let bytes = Bytes::copy_from_slice(path.as_bytes());
        prop_assert_eq!(
            decode_packet(oracle::Open {
                id, filename: path.clone(), pflags: oracle::OpenFlags::from_bits_retain(flags), attrs: attrs.clone(),
            }),
            Request::Open { id, path: bytes.clone(), flags: OpenFlags(flags), attributes }
        );
        prop_assert_eq!(
            decode_packet(oracle::Write { id, handle: handle_text(handle), offset, data: data.clone() }),
            Request::Write { id, handle, offset, data: data.into() }
        );
        prop_assert_eq!(
            decode_packet(oracle::Read { id, handle: handle_text(handle), offset, len }),
            Request::Read { id, handle, offset, len }
        );
        prop_assert_eq!(
            decode_packet(oracle::SetStat { id, path: path.clone(), attrs: attrs.clone() }),
            Request::Setstat { id, path: bytes.clone(), attributes }
        );
        prop_assert_eq!(
            decode_packet(oracle::FSetStat { id, handle: handle_text(handle), attrs }),
            Request::Fsetstat { id, handle, attributes }
        );
        prop_assert_eq!(
            decode_packet(oracle::Rename { id, oldpath: path.clone(), newpath: other.clone() }),
            Request::Rename { id, from: bytes.clone(), to: Bytes::copy_from_slice(other.as_bytes()) }
        );
        prop_assert_eq!(decode_packet(oracle::Stat { id, path }), Request::Stat { id, path: bytes });
        prop_assert_eq!(
            decode_packet(oracle::Close { id, handle: handle_text(handle) }),
            Request::Close { id, handle }
        );
    }

    #[test]
    fn answers_mean_the_same_to_the_oracle(
        id: u32, handle: u32, message in "\\PC{0,60}", size: u64, mode: u32, uid: u32, gid: u32, mtime: u32,
        data in prop::collection::vec(any::<u8>(), 0..4000), cut in 0_usize..4000,
        names in prop::collection::vec("\\PC{1,30}", 1..20),
    ) {
        let attributes = FileAttributes {
            kind: FileKind::File, size, uid, gid, mode, atime: u64::from(mtime), mtime: u64::from(mtime),
        };
        let mut replies = Replies::default();
        replies.handle(id, HandleId(handle));
        let Packet::Handle(answer) = oracle_packet(&mut replies) else { panic!("no HANDLE") };
        prop_assert_eq!((answer.id, HandleId::from_wire(answer.handle.as_bytes())), (id, HandleId(handle)));

        replies.status(id, StatusCode::NoSuchFile, &message);
        let Packet::Status(answer) = oracle_packet(&mut replies) else { panic!("no STATUS") };
        prop_assert_eq!((answer.id, answer.status_code), (id, oracle::StatusCode::NoSuchFile));
        prop_assert_eq!(answer.error_message, message);

        let cut = cut.min(data.len());
        replies.data(id, &[Bytes::copy_from_slice(&data[..cut]), Bytes::copy_from_slice(&data[cut..])]);
        let Packet::Data(answer) = oracle_packet(&mut replies) else { panic!("no DATA") };
        prop_assert_eq!((answer.id, answer.data), (id, data));

        replies.attributes(id, &attributes);
        let Packet::Attrs(answer) = oracle_packet(&mut replies) else { panic!("no ATTRS") };
        prop_assert_eq!(answer.attrs.size, Some(size));
        prop_assert_eq!((answer.attrs.uid, answer.attrs.gid), (Some(uid), Some(gid)));
        prop_assert_eq!((answer.attrs.permissions, answer.attrs.mtime), (Some(mode), Some(mtime)));

        let entries: Vec<_> = names.iter()
            .map(|name| NameEntry { name: name.clone(), longname: format!("- {name}"), attributes })
            .collect();
        prop_assert_eq!(replies.names(id, &entries), names.len());
        let Packet::Name(answer) = oracle_packet(&mut replies) else { panic!("no NAME") };
        let listed: Vec<_> = answer.files.into_iter().map(|file| file.filename).collect();
        prop_assert_eq!(listed, names);
    }

    // Whatever arrives, and however it is cut: no panic, no packet that was not announced, and
    // the same requests as if it had arrived at once.
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
        let all = |input: &mut BytesMut| {
            let mut requests = Vec::new();
            loop {
                match decode(input) {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break (requests, None),
                    Err(error) => break (requests, Some(error)),
                }
            }
        };
        let whole = all(&mut BytesMut::from(bytes.as_slice()));
        let cut = cut.min(bytes.len());
        let mut input = BytesMut::from(&bytes[..cut]);
        let (mut requests, mut error) = all(&mut input);
        if error.is_none() {
            input.extend_from_slice(&bytes[cut..]);
            let (more, end) = all(&mut input);
            requests.extend(more);
            error = end;
        }
        prop_assert_eq!((requests, error), whole);
    }
}

#[test]
fn extensions_are_told_apart() {
    let two = |from: &str, to: &str| {
        let mut data = Vec::new();
        for text in [from, to] {
            data.extend_from_slice(&(text.len() as u32).to_be_bytes());
            data.extend_from_slice(text.as_bytes());
        }
        data
    };
    let request = |name: &str, data: Vec<u8>| decode_packet(oracle::Extended { id: 4, request: name.to_owned(), data });
    assert_eq!(
        request("posix-rename@openssh.com", two("/a", "/b")),
        Request::PosixRename { id: 4, from: "/a".into(), to: "/b".into() }
    );
    assert_eq!(request("limits@openssh.com", Vec::new()), Request::Limits { id: 4 });
    assert_eq!(request("nobody@example.org", vec![1]), Request::Extended { id: 4, name: "nobody@example.org".into() });
}

#[test]
fn lengths_are_checked_before_the_packet_arrives() {
    for len in [0, MAX_PACKET as u32 + 1, u32::MAX] {
        assert_eq!(decode(&mut BytesMut::from(&len.to_be_bytes()[..])), Err(Malformed::Length(len)));
    }
    assert_eq!(decode(&mut BytesMut::from(&(MAX_PACKET as u32).to_be_bytes()[..])), Ok(None));
}

#[test]
fn a_field_past_the_end_of_its_packet_is_refused() {
    // A STAT whose path announces ten bytes and brings three.
    let packet = [&[0, 0, 0, 12, 17, 0, 0, 0, 1, 0, 0, 0, 10][..], b"abc"].concat();
    assert_eq!(decode(&mut BytesMut::from(&packet[..])), Err(Malformed::Truncated));
    // Attributes that announce four billion extended pairs.
    let setstat = [&[0, 0, 0, 18, 9, 0, 0, 0, 1, 0, 0, 0, 1, b'f', 0x80, 0, 0, 0, 255, 255, 255, 255][..]].concat();
    assert_eq!(decode(&mut BytesMut::from(&setstat[..])), Err(Malformed::Truncated));
}

#[test]
fn names_fill_a_packet_and_no_more() {
    let attributes =
        FileAttributes { kind: FileKind::File, size: 0, uid: 0, gid: 0, mode: 0o100_644, atime: 0, mtime: 0 };
    let entry = NameEntry { name: "n".repeat(255), longname: "l".repeat(320), attributes };
    let entries = vec![entry; 1000];
    let mut replies = Replies::default();
    let sent = replies.names(1, &entries);
    assert!(sent > 300 && sent < 1000, "{sent} entries");
    assert!(replies.len() - 4 <= MAX_PACKET);
    assert!(replies.len() - 4 + 255 + 320 + 44 > MAX_PACKET, "the next one would not have fitted");
    let Packet::Name(answer) = oracle_packet(&mut replies) else { panic!("no NAME") };
    assert_eq!(answer.files.len(), sent);
}

#[test]
fn times_behind_the_protocols_range_are_shown_as_its_last_second() {
    let attributes =
        FileAttributes { kind: FileKind::File, size: 0, uid: 0, gid: 0, mode: 0, atime: 1, mtime: 1 << 40 };
    let mut replies = Replies::default();
    replies.attributes(1, &attributes);
    let Packet::Attrs(answer) = oracle_packet(&mut replies) else { panic!("no ATTRS") };
    assert_eq!((answer.attrs.atime, answer.attrs.mtime), (Some(1), Some(u32::MAX)));
}
