//! `copy-data`.

use std::sync::Arc;
use std::time::Duration;

use russh_sftp::protocol::{self as oracle, OpenFlags, Packet, StatusCode};
use tidegate_store::TenantLimits;
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::MemoryObjectStore;
use tokio::time::Instant;

use crate::client::{Client, NEW, Node};
use crate::extensions::string;

const READ_WRITE: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);

/// Sends a request for `len` bytes (0 for all) from `offset` of one handle, to `at` of another.
async fn send_copy(client: &mut Client, from: &str, (offset, len): (u64, u64), to: &str, at: u64) -> u32 {
    let id = client.id();
    let (offset, len, at) = (offset.to_be_bytes(), len.to_be_bytes(), at.to_be_bytes());
    let data = [string(from.as_bytes()), offset.to_vec(), len.to_vec(), string(to.as_bytes()), at.to_vec()].concat();
    client.send(oracle::Extended { id, request: "copy-data".to_owned(), data }).await;
    id
}

async fn copy(client: &mut Client, from: &str, range: (u64, u64), to: &str, at: u64) -> StatusCode {
    let id = send_copy(client, from, range, to, at).await;
    let (answered, code) = client.status().await;
    assert_eq!(answered, id);
    code
}

async fn close(client: &mut Client, handle: &str) -> StatusCode {
    client.send_close(handle).await;
    client.status().await.1
}

async fn content(client: &mut Client, path: &str) -> Vec<u8> {
    let (handle, mut all) = (client.open(path, OpenFlags::READ).await, Vec::new());
    loop {
        client.send_read(&handle, all.len() as u64, 200_000).await;
        match client.receive().await {
            Packet::Data(data) => all.extend(data.data),
            Packet::Status(status) => {
                assert_eq!(status.status_code, StatusCode::Eof);
                assert_eq!(close(client, &handle).await, StatusCode::Ok);
                return all;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn a_file_is_copied_as_openssh_asks_for_it() {
    let node = Node::new();
    let mut client = node.session().await;
    for len in [0, 1, 300_000, 17_000_003] {
        let data = pattern(len);
        client.put("/from", &data).await;
        let (from, to) = (client.open("/from", OpenFlags::READ).await, client.open("/to", NEW).await);
        assert_eq!(copy(&mut client, &from, (0, 0), &to, 0).await, StatusCode::Ok);
        assert_eq!(close(&mut client, &from).await, StatusCode::Ok);
        assert_eq!(client.size_of("/to").await, Ok(len as u64), "the session sees it before CLOSE");
        assert_eq!(close(&mut client, &to).await, StatusCode::Ok);
        assert!(content(&mut client, "/to").await == data, "{len} bytes");
    }
}

#[tokio::test]
async fn ranges_are_copied_as_far_as_there_are_bytes() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/from", b"0123456789").await;
    client.put("/to", b"abcdefghij").await;
    let (from, to) = (client.open("/from", OpenFlags::READ).await, client.open("/to", OpenFlags::WRITE).await);
    assert_eq!(copy(&mut client, &from, (2, 3), &to, 1).await, StatusCode::Ok);
    assert_eq!(copy(&mut client, &from, (8, 5), &to, 8).await, StatusCode::Eof, "what there is was copied");
    assert_eq!(copy(&mut client, &from, (10, 1), &to, 0).await, StatusCode::Eof);
    assert_eq!(copy(&mut client, &from, (u64::MAX, 0), &to, 0).await, StatusCode::Ok);
    assert_eq!(close(&mut client, &to).await, StatusCode::Ok);
    assert_eq!(content(&mut client, "/to").await, b"a234efgh89");
}

#[tokio::test]
async fn a_file_is_not_copied_onto_itself_and_survives_the_attempt() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/f", b"content").await;
    // `cp f f` of OpenSSH's client, which has its own server empty the file.
    let (from, to) = (client.open("/f", OpenFlags::READ).await, client.open("/f", NEW).await);
    assert_eq!(copy(&mut client, &from, (0, 0), &to, 0).await, StatusCode::Failure);
    assert_eq!(close(&mut client, &to).await, StatusCode::Failure);
    assert_eq!(close(&mut client, &from).await, StatusCode::Ok);
    assert_eq!(content(&mut client, "/f").await, b"content");
    // One handle for both, whatever the ranges. What else is done with it goes on.
    let both = client.open("/f", READ_WRITE).await;
    assert_eq!(copy(&mut client, &both, (0, 1), &both, 5).await, StatusCode::Failure);
    client.send_write(&both, 0, b"C").await;
    client.ok().await;
    assert_eq!(close(&mut client, &both).await, StatusCode::Ok);
    assert_eq!(content(&mut client, "/f").await, b"Content");
    // Under another name.
    let id = client.id();
    client.send(oracle::Symlink { id, linkpath: "/f".to_owned(), targetpath: "/link".to_owned() }).await;
    client.ok().await;
    let (one, two) = (client.open("/f", READ_WRITE).await, client.open("/link", READ_WRITE).await);
    assert_eq!(copy(&mut client, &one, (0, 1), &two, 5).await, StatusCode::Failure);
}

#[tokio::test]
async fn handles_are_checked() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/from", b"0123456789").await;
    let (from, to) = (client.open("/from", OpenFlags::READ).await, client.open("/to", NEW).await);
    assert_eq!(copy(&mut client, "ffffffff", (0, 0), &to, 0).await, StatusCode::Failure);
    assert_eq!(copy(&mut client, &from, (0, 0), "ffffffff", 0).await, StatusCode::Failure);
    let other = client.open("/from", OpenFlags::READ).await;
    assert_eq!(copy(&mut client, &to, (0, 0), &other, 0).await, StatusCode::Failure, "not opened for writing");
    let id = client.id();
    client.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
    let directory = client.handle().await;
    assert_eq!(copy(&mut client, &directory, (0, 0), &to, 0).await, StatusCode::Failure);
    assert_eq!(close(&mut client, &to).await, StatusCode::Ok, "none of these was about the file itself");
    // This one is: what is missing would be a hole.
    let (write_only, to) = (client.open("/write-only", NEW).await, client.open("/to", NEW).await);
    assert_eq!(copy(&mut client, &write_only, (0, 0), &to, 0).await, StatusCode::PermissionDenied);
    assert_eq!(close(&mut client, &to).await, StatusCode::PermissionDenied);
}

#[tokio::test]
async fn requests_behind_a_copy_take_effect_behind_it() {
    let node = Node::new();
    let mut client = node.session().await;
    let data = pattern(20_000_000);
    client.put("/from", &data).await;
    let (from, to) = (client.open("/from", OpenFlags::READ).await, client.open("/to", NEW).await);
    // Parts of it are sent, so what is copied behind them passes through the node.
    for at in (0..data.len()).step_by(200_000) {
        client.send_write(&to, at as u64, &data[at..at + 200_000]).await;
        client.ok().await;
    }
    send_copy(&mut client, &from, (0, 0), &to, data.len() as u64).await;
    client.send_write(&to, 2 * data.len() as u64 - 3, b"the end").await;
    client.send_close(&from).await;
    client.send_close(&to).await;
    // Its source goes only when it is published.
    let id = client.id();
    client.send(oracle::Remove { id, filename: "/from".to_owned() }).await;
    for _ in 0..5 {
        client.ok().await;
    }
    let copied = content(&mut client, "/to").await;
    assert_eq!(copied.len(), 2 * data.len() + 4);
    assert!(copied == [&data[..], &data[..data.len() - 3], b"the end"].concat());
    assert_eq!(client.size_of("/from").await, Err(StatusCode::NoSuchFile));
}

#[tokio::test]
async fn a_source_that_is_removed_behind_the_close_is_copied() {
    for is_renamed in [false, true] {
        // The copy at CLOSE waits for the clock, which moves on only once nothing else is left to do: what
        // did not wait for the CLOSE would be done by then.
        let slow = FaultPlan::none().on(Call::Copy, 1, Fault::Delay(Duration::from_secs(3_600)));
        let node = Node::over(Arc::new(FaultyObjectStore::new(Arc::new(MemoryObjectStore::new()), slow)));
        let mut client = node.session().await;
        let data = pattern(100_000);
        client.put("/from", &data).await;
        let (from, to) = (client.open("/from", OpenFlags::READ).await, client.open("/to", NEW).await);
        tokio::time::pause();
        send_copy(&mut client, &from, (0, 0), &to, 0).await;
        client.send_close(&from).await;
        client.send_close(&to).await;
        let id = client.id();
        if is_renamed {
            let (oldpath, newpath) = ("/from".to_owned(), "/moved".to_owned());
            client.send(oracle::Rename { id, oldpath, newpath }).await;
        } else {
            client.send(oracle::Remove { id, filename: "/from".to_owned() }).await;
        }
        for _ in 0..4 {
            client.ok().await;
        }
        assert!(content(&mut client, "/to").await == data);
        assert_eq!(client.size_of("/from").await, Err(StatusCode::NoSuchFile));
        tokio::time::resume();
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_takes_no_bandwidth() {
    let node = Node::new();
    let least = TenantLimits {
        max_bandwidth_in: (64 << 10).try_into().ok(),
        max_bandwidth_out: (64 << 10).try_into().ok(),
        ..TenantLimits::default()
    };
    node.session_of("acme", TenantLimits::default()).await.put("/from", &pattern(10_000_000)).await;
    let mut client = node.session_of("acme", least).await;
    let began = Instant::now();
    let (from, to) = (client.open("/from", OpenFlags::READ).await, client.open("/to", NEW).await);
    assert_eq!(copy(&mut client, &from, (0, 0), &to, 0).await, StatusCode::Ok);
    assert_eq!(close(&mut client, &to).await, StatusCode::Ok);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(client.size_of("/to").await, Ok(10_000_000));
}

#[tokio::test]
async fn a_file_that_is_being_written_is_copied_as_it_is_then() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/from", b"0123456789").await;
    let (from, to) = (client.open("/from", READ_WRITE).await, client.open("/to", NEW).await);
    client.send_write(&from, 4, b"ab").await;
    let copied = send_copy(&mut client, &from, (0, 0), &to, 0).await;
    client.send_write(&from, 0, b"later").await;
    client.send_close(&to).await;
    let mut answered = Vec::new();
    for _ in 0..4 {
        answered.push(client.ok().await);
    }
    assert!(answered.contains(&copied), "{answered:?}");
    assert_eq!(content(&mut client, "/to").await, b"0123ab6789");
    assert_eq!(close(&mut client, &from).await, StatusCode::Ok);
    assert_eq!(content(&mut client, "/from").await, b"laterb6789");
}
