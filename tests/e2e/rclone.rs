//! rclone, with its defaults, on `tidegate serve`.

use std::fs;

use tidegate_tests::{Cluster, Rclone, write_random_file};

#[test]
fn rclone_copies_both_ways_and_finds_no_difference() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let node = cluster.start_node("node");
    let rclone = Rclone::on_node(&cluster.login(&node, "alice"));
    let tree = rclone.folder().join("tree");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    for (n, name) in ["a", "with space", "plus+%percent", "ü.txt", "deep/b", "deep/er/c"].into_iter().enumerate() {
        write_random_file(&tree.join(name), n as u64, 10_000 * n as u64);
    }
    write_random_file(&tree.join("large"), 99, 24 << 20);

    rclone.run(["copy", "tree", "sftp:tree"]).ok();
    rclone.run(["check", "--download", "tree", "sftp:tree"]).ok();
    // Nothing has changed, so nothing is sent: sizes and times came back as they were set.
    let again = rclone.run(["copy", "-v", "tree", "sftp:tree"]).ok();
    assert!(!again.stderr.contains("Copied ("), "{}", again.stderr);
    rclone.run(["copy", "sftp:tree", "back"]).ok();
    rclone.run(["check", "--download", "tree", "back"]).ok();
    for name in ["a", "large"] {
        let modified =
            |folder: &str| fs::metadata(rclone.folder().join(folder).join(name)).unwrap().modified().unwrap();
        let apart = modified("tree").duration_since(modified("back")).unwrap_or_default();
        assert!(apart.as_secs() < 1, "{name}: the time is {apart:?} off");
    }

    // A changed file replaces its old version through a temporary name and a rename.
    fs::write(tree.join("a"), "changed").unwrap();
    rclone.run(["sync", "tree", "sftp:tree"]).ok();
    assert_eq!(rclone.run(["cat", "sftp:tree/a"]).ok().stdout, "changed");
    fs::remove_file(tree.join("deep/b")).unwrap();
    rclone.run(["sync", "tree", "sftp:tree"]).ok();
    rclone.run(["check", "--download", "tree", "sftp:tree"]).ok();
    rclone.run(["purge", "sftp:tree"]).ok();
    assert_eq!(rclone.run(["lsf", "-R", "sftp:"]).ok().stdout, "");
}

#[test]
fn rclone_moves_both_ways_and_syncs_nothing_twice() {
    let cluster = Cluster::on_dev_store();
    cluster.add_user("alice");
    let node = cluster.start_node("node");
    let rclone = Rclone::on_node(&cluster.login(&node, "alice"));
    let (tree, kept) = (rclone.folder().join("tree"), rclone.folder().join("kept"));
    fs::create_dir_all(tree.join("deep")).unwrap();
    for (n, name) in ["a", "deep/b", "empty"].into_iter().enumerate() {
        write_random_file(&tree.join(name), n as u64, 70_000 * (2 - n as u64));
    }
    write_random_file(&tree.join("large"), 99, 20 << 20);
    rclone.run(["copy", "tree", "kept"]).ok();

    rclone.run(["move", "--delete-empty-src-dirs", "tree", "sftp:tree"]).ok();
    assert!(!tree.join("deep").exists() && !tree.join("large").exists(), "what was moved is gone here");
    rclone.run(["check", "--download", "kept", "sftp:tree"]).ok();
    // Times came along, so there is nothing to do for a sync of what is the same.
    for arguments in [["sync", "-v", "kept", "sftp:tree"], ["sync", "-v", "sftp:tree", "kept"]] {
        let synced = rclone.run(arguments).ok();
        assert!(!synced.stderr.contains("Copied (") && !synced.stderr.contains("Deleted"), "{}", synced.stderr);
    }
    // A time alone that differs is set, and no byte is sent for it.
    fs::File::options().write(true).open(kept.join("large")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let taken = || node.metric("tidegate_sftp_bytes_total{direction=\"in\"}");
    let before = taken();
    let touched = rclone.run(["sync", "-v", "kept", "sftp:tree"]).ok();
    assert!(touched.stderr.contains("Updated modification time"), "{}", touched.stderr);
    assert_eq!(taken(), before);
    rclone.run(["moveto", "sftp:tree", "sftp:elsewhere/tree"]).ok();
    rclone.run(["move", "sftp:elsewhere/tree", "back"]).ok();
    assert_eq!(rclone.run(["lsf", "-R", "--files-only", "sftp:"]).ok().stdout, "");
    rclone.run(["check", "--download", "kept", "back"]).ok();
}

#[test]
fn files_of_a_node_and_of_rclone_on_the_bucket_are_the_same_files() {
    let cluster = Cluster::on_moto();
    cluster.add_user("alice");
    let node = cluster.start_node("node");
    let over_sftp = Rclone::on_node(&cluster.login(&node, "alice"));
    let over_s3 = Rclone::on_s3(&cluster.s3());
    let remote = format!("s3:{}/{}", Cluster::BUCKET, Cluster::PREFIX);
    write_random_file(&over_sftp.folder().join("up"), 1, 12 << 20);
    over_sftp.run(["copyto", "up", "sftp:from-sftp"]).ok();
    over_s3.run(["copyto", &format!("{remote}from-sftp"), "back"]).ok();
    assert_eq!(fs::read(over_sftp.folder().join("up")).unwrap(), fs::read(over_s3.folder().join("back")).unwrap());

    write_random_file(&over_s3.folder().join("down"), 2, 12 << 20);
    over_s3.run(["copyto", "down", &format!("{remote}from-s3")]).ok();
    over_sftp.run(["copyto", "sftp:from-s3", "back"]).ok();
    assert_eq!(fs::read(over_s3.folder().join("down")).unwrap(), fs::read(over_sftp.folder().join("back")).unwrap());
    let times = |rclone: &Rclone, what: &str| {
        let listing = rclone.run(["lsl", what]).ok().stdout;
        listing.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ")[..19].to_owned()
    };
    assert_eq!(
        times(&over_sftp, "sftp:from-s3"),
        times(&over_s3, &format!("{remote}from-s3")),
        "the time to the second"
    );
}
