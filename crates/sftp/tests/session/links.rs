use russh_sftp::protocol::{self as oracle, FileAttributes, OpenFlags, Packet, StatusCode};

use crate::client::{Client, NEW, Node};

impl Client {
    /// SYMLINK as OpenSSH's client sends it: what the draft calls the link's path is the target.
    async fn symlink(&mut self, target: &str, link: &str) -> StatusCode {
        let id = self.id();
        self.send(oracle::Symlink { id, linkpath: target.to_owned(), targetpath: link.to_owned() }).await;
        self.status().await.1
    }

    /// The one name of the answer to a READLINK or REALPATH.
    async fn name(&mut self) -> Result<String, StatusCode> {
        match self.receive().await {
            Packet::Name(name) => {
                assert_eq!(name.files.len(), 1);
                Ok(name.files[0].filename.clone())
            }
            Packet::Status(status) => Err(status.status_code),
            other => panic!("{other:?}"),
        }
    }

    async fn readlink(&mut self, path: &str) -> Result<String, StatusCode> {
        let id = self.id();
        self.send(oracle::ReadLink { id, path: path.to_owned() }).await;
        self.name().await
    }

    async fn realpath(&mut self, path: &str) -> Result<String, StatusCode> {
        let id = self.id();
        self.send(oracle::RealPath { id, path: path.to_owned() }).await;
        self.name().await
    }

    async fn permissions(&mut self, path: &str, follow: bool) -> Option<u32> {
        let (id, path) = (self.id(), path.to_owned());
        if follow {
            self.send(oracle::Stat { id, path }).await;
        } else {
            self.send(oracle::Lstat { id, path }).await;
        }
        match self.receive().await {
            Packet::Attrs(attrs) => attrs.attrs.permissions,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn links_are_made_read_and_followed_as_openssh_does() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/file", b"content").await;
    assert_eq!(client.symlink("file", "/link").await, StatusCode::Ok);
    assert_eq!(client.symlink("elsewhere", "/link").await, StatusCode::Failure, "it exists");
    assert_eq!(client.readlink("/link").await.as_deref(), Ok("file"), "as it was written");
    assert_eq!(client.readlink("/file").await, Err(StatusCode::BadMessage));
    assert_eq!(client.readlink("/missing").await, Err(StatusCode::NoSuchFile));
    assert_eq!(client.realpath("link").await.as_deref(), Ok("/file"));
    assert_eq!(client.realpath("./missing/../link/x").await.as_deref(), Ok("/file/x"));
    assert_eq!(client.size_of("/link").await, Ok(7));
    assert_eq!(client.permissions("/link", true).await, Some(0o100_644));
    assert_eq!(client.permissions("/link", false).await, Some(0o120_777));

    client.put("/link", b"through the link").await;
    assert_eq!(client.size_of("/file").await, Ok(16));
    assert_eq!(client.symlink("loop", "/loop").await, StatusCode::Ok);
    assert_eq!(client.size_of("/loop").await, Err(StatusCode::NoSuchFile), "as ELOOP");
    assert_eq!(client.realpath("/loop").await, Err(StatusCode::NoSuchFile));

    let id = client.id();
    client.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
    let handle = client.handle().await;
    let id = client.id();
    client.send(oracle::ReadDir { id, handle }).await;
    let Packet::Name(names) = client.receive().await else { panic!("no names") };
    let link = names.files.iter().find(|file| file.filename == "link").unwrap();
    assert!(link.longname.starts_with("lrwxrwxrwx") && link.longname.ends_with(" link"), "{}", link.longname);
    assert_eq!(link.attrs.permissions, Some(0o120_777));

    let id = client.id();
    client.send(oracle::Remove { id, filename: "/link".to_owned() }).await;
    assert_eq!(client.ok().await, id);
    assert_eq!(client.size_of("/file").await, Ok(16));
}

#[tokio::test]
async fn lsetstat_sets_a_links_own_attributes() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/file", b"content").await;
    client.symlink("file", "/link").await;
    let lsetstat = |id: u32, attrs: &FileAttributes| {
        let mut data = Vec::new();
        data.extend_from_slice(&5_u32.to_be_bytes());
        data.extend_from_slice(b"/link");
        // The packet of a SETSTAT ends in the same structure.
        let setstat = oracle::SetStat { id, path: String::new(), attrs: attrs.clone() };
        let packet = bytes::Bytes::try_from(Packet::from(setstat)).unwrap();
        data.extend_from_slice(&packet[13..]);
        oracle::Extended { id, request: "lsetstat@openssh.com".to_owned(), data }
    };
    let id = client.id();
    client.send(lsetstat(id, &FileAttributes { permissions: Some(0o700), ..FileAttributes::empty() })).await;
    assert_eq!(client.ok().await, id);
    assert_eq!(client.permissions("/link", false).await, Some(0o120_700));
    assert_eq!(client.permissions("/link", true).await, Some(0o100_644));
    let id = client.id();
    client.send(lsetstat(id, &FileAttributes { size: Some(1), ..FileAttributes::empty() })).await;
    assert_eq!(client.status().await, (id, StatusCode::BadMessage));
}

#[tokio::test]
async fn hard_links_are_refused_and_not_announced() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/file", b"content").await;
    let id = client.id();
    client.send(oracle::Extended { id, request: "hardlink@openssh.com".to_owned(), data: Vec::new() }).await;
    match client.receive().await {
        Packet::Status(status) => {
            assert_eq!((status.id, status.status_code), (id, StatusCode::OpUnsupported));
            assert!(status.error_message.contains("symbolic link"), "{}", status.error_message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_link_takes_the_name_of_a_file_that_is_being_uploaded() {
    let node = Node::new();
    let mut client = node.session().await;
    let handle = client.open("/new", NEW).await;
    assert_eq!(client.symlink("x", "/new").await, StatusCode::Failure);
    client.send_close(&handle).await;
    client.ok().await;
    assert_eq!(client.size_of("/new").await, Ok(0));
}

#[tokio::test]
async fn a_file_that_is_open_is_one_under_its_own_name_and_that_of_a_link() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/file", b"content").await;
    client.symlink("file", "/link").await;
    for (opened, size) in [("/link", 8), ("/file", 9)] {
        let handle = client.open(opened, OpenFlags::WRITE).await;
        client.send_write(&handle, size - 1, b"x").await;
        client.ok().await;
        for name in ["/file", "/link"] {
            assert_eq!(client.size_of(name).await, Ok(size), "{name}, open as {opened}");
            assert_eq!(client.permissions(name, true).await, Some(0o100_644), "{name}, open as {opened}");
        }
        assert_eq!(client.permissions("/link", false).await, Some(0o120_777), "LSTAT is of the link");
        let id = client.id();
        let attrs = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
        client.send(oracle::SetStat { id, path: "/link".to_owned(), attrs }).await;
        assert_eq!(client.ok().await, id);
        assert_eq!(client.permissions("/file", true).await, Some(0o100_600));
        // What is sent behind the CLOSE without waiting for it sees what it published.
        client.send_close(&handle).await;
        assert_eq!(client.send_stat("/file").await, client.send_stat("/link").await - 1);
        client.ok().await;
        for _ in 0..2 {
            let Packet::Attrs(shown) = client.receive().await else { panic!("no attributes") };
            assert_eq!((shown.attrs.size, shown.attrs.permissions), (Some(size), Some(0o100_600)));
        }
        let id = client.id();
        let attrs = FileAttributes { permissions: Some(0o644), ..FileAttributes::empty() };
        client.send(oracle::SetStat { id, path: "/file".to_owned(), attrs }).await;
        assert_eq!(client.ok().await, id);
    }
}
