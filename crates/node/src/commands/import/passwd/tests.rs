use clap::Parser;
use proptest::prelude::*;
use tidegate_ssh::generate_client_key;

use super::*;
use crate::cli::{Cli, Command};
use crate::import::ImportSource;

/// A tree as of a machine: its passwd file and the homes of those who have keys.
struct Tree {
    folder: tempfile::TempDir,
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin

alice:x:1000:1000:Alice A.,,,:/home/alice:/bin/bash
bob:x:1001:100:Bob:/home/bob:/usr/sbin/nologin
carol:x:1002:1002::/home/carol:
dave:x:1003:1003::/srv/dave:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";

impl Tree {
    fn new(passwd: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passwd"), passwd).unwrap();
        fs::write(folder.path().join("group"), "users:x:100:\nsftp:x:2000:alice, carol\n").unwrap();
        for home in ["root", "home/alice", "home/bob", "srv/dave"] {
            let name = home.rsplit('/').next().unwrap();
            let folder = folder.path().join(home).join(".ssh");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("authorized_keys"), generate_client_key(name).unwrap().1).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn read(&self, more: &[&str]) -> (Vec<Draft>, Findings) {
        let (passwd, keys) = (self.path("passwd"), format!("{}%h/.ssh/authorized_keys", self.folder.path().display()));
        let line = ["tidegate", "import", "passwd", "--tenant", "acme", "--passwd", &passwd, "--keys", &keys];
        let cli = Cli::try_parse_from(line.iter().chain(more)).unwrap_or_else(|error| panic!("{error}"));
        let Command::Import(import) = cli.command else { panic!("not import") };
        let ImportSource::Passwd(args) = import.source else { panic!("not passwd") };
        let mut findings = Findings::default();
        let rules = KeyRules::new(&[], false, 1);
        let drafts = read(&args, &rules, &mut Files::new(&mut io::empty()), &mut findings);
        (drafts, findings)
    }

    /// The names of those who are imported.
    fn names(&self, more: &[&str]) -> Vec<String> {
        let (drafts, findings) = self.read(more);
        assert_eq!(findings.errors(), 0, "{:?}", findings.all());
        drafts.iter().map(|draft| draft.name.to_string()).collect()
    }
}

fn shown(findings: &Findings) -> Vec<String> {
    findings.all().iter().map(ToString::to_string).collect()
}

#[test]
fn who_is_imported_can_be_chosen_and_who_is_not_is_told() {
    let tree = Tree::new(PASSWD);
    assert_eq!(tree.names(&[]), ["alice", "dave"]);
    let (_, findings) = tree.read(&[]);
    let left_out: Vec<_> = findings.left_out.iter().map(|one| (one.name.as_str(), one.reason.as_str())).collect();
    assert_eq!(left_out.len(), 5, "{left_out:?}");
    for (name, reason) in
        [("root", "the number 0"), ("bob", "--include-nologin"), ("carol", "no file with keys"), ("nobody", "65534")]
    {
        assert!(left_out.iter().any(|(who, why)| *who == name && why.contains(reason)), "{name}: {left_out:?}");
    }
    assert_eq!(tree.names(&["--include-nologin"]), ["alice", "bob", "dave"]);
    assert_eq!(tree.names(&["--include-keyless"]), ["alice", "carol", "dave"]);
    assert_eq!(tree.names(&["--min-uid", "0", "--max-uid", "1000"]), ["root", "alice"]);
    assert_eq!(tree.names(&["--user", "dave,alice", "--exclude", "alice"]), ["dave"]);
    let group = tree.path("group");
    assert_eq!(tree.names(&["--group", "sftp", "--group-file", &group]), ["alice"]);
    assert_eq!(tree.names(&["--group", "100,1003", "--include-nologin"]), ["bob", "dave"]);
    let (_, findings) = tree.read(&["--group", "nosuch", "--group-file", &group, "--user", "zoe"]);
    assert_eq!(findings.errors(), 2, "{:?}", shown(&findings));
}

#[test]
fn what_users_see_follows_the_templates() {
    let tree = Tree::new(PASSWD);
    let view = |more: &[&str], name: &str| {
        let (drafts, findings) = tree.read(more);
        let draft = drafts.into_iter().find(|draft| draft.name.as_str() == name);
        match draft.map(|draft| draft.view) {
            Some(View::Of(_, access)) => {
                let mappings = access.mappings.unwrap_or_default();
                let target = mappings.as_slice().first().map(|mapping| mapping.target.to_string());
                Ok((access.home.unwrap(), target))
            }
            _ => Err(shown(&findings).join("\n")),
        }
    };
    let is = |home: &str, target: Option<&str>| Ok((home.to_owned(), target.map(str::to_owned)));
    assert_eq!(view(&[], "alice"), is("/", None));
    assert_eq!(view(&["--root", "/users/%u"], "alice"), is("/", Some("/users/alice")));
    assert_eq!(view(&["--root", "%h"], "dave"), is("/", Some("/srv/dave")));
    assert_eq!(view(&["--home", "%h/"], "dave"), is("/srv/dave", None));
    assert_eq!(
        view(&["--home-base", "/home/", "--root", "/u%h", "--user", "alice"], "alice"),
        is("/", Some("/u/alice"))
    );
    assert_eq!(view(&["--root", "/"], "alice"), is("/", None));
    for (more, problem) in [
        (&["--home-base", "/home"][..], "does not lie in \"/home\""),
        (&["--home-base", "/sr"], "does not lie in \"/sr\""),
        (&["--root", "users/%u"], "begin with"),
        (&["--root", "/%d"], "a % is followed by"),
    ] {
        let error = view(more, "dave").unwrap_err();
        assert!(error.contains(problem) && error.contains("passwd:7: dave"), "{more:?}: {error}");
    }
    let (_, findings) = tree.read(&[]);
    assert!(shown(&findings).iter().any(|text| text.contains("--root")), "that all is seen is told");
}

#[test]
fn broken_lines_and_names_are_told_with_their_line() {
    let passwd = "alice:x:1000:1000:\r\nab:x:1000:1000::/home/ab:/bin/sh\r\n\u{feff}+::::::\n+@admins\nx:y\n\
                  sv$c:x:1005:1005::/:/bin/sh\nzed:x:many:1::/:/bin/sh\n";
    let tree = Tree::new(passwd);
    let keys = tree.path("home/alice/.ssh/authorized_keys");
    let (drafts, findings) = tree.read(&["--keys", &keys]);
    assert!(drafts.is_empty());
    let found = shown(&findings);
    for (place, said) in [
        ("passwd:1: ", "no line of a passwd file"),
        ("passwd:2: ab: ", "3 to 100"),
        ("passwd:4: ", "NIS"),
        ("passwd:5: ", "no line of a passwd file"),
        ("passwd:6: sv$c: ", "--exclude"),
        ("passwd:7: ", "no line of a passwd file"),
    ] {
        assert!(found.iter().any(|text| text.contains(place) && text.contains(said)), "{place}: {found:#?}");
    }
}

#[test]
fn only_files_are_read_for_keys() {
    let tree = Tree::new("alice:x:1000:1000::/home/alice:/bin/sh\nerin:x:1001:1001::/home/erin:/bin/sh\n");
    fs::create_dir_all(tree.path("home/erin/.ssh/authorized_keys")).unwrap();
    let (_, findings) = tree.read(&[]);
    let found = shown(&findings);
    assert!(found.iter().any(|text| text.contains("erin: it can't be read: it is no file")), "{found:?}");

    use std::os::unix::fs::PermissionsExt;
    let keys = tree.path("home/alice/.ssh/authorized_keys");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o666)).unwrap();
    let (drafts, findings) = tree.read(&["--user", "alice"]);
    assert_eq!(drafts.len(), 1);
    assert!(shown(&findings).iter().any(|text| text.contains("StrictModes")), "{:?}", shown(&findings));
}

#[test]
fn the_same_key_in_two_files_is_taken_once() {
    let tree = Tree::new("alice:x:1000:1000::/home/alice:/bin/sh\n");
    let again = tree.path("home/%u/.ssh/authorized_keys");
    let (drafts, findings) = tree.read(&["--keys", &again, "--keys", &tree.path("none/%u"), "--root", "/%u"]);
    assert_eq!(drafts[0].keys.len(), 1);
    assert!(shown(&findings)[0].contains("is there already"), "{:?}", shown(&findings));
}

proptest! {
    #[test]
    fn every_line_is_a_user_or_told(lines in proptest::collection::vec(
        prop_oneof![
            "[a-z]{3}:x:[0-9]{1,5}:[0-9]{1,5}:[^:\\r\\n]{0,9}:/[a-z]{0,5}:/bin/sh",
            "[a-z:0-9#+-]{1,20}",
            Just(String::new()),
        ],
        0..20,
    )) {
        let mut findings = Findings::default();
        let entries = parse(lines.join("\n").as_bytes(), "passwd", &mut findings);
        let told = findings.all().len();
        let said = lines.iter().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).count();
        prop_assert_eq!(entries.len() + told, said);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        parse(&bytes, "passwd", &mut Findings::default());
    }
}
