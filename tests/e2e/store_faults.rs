//! An object store that throttles, resets, stalls and breaks off.

use std::fs;

use russh_sftp::protocol::{OpenFlags, StatusCode};
use tidegate_tests::{Fault, Kind, When, random_bytes, sha256_of_file, write_random_file};

use crate::oracle::{Oracle, refusal_with_message};
use crate::proxied::{HASTY, Proxied};

const MIB: usize = 1 << 20;

/// One round of everything a client does, with files of one part and of several.
fn work(proxied: &Proxied, round: usize) {
    let ssh = &proxied.ssh;
    let seed = 100 * round as u64;
    let large = write_random_file(&ssh.file("large"), seed, (20 * MIB + 4321) as u64);
    let small = write_random_file(&ssh.file("small"), seed + 1, 300_000);
    let dir = format!("round{round}");
    let listing = ssh
        .sftp(&format!(
            "mkdir {dir}\nput large {dir}/large\nput small {dir}/small\nrename {dir}/small {dir}/moved\n\
             ls -1 {dir}\nget {dir}/large back-large\nget {dir}/moved back-moved\nrm {dir}/moved\n"
        ))
        .ok()
        .stdout;
    let names: Vec<_> = listing.lines().filter(|line| line.starts_with(&dir)).map(str::trim).collect();
    assert_eq!(names, [format!("{dir}/large"), format!("{dir}/moved")], "{listing}");
    assert_eq!(sha256_of_file(&ssh.file("back-large")), large);
    assert_eq!(sha256_of_file(&ssh.file("back-moved")), small);
    ssh.sftp(&format!("get {dir}/moved\n")).fails();
}

#[test]
fn requests_that_the_store_refuses_or_resets_are_tried_again_and_lose_nothing() {
    // Of one request in ten that is refused none has six in a row.
    let settings = [&HASTY[..], &[("TIDEGATE_AWS__MAX_ATTEMPTS", "6")]].concat();
    let proxied = Proxied::start_with(&settings);
    let proxy = proxied.proxy();
    let harms = [
        (When::FirstTries(2), Fault::SlowDown),
        (When::FirstTries(1), Fault::ResetBeforeBody),
        (When::FirstTries(1), Fault::ResetBeforeAnswer),
        (When::Percent { of_100: 10, seed: 7 }, Fault::SlowDown),
    ];
    let mut forgotten = 0;
    for (round, (when, fault)) in harms.into_iter().enumerate() {
        let before = proxy.seen();
        proxy.inject(&Kind::ALL, when, fault);
        work(&proxied, round);
        proxy.heal();
        let seen = proxy.seen().since(&before);
        println!("{fault:?}: {seen}");
        assert!(seen.harmed() > 0, "{fault:?} has struck");
        // The name of an upload whose beginning was not answered is lost. It has no parts, and falls
        // to the bucket's lifecycle rule.
        forgotten += usize::from(fault == Fault::ResetBeforeAnswer);
        assert_eq!(proxied.unpublished_uploads(), forgotten, "{fault:?}");
    }
}

#[test]
fn answers_that_break_off_or_stall_are_asked_again_from_there() {
    let proxied = Proxied::start_with(&HASTY);
    let proxy = proxied.proxy();
    let harms = [
        // Each answer, of which more than a mebibyte is missing, breaks off again.
        (&[Kind::Get][..], When::FirstTries(1), Fault::CutAnswer { after: MIB as u64 + 77 }),
        (&[Kind::Get, Kind::List], When::First(2), Fault::CutAnswer { after: 0 }),
        (&[Kind::Get], When::First(3), Fault::StallAnswer { after: 100_000 }),
        (&[Kind::List], When::First(2), Fault::StallAnswer { after: 50 }),
    ];
    for (round, (kinds, when, fault)) in harms.into_iter().enumerate() {
        let before = proxy.seen();
        proxy.inject(kinds, when, fault);
        work(&proxied, round);
        proxy.heal();
        let seen = proxy.seen().since(&before);
        println!("{fault:?}: {seen}");
        assert!(seen.harmed() > 0, "{fault:?} has struck");
    }
    proxied.wait_until_nothing_is_open();
}

#[tokio::test]
async fn an_upload_that_the_store_refuses_for_good_fails_clearly_and_publishes_nothing() {
    let proxied = Proxied::start_with(&HASTY);
    let proxy = proxied.proxy();
    let oracle = Oracle::connect(&proxied.ssh).await;
    oracle.put("/file", b"the old content").await;
    let (small, large) = (random_bytes(1, 100_000), random_bytes(2, 9 * MIB));
    for (kind, data) in
        [(Kind::Put, &small), (Kind::Create, &large), (Kind::UploadPart, &large), (Kind::Complete, &large)]
    {
        for (fault, says) in [
            (Fault::SlowDown, "the storage is busy; try again"),
            (Fault::ResetBeforeBody, "the storage can't be reached at the moment; try again"),
        ] {
            proxy.inject(&[kind], When::Always, fault);
            for path in ["/file", "/new"] {
                let (code, message) = refusal_with_message(oracle.try_put(path, data).await);
                assert_eq!(code, StatusCode::Failure, "{kind:?} {fault:?}");
                assert!(message.contains(says), "{kind:?} {fault:?}: {message}");
            }
            proxy.heal();
            assert_eq!(oracle.get("/file").await, b"the old content", "{kind:?} {fault:?}");
            assert_eq!(oracle.names("/").await, ["file"], "{kind:?} {fault:?}");
        }
    }
    proxied.wait_until_no_parts_are_left();
    // The session has come to no harm.
    oracle.put("/file", &large).await;
    assert!(oracle.get("/file").await == large);
}

#[tokio::test]
async fn an_upload_whose_last_answer_never_comes_is_there_as_a_whole_or_not_at_all() {
    let proxied = Proxied::start_with(&HASTY);
    let proxy = proxied.proxy();
    let oracle = Oracle::connect(&proxied.ssh).await;
    let old = random_bytes(1, 50_000);
    for (kind, len) in [(Kind::Put, 100_000), (Kind::Complete, 9 * MIB)] {
        oracle.put("/file", &old).await;
        let new = random_bytes(2, len);
        // What the node may ask to find out is answered as little.
        proxy.inject(&[kind, Kind::Head, Kind::List], When::Always, Fault::ResetBeforeAnswer);
        let put = oracle.try_put("/file", &new).await;
        proxy.heal();
        let now = oracle.get("/file").await;
        match put {
            Ok(()) => assert!(now == new, "{kind:?}: success, but not the new content"),
            Err(error) => {
                let (code, message) = refusal_with_message::<()>(Err(error));
                assert_eq!(code, StatusCode::Failure, "{message}");
                assert!(now == new || now == old, "{kind:?}: neither the old nor the new content");
            }
        }
    }
    proxied.wait_until_no_parts_are_left();
}

#[tokio::test]
async fn reads_and_looks_that_the_store_refuses_for_good_fail_clearly() {
    let proxied = Proxied::start_with(&HASTY);
    let proxy = proxied.proxy();
    let oracle = Oracle::connect(&proxied.ssh).await;
    let data = random_bytes(1, 9 * MIB);
    oracle.put("/file", &data).await;
    oracle.put("/other", b"x").await;
    for (fault, says) in [
        (Fault::SlowDown, "the storage is busy; try again"),
        (Fault::ResetBeforeAnswer, "the storage can't be reached at the moment; try again"),
    ] {
        let clear = |(code, message): (StatusCode, String), what: &str| {
            assert_eq!(code, StatusCode::Failure, "{what}: {message}");
            assert!(message.contains(says), "{what}: {message}");
        };
        // One that was open before, read far from what may have been fetched already.
        let handle = oracle.open("/file", OpenFlags::READ).await.expect("OPEN");
        proxy.inject(&[Kind::Get, Kind::Head, Kind::List], When::Always, fault);
        clear(refusal_with_message(oracle.sftp.read(&handle, 8 * MIB as u64, 1000).await), "READ");
        clear(refusal_with_message(oracle.open("/file", OpenFlags::READ).await), "OPEN");
        clear(refusal_with_message(oracle.sftp.stat("/other").await), "STAT");
        let listed = async {
            let directory = oracle.sftp.opendir("/").await?.handle;
            oracle.sftp.readdir(directory).await
        };
        clear(refusal_with_message(listed.await), "the listing");
        proxy.heal();
        let again = oracle.sftp.read(&handle, 8 * MIB as u64, 1000).await.expect("READ, once the store is back");
        assert!(again.data == data[8 * MIB..8 * MIB + 1000]);
        oracle.sftp.close(handle).await.expect("CLOSE");
        assert!(oracle.get("/file").await == data);
    }
}

#[test]
fn a_download_that_the_store_never_ends_fails_within_its_time() {
    let proxied = Proxied::start_with(&HASTY);
    let proxy = proxied.proxy();
    let sum = write_random_file(&proxied.ssh.file("file"), 1, 20 << 20);
    proxied.ssh.sftp("put file\n").ok();
    for fault in [Fault::StallAnswer { after: 0 }, Fault::CutAnswer { after: 0 }] {
        let before = proxy.seen();
        proxy.inject(&[Kind::Get], When::Always, fault);
        // The limit of each client's run holds, and so does the node's on what it tries.
        proxied.ssh.sftp("get file back\n").fails();
        proxy.heal();
        assert!(proxy.seen().since(&before).harmed() < 64, "{}", proxy.seen().since(&before));
        proxied.ssh.sftp("get file back\n").ok();
        assert_eq!(sha256_of_file(&proxied.ssh.file("back")), sum);
        fs::remove_file(proxied.ssh.file("back")).unwrap();
    }
    proxied.wait_until_nothing_is_open();
}
