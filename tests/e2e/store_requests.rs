//! How many requests to the store each operation takes, counted on the wire. Each costs its time
//! and money on the real one.

use std::fs;
use std::time::Duration;

use tidegate_tests::{Kind, Seen, sha256_of_file, until, write_random_file};

use crate::proxied::Proxied;

/// Runs a batch, and gives the requests that it took.
fn requests(proxied: &Proxied, batch: &str) -> Seen {
    let before = proxied.proxy().seen();
    proxied.ssh.sftp(batch).ok();
    let seen = proxied.proxy().seen().since(&before);
    println!("{}: {seen}", batch.trim().replace('\n', "; "));
    seen
}

fn others(seen: &Seen, kind: Kind) -> u64 {
    seen.total() - seen.of(kind)
}

/// Lists a directory until its files' attributes are known: new ones are believed when they were
/// seen twice, two seconds apart. Gives the requests of the first listing that needs no more than so
/// many HEADs.
fn list_until_attributes_are_known(proxied: &Proxied, batch: &str, heads: u64) -> Seen {
    until("the attributes are known", Duration::from_secs(60), || {
        let seen = requests(proxied, batch);
        (seen.of(Kind::Head) <= heads).then_some(seen)
    })
}

#[test]
fn a_small_file_takes_one_put_up_and_one_get_down() {
    const FILES: u64 = 1000;
    // A client on a slow machine is not to be late for what was opened ahead for it.
    let mut proxied = Proxied::start_with(&[("TIDEGATE_VFS__PREFETCH_LIFE", "10s")]);
    proxied.ssh = proxied.ssh.limited_to(Duration::from_secs(120));
    let tree = proxied.ssh.file("tree");
    fs::create_dir(&tree).unwrap();
    for n in 0..FILES {
        fs::write(tree.join(format!("f{n}")), vec![n as u8; 4096]).unwrap();
    }

    let up = requests(&proxied, "put -r tree\n");
    // One more for the directory itself.
    assert_eq!(up.of(Kind::Put), FILES + 1, "{up}");
    assert!(others(&up, Kind::Put) <= FILES / 5, "{up}");

    list_until_attributes_are_known(&proxied, "ls -1 tree\n", 4);
    let down = requests(&proxied, "get -r tree back\n");
    assert_eq!(down.of(Kind::Get), FILES, "{down}");
    assert!(others(&down, Kind::Get) <= FILES / 50, "{down}");
    for n in 0..FILES {
        assert_eq!(fs::read(proxied.ssh.file(&format!("back/f{n}"))).unwrap(), vec![n as u8; 4096], "f{n}");
    }
}

#[test]
fn a_listing_takes_one_request_per_thousand_entries_once_attributes_are_known() {
    const ENTRIES: usize = 1500;
    let proxied = Proxied::start();
    let (rclone, root) = proxied.bucket();
    let tree = rclone.folder().join("tree");
    fs::create_dir(&tree).unwrap();
    for n in 0..ENTRIES {
        fs::write(tree.join(format!("f{n}")), "x").unwrap();
    }
    rclone.run(["copy", "--transfers", "16", "--s3-no-head", "--s3-no-check-bucket", "tree", &root]).ok();

    let listing = proxied.ssh.sftp("ls -1\n").ok().stdout;
    assert_eq!(listing.lines().filter(|line| line.starts_with('f')).count(), ENTRIES);
    // The root, of which nobody needs to ask whether it is a directory.
    let seen = list_until_attributes_are_known(&proxied, "ls -ln\n", 0);
    assert_eq!((seen.of(Kind::List), seen.total()), (ENTRIES.div_ceil(1000) as u64, seen.of(Kind::List)), "{seen}");
}

#[test]
fn a_large_file_takes_its_parts_and_two_requests_up_and_few_down() {
    const MIB: u64 = 1 << 20;
    const LEN: u64 = 256 * MIB;
    let proxied = Proxied::start();
    fs::write(proxied.ssh.file("small"), "x").unwrap();
    let sum = write_random_file(&proxied.ssh.file("large"), 1, LEN);

    let small = requests(&proxied, "put small\n");
    let up = requests(&proxied, "put small\nput large\n");
    let parts = LEN.div_ceil(8 * MIB);
    assert_eq!((up.of(Kind::UploadPart), up.of(Kind::Create), up.of(Kind::Complete)), (parts, 1, 1), "{up}");
    // Nothing else but what the small file in front took.
    assert_eq!(up.total(), parts + 2 + small.total(), "{up}");

    let down = requests(&proxied, "get large back\n");
    assert_eq!(sha256_of_file(&proxied.ssh.file("back")), sum);
    // One for each 4 MiB at most, and some small ones until the reader is known to be sequential.
    assert!(down.of(Kind::Get) <= LEN / (4 * MIB) + 8, "{down}");
    // `get` itself asks twice what the path is.
    assert!(others(&down, Kind::Get) <= 4, "{down}");
}
