//! File systems over the node and over its bucket: sshfs, and s3fs beside it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidegate_tests::{Process, run_client, sha256_of_file, until, write_random_file};

use crate::dev::Dev;

const LIMIT: Duration = Duration::from_secs(120);

/// A mounted file system; unmounted when dropped.
struct Mounted {
    at: PathBuf,
    _process: Process,
}

impl Mounted {
    fn start(name: &str, folder: &Path, at: PathBuf, command: &mut Command) -> Self {
        fs::create_dir_all(&at).unwrap();
        let outside = fs::metadata(&at).unwrap().dev();
        let mut process = Process::start(name, folder, command);
        until(&format!("{name} has mounted"), LIMIT, || {
            process.assert_running();
            fs::metadata(&at).ok().filter(|inside| inside.dev() != outside).map(drop)
        });
        Self { at, _process: process }
    }

    /// The user's files through the node.
    fn sshfs(dev: &Dev) -> Self {
        let login = dev.node.login();
        let at = dev.folder.path().join("sshfs");
        let mut command = Command::new("sshfs");
        let options = format!(
            "IdentityFile={},IdentitiesOnly=yes,StrictHostKeyChecking=accept-new,UserKnownHostsFile={}",
            login.identity_file.display(),
            dev.folder.path().join("known").display()
        );
        command.args(["-f", "-p", &login.port().to_string(), "-o", &options]);
        command.arg(format!("{}@127.0.0.1:/", login.user)).arg(&at);
        Self::start("sshfs", dev.folder.path(), at, &mut command)
    }

    /// The same files in the bucket, without the node.
    fn s3fs(dev: &Dev) -> Self {
        let ready = dev.node.ready().clone();
        let (folder, at) = (dev.folder.path(), dev.folder.path().join("s3fs"));
        let password = folder.join("s3fs-password");
        fs::write(&password, format!("{}:{}", ready.access_key.unwrap(), ready.secret_key.unwrap())).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let options = format!("passwd_file={},url={},use_path_request_style", password.display(), ready.s3.unwrap());
        let mut command = Command::new("s3fs");
        // Otherwise it asks for what it has just written, and remembers for 15 minutes what it saw.
        command.arg(ready.bucket.unwrap()).arg(&at).args(["-f", "-o", &options, "-o", "stat_cache_expire=1"]);
        Self::start("s3fs", folder, at, &mut command)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.at).status();
    }
}

/// Whether the machine can mount. It must, unless whoever runs the tests says that it can't.
fn can_mount() -> bool {
    let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    match (fuse, std::env::var_os("TIDEGATE_WITHOUT_FUSE")) {
        (Ok(_), _) => true,
        (Err(error), Some(_)) => {
            println!("not run, as TIDEGATE_WITHOUT_FUSE says: /dev/fuse: {error}");
            false
        }
        (Err(error), None) => panic!("/dev/fuse: {error}; where there is no FUSE, set TIDEGATE_WITHOUT_FUSE=1"),
    }
}

/// Unmounts, and waits until what was closed is published: a mount does not wait for it.
fn leave(dev: &Dev, mounted: Mounted) {
    drop(mounted);
    until("the mount's session has ended", LIMIT, || (dev.node.metric("tidegate_sftp_sessions") == 0.0).then_some(()));
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("HOME", folder);
    for (name, value) in [("GIT_AUTHOR_NAME", "T"), ("GIT_COMMITTER_NAME", "T")] {
        command.env(name, value).env(name.replace("NAME", "EMAIL"), "t@example.org");
    }
    run_client(&mut command, LIMIT).ok().stdout
}

fn tree(at: &Path) {
    fs::create_dir(at).unwrap();
    symlink("deep/er", at.join("link")).unwrap();
    fs::create_dir_all(at.join("deep/er")).unwrap();
    for n in 0..40_u64 {
        let folder = ["", "deep/", "deep/er/"][n as usize % 3];
        write_random_file(&at.join(format!("{folder}f{n}")), n, n * 3001);
    }
    fs::set_permissions(at.join("f0"), fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn programs_work_on_sshfs_as_on_a_disk() {
    if !can_mount() {
        return;
    }
    let dev = Dev::start();
    let mounted = Mounted::sshfs(&dev);
    let (at, local) = (mounted.at.as_path(), dev.folder.path());
    tree(&local.join("tree"));
    // The link behind what it leads to: tar sets times through it, on sshfs before any server.
    run("tar", &["cf", "tree.tar", "--sort=name", "tree"], local);
    run("tar", &["xf", &local.join("tree.tar").display().to_string()], at);
    run("diff", &["-r", "--no-dereference", "tree", &at.join("tree").display().to_string()], local);

    // cp takes entries in the order of their inodes, whatever that is, and sets the owner of the link through it:
    // on sshfs before any server, what it leads to has to be there already.
    fs::create_dir_all(at.join("copy/deep/er")).unwrap();
    run("cp", &["-a", "--no-target-directory", "tree", &at.join("copy").display().to_string()], local);
    run("diff", &["-r", "--no-dereference", "tree", &at.join("copy").display().to_string()], local);
    for name in ["f0", "deep/f1"] {
        let (here, there) = (fs::metadata(local.join("tree").join(name)), fs::metadata(at.join("copy").join(name)));
        let (here, there) = (here.unwrap(), there.unwrap());
        assert_eq!((here.mtime(), here.mode()), (there.mtime(), there.mode()), "{name}");
    }
    assert_eq!(fs::read_link(at.join("copy/link")).unwrap(), Path::new("deep/er"));

    fs::create_dir(at.join("repository")).unwrap();
    let repository = at.join("repository");
    run("git", &["init", "--quiet", "."], &repository);
    fs::write(repository.join("file"), "first\n").unwrap();
    run("git", &["add", "file"], &repository);
    run("git", &["commit", "--quiet", "-m", "first"], &repository);
    fs::write(repository.join("file"), "second\n").unwrap();
    run("git", &["commit", "--quiet", "-a", "-m", "second"], &repository);
    assert_eq!(run("git", &["log", "--format=%s"], &repository), "second\nfirst\n");
    run("git", &["fsck", "--strict"], &repository);
    run("git", &["gc", "--quiet"], &repository);
    run("git", &["fsck", "--strict"], &repository);

    let database = at.join("database").display().to_string();
    run(
        "sqlite3",
        &[
            &database,
            "CREATE TABLE t(n INTEGER, text TEXT); INSERT INTO t SELECT value, hex(randomblob(50)) FROM generate_series(1, 2000); UPDATE t SET text = 'x' WHERE n % 7 = 0; DELETE FROM t WHERE n % 5 = 0; VACUUM;",
        ],
        local,
    );
    let checked = run(
        "sqlite3",
        &[&database, "PRAGMA integrity_check; SELECT count(*) FROM t; SELECT count(*) FROM t WHERE text = 'x';"],
        local,
    );
    assert_eq!(checked, "ok\n1600\n228\n");
}

#[test]
fn a_file_is_changed_in_place_through_sshfs() {
    if !can_mount() {
        return;
    }
    let dev = Dev::start();
    let mounted = Mounted::sshfs(&dev);
    let (at, local) = (mounted.at.as_path(), dev.folder.path());
    // Beyond one part, so that most of it is copied inside the store.
    write_random_file(&local.join("file"), 3, 20 << 20);
    fs::copy(local.join("file"), at.join("file")).unwrap();
    write_random_file(&local.join("patch"), 4, 10_000);
    for output in [local.join("file"), at.join("file")] {
        let output = format!("of={}", output.display());
        run("dd", &["if=patch", &output, "bs=1000", "seek=7000", "conv=notrunc", "status=none"], local);
    }
    assert_eq!(sha256_of_file(&at.join("file")), sha256_of_file(&local.join("file")));
    for path in [local.join("file"), at.join("file")] {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, b"the end").unwrap();
    }
    // Not what the mount remembers: what another session sees.
    leave(&dev, mounted);
    dev.ssh.sftp("get file back\n").ok();
    assert_eq!(sha256_of_file(&dev.ssh.file("back")), sha256_of_file(&local.join("file")));
}

/// What fsx does: one file, read, written, cut and grown at random, and compared.
#[test]
fn random_changes_through_sshfs_read_back_as_they_were_made() {
    if !can_mount() {
        return;
    }
    const LEN_MAX: usize = 3 << 20;
    let dev = Dev::start();
    let mounted = Mounted::sshfs(&dev);
    let mut random = StdRng::seed_from_u64(5);
    let mut expected: Vec<u8> = Vec::new();
    let path = mounted.at.join("file");
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let mut file = open();
    for step in 0..400 {
        let at = random.random_range(0..LEN_MAX);
        let len = random.random_range(1..=(LEN_MAX - at).min(200_000));
        match random.random_range(0..10) {
            0..4 => {
                let bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
                file.write_all_at(&bytes, at as u64).unwrap();
                expected.resize(expected.len().max(at + len), 0);
                expected[at..at + len].copy_from_slice(&bytes);
            }
            4..7 => {
                let mut bytes = vec![0; len];
                let mut read = 0;
                while read < len {
                    match file.read_at(&mut bytes[read..], (at + read) as u64).unwrap() {
                        0 => break,
                        n => read += n,
                    }
                }
                let end = expected.len().min(at + len);
                assert_eq!(bytes[..read], expected[at.min(end)..end], "step {step}");
            }
            7 => {
                file.set_len(at as u64).unwrap();
                expected.resize(at, 0);
            }
            8 => {
                drop(file);
                file = open();
            }
            _ => assert_eq!(fs::metadata(&path).unwrap().len(), expected.len() as u64, "step {step}"),
        }
    }
    drop(file);
    leave(&dev, mounted);
    dev.ssh.sftp("get file back\n").ok();
    assert!(fs::read(dev.ssh.file("back")).unwrap() == expected, "as another session sees it");
}

#[test]
fn a_bucket_of_s3fs_and_the_node_s_files_are_the_same() {
    if !can_mount() {
        return;
    }
    let dev = Dev::start();
    let s3fs = Mounted::s3fs(&dev);
    let make = |at: &Path| {
        fs::create_dir(at).unwrap();
        fs::write(at.join("file"), "what it says").unwrap();
        fs::set_permissions(at.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
        // By its name: s3fs writes the time of its own when a file that was open for writing is closed.
        run("touch", &["--no-create", "--date=@1234567890", "file"], at);
        symlink("file", at.join("link")).unwrap();
        fs::create_dir(at.join("empty")).unwrap();
    };
    let check = |at: &Path| {
        let file = fs::metadata(at.join("file")).unwrap();
        assert_eq!((file.mode() & 0o777, file.mtime()), (0o640, 1_234_567_890), "{}", at.display());
        assert_eq!(fs::read_link(at.join("link")).unwrap(), Path::new("file"));
        assert_eq!(fs::read_to_string(at.join("link")).unwrap(), "what it says");
        assert!(fs::metadata(at.join("empty")).unwrap().is_dir());
        let names = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["empty", "file", "link"]);
    };
    let s3fs_root = s3fs.at.join("tenants/demo");
    fs::create_dir_all(&s3fs_root).unwrap();
    make(&s3fs_root.join("by-s3fs"));
    let sshfs = Mounted::sshfs(&dev);
    check(&sshfs.at.join("by-s3fs"));
    make(&sshfs.at.join("by-the-node"));
    check(&sshfs.at.join("by-the-node"));
    check(&s3fs_root.join("by-the-node"));
    let listed = dev.ssh.sftp("ls -l by-s3fs\n").ok().stdout;
    assert!(listed.contains("-rw-r-----") && listed.contains("lrwx"), "{listed}");
}

#[test]
fn flock_makes_the_file_that_it_locks_through_sshfs() {
    if !can_mount() {
        return;
    }
    let dev = Dev::start();
    let mounted = Mounted::sshfs(&dev);
    let lock = mounted.at.join("lock");
    // It opens a missing file for reading with CREAT.
    let locked = run_client(Command::new("flock").arg(&lock).args(["echo", "locked"]), LIMIT).ok();
    assert_eq!(locked.stdout, "locked\n");
    assert_eq!(dev.ssh.sftp("ls -1\n").ok().stdout.trim(), "lock");
}
