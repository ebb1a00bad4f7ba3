//! What one client may ask of a connection has its limits.

use std::time::Duration;

use bytesize::ByteSize;
use russh::keys::agent::client::AgentClient;
use tidegate_ssh::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

use crate::client::{Client, answer};
use crate::files::Sftp;
use crate::node::{Node, config, ed25519};

const SOON: Duration = Duration::from_secs(5);

async fn logged_in(settings: Config) -> (Node, Client) {
    let node = Node::start(settings).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let client = Client::login(node.address, "alice", &key).await;
    (node, client)
}

#[tokio::test]
async fn a_connection_ends_after_too_many_channels() {
    let settings = Config { max_channels: 3, max_channel_opens: 3, ..config() };
    let (node, mut client) = logged_in(settings).await;
    for _ in 0..3 {
        let channel = client.handle.channel_open_session().await.unwrap();
        channel.close().await.unwrap();
    }
    assert!(client.handle.channel_open_session().await.is_err());
    let said = client.farewell(SOON).await;
    assert_eq!(said, "disconnected: too many channels were opened on one connection");
    node.until_ended("over-connection-limit", 1.0).await;
}

#[tokio::test]
async fn a_connection_ends_after_too_many_refused_channels_of_any_kind() {
    let (node, mut client) = logged_in(config()).await;
    for _ in 0..16 {
        assert!(client.handle.channel_open_x11("127.0.0.1", 1).await.is_err());
        assert!(client.handle.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1).await.is_err());
        assert!(client.handle.channel_open_direct_streamlocal("/run/x.sock").await.is_err());
        assert!(client.handle.channel_open_direct_tcpip("::1", 22, "::1", 1).await.is_err());
    }
    assert!(client.goodbye.borrow().is_none(), "64 refusals are allowed");
    assert!(client.handle.channel_open_x11("127.0.0.1", 1).await.is_err());
    let said = client.farewell(SOON).await;
    assert_eq!(said, "disconnected: too many channels were refused on one connection");
    node.until_ended("over-connection-limit", 1.0).await;
}

#[tokio::test]
async fn a_request_larger_than_a_packet_may_be_ends_the_connection() {
    let allowed = "x".repeat(65_535);
    let large = format!("{allowed}x");
    for kind in ["exec", "env", "subsystem", "x11"] {
        let (node, mut client) = logged_in(config()).await;
        let mut channel = client.handle.channel_open_session().await.unwrap();
        channel.set_env(true, "", allowed.as_str()).await.unwrap();
        assert!(!answer(&mut channel).await, "env");
        match kind {
            "exec" => channel.exec(true, large.as_str()).await.unwrap(),
            "env" => channel.set_env(true, "x", allowed.as_str()).await.unwrap(),
            "x11" => channel.request_x11(true, false, "x", allowed.as_str(), 0).await.unwrap(),
            _ => channel.request_subsystem(true, large.as_str()).await.unwrap(),
        }
        assert_eq!(client.farewell(SOON).await, "disconnected: a packet was larger than announced", "{kind}");
        node.until_ended("over-connection-limit", 1.0).await;
    }
}

/// An agent that signs nothing: its client only asks whether a key is welcome.
fn unwilling_agent() -> AgentClient<DuplexStream> {
    let (near, mut far) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        while let Ok(length) = far.read_u32().await {
            let mut request = vec![0; length as usize];
            far.read_exact(&mut request).await.unwrap();
            // SSH_AGENT_FAILURE
            far.write_all(&[0, 0, 0, 1, 5]).await.unwrap();
        }
    });
    AgentClient::connect(near)
}

#[tokio::test]
async fn a_connection_ends_after_too_many_offers_of_a_good_key() {
    let node = Node::start(Config { max_auth_attempts: 1, ..config() }).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::connect(node.address).await;
    let mut agent = unwilling_agent();
    for offer in 1..=4 {
        let offered = client.handle.authenticate_publickey_with("alice", key.public_key().clone(), None, &mut agent);
        assert!(offered.await.is_err(), "offer {offer} was not welcome: nothing had to be signed");
    }
    let offered = client.handle.authenticate_publickey_with("alice", key.public_key().clone(), None, &mut agent);
    assert!(!offered.await.unwrap().success(), "a fifth offer was welcome");
    assert_eq!(client.farewell(SOON).await, "disconnected: too many keys were offered");
    node.until_ended("over-connection-limit", 1.0).await;
}

#[tokio::test]
async fn a_client_that_sends_much_before_its_login_is_cut_off() {
    let node = Node::start(config()).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(b"SSH-2.0-Test\r\n").await.unwrap();
    // SSH_MSG_IGNORE with 1,000 bytes (RFC 4253, sections 6 and 11.2), not encrypted yet.
    let mut packet = 1012_u32.to_be_bytes().to_vec();
    packet.extend([6, 2]);
    packet.extend(1000_u32.to_be_bytes());
    packet.resize(1016, 0);
    let flood = async {
        // It ends when the node has closed its side.
        while stream.write_all(&packet).await.is_ok() {}
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    };
    tokio::time::timeout(SOON, flood).await.expect("the node takes all that is sent");
    node.until_ended("over-connection-limit", 1.0).await;
}

#[tokio::test]
async fn an_upload_of_many_windows_is_no_misuse() {
    let settings = Config { max_channels: 1, window: ByteSize::kib(64), ..config() };
    let (_node, mut client) = logged_in(settings).await;
    let mut sftp = Sftp::open(&mut client).await;
    let handle = sftp.create("/file").await;
    let data = vec![7; 32 << 10];
    // More than a client may send without an answer: 1 MiB and two windows.
    for part in 0..64 {
        sftp.write(&handle, part * data.len() as u64, &data).await;
    }
    sftp.close(&handle).await;
}
