//! Libraries that programs use, each with its defaults.

use std::process::Command;
use std::time::Duration;

use tidegate_tests::{Cluster, Login, python, repository_root, run_client, sha256_of_file, write_random_file};

use crate::dev::Dev;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a program with `PORT USER KEY FILE BACK`, which does everyday work and fetches FILE as BACK.
fn round_trip(dev: &Dev, mut program: Command) {
    let (file, back) = (dev.ssh.file("file"), dev.ssh.file("back"));
    let sum = write_random_file(&file, 5, 11 << 20);
    let login = dev.node.login();
    program.args([&login.port().to_string(), &login.user]).arg(&login.identity_file).args([&file, &back]);
    run_client(&mut program, LIMIT).ok();
    assert_eq!(sha256_of_file(&back), sum);
    assert_eq!(dev.ssh.sftp("ls -1\n").ok().stdout, "", "the program takes back what it made");
}

fn program(name: &str) -> String {
    repository_root().join("tests/e2e/clients").join(name).display().to_string()
}

#[test]
fn asyncssh_works_with_many_requests_at_once() {
    let mut command = python("python");
    command.arg(program("asyncssh_transfer.py"));
    round_trip(&Dev::start(), command);
}

#[test]
fn ssh2_of_node_js_works_with_its_fast_transfers() {
    let mut command = Command::new("node");
    command.env("TIDEGATE_TEST_NODE", repository_root().join("target/test-node"));
    command.arg(program("ssh2_transfer.js"));
    round_trip(&Dev::start(), command);
}

/// The last version of the original author's, as Debian has it: of 2016, and used everywhere.
#[test]
fn jsch_works_with_what_is_offered_to_older_clients() {
    let cluster = Cluster::on_dev_store();
    cluster.add_user("alice");
    let identity_file = cluster.add_old_key("alice");
    let node = cluster.start_node_with("node", &[("TIDEGATE_SSH__NIST_KEY_EXCHANGE", "true")]);
    let login = Login { address: node.ready().sftp, user: "alice".to_owned(), identity_file };
    let (file, back) = (cluster.folder().join("file"), cluster.folder().join("back"));
    let sum = write_random_file(&file, 5, 11 << 20);
    let mut command = Command::new("java");
    command.args(["-cp", "/usr/share/java/jsch.jar", &program("JschTransfer.java")]);
    command.args([&login.port().to_string(), &login.user]).arg(&login.identity_file).args([&file, &back]);
    run_client(&mut command, LIMIT).ok();
    assert_eq!(sha256_of_file(&back), sum);
}

#[test]
fn paramiko_compares_checksums() {
    let dev = Dev::start();
    let file = dev.ssh.file("file");
    write_random_file(&file, 5, (11 << 20) + 3);
    dev.ssh.sftp("put file\n").ok();
    let login = dev.node.login();
    let mut command = python("python");
    command.arg(program("paramiko_check.py"));
    command.args([&login.port().to_string(), &login.user]).arg(&login.identity_file).arg(&file).arg("/file");
    run_client(&mut command, LIMIT).ok();
}
