//! Those who fail to log in are locked out, where they are and for a while.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use tidegate_ssh::{ClusterState, Config, LockOutConfig, ProxyProtocol};
use tidegate_store::Directory;
use tidegate_store::memory::{MemoryDirectory, MemoryLeases, MemoryLoginFailures};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, assert_refused};
use crate::node::{Node, config, ed25519, user};

/// Locks out quickly, for longer than a test takes.
fn strict() -> Config {
    let lock_out = LockOutConfig {
        user_failures: 2,
        source_failures: 3,
        first: Duration::from_secs(600),
        ..LockOutConfig::default()
    };
    Config { auth_rejection_delay: Duration::from_millis(50), lock_out, ..config() }
}

/// A connection whose login is refused.
async fn fail(node: &Node, user: &str) {
    let refused = node.metric("tidegate_ssh_connections_total", "unauthenticated");
    let mut client = Client::connect(node.address).await;
    assert_refused(&client.offer(user, &ed25519()).await, user);
    drop(client);
    node.until_ended("unauthenticated", refused + 1.0).await;
}

async fn is_refused(node: &Node, user: &str, key: &PrivateKey) -> bool {
    !Client::connect(node.address).await.offer(user, key).await.success()
}

async fn with_alice(config: Config) -> (Node, PrivateKey) {
    let (node, key) = (Node::start(config).await, ed25519());
    node.add_user("alice", &[key.public_key()]).await;
    (node, key)
}

#[tokio::test]
async fn a_user_who_failed_too_often_is_refused_with_the_right_key_and_others_are_not() {
    let (node, key) = with_alice(strict()).await;
    node.add_user("bobby", &[key.public_key()]).await;
    for _ in 0..2 {
        fail(&node, "alice").await;
    }
    node.until_metric("tidegate_ssh_lock_outs_total", "user", 1.0).await;
    for _ in 0..5 {
        assert!(is_refused(&node, "alice", &key).await);
    }
    node.until_metric("tidegate_ssh_authentications_total", "locked-out", 5.0).await;
    assert_eq!(node.metric("tidegate_ssh_lock_outs_total", "source"), 0.0, "what meets a lock does not count");
    Client::login(node.address, "bobby", &key).await;
}

#[tokio::test]
async fn a_source_that_failed_too_often_is_closed_before_a_byte() {
    let (node, _key) = with_alice(strict()).await;
    for name in ["root", "admin", "oracle"] {
        fail(&node, name).await;
    }
    node.until_metric("tidegate_ssh_lock_outs_total", "source", 1.0).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let mut byte = [0];
    assert!(!stream.read(&mut byte).await.is_ok_and(|read| read > 0), "nothing is said");
    node.until_ended("locked-out", 1.0).await;
}

#[tokio::test]
async fn keys_that_are_tried_before_the_right_one_are_no_failures() {
    let (node, key) = with_alice(strict()).await;
    for _ in 0..6 {
        let mut client = Client::connect(node.address).await;
        for _ in 0..3 {
            assert_refused(&client.offer("alice", &ed25519()).await, "another key");
        }
        assert!(client.offer("alice", &key).await.success());
    }
    // Nor is one failure now and then.
    for _ in 0..4 {
        fail(&node, "alice").await;
        Client::login(node.address, "alice", &key).await;
    }
    for scope in ["source", "user"] {
        assert_eq!(node.metric("tidegate_ssh_lock_outs_total", scope), 0.0, "{scope}");
    }
}

#[tokio::test]
async fn a_disabled_user_is_no_failure() {
    let (node, key) = with_alice(strict()).await;
    node.directory.set_user_status(&"alice".parse().unwrap(), tidegate_store::Status::Disabled).await.unwrap();
    for n in 1..=5 {
        assert!(is_refused(&node, "alice", &key).await);
        node.until_metric("tidegate_ssh_authentications_total", "disabled", f64::from(n)).await;
    }
    assert_eq!(node.metric("tidegate_ssh_lock_outs_total", "user"), 0.0);
}

/// Lets clients in as a balancer does: each address that it listens on stands for one client.
async fn balancer(node: &Node, client: &str) -> std::net::SocketAddr {
    let header = format!("PROXY TCP4 {client} 10.0.0.1 4711 22\r\n");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), node.address);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let header = header.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                far.write_all(header.as_bytes()).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn the_client_behind_the_balancer_is_locked_out_and_not_the_balancer() {
    let networks = vec!["127.0.0.0/8".parse().unwrap()];
    let (node, key) =
        with_alice(Config { proxy_protocol: ProxyProtocol::Required, proxy_networks: networks, ..strict() }).await;
    let (bad, good) = (balancer(&node, "192.0.2.66").await, balancer(&node, "192.0.2.7").await);
    for n in 1..=2 {
        let mut client = Client::connect(bad).await;
        assert_refused(&client.offer("alice", &ed25519()).await, "a wrong key");
        drop(client);
        node.until_ended("unauthenticated", f64::from(n)).await;
    }
    node.until_metric("tidegate_ssh_lock_outs_total", "user", 1.0).await;
    assert!(!Client::connect(bad).await.offer("alice", &key).await.success());
    Client::login(good, "alice", &key).await;
}

#[tokio::test]
async fn failures_count_over_all_nodes() {
    let directory = MemoryDirectory::new();
    let shared = ClusterState {
        accounts: Arc::new(directory.clone()),
        leases: Arc::new(MemoryLeases::new()),
        login_failures: Arc::new(MemoryLoginFailures::new()),
    };
    let first = Node::start_in(strict(), directory.clone(), shared.clone()).await;
    let second = Node::start_in(strict(), directory, shared).await;
    let key = ed25519();
    first.add_user("alice", &[key.public_key()]).await;
    fail(&first, "alice").await;
    fail(&second, "alice").await;
    second.until_metric("tidegate_ssh_lock_outs_total", "user", 1.0).await;
    assert!(is_refused(&second, "alice", &key).await);
    // A node that has seen one failure knows no more than that.
    Client::login(first.address, "alice", &key).await;
}

#[tokio::test]
async fn sessions_are_limited_over_all_nodes() {
    let directory = MemoryDirectory::new();
    let shared = ClusterState {
        accounts: Arc::new(directory.clone()),
        leases: Arc::new(MemoryLeases::new()),
        login_failures: Arc::new(MemoryLoginFailures::new()),
    };
    let first = Node::start_in(config(), directory.clone(), shared.clone()).await;
    let second = Node::start_in(config(), directory, shared).await;
    let key = ed25519();
    first.add_tenant("alice", tidegate_store::TenantLimits::default()).await;
    let mut alice = user("alice", &[key.public_key()]);
    alice.max_sessions = Some(1);
    first.directory.create_user(&alice).await.unwrap();
    let held = Client::login(first.address, "alice", &key).await;
    let mut other = Client::login(second.address, "alice", &key).await;
    let said = other.farewell(Duration::from_secs(10)).await;
    assert_eq!(said, "too many sessions are open for this account; close one or try again later");
    second.until_ended("over-user-limit", 1.0).await;
    assert_eq!(second.metric("tidegate_ssh_session_checks_total", "refused"), 1.0);
    drop(held);
    // At once: the end of the other session may still be under way to the other node.
    let other = Client::login(second.address, "alice", &key).await;
    other.handle.channel_open_session().await.unwrap();
}
