//! Several nodes on one store.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_tests::{Cluster, Node, Process, Ssh, sha256_of_file, until, write_random_file};

/// The host keys that a node shows to anybody who asks.
fn host_keys(node: &Node) -> BTreeSet<String> {
    let port = node.ready().sftp.port().to_string();
    let output =
        Command::new("ssh-keyscan").args(["-T", "60", "-p", &port, "127.0.0.1"]).output().expect("ssh-keyscan runs");
    let keys: BTreeSet<_> = String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("host and key").1.to_owned())
        .collect();
    assert_eq!(keys.len(), 3, "Ed25519, ECDSA and RSA: {keys:?}");
    keys
}

#[test]
fn two_nodes_are_one_server() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let (first, second) = (cluster.start_node("first"), cluster.start_node("second"));
    assert_eq!(host_keys(&first), host_keys(&second));

    let on_first = Ssh::new(&cluster.login(&first, "alice"));
    let on_second = Ssh::new(&cluster.login(&second, "alice"));
    let sum = write_random_file(&on_first.file("f"), 2, 20 << 20);
    on_first.sftp("mkdir d\nput f d/f\n").ok();
    let listing = on_second.sftp("ls -1 d\nget d/f back\n").ok().stdout;
    assert!(listing.contains("d/f"), "{listing}");
    assert_eq!(sha256_of_file(&on_second.file("back")), sum);
    on_second.sftp("rename d/f d/g\n").ok();
    let listing = on_first.sftp("ls -1 d\n").ok().stdout;
    assert!(listing.contains("d/g") && !listing.contains("d/f"), "{listing}");
    on_first.sftp("rm d/g\n").ok();
    on_second.sftp("get d/g\n").fails();
}

#[test]
fn who_is_to_see_uploads_has_them_in_listings_on_every_node() {
    const SIZE: u64 = 64 << 20;
    let cluster = Cluster::on_dev_store();
    for user in ["alice", "bob"] {
        cluster.add_user(user);
    }
    cluster.cli(&["user", "set", "bob", "--list-uploads", "true"]).ok();
    let nodes = [cluster.start_node("first"), cluster.start_node("second")];
    let [alice, bob] = ["alice", "bob"].map(|user| nodes.each_ref().map(|node| Ssh::new(&cluster.login(node, user))));
    alice[0].sftp("mkdir d\n").ok();
    // Name and size of each file.
    let listed = |ssh: &Ssh| -> Vec<(String, u64)> {
        let listing = ssh.sftp("ls -l d\n").ok().stdout;
        let line = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            (words[8].to_owned(), words[4].parse().unwrap())
        };
        listing.lines().map(line).collect()
    };

    let sum = write_random_file(&alice[0].file("large"), 3, SIZE);
    fs::write(alice[0].file("batch"), "put large d/large\n").unwrap();
    let mut command = alice[0].sftp_command();
    // -l is in Kbit/s: 4 MiB/s.
    command.args(["-l", "32768", "-b", "batch"]).arg(alice[0].target());
    let mut upload = Process::start("upload", alice[0].folder(), &mut command);
    for ssh in &bob {
        until("bob sees what is stored of it", Duration::from_secs(60), || {
            upload.assert_running();
            let listed = listed(ssh);
            let [(name, size)] = &listed[..] else { return None };
            assert!(name == "d/large" && *size < SIZE, "{listed:?}");
            (*size > 0).then_some(())
        });
        // STAT, as it asks where it is given a name.
        assert!(ssh.sftp("ls -l d/large\n").ok().stdout.contains("large"));
    }
    // It is not to end while alice looks.
    upload.signal("STOP");
    for ssh in &alice {
        assert_eq!(listed(ssh), [], "alice does not");
    }
    upload.signal("KILL");
    upload.wait(Duration::from_secs(60));
    until("both nodes list what was cut", Duration::from_secs(60), || {
        let (first, second) = (listed(&bob[0]), listed(&bob[1]));
        (first == second && first.len() == 1 && first[0].1 < SIZE).then_some(())
    });
    alice[0].sftp("reput large d/large\n").ok();
    for ssh in alice.iter().chain(&bob) {
        assert_eq!(listed(ssh), [("d/large".to_owned(), SIZE)]);
    }
    bob[1].sftp("get d/large back\n").ok();
    assert_eq!(sha256_of_file(&bob[1].file("back")), sum);
}

#[test]
fn a_removed_key_stops_working_on_every_node_within_the_bound() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let nodes = [cluster.start_node("first"), cluster.start_node("second")];
    let clients: Vec<_> = nodes.iter().map(|node| Ssh::new(&cluster.login(node, "alice"))).collect();
    for ssh in &clients {
        ssh.sftp("pwd\n").ok();
    }

    let keys = cluster.cli(&["user", "key", "list", "alice", "--output", "json"]).json();
    let id = keys[0]["id"].as_str().expect("a key has an id").to_owned();
    cluster.cli(&["user", "key", "remove", "alice", &id]).ok();
    let removed = Instant::now();
    for ssh in &clients {
        // The bound, and what a login itself takes on a busy machine.
        until("the key is refused", Cluster::ACCOUNTS_TTL + Duration::from_secs(10), || {
            let output = ssh.sftp("pwd\n");
            (!output.status.success()).then_some(())
        });
        assert!(removed.elapsed() < Cluster::ACCOUNTS_TTL + Duration::from_secs(12));
    }
}

#[test]
fn nodes_that_start_at_once_end_up_with_one_set_of_host_keys() {
    let cluster = Cluster::on_bare_moto();
    cluster.cli(&["init"]).ok();
    // Four commands race for the first keys, each in a process of its own.
    let racers: Vec<_> = (0..4)
        .map(|_| {
            let mut command = cluster.command();
            command.args(["hostkey", "init", "--output", "json", "--config"]).arg(cluster.config_file());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let printed: BTreeSet<_> = racers
        .into_iter()
        .map(|racer| {
            let output = racer.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    assert_eq!(printed.len(), 1, "{printed:?}");
    assert_eq!(printed.into_iter().next().unwrap(), cluster.cli(&["hostkey", "show", "--output", "json"]).ok().stdout);
}

#[test]
fn nodes_that_may_make_host_keys_race_to_one_set() {
    let cluster = Cluster::on_bare_moto();
    cluster.cli(&["init"]).ok();
    let auto = [("TIDEGATE_HOST_KEYS__AUTO_INIT", "true")];
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| cluster.start_node_with("first", &auto));
        let second = scope.spawn(|| cluster.start_node_with("second", &auto));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(host_keys(&first), host_keys(&second));
}

#[test]
fn host_keys_that_leaked_are_replaced_on_nodes_that_run() {
    let cluster = Cluster::on_moto();
    let node = cluster.start_node_with("node", &[("TIDEGATE_HOST_KEYS__REFRESH_INTERVAL", "1s")]);
    let before = host_keys(&node);
    cluster.cli(&["hostkey", "rotate"]).fails();
    cluster.cli(&["hostkey", "rotate", "--force"]).ok();
    until("the node has the new keys", Duration::from_secs(30), || host_keys(&node).is_disjoint(&before).then_some(()));
    assert_eq!(host_keys(&node), host_keys(&cluster.start_node("another")));
}

#[test]
fn no_private_key_touches_the_disk_or_the_log() {
    let cluster = Cluster::on_dev_store();
    cluster.add_user("alice");
    let node = cluster.start_node("node");
    Ssh::new(&cluster.login(&node, "alice")).sftp("pwd\n").ok();
    // Everything the nodes, the stores and the command line wrote, but the users' own keys.
    let mut open = vec![cluster.folder().to_owned()];
    let mut files = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_none_or(|extension| extension != "key") {
                let bytes = fs::read(&path).unwrap();
                for secret in [&b"PRIVATE KEY"[..], b"openssh-key-v1"] {
                    let found = bytes.windows(secret.len()).any(|window| window == secret);
                    assert!(!found, "a private key in {}", path.display());
                }
                files += 1;
            }
        }
    }
    assert!(files > 4, "the search finds what was written");
}
