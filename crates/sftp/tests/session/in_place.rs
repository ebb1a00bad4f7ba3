use std::sync::Arc;
use std::time::Duration;

use russh_sftp::protocol::{self as oracle, FileAttributes, OpenFlags, Packet, StatusCode};
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::MemoryObjectStore;

use crate::client::{Client, Node};

const READ_WRITE: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);

fn size(size: u64) -> FileAttributes {
    FileAttributes { size: Some(size), ..FileAttributes::empty() }
}

/// The data of the next answer, which must be to this request.
async fn data(client: &mut Client, id: u32) -> Vec<u8> {
    match client.receive().await {
        Packet::Data(data) if data.id == id => data.data,
        other => panic!("no DATA for {id} but {other:?}"),
    }
}

async fn content(node: &Node, path: &str) -> Vec<u8> {
    let mut client = node.session().await;
    let handle = client.open(path, OpenFlags::READ).await;
    let id = client.send_read(&handle, 0, 100_000).await;
    data(&mut client, id).await
}

#[tokio::test]
async fn reads_and_writes_sent_at_once_on_one_handle_take_effect_in_order() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/f", b"0123456789").await;
    let handle = client.open("/f", READ_WRITE).await;
    for text in [b"ab", b"cd", b"ef"] {
        client.send_read(&handle, 0, 100).await;
        client.send_write(&handle, 4, text).await;
    }
    let last = client.send_read(&handle, 8, 100).await;
    client.send_read(&handle, 10, 100).await;
    let close = client.send_close(&handle).await;
    let (mut shown, mut written, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..9 {
        match client.receive().await {
            Packet::Data(data) => shown.push(String::from_utf8(data.data).unwrap()),
            Packet::Status(status) if status.status_code == StatusCode::Ok => written.push(status.id),
            Packet::Status(status) => ended.push(status.status_code),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shown, ["0123456789", "0123ab6789", "0123cd6789", "89"]);
    assert!(written.is_sorted(), "the answers to WRITEs keep their order: {written:?}");
    assert_eq!((written.last(), ended), (Some(&close), vec![StatusCode::Eof]), "CLOSE comes behind READ {last}");
    assert_eq!(content(&node, "/f").await, b"0123ef6789");
}

// sshfs opens a file a second time, and truncates it by its path, while it has it open.
#[tokio::test]
async fn handles_and_the_path_show_one_file_to_their_session() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/f", b"0123456789").await;
    let one = client.open("/f", OpenFlags::WRITE).await;
    let two = client.open("/f", READ_WRITE).await;
    client.send_write(&one, 8, b"abcdef").await;
    client.ok().await;
    assert_eq!(client.size_of("/f").await, Ok(14));
    let id = client.id();
    client.send(oracle::SetStat { id, path: "/f".to_owned(), attrs: size(12) }).await;
    assert_eq!(client.ok().await, id);
    let id = client.id();
    client.send(oracle::Fstat { id, handle: two.clone() }).await;
    assert!(matches!(client.receive().await, Packet::Attrs(attrs) if attrs.attrs.size == Some(12)));
    let three = client.open("/f", OpenFlags::READ).await;
    for handle in [&two, &three] {
        let id = client.send_read(handle, 6, 100).await;
        assert_eq!(data(&mut client, id).await, b"67abcd");
    }
    assert_eq!(content(&node, "/f").await, b"0123456789", "to another session it is the old one");
    client.send_write(&three, 0, b"x").await;
    assert_eq!(client.status().await.1, StatusCode::PermissionDenied, "opened for reading");
    for handle in [&three, &one, &two] {
        client.send_close(handle).await;
        client.ok().await;
    }
    assert_eq!(content(&node, "/f").await, b"01234567abcd");
}

// `reput` of OpenSSH and `curl -C -`.
#[tokio::test]
async fn an_upload_is_resumed_at_its_end() {
    let node = Node::new();
    let mut client = node.session().await;
    let whole: Vec<u8> = (0..7_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (path, flags, cut) in [
        ("/a", OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::APPEND, 6_000_000),
        ("/b", OpenFlags::WRITE, 6_000_000),
        ("/c", OpenFlags::WRITE | OpenFlags::CREATE, 10_000),
    ] {
        client.put(path, &whole[..cut]).await;
        let handle = client.open(path, flags).await;
        for at in (cut..whole.len()).step_by(200_000) {
            client.send_write(&handle, at as u64, &whole[at..whole.len().min(at + 200_000)]).await;
            client.ok().await;
        }
        let id = client.id();
        client.send(oracle::FSetStat { id, handle: handle.clone(), attrs: size(whole.len() as u64) }).await;
        client.ok().await;
        client.send_close(&handle).await;
        client.ok().await;
        let handle = client.open(path, OpenFlags::READ).await;
        let mut read = Vec::new();
        while read.len() < whole.len() {
            let id = client.send_read(&handle, read.len() as u64, 200_000).await;
            read.extend(data(&mut client, id).await);
        }
        assert!(read == whole, "{path}");
    }
}

#[tokio::test]
async fn a_change_that_is_being_published_holds_up_no_other_handle() {
    let store = MemoryObjectStore::new();
    let plan = FaultPlan::none().on(Call::Put, 3, Fault::Delay(Duration::from_secs(3_600)));
    let gate = Arc::new(tokio::sync::Notify::new());
    let store = FaultyObjectStore::new(Arc::new(store), plan).with_sleep(Arc::new({
        let gate = Arc::clone(&gate);
        move |_| {
            let gate = Arc::clone(&gate);
            Box::pin(async move { gate.notified().await })
        }
    }));
    let node = Node::over(Arc::new(store));
    let mut client = node.session().await;
    client.put("/f", b"0123456789").await;
    client.put("/g", b"0123456789").await;
    let (one, two) = (client.open("/f", READ_WRITE).await, client.open("/f", READ_WRITE).await);
    let other = client.open("/g", READ_WRITE).await;
    client.send_write(&one, 0, b"one").await;
    client.ok().await;
    let close = client.send_close(&one).await;
    for handle in [&other, &two] {
        client.send_write(handle, 5, b"!").await;
        client.ok().await;
        let id = client.send_read(handle, 3, 4).await;
        assert_eq!(data(&mut client, id).await, b"34!6");
    }
    gate.notify_one();
    assert_eq!(client.ok().await, close);
    client.send_close(&two).await;
    client.ok().await;
    assert_eq!(content(&node, "/f").await, b"one34!6789");
}

#[tokio::test]
async fn a_client_that_goes_away_behind_its_close_has_its_change_published() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/f", b"0123456789").await;
    let (one, two) = (client.open("/f", READ_WRITE).await, client.open("/f", READ_WRITE).await);
    client.send_write(&one, 0, b"closed").await;
    client.send_read(&one, 0, 10).await;
    client.send_close(&one).await;
    client.end().await;
    assert_eq!(content(&node, "/f").await, b"closed6789");

    let mut client = node.session().await;
    let handle = client.open("/f", READ_WRITE).await;
    client.send_write(&handle, 0, b"cut").await;
    client.end().await;
    assert_eq!(content(&node, "/f").await, b"closed6789", "what was not closed is not published");
    drop(two);
}
