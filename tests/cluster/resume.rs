//! Uploads that are cut, and go on at another node.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use russh_sftp::protocol::{OpenFlags, StatusCode};
use tidegate_tests::{
    Fault, FaultProxy, Kind, Lftp, Login, Process, Ssh, When, random_bytes, repository_root, run_client,
    sha256_of_file, until, write_random_file,
};

use crate::fleet::Fleet;
use crate::oracle::{Oracle, refusal, refusal_with_message};

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// The first parts of an upload.
const PART: u64 = 8 * MIB;
/// Parts that may be on their way at once before the node knows how fast the store is.
const LANES: u64 = 4;
/// What a client may have sent without an answer.
const WINDOW: u64 = 4 * MIB;
/// How much less of the content there is than of what SSH and SFTP make of it, generously.
const FRAMING_PERCENT: u64 = 1;

/// Bytes that the nodes got from clients through the balancer.
fn sent(fleet: &Fleet) -> u64 {
    (0..fleet.size()).map(|place| fleet.balancer.server(place).bytes_in).sum()
}

/// An upload of `large` of which a node has so many bytes, and the place of that node.
fn begin(fleet: &Fleet, ssh: &Ssh, bytes: u64) -> (Process, usize) {
    let arrived = |place| fleet.node(place).metric("tidegate_sftp_bytes_total{direction=\"in\"}");
    let before: Vec<_> = (0..fleet.size()).map(arrived).collect();
    fs::write(ssh.file("batch"), "put large\n").unwrap();
    let mut command = ssh.sftp_command();
    // -l is in Kbit/s: 16 MiB/s.
    command.args(["-l", "131072", "-b", "batch"]).arg(ssh.target());
    let mut upload = Process::start("upload", ssh.folder(), &mut command);
    let place = until("the upload is under way", LIMIT, || {
        upload.assert_running();
        (0..fleet.size()).find(|place| arrived(*place) - before[*place] >= bytes as f64)
    });
    (upload, place)
}

/// The size that STAT shows.
fn shown(ssh: &Ssh) -> u64 {
    let listing = ssh.sftp("ls -l large\n").ok().stdout;
    let size = listing.split_whitespace().nth(4).and_then(|size| size.parse().ok());
    size.unwrap_or_else(|| panic!("no size: {listing}"))
}

/// Goes on with the upload of `large`.
type GoOn = fn(&Ssh, &Login);

fn openssh(ssh: &Ssh, _: &Login) {
    ssh.sftp("reput large\n").ok();
}

fn lftp(ssh: &Ssh, login: &Login) {
    let lftp = Lftp::new(login);
    lftp.run(&format!("put -c {} -o large", ssh.file("large").display())).ok();
}

fn curl(ssh: &Ssh, login: &Login) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--user", &format!("{}:", login.user), "--key"]);
    command.arg(&login.identity_file).arg("--pubkey").arg(format!("{}.pub", login.identity_file.display()));
    command.args(["--continue-at", "-", "--upload-file", "large", &format!("sftp://{}/large", login.address)]);
    run_client(command.current_dir(ssh.folder()), LIMIT).ok();
}

/// JSch with `ChannelSftp.RESUME`.
fn jsch(ssh: &Ssh, login: &Login) {
    let program = repository_root().join("tests/cluster/clients/JschResume.java");
    let mut command = Command::new("java");
    command.args(["-cp", "/usr/share/java/jsch.jar"]).arg(program);
    command.args([&login.address.ip().to_string(), &login.port().to_string(), &login.user]);
    command.arg(login.identity_file.with_file_name(format!("{}.old.key", login.user)));
    run_client(command.args(["large", "large"]).current_dir(ssh.folder()), LIMIT).ok();
}

/// Those that go on with what was cut, and how large a file each is to have.
const CLIENTS: [(GoOn, u64); 4] = [(openssh, 192 * MIB), (lftp, 128 * MIB), (curl, 128 * MIB), (jsch, 128 * MIB)];

/// Two nodes that all of them can talk to.
fn fleet(settings: &[(&str, &str)]) -> Fleet {
    let fleet = Fleet::start(2, &[settings, &[("TIDEGATE_SSH__NIST_KEY_EXCHANGE", "true")]].concat());
    fleet.cluster.add_old_key("alice");
    fleet
}

/// Cuts an upload of `size` bytes by `cut`, has a client go on with it through the balancer, and checks
/// what came of it: the whole file on every node, and no more bytes sent a second time than `again` says
/// for the parts that were on their way to the store.
fn cut_and_go_on(
    fleet: &mut Fleet,
    (client, size): (GoOn, u64),
    cut: impl FnOnce(&mut Fleet, usize),
    again: fn(u64) -> u64,
) {
    let first = size / 2;
    let login = fleet.login();
    let ssh = Ssh::new(&login);
    let sum = write_random_file(&ssh.file("large"), 1, size);
    let before = sent(fleet);
    let (mut upload, place) = begin(fleet, &ssh, first);
    let parts = fleet.node(place).metric("tidegate_vfs_parts_in_flight") as u64;
    let again = again(parts);
    cut(fleet, place);
    assert!(!upload.wait(LIMIT).success(), "the client is told");
    let durable = shown(&ssh);
    assert!(durable + again + PART > first && durable < size, "{durable} bytes are shown");
    let listing = ssh.sftp("ls -1\n").ok().stdout;
    assert!(!listing.contains("large"), "it is not listed before it is whole: {listing}");
    client(&ssh, &login);
    fleet.replace(place);
    for place in 0..fleet.size() {
        let ssh = Ssh::new(&fleet.direct_login(place));
        ssh.sftp("get large back\n").ok();
        assert!(sha256_of_file(&ssh.file("back")) == sum, "on node {place}");
    }
    fleet.wait_until_nothing_is_open();
    let repeated = sent(fleet).saturating_sub(before + size);
    println!("{} KiB were sent again, or for SSH; {parts} parts were on their way", repeated >> 10);
    assert!(repeated <= again + size * FRAMING_PERCENT / 100, "{repeated} bytes were sent again");
    ssh.sftp("rm large\n").ok();
    fleet.wait_until_no_upload_is_left();
}

#[test]
fn an_upload_whose_node_is_killed_goes_on_at_another() {
    let mut fleet = fleet(&[]);
    // One part as a rule: as many as the machine keeps waiting, where it is slow.
    let again = |parts: u64| parts.max(1) * PART + WINDOW;
    cut_and_go_on(&mut fleet, (openssh, 256 * MIB), Fleet::kill, again);
    for client in &CLIENTS[1..] {
        cut_and_go_on(&mut fleet, *client, Fleet::kill, again);
    }
}

/// What is on its way to the store is lost with its node: the farther the store, the more.
#[test]
fn of_an_upload_to_a_slow_store_no_more_is_sent_again_than_may_be_on_its_way() {
    let mut fleet = Fleet::start(2, &[("TIDEGATE_VFS__UPLOAD_CONCURRENCY", &LANES.to_string())]);
    let proxies = |fleet: &Fleet, order: fn(&FaultProxy)| {
        (0..fleet.size()).for_each(|place| order(&fleet.member(place).s3));
    };
    proxies(&fleet, |s3| {
        s3.inject(&[Kind::UploadPart], When::Always, Fault::DelayRequest(Duration::from_millis(500)));
    });
    let cut = |fleet: &mut Fleet, place| {
        fleet.kill(place);
        proxies(fleet, FaultProxy::heal);
    };
    cut_and_go_on(&mut fleet, (openssh, 192 * MIB), cut, |_| (1 + LANES) * PART + WINDOW);
}

#[test]
fn an_upload_whose_node_drains_goes_on_at_another_and_nothing_is_sent_again() {
    let mut fleet = fleet(&[("TIDEGATE_DRAIN__DEADLINE", "500ms"), ("TIDEGATE_DRAIN__DELAY", "500ms")]);
    for client in CLIENTS {
        cut_and_go_on(&mut fleet, client, Fleet::drain, |_| WINDOW);
    }
}

/// WinSCP writes `x.filepart`, goes on with that without TRUNC where STAT says, and renames it when it is
/// closed, once what had the name is removed.
#[tokio::test]
async fn a_file_with_a_name_for_its_upload_goes_on_at_another_node_and_gets_its_own_name() {
    let settings = [("TIDEGATE_DRAIN__DEADLINE", "1s"), ("TIDEGATE_DRAIN__DELAY", "500ms")];
    let mut fleet = Fleet::start(2, &settings);
    let (old, content) = (random_bytes(1, 1 << 20), random_bytes(2, (28 << 20) + 77));
    for cut in [Fleet::kill, Fleet::drain] {
        let sshs = [0, 1].map(|place| Ssh::new(&fleet.direct_login(place)));
        let other = Oracle::connect(&sshs[1]).await;
        other.put("/x", &old).await;
        {
            let writer = Oracle::connect(&sshs[0]).await;
            let handle = writer.open("/x.filepart", create()).await.expect("OPEN");
            writer.write_all(&handle, 0, &content[..20 << 20]).await.expect("WRITE");
            // Two parts, which all nodes show.
            while other.sftp.stat("/x.filepart").await.ok().and_then(|found| found.attrs.size) < Some(2 * PART - 1) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            cut(&mut fleet, 0);
        }
        let size = other.sftp.stat("/x.filepart").await.expect("STAT").attrs.size.expect("a size");
        let handle = other.open("/x.filepart", OpenFlags::CREATE | OpenFlags::WRITE).await.expect("OPEN");
        other.write_all(&handle, size, &content[size as usize..]).await.expect("WRITE");
        assert!(other.get("/x").await == old, "what is being replaced stays until then");
        other.sftp.close(handle).await.expect("CLOSE");
        other.sftp.remove("/x").await.expect("REMOVE");
        other.sftp.rename("/x.filepart", "/x").await.expect("RENAME");
        fleet.replace(0);
        let replaced = Oracle::connect(&Ssh::new(&fleet.direct_login(0))).await;
        for oracle in [&replaced, &other] {
            assert!(oracle.get("/x").await == content, "the whole file");
            assert_eq!(refusal(oracle.sftp.stat("/x.filepart").await), StatusCode::NoSuchFile);
        }
        fleet.wait_until_no_upload_is_left();
    }
}

fn create() -> OpenFlags {
    OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE
}

#[tokio::test]
async fn of_two_writers_the_later_open_fences_the_earlier() {
    let fleet = Fleet::start(2, &[]);
    let nodes = [0, 1].map(|place| Ssh::new(&fleet.direct_login(place)));
    let (first, second) = (Oracle::connect(&nodes[0]).await, Oracle::connect(&nodes[1]).await);
    let contents = [1, 2].map(|seed| random_bytes(seed, 20 << 20));
    let earlier = first.open("/file", create()).await.expect("OPEN");
    first.write_all(&earlier, 0, &contents[0][..10 << 20]).await.expect("WRITE");
    let later = second.open("/file", create()).await.expect("the later OPEN");
    second.write_all(&later, 0, &contents[1][..10 << 20]).await.expect("WRITE");
    // Byte by byte: neither a part nor CLOSE tells it.
    let begun = Instant::now();
    let mut end = 10 << 20;
    let (code, message) = loop {
        match first.write_all(&earlier, end as u64, &contents[0][end..=end]).await {
            Ok(()) => end += 1,
            refused => break refusal_with_message(refused),
        }
        assert!(begun.elapsed() < LIMIT && end < 2 * PART as usize, "it is told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(code, StatusCode::Failure, "{message}");
    assert!(message.contains("another session"), "{message}");
    let (code, message) = refusal_with_message(first.sftp.close(&earlier).await);
    assert_eq!(code, StatusCode::Failure, "{message}");
    second.write_all(&later, 10 << 20, &contents[1][10 << 20..]).await.expect("WRITE");
    second.sftp.close(later).await.expect("CLOSE");
    for oracle in [&first, &second] {
        assert!(oracle.get("/file").await == contents[1], "the later writer's file, and nothing of the earlier one");
    }
}

#[tokio::test]
async fn an_upload_that_was_cut_is_renamed_and_removed_like_a_file() {
    let mut fleet = Fleet::start(2, &[]);
    let sshs = [0, 1].map(|place| Ssh::new(&fleet.direct_login(place)));
    let content = random_bytes(1, 20 << 20);
    {
        let writer = Oracle::connect(&sshs[0]).await;
        for path in ["/renamed", "/removed"] {
            write_without_close(&writer, path).await;
        }
    }
    fleet.kill(0);
    let other = Oracle::connect(&sshs[1]).await;
    other.sftp.remove("/removed").await.expect("REMOVE");
    assert_eq!(refusal(other.sftp.stat("/removed").await), StatusCode::NoSuchFile);
    other.sftp.rename("/renamed", "/there").await.expect("RENAME");
    assert_eq!(refusal(other.sftp.stat("/renamed").await), StatusCode::NoSuchFile);
    let size = other.sftp.stat("/there").await.expect("STAT").attrs.size.expect("a size");
    let handle = other.open("/there", OpenFlags::CREATE | OpenFlags::WRITE).await.expect("OPEN");
    other.write_all(&handle, size, &content[size as usize..]).await.expect("WRITE");
    other.sftp.close(handle).await.expect("CLOSE");
    assert!(other.get("/there").await == content);
    fleet.wait_until_no_upload_is_left();
}

/// A file of 20 MiB that is open and durable but for its CLOSE.
async fn write_without_close(oracle: &Oracle, path: &str) {
    let handle = oracle.open(path, create()).await.expect("OPEN");
    oracle.write_all(&handle, 0, &random_bytes(1, 20 << 20)).await.expect("WRITE");
    oracle.sftp.fsync(&handle).await.expect("fsync@openssh.com");
}

#[tokio::test]
async fn an_operator_sees_what_was_cut_and_removes_it() {
    let mut fleet = Fleet::start(2, &[]);
    let sshs = [0, 1].map(|place| Ssh::new(&fleet.direct_login(place)));
    write_without_close(&Oracle::connect(&sshs[0]).await, "/file").await;
    fleet.kill(0);
    let uploads = fleet.uploads();
    assert_eq!(uploads.as_array().map(Vec::len), Some(1), "{uploads}");
    assert_eq!((&uploads[0]["path"], &uploads[0]["user"]), (&"file".into(), &"alice".into()), "{uploads}");
    fleet.cluster.cli(&["uploads", "abort", "--tenant", "acme", "file"]).ok();
    assert_eq!(fleet.uploads(), serde_json::json!([]));
    let other = Oracle::connect(&sshs[1]).await;
    assert_eq!(refusal(other.sftp.stat("/file").await), StatusCode::NoSuchFile);
    fleet.wait_until_no_upload_is_left();
}

#[tokio::test]
async fn what_nobody_resumes_in_time_is_removed_by_a_node_that_is_left() {
    let settings = [("TIDEGATE_VFS__UPLOAD_LIFE", "3s"), ("TIDEGATE_VFS__REAP_INTERVAL", "1s")];
    let mut fleet = Fleet::start(2, &settings);
    let sshs = [0, 1].map(|place| Ssh::new(&fleet.direct_login(place)));
    write_without_close(&Oracle::connect(&sshs[0]).await, "/file").await;
    fleet.kill(0);
    fleet.wait_until_no_upload_is_left();
    let other = Oracle::connect(&sshs[1]).await;
    assert_eq!(refusal(other.sftp.stat("/file").await), StatusCode::NoSuchFile);
}
