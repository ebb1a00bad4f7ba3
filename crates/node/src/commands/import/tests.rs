//! Whole runs on the directory in memory.

use std::fs;

use clap::Parser;
use serde_json::Value;
use tidegate_ssh::generate_client_key;
use tidegate_store::memory::MemoryDirectory;
use tidegate_store::{KeyPrefix, TenantLimits, User};

use super::*;
use crate::cli::{Cli, Command, Output};
use crate::commands::Failure;

/// What becomes of a key, and the key: `taken`, or a part of the reason why not. Made by OpenSSH 9.2, but for the
/// `sk-` ones, which are of the same numbers as those of no device.
const KEY_TYPES: &str = include_str!("key_types.tsv");

/// Two tenants, and a folder with alice's and bob's keys as files named after them.
struct World {
    directory: MemoryDirectory,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = MemoryDirectory::new().with_page_max(1);
        for name in ["acme", "rival"] {
            let prefix: KeyPrefix = format!("{name}/").parse().unwrap();
            let tenant = tenants::new(&name.parse().unwrap(), "files", &prefix, TenantLimits::default());
            directory.create_tenant(&tenant).await.unwrap();
        }
        let world = Self { directory, folder: tempfile::tempdir().unwrap() };
        world.write("passwd", "alice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n");
        for name in ["alice", "bob"] {
            world.write(name, &generate_client_key(name).unwrap().1);
        }
        world
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs `tidegate import ARGUMENTS…`: what it printed, and the error.
    async fn run(&self, arguments: &[&str]) -> (String, Option<String>) {
        let cli = Cli::try_parse_from(["tidegate", "import"].iter().chain(arguments));
        let Command::Import(args) = cli.unwrap_or_else(|error| panic!("{error}")).command else { panic!("not import") };
        let sources = read(&args.source, &mut std::io::empty());
        let mut out = Vec::new();
        let printer = &mut Printer::new(args.admin.output, &mut out);
        let result = run(&self.directory, &args.source, sources, &|_, _| (), printer).await;
        (String::from_utf8(out).unwrap(), result.err().map(|error| Failure(&error).to_string()))
    }

    /// Imports the passwd file into acme.
    async fn passwd(&self, more: &[&str]) -> (String, Option<String>) {
        let (passwd, keys) = (self.path("passwd"), self.path("%u"));
        let line = ["passwd", "--passwd", &passwd, "--keys", &keys, "--tenant", "acme", "--root", "/home/%u"];
        self.run(&[&line[..], more].concat()).await
    }

    async fn user(&self, name: &str) -> Option<User> {
        self.directory.user(&name.parse().unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn a_plan_is_printed_and_then_done_and_doing_it_again_changes_nothing() {
    let world = World::new().await;
    let (plan, error) = world.passwd(&["--dry-run"]).await;
    assert_eq!(error, None);
    assert!(plan.contains("add        alice  tenant acme  keys 1  home /  / shows /home/alice"), "{plan}");
    assert!(plan.contains("to be added: 2 users; given more keys: 0; there already: 0; left out: 0"), "{plan}");
    assert_eq!(world.user("alice").await, None, "a dry run writes nothing");

    let (said, error) = world.passwd(&[]).await;
    assert_eq!(error, None);
    assert!(said.contains("2 written of those added: 2 users"), "{said}");
    let alice = world.user("alice").await.unwrap();
    assert_eq!((alice.keys.len(), alice.keys[0].comment.as_str()), (1, "alice"));

    let (json, error) = world.passwd(&["--output", "json"]).await;
    assert_eq!(error, None);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["summary"]["keep"], &report["summary"]["add"]), (&Value::from(2), &Value::from(0)));
    assert_eq!(world.user("alice").await.unwrap(), alice);
}

#[tokio::test]
async fn one_error_keeps_everything_from_being_written() {
    let world = World::new().await;
    world.write("bob", &format!("from=\"::1\" {}", generate_client_key("").unwrap().1));
    let (said, error) = world.passwd(&[]).await;
    assert_eq!(error.as_deref(), Some("nothing is written; errors (see above): 1"));
    assert!(said.contains("/bob:1: bob: ") && said.contains("--ignore-options"), "{said}");
    assert_eq!(world.user("alice").await, None);
    let (_, error) = world.passwd(&["--ignore-options", "from"]).await;
    assert_eq!(error, None);
    assert!(world.user("bob").await.is_some());
}

#[tokio::test]
async fn keys_of_every_type_are_taken_as_they_are_or_refused_with_the_reason() {
    for (fate, key) in KEY_TYPES.lines().map(|line| line.split_once('\t').unwrap()) {
        let world = World::new().await;
        world.write("bob", &format!("{key} of bob\n"));
        let (said, error) = world.passwd(&[]).await;
        if fate == "taken" {
            assert_eq!(error, None, "{key}: {said}");
            let bob = world.user("bob").await.unwrap();
            let keys: Vec<_> = bob.keys.iter().map(|key| (key.key.as_str(), key.comment.as_str())).collect();
            assert_eq!(keys, [(key, "of bob")]);
        } else {
            assert_eq!(error.as_deref(), Some("nothing is written; errors (see above): 1"), "{key}: {said}");
            assert!(said.contains("/bob:1: bob: ") && said.contains(fate), "{key}: {said}");
            assert_eq!(world.user("alice").await, None, "{key}");
        }
    }
}

#[tokio::test]
async fn users_who_exist_get_their_keys_only_when_asked_and_never_another_access() {
    let world = World::new().await;
    world.passwd(&[]).await;
    let (first, second) = (fs::read_to_string(world.path("bob")).unwrap(), generate_client_key("new").unwrap().1);
    world.write("bob", &format!("{first}\n{second}"));
    let (said, error) = world.passwd(&[]).await;
    assert!(error.is_some() && said.contains("bob: the user exists already, without 1 of these keys"), "{said}");
    let (said, error) = world.passwd(&["--update"]).await;
    assert!(error.is_none() && said.contains("given more keys: 1; there already: 1"), "{said}");
    assert_eq!(world.user("bob").await.unwrap().keys.len(), 2);
    // Keys that the source no longer has stay: an import adds.
    world.write("bob", &second);
    let (said, error) = world.passwd(&[]).await;
    assert!(error.is_none() && said.contains("there already: 2"), "{said}");

    for (more, difference) in [
        (&["--home", "/in"][..], "another home"),
        (&["--permissions", "read"], "other permissions"),
        (&["--root", "/elsewhere/%u"], "other mappings"),
        (&["--tenant", "rival"], "another tenant"),
    ] {
        let (passwd, keys) = (world.path("passwd"), world.path("%u"));
        let mut line = vec!["passwd", "--passwd", &passwd, "--keys", &keys, "--update"];
        for usual in [["--tenant", "acme"], ["--root", "/home/%u"]] {
            line.extend(if more.contains(&usual[0]) { [].as_slice() } else { usual.as_slice() });
        }
        line.extend(more);
        let (said, error) = world.run(&line).await;
        assert!(error.is_some() && said.matches(difference).count() == 2, "{more:?}: {said}");
    }
    let expired = format!("expiry-time=\"20990101Z\" {second}");
    world.write("bob", &expired);
    let (said, _) = world.passwd(&["--update"]).await;
    assert!(said.contains("with another end"), "{said}");
}

#[tokio::test]
async fn what_no_two_users_may_have_alike_is_found() {
    let world = World::new().await;
    world.write("passwd", "alice:x:1000:1::/h:/bin/sh\nbob:x:1001:1::/h:/bin/sh\nalice:x:1002:1::/h:/bin/sh\n");
    world.write("bob", &fs::read_to_string(world.path("alice")).unwrap());
    let (said, error) = world.passwd(&[]).await;
    assert_eq!(error.as_deref(), Some("nothing is written; errors (see above): 2"), "{said}");
    assert!(said.contains("passwd:3: alice: the user comes twice, the first time at"), "{said}");
    assert!(said.contains("passwd:2: bob: the key SHA256:") && said.contains("is alice's, too"), "{said}");
    world.write("passwd", "alice:x:1000:1::/h:/bin/sh\nbob:x:1001:1::/h:/bin/sh\n");
    let (_, error) = world.passwd(&["--allow-shared-keys"]).await;
    assert_eq!(error, None);
    let (many, one) = (generate_client_key("x").unwrap().1, "carol:x:1000:1::/h:/bin/sh\n");
    let many: String =
        (0..=User::MAX_KEYS).map(|_| generate_client_key("").unwrap().1 + "\n").collect::<String>() + &many;
    world.write("passwd", one);
    world.write("carol", &many);
    let (said, _) = world.passwd(&[]).await;
    assert!(said.contains("more than 50 keys"), "{said}");
}

#[tokio::test]
async fn users_of_transfer_family_find_their_tenants() {
    let world = World::new().await;
    let user = |name: &str, target: &str| {
        let key = generate_client_key(name).unwrap().1;
        serde_json::json!({ "ServerId": "s-1", "User": {
            "UserName": name, "HomeDirectoryType": "LOGICAL",
            "HomeDirectoryMappings": [{ "Entry": "/", "Target": target }],
            "SshPublicKeys": [{ "SshPublicKeyBody": key, "SshPublicKeyId": "key-1" }],
        }})
        .to_string()
    };
    world.write("a", &user("alice", "/files/acme/${transfer:UserName}"));
    world.write("b", &user("bob", "/files/rival"));
    world.write("c", &user("carol", "/other/x"));
    let (a, b, c) = (world.path("a"), world.path("b"), world.path("c"));
    let (said, error) = world.run(&["transfer-family", &a, &b, &c]).await;
    assert!(error.is_some() && said.contains("/c:1: carol: \"/other/x\" lies in no tenant"), "{said}");
    let (said, error) = world.run(&["transfer-family", &a, &b, "--tenant", "acme"]).await;
    assert!(error.is_some() && said.contains("bob: the user's files are those of the tenant rival"), "{said}");
    let (said, error) = world.run(&["transfer-family", &a, &b, "--permissions", "list,read"]).await;
    assert_eq!(error, None, "{said}");
    let (alice, bob) = (world.user("alice").await.unwrap(), world.user("bob").await.unwrap());
    assert_eq!((alice.tenant.as_str(), bob.tenant.as_str()), ("acme", "rival"));
    assert_eq!(alice.mappings.as_slice()[0].target.as_str(), "/alice");
    assert_eq!((alice.permissions.len(), bob.mappings.as_slice()[0].target.as_str()), (2, "/"));
}

#[tokio::test]
async fn a_tenant_that_is_missing_is_named() {
    let world = World::new().await;
    let (passwd, keys) = (world.path("passwd"), world.path("%u"));
    let (_, error) = world.run(&["passwd", "--passwd", &passwd, "--keys", &keys, "--tenant", "none"]).await;
    assert_eq!(error.as_deref(), Some("there is no tenant \"none\"; see: tidegate tenant list"));
}

#[test]
fn output_is_text_unless_asked_otherwise() {
    let line = ["tidegate", "import", "transfer-family", "x", "--output", "json"];
    let Command::Import(args) = Cli::try_parse_from(line).unwrap().command else { panic!("not import") };
    assert_eq!(args.admin.output, Output::Json);
}
