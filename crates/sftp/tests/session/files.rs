use std::collections::BTreeSet;

use russh_sftp::client::RawSftpSession;
use russh_sftp::protocol::{self as oracle, FileAttributes, OpenFlags, Packet, StatusCode};

use crate::client::{NEW, Node};

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn a_file_of_several_parts_comes_back_as_it_was_sent() {
    let node = Node::new();
    let mut client = node.session().await;
    let data = pattern(20 << 20);
    client.put("/big", &data).await;
    assert_eq!(client.size_of("/big").await, Ok(data.len() as u64));
    let handle = client.open("/big", OpenFlags::READ).await;
    let mut read = Vec::new();
    while read.len() < data.len() {
        let id = client.send_read(&handle, read.len() as u64, 255 * 1024).await;
        match client.receive().await {
            Packet::Data(answer) if answer.id == id => read.extend_from_slice(&answer.data),
            other => panic!("{other:?}"),
        }
    }
    assert!(read == data, "the bytes differ");
    client.send_read(&handle, read.len() as u64, 10).await;
    assert_eq!(client.status().await.1, StatusCode::Eof);
    let report = client.end().await;
    assert_eq!((report.bytes_in, report.bytes_out), (data.len() as u64, data.len() as u64));
}

// A client that somebody else wrote, with its own idea of the protocol.
#[tokio::test]
async fn the_oracle_client_can_do_everything() {
    let node = Node::new();
    let client = node.connect().await;
    let sftp = RawSftpSession::new(client.stream);
    let version = sftp.init().await.unwrap();
    assert_eq!(version.version, 3);
    let announced: BTreeSet<_> = version.extensions.keys().map(String::as_str).collect();
    assert_eq!(
        announced,
        BTreeSet::from([
            "check-file",
            "copy-data",
            "expand-path@openssh.com",
            "fstatvfs@openssh.com",
            "fsync@openssh.com",
            "home-directory",
            "limits@openssh.com",
            "lsetstat@openssh.com",
            "posix-rename@openssh.com",
            "statvfs@openssh.com",
            "users-groups-by-id@openssh.com",
        ])
    );
    let limits = sftp.limits().await.unwrap();
    assert_eq!((limits.max_packet_len, limits.max_read_len, limits.max_write_len), (262_144, 261_120, 261_120));

    sftp.mkdir("/dir", FileAttributes::empty()).await.unwrap();
    let attrs = FileAttributes { permissions: Some(0o640), ..FileAttributes::empty() };
    let handle = sftp.open("/dir/f", NEW, attrs).await.unwrap().handle;
    sftp.write(&handle, 0, b"hello world".to_vec()).await.unwrap();
    assert_eq!(sftp.fstat(&handle).await.unwrap().attrs.size, Some(11));
    let times = FileAttributes { atime: Some(1_500_000_000), mtime: Some(1_500_000_001), ..FileAttributes::empty() };
    sftp.fsetstat(&handle, times).await.unwrap();
    sftp.close(&handle).await.unwrap();
    let stat = sftp.stat("/dir/f").await.unwrap().attrs;
    assert_eq!((stat.size, stat.mtime), (Some(11), Some(1_500_000_001)));
    assert_eq!(stat.permissions, Some(0o100_640));
    assert_eq!(sftp.lstat("/dir/f").await.unwrap().attrs.size, Some(11));
    assert_eq!(sftp.realpath("dir/../dir/./f").await.unwrap().files[0].filename, "/dir/f");

    let handle = sftp.opendir("/dir").await.unwrap().handle;
    let names = sftp.readdir(&handle).await.unwrap().files;
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].filename, "f");
    assert_eq!(names[0].attrs.mtime, Some(1_500_000_001), "READDIR agrees with STAT");
    assert!(names[0].longname.starts_with("-rw-r-----"), "{}", names[0].longname);
    sftp.close(&handle).await.unwrap();

    sftp.rename("/dir/f", "/dir/g").await.unwrap();
    assert!(sftp.stat("/dir/f").await.is_err());
    assert!(sftp.rmdir("/dir").await.is_err(), "it is not empty");
    sftp.setstat("/dir/g", FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() }).await.unwrap();
    assert_eq!(sftp.stat("/dir/g").await.unwrap().attrs.permissions, Some(0o100_600));
    sftp.remove("/dir/g").await.unwrap();
    sftp.rmdir("/dir").await.unwrap();
    assert!(sftp.stat("/dir").await.is_err());
}

#[tokio::test]
async fn failures_have_the_codes_of_openssh() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/file", b"x").await;
    assert_eq!(client.size_of("/missing").await, Err(StatusCode::NoSuchFile));
    assert_eq!(client.size_of("/file/below").await, Err(StatusCode::NoSuchFile));
    client.send_open("/missing/new", NEW).await;
    assert_eq!(client.status().await.1, StatusCode::NoSuchFile);
    client.send_open("/file", NEW | OpenFlags::EXCLUDE).await;
    assert_eq!(client.status().await.1, StatusCode::Failure);
    let id = client.id();
    // OpenSSH's order: the target comes first.
    client.send(oracle::Symlink { id, linkpath: "/x".to_owned(), targetpath: "/file".to_owned() }).await;
    assert_eq!(client.status().await, (id, StatusCode::Failure));
    let id = client.id();
    client.send(oracle::ReadLink { id, path: "/file".to_owned() }).await;
    assert_eq!(client.status().await, (id, StatusCode::BadMessage));
    let id = client.id();
    client.send(oracle::Extended { id, request: "hardlink@openssh.com".to_owned(), data: Vec::new() }).await;
    assert_eq!(client.status().await, (id, StatusCode::OpUnsupported));
    let id = client.id();
    client.send(oracle::Remove { id, filename: "/missing".to_owned() }).await;
    assert_eq!(client.status().await, (id, StatusCode::NoSuchFile));
}

#[tokio::test]
async fn handles_are_checked() {
    let mut node = Node::new();
    node.config.max_open_handles = 2;
    let mut client = node.session().await;
    let first = client.open("/a", NEW).await;
    let second = client.open("/b", NEW).await;
    client.send_open("/c", NEW).await;
    assert_eq!(client.status().await.1, StatusCode::Failure, "the third of two");
    client.send_close(&first).await;
    client.ok().await;
    for wrong in [first.as_str(), "", "00000000", "ffffffff", "zzzzzzzz", "a handle of another server"] {
        client.send_write(wrong, 0, b"x").await;
        assert_eq!(client.status().await.1, StatusCode::Failure, "{wrong:?}");
        client.send_close(wrong).await;
        assert_eq!(client.status().await.1, StatusCode::Failure, "{wrong:?}");
    }
    client.send_close(&second).await;
    client.ok().await;
}

#[tokio::test]
async fn a_directory_of_thousands_is_listed_once_each_under_pipelined_readdirs() {
    let node = Node::new();
    let mut client = node.session().await;
    let mut expected = BTreeSet::new();
    for n in 0..2500 {
        let name = format!("file-{n:05}");
        client.put(&format!("/{name}"), b"").await;
        expected.insert(name);
    }
    let id = client.id();
    client.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
    let handle = client.handle().await;
    let mut sent = std::collections::VecDeque::new();
    let mut listed = BTreeSet::new();
    let mut ended = false;
    while !ended || !sent.is_empty() {
        while !ended && sent.len() < 8 {
            let id = client.id();
            client.send(oracle::ReadDir { id, handle: handle.clone() }).await;
            sent.push_back(id);
        }
        match client.receive().await {
            Packet::Name(names) => {
                assert_eq!(Some(names.id), sent.pop_front(), "answers keep the order");
                for file in names.files {
                    assert!(listed.insert(file.filename.clone()), "{} twice", file.filename);
                }
            }
            Packet::Status(status) => {
                assert_eq!((Some(status.id), status.status_code), (sent.pop_front(), StatusCode::Eof));
                ended = true;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(listed, expected);
}

/// Names so long that a page takes more than two packets: what is left of one goes with the next one.
#[tokio::test(start_paused = true)]
async fn answers_to_readdir_are_filled_across_the_pages_of_a_listing() {
    let node = Node::new();
    let mut client = node.session().await;
    for n in 0..2500 {
        client.put(&format!("/{n:0250}"), b"").await;
    }
    let id = client.id();
    client.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
    let handle = client.handle().await;
    let mut counts = Vec::new();
    loop {
        // Everything that can be fetched ahead is there by then.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let id = client.id();
        client.send(oracle::ReadDir { id, handle: handle.clone() }).await;
        match client.receive().await {
            Packet::Name(names) => counts.push(names.files.len()),
            Packet::Status(status) => break assert_eq!(status.status_code, StatusCode::Eof),
            other => panic!("{other:?}"),
        }
    }
    let full = counts[0];
    assert!((300..500).contains(&full), "{full}");
    assert_eq!(counts.iter().sum::<usize>(), 2500);
    assert!(counts.iter().rev().skip(1).all(|count| *count == full), "{counts:?}");
}

#[tokio::test]
async fn append_goes_to_the_end_whatever_the_offset() {
    let node = Node::new();
    let mut client = node.session().await;
    let handle = client.open("/log", NEW | OpenFlags::APPEND).await;
    for text in [&b"one "[..], b"two ", b"three"] {
        client.send_write(&handle, 0, text).await;
        client.ok().await;
    }
    client.send_close(&handle).await;
    client.ok().await;
    let handle = client.open("/log", OpenFlags::READ).await;
    client.send_read(&handle, 0, 100).await;
    assert!(matches!(client.receive().await, Packet::Data(data) if data.data == b"one two three"));
}
