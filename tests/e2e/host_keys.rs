//! The cluster's host keys change while its nodes serve, before OpenSSH's own client.

use std::fs;
use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use tidegate_tests::{Cluster, Fault, Kind, Node, Output, Rclone, Ssh, When, until};

use crate::proxied::HASTY;

/// How often nodes look here, and what a look may take on a busy machine.
const REFRESH: (&str, &str) = ("TIDEGATE_HOST_KEYS__REFRESH_INTERVAL", "1s");
const FOLLOW: Duration = Duration::from_secs(30);

/// Nodes with a client that knows the cluster by a file of known hosts and trusts nothing else.
struct Rotation {
    cluster: Cluster,
    nodes: [Node; 2],
    clients: [Ssh; 2],
}

impl Rotation {
    fn start(cluster: Cluster) -> Self {
        Self::start_with(cluster, [&[REFRESH], &[REFRESH]])
    }

    /// With variables in the environment of each node.
    fn start_with(cluster: Cluster, variables: [&[(&str, &str)]; 2]) -> Self {
        cluster.add_user("alice");
        let nodes = [("first", variables[0]), ("second", variables[1])];
        let nodes = nodes.map(|(name, variables)| cluster.start_node_with(name, variables));
        let clients = [0, 1].map(|n| Ssh::new(&cluster.login(&nodes[n], "alice")).strict());
        Self { cluster, nodes, clients }
    }

    /// Runs `tidegate hostkey …` and gives what it prints.
    fn hostkey(&self, arguments: &[&str]) -> serde_json::Value {
        self.cluster.cli(&[&["hostkey"], arguments, &["--output", "json"]].concat()).json()
    }

    /// The public keys in this state, `algorithm base64`.
    fn public_keys(&self, state: &str) -> Vec<String> {
        let list = self.hostkey(&["list"]);
        let list = list.as_array().expect("a list");
        list.iter().filter(|key| key["state"] == state).map(|key| text(&key["public_key"])).collect()
    }

    /// What the clients' owners are told: these keys, and no others.
    fn clients_know(&self, keys: &[String]) {
        for (node, client) in self.nodes.iter().zip(&self.clients) {
            let host = format!("[127.0.0.1]:{}", node.ready().sftp.port());
            let known: String = keys.iter().map(|key| format!("{host} {key}\n")).collect();
            fs::write(client.file("known_hosts"), known).expect("a file can be written");
        }
    }

    /// Logs in to each node, each time with a client that trusts only what it knows.
    fn logins(&self) -> Vec<Output> {
        self.clients.iter().map(|client| client.sftp("pwd\n")).collect()
    }

    /// Both nodes can be logged in to, and no client says a word.
    #[track_caller]
    fn assert_no_warning(&self) {
        for output in self.logins() {
            let output = output.ok();
            assert_eq!(output.stderr, "", "the client has something to say");
        }
    }

    /// Waits until both nodes have this change of the host keys.
    fn until_revision(&self, revision: f64) {
        for node in &self.nodes {
            until("the node follows", FOLLOW, || {
                (node.metric("tidegate_host_keys_revision") == revision).then_some(())
            });
        }
    }

    fn assert_not_restarted(&mut self) {
        for node in &mut self.nodes {
            node.process().assert_running();
            assert_eq!(node.log().matches("the node serves").count(), 1);
        }
    }
}

/// The fingerprint of the Ed25519 key that the client's node shows.
fn shown(client: &Ssh) -> String {
    let said = client.sftp_with(&["-v"], "pwd\n").ok().stderr;
    let line = said.lines().find_map(|line| line.split_once("Server host key: ssh-ed25519 "));
    line.unwrap_or_else(|| panic!("no Ed25519 key is shown: {said}")).1.to_owned()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// A session that stays open, and exchanges keys anew after every few kilobytes.
struct OpenSession {
    sftp: Child,
    batch: ChildStdin,
}

impl OpenSession {
    fn start(ssh: &Ssh) -> Self {
        let mut command = ssh.sftp_command();
        command.args(["-o", "RekeyLimit=16K", "-b", "-"]).arg(ssh.target());
        let (out, err) = (ssh.file("session.out"), ssh.file("session.err"));
        command.stdin(Stdio::piped()).stdout(fs::File::create(out).unwrap()).stderr(fs::File::create(err).unwrap());
        let mut sftp = command.spawn().expect("sftp runs");
        let batch = sftp.stdin.take().expect("a pipe");
        Self { sftp, batch }
    }

    fn say(&mut self, lines: &str) {
        self.batch.write_all(lines.as_bytes()).expect("the session is open");
    }

    fn end(self) -> bool {
        let Self { mut sftp, batch } = self;
        drop(batch);
        until("the session ends", Duration::from_secs(60), || sftp.try_wait().expect("a child can be asked")).success()
    }
}

#[test]
fn a_rotation_passes_without_a_warning_and_without_a_restart() {
    let mut rotation = Rotation::start(Cluster::on_moto());
    let first = rotation.public_keys("active");
    rotation.clients_know(&first);
    rotation.assert_no_warning();
    let mut session = OpenSession::start(&rotation.clients[0]);
    let file = rotation.clients[0].file("f");
    fs::write(&file, vec![7; 300_000]).unwrap();
    session.say("put f before\n");

    // Announce: nodes know the key and show the old one.
    let added = rotation.hostkey(&["add", "--announce-for", "0s"]);
    rotation.until_revision(2.0);
    rotation.assert_no_warning();
    // The clients' owners put it beside the old ones.
    let both = [first.clone(), vec![text(&added["public_key"])]].concat();
    rotation.clients_know(&both);
    rotation.assert_no_warning();

    // Activate: until both nodes follow, clients may meet either key, and know both.
    let activated = rotation.hostkey(&["activate", &text(&added["fingerprint"])]);
    assert_eq!(activated["changed"], true);
    rotation.assert_no_warning();
    rotation.until_revision(3.0);
    rotation.assert_no_warning();
    for client in &rotation.clients {
        assert_eq!(shown(client), text(&added["fingerprint"]));
    }
    // A session from before goes on, key exchanges included.
    session.say("put f after\nls -1\n");
    assert!(session.end(), "{}", fs::read_to_string(rotation.clients[0].file("session.err")).unwrap());
    let listed = fs::read_to_string(rotation.clients[0].file("session.out")).unwrap();
    assert!(listed.contains("before") && listed.contains("after"), "{listed}");

    // The old key goes, and the clients' owners take it out of their files.
    rotation.hostkey(&["remove", &text(&activated["retired"]), "--force"]);
    rotation.until_revision(4.0);
    rotation.clients_know(&rotation.public_keys("active"));
    rotation.assert_no_warning();

    // Who knows the old Ed25519 key is told that the host has changed: the protocol has no other way.
    rotation.clients_know(&first[..1]);
    for output in rotation.logins() {
        let output = output.fails();
        assert!(output.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{}", output.stderr);
    }
    rotation.assert_not_restarted();
}

#[test]
fn clients_that_know_a_key_of_another_algorithm_keep_to_that() {
    let rotation = Rotation::start(Cluster::on_dev_store());
    let known = rotation.public_keys("active");
    let rsa: Vec<_> = known.iter().filter(|key| key.starts_with("ssh-rsa")).cloned().collect();
    assert_eq!(rsa.len(), 1);
    rotation.clients_know(&rsa);
    rotation.assert_no_warning();
    // A new Ed25519 key that nobody was told of.
    let added = rotation.hostkey(&["add", "--algorithm", "ed25519"]);
    rotation.cluster.cli(&["hostkey", "activate", &text(&added["fingerprint"])]).fails();
    rotation.hostkey(&["activate", &text(&added["fingerprint"]), "--force"]);
    rotation.until_revision(3.0);
    rotation.assert_no_warning();
    // Who knows the old one of that algorithm as well is not helped by the others.
    rotation.clients_know(&known);
    for output in rotation.logins() {
        let output = output.fails();
        assert!(output.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{}", output.stderr);
    }
}

#[test]
fn administrators_at_once_lose_nothing_to_one_another() {
    let cluster = Cluster::on_dev_store();
    let racers: Vec<_> = (0..4)
        .map(|_| {
            let mut command = cluster.command();
            command.args(["hostkey", "add", "--output", "json", "--config"]).arg(cluster.config_file());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let added: Vec<_> = racers
        .into_iter()
        .map(|racer| {
            let output = racer.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            text(&serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["fingerprint"])
        })
        .collect();
    let listed = cluster.cli(&["hostkey", "list"]).ok().stdout;
    for fingerprint in added {
        assert!(listed.contains(&fingerprint), "{fingerprint} is lost in\n{listed}");
    }
    assert_eq!(listed.matches(" announced ").count(), 4, "{listed}");
}

#[test]
fn nodes_go_on_with_their_keys_when_the_new_ones_are_damaged() {
    let mut rotation = Rotation::start(Cluster::on_dev_store());
    let keys = rotation.public_keys("active");
    rotation.clients_know(&keys);
    let object = format!("s3:{}/tidegate/host-keys", Cluster::BUCKET);
    let (kept, damaged) = (rotation.clients[0].file("kept"), rotation.clients[0].file("damaged"));
    let rclone = Rclone::on_s3(&rotation.cluster.s3());
    rclone.run(["copyto", &object, &kept.display().to_string()]).ok();
    let mut bytes = fs::read(&kept).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    rclone.run(["copyto", "--ignore-times", &damaged.display().to_string(), &object]).ok();

    let unusable = "tidegate_host_keys_refreshes_total{result=\"unusable\"}";
    for node in &rotation.nodes {
        until("the node has looked twice", FOLLOW, || (node.metric(unusable) >= 2.0).then_some(()));
        assert_eq!(node.get("/readyz").expect("the side port answers").0, 200);
        node.wait_for_log("goes on with those it has");
    }
    rotation.assert_no_warning();
    let said = rotation.cluster.cli(&["hostkey", "list"]).fails().stderr;
    assert!(said.contains("damaged"), "{said}");
    rotation.cluster.cli(&["hostkey", "add"]).fails();

    // The older version is put back, and a change reaches the nodes again.
    rclone.run(["copyto", "--ignore-times", &kept.display().to_string(), &object]).ok();
    rotation.hostkey(&["add"]);
    rotation.until_revision(2.0);
    rotation.assert_no_warning();
    rotation.assert_not_restarted();
}

#[test]
fn nodes_go_on_with_their_keys_while_s3_is_away() {
    let cluster = Cluster::behind_proxy();
    cluster.add_user("alice");
    let node = cluster.start_node_with("node", &[&HASTY[..], &[REFRESH]].concat());
    let ssh = Ssh::new(&cluster.login(&node, "alice"));
    let before = shown(&ssh);
    cluster.proxy().inject(&Kind::ALL, When::Always, Fault::SlowDown);
    let unavailable = "tidegate_host_keys_refreshes_total{result=\"unavailable\"}";
    until("a look has failed", FOLLOW, || (node.metric(unavailable) >= 1.0).then_some(()));
    assert_eq!(shown(&ssh), before);
    assert_eq!(node.get("/readyz").expect("the side port answers").0, 200);
    cluster.proxy().heal();
    cluster.cli(&["hostkey", "add"]).ok();
    until("the node follows", FOLLOW, || (node.metric("tidegate_host_keys_revision") == 2.0).then_some(()));
}

#[test]
fn nodes_of_two_versions_of_the_keys_are_both_known() {
    let slow = ("TIDEGATE_HOST_KEYS__REFRESH_INTERVAL", "1h");
    let rotation = Rotation::start_with(Cluster::on_dev_store(), [&[REFRESH], &[slow]]);
    let old = rotation.public_keys("active");
    let added = rotation.hostkey(&["add", "--announce-for", "0s"]);
    rotation.clients_know(&[old, vec![text(&added["public_key"])]].concat());
    let activated = rotation.hostkey(&["activate", &text(&added["fingerprint"])]);
    let node = &rotation.nodes[0];
    until("a node follows", FOLLOW, || (node.metric("tidegate_host_keys_revision") == 3.0).then_some(()));
    rotation.assert_no_warning();
    let keys = [&rotation.clients[0], &rotation.clients[1]].map(shown);
    assert_eq!(keys, [text(&added["fingerprint"]), text(&activated["retired"])]);
}
