//! OpenSSH's `scp` with its defaults: it speaks SFTP.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use tidegate_tests::{run_client, sha256_of_file, write_random_file};

use crate::dev::Dev;

#[test]
fn scp_copies_files_both_ways() {
    let dev = Dev::start();
    let remote = |path: &str| format!("{}:{path}", dev.ssh.target());
    for (name, len) in [("empty", 0), ("with space ü", 1), ("large", (19 << 20) + 3)] {
        let sum = write_random_file(&dev.ssh.file(name), len, len);
        dev.ssh.scp(&[name, &remote("")]).ok();
        dev.ssh.scp(&[&remote(name), "back"]).ok();
        assert_eq!(sha256_of_file(&dev.ssh.file("back")), sum, "{name}");
    }
    // Over a file that is there, from one name of the server to another, and several by a pattern.
    dev.ssh.scp(&["empty", &remote("large")]).ok();
    dev.ssh.scp(&["-3", &remote("large"), &remote("copy")]).ok();
    fs::create_dir(dev.ssh.file("into")).unwrap();
    dev.ssh.scp(&[&remote("*p*"), "into"]).ok();
    let mut names: Vec<_> =
        fs::read_dir(dev.ssh.file("into")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["copy", "empty", "with space ü"]);
    assert_eq!(fs::metadata(dev.ssh.file("into/copy")).unwrap().len(), 0);
    assert!(dev.ssh.scp(&[&remote("missing"), "out"]).fails().stderr.contains("No such file"));
}

#[test]
fn scp_keeps_trees_with_times_and_modes_both_ways() {
    let dev = Dev::start();
    let tree = dev.ssh.file("tree");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    fs::create_dir(tree.join("nothing in it")).unwrap();
    for (n, name) in ["script", "deep/b", "deep/er/c"].into_iter().enumerate() {
        let file = tree.join(name);
        write_random_file(&file, n as u64, 5_000_000 * n as u64 + 7);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o750 - n as u32)).unwrap();
    }
    for (n, name) in ["script", "deep/b", "deep/er/c", "nothing in it"].into_iter().enumerate() {
        let then = UNIX_EPOCH + Duration::from_secs(1_500_000_000 + n as u64);
        fs::File::open(tree.join(name)).unwrap().set_modified(then).unwrap();
    }
    let remote = format!("{}:copy", dev.ssh.target());
    dev.ssh.scp(&["-r", "-p", "tree", &remote]).ok();
    dev.ssh.scp(&["-r", "-p", &remote, "back"]).ok();
    let mut difference = Command::new("diff");
    difference.args(["-r", "tree", "back"]).current_dir(dev.ssh.folder());
    run_client(&mut difference, Duration::from_secs(20)).ok();
    for name in ["script", "deep/b", "deep/er/c", "nothing in it"] {
        let [sent, back] = ["tree", "back"].map(|top| fs::metadata(dev.ssh.file(top).join(name)).unwrap());
        assert_eq!((back.mode(), back.mtime()), (sent.mode(), sent.mtime()), "{name}");
    }
}
