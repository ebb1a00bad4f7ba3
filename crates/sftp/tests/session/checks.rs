//! `check-file`.

use std::sync::Arc;
use std::time::Duration;

use russh_sftp::protocol::{self as oracle, OpenFlags, Packet, StatusCode};
use tidegate_store::faulty::{Call, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::MemoryObjectStore;
use tidegate_store::{Checksum, TenantLimits, md5};
use tokio::time::Instant;

use crate::client::{Client, Node};
use crate::extensions::{extended, string};

const MIB: usize = 1 << 20;

/// Algorithms, offset, length and block size.
type Wanted<'a> = (&'a str, u64, u64, u32);

fn request(file: &str, (algorithms, offset, len, block): Wanted<'_>) -> Vec<u8> {
    let numbers = [&offset.to_be_bytes()[..], &len.to_be_bytes(), &block.to_be_bytes()].concat();
    [string(file.as_bytes()), string(algorithms.as_bytes()), numbers].concat()
}

/// The algorithm that was used, and the checksums one behind the other.
fn sums(answer: Packet) -> Result<(String, Vec<u8>), StatusCode> {
    let body = match answer {
        Packet::ExtendedReply(reply) => reply.data,
        Packet::Status(status) => return Err(status.status_code),
        other => panic!("{other:?}"),
    };
    let rest = body.strip_prefix(&string(b"check-file")[..]).expect("the name of the extension");
    let (len, rest) = rest.split_first_chunk::<4>().unwrap();
    let (name, sums) = rest.split_at(u32::from_be_bytes(*len) as usize);
    Ok((String::from_utf8(name.to_vec()).unwrap(), sums.to_vec()))
}

async fn check(client: &mut Client, path: &str, wanted: Wanted<'_>) -> Result<(String, Vec<u8>), StatusCode> {
    sums(extended(client, "check-file-name", request(path, wanted)).await)
}

async fn crc(client: &mut Client, path: &str, offset: u64, len: u64, block: u32) -> Vec<u8> {
    check(client, path, ("crc64nvme", offset, len, block)).await.unwrap().1
}

fn of(data: &[u8]) -> [u8; 8] {
    Checksum::of(data).to_be_bytes()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn checksums_are_those_that_were_published() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/abc", b"abc").await;
    // RFC 1321, section A.5; FIPS 180-2, appendices; "abc" as CRC-32/ISO-HDLC.
    for (names, used, expected) in [
        ("md5", "md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("sha1", "sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha256", "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("crc32", "crc32", "352441c2"),
        ("tiger,sha224,md5", "sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
    ] {
        let (algorithm, sum) = check(&mut client, "/abc", (names, 0, 0, 0)).await.unwrap();
        assert_eq!((algorithm.as_str(), hex(&sum).as_str()), (used, expected), "{names}");
    }
    let handle = client.open("/abc", OpenFlags::READ).await;
    // paramiko asks by the name that is announced.
    for name in ["check-file-handle", "check-file"] {
        let (_, sum) = sums(extended(&mut client, name, request(&handle, ("md5", 1, 1, 0))).await).unwrap();
        assert_eq!(hex(&sum), "92eb5ffee6ae2fec3ad71c777531578f", "of the b alone");
    }
}

#[tokio::test]
async fn each_block_has_its_checksum() {
    let node = Node::new();
    let mut client = node.session().await;
    let data = pattern(600_000);
    client.put("/f", &data).await;
    for (offset, len, block) in [
        (0, 0, 0),
        (0, 600_000, 600_000),
        (0, 0, 256_000),
        (1, 0, 256),
        (300, 1_000, 300),
        (599_999, 0, 256),
        (5, 100, 256),
        (0, u64::MAX, 300_000),
        (600_000, 0, 256),
        (u64::MAX, u64::MAX, 256),
    ] {
        let start = offset.min(600_000) as usize;
        let end = if len == 0 { 600_000 } else { (start as u64).saturating_add(len).min(600_000) as usize };
        let range = &data[start..end];
        let step = if block == 0 { range.len() } else { block as usize };
        let expected: Vec<u8> = range.chunks(step).flat_map(of).collect();
        assert_eq!(crc(&mut client, "/f", offset, len, block).await, expected, "{offset} {len} {block}");
    }
    client.put("/empty", b"").await;
    assert_eq!(crc(&mut client, "/empty", 0, 0, 0).await, of(b""), "one of nothing");
    assert_eq!(crc(&mut client, "/empty", 0, 0, 256).await, b"", "no block, no checksum");
}

#[tokio::test]
async fn what_can_not_be_answered_is_refused() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/f", &pattern(9 * MIB)).await;
    for (path, wanted, code) in [
        ("/f", ("tiger,MD5", 0, 0, 0), StatusCode::Failure),
        ("/f", ("md5", 0, 0, 255), StatusCode::Failure),
        ("/f", ("md5", 0, 0, 256), StatusCode::Failure),
        ("/missing", ("md5", 0, 0, 0), StatusCode::NoSuchFile),
        ("/", ("md5", 0, 0, 0), StatusCode::Failure),
    ] {
        assert_eq!(check(&mut client, path, wanted).await, Err(code), "{path} {wanted:?}");
    }
    let closed = extended(&mut client, "check-file-handle", request("ffffffff", ("md5", 0, 0, 0))).await;
    assert_eq!(sums(closed), Err(StatusCode::Failure));
    let handle = client.open("/new", OpenFlags::WRITE | OpenFlags::CREATE).await;
    let write_only = extended(&mut client, "check-file-handle", request(&handle, ("md5", 0, 0, 0))).await;
    assert_eq!(sums(write_only), Err(StatusCode::PermissionDenied));
}

#[tokio::test]
async fn a_file_that_is_being_changed_is_checked_as_it_is_then() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/f", b"0123456789").await;
    let handle = client.open("/f", OpenFlags::READ | OpenFlags::WRITE).await;
    client.send_write(&handle, 4, b"ab").await;
    client.ok().await;
    let id = client.id();
    let data = request(&handle, ("crc64nvme", 0, 0, 0));
    client.send(oracle::Extended { id, request: "check-file-handle".to_owned(), data }).await;
    client.send_write(&handle, 0, b"later").await;
    let (mut sum, mut written) = (None, false);
    for _ in 0..2 {
        match client.receive().await {
            Packet::Status(status) => written = status.status_code == StatusCode::Ok,
            answer => sum = Some(sums(answer).unwrap().1),
        }
    }
    assert!(written);
    assert_eq!(sum.unwrap(), of(b"0123ab6789"));
    assert_eq!(crc(&mut client, "/f", 0, 0, 0).await, of(b"laterb6789"), "and by its name, of the same session");
}

#[tokio::test]
async fn what_the_store_keeps_is_told_without_reading() {
    let calls = FaultyObjectStore::new(Arc::new(MemoryObjectStore::new()), FaultPlan::none());
    let node = Node::over(Arc::new(calls.clone()));
    let mut client = node.session().await;
    let data = pattern(20 * MIB);
    client.put("/f", &data).await;
    let handle = client.open("/f", OpenFlags::READ).await;
    let before = calls.calls(Call::Get);
    for wanted in [("crc64nvme", 0, 0, 0), ("tiger,crc64nvme,md5", 0, data.len() as u64, 1 << 30)] {
        let (_, sum) = sums(extended(&mut client, "check-file-handle", request(&handle, wanted)).await).unwrap();
        assert_eq!(sum, of(&data));
    }
    assert_eq!(calls.calls(Call::Get), before);
    assert_eq!(crc(&mut client, "/f", 1, 0, 0).await, of(&data[1..]), "a part of it is read");
    assert!(calls.calls(Call::Get) > before + 1);
}

#[tokio::test]
async fn an_md5_that_the_store_has_is_told_without_reading_while_the_file_is_as_it_was() {
    let calls = FaultyObjectStore::new(Arc::new(MemoryObjectStore::new().with_md5s()), FaultPlan::none());
    let node = Node::over(Arc::new(calls.clone()));
    let mut client = node.session().await;
    // One in one request, one in parts.
    let (whole, parts) = (pattern(MIB), pattern(20 * MIB));
    client.put("/whole", &whole).await;
    client.put("/parts", &parts).await;
    let handle = client.open("/whole", OpenFlags::READ).await;
    let before = calls.calls(Call::Get);
    for (wanted, sum) in [("md5", md5([&whole[..]]).to_vec()), ("crc64nvme", of(&whole).to_vec())] {
        let (_, told) =
            sums(extended(&mut client, "check-file-handle", request(&handle, (wanted, 0, 0, 0))).await).unwrap();
        assert_eq!(told, sum, "{wanted}");
    }
    assert_eq!(calls.calls(Call::Get), before);
    let (_, part) = check(&mut client, "/whole", ("md5", 1, 0, 0)).await.unwrap();
    assert_eq!(part, md5([&whole[1..]]));
    let (_, read) = check(&mut client, "/parts", ("md5", 0, 0, 0)).await.unwrap();
    assert_eq!(read, md5([&parts[..]]));
    assert!(calls.calls(Call::Get) > before + 2, "what was stored in parts is read");

    let handle = client.open("/whole", OpenFlags::READ | OpenFlags::WRITE).await;
    client.send_write(&handle, 0, b"changed").await;
    client.ok().await;
    let (_, told) = sums(extended(&mut client, "check-file-handle", request(&handle, ("md5", 0, 0, 0))).await).unwrap();
    assert_eq!(told, md5([b"changed", &whole[7..]]));
}

#[tokio::test(start_paused = true)]
async fn what_is_read_for_a_checksum_takes_the_tenants_bandwidth() {
    let node = Node::new();
    let limits = TenantLimits { max_bandwidth_out: (MIB as u64).try_into().ok(), ..TenantLimits::default() };
    let mut client = node.session_of("acme", limits).await;
    client.put("/f", &pattern(4 * MIB)).await;
    let began = Instant::now();
    check(&mut client, "/f", ("md5", 0, 0, 0)).await.unwrap();
    let took = began.elapsed();
    assert!((Duration::from_millis(3_900)..Duration::from_millis(4_200)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_holds_up_nothing_else_and_ends_with_its_session_or_its_time() {
    let node = Node::new();
    let limits = TenantLimits { max_bandwidth_out: (64 << 10).try_into().ok(), ..TenantLimits::default() };
    // At 64 KiB a second it would take 17 minutes.
    let mut client = node.session_of("acme", limits.clone()).await;
    client.put("/f", &pattern(64 * MIB)).await;
    client.put("/small", b"x").await;
    let began = Instant::now();
    let id = client.id();
    let data = request("/f", ("md5", 0, 0, 0));
    client.send(oracle::Extended { id, request: "check-file-name".to_owned(), data }).await;
    assert_eq!(client.size_of("/small").await, Ok(1));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(node.throttled.any(), "the session is not idle");
    assert_eq!(sums(client.receive().await), Err(StatusCode::Failure));
    assert_eq!(began.elapsed().as_secs() / 60, 15);

    let began = Instant::now();
    let data = request("/f", ("md5", 0, 0, 0));
    let id = client.id();
    client.send(oracle::Extended { id, request: "check-file-name".to_owned(), data }).await;
    assert_eq!(client.size_of("/small").await, Ok(1));
    client.gone.cancel();
    assert_eq!(sums(client.receive().await), Err(StatusCode::Failure));
    client.end().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
