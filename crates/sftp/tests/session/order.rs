use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use russh_sftp::protocol::{self as oracle, FileAttributes, OpenFlags, Packet, StatusCode};
use tidegate_sftp::SessionEnd;
use tidegate_store::faulty::{Call, Fault, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::MemoryObjectStore;
use tokio::io::AsyncWriteExt;

use crate::client::{NEW, Node};

// WinSCP sends SETSTAT before CLOSE was answered, lftp REMOVE and RENAME behind one another.
#[tokio::test]
async fn requests_on_one_path_take_effect_in_the_order_sent() {
    let node = Node::new();
    let mut client = node.session().await;
    let handle = client.open("/up", NEW).await;
    let mut ids = vec![client.send_write(&handle, 0, b"data").await, client.send_close(&handle).await];
    let attrs = FileAttributes { atime: Some(1), mtime: Some(1_234_567_890), ..FileAttributes::empty() };
    let id = client.id();
    client.send(oracle::SetStat { id, path: "/up".to_owned(), attrs }).await;
    ids.push(id);
    let id = client.id();
    client.send(oracle::Rename { id, oldpath: "/up".to_owned(), newpath: "/final".to_owned() }).await;
    ids.push(id);
    for expected in ids {
        assert_eq!(client.ok().await, expected);
    }
    let stat = client.send_stat("/final").await;
    match client.receive().await {
        Packet::Attrs(attrs) => {
            assert_eq!((attrs.id, attrs.attrs.size, attrs.attrs.mtime), (stat, Some(4), Some(1_234_567_890)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_upload_shows_its_size_so_far_to_its_session() {
    let node = Node::new();
    let mut client = node.session().await;
    let handle = client.open("/up", NEW).await;
    client.send_write(&handle, 0, b"12345").await;
    client.ok().await;
    assert_eq!(client.size_of("/up").await, Ok(5));
    let mut other = node.session().await;
    assert_eq!(other.size_of("/up").await, Ok(0), "it is there, and nothing of it is durable");
    other.send_open("/up", OpenFlags::READ).await;
    assert_eq!(other.status().await.1, StatusCode::NoSuchFile, "half a file is not read");
    client.send_close(&handle).await;
    client.ok().await;
    assert_eq!(node.session().await.size_of("/up").await, Ok(5));
}

// The rename waits for the OPEN, and the CLOSE for the rename.
#[tokio::test]
async fn an_upload_that_is_renamed_while_it_is_open_ends_under_its_new_name() {
    let node = Node::new();
    let mut client = node.session().await;
    let rename = async |client: &mut crate::client::Client, from: &str, to: &str| {
        let id = client.id();
        client.send(oracle::Rename { id, oldpath: from.to_owned(), newpath: to.to_owned() }).await;
        id
    };
    let open = client.send_open("/up", NEW).await;
    let first = rename(&mut client, "/up", "/between").await;
    let Packet::Handle(handle) = client.receive().await else { panic!("no handle") };
    assert_eq!((handle.id, client.ok().await), (open, first));
    client.send_write(&handle.handle, 0, b"12345").await;
    client.ok().await;
    assert_eq!(client.size_of("/between").await, Ok(5), "the bytes so far");
    assert_eq!(client.size_of("/up").await, Err(StatusCode::NoSuchFile));
    let ids = [rename(&mut client, "/between", "/final").await, client.send_close(&handle.handle).await];
    for id in ids {
        assert_eq!(client.ok().await, id);
    }
    let mut other = node.session().await;
    assert_eq!(other.size_of("/final").await, Ok(5));
    assert_eq!(other.size_of("/between").await, Err(StatusCode::NoSuchFile));
    assert_eq!(other.size_of("/up").await, Err(StatusCode::NoSuchFile));
}

// A directory of many files takes its time; the session has other things to do.
#[tokio::test]
async fn a_directory_rename_that_runs_holds_up_what_lies_below_it_and_nothing_else() {
    // The copies wait for the clock.
    let slow = FaultPlan::none().from(Call::Copy, 1, Fault::Delay(Duration::from_secs(3_600)));
    let store = FaultyObjectStore::new(Arc::new(MemoryObjectStore::new()), slow);
    let node = Node::over(Arc::new(store));
    let mut client = node.session().await;
    let id = client.id();
    client.send(oracle::MkDir { id, path: "/dir".to_owned(), attrs: FileAttributes::empty() }).await;
    client.ok().await;
    client.put("/dir/file", b"data").await;
    client.put("/other", b"other").await;
    let handle = client.open("/new", NEW).await;
    let reading = client.open("/dir/file", OpenFlags::READ).await;
    tokio::time::pause();
    let rename = client.id();
    client.send(oracle::Rename { id: rename, oldpath: "/dir".to_owned(), newpath: "/moved".to_owned() }).await;
    let (below, target) = (client.send_stat("/dir/file").await, client.send_stat("/moved/file").await);
    client.send_write(&handle, 0, b"x").await;
    client.ok().await;
    client.send_close(&handle).await;
    client.ok().await;
    assert_eq!(client.size_of("/other").await, Ok(5));
    client.send_read(&reading, 0, 4).await;
    assert!(matches!(client.receive().await, Packet::Data(data) if data.data == b"data"), "readers go on");
    assert!(node.throttled.any(), "the session is not idle");
    // Nothing else is left to do, so the clock moves on.
    assert_eq!(client.ok().await, rename);
    assert_eq!(client.status().await, (below, StatusCode::NoSuchFile));
    assert!(matches!(client.receive().await, Packet::Attrs(attrs) if attrs.id == target));
    assert_eq!(client.size_of("/new").await, Ok(1));
}

// sshfs sends OPEN and LSTAT at once, and takes a failed LSTAT for a failed OPEN.
#[tokio::test]
async fn a_look_sent_behind_an_open_sees_the_new_file() {
    let node = Node::new();
    let mut client = node.session().await;
    let open = client.send_open("/new", NEW).await;
    let stat = client.send_stat("/new").await;
    assert!(matches!(client.receive().await, Packet::Handle(handle) if handle.id == open));
    match client.receive().await {
        Packet::Attrs(attrs) => assert_eq!((attrs.id, attrs.attrs.size), (stat, Some(0))),
        other => panic!("{other:?}"),
    }
}

// paramiko's prefetch asks for the whole file before it reads an answer. The stream between holds
// 64 KiB: were the session to wait for its answers to be read, both sides would wait for ever.
#[tokio::test]
async fn ten_thousand_reads_are_taken_in_before_an_answer_is_read() {
    const CHUNK: u32 = 32_768;
    let node = Node::new();
    let mut client = node.session().await;
    let data: Vec<u8> = (0..(40 << 20) / 4_u32).flat_map(u32::to_be_bytes).collect();
    client.put("/big", &data).await;
    let handle = client.open("/big", OpenFlags::READ).await;
    let mut expected = Vec::new();
    for n in 0..10_000_u32 {
        let offset = n % 1280 * CHUNK;
        expected.push((client.send_read(&handle, u64::from(offset), CHUNK).await, offset as usize));
    }
    // Another session is served meanwhile.
    assert_eq!(node.session().await.size_of("/big").await, Ok(data.len() as u64));
    for (id, offset) in expected {
        match client.receive().await {
            Packet::Data(answer) => {
                assert_eq!(answer.id, id, "answers keep the order");
                assert!(answer.data == data[offset..offset + CHUNK as usize], "the bytes at {offset} differ");
            }
            other => panic!("{other:?}"),
        }
    }
    client.send_close(&handle).await;
    client.ok().await;
}

#[tokio::test(start_paused = true)]
async fn what_all_sessions_leave_waiting_is_limited_too() {
    let mut node = Node::new();
    node.config.request_queue = ByteSize::kib(512);
    node.config.request_queue_total = ByteSize::kib(512);
    let mut patient = node.session().await;
    patient.put("/big", &vec![1; 4 << 20]).await;
    let kept = patient.open("/big", OpenFlags::READ).await;
    let mut greedy = Vec::new();
    for _ in 0..6 {
        let mut client = node.session().await;
        let handle = client.open("/big", OpenFlags::READ).await;
        // At 100 bytes each, 200 KiB: two sessions may have as much, three not.
        for n in 0..2_000_u64 {
            let (id, offset) = (client.id(), (n * 7_919_009) % (4 << 20));
            let read = oracle::Read { id, handle: handle.clone(), offset, len: 32_768 };
            if client.stream.write_all(&Bytes::try_from(Packet::from(read)).unwrap()).await.is_err() {
                break;
            }
        }
        greedy.push(client);
    }
    let mut cut = 0;
    for client in &mut greedy {
        // Nothing happens any more where none of them ends.
        if let Ok(report) = tokio::time::timeout(Duration::from_secs(1), &mut client.session).await {
            assert!(matches!(report.unwrap().end, SessionEnd::NotReading));
            cut += 1;
        }
    }
    assert_eq!(cut, 4);
    patient.send_read(&kept, 0, 1000).await;
    assert!(matches!(patient.receive().await, Packet::Data(data) if data.data == [1; 1000]));
}

// Each READ far from the others is a request to the store. A client can ask for a byte a thousand
// times in one packet of the network; the store must not be asked as often at once.
#[tokio::test]
async fn a_flood_of_scattered_reads_starts_a_bounded_number_of_requests() {
    let never = Fault::Delay(Duration::from_secs(86_400));
    let memory = Arc::new(MemoryObjectStore::new());
    // The first GET is OPEN's.
    let store = Arc::new(FaultyObjectStore::new(memory, FaultPlan::none().from(Call::Get, 2, never)));
    let node = Node::over(store.clone());
    let mut client = node.session().await;
    client.put("/big", &vec![1; 4 << 20]).await;
    let handle = client.open("/big", OpenFlags::READ).await;
    for n in 0..2_000_u64 {
        client.send_read(&handle, (1 << 20) + (n * 7_919_009) % (3 << 20), 1).await;
    }
    // Requests are taken in order: once this is answered, all READs were looked at.
    assert_eq!(client.size_of("/missing").await, Err(StatusCode::NoSuchFile));
    let started = store.calls(Call::Get);
    assert!((10..=70).contains(&started), "{started} GETs");
}

#[tokio::test]
async fn open_directories_are_limited() {
    let mut node = Node::new();
    node.config.max_open_directories = 2;
    let mut client = node.session().await;
    let mut handles = Vec::new();
    for _ in 0..2 {
        let id = client.id();
        client.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
        handles.push(client.handle().await);
    }
    let id = client.id();
    client.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
    assert_eq!(client.status().await, (id, StatusCode::Failure));
    client.open("/file", NEW).await;
    client.send_close(&handles[0]).await;
    client.ok().await;
    let id = client.id();
    client.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
    client.handle().await;
}
