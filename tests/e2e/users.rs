//! Users and tenants on the command line, and what a login then may do.

use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tidegate_tests::{Cluster, Login, Ssh, keygen, sha256_of_file, until, write_random_file};

#[test]
fn every_kind_of_key_logs_in() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let node = cluster.start_node("node");
    for (name, options) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "3072"]),
    ] {
        let identity_file = cluster.folder().join(name);
        keygen(&identity_file, options);
        let public = identity_file.with_extension("pub").display().to_string();
        cluster.cli(&["user", "add", name, "--tenant", "acme", "--key", &public]).ok();
        let login = Login { address: node.ready().sftp, user: name.to_owned(), identity_file };
        Ssh::new(&login).sftp("pwd\n").ok();
        if name == "rsa" {
            // SHA-1 signatures are refused, whatever the key.
            Ssh::new(&login).sftp_with(&["-o", "PubkeyAcceptedAlgorithms=ssh-rsa"], "pwd\n").fails();
        }
    }
}

#[test]
fn users_have_several_keys_and_weak_ones_are_refused() {
    let cluster = Cluster::on_moto();
    let first = cluster.add_user("alice");
    let node = cluster.start_node("node");
    let second = cluster.folder().join("second");
    keygen(&second, &["-t", "ed25519"]);
    let public = second.with_extension("pub").display().to_string();
    cluster.cli(&["user", "key", "add", "alice", "--key", &public]).ok();
    for identity_file in [first, second.clone()] {
        let login = Login { address: node.ready().sftp, user: "alice".to_owned(), identity_file };
        Ssh::new(&login).sftp("pwd\n").ok();
    }
    let keys = cluster.cli(&["user", "key", "list", "alice", "--output", "json"]).json();
    assert_eq!(keys.as_array().unwrap().len(), 2, "{keys}");

    let said = cluster.cli(&["user", "key", "add", "alice", "--key", &public]).fails().stderr;
    assert!(said.contains("SHA256:"), "the same key twice: {said}");
    let said = cluster.cli(&["user", "key", "add", "alice", "--key", &second.display().to_string()]).fails().stderr;
    assert!(said.contains("private key"), "{said}");
    let weak = cluster.folder().join("weak");
    keygen(&weak, &["-t", "rsa", "-b", "1024"]);
    let public = weak.with_extension("pub").display().to_string();
    let said = cluster.cli(&["user", "key", "add", "alice", "--key", &public]).fails().stderr;
    assert!(said.contains("1024"), "{said}");
}

#[test]
fn disabled_users_tenants_and_expired_keys_do_not_log_in() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let node = cluster.start_node("node");
    let ssh = Ssh::new(&cluster.login(&node, "alice"));
    let soon = |what: &str, works: bool| {
        let limit = Cluster::ACCOUNTS_TTL + Duration::from_secs(60);
        until(what, limit, || (ssh.sftp("pwd\n").status.success() == works).then_some(()));
    };
    ssh.sftp("pwd\n").ok();
    for what in [["user", "alice"], ["tenant", "acme"]] {
        cluster.cli(&[what[0], "disable", what[1]]).ok();
        soon("the login is refused", false);
        cluster.cli(&[what[0], "enable", what[1]]).ok();
        soon("the login works again", true);
    }

    let keys = cluster.cli(&["user", "key", "list", "alice", "--output", "json"]).json();
    cluster.cli(&["user", "key", "remove", "alice", keys[0]["id"].as_str().unwrap()]).ok();
    let public = cluster.folder().join("alice.key.pub").display().to_string();
    let expires = rfc3339_in(Duration::from_secs(20));
    cluster.cli(&["user", "key", "add", "alice", "--key", &public, "--key-expires", &expires]).ok();
    soon("the key works until it expires", true);
    soon("the key has expired", false);

    cluster.cli(&["user", "remove", "alice"]).ok();
    cluster.cli(&["user", "show", "alice"]).fails();
}

/// A moment from now on, as the command line takes it.
fn rfc3339_in(time: Duration) -> String {
    let moment = format!("@{}", (SystemTime::now() + time).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    let output = Command::new("date").args(["--utc", "--date", &moment, "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_tenants_bandwidth_slows_its_transfers_down_and_fails_none() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let limits = ["--max-bandwidth-in", "1MiB", "--max-bandwidth-out", "1MiB", "--output", "json"];
    let shown = cluster.cli(&[&["tenant", "set", "acme"][..], &limits].concat()).json();
    assert_eq!((&shown["max_bandwidth_in"], &shown["max_sessions"]), (&Value::from(1 << 20), &Value::Null));

    let node = cluster.start_node("node");
    let ssh = Ssh::new(&cluster.login(&node, "alice"));
    let sum = write_random_file(&ssh.file("f"), 7, 2 << 20);
    ssh.sftp("put f\nget f back\n").ok();
    assert_eq!(sha256_of_file(&ssh.file("back")), sum);
    for direction in ["in", "out"] {
        let sample = format!("tidegate_sftp_throttled_seconds_total{{direction=\"{direction}\"}}");
        assert!(node.metric(&sample) > 0.0, "{sample}");
    }
}

#[test]
fn permissions_and_home_hold() {
    let cluster = Cluster::on_moto();
    cluster.add_user("writer");
    let node = cluster.start_node("node");
    let writer = Ssh::new(&cluster.login(&node, "writer"));
    std::fs::write(writer.file("f"), "content").unwrap();
    writer.sftp("mkdir shared\nput f shared/f\n").ok();

    let key = cluster.folder().join("reader.key");
    keygen(&key, &["-t", "ed25519"]);
    let public = cluster.folder().join("reader.key.pub").display().to_string();
    let permissions = ["--permissions", "list,read", "--home", "/shared"];
    let add = [&["user", "add", "reader", "--tenant", "acme", "--key", &public][..], &permissions].concat();
    cluster.cli(&add).ok();
    let reader = Ssh::new(&cluster.login(&node, "reader"));
    std::fs::write(reader.file("f"), "other").unwrap();
    let listing = reader.sftp("pwd\nls -1\nget f back\n").ok().stdout;
    assert!(listing.contains("Remote working directory: /shared"), "{listing}");
    assert_eq!(std::fs::read_to_string(reader.file("back")).unwrap(), "content");
    for command in ["put f f", "put f g", "rm f", "rename f g", "mkdir d", "rmdir /shared", "chmod 600 f"] {
        let said = reader.sftp(&format!("{command}\n")).fails().stderr.to_lowercase();
        assert!(said.contains("denied") || said.contains("not allowed"), "{command}: {said}");
    }
    writer.sftp("get shared/f back\n").ok();
    assert_eq!(std::fs::read_to_string(writer.file("back")).unwrap(), "content");
}

#[test]
fn rules_and_logical_directories_hold() {
    let cluster = Cluster::on_moto();
    cluster.add_user("writer");
    let key = cluster.folder().join("partner.key");
    keygen(&key, &["-t", "ed25519"]);
    let public = cluster.folder().join("partner.key.pub").display().to_string();
    let mappings = cluster.folder().join("mappings.json");
    let entries = r#"[
        {"Entry": "/", "Target": "/home/${transfer:UserName}", "Type": "DIRECTORY"},
        {"Entry": "/lists/public", "Target": "/public", "ReadOnly": true}
    ]"#;
    std::fs::write(&mappings, entries).unwrap();
    let add = ["user", "add", "partner", "--tenant", "acme", "--key", &public];
    let access = ["--mappings", mappings.to_str().unwrap(), "--permission", "/inbox=list,write"];
    cluster.cli(&[&add[..], &access].concat()).ok();
    let node = cluster.start_node("node");
    let writer = Ssh::new(&cluster.login(&node, "writer"));
    std::fs::write(writer.file("f"), "content").unwrap();
    writer
        .sftp("mkdir home\nmkdir home/partner\nmkdir home/partner/inbox\nmkdir public\nput f public/f\nput f f\n")
        .ok();

    let partner = Ssh::new(&cluster.login(&node, "partner"));
    std::fs::write(partner.file("g"), "partner's").unwrap();
    let listing = partner.sftp("ls -1 /\nls -1 /lists\nget /lists/public/f back\nput g inbox/g\nput g g\n").ok().stdout;
    assert!(!listing.contains("home") && listing.contains("/lists/public"), "{listing}");
    assert_eq!(std::fs::read_to_string(partner.file("back")).unwrap(), "content");
    for refused in [
        "put g lists/public/g",
        "rm lists/public/f",
        "rmdir lists/public",
        "rename lists/public here",
        "get inbox/g back",
        "rm inbox/g",
        "get f back",
        "get ../f back",
        "get /home/partner/g back",
    ] {
        partner.sftp(&format!("{refused}\n")).fails();
    }
    writer.sftp("get home/partner/inbox/g back\nget home/partner/g back\n").ok();
    assert_eq!(std::fs::read_to_string(writer.file("back")).unwrap(), "partner's");

    cluster.cli(&["user", "set", "partner", "--mappings", "none", "--permission", "none"]).ok();
    let partner = cluster.cli(&["user", "show", "partner", "--output", "json"]).json();
    assert_eq!(
        (&partner["mappings"], &partner["rules"]),
        (&Value::from(Vec::<Value>::new()), &Value::from(Vec::<Value>::new()))
    );
}

#[test]
fn a_quota_refuses_uploads_on_every_node() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    cluster.cli(&["tenant", "set", "acme", "--quota-bytes", "1MiB"]).ok();
    let (first, second) = (cluster.start_node("first"), cluster.start_node("second"));
    let alice = Ssh::new(&cluster.login(&first, "alice"));
    write_random_file(&alice.file("large"), 1, 900 << 10);
    alice.sftp("put large one\n").ok();
    let shown = || cluster.cli(&["tenant", "show", "acme", "--output", "json"]).json();
    // Until then nothing is refused, and what is made and removed may be counted wrong.
    until("the tenant is counted for the first time", Duration::from_secs(60), || {
        shown()["used"]["counted"].is_string().then_some(())
    });
    for node in [&first, &second] {
        let alice = Ssh::new(&cluster.login(node, "alice"));
        write_random_file(&alice.file("large"), 2, 900 << 10);
        until("the quota is heeded", Duration::from_secs(60), || {
            alice.sftp("put large two\nrm two\n").stderr.contains("Failure").then_some(())
        });
        assert!(node.metric("tidegate_vfs_quota_refusals_total") > 0.0, "it is the quota that refused");
        assert_eq!(alice.sftp("ls -1 /\n").ok().stdout.matches("two").count(), 0);
    }
    let tenant = shown();
    assert_eq!(tenant["quota_bytes"], Value::from(1 << 20));
    assert!(tenant["used"]["counted"].is_string(), "{tenant}");
    alice.sftp("rm one\n").ok();
    // What was made and removed while the first count ran may be counted wrong until the next one.
    cluster.cli(&["tenant", "recount", "acme"]).ok();
    until("there is room again", Duration::from_secs(60), || {
        alice.sftp("put large one\n").status.success().then_some(())
    });
}

#[test]
fn tenants_do_not_see_one_another() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    cluster.cli(&["tenant", "add", "rival", "--bucket", Cluster::BUCKET, "--prefix", "tenants/rival/"]).ok();
    let key = cluster.folder().join("mallory.key");
    keygen(&key, &["-t", "ed25519"]);
    let public = cluster.folder().join("mallory.key.pub").display().to_string();
    cluster.cli(&["user", "add", "mallory", "--tenant", "rival", "--key", &public]).ok();
    let node = cluster.start_node("node");
    let alice = Ssh::new(&cluster.login(&node, "alice"));
    let mallory = Ssh::new(&cluster.login(&node, "mallory"));
    std::fs::write(alice.file("secret"), "secret").unwrap();
    alice.sftp("put secret\n").ok();
    for path in
        ["secret", "/secret", "../secret", "../acme/secret", "/tenants/acme/secret", "../../tenants/acme/secret"]
    {
        mallory.sftp(&format!("get \"{path}\"\n")).fails();
    }
    let listing = mallory.sftp("ls -1a /\nls -1a ../..\n").ok().stdout;
    assert!(!listing.contains("secret") && !listing.contains("acme"), "{listing}");
}
