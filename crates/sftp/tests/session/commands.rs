//! The limits of `scp` and of the programs that print checksums.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_sftp::{Command, CommandReport, run_command};
use tidegate_store::faulty::{Call, FaultPlan, FaultyObjectStore};
use tidegate_store::memory::{MemoryObjectStore, MemoryObjectStores};
use tidegate_store::{Body, Condition, ObjectAttributes, ObjectKey, ObjectStore, TenantLimits, md5};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Node;

const MIB: usize = 1 << 20;

/// A command that runs, as its client sees it.
struct Run {
    stream: DuplexStream,
    command: JoinHandle<CommandReport>,
}

impl Run {
    async fn of(node: &Node, line: &str, limits: TenantLimits) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let context = node.context("demo", limits).await;
        let command = Command::parse(line.as_bytes()).unwrap();
        Self { stream: ours, command: tokio::spawn(run_command(theirs, command, context)) }
    }

    async fn unlimited(node: &Node, line: &str) -> Self {
        Self::of(node, line, TenantLimits::default()).await
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// A line of the other end, without its end.
    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            match self.stream.read_u8().await.expect("a line") {
                b'\n' => return String::from_utf8(line).unwrap(),
                byte => line.push(byte),
            }
        }
    }

    /// Sends a line, which must be taken.
    async fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes()).await;
        self.taken().await;
    }

    /// The other end's word that it goes on.
    async fn taken(&mut self) {
        let answer = self.stream.read_u8().await.expect("an answer");
        if answer != 0 {
            panic!("refused: {}", self.line().await);
        }
    }

    /// Closes this side, and waits for the end. What was sent meanwhile is behind it.
    async fn end(mut self) -> (CommandReport, Vec<u8>) {
        self.stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let mut stream = self.stream;
        let (report, read) = tokio::join!(self.command, stream.read_to_end(&mut rest));
        read.unwrap();
        let report = report.unwrap();
        (report, rest)
    }
}

/// A node, and the objects of its tenant.
struct Files {
    node: Node,
    store: MemoryObjectStore,
}

impl Files {
    fn new() -> Self {
        let stores = MemoryObjectStores::new();
        let store = stores.bucket("files");
        Self { node: Node::over(Arc::new(stores)), store }
    }

    /// Stores a file behind the node's back.
    async fn put(&self, path: &str, content: Vec<u8>) {
        let body = Body::from(Bytes::from(content));
        let (key, checksum) = (ObjectKey::new(format!("demo{path}")).unwrap(), body.checksum());
        self.store.put(&key, body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
    }

    async fn has(&self, path: &str) -> bool {
        self.store.head(&ObjectKey::new(format!("demo{path}")).unwrap()).await.is_ok()
    }
}

fn bandwidth(input: usize, output: usize) -> TenantLimits {
    TenantLimits {
        max_bandwidth_in: (input as u64).try_into().ok(),
        max_bandwidth_out: (output as u64).try_into().ok(),
        ..TenantLimits::default()
    }
}

#[tokio::test]
async fn directories_are_taken_to_a_depth_of_sixty_four() {
    let files = Files::new();
    let mut run = Run::unlimited(&files.node, "scp -r -t .").await;
    run.taken().await;
    for _ in 0..64 {
        run.say("D0755 0 d").await;
    }
    run.say("C0644 1 deep").await;
    run.send(b"x\0").await;
    run.taken().await;
    run.send(b"D0755 0 d\n").await;
    assert_eq!(run.line().await, "\x01scp: the directories are nested too deep for scp; use sftp");
    let (report, _) = run.end().await;
    assert_eq!(report.status, Some(1), "{}", report.message);
    let path = "/d".repeat(64);
    assert!(files.has(&format!("{path}/deep")).await, "what came before is there");
    assert!(!files.has(&format!("{path}/d/")).await);
}

#[tokio::test]
async fn directories_are_sent_to_a_depth_of_sixty_four_and_what_is_beside_deeper_ones() {
    let files = Files::new();
    let deepest = format!("/tree{}", "/d".repeat(63));
    files.put(&format!("{deepest}/d/too-deep"), vec![1]).await;
    files.put(&format!("{deepest}/e"), vec![2]).await;
    let mut run = Run::unlimited(&files.node, "scp -r -f tree").await;
    run.send(b"\0").await;
    for n in 0..64 {
        assert_eq!(run.line().await, if n == 0 { "D0755 0 tree" } else { "D0755 0 d" });
        run.send(b"\0").await;
    }
    let warning = format!("\x01scp: {deepest}/d: the directories are nested too deep for scp; use sftp");
    assert_eq!(run.line().await, warning);
    assert_eq!(run.line().await, "C0644 1 e");
    run.send(b"\0").await;
    assert_eq!(run.stream.read_u16().await.unwrap(), 0x0200, "the byte, and that it is good");
    run.send(b"\0").await;
    for _ in 0..64 {
        assert_eq!(run.line().await, "E");
        run.send(b"\0").await;
    }
    let (report, rest) = run.end().await;
    assert_eq!((report.status, rest), (Some(1), vec![]), "it tells that something is missing");
}

#[tokio::test]
async fn a_tree_takes_memory_for_twenty_thousand_entries_and_no_more() {
    let files = Files::new();
    let mut path = "/tree".to_owned();
    for _ in 0..24 {
        for n in 0..1_000 {
            files.put(&format!("{path}/f{n:03}"), Vec::new()).await;
        }
        path.push_str("/d");
    }
    let mut run = Run::unlimited(&files.node, "scp -r -f tree").await;
    run.send(b"\0").await;
    // Of each directory the first page waits, without the first name of it, which is the next directory.
    let mut directories = 0;
    let refused = loop {
        let line = run.line().await;
        if !line.starts_with('D') {
            break line;
        }
        directories += 1;
        run.send(b"\0").await;
    };
    assert_eq!(refused, "\x01scp: the tree is too large for scp; use sftp");
    assert_eq!(directories, 21, "twenty pages of 999 entries, and one that does not fit beside them");
    assert_eq!(run.end().await.0.status, Some(1));
}

#[tokio::test]
async fn a_pattern_stands_for_ten_thousand_names_and_no_more() {
    let files = Files::new();
    for n in 0..10_000 {
        files.put(&format!("/many/f{n:05}"), Vec::new()).await;
    }
    let mut run = Run::unlimited(&files.node, "scp -f many/f*").await;
    run.send(b"\0").await;
    assert_eq!(run.line().await, "C0644 0 f00000");
    drop(run.end().await);
    files.put("/many/f", Vec::new()).await;
    let mut run = Run::unlimited(&files.node, "scp -f many/f*").await;
    run.send(b"\0").await;
    let refused = run.line().await;
    assert!(
        refused.ends_with("the pattern stands for more than 10,000 names; use a narrower one, or sftp"),
        "{refused}"
    );
    let (report, rest) = run.end().await;
    assert_eq!((report.status, rest), (Some(1), vec![]), "none of them is sent");
}

#[tokio::test]
async fn a_line_of_the_protocol_has_an_end() {
    let files = Files::new();
    let mut run = Run::unlimited(&files.node, "scp -t .").await;
    run.taken().await;
    run.send(&[b'C'; 5_000]).await;
    let (report, _) = run.end().await;
    assert_eq!((report.status, report.message.as_str()), (Some(1), "a line of the protocol is too long"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_takes_the_file_that_has_begun_and_ends_the_command_behind_it() {
    let files = Files::new();
    let mut run = Run::unlimited(&files.node, "scp -t .").await;
    run.taken().await;
    run.say("C0644 10 begun").await;
    run.send(b"01234").await;
    files.node.shutdown.drain.cancel();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!run.command.is_finished(), "a client may take its time over a file");
    run.send(b"56789\0").await;
    run.taken().await;
    let began = Instant::now();
    let report = run.command.await.unwrap();
    assert_eq!(report.status, None, "{}", report.message);
    assert_eq!(began.elapsed().as_secs(), 2, "it might end by itself");
    assert!(files.has("/begun").await);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_begins_no_other_file() {
    let files = Files::new();
    files.put("/one", vec![1; 10]).await;
    files.put("/two", vec![2; 10]).await;
    let mut run = Run::unlimited(&files.node, "scp -f one two").await;
    run.send(b"\0").await;
    assert_eq!(run.line().await, "C0644 10 one");
    files.node.shutdown.drain.cancel();
    run.send(b"\0").await;
    let mut content = [0; 11];
    run.stream.read_exact(&mut content).await.unwrap();
    assert_eq!(content, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    run.send(b"\0").await;
    assert_eq!(run.line().await, "\x01scp: /two: this node is going down; connect again to go on");
    assert_eq!(run.end().await.0.status, Some(1));

    let mut run = Run::unlimited(&files.node, "scp -t .").await;
    run.taken().await;
    run.send(b"C0644 1 new\n").await;
    assert!(run.line().await.ends_with("this node is going down; connect again to go on"));
    assert!(!files.has("/new").await);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_a_command_ends_and_publishes_nothing() {
    let files = Files::new();
    let mut run = Run::unlimited(&files.node, "scp -t .").await;
    run.taken().await;
    run.say("C0644 20000000 cut").await;
    run.send(&vec![1; 19_000_000]).await;
    files.node.shutdown.deadline.cancel();
    let report = run.command.await.unwrap();
    assert_eq!(report.status, None, "{}", report.message);
    assert!(!files.has("/cut").await);
    // Its parts are dropped in the background.
    while !files.store.list_uploads("", None).await.unwrap().uploads.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_commands_take_and_send_takes_the_time_that_bandwidth_makes() {
    let files = Files::new();
    files.put("/file", vec![7; 4 * MIB]).await;
    let assert_took = |began: Instant, what: &str| {
        let took = began.elapsed();
        assert!((Duration::from_millis(3_900)..Duration::from_millis(4_200)).contains(&took), "{what}: {took:?}");
    };
    for (line, limits) in [
        ("scp -t .", bandwidth(MIB, 0)),
        ("scp -f file", bandwidth(0, MIB)),
        ("sha256sum file", bandwidth(0, MIB)),
        ("md5sum", bandwidth(MIB, 0)),
    ] {
        let began = Instant::now();
        let mut run = Run::of(&files.node, line, limits).await;
        match line {
            "scp -t ." => {
                run.taken().await;
                run.say("C0644 4194304 new").await;
                run.send(&vec![1; 4 * MIB]).await;
                run.send(b"\0").await;
                run.taken().await;
            }
            "scp -f file" => {
                run.send(b"\0").await;
                assert_eq!(run.line().await, "C0644 4194304 file");
                run.send(b"\0").await;
                let mut content = vec![0; 4 * MIB + 1];
                run.stream.read_exact(&mut content).await.unwrap();
                run.send(b"\0").await;
            }
            "md5sum" => run.send(&vec![1; 4 * MIB]).await,
            _ => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(files.node.throttled.any(), "a command that waits is not idle");
            }
        }
        let (report, _) = run.end().await;
        assert_eq!(report.status, Some(0), "{line}: {}", report.stderr);
        assert_took(began, line);
        assert!(!files.node.throttled.any(), "{line}");
    }
}

#[tokio::test]
async fn the_files_of_a_command_are_among_the_handles_of_its_tenant() {
    let files = Files::new();
    files.put("/file", vec![7; 10]).await;
    let limits = TenantLimits { max_open_handles: Some(1), ..TenantLimits::default() };
    let mut first = Run::of(&files.node, "scp -t .", limits.clone()).await;
    first.taken().await;
    first.say("C0644 1 held").await;
    for line in ["scp -f file", "md5sum file"] {
        let mut run = Run::of(&files.node, line, limits.clone()).await;
        if line.starts_with("scp") {
            run.send(b"\0").await;
        }
        let (report, said) = run.end().await;
        let said = String::from_utf8(said).unwrap() + &report.stderr;
        assert!(said.contains("too many files are open in all sessions of this account"), "{line}: {said}");
        assert_eq!(report.status, Some(1));
    }
    assert_eq!(files.node.metric("tidegate_sftp_refused_handles_total", "tenant"), 2.0);
    first.send(b"x\0").await;
    first.taken().await;
    let (report, sums) = Run::of(&files.node, "md5sum file", limits).await.end().await;
    assert_eq!((report.status, sums.len()), (Some(0), 32 + 2 + 4 + 1), "a place is free again");
}

#[tokio::test]
async fn a_sum_that_the_store_has_is_printed_without_reading() {
    let store = MemoryObjectStore::new().with_md5s();
    let calls = FaultyObjectStore::new(Arc::new(store.clone()), FaultPlan::none());
    let files = Files { node: Node::over(Arc::new(calls.clone())), store };
    let content: Vec<u8> = (0..MIB).map(|n| (n % 251) as u8).collect();
    files.put("/file", content.clone()).await;
    let line = |sum: &[u8], name: &str| {
        let digits: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digits}  {name}\n").into_bytes()
    };
    let (report, said) = Run::unlimited(&files.node, "md5sum file").await.end().await;
    assert_eq!((report.status, said), (Some(0), line(&md5([&content[..]]), "file")), "{}", report.stderr);
    // OPEN's own request, which tells that the file is there.
    assert_eq!((calls.calls(Call::Get), calls.calls(Call::Checksum), report.bytes_out), (1, 1, 0));

    // What it has not is read; what came with OPEN is not asked for.
    files.put("/small", content[..1000].to_vec()).await;
    let (report, said) = Run::unlimited(&files.node, "md5sum small").await.end().await;
    assert_eq!((said, report.bytes_out), (line(&md5([&content[..1000]]), "small"), 1000));
    assert_eq!((calls.calls(Call::Get), calls.calls(Call::Checksum)), (2, 1));
    let (report, _) = Run::unlimited(&files.node, "sha256sum file").await.end().await;
    assert_eq!((report.status, report.bytes_out), (Some(0), content.len() as u64));
}

#[tokio::test]
async fn what_is_said_on_standard_error_has_an_end() {
    let files = Files::new();
    let names: Vec<String> = (0..60).map(|n| format!("{n:02}{}", "x".repeat(200))).collect();
    let run = Run::unlimited(&files.node, &format!("md5sum {}", names.join(" "))).await;
    let (report, _) = run.end().await;
    assert_eq!(report.status, Some(1));
    assert!((7 << 10..=8 << 10).contains(&report.stderr.len()), "{} bytes", report.stderr.len());
    assert!(report.stderr.ends_with("no such file or directory\n"), "whole lines");
}

#[tokio::test(start_paused = true)]
async fn a_sum_ends_with_its_clients_connection() {
    let files = Files::new();
    files.put("/file", vec![7; 64 * MIB]).await;
    let context = files.node.context("demo", bandwidth(0, 64 << 10)).await;
    let gone = context.gone.clone();
    let (_ours, theirs) = tokio::io::duplex(1024);
    let command = Command::parse(b"md5sum file").unwrap();
    let command = tokio::spawn(run_command(theirs, command, context));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!command.is_finished());
    gone.cancel();
    let began = Instant::now();
    assert_eq!(command.await.unwrap().status, Some(1));
    assert_eq!(began.elapsed().as_secs(), 0);
}
