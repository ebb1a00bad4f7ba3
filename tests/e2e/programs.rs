//! Programs with an SFTP client of their own: PuTTY's, curl, restic.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tidegate_tests::{Output, run_client, sha256_of_file, write_random_file};

use crate::dev::Dev;

const LIMIT: Duration = Duration::from_secs(120);

/// PuTTY's clients for a login: a key in its own format, and the host key's fingerprint.
struct Putty {
    arguments: Vec<String>,
    target: String,
}

impl Putty {
    fn new(dev: &Dev) -> Self {
        let login = dev.node.login();
        let (key, port) = (dev.ssh.file("key.ppk"), login.port().to_string());
        run_client(Command::new("puttygen").arg(&login.identity_file).arg("-o").arg(&key), LIMIT).ok();
        let scanned = run_client(
            Command::new("ssh-keyscan").args(["-T", "60", "-t", "ed25519", "-p", &port, "127.0.0.1"]),
            LIMIT,
        );
        let hosts = dev.ssh.file("scanned");
        fs::write(&hosts, scanned.ok().stdout).unwrap();
        let shown = run_client(Command::new("ssh-keygen").arg("-lf").arg(&hosts), LIMIT).ok().stdout;
        let fingerprint = shown.split_whitespace().nth(1).unwrap().to_owned();
        let key = key.display().to_string();
        let arguments =
            ["-batch", "-P", &port, "-i", &key, "-hostkey", &fingerprint].into_iter().map(str::to_owned).collect();
        Self { arguments, target: format!("{}@127.0.0.1", login.user) }
    }

    fn run(&self, dev: &Dev, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(&self.arguments).args(arguments).current_dir(dev.ssh.folder()).env("HOME", dev.ssh.folder());
        run_client(&mut command, LIMIT).ok()
    }
}

#[test]
fn putty_s_clients_work_both_ways() {
    let dev = Dev::start();
    let putty = Putty::new(&dev);
    let sum = write_random_file(&dev.ssh.file("file"), 3, 9 << 20);
    let batch = "mkdir dir\ncd dir\nput file up\nmv up moved\nchmod 600 moved\nls\nget moved back\n";
    fs::write(dev.ssh.file("batch"), batch).unwrap();
    let listed = putty.run(&dev, "psftp", &["-b", "batch", &putty.target]).stdout;
    assert!(listed.contains("-rw-------") && listed.contains(" moved"), "{listed}");
    assert_eq!(sha256_of_file(&dev.ssh.file("back")), sum);

    putty.run(&dev, "pscp", &["-sftp", "-q", "file", &format!("{}:dir/copy", putty.target)]);
    putty.run(&dev, "pscp", &["-sftp", "-q", &format!("{}:dir/copy", putty.target), "copied"]);
    assert_eq!(sha256_of_file(&dev.ssh.file("copied")), sum);
    // A tree, as pscp sends it by SFTP.
    putty.run(&dev, "pscp", &["-sftp", "-q", "-r", &format!("{}:dir", putty.target), "tree"]);
    assert_eq!(sha256_of_file(&dev.ssh.file("tree/moved")), sum);
}

#[test]
fn curl_uploads_downloads_continues_and_gives_commands() {
    let dev = Dev::start();
    let login = dev.node.login();
    let sum = write_random_file(&dev.ssh.file("file"), 4, 9 << 20);
    let url = format!("sftp://127.0.0.1:{}", login.port());
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--insecure", "--user", &format!("{}:", login.user), "--key"]);
        command.arg(&login.identity_file).arg("--pubkey").arg(login.identity_file.with_extension("pub"));
        command.args(arguments).current_dir(dev.ssh.folder());
        run_client(&mut command, LIMIT)
    };
    curl(&["--upload-file", "file", "--ftp-create-dirs", &format!("{url}/deep/er/up")]).ok();
    curl(&["--output", "back", &format!("{url}/deep/er/up")]).ok();
    assert_eq!(sha256_of_file(&dev.ssh.file("back")), sum);
    // The second half of a download that was cut.
    let whole = fs::read(dev.ssh.file("back")).unwrap();
    fs::write(dev.ssh.file("back"), &whole[..whole.len() / 2]).unwrap();
    curl(&["--continue-at", "-", "--output", "back", &format!("{url}/deep/er/up")]).ok();
    assert_eq!(sha256_of_file(&dev.ssh.file("back")), sum);
    curl(&["--quote", "rename /deep/er/up /deep/moved", "--quote", "chmod 600 /deep/moved", &format!("{url}/deep/")])
        .ok();
    let listed = curl(&[&format!("{url}/deep/")]).ok().stdout;
    assert!(listed.contains("-rw-------") && listed.contains(" moved"), "{listed}");
    curl(&["--upload-file", "file", &format!("{url}/missing/up")]).fails();
}

#[test]
fn restic_backs_up_checks_every_byte_prunes_and_restores() {
    let dev = Dev::start();
    let tree = dev.ssh.file("tree");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    for n in 0..60_u64 {
        let folder = ["", "deep/", "deep/er/"][n as usize % 3];
        write_random_file(&tree.join(format!("{folder}f{n}")), n, n * 20_001);
    }
    let ssh = dev.ssh.subsystem();
    let words = std::iter::once(ssh.get_program()).chain(ssh.get_args()).map(|word| word.to_string_lossy());
    let connect = format!("sftp.command={}", words.collect::<Vec<_>>().join(" "));
    let restic = |arguments: &[&str]| {
        let mut command = Command::new("restic");
        command.args(["--repo", "sftp:node:/backups/repository", "--option", &connect, "--no-cache"]);
        command.args(arguments).current_dir(dev.ssh.folder()).env("RESTIC_PASSWORD", "secret");
        run_client(&mut command, LIMIT).ok().stdout
    };
    dev.ssh.sftp("mkdir backups\n").ok();
    restic(&["init"]);
    restic(&["backup", "tree"]);
    fs::remove_file(tree.join("f0")).unwrap();
    write_random_file(&tree.join("deep/new"), 99, 3 << 20);
    restic(&["backup", "tree"]);
    let checked = restic(&["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    restic(&["forget", "--keep-last", "1", "--prune"]);
    restic(&["check", "--read-data"]);
    restic(&["restore", "latest", "--target", "restored"]);
    let mut difference = Command::new("diff");
    difference.args(["-r", "tree", "restored/tree"]).current_dir(dev.ssh.folder());
    run_client(&mut difference, LIMIT).ok();
}
