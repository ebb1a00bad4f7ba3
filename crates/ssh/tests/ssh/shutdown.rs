//! How a node goes down.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::{Client, answer};
use crate::files::Sftp;
use crate::node::{Node, config, ed25519};

const GOING_DOWN: &str = "the node is going down, please reconnect";

#[tokio::test]
async fn draining_closes_the_listener_and_sends_idle_clients_away() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut idle = Client::login(node.address, "alice", &key).await;
    let mut before_login = Client::connect(node.address).await;
    let mut silent = TcpStream::connect(node.address).await.unwrap();
    silent.read_exact(&mut [0; 8]).await.unwrap();
    let sftp = Sftp::open(&mut Client::login(node.address, "alice", &key).await).await;

    node.shutdown.drain.cancel();
    assert_eq!(idle.farewell(Duration::from_secs(5)).await, GOING_DOWN);
    assert_eq!(before_login.farewell(Duration::from_secs(5)).await, GOING_DOWN);
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), silent.read_to_end(&mut rest)).await;
    assert!(closed.is_ok());
    drop(sftp);
    let address = node.address;
    node.stopped(Duration::from_secs(10)).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_session_with_an_open_file_finishes_while_the_node_drains() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::login(node.address, "alice", &key).await;
    let mut sftp = Sftp::open(&mut client).await;
    let handle = sftp.create("/upload").await;
    node.shutdown.drain.cancel();
    sftp.write(&handle, 0, b"the rest").await;
    sftp.close(&handle).await;
    assert_eq!(client.farewell(Duration::from_secs(5)).await, GOING_DOWN);
    node.stopped(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_deadline_ends_every_connection() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::login(node.address, "alice", &key).await;
    let mut sftp = Sftp::open(&mut client).await;
    let _handle = sftp.create("/upload").await;
    // A client that never answers anything any more is no reason to wait either.
    let _silent = TcpStream::connect(node.address).await.unwrap();
    node.shutdown.drain.cancel();
    node.shutdown.deadline.cancel();
    assert_eq!(client.farewell(Duration::from_secs(5)).await, GOING_DOWN);
    node.stopped(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn no_new_channel_opens_on_a_draining_node() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::login(node.address, "alice", &key).await;
    let mut sftp = Sftp::open(&mut client).await;
    let handle = sftp.create("/upload").await;
    node.shutdown.drain.cancel();
    let Err(russh::Error::ChannelOpenFailure(reason)) = client.handle.channel_open_session().await else {
        panic!("a channel was opened");
    };
    assert_eq!(reason.code(), 4, "resource shortage");
    sftp.close(&handle).await;
    node.stopped(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_channel_that_asks_for_nothing_does_not_hold_up_the_drain_past_the_deadline() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::login(node.address, "alice", &key).await;
    let mut channel = client.handle.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "netconf").await.unwrap();
    assert!(!answer(&mut channel).await);
    let _idle = client.handle.channel_open_session().await.unwrap();
    node.shutdown.drain.cancel();
    node.shutdown.deadline.cancel();
    assert_eq!(client.farewell(Duration::from_secs(5)).await, GOING_DOWN);
    node.stopped(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_outlive_the_deadline() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::connect_with(node.address, 2).await.unwrap();
    assert!(client.offer("alice", &key).await.success());
    let mut sftp = Sftp::open(&mut client).await;
    let handle = sftp.create("/large").await;
    let chunk = vec![7; 128 << 10];
    for at in 0..192_u64 {
        sftp.write(&handle, at << 17, &chunk).await;
    }
    sftp.close(&handle).await;
    let handle = sftp.open_file("/large", 0x1).await;
    sftp.request_reads(&handle, 192, 128 << 10).await;
    node.until_still("tidegate_sftp_bytes_total", "out").await;
    assert!(node.metric("tidegate_sftp_bytes_total", "out") < f64::from(24 << 20), "the client reads after all");
    node.shutdown.drain.cancel();
    node.shutdown.deadline.cancel();
    node.stopped(Duration::from_secs(10)).await;
}
