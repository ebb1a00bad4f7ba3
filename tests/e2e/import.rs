//! Users of other servers, imported and logged in with real clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::{Cluster, Login, Node, Process, Ssh, keygen, until};

/// Home directories with keys as ssh-keygen makes them, and the passwd file of their machine.
struct Machine {
    folder: PathBuf,
}

impl Machine {
    fn new(cluster: &Cluster) -> Self {
        let folder = cluster.folder().join("machine");
        fs::create_dir_all(folder.join("etc")).unwrap();
        let system = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n";
        fs::write(folder.join("etc/passwd"), system).unwrap();
        Self { folder }
    }

    /// Adds a user with a new key; `line` makes the content of the authorized_keys file of the public
    /// key.
    fn add(&self, name: &str, options: &[&str], line: impl Fn(&str) -> String) {
        let passwd = self.folder.join("etc/passwd");
        let text = fs::read_to_string(&passwd).unwrap();
        let uid = 1000 + text.lines().count();
        fs::write(&passwd, format!("{text}{name}:x:{uid}:{uid}:{name},,,:/home/{name}:/bin/bash\n")).unwrap();
        let public = new_key(&self.identity(name), options);
        let folder = self.folder.join("home").join(name).join(".ssh");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("authorized_keys"), line(public.trim_end())).unwrap();
    }

    fn identity(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// Runs `tidegate import passwd` for this machine.
    fn import(&self, cluster: &Cluster, more: &[&str]) -> tidegate_tests::Output {
        let passwd = self.folder.join("etc/passwd").display().to_string();
        let keys = format!("{}%h/.ssh/authorized_keys", self.folder.display());
        let line = ["import", "passwd", "--passwd", &passwd, "--keys", &keys, "--tenant", "acme", "--root", "/home/%u"];
        cluster.cli(&[&line[..], more].concat())
    }
}

/// Makes a key pair and gives the public line.
fn new_key(path: &Path, options: &[&str]) -> String {
    keygen(path, options);
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    fs::read_to_string(public).unwrap()
}

fn ssh(node: &Node, user: &str, identity_file: PathBuf) -> Ssh {
    Ssh::new(&Login { address: node.ready().sftp, user: user.to_owned(), identity_file })
}

#[test]
fn users_of_a_machine_log_in_with_their_keys_and_see_their_homes() {
    let cluster = Cluster::on_moto();
    let machine = Machine::new(&cluster);
    machine.add("rsa", &["-t", "rsa", "-b", "3072"], |key| format!("{key}\n"));
    machine.add("ecdsa256", &["-t", "ecdsa", "-b", "256"], |key| format!("\u{feff}# first\r\n\r\n{key}\r\n"));
    machine.add("ecdsa384", &["-t", "ecdsa", "-b", "384"], |key| format!("\n\t{key} and more # of it\n\n"));
    machine.add("ecdsa521", &["-t", "ecdsa", "-b", "521"], |key| format!("restrict,pty {key}"));
    machine.add("alice", &["-t", "ed25519"], |key| format!("no-pty,command=\"internal-sftp -l INFO\" {key}\n"));
    machine.add("late", &["-t", "ed25519"], |key| format!("expiry-time=\"20200101Z\" {key}\n"));
    machine.add("tied", &["-t", "ed25519"], |key| format!("from=\"203.0.113.0/24\" {key}\n"));
    let fido = "sk-ssh-ed25519@openssh.com \
                AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9eUO2170QduohPURkQnbLa/dczAAAABHNzaDo= x";
    machine.add("fido", &["-t", "ed25519"], |key| format!("{fido}\n{key}\n"));

    let said = machine.import(&cluster, &[]).fails();
    assert!(said.stdout.contains("tied/.ssh/authorized_keys:1: tied: ") && said.stderr.contains("nothing is written"));
    let users = cluster.cli(&["user", "list", "--output", "json"]).json();
    assert_eq!(users, json!([]), "one error keeps all users out");

    let plan = machine.import(&cluster, &["--skip-keys", "--dry-run", "--output", "json"]).json();
    assert_eq!((&plan["summary"]["add"], &plan["summary"]["written"]), (&json!(6), &json!(0)), "{plan}");
    assert_eq!(cluster.cli(&["user", "list", "--output", "json"]).json(), json!([]), "a plan alone");
    let done = machine.import(&cluster, &["--skip-keys"]).ok().stdout;
    assert!(done.contains("6 written of those added: 6 users"), "{done}");
    let again = machine.import(&cluster, &["--skip-keys", "--output", "json"]).json();
    assert_eq!(again["summary"]["keep"], json!(6), "a second run has nothing to do");

    let node = cluster.start_node("node");
    for user in ["rsa", "ecdsa256", "ecdsa384", "ecdsa521", "alice", "fido"] {
        let ssh = ssh(&node, user, machine.identity(user));
        fs::write(ssh.file("f"), user).unwrap();
        let listing = ssh.sftp("pwd\nput f\nls -1\n").ok().stdout;
        assert!(listing.contains("Remote working directory: /\n") && listing.ends_with("f\n"), "{listing}");
    }
    for user in ["late", "tied"] {
        ssh(&node, user, machine.identity(user)).sftp("pwd\n").fails();
    }
    let admin = cluster.add_user("admin");
    let admin = ssh(&node, "admin", admin);
    admin.sftp("get /home/alice/f back\n").ok();
    assert_eq!(fs::read_to_string(admin.file("back")).unwrap(), "alice");
}

#[test]
fn users_of_transfer_family_log_in_and_see_what_they_saw() {
    let cluster = Cluster::on_moto();
    cluster.add_tenant("rival");
    let described = |name: &str, about: Value| {
        let key = new_key(&cluster.folder().join(name), &["-t", "ecdsa"]);
        let mut user = json!({
            "Arn": format!("arn:aws:transfer:us-east-1:123456789012:user/s-01234567890abcdef/{name}"),
            "Role": "arn:aws:iam::123456789012:role/transfer",
            "SshPublicKeys": [{
                "DateImported": "2026-01-27T18:29:46.220000-05:00",
                "SshPublicKeyBody": key,
                "SshPublicKeyId": "key-1234567890abcdef0"
            }],
            "Tags": [],
            "UserName": name
        });
        user.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
        format!("{:#}\n", json!({ "ServerId": "s-01234567890abcdef", "User": user }))
    };
    let acme = format!("/{}/{}", Cluster::BUCKET, Cluster::PREFIX.trim_end_matches('/'));
    let plain = described("plain", json!({ "HomeDirectory": format!("{acme}/in"), "HomeDirectoryType": "PATH" }));
    let mapped = described(
        "mapped",
        json!({ "HomeDirectoryType": "LOGICAL", "HomeDirectoryMappings": [
            { "Entry": "/", "Target": format!("{acme}/users/${{transfer:UserName}}") },
            { "Entry": "/inbox", "Target": format!("{acme}/in"), "Type": "DIRECTORY" },
        ]}),
    );
    let rival = described(
        "rival-bob",
        json!({ "HomeDirectory": format!("/{}/tenants/rival", Cluster::BUCKET), "HomeDirectoryType": "PATH" }),
    );
    let list = json!({ "ServerId": "s-01234567890abcdef", "Users": [
        { "Arn": "x", "SshPublicKeyCount": 1, "UserName": "plain" },
        { "Arn": "x", "SshPublicKeyCount": 1, "UserName": "mapped" },
    ]});
    let file = cluster.folder().join("users.json");
    fs::write(&file, format!("{plain}{mapped}{list}{rival}")).unwrap();
    let said = cluster.cli(&["import", "transfer-family", &file.display().to_string()]).ok().stdout;
    assert!(said.contains("3 written of those added: 3 users") && said.contains("warning: users had a role"), "{said}");

    let node = cluster.start_node("node");
    let login = |user: &str| ssh(&node, user, cluster.folder().join(user));
    let plain = login("plain");
    fs::write(plain.file("f"), "from plain").unwrap();
    // The very paths that clients used before.
    let listing = plain.sftp(&format!("pwd\nput f\nls -1 {acme}/in\n")).ok().stdout;
    assert!(listing.contains(&format!("Remote working directory: {acme}/in\n")), "{listing}");
    assert!(listing.ends_with(&format!("{acme}/in/f\n")), "{listing}");
    plain.sftp(&format!("put f {acme}/f\n")).fails();
    let mapped = login("mapped");
    mapped.sftp("get inbox/f back\nmkdir own\n").ok();
    assert_eq!(fs::read_to_string(mapped.file("back")).unwrap(), "from plain");
    let other = login("rival-bob").sftp(&format!("ls -1 /{}/tenants/rival\n", Cluster::BUCKET)).ok().stdout;
    assert_eq!(other, "", "the other tenant's files alone");
}

/// As many as a debug build imports well within a minute on a busy machine. Tried once by hand with 10,000 on two
/// cores with ten times the work that they can do: 3 min 43 s, 15 s of them of CPU.
const MANY: usize = 2_000;

#[test]
fn an_import_of_many_users_that_is_killed_leaves_no_user_half_and_is_repeated() {
    let cluster = Cluster::on_dev_store();
    let folder = cluster.folder().join("keys");
    fs::create_dir_all(&folder).unwrap();
    let line = new_key(&cluster.folder().join("first"), &["-t", "ed25519"]);
    let blob = line.split(' ').nth(1).unwrap();
    let mut passwd = String::new();
    for n in 0..MANY {
        passwd.push_str(&format!("u{n:05}:x:{}:100::/home/u{n:05}:/bin/sh\n", 1000 + n));
        // An Ed25519 key may have any bytes: its last ones are as good as any to tell users apart.
        let other = |mark: char| format!("ssh-ed25519 {}{mark}{n:05} {mark}\n", &blob[..blob.len() - 6]);
        let first = if n == MANY - 1 { line.clone() } else { other('a') };
        fs::write(folder.join(format!("u{n:05}")), first + &other('b')).unwrap();
    }
    let file = cluster.folder().join("passwd");
    fs::write(&file, passwd).unwrap();
    let (file, keys) = (file.display().to_string(), folder.join("%u").display().to_string());
    let import = ["import", "passwd", "--passwd", &file, "--keys", &keys, "--tenant", "acme", "--root", "/%u"];
    let users = || {
        let listed = cluster.cli(&["user", "list", "--tenant", "acme", "--output", "json"]).json();
        let listed = listed.as_array().unwrap();
        // Each is whole: as what it is imported, with both keys and its mapping.
        for user in listed {
            assert_eq!(
                (user["keys"].as_array().unwrap().len(), &user["mappings"][0]["Entry"]),
                (2, &json!("/")),
                "{user}"
            );
        }
        listed.len()
    };

    let mut command = cluster.command();
    command.args(import).arg("--config").arg(cluster.config_file());
    let mut killed = Process::start("import", cluster.folder(), &mut command);
    until("the import has written some", Duration::from_secs(60), || {
        killed.assert_running();
        (users() > 0).then_some(())
    });
    killed.signal("KILL");
    killed.wait(Duration::from_secs(10));
    let written = users();
    assert!(0 < written && written < MANY, "{written} are there");

    let said = cluster.cli(&import).ok().stdout;
    let rest = MANY - written;
    assert!(said.contains(&format!("{rest} written of those added: {rest} users")), "{}", &said[said.len() - 300..]);
    assert_eq!(users(), MANY);
    let node = cluster.start_node("node");
    ssh(&node, &format!("u{:05}", MANY - 1), cluster.folder().join("first")).sftp("pwd\n").ok();
}

#[test]
fn host_keys_of_another_server_are_kept() {
    let cluster = Cluster::on_bare_moto();
    cluster.cli(&["init"]).ok();
    let path = |name: &str| cluster.folder().join(name);
    let ed25519 = new_key(&path("ed25519"), &["-t", "ed25519"]);
    let ecdsa = new_key(&path("ecdsa"), &["-t", "ecdsa", "-b", "384"]);
    let rsa = new_key(&path("rsa"), &["-t", "rsa", "-b", "2048", "-m", "PEM"]);
    new_key(&path("other"), &["-t", "ed25519"]);
    let import = |names: &[&str], more: &[&str]| {
        let files: Vec<String> = names.iter().map(|name| path(name).display().to_string()).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        cluster.cli(&[&["hostkey", "import"], &files[..], more].concat())
    };
    for (names, said) in [
        (&["ed25519.pub"][..], "public key"),
        (&["nothing"], "can't be read"),
        (&["ed25519", "other"], "two keys of the algorithm ssh-ed25519"),
    ] {
        let error = import(names, &[]).fails().stderr;
        assert!(error.contains(said) && !error.contains("PRIVATE"), "{error}");
    }
    import(&["rsa", "ecdsa", "ed25519"], &[]).ok();
    import(&["ed25519", "ecdsa", "rsa"], &[]).ok();
    let error = import(&["other"], &[]).fails().stderr;
    assert!(error.contains("--replace"), "{error}");

    cluster.add_tenant("acme");
    cluster.add_user("alice");
    let check = |node: &str, known: &[&String]| {
        let node = cluster.start_node(node);
        let ssh = Ssh::new(&cluster.login(&node, "alice"));
        for public in known {
            // As a client that has known the old server all along, by this key alone.
            let (host, port) = (node.ready().sftp.ip(), node.ready().sftp.port());
            fs::write(ssh.file("known_hosts"), format!("[{host}]:{port} {public}")).unwrap();
            ssh.sftp("pwd\n").ok();
        }
    };
    check("old-keys", &[&ed25519, &ecdsa, &rsa]);
    import(&["other"], &["--replace"]).ok();
    check("new-key", &[&fs::read_to_string(path("other.pub")).unwrap()]);
}
