//! Uploads that stop in the middle and go on later.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use russh_sftp::client::error::Error;
use russh_sftp::protocol::{OpenFlags, StatusCode};
use tidegate_tests::{Process, Ssh, random_bytes, sha256_of_file, until, write_random_file};
use tokio::task::JoinSet;

use crate::oracle::{Oracle, refusal_with_message};
use crate::proxied::Proxied;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn an_upload_that_pauses_keeps_its_bytes_and_holds_nobody_up() {
    let proxied = Proxied::start();
    let ssh = &proxied.ssh;
    let sum = write_random_file(&ssh.file("file"), 1, 40 * MIB);
    fs::write(ssh.file("slow.batch"), "put file\n").unwrap();
    let mut command = ssh.sftp_command();
    // -l is in Kbit/s: 16 MiB/s.
    command.args(["-l", "131072", "-b", "slow.batch"]).arg(ssh.target());
    let mut upload = Process::start("sftp", ssh.folder(), &mut command);
    until("the upload has sent parts", LIMIT, || {
        upload.assert_running();
        (proxied.node.metric("tidegate_sftp_bytes_total{direction=\"in\"}") > 12.0 * MIB as f64).then_some(())
    });
    upload.signal("STOP");

    for n in 0..6_u64 {
        let other = write_random_file(&ssh.file("other"), 10 + n, 5 * MIB + n);
        ssh.sftp("put other\nget other back\n").ok();
        assert_eq!(sha256_of_file(&ssh.file("back")), other);
    }
    assert_eq!(proxied.node.metric("tidegate_vfs_open_writers"), 1.0, "the paused upload is still open");

    upload.signal("CONT");
    assert!(upload.wait(LIMIT).success());
    ssh.sftp("get file back\n").ok();
    assert_eq!(sha256_of_file(&ssh.file("back")), sum);
    proxied.wait_until_nothing_is_open();
}

/// A node with little memory and, beside the tenant `acme` with `alice`, the tenant `rival` with
/// `mallory`.
struct Neighbours {
    proxied: Proxied,
    mallory: Ssh,
}

impl Neighbours {
    fn start(budget_wait: &str) -> Self {
        let proxied = Proxied::start_with(&[
            ("TIDEGATE_SSH__MAX_UNAUTHENTICATED_PER_SOURCE", "256"),
            ("TIDEGATE_VFS__BUDGET_WAIT", budget_wait),
            ("TIDEGATE_VFS__MEMORY_BUDGET", "512MiB"),
        ]);
        proxied.cluster.add_tenant("rival");
        proxied.cluster.add_user_of("rival", "mallory");
        let mallory = Ssh::new(&proxied.cluster.login(&proxied.node, "mallory"));
        // Known hosts, so that many clients at once do not write the same file.
        proxied.ssh.sftp("pwd\n").ok();
        mallory.sftp("pwd\n").ok();
        Self { proxied, mallory }
    }

    fn stalls(&self) -> f64 {
        self.proxied.node.metric("tidegate_sftp_write_stalls_total")
    }

    /// Alice does a defined piece of work, several files at once, each larger than a part.
    fn alice_works(&self) {
        let ssh = &self.proxied.ssh;
        let sums: Vec<_> = (0..4).map(|n| write_random_file(&ssh.file(&format!("up{n}")), n, 12 * MIB + n)).collect();
        std::thread::scope(|scope| {
            for n in 0..4 {
                scope.spawn(move || ssh.sftp(&format!("put up{n}\nget up{n} down{n}\n")).ok());
            }
        });
        for (n, sum) in sums.iter().enumerate() {
            assert_eq!(&sha256_of_file(&ssh.file(&format!("down{n}"))), sum, "file {n}");
        }
    }
}

const STOPPED: u64 = 70;
/// What each of mallory's uploads sends before it stops.
const FIRST: usize = 100_000;

fn content(n: u64) -> Vec<u8> {
    // A few of them in several parts.
    random_bytes(n, if n.is_multiple_of(16) { 9 << 20 } else { 1 << 20 })
}

/// One of mallory's uploads, in a session of its own.
struct Upload {
    n: u64,
    oracle: Arc<Oracle>,
    handle: String,
}

impl Upload {
    async fn begin(n: u64, oracle: Arc<Oracle>) -> Result<Self, Error> {
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let handle = oracle.open(&format!("/file{n}"), flags).await?;
        oracle.write_all(&handle, 0, &content(n)[..FIRST]).await?;
        Ok(Self { n, oracle, handle })
    }

    async fn end(self) -> Result<(), Error> {
        let data = content(self.n);
        self.oracle.write_all(&self.handle, FIRST as u64, &data[FIRST..]).await?;
        self.oracle.sftp.close(self.handle).await.map(|_| ())
    }

    async fn arrived(oracle: &Oracle, n: u64) {
        assert!(oracle.get(&format!("/file{n}")).await == content(n), "file {n}");
    }
}

async fn sessions(ssh: &Ssh) -> Vec<Arc<Oracle>> {
    let mut oracles = Vec::new();
    while oracles.len() < STOPPED as usize {
        // Logins cost, and a debug build is slow: not all in one moment.
        let logins = (0..10).map(|_| async { Arc::new(Oracle::connect_patiently(ssh).await) });
        oracles.extend(join_all(logins).await);
    }
    oracles
}

async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in pinned.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_seventy_stopped_uploads_do_not_keep_another_tenant_waiting() {
    // Who waits for memory waits on, for as long as this test may take.
    let neighbours = Arc::new(Neighbours::start("10m"));
    let stalls_before = neighbours.stalls();
    let mut beginning = JoinSet::new();
    for (n, oracle) in sessions(&neighbours.mallory).await.into_iter().enumerate() {
        beginning.spawn(Upload::begin(n as u64, oracle));
    }
    // Each has sent its first bytes, or waits for memory to do so.
    let mut stopped = Vec::new();
    let wait = tokio::time::timeout(LIMIT, async {
        while (stopped.len() as f64) < STOPPED as f64 - (neighbours.stalls() - stalls_before) {
            let next = tokio::time::timeout(Duration::from_millis(50), beginning.join_next()).await;
            if let Ok(Some(begun)) = next {
                stopped.push(begun.unwrap().expect("OPEN and the first WRITEs, or a wait"));
            }
        }
    });
    assert!(
        wait.await.is_ok(),
        "only {} uploads of {STOPPED} could be begun, and the others do not wait",
        stopped.len()
    );
    println!("{} stopped, {} wait for memory", stopped.len(), beginning.len());
    assert!(!stopped.is_empty());

    let alice = Arc::clone(&neighbours);
    tokio::task::spawn_blocking(move || alice.alice_works()).await.unwrap();

    // Everything that was stopped or waits goes on and comes to its end.
    let reader = Arc::clone(&stopped[0].oracle);
    let mut ending: JoinSet<_> = stopped.into_iter().map(Upload::end).collect();
    while let Some(begun) = beginning.join_next().await {
        ending.spawn(begun.unwrap().expect("it got its memory in the end").end());
        while let Some(ended) = ending.try_join_next() {
            ended.unwrap().expect("WRITE and CLOSE");
        }
    }
    while let Some(ended) = ending.join_next().await {
        ended.unwrap().expect("WRITE and CLOSE");
    }
    for n in 0..STOPPED {
        Upload::arrived(&reader, n).await;
    }
    drop(reader);
    let mut neighbours = Arc::into_inner(neighbours).expect("nobody else works any more");
    neighbours.proxied.wait_until_nothing_is_open();
    neighbours.proxied.assert_memory_was_bounded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_tenant_that_holds_all_its_memory_is_told_so_and_keeps_what_it_has() {
    let neighbours = Arc::new(Neighbours::start("1s"));
    let begun = sessions(&neighbours.mallory).await.into_iter().enumerate();
    let begun = join_all(begun.map(|(n, oracle)| Upload::begin(n as u64, oracle))).await;
    let (mut stopped, mut refused) = (Vec::new(), 0);
    for begun in begun {
        match begun {
            Ok(upload) => stopped.push(upload),
            Err(error) => {
                let (code, message) = refusal_with_message::<()>(Err(error));
                assert_eq!(code, StatusCode::Failure, "{message}");
                assert!(message.contains("memory") && message.contains("try again"), "{message}");
                refused += 1;
            }
        }
    }
    println!("{} stopped, {refused} refused", stopped.len());
    assert!(stopped.len() >= 8, "only {} uploads of one tenant could be begun", stopped.len());

    let alice = Arc::clone(&neighbours);
    tokio::task::spawn_blocking(move || alice.alice_works()).await.unwrap();

    // Few at a time: what is refused now would be for want of memory, not for having stopped.
    let reader = Arc::clone(&stopped[0].oracle);
    for upload in stopped {
        let n = upload.n;
        upload.end().await.expect("WRITE and CLOSE of what was begun");
        Upload::arrived(&reader, n).await;
    }
    drop(reader);
    let neighbours = Arc::into_inner(neighbours).expect("nobody else works any more");
    neighbours.proxied.wait_until_nothing_is_open();
}
