//! Large files, and transfers that do not come to their end.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use tidegate_tests::{Process, Ssh, sha256_of_file, until, write_random_file};

use crate::dev::Dev;

const MIB: u64 = 1 << 20;

#[test]
fn a_file_of_many_parts_round_trips() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    let sum = write_random_file(&ssh.file("large"), 64, 64 * MIB + 12_345);
    ssh.sftp("put large\nget large back\n").ok();
    assert_eq!(sha256_of_file(&ssh.file("back")), sum);
}

#[test]
fn heavy_a_gibibyte_round_trips_within_the_memory_budget() {
    const BUDGET: u64 = 256 * MIB;
    let folder = tempfile::tempdir().unwrap();
    let variables = [("TIDEGATE_VFS__MEMORY_BUDGET", "256MiB")];
    let mut node = tidegate_tests::Node::dev_with(&folder.path().join("data"), &variables);
    let ssh = Ssh::new(&node.login()).limited_to(Duration::from_secs(240));
    let sum = write_random_file(&ssh.file("huge"), 1024, 1024 * MIB);
    ssh.sftp("put huge\n").ok();
    fs::remove_file(ssh.file("huge")).unwrap();
    ssh.sftp("get huge back\n").ok();
    assert_eq!(sha256_of_file(&ssh.file("back")), sum);
    let limit = node.metric("tidegate_vfs_memory_limit_bytes{side=\"read\"}")
        + node.metric("tidegate_vfs_memory_limit_bytes{side=\"write\"}");
    assert_eq!(limit, BUDGET as f64, "the budget that was set is in force");
    let peak = node.process().peak_memory();
    println!("peak memory: {} MiB", peak / MIB);
    assert!(peak < BUDGET + 64 * MIB, "the node had {} MiB at its peak", peak / MIB);
}

#[test]
fn many_small_files_are_one_get_each() {
    const GETS: &str = "tidegate_store_requests_total{call=\"get\",result=\"ok\",service=\"objects\"}";
    const FILES: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    // So that a slow machine does not make the client late for what was opened ahead.
    let variables = [("TIDEGATE_VFS__PREFETCH_LIFE", "10s")];
    let node = tidegate_tests::Node::dev_with(&folder.path().join("data"), &variables);
    let ssh = Ssh::new(&node.login());
    let content = |n: usize| vec![(n % 251) as u8; 100 + 37 * n];
    fs::create_dir(ssh.file("many")).unwrap();
    for n in 0..FILES {
        fs::write(ssh.file(&format!("many/file {n:03}")), content(n)).unwrap();
    }
    ssh.sftp("put -r many\n").ok();
    for (number, batch) in ["get -r many back\n", "lmkdir again\nget many/* again\n"].iter().enumerate() {
        let gets = node.metric(GETS);
        ssh.sftp(batch).ok();
        assert_eq!(node.metric(GETS) - gets, FILES as f64, "one each");
        let used = node.metric("tidegate_vfs_prefetches_used_total");
        assert!(used >= ((number + 1) * (FILES - 10)) as f64, "{used} were opened ahead");
    }
    assert_eq!(node.metric("tidegate_vfs_prefetches_in_vain_total"), 0.0);
    for n in 0..FILES {
        for folder in ["back", "again"] {
            assert_eq!(fs::read(ssh.file(&format!("{folder}/file {n:03}"))).unwrap(), content(n), "file {n}");
        }
    }
}

#[test]
fn eight_transfers_at_once_do_not_mix() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    let sums: Vec<_> = (0..8).map(|n| write_random_file(&ssh.file(&format!("up{n}")), n, 9 * MIB + n)).collect();
    let transfer = |batch: fn(usize) -> String| {
        std::thread::scope(|scope| {
            for n in 0..8 {
                let ssh = &ssh;
                scope.spawn(move || ssh.sftp(&batch(n)).ok());
            }
        });
    };
    transfer(|n| format!("put up{n}\n"));
    transfer(|n| format!("get up{n} down{n}\n"));
    for (n, sum) in sums.iter().enumerate() {
        assert_eq!(&sha256_of_file(&ssh.file(&format!("down{n}"))), sum, "file {n}");
    }
}

/// Starts an upload that takes minutes, and waits until the node has `bytes` of it.
fn slow_upload(dev: &Dev, local: &str, remote: &str, bytes: u64) -> Process {
    fs::write(dev.ssh.file("slow.batch"), format!("put {local} {remote}\n")).unwrap();
    let before = dev.node.metric("tidegate_sftp_bytes_total{direction=\"in\"}");
    let mut command = dev.ssh.sftp_command();
    // -l is in Kbit/s: 8 MiB/s.
    command.args(["-l", "65536", "-b", "slow.batch"]).arg(dev.ssh.target());
    let mut upload = Process::start("sftp", dev.ssh.folder(), &mut command);
    until("the upload is under way", Duration::from_secs(60), || {
        upload.assert_running();
        let moved = dev.node.metric("tidegate_sftp_bytes_total{direction=\"in\"}") - before;
        (moved >= bytes as f64).then_some(())
    });
    upload
}

#[test]
fn an_upload_that_is_cut_publishes_nothing() {
    let dev = Dev::start();
    write_random_file(&dev.ssh.file("new"), 1, 200 * MIB);
    fs::write(dev.ssh.file("old"), "the old content").unwrap();
    dev.ssh.sftp("put old kept\n").ok();

    for (remote, bytes) in [("cut", MIB), ("kept", 20 * MIB)] {
        let upload = slow_upload(&dev, "new", remote, bytes);
        // No path shows half a file while it is written, either.
        let listing = dev.ssh.sftp("ls -1\n").ok().stdout;
        assert!(!listing.lines().any(|line| line.trim() == "cut"), "{listing}");
        upload.signal("KILL");
    }
    until("the node has noticed", Duration::from_secs(30), || {
        (dev.node.metric("tidegate_vfs_open_writers") == 0.0).then_some(())
    });

    let listing = dev.ssh.sftp("ls -1\nget kept back\n").ok().stdout;
    assert!(!listing.lines().any(|line| line.trim() == "cut"), "{listing}");
    assert_eq!(fs::read_to_string(dev.ssh.file("back")).unwrap(), "the old content");

    // The parts of the larger one stay for its resumption, until both are dropped.
    let (rclone, bucket) = dev.s3();
    let uploads = || rclone.run(["backend", "list-multipart-uploads", &bucket]).ok().stdout;
    assert!(uploads().contains("UploadId"));
    dev.ssh.sftp("rm cut\nput old kept\n").ok();
    until("no parts are left in the store", Duration::from_secs(30), || {
        (!uploads().contains("UploadId")).then_some(())
    });
}

#[test]
fn a_malformed_packet_ends_its_session_and_no_other() {
    let mut dev = Dev::start();
    write_random_file(&dev.ssh.file("f"), 1, 200 * MIB);
    let mut upload = slow_upload(&dev, "f", "f", MIB);

    // INIT, then: a length of 4 GiB; of nothing; a WRITE whose data reaches past its packet.
    let init = b"\0\0\0\x05\x01\0\0\0\x03";
    let write = b"\0\0\0\x1d\x06\0\0\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\xff\xff\xff\xff";
    for garbage in [&b"\xff\xff\xff\xff\x06"[..], b"\0\0\0\0", write] {
        let before = dev.node.metric("tidegate_sftp_malformed_packets_total");
        let mut command = dev.ssh.subsystem();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = command.spawn().unwrap();
        // The input stays open: it is the node that ends the session.
        let mut input = client.stdin.take().unwrap();
        input.write_all(&[init, garbage].concat()).unwrap();
        until("the session has ended", Duration::from_secs(20), || client.try_wait().unwrap());
        drop(input);
        assert_eq!(dev.node.metric("tidegate_sftp_malformed_packets_total") - before, 1.0, "{garbage:?}");
    }

    upload.assert_running();
    dev.node.process().assert_running();
    dev.ssh.sftp("ls\n").ok();
}

#[test]
fn a_client_that_closes_its_half_leaves_nothing_behind() {
    let dev = Dev::start();
    let mut command = dev.ssh.subsystem();
    let mut client = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let status = until("the session has ended", Duration::from_secs(20), || client.try_wait().unwrap());
    assert!(status.success(), "{status}");
    until("nothing is open any more", Duration::from_secs(20), || {
        let open = dev.node.metric("tidegate_sftp_sessions") + dev.node.metric("tidegate_ssh_connections_open");
        (open == 0.0).then_some(())
    });
}
