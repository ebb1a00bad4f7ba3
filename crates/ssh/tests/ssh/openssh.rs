//! OpenSSH's own programs: `ssh`, `sftp` and `ssh-keygen` must be installed.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use russh::keys::PublicKey;
use tempfile::TempDir;
use tidegate_ssh::Config;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::node::{Node, config};

/// A folder with keys and a file of known hosts.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new(node: &Node) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = format!("[127.0.0.1]:{}", node.address.port());
        let known: String = node.keys.public_keys().iter().map(|key| format!("{host} {key}\n")).collect();
        std::fs::write(folder.path().join("known_hosts"), known).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key with ssh-keygen; its file is named after the type.
    pub(crate) async fn keygen(&self, kind: &str, bits: &str) -> (PathBuf, PublicKey) {
        let file = self.path(&format!("{kind}-{bits}"));
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", "made by ssh-keygen", "-f"]).arg(&file);
        let made = run(command, "").await;
        assert!(made.status.success(), "{}", text(&made.stderr));
        let line = std::fs::read_to_string(file.with_extension("pub")).unwrap();
        let parsed = tidegate_ssh::check_public_key(&line).unwrap();
        assert_eq!(parsed.comment, "made by ssh-keygen");
        let listed = run(
            {
                let mut command = Command::new("ssh-keygen");
                command.arg("-l").arg("-f").arg(&file);
                command
            },
            "",
        )
        .await;
        assert!(text(&listed.stdout).contains(&parsed.id), "{} is not in {}", parsed.id, text(&listed.stdout));
        (file, PublicKey::from_openssh(&parsed.key).unwrap())
    }

    pub(crate) fn client(&self, program: &str, node: &Node, key: &Path) -> Command {
        let mut command = Command::new(program);
        command.args([
            "-F",
            "/dev/null",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
        ]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()));
        command.arg("-o").arg(format!("Port={}", node.address.port()));
        command.arg("-i").arg(key);
        command
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program to its end, which has to come soon.
pub(crate) async fn run(mut command: Command, input: &str) -> Output {
    let program = format!("{:?}", command.as_std().get_program());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    // The program may have ended already without reading.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
    output.unwrap_or_else(|_| panic!("{program} did not end")).unwrap()
}

#[tokio::test]
async fn every_type_of_key_that_ssh_keygen_makes_opens_an_sftp_session() {
    let node = Node::start(config()).await;
    let home = Home::new(&node);
    let mut keys = Vec::new();
    for (kind, bits) in
        [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048"), ("rsa", "3072")]
    {
        keys.push(home.keygen(kind, bits).await);
    }
    let public: Vec<_> = keys.iter().map(|(_, public)| public).collect();
    node.add_user("alice", &public).await;
    for (file, _) in &keys {
        let mut sftp = home.client("sftp", &node, file);
        sftp.args(["-b", "-", "alice@127.0.0.1"]);
        let output = run(sftp, "pwd\n").await;
        assert!(output.status.success(), "{}: {}", file.display(), text(&output.stderr));
        assert!(text(&output.stdout).contains("Remote working directory: /"), "{}", text(&output.stdout));
    }
    assert_eq!(node.logins("accepted"), keys.len() as f64);
    node.until_ended("closed", keys.len() as f64).await;
}

#[tokio::test]
async fn each_host_key_algorithm_cipher_and_exchange_works() {
    let node = Node::start(Config { ecdsa_host_key: true, ..config() }).await;
    let home = Home::new(&node);
    let (file, public) = home.keygen("ed25519", "256").await;
    node.add_user("alice", &[&public]).await;
    for option in [
        "HostKeyAlgorithms=ssh-ed25519",
        "HostKeyAlgorithms=ecdsa-sha2-nistp256",
        "HostKeyAlgorithms=rsa-sha2-512",
        "HostKeyAlgorithms=rsa-sha2-256",
        "Ciphers=aes256-gcm@openssh.com",
        "Ciphers=aes128-gcm@openssh.com",
        "Ciphers=chacha20-poly1305@openssh.com",
        "Ciphers=aes256-ctr",
        "Ciphers=aes192-ctr",
        "Ciphers=aes128-ctr",
        "KexAlgorithms=curve25519-sha256",
        "KexAlgorithms=curve25519-sha256@libssh.org",
        "MACs=hmac-sha2-512-etm@openssh.com",
    ] {
        let mut sftp = home.client("sftp", &node, &file);
        sftp.args(["-o", option, "-b", "-", "alice@127.0.0.1"]);
        let output = run(sftp, "pwd\n").await;
        assert!(output.status.success(), "{option}: {}", text(&output.stderr));
    }
    for option in ["KexAlgorithms=diffie-hellman-group14-sha256", "Ciphers=aes256-cbc", "HostKeyAlgorithms=ssh-rsa"] {
        let mut sftp = home.client("sftp", &node, &file);
        sftp.args(["-o", option, "-b", "-", "alice@127.0.0.1"]);
        let output = run(sftp, "pwd\n").await;
        assert!(!output.status.success(), "{option} was accepted");
    }
}

#[tokio::test]
async fn ssh_without_sftp_ends_with_a_clear_message() {
    let node = Node::start(config()).await;
    let home = Home::new(&node);
    let (file, public) = home.keygen("ed25519", "256").await;
    node.add_user("alice", &[&public]).await;
    for arguments in [["alice@127.0.0.1", "id"].as_slice(), &["-T", "alice@127.0.0.1"]] {
        let mut ssh = home.client("ssh", &node, &file);
        ssh.args(arguments);
        let output = run(ssh, "").await;
        assert!(!output.status.success(), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains("This service allows SFTP connections only."), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_in_the_usual_words() {
    let node = Node::start(config()).await;
    let home = Home::new(&node);
    let (file, _) = home.keygen("ed25519", "256").await;
    node.add_user("alice", &[]).await;
    let mut said = Vec::new();
    for user in ["alice@127.0.0.1", "nobody@127.0.0.1"] {
        let mut sftp = home.client("sftp", &node, &file);
        sftp.args(["-b", "-", user]);
        let output = run(sftp, "pwd\n").await;
        assert!(!output.status.success());
        said.push(text(&output.stderr).replace(user, "USER"));
    }
    assert!(said[0].contains("Permission denied (publickey)"), "{}", said[0]);
    assert_eq!(said[0], said[1]);
}

#[tokio::test]
async fn the_key_made_for_clients_works_with_openssh() {
    let node = Node::start(config()).await;
    let home = Home::new(&node);
    let (private, line) = tidegate_ssh::generate_client_key("demo key").unwrap();
    let file = home.path("demo");
    std::fs::write(&file, private.as_bytes()).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let parsed = tidegate_ssh::check_public_key(&line).unwrap();
    assert_eq!((parsed.algorithm.as_str(), parsed.comment.as_str()), ("ssh-ed25519", "demo key"));
    node.add_user("demo", &[&PublicKey::from_openssh(&parsed.key).unwrap()]).await;
    let mut sftp = home.client("sftp", &node, &file);
    sftp.args(["-b", "-", "demo@127.0.0.1"]);
    let output = run(sftp, "pwd\n").await;
    assert!(output.status.success(), "{}", text(&output.stderr));
}
