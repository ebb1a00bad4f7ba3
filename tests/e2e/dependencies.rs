//! A whole service is away for a while, or the nodes' clocks are wrong.

use std::fs;
use std::time::{Duration, Instant};

use russh_sftp::protocol::{OpenFlags, StatusCode};
use tidegate_tests::{
    Cluster, Fault, Kind, Login, Node, Process, Ssh, When, keygen, random_bytes, sha256_of_file, until,
    write_random_file,
};

use crate::limits::Held;
use crate::oracle::{Oracle, refusal_with_message};
use crate::proxied::{HASTY, Proxied};

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// How a service that is away shows: connections break, or nobody answers.
const AWAY: [Fault; 2] = [Fault::ResetBeforeBody, Fault::Delay(Duration::from_secs(3600))];

fn is_ready(node: &Node) -> bool {
    node.get("/readyz").expect("the side port answers").0 == 200
}

/// Lines of the log that say that a user's account could not be looked up.
fn refusals(node: &Node, user: &str) -> usize {
    let log = node.log();
    let lines = log.lines().filter(|line| line.contains(&format!("\"user\":\"{user}\"")));
    lines.filter(|line| line.contains("the account could not be looked up")).count()
}

/// An upload of so many MiB at 4 MiB/s, under way.
fn slow_upload(node: &Node, ssh: &Ssh, name: &str, size: u64) -> (Process, Vec<u8>) {
    let sum = write_random_file(&ssh.file(name), 5, size * MIB);
    fs::write(ssh.file("batch"), format!("put {name}\n")).unwrap();
    let mut command = ssh.sftp_command();
    // -l is in Kbit/s.
    command.args(["-l", "32768", "-b", "batch"]).arg(ssh.target());
    let mut upload = Process::start(&format!("sftp-{name}"), ssh.folder(), &mut command);
    let before = node.metric("tidegate_sftp_bytes_total{direction=\"in\"}");
    until("the upload is under way", LIMIT, || {
        upload.assert_running();
        (node.metric("tidegate_sftp_bytes_total{direction=\"in\"}") > before).then_some(())
    });
    (upload, sum)
}

#[test]
fn without_dynamodb_known_users_work_on_for_their_time_and_others_are_refused_with_the_reason() {
    const TTL: Duration = Duration::from_secs(20);
    let cluster = Cluster::behind_proxy();
    for user in ["alice", "bobby0", "bobby1"] {
        cluster.add_user(user);
    }
    let mut node = cluster
        .start_node_with("node", &[("TIDEGATE_ACCOUNTS__TTL", "20s"), ("TIDEGATE_SSH__ACCOUNT_LOOKUP_TIMEOUT", "3s")]);
    let alice = Ssh::new(&cluster.login(&node, "alice"));
    for (round, fault) in AWAY.into_iter().enumerate() {
        let refused = node.metric("tidegate_ssh_authentications_total{result=\"unavailable\"}");
        let name = format!("moving{round}");
        // One whom the node has not met yet.
        let user = format!("bobby{round}");
        let bobby = Ssh::new(&cluster.login(&node, &user));
        alice.sftp("pwd\n").ok();
        let (mut upload, sum) = slow_upload(&node, &alice, &name, 48);
        // The account is looked up anew at the latest now, so that it is known for some time.
        until("the account is looked up anew", TTL + LIMIT, || {
            let before = node.metric("tidegate_store_account_cache_lookups_total{result=\"miss\"}");
            alice.sftp("pwd\n").ok();
            (node.metric("tidegate_store_account_cache_lookups_total{result=\"miss\"}") > before).then_some(())
        });
        cluster.dynamodb_proxy().inject(&[Kind::Other], When::Always, fault);
        let began = Instant::now();
        fs::write(alice.file("small"), "content").unwrap();
        alice.sftp(&format!("put small small{round}\nls -l small{round}\n")).ok();

        let told = refusals(&node, &user);
        // Whether there is such a user can't be told: nobody gets in, and the log says why.
        let said = bobby.sftp("pwd\n").fails().stderr;
        assert!(said.contains("Permission denied"), "{said}");
        until("the refusal is counted as what it is", LIMIT, || {
            let now = node.metric("tidegate_ssh_authentications_total{result=\"unavailable\"}");
            (now > refused).then_some(())
        });
        until("the log says why", LIMIT, || (refusals(&node, &user) > told).then_some(()));
        assert!(is_ready(&node), "all nodes would leave the balancer at once");

        // What runs goes on, however long; who is known is known no longer than the settings say.
        let status = upload.wait(LIMIT);
        assert!(status.success(), "the upload goes on: {status}\n{}", upload.log());
        until("the account is believed no longer", TTL + LIMIT, || {
            (!alice.sftp("pwd\n").status.success()).then_some(())
        });
        println!("{fault:?}: known for {:?}", began.elapsed());
        cluster.dynamodb_proxy().heal();
        until("all is well again, by itself", LIMIT, || bobby.sftp("pwd\n").status.success().then_some(()));
        alice.sftp(&format!("get {name} back\n")).ok();
        assert_eq!(sha256_of_file(&alice.file("back")), sum);
        assert_eq!(
            node.metric("tidegate_ssh_lock_outs_total{scope=\"user\"}"),
            0.0,
            "a fault of ours locks nobody out"
        );
    }
    node.process().assert_running();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_s3_requests_fail_in_time_with_the_reason_and_sessions_stay() {
    let mut proxied = Proxied::start_with(&HASTY);
    let oracle = Oracle::connect_patiently(&proxied.ssh).await;
    let data = random_bytes(1, 9 << 20);
    let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
    for (round, fault) in AWAY.into_iter().enumerate() {
        // A file of its own, of which nothing is in memory yet.
        let file = format!("file{round}");
        oracle.put(&format!("/{file}"), &data).await;
        let reading = oracle.open(&format!("/{file}"), OpenFlags::READ).await.expect("OPEN");
        let writing = oracle.open("/new", flags).await.expect("OPEN for writing");
        oracle.write_all(&writing, 0, &data[..100_000]).await.expect("WRITE into memory");
        proxied.proxy().inject(&Kind::ALL, When::Always, fault);
        let fails = |what: &str, (code, message): (StatusCode, String), began: Instant| {
            assert_eq!(code, StatusCode::Failure, "{what}, {fault:?}: {message}");
            assert!(message.contains("the storage can't be reached at the moment; try again"), "{what}: {message}");
            println!("{fault:?}: {what} after {:?}", began.elapsed());
        };
        let began = Instant::now();
        let (closed, read, stat, listed, made) = tokio::join!(
            oracle.sftp.close(writing),
            oracle.sftp.read(&reading, 8 << 20, 1000),
            oracle.sftp.stat("/other"),
            async {
                let directory = oracle.sftp.opendir("/").await?.handle;
                oracle.sftp.readdir(directory).await
            },
            oracle.sftp.mkdir("/dir", russh_sftp::protocol::FileAttributes::empty()),
        );
        fails("CLOSE", refusal_with_message(closed), began);
        fails("READ", refusal_with_message(read), began);
        fails("STAT", refusal_with_message(stat), began);
        fails("the listing", refusal_with_message(listed), began);
        fails("MKDIR", refusal_with_message(made), began);
        assert!(is_ready(&proxied.node), "all nodes would leave the balancer at once");
        // Who logs in now is let in, and is told at the first request that needs it.
        proxied.ssh.sftp("pwd\n").ok();

        proxied.proxy().heal();
        let names = oracle.names("/").await;
        // Where the answer alone was missing, the store may have done what it was asked for: all of it.
        if fault == Fault::ResetBeforeBody {
            assert_eq!(names, [file.as_str()], "nothing is published that was refused");
        } else if names.contains(&"new".to_owned()) {
            assert!(oracle.get("/new").await == data[..100_000]);
        }
        let again = oracle.sftp.read(&reading, 8 << 20, 1000).await.expect("READ, once the store is back");
        assert!(again.data == data[8 << 20..(8 << 20) + 1000]);
        oracle.put("/again", &data).await;
        assert!(oracle.get("/again").await == data);
        oracle.sftp.remove("/again").await.expect("REMOVE");
        oracle.sftp.close(reading).await.expect("CLOSE");
        oracle.sftp.remove(format!("/{file}")).await.expect("REMOVE");
    }
    proxied.wait_until_no_parts_are_left();
    proxied.node.process().assert_running();
}

#[test]
fn without_kms_running_nodes_notice_nothing_and_no_node_starts() {
    let mut cluster = Cluster::on_dev_store();
    cluster.add_user("alice");
    let mut node = cluster.start_node("node");
    let process = cluster.moto().process();
    process.signal("KILL");
    process.wait(LIMIT);

    let alice = Ssh::new(&cluster.login(&node, "alice"));
    let sum = write_random_file(&alice.file("file"), 1, 20 * MIB);
    alice.sftp("put file\nget file back\n").ok();
    assert_eq!(sha256_of_file(&alice.file("back")), sum);
    // A user who comes later, too.
    cluster.add_user("bobby");
    Ssh::new(&cluster.login(&node, "bobby")).sftp("ls -l file\n").ok();
    assert!(is_ready(&node));
    node.process().assert_running();

    let said = cluster.cli(&["serve"]).fails().stderr;
    assert!(said.contains("the host keys can't be loaded"), "{said}");
}

/// The file at `path` as another session sees it, in bytes.
fn shown(ssh: &Ssh, path: &str) -> u64 {
    let listing = ssh.sftp(&format!("ls -l {path}\n")).ok().stdout;
    listing.split_whitespace().nth(4).and_then(|size| size.parse().ok()).expect("a size")
}

#[test]
fn an_upload_that_was_cut_goes_on_at_a_node_whose_clock_differs() {
    const SIZE: u64 = 32;
    // Almost as far apart as S3 lets signatures be, each to its own side.
    for ahead in [14 * 60, -14 * 60] {
        let cluster = Cluster::behind_proxy();
        cluster.add_user("alice");
        let mut first = cluster.start_node_with_clock("first", ahead, &[]);
        let second = cluster.start_node_with_clock("second", -ahead, &[]);
        let [on_first, on_second] = [&first, &second].map(|node| Ssh::new(&cluster.login(node, "alice")));
        // What it replaces is there already, from whichever node.
        for ssh in [&on_first, &on_second] {
            fs::write(ssh.file("file"), "what was there").unwrap();
            ssh.sftp("put file\n").ok();
        }
        let (mut upload, sum) = slow_upload(&first, &on_first, "file", SIZE);
        until("the other node shows a part", LIMIT, || (shown(&on_second, "file") >= 8 * MIB - 1).then_some(()));
        first.process().signal("KILL");
        assert!(!upload.wait(LIMIT).success(), "the client is told");
        fs::copy(on_first.file("file"), on_second.file("file")).unwrap();
        let durable = shown(&on_second, "file");
        on_second.sftp("get file old\nreput file\nget file back\n").ok();
        assert_eq!(fs::read_to_string(on_second.file("old")).unwrap(), "what was there", "until it is replaced");
        assert_eq!(sha256_of_file(&on_second.file("back")), sum);
        let sent = second.metric("tidegate_sftp_bytes_total{direction=\"in\"}") as u64;
        assert!(sent < SIZE * MIB - durable + MIB, "{sent} bytes were sent where {durable} were there");
        let again = cluster.start_node_with_clock("again", ahead, &[]);
        let ssh = Ssh::new(&cluster.login(&again, "alice"));
        ssh.sftp("get file back\n").ok();
        assert_eq!(sha256_of_file(&ssh.file("back")), sum);
    }
}

#[test]
fn clocks_that_differ_by_minutes_break_nothing() {
    let cluster = Cluster::behind_proxy();
    cluster.add_user("alice");
    cluster.cli(&["user", "set", "alice", "--max-sessions", "2"]).ok();
    let settings = [
        ("TIDEGATE_SSH__SESSION_LEASE", "9s"),
        ("TIDEGATE_SSH__LOCK_OUT__USER_FAILURES", "3"),
        ("TIDEGATE_SSH__LOCK_OUT__FIRST", "10m"),
    ];
    // Almost as far apart as S3 lets signatures be, each to its own side.
    let mut fast = cluster.start_node_with_clock("fast", 14 * 60, &settings);
    let slow = cluster.start_node_with_clock("slow", -14 * 60, &settings);
    let stamp = |node: &Node| {
        let log = node.log();
        let line: serde_json::Value = serde_json::from_str(log.lines().next_back().unwrap()).unwrap();
        line["timestamp"].as_str().unwrap().to_owned()
    };
    assert!(stamp(&fast) > stamp(&slow), "the clocks do differ: {} and {}", stamp(&fast), stamp(&slow));

    let on = |node: &Node| Ssh::new(&cluster.login(node, "alice"));
    let (on_fast, on_slow) = (on(&fast), on(&slow));
    for (from, to) in [(&on_fast, &on_slow), (&on_slow, &on_fast)] {
        let sum = write_random_file(&from.file("file"), 3, 20 * MIB);
        from.sftp("put file\nmkdir dir\nput file dir/file\nrename dir/file dir/moved\n").ok();
        to.sftp("get dir/moved back\nrm dir/moved\nrmdir dir\n").ok();
        assert_eq!(sha256_of_file(&to.file("back")), sum);
    }

    let held = [Held::open(&fast, &on_fast), Held::open(&slow, &on_slow)];
    for ssh in [&on_fast, &on_slow] {
        ssh.sftp("pwd\n").fails();
    }
    // Neither takes the other for dead, over more than two lives of a lease.
    let renewals =
        |node: &Node| node.metric("tidegate_store_requests_total{call=\"renew\",result=\"ok\",service=\"leases\"}");
    let before = (renewals(&fast), renewals(&slow));
    until("both have renewed their leases often", LIMIT, || {
        (renewals(&fast) >= before.0 + 7.0 && renewals(&slow) >= before.1 + 7.0).then_some(())
    });
    for ssh in [&on_fast, &on_slow] {
        ssh.sftp("pwd\n").fails();
    }
    for node in [&fast, &slow] {
        assert!(!node.log().contains("no sign of life") && !node.log().contains("shows no life"));
        assert_eq!(node.metric("tidegate_ssh_session_leases"), 2.0);
    }
    drop(held);
    fast.process().signal("KILL");
    let _held = Held::open(&slow, &on_slow);
    until("a node that died does not count", LIMIT, || on_slow.sftp("pwd\n").status.success().then_some(()));

    let again = cluster.start_node_with_clock("again", 14 * 60, &settings);
    let wrong = cluster.folder().join("wrong");
    keygen(&wrong, &["-t", "ed25519"]);
    for node in [&again, &slow, &again] {
        let login = Login { identity_file: wrong.clone(), ..cluster.login(node, "alice") };
        let lines = node.log().matches("AUTH_FAILURE").count();
        Ssh::new(&login).sftp("pwd\n").fails();
        until("the failure is logged", LIMIT, || (node.log().matches("AUTH_FAILURE").count() > lines).then_some(()));
    }
    until("three failures on both count together", LIMIT, || {
        (again.metric("tidegate_ssh_lock_outs_total{scope=\"user\"}") == 1.0).then_some(())
    });
}
