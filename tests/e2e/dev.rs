//! `tidegate dev` and `tidegate dev-store`: one command, nothing else needed.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_tests::{DevStore, Node, Rclone, Ssh, sha256_of_file, until, write_random_file};

/// A `dev` node on a folder of its own.
pub(crate) struct Dev {
    pub(crate) node: Node,
    pub(crate) ssh: Ssh,
    pub(crate) folder: TempDir,
}

impl Dev {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = Node::dev_with(&folder.path().join("data"), variables);
        let ssh = Ssh::new(&node.login());
        Self { node, ssh, folder }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// rclone on the S3 server inside the node.
    pub(crate) fn s3(&self) -> (Rclone, String) {
        let ready = self.node.ready().clone();
        let access = tidegate_tests::S3Access {
            url: ready.s3.expect("dev names its S3"),
            access_key: ready.access_key.expect("dev names its access key"),
            secret_key: ready.secret_key.expect("dev names its secret key"),
        };
        (Rclone::on_s3(&access), format!("s3:{}", ready.bucket.expect("dev names its bucket")))
    }
}

#[test]
fn dev_started_again_finds_everything_as_it_was() {
    let mut dev = Dev::start();
    let sum = write_random_file(&dev.ssh.file("kept.bin"), 1, 3 << 20);
    dev.ssh.sftp("mkdir kept\nput kept.bin kept/kept.bin\n").ok();
    let before = dev.node.ready().clone();

    dev.node.process().signal("TERM");
    let status = dev.node.process().wait(Duration::from_secs(30));
    assert!(status.success(), "SIGTERM ends it with {status}");

    let again = Node::dev(&dev.data());
    let ready = again.ready();
    assert_eq!((&ready.access_key, &ready.secret_key), (&before.access_key, &before.secret_key));
    assert_eq!((&ready.bucket, &ready.table, &ready.user), (&before.bucket, &before.table, &before.user));
    assert_eq!(ready.identity_file, before.identity_file);

    // Another port, so the known host is taken over by hand: the keys themselves must be the same.
    let hosts = std::fs::read_to_string(dev.ssh.file("known_hosts")).unwrap();
    let (old, new) = (format!(":{} ", before.sftp.port()), format!(":{} ", ready.sftp.port()));
    assert!(hosts.contains(&old), "{hosts}");
    let ssh = Ssh::new(&again.login()).strict();
    std::fs::write(ssh.file("known_hosts"), hosts.replace(&old, &new)).unwrap();
    ssh.sftp("get kept/kept.bin back.bin\n").ok();
    assert_eq!(sha256_of_file(&ssh.file("back.bin")), sum);
}

#[test]
fn dev_prints_the_command_that_connects() {
    let dev = Dev::start();
    let port = dev.node.ready().sftp.port().to_string();
    // Behind the file that says that it serves.
    let command = until("the sftp command is printed", Duration::from_secs(10), || {
        let log = dev.node.log();
        log.lines().map(str::trim).find(|line| line.starts_with("sftp ") && line.contains(&port)).map(str::to_owned)
    });
    let identity = dev.node.login().identity_file;
    assert!(command.contains(&identity.display().to_string()), "{command}");
    // Pasted into a shell as it is; batch mode only keeps it from asking on a terminal.
    let script = format!("echo pwd | {}", command.replacen("sftp ", "sftp -b - ", 1));
    let output =
        std::process::Command::new("sh").args(["-c", &script]).env("HOME", dev.folder.path()).output().unwrap();
    assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_second_dev_on_the_same_folder_is_refused_and_says_why() {
    let mut dev = Dev::start();
    let output = tidegate_tests::tidegate(dev.folder.path())
        .args(["dev", "--sftp-port", "0", "--admin-port", "0", "--data"])
        .arg(dev.data())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("in use") || said.contains("another process") || said.contains("locked"), "{said}");
    dev.node.process().assert_running();
    dev.ssh.sftp("pwd\n").ok();
}

#[test]
fn rclone_works_on_the_dev_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = DevStore::start(&folder.path().join("data"));
    let rclone = Rclone::on_s3(&store.s3());
    let tree = rclone.folder().join("tree");
    std::fs::create_dir_all(tree.join("deep/er")).unwrap();
    for (n, name) in ["a", "with space", "plus+%percent", "ü.txt", "deep/b", "deep/er/c"].into_iter().enumerate() {
        write_random_file(&tree.join(name), n as u64, 1000 * n as u64);
    }
    // Above rclone's chunk size, so that it comes in parts.
    write_random_file(&tree.join("large"), 99, 12 << 20);
    rclone.run(["mkdir", "s3:first"]).ok();
    rclone.run(["copy", "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "tree", "s3:first/tree"]).ok();
    rclone.run(["check", "--download", "tree", "s3:first/tree"]).ok();
    rclone.run(["copy", "s3:first/tree", "back"]).ok();
    rclone.run(["check", "--download", "tree", "back"]).ok();
    rclone.run(["purge", "s3:first/tree"]).ok();
    assert_eq!(rclone.run(["lsf", "-R", "s3:first"]).ok().stdout, "");
}
