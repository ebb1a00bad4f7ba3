//! Clients that ask for much and take nothing.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use tidegate_tests::{Ssh, random_bytes, sha256_of_file, until, write_random_file};

use crate::proxied::Proxied;

const LIMIT: Duration = Duration::from_secs(60);

/// A session at the level of bytes, through `ssh -s`, with one file open for reading. Nothing reads
/// the answers but [`Raw::answer`]; until then they stay in the pipe, in ssh and in the node.
struct Raw {
    ssh: Child,
    input: ChildStdin,
    output: ChildStdout,
    handle: Vec<u8>,
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 1).to_be_bytes()[..], &[kind], body].concat()
}

impl Raw {
    const MKDIR_ID: u32 = u32::MAX;

    fn open(ssh: &Ssh, path: &str) -> Self {
        let mut command = ssh.subsystem();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut raw = Self { ssh: child, input, output, handle: Vec::new() };
        raw.send(&packet(1, &3_u32.to_be_bytes()));
        assert_eq!(raw.answer().0, 2, "VERSION");
        let open = [&7_u32.to_be_bytes()[..], &text(path.as_bytes()), &1_u32.to_be_bytes(), &0_u32.to_be_bytes()];
        raw.send(&packet(3, &open.concat()));
        let (kind, body) = raw.answer();
        assert_eq!(kind, 102, "HANDLE");
        raw.handle = body[4..].to_vec();
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).expect("ssh takes what is sent");
    }

    /// The packet of one READ.
    fn read(&self, id: u32, offset: u64, len: u32) -> Vec<u8> {
        packet(5, &[&id.to_be_bytes()[..], &self.handle, &offset.to_be_bytes(), &len.to_be_bytes()].concat())
    }

    /// The packet of a MKDIR: that the directory is there shows that the node has taken in all that
    /// was sent before.
    fn mkdir(path: &str) -> Vec<u8> {
        let body = [&Self::MKDIR_ID.to_be_bytes()[..], &text(path.as_bytes()), &0_u32.to_be_bytes()];
        packet(14, &body.concat())
    }

    fn answer(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.output.read_exact(&mut head).expect("an answer");
        let mut body = vec![0; u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize - 1];
        self.output.read_exact(&mut body).expect("a whole answer");
        (head[4], body)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

fn wait_for_directory(ssh: &Ssh, name: &str) {
    until("the node has taken in all requests", LIMIT, || {
        ssh.sftp(&format!("ls {name}\n")).status.success().then_some(())
    });
}

/// What others do meanwhile.
fn transfer(ssh: &Ssh) {
    let sum = write_random_file(&ssh.file("up"), 5, 24 << 20);
    ssh.sftp("put up\nget up down\n").ok();
    assert_eq!(sha256_of_file(&ssh.file("down")), sum);
}

#[test]
fn ten_thousand_reads_without_a_look_at_the_answers_wait_and_harm_nobody() {
    const READS: u32 = 10_000;
    const LEN: u32 = 4096;
    let mut proxied = Proxied::start_with(&[("TIDEGATE_VFS__MEMORY_BUDGET", "128MiB")]);
    let data = random_bytes(8, (READS * LEN) as usize);
    std::fs::write(proxied.ssh.file("file"), &data).unwrap();
    proxied.ssh.sftp("put file\n").ok();

    let mut raw = Raw::open(&proxied.ssh, "/file");
    let reads: Vec<u8> = (0..READS).flat_map(|n| raw.read(n, u64::from(n * LEN), LEN)).collect();
    raw.send(&reads);
    raw.send(&Raw::mkdir("/asked"));
    wait_for_directory(&proxied.ssh, "asked");
    transfer(&proxied.ssh);

    // It has waited, and gets everything in order once it reads.
    let mut next = 0;
    while next < READS {
        let (kind, body) = raw.answer();
        let id = u32::from_be_bytes(body[..4].try_into().unwrap());
        if id == Raw::MKDIR_ID {
            continue;
        }
        assert_eq!((kind, id), (103, next), "DATA, in the order asked");
        let at = (next * LEN) as usize;
        assert!(body[8..] == data[at..at + LEN as usize], "the bytes at {at}");
        next += 1;
    }
    drop(raw);
    proxied.wait_until_nothing_is_open();
    proxied.assert_memory_was_bounded();
}

#[test]
fn scattered_reads_without_a_look_at_the_answers_end_their_session_at_the_limit_and_no_other() {
    // `sftp.request_queue` is 8 MiB, and a READ that follows no other takes 100 bytes of it.
    const BELOW: u32 = 80_000;
    const ALL: u32 = 100_000;
    let mut proxied = Proxied::start_with(&[("TIDEGATE_VFS__MEMORY_BUDGET", "128MiB")]);
    write_random_file(&proxied.ssh.file("file"), 8, 48 << 20);
    proxied.ssh.sftp("put file\n").ok();

    let mut raw = Raw::open(&proxied.ssh, "/file");
    let scattered = |raw: &Raw, ids: std::ops::Range<u32>| -> Vec<u8> {
        ids.flat_map(|n| raw.read(n, u64::from(n) * 7_919_777 % (48 << 20), 32 << 10)).collect()
    };
    let first = scattered(&raw, 0..BELOW);
    raw.send(&first);
    raw.send(&Raw::mkdir("/asked"));
    wait_for_directory(&proxied.ssh, "asked");
    assert_eq!(proxied.node.metric("tidegate_sftp_sessions"), 1.0, "below the limit it waits");
    transfer(&proxied.ssh);
    assert_eq!(proxied.node.metric("tidegate_sftp_sessions"), 1.0, "below the limit it waits");

    let rest = scattered(&raw, BELOW..ALL);
    // ssh may be gone before it has taken all.
    let _ = raw.input.write_all(&rest);
    until("the session has ended", LIMIT, || (proxied.node.metric("tidegate_sftp_sessions") == 0.0).then_some(()));
    proxied.node.wait_for_log("sends requests but does not read the answers");
    transfer(&proxied.ssh);
    drop(raw);
    proxied.wait_until_nothing_is_open();
    proxied.assert_memory_was_bounded();
}
