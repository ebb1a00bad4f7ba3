use clap::Parser;
use proptest::prelude::*;
use tidegate_ssh::generate_client_key;

use super::*;
use crate::cli::{Cli, Command};
use crate::import::ImportSource;

fn parse(more: &[&str]) -> TransferArgs {
    let cli = Cli::try_parse_from(["tidegate", "import", "transfer-family"].iter().chain(more));
    let Command::Import(import) = cli.unwrap_or_else(|error| panic!("{error}")).command else { panic!("not import") };
    let ImportSource::TransferFamily(args) = import.source else { panic!("not transfer-family") };
    args
}

/// Reads a text from the standard input.
fn read_with(more: &[&str], text: &[u8]) -> (Vec<Draft>, Vec<String>) {
    let args = parse(&[more, &["-"]].concat());
    let mut findings = Findings::default();
    let rules = KeyRules::new(&[], false, 1);
    let drafts = read(&args, &rules, &mut Files::new(&mut &*text), &mut findings);
    (drafts, findings.all().iter().map(ToString::to_string).collect())
}

fn read_text(text: &str) -> (Vec<Draft>, Vec<String>) {
    read_with(&[], text.as_bytes())
}

/// As the AWS command line prints it, with a key of the user's.
fn described(name: &str, about: &str) -> String {
    let (_, key) = generate_client_key("laptop").unwrap();
    format!(
        r#"{{
    "ServerId": "s-01234567890abcdef",
    "User": {{
        "Arn": "arn:aws:transfer:us-east-1:176354371281:user/s-01234567890abcdef/{name}",
        {about},
        "SshPublicKeys": [
            {{
                "DateImported": "2026-01-27T18:29:46.220000-05:00",
                "SshPublicKeyBody": "{}",
                "SshPublicKeyId": "key-1234567890abcdef0"
            }}
        ],
        "Tags": [ {{ "Key": "Name", "Value": "x" }} ],
        "UserName": "{name}"
    }}
}}
"#,
        key.trim_end()
    )
}

const PATH_HOME: &str = r#""HomeDirectory": "/files/acme/home/", "HomeDirectoryType": "PATH",
        "Role": "arn:aws:iam::176354371281:role/transfer""#;
const LOGICAL: &str = r#""HomeDirectoryType": "LOGICAL", "HomeDirectoryMappings": [
            { "Entry": "/", "Target": "/files/acme/${transfer:UserName}" },
            { "Entry": "/shared/", "Target": "/files/acme/shared/", "Type": "DIRECTORY" } ]"#;

fn located(draft: &Draft) -> (&str, Vec<(&str, &str)>) {
    let View::Located { home, targets } = &draft.view else { panic!("{:?}", draft.view) };
    (home, targets.iter().map(|(entry, target)| (entry.as_str(), target.as_str())).collect())
}

#[test]
fn users_of_both_kinds_are_read() {
    let text = format!("\u{feff}{}{}", described("alice", PATH_HOME), described("bob", LOGICAL));
    let (drafts, found) = read_text(&text);
    assert_eq!(drafts.len(), 2, "{found:?}");
    assert_eq!(located(&drafts[0]), ("/files/acme/home", vec![("/files/acme/home", "/files/acme/home")]));
    assert_eq!(located(&drafts[1]), ("/", vec![("/", "/files/acme/bob"), ("/shared", "/files/acme/shared")]));
    assert!(drafts.iter().all(|draft| draft.keys.len() == 1 && draft.keys[0].comment == "laptop"));
    assert!(found.len() == 1 && found[0].starts_with("warning: users had a role"), "{found:?}");
    assert_eq!(drafts[1].place.to_string(), format!("standard input:{}", text.lines().count() / 2 + 1));

    let (drafts, _) = read_with(&["--home-as-root"], text.as_bytes());
    assert_eq!(located(&drafts[0]), ("/", vec![("/", "/files/acme/home")]));
}

#[test]
fn lists_arrays_and_bare_users_are_read() {
    let one = described("alice", LOGICAL);
    let user = serde_json::from_str::<Value>(&one).unwrap()["User"].take();
    let list = r#"{"ServerId": "s-1", "Users": [{"Arn": "a", "HomeDirectoryType": "LOGICAL", "Role": "r",
                  "SshPublicKeyCount": 1, "UserName": "alice"}]}"#;
    for text in [format!("[{one}, {list}]"), format!("{list}\n{user}"), format!(r#"{{"Users": [{user}]}}"#)] {
        let (drafts, found) = read_text(&text);
        assert_eq!((drafts.len(), found.len()), (1, 0), "{text}: {found:?}");
    }
    let more = list.replace("\"SshPublicKeyCount\": 1", "\"SshPublicKeyCount\": 2");
    let (_, found) = read_text(&format!("{one}{more}"));
    assert!(found[0].starts_with("error: ") && found[0].contains("2 keys, and 1"), "{found:?}");
    let (_, found) = read_text(list);
    assert!(found[0].contains("alice") && found[0].contains("no file describes"), "{found:?}");
    let (_, found) = read_text(&list.replace("\"ServerId\": \"s-1\"", "\"NextToken\": \"t\""));
    assert!(found.iter().any(|text| text.contains("NextToken")), "{found:?}");
}

#[test]
fn restrictions_that_can_not_be_held_are_told() {
    let with_policy = format!(r#"{LOGICAL}, "Policy": "{{\"Version\": \"2012-10-17\"}}""#);
    let text = described("alice", &with_policy);
    let (_, found) = read_text(&text);
    assert!(found[0].starts_with("error: standard input:1: alice: ") && found[0].contains("Policy"), "{found:?}");
    let (drafts, found) = read_with(&["--ignore-policies"], text.as_bytes());
    assert_eq!(drafts.len(), 1);
    assert!(found[0].starts_with("warning: users had a session policy"), "{found:?}");
}

#[test]
fn what_tidegate_does_not_have_is_refused_with_the_reason() {
    for (about, reason) in [
        (r#""HomeDirectoryType": "PATH""#, "its type PATH"),
        (r#""HomeDirectory": "/", "HomeDirectoryType": "PATH""#, "its type PATH"),
        (r#""HomeDirectoryType": "LOGICAL""#, "no HomeDirectoryMappings"),
        (r#""HomeDirectoryType": "OTHER""#, "is not known"),
        (r#""HomeDirectory": "/fs-1/x", "PosixProfile": {"Uid": 1, "Gid": 1}"#, "EFS"),
        (
            r#""HomeDirectoryType": "LOGICAL", "HomeDirectoryMappings": [{"Entry": "/f", "Target": "/b/f", "Type": "FILE"}]"#,
            "no DIRECTORY",
        ),
        (
            r#""HomeDirectoryType": "LOGICAL", "HomeDirectoryMappings": [{"Entry": "/${x}", "Target": "/b"}]"#,
            "only ${transfer:UserName} is known",
        ),
        (r#""HomeDirectoryType": "LOGICAL", "HomeDirectoryMappings": [{"Entry": "/"}]"#, "no DescribedUser"),
    ] {
        let (drafts, found) = read_text(&described("alice", about));
        assert!(drafts.is_empty());
        assert!(
            found[0].starts_with("error: standard input:1: alice: ") && found[0].contains(reason),
            "{about}: {found:?}"
        );
    }
    let (_, found) = read_text(&described("al", LOGICAL));
    assert!(found[0].contains("3 to 100"), "{found:?}");
    let key_with_options = described("alice", LOGICAL).replace("ssh-ed25519", r#"from=\"::1\" ssh-ed25519"#);
    let (_, found) = read_text(&key_with_options);
    assert!(found[0].contains("key 1") && found[0].contains("\"from\""), "{found:?}");
}

#[test]
fn homes_and_keys_that_are_odd_are_told() {
    let (drafts, found) = read_text(&described(
        "alice",
        &format!(r#""HomeDirectory": "/no/where", {LOGICAL}"#).replace(r#""Entry": "/","#, r#""Entry": "/own","#),
    ));
    assert_eq!(located(&drafts[0]).0, "/");
    assert!(found[0].contains("none of the mappings"), "{found:?}");
    let (drafts, found) = read_text(r#"{"UserName": "alice", "HomeDirectory": "/files/a", "SshPublicKeys": []}"#);
    assert_eq!(drafts.len(), 1);
    assert!(found[0].contains("has no key"), "{found:?}");
}

#[test]
fn broken_files_are_told_with_their_line() {
    for (text, place) in [
        ("{\n \"User\": {\n", "standard input:3"),
        ("ServerId: s-1\nUser:\n", "standard input:1"),
        ("{\"UserName\": \"alice\"}\n\n[1]\n", "standard input:3"),
        ("\n\n\"text\"", "standard input:3"),
        ("{\"Server\": {}}", "standard input:1"),
        ("{\"Users\": 1}", "standard input:1"),
    ] {
        let (_, found) = read_text(text);
        assert!(found.iter().any(|text| text.starts_with(&format!("error: {place}: "))), "{text}: {found:?}");
    }
    let args = parse(&["/nonexistent/users.json"]);
    let mut findings = Findings::default();
    let rules = KeyRules::new(&[], false, 1);
    read(&args, &rules, &mut Files::new(&mut std::io::empty()), &mut findings);
    assert!(findings.all()[0].to_string().contains("users.json: it can't be read"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "[\\{\\}\\[\\]\":, \\nA-Za-z/$0-9]{0,80}") {
        read_text(&text);
    }

    #[test]
    fn no_user_panics_and_each_is_drafted_or_told(
        home in proptest::option::of("/?[a-z/$\\{\\}:]{0,12}"),
        kind in proptest::option::of(prop_oneof![Just("PATH"), Just("LOGICAL"), Just("X")]),
        entries in proptest::collection::vec(("/?[a-z/]{0,6}", "/?[a-z/$\\{\\}]{0,8}"), 0..4),
    ) {
        let entries: Vec<_> =
            entries.iter().map(|(entry, target)| serde_json::json!({ "Entry": entry, "Target": target })).collect();
        let user = serde_json::json!({
            "UserName": "alice", "HomeDirectory": home, "HomeDirectoryType": kind, "HomeDirectoryMappings": entries,
        });
        let (drafts, found) = read_text(&user.to_string());
        prop_assert_eq!(drafts.is_empty(), found.iter().any(|text| text.starts_with("error: ")));
    }
}
