//! Copies that clients have the server make.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tidegate_tests::{Kind, sha256_of_file, write_random_file};

use crate::proxied::Proxied;

const MIB: u64 = 1 << 20;

/// `cp` of OpenSSH's `sftp`: OPEN of both files, `copy-data`, CLOSE of both.
#[test]
fn openssh_copies_files_inside_the_store() {
    let variables = [("TIDEGATE_VFS__COPY_WHOLE_MAX", "16MiB"), ("TIDEGATE_VFS__COPY_PART_SIZE", "8MiB")];
    let proxied = Proxied::start_with(&variables);
    let ssh = &proxied.ssh;
    let sums = [("empty", 0), ("small", MIB + 1), ("large", 41 * MIB + 7)]
        .map(|(name, len)| (name, write_random_file(&ssh.file(name), len, len)));
    fs::set_permissions(ssh.file("small"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(ssh.file("there"), "what was there before").unwrap();
    ssh.sftp("put empty\nput -p small\nput large\nput there\n").ok();

    for (name, copies, others) in [("empty", 0, 1), ("small", 1, 0), ("large", 6, 2)] {
        let before = proxied.proxy().seen();
        ssh.sftp(&format!("cp {name} {name}.copy\n")).ok();
        let seen = proxied.proxy().seen().since(&before);
        println!("cp of {name}: {seen}");
        assert_eq!(seen.of(Kind::Copy), copies, "{seen}");
        let made = seen.of(Kind::Put) + seen.of(Kind::Create) + seen.of(Kind::Complete);
        assert_eq!((made, seen.of(Kind::UploadPart)), (others, 0), "no byte goes through the node; {seen}");
        assert!(seen.of(Kind::Get) <= 1, "that of OPEN; {seen}");
    }
    ssh.sftp("cp large there\n").ok();
    let batch = "get empty.copy empty.back\nget -p small.copy small.back\nget large.copy large.back\nget there back\n";
    ssh.sftp(batch).ok();
    for (name, sum) in &sums {
        assert_eq!(sha256_of_file(&ssh.file(&format!("{name}.back"))), *sum, "{name}");
    }
    assert_eq!(sha256_of_file(&ssh.file("back")), sums[2].1, "it replaces what was there");
    assert_eq!(fs::metadata(ssh.file("small.back")).unwrap().mode() & 0o777, 0o640);
    proxied.wait_until_no_parts_are_left();

    // What fails is told, and harms nothing.
    ssh.sftp("cp missing there\n").fails();
    ssh.sftp("cp there no/such/directory\n").fails();
    ssh.sftp("cp there there\n").fails();
    ssh.sftp("get there again\n").ok();
    assert_eq!(sha256_of_file(&ssh.file("again")), sums[2].1);
}
