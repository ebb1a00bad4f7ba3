//! Connections that a balancer brings.

use std::time::Duration;

use tidegate_ssh::{Config, ProxyProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, config};

/// A node whose balancers are in these networks; the tests connect from 127.0.0.1.
async fn behind(proxy_protocol: ProxyProtocol, networks: &[&str]) -> Node {
    let proxy_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    let proxy_timeout = Duration::from_secs(1);
    Node::start(Config { proxy_protocol, proxy_networks, proxy_timeout, max_connections_per_source: 1, ..config() })
        .await
}

async fn send(node: &Node, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn is_greeted(stream: &mut TcpStream) -> bool {
    let mut greeting = [0; 8];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut greeting)).await;
    read.expect("it is greeted or closed").is_ok() && &greeting == b"SSH-2.0-"
}

fn client(number: u8) -> Vec<u8> {
    format!("PROXY TCP4 192.0.2.{number} 10.0.0.1 4711 22\r\n").into_bytes()
}

#[tokio::test]
async fn limits_count_the_client_that_the_balancer_names() {
    for mode in [ProxyProtocol::Trusted, ProxyProtocol::Required] {
        let node = behind(mode, &["127.0.0.0/8", "::1/128"]).await;
        let mut first = send(&node, &client(1)).await;
        let mut second = send(&node, &client(2)).await;
        assert!(is_greeted(&mut first).await && is_greeted(&mut second).await, "two clients through one balancer");
        let mut again = send(&node, &client(1)).await;
        assert!(!is_greeted(&mut again).await, "the same client over its limit");
        node.until_ended("over-source-limit", 1.0).await;
    }
}

#[tokio::test]
async fn a_balancer_that_brings_no_header_is_not_let_in() {
    let node = behind(ProxyProtocol::Trusted, &["127.0.0.0/8"]).await;
    assert!(!is_greeted(&mut send(&node, b"SSH-2.0-Client\r\n").await).await);
    node.until_ended("no-proxy-header", 1.0).await;
    let mut silent = TcpStream::connect(node.address).await.unwrap();
    assert!(!is_greeted(&mut silent).await, "it has had its time");
    node.until_ended("no-proxy-header", 2.0).await;
    drop(TcpStream::connect(node.address).await.unwrap());
    node.until_ended("probe", 1.0).await;
}

#[tokio::test]
async fn headers_of_strangers_are_not_believed() {
    let node = behind(ProxyProtocol::Trusted, &["192.0.2.0/24"]).await;
    let mut direct = TcpStream::connect(node.address).await.unwrap();
    assert!(is_greeted(&mut direct).await, "without a header, as itself");
    let mut other = send(&node, &client(9)).await;
    assert!(!is_greeted(&mut other).await, "it is one source with the first, whatever it says");
    node.until_ended("over-source-limit", 1.0).await;

    let node = behind(ProxyProtocol::Required, &["192.0.2.0/24"]).await;
    assert!(!is_greeted(&mut send(&node, &client(9)).await).await);
    node.until_ended("not-from-proxy", 1.0).await;
}
