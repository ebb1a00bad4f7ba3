//! Limits of a tenant and of a session. The clock stands still while anything can be done, so times
//! are exact but for the milliseconds that timers are rounded up to.

use std::time::Duration;

use bytesize::ByteSize;
use russh_sftp::protocol::{self as oracle, OpenFlags, Packet, StatusCode};
use tidegate_sftp::SessionEnd;
use tidegate_store::TenantLimits;
use tokio::time::Instant;

use crate::client::{Client, NEW, Node};

const MIB: usize = 1 << 20;

/// At most this many bytes per second in and out; 0 for no limit.
fn bandwidth(input: usize, output: usize) -> TenantLimits {
    TenantLimits {
        max_bandwidth_in: (input as u64).try_into().ok(),
        max_bandwidth_out: (output as u64).try_into().ok(),
        ..TenantLimits::default()
    }
}

fn handles(max: u32) -> TenantLimits {
    TenantLimits { max_open_handles: Some(max), ..TenantLimits::default() }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Reads a file with several READs of `len` bytes under way, and a few behind its end.
async fn get(client: &mut Client, path: &str, size: usize, len: u32) -> Vec<u8> {
    let handle = client.open(path, OpenFlags::READ).await;
    let mut data = Vec::new();
    let (mut sent, mut answered) = (0, 0);
    let all = size.div_ceil(len as usize) as u64 + 16;
    while answered < all {
        while sent < all && sent < answered + 32 {
            client.send_read(&handle, sent * u64::from(len), len).await;
            sent += 1;
        }
        match client.receive().await {
            Packet::Data(answer) => data.extend_from_slice(&answer.data),
            Packet::Status(status) => assert_eq!(status.status_code, StatusCode::Eof),
            other => panic!("neither DATA nor STATUS but {other:?}"),
        }
        answered += 1;
    }
    client.send_close(&handle).await;
    client.ok().await;
    data
}

#[track_caller]
fn assert_took(began: Instant, seconds: f64) {
    let took = began.elapsed().as_secs_f64();
    assert!((seconds - 0.001..seconds + 0.1).contains(&took), "{took} s in place of {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn an_upload_takes_the_time_that_its_tenants_bandwidth_makes() {
    let node = Node::new();
    let mut client = node.session_of("acme", bandwidth(MIB, 0)).await;
    let data = pattern(4 * MIB);
    let began = Instant::now();
    client.put("/file", &data).await;
    assert_took(began, 4.0);
    let waited = node.metric("tidegate_sftp_throttled_seconds_total", "in");
    assert!((3.9..=4.1).contains(&waited), "{waited}");
    assert!(get(&mut client, "/file", data.len(), 32_768).await == data, "the bytes differ");
    assert_took(began, 4.0);
    assert_eq!(node.metric("tidegate_sftp_throttled_seconds_total", "out"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_download_takes_the_time_that_its_tenants_bandwidth_makes() {
    let node = Node::new();
    let mut client = node.session_of("acme", bandwidth(0, MIB)).await;
    let data = pattern(4 * MIB);
    let began = Instant::now();
    client.put("/file", &data).await;
    assert_took(began, 0.0);
    // READs behind the end of the file cost nothing.
    assert!(get(&mut client, "/file", data.len(), 255 * 1024).await == data, "the bytes differ");
    assert_took(began, 4.0);
    let waited = node.metric("tidegate_sftp_throttled_seconds_total", "out");
    assert!((3.9..=4.1).contains(&waited), "{waited}");
    assert_eq!(node.metric("tidegate_sftp_throttled_seconds_total", "in"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_one_tenant_share_its_bandwidth_and_others_do_not_notice() {
    let node = Node::new();
    let mut one = node.session_of("acme", bandwidth(MIB, MIB)).await;
    let mut two = node.session_of("acme", bandwidth(MIB, MIB)).await;
    let mut other = node.session_of("other", TenantLimits::default()).await;
    let data = pattern(2 * MIB);
    let began = Instant::now();
    // Whose turn it is at the end is a matter of one quantum.
    let half = async |client: &mut Client, path: &str| {
        client.put(path, &data).await;
        let took = began.elapsed().as_secs_f64();
        assert!((3.9..4.1).contains(&took), "{took}");
    };
    let unlimited = async {
        for round in 0..4 {
            other.put(&format!("/{round}"), &data).await;
            assert!(get(&mut other, &format!("/{round}"), data.len(), 255 * 1024).await == data, "the bytes differ");
        }
        assert_took(began, 0.0);
    };
    tokio::join!(half(&mut one, "/one"), half(&mut two, "/two"), unlimited);

    // The same for downloads, with requests of different sizes: they share by bytes.
    let began = Instant::now();
    let half = async |client: &mut Client, path: &str, len: u32| {
        assert!(get(client, path, data.len(), len).await == data, "the bytes differ");
        let took = began.elapsed().as_secs_f64();
        assert!((3.7..4.1).contains(&took), "{took} with requests of {len} bytes");
    };
    tokio::join!(half(&mut one, "/one", 32 * 1024), half(&mut two, "/two", 255 * 1024));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_moves_both_ways_has_both_limits() {
    let node = Node::new();
    let mut client = node.session_of("acme", bandwidth(0, 0)).await;
    let data = pattern(2 * MIB);
    client.put("/old", &data).await;
    client.end().await;

    let mut client = node.session_of("acme", bandwidth(2 * MIB, MIB)).await;
    let began = Instant::now();
    let (new, old) = (client.open("/new", NEW).await, client.open("/old", OpenFlags::READ).await);
    let mut read = Vec::new();
    for (n, chunk) in data.chunks(32_768).enumerate() {
        let at = n as u64 * 32_768;
        client.send_read(&old, at, 32_768).await;
        client.send_write(&new, at, chunk).await;
        for _ in 0..2 {
            match client.receive().await {
                Packet::Data(answer) => read.extend_from_slice(&answer.data),
                Packet::Status(status) => assert_eq!(status.status_code, StatusCode::Ok),
                other => panic!("neither DATA nor STATUS but {other:?}"),
            }
        }
    }
    assert!(read == data, "the bytes differ");
    assert_took(began, 2.0);
    client.send_close(&new).await;
    client.ok().await;
    assert_eq!(client.size_of("/new").await, Ok(data.len() as u64));
}

#[tokio::test(start_paused = true)]
async fn a_session_has_a_limit_of_its_own_below_its_tenants() {
    let mut node = Node::new();
    node.config.max_bandwidth_in = Some(ByteSize::mib(1));
    let mut one = node.session_of("acme", bandwidth(8 * MIB, 0)).await;
    let mut two = node.session_of("acme", bandwidth(8 * MIB, 0)).await;
    let data = pattern(2 * MIB);
    let began = Instant::now();
    tokio::join!(one.put("/one", &data), two.put("/two", &data));
    assert_took(began, 2.0);
}

#[tokio::test(start_paused = true)]
async fn nobody_gains_by_many_sessions_one_after_the_other() {
    let node = Node::new();
    let began = Instant::now();
    for _ in 0..8 {
        let mut client = node.session_of("acme", bandwidth(MIB, 0)).await;
        client.put("/file", &pattern(MIB / 2)).await;
        client.end().await;
    }
    assert_took(began, 4.0);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_was_changed_holds_once_a_session_begins_under_it() {
    let node = Node::new();
    let mut client = node.session_of("acme", bandwidth(MIB, 0)).await;
    let data = pattern(MIB);
    let began = Instant::now();
    client.put("/file", &data).await;
    assert_took(began, 1.0);
    let mut later = node.session_of("acme", bandwidth(2 * MIB, 0)).await;
    later.put("/file", &data).await;
    assert_took(began, 1.5);
    client.put("/file", &data).await;
    assert_took(began, 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_for_bandwidth_says_so_and_ends_at_the_deadline() {
    let node = Node::new();
    let mut writer = node.session_of("acme", bandwidth(64 << 10, 0)).await;
    let mut reader = node.session_of("other", bandwidth(0, 64 << 10)).await;
    reader.put("/file", &pattern(MIB)).await;
    let handle = reader.open("/file", OpenFlags::READ).await;
    assert!(!node.throttled.any(), "nobody waits");
    reader.send_read(&handle, 0, 255 * 1024).await;
    // Also while the client is silent.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(node.throttled.any(), "a READ waits");
    assert!(matches!(reader.receive().await, Packet::Data(data) if data.data.len() == 255 * 1024));
    assert!(!node.throttled.any(), "it was answered");

    let handle = writer.open("/file", NEW).await;
    writer.send_write(&handle, 0, &pattern(255 * 1024)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(node.throttled.any(), "a WRITE waits");
    let began = Instant::now();
    node.shutdown.drain.cancel();
    node.shutdown.deadline.cancel();
    assert!(matches!(writer.session.await.unwrap().end, SessionEnd::DeadlineReached));
    assert!(matches!(reader.session.await.unwrap().end, SessionEnd::DeadlineReached));
    assert_took(began, 0.0);
    assert!(!node.throttled.any(), "nothing is left counted");
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_an_upload_that_waits_for_bandwidth_finish() {
    let node = Node::new();
    let mut client = node.session_of("acme", bandwidth(64 << 10, 0)).await;
    let handle = client.open("/file", NEW).await;
    let began = Instant::now();
    client.send_write(&handle, 0, &pattern(255 * 1024)).await;
    client.send_close(&handle).await;
    node.shutdown.drain.cancel();
    client.ok().await;
    client.ok().await;
    assert_took(began, 255.0 / 64.0);
    assert!(matches!(client.session.await.unwrap().end, SessionEnd::Drained));
}

#[tokio::test]
async fn handles_over_a_tenants_limit_are_refused_until_one_is_closed() {
    let node = Node::new();
    let mut one = node.session_of("acme", handles(2)).await;
    let mut two = node.session_of("acme", handles(2)).await;
    let mut other = node.session_of("other", handles(2)).await;
    let file = one.open("/file", NEW).await;
    // What can't be opened gives its place back.
    one.send_open("/missing", OpenFlags::READ).await;
    assert_eq!(one.status().await.1, StatusCode::NoSuchFile);
    let id = two.id();
    two.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
    let directory = two.handle().await;

    for client in [&mut one, &mut two] {
        client.send_open("/another", NEW).await;
        match client.receive().await {
            Packet::Status(status) => {
                assert_eq!(status.status_code, StatusCode::Failure);
                let message = "Too many files are open in all sessions of this account; close some first";
                assert_eq!(status.error_message, message);
            }
            other => panic!("no STATUS but {other:?}"),
        }
    }
    assert_eq!(node.metric("tidegate_sftp_refused_handles_total", "tenant"), 2.0);
    other.open("/file", NEW).await;

    two.send_close(&directory).await;
    two.ok().await;
    one.open("/another", NEW).await;
    two.send_open("/third", NEW).await;
    assert_eq!(two.status().await.1, StatusCode::Failure, "all places are taken");
    // A session's end gives back what it had open.
    one.send_close(&file).await;
    one.ok().await;
    one.end().await;
    two.open("/third", NEW).await;
    two.open("/fourth", NEW).await;
}

#[tokio::test]
async fn the_smaller_limit_on_handles_is_announced() {
    let node = Node::new();
    for (limits, announced) in [(TenantLimits::default(), 256), (handles(7), 7), (handles(1000), 256)] {
        let mut client = node.session_of("acme", limits).await;
        let id = client.id();
        client.send(oracle::Extended { id, request: "limits@openssh.com".to_owned(), data: Vec::new() }).await;
        match client.receive().await {
            Packet::ExtendedReply(reply) => assert_eq!(reply.data[24..32], u64::to_be_bytes(announced)),
            other => panic!("no EXTENDED_REPLY but {other:?}"),
        }
        client.end().await;
    }
}
