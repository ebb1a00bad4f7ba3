//! Uploads that are cut, and go on at another node.

use std::fs;
use std::process::Command;
use std::time::Duration;

use russh_sftp::protocol::{OpenFlags, StatusCode};
use tidegate_tests::{Lftp, Login, Process, Ssh, random_bytes, run_client, sha256_of_file, until, write_random_file};

use crate::fleet::Fleet;
use crate::oracle::{Oracle, refusal, refusal_with_message};

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// The first parts of an upload.
const PART: u64 = 8 * MIB;
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
    // -l is in Kbit/s: 32 MiB/s.
    command.args(["-l", "262144", "-b", "batch"]).arg(ssh.target());
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

/// Cuts an upload of `size` bytes by `cut`, has a client go on with it through the balancer, and checks
/// what came of it: the whole file on every node, and no more than `again` bytes sent a second time.
fn cut_and_go_on(
    fleet: &mut Fleet,
    size: u64,
    client: fn(&Ssh, &Login),
    cut: impl FnOnce(&mut Fleet, usize),
    again: u64,
) {
    let first = size / 2;
    let login = fleet.login();
    let ssh = Ssh::new(&login);
    let sum = write_random_file(&ssh.file("large"), 1, size);
    let before = sent(fleet);
    let (mut upload, place) = begin(fleet, &ssh, first);
    cut(fleet, place);
    assert!(!upload.wait(LIMIT).success(), "the client is told");
    let durable = shown(&ssh);
    assert!(durable > first - 2 * PART - WINDOW && durable < size, "{durable} bytes are shown");
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
    println!("{} KiB were sent again, or for SSH", repeated >> 10);
    assert!(repeated <= again + size * FRAMING_PERCENT / 100, "{repeated} bytes were sent again");
    ssh.sftp("rm large\n").ok();
    fleet.wait_until_no_upload_is_left();
}

#[test]
fn an_upload_whose_node_is_killed_goes_on_at_another() {
    let mut fleet = Fleet::start(2, &[]);
    for (size, client) in [(256 * MIB, openssh as fn(&Ssh, &Login)), (96 * MIB, lftp), (96 * MIB, curl)] {
        cut_and_go_on(&mut fleet, size, client, Fleet::kill, PART + WINDOW);
    }
}

#[test]
fn an_upload_whose_node_drains_goes_on_at_another_and_nothing_is_sent_again() {
    let mut fleet = Fleet::start(2, &[("TIDEGATE_DRAIN__DEADLINE", "1s"), ("TIDEGATE_DRAIN__DELAY", "500ms")]);
    cut_and_go_on(&mut fleet, 192 * MIB, openssh, Fleet::drain, WINDOW);
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
    let fenced = async {
        first.write_all(&earlier, 10 << 20, &contents[0][10 << 20..]).await?;
        first.sftp.close(&earlier).await
    };
    let (code, message) = refusal_with_message(fenced.await);
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
    fleet.wait_until_no_upload_is_listed();
    fleet.wait_until_no_upload_is_left();
    let other = Oracle::connect(&sshs[1]).await;
    assert_eq!(refusal(other.sftp.stat("/file").await), StatusCode::NoSuchFile);
}
