//! Everyday work with OpenSSH's `sftp`.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::dev::Dev;

#[test]
fn openssh_does_everyday_work() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    fs::write(ssh.file("hello.txt"), "hello, tide\n").unwrap();

    let listing = ssh.sftp("pwd\nmkdir docs\nput hello.txt docs/hello.txt\nls -l docs\n").ok().stdout;
    assert!(listing.contains("Remote working directory: /"), "{listing}");
    let line = listing.lines().find(|line| line.ends_with("hello.txt")).expect("the file is listed");
    let fields: Vec<_> = line.split_whitespace().collect();
    assert!(fields[0].starts_with("-rw") && fields.contains(&"12"), "{line}");

    ssh.sftp("get docs/hello.txt back.txt\n").ok();
    assert_eq!(fs::read_to_string(ssh.file("back.txt")).unwrap(), "hello, tide\n");

    let listing = ssh.sftp("rename docs/hello.txt docs/greeting.txt\nls -1 docs\n").ok().stdout;
    assert!(listing.contains("docs/greeting.txt") && !listing.contains("hello.txt"), "{listing}");

    ssh.sftp("rm docs/greeting.txt\nrmdir docs\n").ok();
    let gone = ssh.sftp("ls docs\n").fails();
    assert!(gone.stderr.contains("not found"), "{}", gone.stderr);
}

#[test]
fn an_empty_file_is_a_file() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    File::create(ssh.file("empty")).unwrap();
    ssh.sftp("put empty\nget empty back\n").ok();
    assert_eq!(fs::metadata(ssh.file("back")).unwrap().len(), 0);
}

#[test]
fn put_replaces_a_file_as_a_whole() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    fs::write(ssh.file("long"), "a much longer text than the other one").unwrap();
    fs::write(ssh.file("short"), "short").unwrap();
    ssh.sftp("put long file\nput short file\nget file back\n").ok();
    assert_eq!(fs::read_to_string(ssh.file("back")).unwrap(), "short");
}

#[test]
fn times_and_modes_survive_a_round_trip() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    fs::write(ssh.file("dated"), "x").unwrap();
    let file = File::options().write(true).open(ssh.file("dated")).unwrap();
    file.set_modified(then).unwrap();
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    drop(file);

    let listing = ssh.sftp("put -p dated\nls -l\nget -p dated back\n").ok().stdout;
    let line = listing.lines().find(|line| line.ends_with(" dated")).expect("the file is listed");
    assert!(line.starts_with("-rw-r-----"), "{line}");
    // `ls -l` shows the year of a date that is more than half a year away.
    assert!(line.contains("Feb 1") && line.contains("2009"), "{line}");
    let back = fs::metadata(ssh.file("back")).unwrap();
    assert_eq!(back.modified().unwrap(), then);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&back.permissions()) & 0o777, 0o640);

    let listing = ssh.sftp("chmod 600 dated\nls -l\n").ok().stdout;
    let line = listing.lines().find(|line| line.ends_with(" dated")).expect("the file is listed");
    assert!(line.starts_with("-rw-------") && line.contains("2009"), "chmod keeps the time: {line}");
}

#[test]
fn the_metadata_on_the_object_is_what_s3fs_and_rclone_write() {
    let dev = Dev::start();
    fs::write(dev.ssh.file("dated"), "x").unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    File::options().write(true).open(dev.ssh.file("dated")).unwrap().set_modified(then).unwrap();
    dev.ssh.sftp("mkdir d\nput -p dated d/dated\n").ok();

    let (rclone, bucket) = dev.s3();
    let listing = rclone.run(["lsl", &bucket]).ok().stdout;
    let line = listing.lines().find(|line| line.ends_with("d/dated")).expect("rclone lists the object");
    assert!(line.contains("2009-02-1"), "rclone reads the time that the client set: {line}");
    let markers = rclone.run(["lsf", "-R", "--files-only", "--s3-list-version", "2", &bucket]).ok().stdout;
    assert!(markers.lines().any(|line| line.ends_with("d/dated")), "{markers}");
}

#[test]
fn renames_replace_only_when_asked_to() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    fs::write(ssh.file("a"), "content of a").unwrap();
    fs::write(ssh.file("b"), "content of b").unwrap();
    ssh.sftp("put a\nput b\n").ok();

    // -l: the rename of version 3, which fails if there is a target.
    ssh.sftp("rename -l a b\n").fails();
    ssh.sftp("get a back-a\nget b back-b\n").ok();
    assert_eq!(fs::read_to_string(ssh.file("back-a")).unwrap(), "content of a");
    assert_eq!(fs::read_to_string(ssh.file("back-b")).unwrap(), "content of b");

    // Without it: posix-rename@openssh.com.
    let listing = ssh.sftp("rename a b\nget b back-b\nls -1\n").ok().stdout;
    assert_eq!(fs::read_to_string(ssh.file("back-b")).unwrap(), "content of a");
    assert!(!listing.lines().any(|line| line.trim() == "a"), "{listing}");
}

#[test]
fn directories_fail_as_posix_says() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    fs::write(ssh.file("f"), "x").unwrap();
    ssh.sftp("mkdir d\nput f d/f\nput f f\n").ok();
    for (command, why) in [
        ("mkdir d", "a name that exists"),
        ("mkdir f", "a name that a file has"),
        ("mkdir no/such", "below a missing directory"),
        ("rmdir d", "not empty"),
        ("rmdir f", "a file"),
        ("rmdir missing", "missing"),
        ("rm d", "a directory"),
        ("rm missing", "missing"),
        ("put f no/such/f", "below a missing directory"),
        ("put f f/f", "below a file"),
        ("cd f", "a file"),
        ("get missing", "missing"),
    ] {
        let output = ssh.sftp(&format!("{command}\n")).fails();
        assert!(!output.stderr.is_empty(), "{command} ({why}) fails without a word");
    }
    ssh.sftp("rm d/f\nrmdir d\nrm f\n").ok();
}

#[test]
fn a_tree_comes_back_as_it_went() {
    let Dev { node: _node, ssh, folder: _folder } = Dev::start();
    for folder in ["tree", "tree/a", "tree/a/b", "tree/empty"] {
        fs::create_dir(ssh.file(folder)).unwrap();
    }
    for n in 0..40 {
        fs::write(ssh.file(&format!("tree/a/f{n}")), vec![n; usize::from(n) * 997]).unwrap();
    }
    fs::write(ssh.file("tree/a/b/deep"), "deep").unwrap();
    ssh.sftp("put -r tree\nget -r tree back\n").ok();
    let difference =
        std::process::Command::new("diff").args(["-r", "tree", "back"]).current_dir(ssh.folder()).output().unwrap();
    assert!(difference.status.success(), "{}", String::from_utf8_lossy(&difference.stdout));
    assert!(ssh.file("back/empty").is_dir());
}
