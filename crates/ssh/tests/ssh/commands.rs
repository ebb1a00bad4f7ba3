//! `scp` with its old protocol, and the programs that print checksums, as OpenSSH's and PuTTY's
//! clients run them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, UNIX_EPOCH};

use russh::keys::{HashAlg, PublicKey};
use tidegate_ssh::Config;
use tokio::process::Command;

use crate::node::{Node, config};
use crate::openssh::{Home, run, text};

struct Client {
    home: Home,
    key: PathBuf,
}

impl Client {
    async fn of(node: &Node) -> Self {
        let home = Home::new(node);
        let (key, public) = home.keygen("ed25519", "256").await;
        node.add_user("alice", &[&public]).await;
        Self { home, key }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.home.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs `scp -O` in the folder of its files.
    async fn scp(&self, node: &Node, arguments: &[&str]) -> Output {
        let mut scp = self.home.client("scp", node, &self.key);
        scp.arg("-O").args(arguments).current_dir(self.home.path(""));
        run(scp, "").await
    }

    async fn ssh(&self, node: &Node, command: &str, input: &str) -> Output {
        let mut ssh = self.home.client("ssh", node, &self.key);
        ssh.args(["alice@127.0.0.1", command]);
        run(ssh, input).await
    }
}

fn ok(output: &Output) {
    assert!(output.status.success(), "{} {}", text(&output.stdout), text(&output.stderr));
}

#[tokio::test]
async fn scp_copies_both_ways() {
    let node = Node::start(config()).await;
    let client = Client::of(&node).await;
    let large: Vec<u8> = (0..3_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, content) in [("plain", &b"content"[..]), ("with space", b"x"), ("empty", b""), ("large", &large)] {
        client.file(name, content);
        ok(&client.scp(&node, &[name, "alice@127.0.0.1:"]).await);
        ok(&client.scp(&node, &[&format!("alice@127.0.0.1:{}", name.replace(' ', "\\ ")), "back"]).await);
        assert!(fs::read(client.home.path("back")).unwrap() == content, "{name} came back differently");
    }
    // Onto a name, over a file that is there, and several files into a directory by a pattern.
    ok(&client.scp(&node, &["plain", "alice@127.0.0.1:/large"]).await);
    fs::create_dir(client.home.path("into")).unwrap();
    ok(&client.scp(&node, &["alice@127.0.0.1:~/*l?r*", "alice@127.0.0.1:plain", "into"]).await);
    assert_eq!(fs::read(client.home.path("into/large")).unwrap(), b"content");
    assert_eq!(fs::read_dir(client.home.path("into")).unwrap().count(), 2);
}

#[tokio::test]
async fn scp_keeps_a_tree_with_its_times_and_modes() {
    let node = Node::start(config()).await;
    let client = Client::of(&node).await;
    client.file("tree/deep/er/file", b"deep");
    fs::create_dir(client.home.path("tree/nothing in it")).unwrap();
    let file = client.file("tree/script", b"#!/bin/sh\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o751)).unwrap();
    let then = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for path in ["tree/script", "tree/nothing in it"] {
        fs::File::open(client.home.path(path)).unwrap().set_modified(then).unwrap();
    }
    ok(&client.scp(&node, &["-r", "-p", "tree", "alice@127.0.0.1:copy"]).await);
    ok(&client.scp(&node, &["-r", "-p", "alice@127.0.0.1:copy", "back"]).await);
    assert_eq!(fs::read(client.home.path("back/deep/er/file")).unwrap(), b"deep");
    let script = fs::metadata(client.home.path("back/script")).unwrap();
    assert_eq!((script.mode() & 0o777, script.mtime()), (0o751, 1_500_000_000));
    let directory = fs::metadata(client.home.path("back/nothing in it")).unwrap();
    assert!(directory.is_dir() && directory.mtime() == 1_500_000_000, "{}", directory.mtime());
    // Into a directory that is there it goes below it.
    ok(&client.scp(&node, &["-r", "tree", "alice@127.0.0.1:copy"]).await);
    ok(&client.scp(&node, &["alice@127.0.0.1:copy/tree/script", "again"]).await);
}

#[tokio::test]
async fn scp_says_what_it_can_not_do_and_does_the_rest() {
    let node = Node::start(config()).await;
    let client = Client::of(&node).await;
    client.file("tree/file", b"x");
    client.file("there", b"x");
    ok(&client.scp(&node, &["-r", "tree", "there", "alice@127.0.0.1:"]).await);
    for (arguments, said) in [
        (&["alice@127.0.0.1:missing", "out"][..], "missing: no such file or directory"),
        (&["alice@127.0.0.1:none*", "out"], "none*: no such file or directory"),
        (&["alice@127.0.0.1:tree", "out"], "tree: not a regular file"),
        (&["there", "alice@127.0.0.1:no/such/directory"], "the parent directory does not exist"),
        (&["there", "tree/file", "alice@127.0.0.1:there"], "not a directory"),
        (&["alice@127.0.0.1:$HOME/x", "out"], "there is no shell here"),
        (&["alice@127.0.0.1:*/x", "out"], "in the last part of a path only"),
    ] {
        let output = client.scp(&node, arguments).await;
        let errors = text(&output.stderr);
        assert!(!output.status.success() && errors.contains(said), "{arguments:?}: {errors}");
    }
    let output = client.scp(&node, &["alice@127.0.0.1:missing alice", "out"]).await;
    assert!(!output.status.success());
    let mixed = client.ssh(&node, "scp -f missing there", "\0\0\0").await;
    assert_eq!(text(&mixed.stdout), "\x01scp: missing: no such file or directory\nC0644 1 there\nx\0");
    assert_eq!(mixed.status.code(), Some(1));
}

#[tokio::test]
async fn an_scp_that_is_cut_or_broken_publishes_nothing() {
    let node = Node::start(config()).await;
    let client = Client::of(&node).await;
    for input in [
        "C0644 10 cut\n12345",
        "C0644 5 failed\n12345\x01the client could not read its file\n",
        "C0644 5 ../outside\n12345\0",
        "C0644 5 a/b\n12345\0",
        "D0755 0 directory\n",
        "nonsense\n",
        "E\n",
    ] {
        let output = client.ssh(&node, "scp -t .", input).await;
        assert_eq!(output.status.code(), Some(1), "{input:?}: {}", text(&output.stderr));
    }
    let sums = client.ssh(&node, "md5sum cut failed outside a/b", "").await;
    assert!(sums.stdout.is_empty(), "{}", text(&sums.stdout));
}

#[tokio::test]
async fn checksums_of_files_and_of_input_are_printed() {
    let node = Node::start(config()).await;
    let client = Client::of(&node).await;
    client.file("a b", b"abc");
    ok(&client.scp(&node, &["a b", "alice@127.0.0.1:"]).await);
    let output = client.ssh(&node, "md5sum a\\ b missing '/a b'", "").await;
    assert_eq!(text(&output.stdout), "900150983cd24fb0d6963f7d28e17f72  a b\n900150983cd24fb0d6963f7d28e17f72  /a b\n");
    assert_eq!(text(&output.stderr), "missing: no such file or directory\n");
    assert_eq!(output.status.code(), Some(1));
    for (command, sum) in [
        ("sha1sum", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha256sum -b -", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ] {
        let output = client.ssh(&node, command, "abc").await;
        ok(&output);
        assert_eq!(text(&output.stdout), format!("{sum}  -\n"));
    }
}

#[tokio::test]
async fn switched_off_no_command_runs() {
    let node = Node::start(Config { commands: false, ..config() }).await;
    let client = Client::of(&node).await;
    for command in ["scp -f x", "scp -t x", "md5sum", "scp $x"] {
        let output = client.ssh(&node, command, "").await;
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert_eq!(text(&output.stderr).trim_end(), "This service allows SFTP connections only.", "{command}");
    }
}

#[tokio::test]
async fn pscp_copies_both_ways() {
    let node = Node::start(config()).await;
    let client = Client::of(&node).await;
    let key = client.home.path("alice.ppk");
    let mut convert = Command::new("puttygen");
    convert.arg(&client.key).args(["-O", "private", "-o"]).arg(&key);
    ok(&run(convert, "").await);
    client.file("tree/with space", b"content");
    let keys = node.keys.public_keys();
    let print = |key: &String| PublicKey::from_openssh(key).unwrap().fingerprint(HashAlg::Sha256).to_string();
    let fingerprints: Vec<_> = keys.iter().flat_map(|key| ["-hostkey".to_owned(), print(key)]).collect();
    for arguments in [&["-r", "tree", "alice@127.0.0.1:"][..], &["-r", "alice@127.0.0.1:tree", "back"]] {
        fs::create_dir_all(client.home.path("back")).unwrap();
        let mut pscp = Command::new("pscp");
        pscp.args(["-scp", "-batch", "-p", "-P", &node.address.port().to_string(), "-i"]).arg(&key);
        pscp.args(&fingerprints).args(arguments).current_dir(client.home.path(""));
        pscp.env("HOME", client.home.path(""));
        ok(&run(pscp, "").await);
    }
    assert_eq!(fs::read(client.home.path("back/tree/with space")).unwrap(), b"content");
}

#[tokio::test]
async fn rclone_compares_by_hash() {
    let read = compare_by_rclone(&Node::start(config()).await).await;
    assert!(read > LARGE as f64, "{read}: the file is read");
}

#[tokio::test]
async fn rclone_compares_by_the_hashes_that_the_store_has() {
    let read = compare_by_rclone(&Node::start_with_md5s(config()).await).await;
    assert_eq!(read, 4.0, "the small files are read, and the large one is not");
}

const LARGE: usize = 3 << 20;

/// Has rclone compare files by their MD5, and tells how many bytes the node read for printing those.
async fn compare_by_rclone(node: &Node) -> f64 {
    let client = Client::of(node).await;
    client.file("tree/it's a (name) ü $x", b"abc");
    client.file("tree/other", b"x");
    client.file("tree/large", &(0..LARGE).map(|n| (n % 253) as u8).collect::<Vec<_>>());
    let remote = format!(
        "[node]\ntype = sftp\nhost = 127.0.0.1\nport = {}\nuser = alice\nkey_file = {}\nknown_hosts_file = {}\n",
        node.address.port(),
        client.key.display(),
        client.home.path("known_hosts").display()
    );
    client.file("rclone.conf", remote.as_bytes());
    let rclone = async |arguments: &[&str]| {
        let mut rclone = Command::new("rclone");
        rclone.arg("--config").arg(client.home.path("rclone.conf")).args(arguments);
        run(
            {
                rclone.current_dir(client.home.path(""));
                rclone
            },
            "",
        )
        .await
    };
    ok(&rclone(&["copy", "tree", "node:tree"]).await);
    for (algorithm, sum) in
        [("md5", "900150983cd24fb0d6963f7d28e17f72"), ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d")]
    {
        let output = rclone(&["hashsum", algorithm, "node:tree"]).await;
        ok(&output);
        let line = format!("{sum}  it's a (name) ü $x");
        assert!(text(&output.stdout).contains(&line), "{}", text(&output.stdout));
    }
    let sorted = |output: &Output| {
        let mut lines: Vec<_> = text(&output.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = node.metric("tidegate_sftp_bytes_total", "out");
    let printed = rclone(&["hashsum", "md5", "node:tree"]).await;
    let read = node.metric("tidegate_sftp_bytes_total", "out") - before;
    assert_eq!(sorted(&printed), sorted(&rclone(&["hashsum", "md5", "tree"]).await));
    let same = rclone(&["check", "tree", "node:tree"]).await;
    ok(&same);
    assert!(!text(&same.stderr).contains("hashes could not be checked"), "{}", text(&same.stderr));
    // The same size, and other bytes.
    client.file("tree/other", b"y");
    assert!(!rclone(&["check", "tree", "node:tree"]).await.status.success());
    read
}
