use russh_sftp::protocol::{self as oracle, OpenFlags, Packet, StatusCode};

use crate::client::{Client, Node};

pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

pub async fn extended(client: &mut Client, request: &str, data: Vec<u8>) -> Packet {
    let id = client.id();
    client.send(oracle::Extended { id, request: request.to_owned(), data }).await;
    client.receive().await
}

fn path(packet: Packet) -> Result<String, StatusCode> {
    match packet {
        Packet::Name(name) => Ok(name.files[0].filename.clone()),
        Packet::Status(status) => Err(status.status_code),
        other => panic!("{other:?}"),
    }
}

fn body(packet: Packet) -> Vec<u8> {
    match packet {
        Packet::ExtendedReply(reply) => reply.data,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tildes_and_homes_are_expanded_for_the_user_alone() {
    let node = Node::new();
    let mut client = node.session().await;
    for (given, expected) in [
        ("~", Ok("/")),
        ("~/a/../b", Ok("/b")),
        ("~alice/c", Ok("/c")),
        ("~//c", Ok("/c")),
        ("", Ok("/")),
        ("x/./y", Ok("/x/y")),
        ("~bob", Err(StatusCode::NoSuchFile)),
        ("~alice2/x", Err(StatusCode::NoSuchFile)),
    ] {
        let answer = extended(&mut client, "expand-path@openssh.com", string(given.as_bytes())).await;
        assert_eq!(path(answer), expected.map(str::to_owned), "{given}");
    }
    for (user, expected) in [("alice", Ok("/")), ("", Ok("/")), ("bob", Err(StatusCode::NoSuchFile))] {
        let answer = extended(&mut client, "home-directory", string(user.as_bytes())).await;
        assert_eq!(path(answer), expected.map(str::to_owned), "{user}");
    }
}

#[tokio::test]
async fn names_of_owners_are_those_of_the_long_names() {
    let node = Node::new();
    let mut client = node.session().await;
    client.put("/f", b"x").await;
    let ids = [0_u32.to_be_bytes(), 1000_u32.to_be_bytes()].concat();
    let data = [string(&ids), string(&ids[..4])].concat();
    let names = body(extended(&mut client, "users-groups-by-id@openssh.com", data).await);
    let expected = [string(&[string(b"alice"), string(b"")].concat()), string(&string(b"alice"))].concat();
    assert_eq!(names, expected);
    let id = client.id();
    client.send(oracle::OpenDir { id, path: "/".to_owned() }).await;
    let handle = client.handle().await;
    let id = client.id();
    client.send(oracle::ReadDir { id, handle }).await;
    let Packet::Name(page) = client.receive().await else { panic!("no NAME") };
    assert!(page.files[0].longname.contains(" alice    alice "), "{}", page.files[0].longname);
    let data = [string(&ids[..3]), string(b"")].concat();
    let refused = extended(&mut client, "users-groups-by-id@openssh.com", data).await;
    assert!(matches!(refused, Packet::Status(status) if status.status_code == StatusCode::BadMessage));
}

#[tokio::test]
async fn room_is_told_of_what_is_there() {
    let node = Node::new();
    let mut client = node.session().await;
    let handle = client.open("/new", OpenFlags::WRITE | OpenFlags::CREATE).await;
    for (request, data) in [
        ("statvfs@openssh.com", string(b"/")),
        ("statvfs@openssh.com", string(b"/new")),
        ("fstatvfs@openssh.com", string(handle.as_bytes())),
    ] {
        let answer = body(extended(&mut client, request, data).await);
        assert_eq!(answer.len(), 88);
        assert_eq!(answer[..8], 4096_u64.to_be_bytes());
    }
    let missing = extended(&mut client, "statvfs@openssh.com", string(b"/missing")).await;
    assert_eq!(path(missing), Err(StatusCode::NoSuchFile));
    let closed = extended(&mut client, "fstatvfs@openssh.com", string(b"ffffffff")).await;
    assert_eq!(path(closed), Err(StatusCode::Failure));
}
