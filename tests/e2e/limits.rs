//! Limits that hold over all nodes: sessions, and lock-outs of those who fail to log in.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tidegate_tests::{Cluster, Kind, Login, Node, Ssh, When, keygen, until};

const LIMIT: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(9);
const SETTINGS: [(&str, &str); 2] = [("TIDEGATE_SSH__SESSION_LEASE", "9s"), ("TIDEGATE_ACCOUNTS__TTL", "1s")];

/// A session that stays open until it is dropped.
pub(crate) struct Held(Child);

impl Held {
    /// Logs in and waits until the node has the session.
    pub(crate) fn open(node: &Node, ssh: &Ssh) -> Self {
        let logins = || node.log().matches("\"activity-type\":\"CONNECTED\"").count();
        let before = logins();
        let mut command = ssh.subsystem();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let held = Self(child);
        until("the session is open", LIMIT, || (logins() > before).then_some(()));
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn checks(node: &Node, result: &str) -> f64 {
    node.metric(&format!("tidegate_ssh_session_checks_total{{result=\"{result}\"}}"))
}

fn told(node: &Node) -> f64 {
    node.metric("tidegate_store_requests_total{call=\"hold\",result=\"ok\",service=\"leases\"}")
}

#[test]
fn a_limit_on_sessions_holds_over_all_nodes_and_heals_when_one_dies() {
    let cluster = Cluster::behind_proxy();
    cluster.add_user("alice");
    cluster.add_user("bobby");
    cluster.cli(&["tenant", "set", "acme", "--max-sessions", "3"]).ok();
    cluster.cli(&["user", "set", "bobby", "--max-sessions", "1"]).ok();
    let mut first = cluster.start_node_with("first", &SETTINGS);
    let second = cluster.start_node_with("second", &SETTINGS);
    let client = |node: &Node, user: &str| Ssh::new(&cluster.login(node, user));

    let _held = [Held::open(&first, &client(&first, "alice")), Held::open(&first, &client(&first, "alice"))];
    assert_eq!((told(&first), told(&second)), (2.0, 0.0), "one write for each login with one limit");
    let bobby = Held::open(&second, &client(&second, "bobby"));
    assert_eq!(told(&second), 2.0, "and two for two");

    // The tenant has three by now, and so has bobby what he may.
    for (node, user) in [(&first, "bobby"), (&first, "alice"), (&second, "alice")] {
        let said = client(node, user).sftp("pwd\n").fails().stderr;
        assert!(said.contains("too many sessions are open for this account"), "{said}");
    }
    assert!(first.log().contains("the tenant has all the sessions it may have"));
    drop(bobby);
    // Whoever leaves one node for the other does not meet his own session.
    client(&first, "bobby").sftp("pwd\n").ok();
    let bobby = Held::open(&second, &client(&second, "bobby"));
    client(&second, "alice").sftp("pwd\n").fails();
    drop(bobby);

    // A node that dies takes its sessions with it, within two lives of a lease.
    let bobby = Held::open(&second, &client(&second, "bobby"));
    first.process().signal("KILL");
    let died = Instant::now();
    let alice = client(&second, "alice");
    until("the dead node's sessions count no more", 2 * LEASE + LIMIT, || {
        alice.sftp("pwd\n").status.success().then_some(())
    });
    println!("after {:?}", died.elapsed());
    let _more = [Held::open(&second, &alice), Held::open(&second, &alice)];
    alice.sftp("pwd\n").fails();
    drop(bobby);
    assert_eq!(checks(&second, "unchecked"), 0.0);
    until("the dead node's lease is removed", 2 * LEASE + LIMIT, || {
        (second.metric("tidegate_ssh_session_leases") == 1.0).then_some(())
    });
}

#[test]
fn without_the_table_each_nodes_own_count_decides() {
    let cluster = Cluster::behind_proxy();
    cluster.add_user("alice");
    cluster.cli(&["user", "set", "alice", "--max-sessions", "1"]).ok();
    // Known for longer than the test takes.
    let settings = [SETTINGS[0], ("TIDEGATE_ACCOUNTS__TTL", "5m")];
    let nodes = [cluster.start_node_with("first", &settings), cluster.start_node_with("second", &settings)];
    let clients: Vec<_> = nodes.iter().map(|node| Ssh::new(&cluster.login(node, "alice"))).collect();
    for ssh in &clients {
        ssh.sftp("pwd\n").ok();
    }
    cluster.dynamodb_proxy().inject(&[Kind::Other], When::Always, tidegate_tests::Fault::ResetBeforeBody);
    let held: Vec<_> = nodes.iter().zip(&clients).map(|(node, ssh)| Held::open(node, ssh)).collect();
    for (node, ssh) in nodes.iter().zip(&clients) {
        assert!(checks(node, "unchecked") >= 1.0);
        node.wait_for_log("sessions can't be counted over all nodes");
        ssh.sftp("pwd\n").fails();
    }
    cluster.dynamodb_proxy().heal();
    until("both are counted again", LIMIT, || {
        let known = nodes.iter().all(|node| node.log().contains("sessions are counted over all nodes again"));
        known.then_some(())
    });
    drop(held);
    let _held = Held::open(&nodes[0], &clients[0]);
    clients[1].sftp("pwd\n").fails();
}

#[test]
fn who_fails_to_log_in_is_locked_out_on_all_nodes_and_only_from_there() {
    let cluster = Cluster::behind_proxy();
    cluster.add_user("alice");
    let settings = [
        ("TIDEGATE_SSH__LOCK_OUT__USER_FAILURES", "3"),
        ("TIDEGATE_SSH__LOCK_OUT__SOURCE_FAILURES", "5"),
        ("TIDEGATE_SSH__LOCK_OUT__FIRST", "10m"),
        ("TIDEGATE_SSH__AUTH_REJECTION_DELAY", "50ms"),
    ];
    let nodes = [cluster.start_node_with("first", &settings), cluster.start_node_with("second", &settings)];
    let wrong = cluster.folder().join("wrong");
    keygen(&wrong, &["-t", "ed25519"]);
    let fail = |node: &Node, user: &str| {
        let lines = node.log().matches("AUTH_FAILURE").count();
        let login = Login { identity_file: wrong.clone(), user: user.to_owned(), ..cluster.login(node, "alice") };
        Ssh::new(&login).sftp("pwd\n").fails();
        until("the failure is logged", LIMIT, || (node.log().matches("AUTH_FAILURE").count() > lines).then_some(()));
    };
    let locked = |node: &Node, scope: &str| {
        until("the lock-out is counted", LIMIT, || {
            let sample = format!("tidegate_ssh_lock_outs_total{{scope=\"{scope}\"}}");
            (node.metric(&sample) == 1.0).then_some(())
        });
    };
    let alice: Vec<_> = nodes.iter().map(|node| Ssh::new(&cluster.login(node, "alice"))).collect();
    let from_elsewhere = ["-o", "BindAddress=127.0.0.2"];

    fail(&nodes[0], "alice");
    fail(&nodes[0], "alice");
    fail(&nodes[1], "alice");
    locked(&nodes[1], "user");
    alice[1].sftp("pwd\n").fails();
    alice[1].sftp_with(&from_elsewhere, "pwd\n").ok();

    fail(&nodes[0], "root");
    fail(&nodes[0], "admin");
    locked(&nodes[0], "source");
    let before = cluster.dynamodb_proxy().seen().total();
    for _ in 0..5 {
        let said = alice[0].sftp("pwd\n").fails().stderr;
        assert!(said.contains("closed") || said.contains("reset"), "nothing is said to it: {said}");
    }
    assert_eq!(cluster.dynamodb_proxy().seen().total(), before, "who is locked out costs no request");
    assert!(nodes[0].metric("tidegate_ssh_connections_total{outcome=\"locked-out\"}") >= 5.0);
    alice[0].sftp_with(&from_elsewhere, "pwd\n").ok();
}
