//! A byte that changes on its way between node and store.

use std::fs;

use russh_sftp::protocol::{OpenFlags, StatusCode};
use tidegate_tests::{Fault, Kind, When, random_bytes, sha256_of_file, write_random_file};

use crate::oracle::{Oracle, refusal_with_message};
use crate::proxied::{HASTY, Proxied};

const MIB: usize = 1 << 20;

#[test]
fn a_download_with_a_corrupt_byte_never_ends_with_success() {
    let proxied = Proxied::start_with(&HASTY);
    let (proxy, ssh) = (proxied.proxy(), &proxied.ssh);
    for (name, len) in [("tiny", 4096), ("small", 200_000), ("several", 3 * MIB), ("large", 20 * MIB + 99)] {
        let sum = write_random_file(&ssh.file(name), len as u64, len as u64);
        ssh.sftp(&format!("put {name}\n")).ok();
        // In the first answer, at its beginning, inside and at its end; and in a later one.
        for (when, at) in [(When::First(1), 0), (When::First(1), 777), (When::First(1), u64::MAX), (When::Nth(3), 9)] {
            let before = proxy.seen();
            proxy.inject(&[Kind::Get], when, Fault::CorruptAnswer { at });
            let got = ssh.sftp(&format!("get {name} back\n"));
            proxy.heal();
            let harmed = proxy.seen().since(&before).harmed();
            assert!(harmed > 0 || matches!(when, When::Nth(_)), "{name} {when:?}: nothing was harmed");
            let is_right = ssh.file("back").exists() && sha256_of_file(&ssh.file("back")) == sum;
            assert!(is_right || !got.status.success(), "{name} {when:?} {at}: success, with a wrong byte");
            let _ = fs::remove_file(ssh.file("back"));
        }
        // What was found to be wrong is not remembered.
        ssh.sftp(&format!("get {name} back\n")).ok();
        assert_eq!(sha256_of_file(&ssh.file("back")), sum);
        fs::remove_file(ssh.file("back")).unwrap();
    }
    proxied.wait_until_nothing_is_open();
}

/// Reads the file to its end, and gives what refuses it: OPEN, a READ or the CLOSE.
async fn refused_reading(oracle: &Oracle) -> (StatusCode, String) {
    let handle = match oracle.open("/file", OpenFlags::READ).await {
        Ok(handle) => handle,
        refused => return refusal_with_message(refused),
    };
    let mut position = 0;
    loop {
        match oracle.sftp.read(&handle, position, 32 << 10).await {
            Ok(read) => position += read.data.len() as u64,
            refused => match refusal_with_message(refused) {
                (StatusCode::Eof, _) => return refusal_with_message(oracle.sftp.close(handle).await),
                refusal => return refusal,
            },
        }
    }
}

#[tokio::test]
async fn a_reader_of_a_corrupt_file_is_told_so_clearly() {
    let proxied = Proxied::start_with(&HASTY);
    let proxy = proxied.proxy();
    let oracle = Oracle::connect(&proxied.ssh).await;
    for len in [50_000, 12 * MIB] {
        let data = random_bytes(len as u64, len);
        oracle.put("/file", &data).await;
        // However often the node may ask again.
        proxy.inject(&[Kind::Get], When::Always, Fault::CorruptAnswer { at: 1234 });
        let told = refused_reading(&oracle).await;
        proxy.heal();
        assert_eq!(told.0, StatusCode::Failure, "{}", told.1);
        assert!(told.1.contains("damaged"), "{}", told.1);
        assert!(oracle.get("/file").await == data, "the store's own copy is whole");
    }
}

#[tokio::test]
async fn an_upload_with_a_corrupt_byte_is_whole_in_the_end_or_refused() {
    let proxied = Proxied::start_with(&HASTY);
    let proxy = proxied.proxy();
    let oracle = Oracle::connect(&proxied.ssh).await;
    let old = random_bytes(1, 1000);
    for (kind, len) in [(Kind::Put, 1), (Kind::Put, 300_000), (Kind::UploadPart, 20 * MIB)] {
        let new = random_bytes(len as u64, len);
        for (when, at) in
            [(When::First(1), 0), (When::First(1), u64::MAX), (When::Nth(2), 70_000), (When::Always, 70_000)]
        {
            oracle.put("/file", &old).await;
            let before = proxy.seen();
            proxy.inject(&[kind], when, Fault::CorruptRequest { at });
            let put = oracle.try_put("/file", &new).await;
            proxy.heal();
            let harmed = proxy.seen().since(&before).harmed();
            assert!(harmed > 0 || when == When::Nth(2), "{kind:?} {when:?}: nothing was harmed");
            let now = oracle.get("/file").await;
            match put {
                Ok(()) => {
                    assert!(now == new, "{kind:?} {when:?} {at}: success, with another content");
                    assert_ne!(when, When::Always, "{kind:?}: the store has taken what was damaged");
                }
                Err(error) => {
                    let (code, message) = refusal_with_message::<()>(Err(error));
                    assert_eq!(code, StatusCode::Failure, "{message}");
                    assert!(message.contains("damaged"), "{message}");
                    assert!(now == old, "{kind:?} {when:?} {at}: refused, but the old content is gone");
                }
            }
        }
    }
    proxied.wait_until_no_parts_are_left();
}
