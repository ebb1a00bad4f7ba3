//! A node that goes while clients come.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh_sftp::protocol::OpenFlags;
use tidegate_tests::{Ssh, random_bytes, until};
use tokio::runtime::{Builder, Runtime};

use crate::fleet::Fleet;
use crate::load::{Client, Load};
use crate::oracle::Oracle;

const LIMIT: Duration = Duration::from_secs(60);

/// Far more than the balancer needs to notice and than a login takes that has begun by then.
const DELAY: (&str, &str) = ("TIDEGATE_DRAIN__DELAY", "4s");

#[test]
fn a_node_that_drains_gets_no_new_client_and_no_login_is_refused() {
    const CLIENTS: usize = 3;
    let mut fleet = Fleet::start(3, &[DELAY]);
    let ssh = Ssh::new(&fleet.login());
    // The host key, so that no two clients write it down at once.
    ssh.sftp("pwd\n").ok();
    let client = |load: &Load| {
        while !load.is_over() {
            ssh.sftp("pwd\n").ok();
            load.add();
        }
    };
    let clients = (0..CLIENTS).map(|_| Box::new(client) as Client<'_>);
    Load::run(clients, |load| {
        let connections = |fleet: &Fleet| [0, 1, 2].map(|place| fleet.balancer.server(place).connections);
        let before = connections(&fleet);
        load.wait_for(3 * CLIENTS);
        let now = connections(&fleet);
        assert!((0..3).all(|place| now[place] > before[place]), "each node has its share: {before:?}, {now:?}");

        fleet.signal(1, "TERM");
        until("the node says that it goes", LIMIT, || {
            fleet.node(1).get("/readyz").is_some_and(|(status, _)| status == 503).then_some(())
        });
        until("the balancer has noticed", LIMIT, || (fleet.balancer.server(1).status == "DOWN").then_some(()));
        let before = connections(&fleet);
        load.wait_for(3 * CLIENTS);
        fleet.wait_for_end(1);
        let now = connections(&fleet);
        assert!(now[0] > before[0] && now[2] > before[2], "the others go on: {before:?}, {now:?}");
        assert_eq!(now[1], before[1], "nobody is sent to a node that goes");

        fleet.replace(1);
        load.wait_for(3 * CLIENTS);
        assert!(connections(&fleet)[1] > now[1], "the new node has its share");
    });
}

fn create() -> OpenFlags {
    OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The size that STAT shows of a file.
async fn shown(oracle: &Oracle, path: &str) -> u64 {
    oracle.sftp.stat(path).await.expect("STAT").attrs.size.expect("a size")
}

#[tokio::test]
async fn a_second_signal_cuts_an_upload_and_keeps_what_was_acknowledged() {
    const FIRST: usize = (13 << 20) + 5;
    const ACKNOWLEDGED: usize = FIRST + (1 << 20);
    let mut fleet = Fleet::start(2, &[("TIDEGATE_DRAIN__DELAY", "500ms")]);
    let sshs = [0, 1].map(|place| Ssh::new(&fleet.direct_login(place)));
    let content = random_bytes(1, (21 << 20) + 77);
    let writer = Oracle::connect(&sshs[0]).await;
    let handle = writer.open("/large", create()).await.expect("OPEN");
    writer.write_all(&handle, 0, &content[..FIRST]).await.expect("WRITE");
    fleet.signal(0, "TERM");
    until("the node drains", LIMIT, || fleet.node(0).log().contains("\"draining\"").then_some(()));
    writer.write_all(&handle, FIRST as u64, &content[FIRST..ACKNOWLEDGED]).await.expect("a transfer goes on");
    fleet.signal(0, "TERM");
    until("it has the second signal", LIMIT, || fleet.node(0).log().contains("a second signal").then_some(()));
    fleet.wait_for_end(0);

    let other = Oracle::connect(&sshs[1]).await;
    assert_eq!(shown(&other, "/large").await, ACKNOWLEDGED as u64 - 1, "less one byte");
    assert!(other.names("/").await.is_empty(), "nothing is published");
    fs::write(sshs[1].file("large"), &content).unwrap();
    sshs[1].sftp("reput large\n").ok();
    assert!(other.get("/large").await == content);
    fleet.wait_until_no_upload_is_left();
}

#[test]
fn whatever_was_acknowledged_before_a_drain_is_there_behind_it_also_on_a_slow_store() {
    const WRITERS: usize = 8;
    const CHUNK: usize = 256 << 10;
    let settings =
        [("TIDEGATE_DRAIN__DEADLINE", "1s"), ("TIDEGATE_DRAIN__DELAY", "500ms"), ("TIDEGATE_VFS__PART_SIZE", "5MiB")];
    let mut fleet = Fleet::start(2, &settings);
    let login = fleet.direct_login(0);
    let path = |number: usize| format!("/{number}");
    let content = |number: usize| random_bytes(number as u64, 20 << 20);
    let acknowledged = [(); WRITERS].map(|()| AtomicU64::new(0));
    fleet.delay_s3(Duration::from_millis(500));
    let write = |number: usize| {
        let (content, acknowledged) = (content(number), &acknowledged[number]);
        runtime().block_on(async {
            let oracle = Oracle::connect(&Ssh::new(&login)).await;
            let handle = oracle.open(&path(number), create()).await.expect("OPEN");
            for (n, chunk) in content.chunks(CHUNK).enumerate() {
                let offset = (n * CHUNK) as u64;
                if oracle.write_all(&handle, offset, chunk).await.is_err() {
                    return;
                }
                acknowledged.store(offset + chunk.len() as u64, Ordering::SeqCst);
            }
            // All of it, and no CLOSE: an FSTAT is answered until the session is cut.
            while oracle.sftp.fstat(&handle).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    };
    let writers = (0..WRITERS).map(|number| Box::new(move |_: &Load| write(number)) as Client<'_>);
    Load::run(writers, |_| {
        until("all of them write", LIMIT, || {
            acknowledged.iter().all(|count| count.load(Ordering::SeqCst) > 6 << 20).then_some(())
        });
        fleet.drain(0);
    });

    fleet.delay_s3(Duration::ZERO);
    runtime().block_on(async {
        let other = Oracle::connect(&Ssh::new(&fleet.direct_login(1))).await;
        for (number, acknowledged) in acknowledged.iter().enumerate() {
            let (path, content, acknowledged) = (path(number), content(number), acknowledged.load(Ordering::SeqCst));
            let size = shown(&other, &path).await;
            println!("{acknowledged} bytes of {path} were acknowledged, {size} are shown");
            assert!(size + 1 >= acknowledged, "{acknowledged} bytes of {path} were acknowledged, {size} are shown");
            let handle = other.open(&path, OpenFlags::CREATE | OpenFlags::WRITE).await.expect("OPEN");
            other.write_all(&handle, size, &content[size as usize..]).await.expect("WRITE");
            other.sftp.close(handle).await.expect("CLOSE");
            assert!(other.get(&path).await == content);
        }
    });
    fleet.wait_until_no_upload_is_left();
}
