//! SIGTERM.

use std::fs;
use std::time::Duration;

use tidegate_tests::{Cluster, Node, Process, Ssh, until, write_random_file};

const MIB: u64 = 1 << 20;

/// An upload that takes some `seconds`, under way.
fn upload(node: &Node, ssh: &Ssh, seconds: u64) -> Process {
    let size = 4 * MIB * seconds;
    write_random_file(&ssh.file("moving"), 5, size);
    fs::write(ssh.file("batch"), "put moving\n").unwrap();
    let mut command = ssh.sftp_command();
    // 4 MiB/s; -l is in Kbit/s.
    command.args(["-l", "32768", "-b", "batch"]).arg(ssh.target());
    let mut upload = Process::start("sftp", ssh.folder(), &mut command);
    until("the upload is under way", Duration::from_secs(60), || {
        upload.assert_running();
        (node.metric("tidegate_sftp_bytes_total{direction=\"in\"}") > 0.0).then_some(())
    });
    upload
}

#[test]
fn a_running_transfer_finishes_and_an_idle_session_ends() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let mut node = cluster.start_node("node");
    let ssh = Ssh::new(&cluster.login(&node, "alice"));
    let mut idle = {
        let mut command = ssh.subsystem();
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    until("the idle session is open", Duration::from_secs(20), || {
        (node.metric("tidegate_sftp_sessions") >= 1.0).then_some(())
    });
    let mut upload = upload(&node, &ssh, 16);

    node.process().signal("TERM");
    until("readiness is taken back", Duration::from_secs(10), || (node.get("/readyz")?.0 == 503).then_some(()));
    assert_eq!(node.get("/healthz").expect("the side port still answers").0, 200);
    until("the idle session ends", Duration::from_secs(10), || idle.try_wait().unwrap());
    upload.assert_running();
    let status = upload.wait(Duration::from_secs(60));
    assert!(status.success(), "the upload finished: {status}\n{}", upload.log());
    // Long before the deadline: nothing is left to wait for.
    let status = node.process().wait(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0));

    let again = cluster.start_node("again");
    let ssh_again = Ssh::new(&cluster.login(&again, "alice"));
    ssh_again.sftp("get moving back\n").ok();
    assert_eq!(fs::read(ssh_again.file("back")).unwrap(), fs::read(ssh.file("moving")).unwrap());
}

#[test]
fn at_the_deadline_transfers_are_cut_and_publish_nothing() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let mut node = cluster.start_node_with("node", &[("TIDEGATE_DRAIN__DEADLINE", "2s")]);
    let ssh = Ssh::new(&cluster.login(&node, "alice"));
    let mut upload = upload(&node, &ssh, 40);
    node.process().signal("TERM");
    let status = node.process().wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0));
    let status = upload.wait(Duration::from_secs(20));
    assert!(!status.success(), "the client is told");

    let again = cluster.start_node("again");
    let listing = Ssh::new(&cluster.login(&again, "alice")).sftp("ls -1\n").ok().stdout;
    assert!(!listing.contains("moving"), "{listing}");
}
