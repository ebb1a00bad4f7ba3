//! Everything but SFTP is refused, and refusing it harms nobody.

use std::time::Duration;

use russh::{ChannelMsg, ChannelOpenFailure, Error};

use crate::client::{Client, answer};
use crate::node::{Node, config, ed25519};

async fn logged_in(settings: tidegate_ssh::Config) -> (Node, Client) {
    let node = Node::start(settings).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let client = Client::login(node.address, "alice", &key).await;
    (node, client)
}

#[tokio::test]
async fn shells_and_commands_are_refused_with_a_message() {
    let (_node, client) = logged_in(config()).await;
    for command in [None, Some("id")] {
        let mut channel = client.handle.channel_open_session().await.unwrap();
        match command {
            None => channel.request_shell(true).await.unwrap(),
            Some(command) => channel.exec(true, command).await.unwrap(),
        }
        let mut told = Vec::new();
        let (mut status, mut closed) = (None, false);
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::ExtendedData { data, ext: 1 } => told.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                ChannelMsg::Close => closed = true,
                ChannelMsg::Data { data } => panic!("{data:?}"),
                _ => {}
            }
        }
        assert_eq!(String::from_utf8(told).unwrap(), "This service allows SFTP connections only.\r\n");
        assert!(status == Some(1) && closed, "{command:?}: {status:?} {closed}");
    }
}

#[tokio::test]
async fn other_channel_requests_are_refused() {
    let (_node, client) = logged_in(config()).await;
    let mut channel = client.handle.channel_open_session().await.unwrap();
    channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    assert!(!answer(&mut channel).await, "pty");
    channel.set_env(true, "LD_PRELOAD", "evil.so").await.unwrap();
    assert!(!answer(&mut channel).await, "env");
    channel.agent_forward(true).await.unwrap();
    assert!(!answer(&mut channel).await, "agent");
    channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await.unwrap();
    assert!(!answer(&mut channel).await, "x11");
    channel.request_subsystem(true, "netconf").await.unwrap();
    assert!(!answer(&mut channel).await, "another subsystem");
}

#[tokio::test]
async fn forwarding_is_refused_in_every_direction() {
    let (_node, client) = logged_in(config()).await;
    let refused = |result: Result<_, Error>, what| match result {
        Err(Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited)) => {}
        Err(other) => panic!("{what}: {other:?}"),
        Ok(_) => panic!("{what} was granted"),
    };
    refused(client.handle.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1).await, "direct-tcpip");
    refused(client.handle.channel_open_direct_streamlocal("/run/x.sock").await, "direct-streamlocal");
    refused(client.handle.channel_open_x11("127.0.0.1", 1).await, "x11");
    assert!(client.handle.tcpip_forward("127.0.0.1", 0).await.is_err());
    assert!(client.handle.streamlocal_forward("/run/x.sock").await.is_err());
    client.handle.channel_open_session().await.unwrap();
}

#[tokio::test]
async fn channels_of_one_connection_are_limited() {
    let (node, client) = logged_in(tidegate_ssh::Config { max_channels: 2, ..config() }).await;
    let first = client.handle.channel_open_session().await.unwrap();
    let _second = client.handle.channel_open_session().await.unwrap();
    let Err(Error::ChannelOpenFailure(reason)) = client.handle.channel_open_session().await else {
        panic!("a third channel was opened");
    };
    assert_eq!(reason.code(), 4, "resource shortage");
    first.close().await.unwrap();
    // The place comes back when the channel's task has ended.
    let reopened = async {
        while client.handle.channel_open_session().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reopened).await.unwrap();
    drop(node);
}

#[tokio::test]
async fn a_flood_of_requests_on_an_idle_channel_does_not_stop_the_connection() {
    let (_node, client) = logged_in(config()).await;
    let channel = client.handle.channel_open_session().await.unwrap();
    for _ in 0..500 {
        channel.set_env(false, "LANG", "C").await.unwrap();
    }
    let other = client.handle.channel_open_session();
    tokio::time::timeout(Duration::from_secs(5), other).await.expect("the connection stands still").unwrap();
}
