//! Each operation of version 3, with the statuses of its failures.

use std::collections::BTreeSet;

use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tidegate_tests::random_bytes;

use crate::dev::Dev;
use crate::oracle::{Oracle, refusal};

#[tokio::test]
async fn extensions_that_work_are_announced_and_no_others() {
    let dev = Dev::start();
    let oracle = Oracle::connect(&dev.ssh).await;
    let names: Vec<_> = oracle.extensions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "check-file",
            "copy-data",
            "expand-path@openssh.com",
            "fstatvfs@openssh.com",
            "fsync@openssh.com",
            "home-directory",
            "limits@openssh.com",
            "lsetstat@openssh.com",
            "posix-rename@openssh.com",
            "statvfs@openssh.com",
            "users-groups-by-id@openssh.com",
        ]
    );

    let limits = oracle.sftp.limits().await.expect("limits@openssh.com");
    assert!(limits.max_read_len >= 255 << 10 && limits.max_write_len >= 255 << 10, "{limits:?}");
    assert!(limits.max_packet_len > limits.max_write_len, "{limits:?}");

    let unknown = oracle.sftp.extended("no-such@example.com", Vec::new()).await.expect("an answer");
    let Packet::Status(unknown) = unknown else { panic!("{unknown:?}") };
    assert_eq!(unknown.status_code, StatusCode::OpUnsupported);
}

#[tokio::test]
async fn real_paths_are_absolute_and_normal() {
    let dev = Dev::start();
    let oracle = Oracle::connect(&dev.ssh).await;
    for (path, real) in [(".", "/"), ("", "/"), ("a/../b/.", "/b"), ("/../..", "/"), ("//x//", "/x")] {
        let answer = oracle.sftp.realpath(path).await.expect("REALPATH");
        assert_eq!(answer.files[0].filename, real, "{path:?}");
    }
}

#[tokio::test]
async fn failures_carry_their_status() {
    let dev = Dev::start();
    let oracle = Oracle::connect(&dev.ssh).await;
    let sftp = &oracle.sftp;
    let create = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
    oracle.put("/file", b"content").await;
    oracle.put("/other", b"other").await;
    sftp.mkdir("/dir", FileAttributes::empty()).await.expect("MKDIR");
    oracle.put("/dir/child", b"child").await;

    use StatusCode::{BadMessage, Eof, Failure, NoSuchFile};
    let none = FileAttributes::empty;
    assert_eq!(refusal(sftp.stat("/missing").await), NoSuchFile);
    assert_eq!(refusal(sftp.lstat("/missing").await), NoSuchFile);
    assert_eq!(refusal(sftp.stat("/file/below").await), NoSuchFile);
    assert_eq!(refusal(oracle.open("/missing", OpenFlags::READ).await), NoSuchFile);
    assert_eq!(refusal(oracle.open("/missing/file", create).await), NoSuchFile);
    assert_eq!(refusal(oracle.open("/file", create | OpenFlags::EXCLUDE).await), Failure);
    assert_eq!(refusal(oracle.open("/dir", create).await), Failure);
    assert_eq!(refusal(sftp.opendir("/missing").await), NoSuchFile);
    assert_eq!(refusal(sftp.opendir("/file").await), NoSuchFile);
    assert_eq!(refusal(sftp.mkdir("/dir", none()).await), Failure);
    assert_eq!(refusal(sftp.mkdir("/file", none()).await), Failure);
    assert_eq!(refusal(sftp.mkdir("/missing/dir", none()).await), NoSuchFile);
    assert_eq!(refusal(sftp.rmdir("/dir").await), Failure);
    assert_eq!(refusal(sftp.rmdir("/missing").await), NoSuchFile);
    assert_eq!(refusal(sftp.rmdir("/file").await), NoSuchFile);
    assert_eq!(refusal(sftp.remove("/missing").await), NoSuchFile);
    assert_eq!(refusal(sftp.remove("/dir").await), Failure);
    assert_eq!(refusal(sftp.rename("/missing", "/new").await), NoSuchFile);
    assert_eq!(refusal(sftp.rename("/file", "/other").await), Failure);
    assert_eq!(refusal(sftp.rename("/file", "/missing/new").await), NoSuchFile);
    assert_eq!(
        refusal(sftp.setstat("/missing", FileAttributes { permissions: Some(0o600), ..none() }).await),
        NoSuchFile
    );
    assert_eq!(refusal(oracle.open(&"n".repeat(256), create).await), BadMessage);

    // Handles: closed ones and invented ones name nothing.
    let handle = oracle.open("/file", OpenFlags::READ).await.expect("OPEN");
    assert_eq!(refusal(sftp.read(&handle, 7, 10).await), Eof);
    assert_eq!(refusal(sftp.read(&handle, u64::MAX, 10).await), Eof);
    assert_eq!(refusal(sftp.write(&handle, 0, b"x".to_vec()).await), Failure);
    assert_eq!(refusal(sftp.readdir(&handle).await), Failure);
    sftp.close(&handle).await.expect("CLOSE");
    assert_eq!(refusal(sftp.close(&handle).await), Failure);
    assert_eq!(refusal(sftp.read(&handle, 0, 1).await), Failure);
    assert_eq!(refusal(sftp.fstat("invented").await), Failure);

    assert_eq!(oracle.get("/file").await, b"content", "nothing of this has changed the file");
}

#[tokio::test]
async fn what_is_not_there_yet_is_refused_as_unsupported() {
    let dev = Dev::start_with(&[("TIDEGATE_VFS__HOLE_MAX", "1 GiB")]);
    let oracle = Oracle::connect(&dev.ssh).await;
    let sftp = &oracle.sftp;
    oracle.put("/file", b"content").await;
    sftp.mkdir("/dir", FileAttributes::empty()).await.expect("MKDIR");
    oracle.put("/dir/child", b"child").await;

    let unsupported = StatusCode::OpUnsupported;
    let holes = FileAttributes { size: Some(2 << 30), ..FileAttributes::empty() };
    assert_eq!(refusal(sftp.setstat("/file", holes).await), unsupported, "more zeros than `vfs.hole_max`");
    assert_eq!(oracle.get("/file").await, b"content");
    assert_eq!(oracle.names("/dir").await, ["child"]);

    // A copy from one file with changes to another passes through the node.
    let changed = OpenFlags::READ | OpenFlags::WRITE;
    let from = oracle.open("/file", changed).await.expect("OPEN");
    let to = oracle.open("/dir/child", changed).await.expect("OPEN");
    sftp.write(&from, 0, b"C".to_vec()).await.expect("WRITE");
    sftp.write(&to, 0, b"C".to_vec()).await.expect("WRITE");
    let string = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    let request = [string(&from), vec![0; 16], string(&to), vec![0; 8]].concat();
    let Packet::Status(copied) = sftp.extended("copy-data", request).await.expect("an answer") else { panic!() };
    assert_eq!(copied.status_code, StatusCode::Ok, "{}", copied.error_message);
    sftp.close(to).await.expect("CLOSE");
    assert_eq!(oracle.get("/dir/child").await, b"Content");
}

#[tokio::test]
async fn attributes_agree_wherever_they_are_asked_for() {
    let dev = Dev::start();
    let oracle = Oracle::connect(&dev.ssh).await;
    let sftp = &oracle.sftp;
    oracle.put("/file", &random_bytes(1, 5000)).await;
    let wanted = FileAttributes {
        uid: Some(1234),
        gid: Some(5678),
        permissions: Some(0o640),
        atime: Some(1_000_000_000),
        mtime: Some(1_100_000_000),
        ..FileAttributes::empty()
    };
    sftp.setstat("/file", wanted).await.expect("SETSTAT");

    let shown = |attributes: &FileAttributes| {
        (attributes.size, attributes.uid, attributes.gid, attributes.permissions, attributes.mtime)
    };
    let stat = sftp.stat("/file").await.expect("STAT").attrs;
    assert_eq!(shown(&stat), (Some(5000), Some(1234), Some(5678), Some(0o100_640), Some(1_100_000_000)));
    assert_eq!(stat.atime, Some(1_000_000_000));
    assert_eq!(shown(&sftp.lstat("/file").await.expect("LSTAT").attrs), shown(&stat));
    let handle = oracle.open("/file", OpenFlags::READ).await.expect("OPEN");
    assert_eq!(shown(&sftp.fstat(&handle).await.expect("FSTAT").attrs), shown(&stat));
    let directory = sftp.opendir("/").await.expect("OPENDIR").handle;
    let page = sftp.readdir(&directory).await.expect("READDIR");
    let entry = page.files.iter().find(|entry| entry.filename == "file").expect("the file is listed");
    assert_eq!(shown(&entry.attrs), shown(&stat));
    assert!(entry.longname.starts_with("-rw-r-----") && entry.longname.ends_with(" file"), "{}", entry.longname);

    // The attributes of a handle that is written reach the object with its CLOSE.
    let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
    let handle = oracle.open("/new", flags).await.expect("OPEN");
    sftp.write(&handle, 0, b"123".to_vec()).await.expect("WRITE");
    let times = FileAttributes { atime: Some(5), mtime: Some(7), size: Some(3), ..FileAttributes::empty() };
    sftp.fsetstat(&handle, times).await.expect("FSETSTAT of the size that is there");
    sftp.close(handle).await.expect("CLOSE");
    assert_eq!(sftp.stat("/new").await.expect("STAT").attrs.mtime, Some(7));
}

#[tokio::test]
async fn directories_exist_by_marker_or_by_child() {
    let dev = Dev::start();
    let oracle = Oracle::connect(&dev.ssh).await;
    let sftp = &oracle.sftp;
    // Another tool writes an object far below, and makes no marker.
    let (rclone, bucket) = dev.s3();
    std::fs::write(rclone.folder().join("f"), "from outside").unwrap();
    oracle.put("/probe", b"").await;
    let key = rclone.run(["lsf", "-R", "--files-only", &bucket]).ok().stdout;
    let key = key.lines().find(|line| line.ends_with("probe")).expect("the object of /probe").to_owned();
    let prefix = key.strip_suffix("probe").unwrap();
    rclone.run(["copyto", "f", &format!("{bucket}/{prefix}by/child/f")]).ok();

    assert!(sftp.stat("/by").await.expect("STAT").attrs.is_dir());
    assert_eq!(oracle.names("/by").await, ["child"]);
    assert_eq!(oracle.get("/by/child/f").await, b"from outside");
    sftp.mkdir("/marked", FileAttributes::empty()).await.expect("MKDIR");
    assert!(sftp.stat("/marked").await.expect("STAT").attrs.is_dir());
    assert_eq!(oracle.names("/marked").await, Vec::<String>::new());
    // The last file goes, the directory stays, as on any file system.
    sftp.remove("/by/child/f").await.expect("REMOVE");
    assert!(sftp.stat("/by/child").await.expect("STAT").attrs.is_dir());
    sftp.rmdir("/marked").await.expect("RMDIR");
    assert_eq!(refusal(sftp.stat("/marked").await), StatusCode::NoSuchFile);
}

#[tokio::test]
async fn listings_of_many_pages_are_complete_and_free_of_duplicates() {
    const FILES: usize = 2300;
    let dev = Dev::start();
    let oracle = Oracle::connect(&dev.ssh).await;
    let (rclone, bucket) = dev.s3();
    oracle.put("/probe", b"").await;
    let keys = rclone.run(["lsf", "-R", "--files-only", &bucket]).ok().stdout;
    let key = keys.lines().find(|line| line.ends_with("probe")).expect("the object of /probe").to_owned();
    let prefix = key.strip_suffix("probe").unwrap();
    let many = rclone.folder().join("many");
    std::fs::create_dir(&many).unwrap();
    for n in 0..FILES {
        std::fs::write(many.join(format!("f{n:05}")), "").unwrap();
    }
    rclone.run(["copy", "--transfers", "16", "many", &format!("{bucket}/{prefix}many")]).ok();

    let names = oracle.names("/many").await;
    assert_eq!(names.len(), FILES, "no name twice");
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), (0..FILES).map(|n| format!("f{n:05}")).collect());
}
