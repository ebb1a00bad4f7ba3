//! Many requests at once on one session, as fast clients send them.

use std::sync::Arc;

use russh_sftp::protocol::{OpenFlags, StatusCode};
use tidegate_tests::random_bytes;
use tokio::task::JoinSet;

use crate::dev::Dev;
use crate::oracle::{Oracle, refusal};

const CHUNK: usize = 32 << 10;

fn create() -> OpenFlags {
    OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE
}

/// The numbers below `len`, in an order far from ascending but without long jumps back: what
/// clients with 64 requests in flight send.
fn shuffled(len: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..len).collect();
    order.chunks_mut(64).for_each(<[usize]>::reverse);
    order
}

#[tokio::test]
async fn writes_out_of_order_make_the_same_file() {
    let dev = Dev::start();
    let oracle = Arc::new(Oracle::connect(&dev.ssh).await);
    let data = Arc::new(random_bytes(3, 20 << 20 | 777));
    let handle = oracle.open("/shuffled", create()).await.expect("OPEN");
    let order = shuffled(data.len().div_ceil(CHUNK));
    for window in order.chunks(64) {
        let mut writes = JoinSet::new();
        for &n in window {
            let (oracle, data, handle) = (Arc::clone(&oracle), Arc::clone(&data), handle.clone());
            writes.spawn(async move {
                let range = n * CHUNK..data.len().min((n + 1) * CHUNK);
                oracle.sftp.write(handle, range.start as u64, data[range].to_vec()).await
            });
        }
        while let Some(written) = writes.join_next().await {
            written.unwrap().expect("WRITE");
        }
    }
    oracle.sftp.close(handle).await.expect("CLOSE");
    assert!(oracle.get("/shuffled").await == *data, "the content is another");
}

#[tokio::test]
async fn reads_at_random_offsets_run_at_once() {
    let dev = Dev::start();
    let oracle = Arc::new(Oracle::connect(&dev.ssh).await);
    let data = Arc::new(random_bytes(4, 9 << 20));
    oracle.put("/file", &data).await;
    let handle = oracle.open("/file", OpenFlags::READ).await.expect("OPEN");
    let mut reads = JoinSet::new();
    for n in 0..200_usize {
        let (oracle, data, handle) = (Arc::clone(&oracle), Arc::clone(&data), handle.clone());
        reads.spawn(async move {
            let offset = n.wrapping_mul(7_919_777) % data.len();
            let answer = oracle.sftp.read(handle, offset as u64, CHUNK as u32).await.expect("READ");
            assert!(answer.data[..] == data[offset..data.len().min(offset + CHUNK)], "at {offset}");
        });
    }
    while let Some(read) = reads.join_next().await {
        read.unwrap();
    }
    oracle.sftp.close(handle).await.expect("CLOSE");
}

#[tokio::test]
async fn a_reader_keeps_the_version_it_opened_or_fails() {
    let dev = Dev::start();
    let oracle = Oracle::connect(&dev.ssh).await;
    // Far more than is read ahead before the replacement.
    let old = vec![b'o'; 96 << 20];
    oracle.put("/file", &old).await;
    let handle = oracle.open("/file", OpenFlags::READ).await.expect("OPEN");
    assert_eq!(oracle.sftp.read(&handle, 0, 1000).await.expect("READ").data, old[..1000]);
    oracle.put("/file", &vec![b'n'; 96 << 20]).await;
    match oracle.sftp.read(&handle, 95 << 20, 1000).await {
        Ok(answer) => assert!(answer.data.iter().all(|byte| *byte == b'o'), "bytes of another version"),
        Err(error) => assert_eq!(crate::oracle::status(error), StatusCode::Failure),
    }
}

#[tokio::test]
async fn of_two_exclusive_creations_one_wins() {
    let dev = Dev::start();
    let (first, second) = (Oracle::connect(&dev.ssh).await, Oracle::connect(&dev.ssh).await);
    let exclusive = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
    for round in 0..5 {
        let path = format!("/lock{round}");
        let race = async |oracle: &Oracle, mark: u8| {
            let handle = oracle.open(&path, exclusive).await?;
            oracle.sftp.write(&handle, 0, vec![mark; 100]).await?;
            oracle.sftp.close(handle).await.map(|_| mark)
        };
        let (a, b) = tokio::join!(race(&first, b'a'), race(&second, b'b'));
        let winner = match (a, b) {
            (Ok(winner), Err(lost)) | (Err(lost), Ok(winner)) => {
                assert_eq!(crate::oracle::status(lost), StatusCode::Failure);
                winner
            }
            other => panic!("not exactly one winner: {other:?}"),
        };
        assert_eq!(first.get(&path).await, vec![winner; 100]);
    }
}

#[tokio::test]
async fn a_slow_close_holds_up_no_other_handle() {
    let dev = Dev::start();
    let oracle = Oracle::connect(&dev.ssh).await;
    oracle.put("/small", b"small").await;
    let handle = oracle.open("/large", create()).await.expect("OPEN");
    for n in 0..512_usize {
        oracle.sftp.write(&handle, (n * CHUNK) as u64, vec![1; CHUNK]).await.expect("WRITE");
    }
    // Both are under way at once; each gets its own answer.
    let (closed, stat) = tokio::join!(oracle.sftp.close(handle), oracle.sftp.stat("/small"));
    closed.expect("CLOSE");
    assert_eq!(stat.expect("STAT").attrs.size, Some(5));
    assert_eq!(refusal(oracle.sftp.stat("/none").await), StatusCode::NoSuchFile);
}
