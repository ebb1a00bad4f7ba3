//! Connections, time and sessions have their limits.

use std::io::ErrorKind;
use std::time::Duration;

use tidegate_ssh::Config;
use tidegate_store::{Bandwidth, Directory, TenantLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::files::Sftp;
use crate::node::{Node, config, ed25519, user};

/// Whether the server closes the connection without a word, or after its greeting.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    match end.expect("the server did not close the connection") {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Connects and waits for the server's greeting, so that the connection is counted.
async fn greeted(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"SSH-2.0-");
    stream
}

#[tokio::test]
async fn connections_over_the_nodes_limit_are_closed_at_once() {
    let node = Node::start(Config { max_connections: 2, ..config() }).await;
    let first = greeted(&node).await;
    let _second = greeted(&node).await;
    assert!(is_closed(&mut TcpStream::connect(node.address).await.unwrap()).await);
    node.until_ended("over-node-limit", 1.0).await;
    drop(first);
    node.until_ended("probe", 1.0).await;
    greeted(&node).await;
}

#[tokio::test]
async fn connections_over_a_sources_limit_are_closed_at_once() {
    let node = Node::start(Config { max_connections_per_source: 1, ..config() }).await;
    let _first = greeted(&node).await;
    assert!(is_closed(&mut TcpStream::connect(node.address).await.unwrap()).await);
    node.until_ended("over-source-limit", 1.0).await;
}

#[tokio::test]
async fn those_who_have_not_logged_in_do_not_lock_out_those_who_have() {
    let node = Node::start(Config { max_unauthenticated: 1, ..config() }).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let _alice = Client::login(node.address, "alice", &key).await;
    let _waiting = greeted(&node).await;
    assert!(is_closed(&mut TcpStream::connect(node.address).await.unwrap()).await);
    node.until_ended("over-unauthenticated-limit", 1.0).await;
    assert_eq!(node.metric("tidegate_ssh_connections_open", ""), 2.0);
}

#[tokio::test]
async fn one_silent_source_has_few_places_among_those_who_log_in() {
    let node = Node::start(Config { max_unauthenticated_per_source: 1, ..config() }).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    // A login gives the place back.
    let _alice = Client::login(node.address, "alice", &key).await;
    let _silent = greeted(&node).await;
    assert!(is_closed(&mut TcpStream::connect(node.address).await.unwrap()).await);
    node.until_ended("over-unauthenticated-source-limit", 1.0).await;
}

#[tokio::test]
async fn a_login_has_its_time() {
    let node = Node::start(Config { login_grace: Duration::from_secs(1), ..config() }).await;
    // Says nothing; says hello and nothing more; stops before its login.
    let mut silent = greeted(&node).await;
    let mut half = greeted(&node).await;
    half.write_all(b"SSH-2.0-Test\r\n").await.unwrap();
    let mut client = Client::connect(node.address).await;
    assert!(is_closed(&mut silent).await);
    assert!(is_closed(&mut half).await);
    assert_eq!(client.farewell(Duration::from_secs(5)).await, "disconnected: the login took too long");
    node.until_ended("timeout", 2.0).await;
    node.until_ended("probe", 1.0).await;
    assert_eq!(node.logins("timeout"), 2.0);
}

#[tokio::test]
async fn a_connection_without_sftp_traffic_ends() {
    let node = Node::start(Config {
        idle_timeout: Duration::from_secs(2),
        keepalive_interval: Duration::from_secs(1),
        ..config()
    })
    .await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::login(node.address, "alice", &key).await;
    // Its answers to keep-alives don't count.
    let said = client.farewell(Duration::from_secs(10)).await;
    assert_eq!(said, "disconnected: no SFTP request for too long");
    node.until_ended("idle", 1.0).await;
}

#[tokio::test]
async fn a_tenants_sessions_are_limited_over_all_its_users() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_tenant("acme", TenantLimits { max_sessions: Some(1), ..TenantLimits::default() }).await;
    for name in ["alice", "bobby"] {
        let mut user = user(name, &[key.public_key()]);
        user.tenant = "acme".parse().unwrap();
        node.directory.create_user(&user).await.unwrap();
    }
    let alice = Client::login(node.address, "alice", &key).await;
    let mut bobby = Client::login(node.address, "bobby", &key).await;
    let said = bobby.farewell(Duration::from_secs(5)).await;
    assert_eq!(said, "too many sessions are open for this account; close one or try again later");
    node.until_ended("over-tenant-limit", 1.0).await;
    drop(alice);
    node.until_ended("closed", 1.0).await;
    let bobby = Client::login(node.address, "bobby", &key).await;
    bobby.handle.channel_open_session().await.unwrap();
}

// Both transfers are one request, and take longer than a connection may be silent.
#[tokio::test]
async fn a_session_that_waits_for_its_tenants_bandwidth_is_not_idle() {
    let node = Node::start(Config {
        idle_timeout: Duration::from_secs(2),
        keepalive_interval: Duration::from_secs(1),
        ..config()
    })
    .await;
    let key = ed25519();
    let limits = TenantLimits {
        max_bandwidth_in: Some(Bandwidth::MIN),
        max_bandwidth_out: Some(Bandwidth::MIN),
        ..TenantLimits::default()
    };
    node.add_tenant("alice", limits).await;
    node.directory.create_user(&user("alice", &[key.public_key()])).await.unwrap();
    let mut client = Client::login(node.address, "alice", &key).await;
    let mut sftp = Sftp::open(&mut client).await;
    let data: Vec<u8> = (0..250_000_u32).map(|i| (i % 251) as u8).collect();
    let handle = sftp.create("/file").await;
    sftp.write(&handle, 0, &data).await;
    sftp.close(&handle).await;
    assert!(sftp.content("/file", 250_000).await == data, "the bytes differ");
    for direction in ["in", "out"] {
        assert!(node.metric("tidegate_sftp_throttled_seconds_total", direction) > 0.0, "{direction}");
    }
    assert_eq!(node.metric("tidegate_ssh_connections_total", "idle"), 0.0);
    // Silence of the client's own still counts.
    let said = client.farewell(Duration::from_secs(10)).await;
    assert_eq!(said, "disconnected: no SFTP request for too long");
}

#[tokio::test]
async fn a_balancers_probe_is_no_failed_login() {
    let node = Node::start(config()).await;
    drop(TcpStream::connect(node.address).await.unwrap());
    drop(greeted(&node).await);
    node.until_ended("probe", 2.0).await;
    for result in ["rejected", "timeout", "unavailable"] {
        assert_eq!(node.logins(result), 0.0, "{result}");
    }
}

#[tokio::test]
async fn a_client_that_vanished_is_noticed() {
    let settings = Config { keepalive_interval: Duration::from_secs(1), keepalive_max: 1, ..config() };
    let node = Node::start(settings).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    // Stands between them, and one day forwards nothing any more without closing anything.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap();
    let (cut, is_cut) = oneshot::channel::<()>();
    let server = node.address;
    let relay = tokio::spawn(async move {
        let mut near = listener.accept().await.unwrap().0;
        let mut far = TcpStream::connect(server).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            _ = is_cut => {}
        }
        (near, far)
    });
    let _client = Client::login(between, "alice", &key).await;
    cut.send(()).unwrap();
    let _open = relay.await.unwrap();
    node.until_ended("lost", 1.0).await;
}
