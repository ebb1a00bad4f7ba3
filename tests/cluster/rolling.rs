//! All nodes replaced, one after the other, while clients that try again work.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tidegate_tests::{Lftp, Login, Output, Process, Rclone, Ssh, sha256_of_file, try_client, until, write_random_file};

use crate::fleet::Fleet;
use crate::load::{Client, Load};

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// How often a client tries one file.
const TRIES: usize = 20;

/// What clients believe to be there: the SHA-256 of each file that they closed.
type Closed = Mutex<BTreeMap<String, Vec<u8>>>;

/// A client program that uploads the file `name` from its folder under the same name.
trait Uploader: Sync {
    fn folder(&self) -> &Path;
    fn upload(&self, name: &str) -> Command;
    /// Whether a run that ended with success says that its CLOSE was refused.
    fn failed_to_close(&self, _output: &Output) -> bool {
        false
    }
}

impl Uploader for Ssh {
    fn folder(&self) -> &Path {
        self.folder()
    }

    fn upload(&self, name: &str) -> Command {
        fs::write(self.file("batch"), format!("put {name}\n")).unwrap();
        let mut command = self.sftp_command();
        command.args(["-b", "batch"]).arg(self.target());
        command
    }
}

impl Uploader for Rclone {
    fn folder(&self) -> &Path {
        self.folder()
    }

    fn upload(&self, name: &str) -> Command {
        let mut command = self.command();
        command.args(["copyto", name, &format!("sftp:{name}")]);
        command
    }
}

impl Uploader for Lftp {
    fn folder(&self) -> &Path {
        self.folder()
    }

    fn upload(&self, name: &str) -> Command {
        self.command(&format!("put {name}"))
    }
}

struct Curl {
    folder: tempfile::TempDir,
    login: Login,
}

impl Uploader for Curl {
    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn upload(&self, name: &str) -> Command {
        let mut command = Command::new("curl");
        // What became of its CLOSE, curl tells only then, and takes for a success.
        command.arg("--verbose");
        command.args(["--silent", "--show-error", "--insecure", "--user", &format!("{}:", self.login.user), "--key"]);
        command.arg(&self.login.identity_file).arg("--pubkey").arg(public_key(&self.login));
        command.args(["--upload-file", name, &format!("sftp://{}/{name}", self.login.address)]);
        command.current_dir(self.folder.path());
        command
    }

    fn failed_to_close(&self, output: &Output) -> bool {
        output.stderr.contains("Failed to close libssh2 file")
    }
}

/// libssh2 wants it, too.
fn public_key(login: &Login) -> PathBuf {
    PathBuf::from(format!("{}.pub", login.identity_file.display()))
}

/// OpenSSH that goes on with what it began.
struct Resuming<'a>(&'a Ssh);

impl Uploader for Resuming<'_> {
    fn folder(&self) -> &Path {
        self.0.folder()
    }

    fn upload(&self, name: &str) -> Command {
        fs::write(self.0.file("batch"), format!("reput {name}\n")).unwrap();
        let mut command = self.0.sftp_command();
        command.args(["-b", "batch"]).arg(self.0.target());
        command
    }
}

/// Uploads a file, again and again until the client says that it has.
fn upload(client: &dyn Uploader, name: &str) {
    let mut said = Vec::new();
    for tries in 1..=TRIES {
        let start = Instant::now();
        match try_client(&mut client.upload(name), LIMIT) {
            Ok(output) if output.status.success() && !client.failed_to_close(&output) => return,
            failed => {
                println!("{name}, try {tries}, {:?}: {failed:?}", start.elapsed());
                said.push(format!("{failed:?}"));
            }
        }
    }
    panic!("{name} could not be uploaded:\n{}", said.join("\n"));
}

/// Uploads one file after the other until told to stop.
fn keep_uploading(client: &dyn Uploader, prefix: &str, closed: &Closed, load: &Load) {
    // Of one part and of two.
    const SIZES: [u64; 4] = [20_000, 9 * MIB, 300_000, 2 * MIB];
    for n in 0_u64.. {
        if load.is_over() {
            break;
        }
        let (name, file) = (format!("{prefix}{n}"), client.folder().join(format!("{prefix}{n}")));
        let sum = write_random_file(&file, n, SIZES[n as usize % SIZES.len()] + n);
        upload(client, &name);
        closed.lock().unwrap().insert(name, sum);
        fs::remove_file(file).unwrap();
        load.add();
    }
}

/// An upload of so many KiB a second, under way: it is cut when its node goes, whichever that is.
fn begin_slowly(fleet: &Fleet, ssh: &Ssh, name: &str, rate: u64) -> Process {
    let open = || (0..fleet.size()).map(|place| fleet.node(place).metric("tidegate_vfs_open_writers")).sum::<f64>();
    let before = open();
    fs::write(ssh.file("batch"), format!("put {name}\n")).unwrap();
    let mut command = ssh.sftp_command();
    // -l is in Kbit/s.
    command.args(["-l", &(rate * 8).to_string(), "-b", "batch"]).arg(ssh.target());
    let mut upload = Process::start(name, ssh.folder(), &mut command);
    until("the slow upload is under way", LIMIT, || {
        upload.assert_running();
        (open() > before).then_some(())
    });
    upload
}

/// The paths that the journal has.
fn listed(fleet: &Fleet) -> Vec<String> {
    let uploads = fleet.uploads();
    let paths = uploads.as_array().expect("a list").iter().map(|upload| upload["path"].as_str().unwrap().to_owned());
    paths.collect()
}

#[test]
fn all_nodes_are_replaced_under_load_and_every_closed_file_is_there_and_whole() {
    let settings = [
        // Less than the largest uploads take that are under way.
        ("TIDEGATE_DRAIN__DEADLINE", "1s"),
        // Parts of the slow ones come in less than half of it.
        ("TIDEGATE_VFS__PART_SIZE", "5MiB"),
        ("TIDEGATE_VFS__REAP_INTERVAL", "1s"),
        ("TIDEGATE_VFS__UPLOAD_LIFE", "20s"),
    ];
    let mut fleet = Fleet::start(3, &settings);
    let login = fleet.login();
    let uploaders: [(&str, Box<dyn Uploader>); 4] = [
        ("openssh", Box::new(Ssh::new(&login))),
        ("rclone", Box::new(Rclone::on_node(&login))),
        ("lftp", Box::new(Lftp::new(&login))),
        ("curl", Box::new(Curl { folder: tempfile::tempdir().unwrap(), login: login.clone() })),
    ];
    let slow = Ssh::new(&login);
    let slow_sum = write_random_file(&slow.file("slow"), 99, 120 * MIB);
    let mut slow_upload = begin_slowly(&fleet, &slow, "slow", 1 << 10);
    // Two that nobody goes on with: of parts and an end, and of an end alone.
    let leaver = Ssh::new(&fleet.direct_login(0));
    write_random_file(&leaver.file("abandoned"), 98, 120 * MIB);
    let mut abandoned = vec![begin_slowly(&fleet, &leaver, "abandoned", 1 << 10)];
    until("a part of it is there", LIMIT, || listed(&fleet).iter().any(|path| path == "abandoned").then_some(()));
    write_random_file(&leaver.file("left"), 97, 120 * MIB);
    abandoned.push(begin_slowly(&fleet, &leaver, "left", 64));
    let closed = Closed::default();
    let mut clients: Vec<Client<'_>> = vec![Box::new(|_| {
        assert!(!slow_upload.wait(2 * LIMIT).success(), "its node goes before it can end");
        upload(&Resuming(&slow), "slow");
        closed.lock().unwrap().insert("slow".to_owned(), slow_sum);
    })];
    for (name, uploader) in &uploaders {
        let closed = &closed;
        clients.push(Box::new(move |load| keep_uploading(uploader.as_ref(), name, closed, load)));
    }
    Load::run(clients, |load| {
        load.wait_for(uploaders.len());
        for place in 0..fleet.size() {
            fleet.drain(place);
            for mut upload in std::mem::take(&mut abandoned) {
                assert!(!upload.wait(LIMIT).success(), "its node has gone");
            }
            if place == 0 {
                let listed = listed(&fleet);
                assert!(
                    ["abandoned", "left"].iter().all(|path| listed.iter().any(|found| found == path)),
                    "{listed:?}"
                );
            }
            fleet.replace(place);
            println!("node {place} has been replaced");
            load.wait_for(uploaders.len());
        }
    });

    fleet.wait_until_nothing_is_open();
    fleet.wait_until_no_upload_is_left();
    let closed = closed.into_inner().unwrap();
    println!("{} files were closed", closed.len());
    for place in 0..fleet.size() {
        let rclone = Rclone::on_node(&fleet.direct_login(place));
        rclone.run(["copy", "sftp:", "back"]).ok();
        let back = rclone.folder().join("back");
        let found = fs::read_dir(&back).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), sha256_of_file(&entry.path()))
        });
        let found: BTreeMap<_, _> = found.collect();
        // Names first, since they can be read.
        assert_eq!(found.keys().collect::<Vec<_>>(), closed.keys().collect::<Vec<_>>(), "on node {place}");
        let wrong: Vec<_> = closed.iter().filter(|(name, sum)| found[*name] != **sum).map(|(name, _)| name).collect();
        assert!(wrong.is_empty(), "not as they were closed, on node {place}: {wrong:?}");
    }
}
