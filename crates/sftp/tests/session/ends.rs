use russh_sftp::protocol::{self as oracle, OpenFlags, Packet, StatusCode};
use tidegate_sftp::SessionEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, Instant};

use crate::client::{NEW, Node};

#[tokio::test]
async fn any_version_is_answered_with_three() {
    let node = Node::new();
    for version in [0, 3, 6, u32::MAX] {
        let mut client = node.connect().await;
        client.send(oracle::Init { version, extensions: Default::default() }).await;
        assert!(matches!(client.receive().await, Packet::Version(answer) if answer.version == 3));
        assert!(matches!(client.end().await.end, SessionEnd::ClientClosed));
    }
}

#[tokio::test]
async fn the_protocol_begins_with_init_and_has_one() {
    let node = Node::new();
    let mut client = node.connect().await;
    client.send_stat("/").await;
    assert!(matches!(client.session.await.unwrap().end, SessionEnd::Malformed(_)));
    let mut client = node.session().await;
    client.send(oracle::Init::default()).await;
    assert!(matches!(client.session.await.unwrap().end, SessionEnd::Malformed(_)));
}

#[tokio::test]
async fn a_malformed_packet_ends_its_session_alone_and_publishes_nothing() {
    let node = Node::new();
    let mut other = node.session().await;
    for malformed in [&[0, 0, 0, 0][..], &[255; 16], &[0, 0, 0, 9, 3, 0, 0, 0, 1, 255, 255, 255, 255]] {
        let mut client = node.session().await;
        let handle = client.open("/half", NEW).await;
        client.send_write(&handle, 0, b"half of it").await;
        client.ok().await;
        client.stream.write_all(malformed).await.unwrap();
        assert!(matches!(client.session.await.unwrap().end, SessionEnd::Malformed(_)));
        assert_eq!(other.size_of("/half").await, Err(StatusCode::NoSuchFile));
    }
}

#[tokio::test]
async fn a_half_closed_session_ends_once_its_answers_are_sent() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/file", &[7; 100_000]).await;
    let handle = client.open("/file", OpenFlags::READ).await;
    for n in 0..4 {
        client.send_read(&handle, n * 25_000, 25_000).await;
    }
    client.stream.shutdown().await.unwrap();
    for _ in 0..4 {
        assert!(matches!(client.receive().await, Packet::Data(data) if data.data == [7; 25_000]));
    }
    let report = client.session.await.unwrap();
    assert!(matches!(report.end, SessionEnd::ClientClosed));
    assert_eq!(report.bytes_out, 100_000);
}

#[tokio::test]
async fn a_close_that_was_sent_is_carried_out_though_the_client_is_gone() {
    let node = Node::new();
    let mut client = node.session().await;
    let handle = client.open("/file", NEW).await;
    client.send_write(&handle, 0, b"whole").await;
    client.send_close(&handle).await;
    drop(client.stream);
    client.session.await.unwrap();
    assert_eq!(node.session().await.size_of("/file").await, Ok(5));
}

#[tokio::test]
async fn a_cut_upload_publishes_nothing_and_keeps_the_old_file() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/file", b"old").await;
    let handle = client.open("/file", NEW).await;
    client.send_write(&handle, 0, &[1; 200_000]).await;
    client.ok().await;
    let report = client.end().await;
    assert_eq!(report.bytes_in, 3 + 200_000);
    assert_eq!(node.session().await.size_of("/file").await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_idle_sessions_and_lets_open_files_finish() {
    let node = Node::new();
    let idle = node.session().await;
    let mut busy = node.session().await;
    let handle = busy.open("/file", NEW).await;
    node.shutdown.drain.cancel();
    assert!(matches!(idle.session.await.unwrap().end, SessionEnd::Drained));
    busy.send_write(&handle, 0, b"to the end").await;
    busy.ok().await;
    busy.send_open("/another", NEW).await;
    assert_eq!(busy.status().await.1, StatusCode::Failure, "nothing new is opened");
    busy.send_close(&handle).await;
    busy.ok().await;
    assert!(matches!(busy.session.await.unwrap().end, SessionEnd::Drained));
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_the_client_time_for_its_last_answer_and_what_follows_it() {
    let node = Node::new();
    let mut client = node.session().await;
    let handle = client.open("/file.filepart", NEW).await;
    node.shutdown.drain.cancel();
    client.send_close(&handle).await;
    client.ok().await;
    tokio::time::sleep(Duration::from_millis(1900)).await;
    let id = client.id();
    let (oldpath, newpath) = ("/file.filepart".to_owned(), "/file".to_owned());
    client.send(oracle::Rename { id, oldpath, newpath }).await;
    client.ok().await;
    let renamed = Instant::now();
    tokio::time::sleep(Duration::from_millis(1900)).await;
    assert!(!client.session.is_finished(), "it lingers behind every answer");
    assert!(matches!(client.session.await.unwrap().end, SessionEnd::Drained));
    assert!(renamed.elapsed() < Duration::from_secs(3), "and no longer than it must");
    assert_eq!(node.session().await.size_of("/file").await, Ok(0));
}

#[tokio::test]
async fn the_deadline_ends_every_session_and_publishes_no_half() {
    let node = Node::new();
    let mut client = node.session().await;
    let handle = client.open("/file", NEW).await;
    client.send_write(&handle, 0, b"half").await;
    client.ok().await;
    node.shutdown.deadline.cancel();
    assert!(matches!(client.session.await.unwrap().end, SessionEnd::DeadlineReached));
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_cut_off() {
    let mut node = Node::new();
    node.config.request_queue = bytesize::ByteSize::kib(8);
    let mut client = node.session().await;
    client.put("/file", &[0; 1000]).await;
    let handle = client.open("/file", OpenFlags::READ).await;
    // Offsets that don't follow one another, so that each READ is kept on its own. The session
    // ends in the middle, so the last ones may not be taken.
    let end = loop {
        let id = client.id();
        let read = oracle::Read { id, handle: handle.clone(), offset: u64::from(id % 7), len: 200_000 };
        let bytes = bytes::Bytes::try_from(Packet::from(read)).unwrap();
        if client.stream.write_all(&bytes).await.is_err() {
            break client.session.await.unwrap().end;
        }
    };
    assert!(matches!(end, SessionEnd::NotReading), "{end:?}");
}
