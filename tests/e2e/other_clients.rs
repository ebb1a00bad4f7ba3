//! Clients with habits of their own.

use std::fs;
use std::time::Duration;

use tidegate_tests::{Lftp, python, repository_root, run_client, sha256_of_file, write_random_file};

use crate::dev::Dev;
use crate::proxied::Proxied;

#[test]
fn paramiko_asks_for_everything_at_once_and_gets_it() {
    let dev = Dev::start();
    let (file, back) = (dev.ssh.file("file"), dev.ssh.file("back"));
    let sum = write_random_file(&file, 7, 48 << 20);
    let login = dev.node.login();
    let mut command = python("python");
    command.arg(repository_root().join("tests/e2e/paramiko_transfer.py"));
    command.args([&login.port().to_string(), &login.user]).arg(&login.identity_file).args([&file, &back]);
    run_client(&mut command, Duration::from_secs(120)).ok();
    assert_eq!(sha256_of_file(&back), sum);
}

#[test]
fn lftp_mirrors_both_ways_with_several_connections() {
    let dev = Dev::start();
    let lftp = Lftp::new(&dev.node.login());
    let tree = lftp.folder().join("tree");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    for n in 0..30_u64 {
        let folder = ["", "deep/", "deep/er/"][n as usize % 3];
        write_random_file(&tree.join(format!("{folder}f{n}")), n, n * 4001);
    }
    let sum = write_random_file(&tree.join("large"), 99, 24 << 20);
    let first = lftp.run("mirror -R --verbose --parallel=4 tree tree").ok();
    assert!(first.stdout.contains("Transferring"), "{}", first.stdout);
    lftp.run("mirror --parallel=4 tree back").ok();
    let mut difference = std::process::Command::new("diff");
    difference.args(["-r", "tree", "back"]).current_dir(lftp.folder());
    run_client(&mut difference, Duration::from_secs(20)).ok();
    // Four connections fetch a quarter each.
    lftp.run("pget -n 4 tree/large -o segments").ok();
    assert_eq!(sha256_of_file(&lftp.folder().join("segments")), sum);
    // Sizes and times agree, so nothing is sent again.
    let again = lftp.run("mirror -R --verbose tree tree").ok();
    assert!(!again.stdout.contains("Transferring"), "{}", again.stdout);
}

/// What is there already, of a file that was closed, is not sent again: neither up nor down.
#[test]
fn lftp_continues_both_ways_and_fetches_in_segments() {
    const LEN: u64 = 24 << 20;
    const BEGINNING: u64 = 10 << 20;
    let dev = Dev::start();
    let lftp = Lftp::new(&dev.node.login());
    let file = lftp.folder().join("file");
    let sum = write_random_file(&file, 3, LEN);
    let content = fs::read(&file).unwrap();
    let beginning = &content[..BEGINNING as usize];
    fs::write(lftp.folder().join("beginning"), beginning).unwrap();
    lftp.run("put beginning -o file").ok();
    let moved = |direction: &str| dev.node.metric(&format!("tidegate_sftp_bytes_total{{direction=\"{direction}\"}}"));

    let before = moved("in");
    lftp.run("put -c file").ok();
    assert_eq!(moved("in") - before, (LEN - BEGINNING) as f64, "what lacks is sent");

    fs::write(lftp.folder().join("back"), beginning).unwrap();
    let before = moved("out");
    lftp.run("get -c file -o back").ok();
    assert_eq!(sha256_of_file(&lftp.folder().join("back")), sum);
    let fetched = moved("out") - before;
    // lftp asks for some more before the beginning of what it lacks, and behind the end.
    assert!(fetched < (LEN - BEGINNING + (1 << 20)) as f64, "{fetched} bytes");

    lftp.run("pget -n 4 file -o segments").ok();
    assert_eq!(sha256_of_file(&lftp.folder().join("segments")), sum);
}

#[test]
fn heavy_paramiko_prefetches_a_large_file_within_the_memory_budget() {
    let mut proxied = Proxied::start_with(&[("TIDEGATE_VFS__MEMORY_BUDGET", "128MiB")]);
    let (file, back) = (proxied.ssh.file("file"), proxied.ssh.file("back"));
    let sum = write_random_file(&file, 7, 300 << 20);
    proxied.ssh.sftp("put file\n").ok();
    let login = proxied.cluster.login(&proxied.node, "alice");
    let mut command = python("python");
    command.arg(repository_root().join("tests/e2e/paramiko_prefetch.py"));
    command.args([&login.port().to_string(), &login.user]).arg(&login.identity_file).arg("/file").arg(&back);
    run_client(&mut command, Duration::from_secs(180)).ok();
    assert_eq!(sha256_of_file(&back), sum);
    proxied.assert_memory_was_bounded();
}
