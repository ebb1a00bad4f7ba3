//! Whose connection it is, through a balancer that tells it by PROXY headers.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::{Check, Cluster, Haproxy, Node, Ssh, until};

const LIMIT: Duration = Duration::from_secs(30);

/// Headers are believed from the balancer's address alone; clients of other addresses are on this machine, too.
const TRUSTED: [(&str, &str); 3] = [
    ("TIDEGATE_SSH__PROXY_PROTOCOL", "trusted"),
    ("TIDEGATE_SSH__PROXY_NETWORKS", "[\"127.0.0.1/32\"]"),
    ("TIDEGATE_SSH__MAX_CONNECTIONS_PER_SOURCE", "1"),
];

/// The options for a client that comes from this address.
fn from(address: &str) -> [String; 2] {
    ["-o".to_owned(), format!("BindAddress={address}")]
}

/// A client that stays until it is dropped.
struct Guest(Child);

impl Guest {
    fn start(ssh: &Ssh, address: &str) -> Self {
        let mut command: Command = ssh.subsystem_with(&from(address));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("ssh runs"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The addresses in the log's lines that tell of sessions which ended after a login.
fn logged_addresses(node: &Node) -> Vec<String> {
    let log = node.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = lines.filter(|line| line["activity-type"] == "DISCONNECTED" && line["user"] == "alice");
    ended.map(|line| line["source-ip"].as_str().expect("each has one").to_owned()).collect()
}

#[test]
fn the_client_s_address_comes_through_the_balancer_to_log_and_limits() {
    let cluster = Cluster::without_moto();
    cluster.add_user("alice");
    let node = cluster.start_node_with("node", &TRUSTED);
    let balancer = Haproxy::start(cluster.folder(), 1, Check::Readiness, true);
    balancer.put(0, &node);
    let ssh = Ssh::new(&cluster.login_at(balancer.address(), "alice"));
    let pwd = |ssh: &Ssh, address: &str| {
        let options = from(address);
        ssh.sftp_with(&[&options[0], &options[1]], "pwd\n")
    };

    pwd(&ssh, "127.0.0.7").ok();
    until("its place is free", LIMIT, || (node.metric("tidegate_ssh_connections_open") == 0.0).then_some(()));
    let guest = Guest::start(&ssh, "127.0.0.7");
    until("the guest is there", LIMIT, || (node.metric("tidegate_sftp_sessions") == 1.0).then_some(()));
    // One connection for each source, and the balancer is none.
    pwd(&ssh, "127.0.0.8").ok();
    let refused = "tidegate_ssh_connections_total{outcome=\"over-source-limit\"}";
    assert_eq!(node.metric(refused), 0.0);
    pwd(&ssh, "127.0.0.7").fails();
    assert_eq!(node.metric(refused), 1.0);
    drop(guest);
    // Past the balancer, and so without a header.
    pwd(&Ssh::new(&cluster.login(&node, "alice")), "127.0.0.9").ok();

    let mut addresses = until("all of them are logged", LIMIT, || {
        let addresses = logged_addresses(&node);
        (addresses.len() == 4).then_some(addresses)
    });
    addresses.sort();
    assert_eq!(addresses, ["127.0.0.7", "127.0.0.7", "127.0.0.8", "127.0.0.9"]);
}

#[test]
fn checks_of_the_balancer_are_answered_with_headers_and_without_and_fill_no_log() {
    const CHECKS: f64 = 20.0;
    let cluster = Cluster::without_moto();
    let plain = cluster.start_node("plain");
    let trusting = cluster.start_node_with("trusting", &TRUSTED);
    // Both with one and the other kind of check, at the side port.
    for header in [false, true] {
        let balancer = Haproxy::start(cluster.folder(), 2, Check::Readiness, header);
        for (place, node) in [&plain, &trusting].into_iter().enumerate() {
            balancer.put(place, node);
            assert_eq!(balancer.server(place).last_check, "L7OK", "with a header: {header}");
        }
    }

    // Where clients connect.
    let before = [&plain, &trusting].map(Node::log);
    let balancers = [
        (&plain, Check::Banner, false),
        (&plain, Check::Connect, false),
        (&trusting, Check::Banner, true),
        (&trusting, Check::Connect, true),
    ]
    .map(|(node, check, header)| {
        let balancer = Haproxy::start(cluster.folder(), 1, check, header);
        balancer.put(0, node);
        balancer
    });
    let probes = "tidegate_ssh_connections_total{outcome=\"probe\"}";
    for node in [&plain, &trusting] {
        until("the checks are counted", LIMIT, || (node.metric(probes) >= CHECKS).then_some(()));
    }
    for balancer in balancers {
        assert_eq!(balancer.server(0).status, "UP");
    }
    assert_eq!([&plain, &trusting].map(Node::log), before, "not a line for any of them");
    for outcome in ["error", "no-proxy-header", "unauthenticated"] {
        let sample = format!("tidegate_ssh_connections_total{{outcome=\"{outcome}\"}}");
        assert_eq!(trusting.metric(&sample) + plain.metric(&sample), 0.0, "{outcome}");
    }
}
