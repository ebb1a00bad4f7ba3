use proptest::prelude::*;
use tidegate_ssh::generate_client_key;

use super::*;

const NOW: u64 = 1_800_000_000;

fn line(comment: &str) -> String {
    generate_client_key(comment).unwrap().1
}

fn read_by(rules: &KeyRules, text: impl AsRef<[u8]>) -> (Vec<AuthorizedKey>, Vec<String>) {
    let mut findings = Findings::default();
    let keys = rules.read(text.as_ref(), "keys", "bob", &mut findings);
    (keys, findings.all().iter().map(ToString::to_string).collect())
}

fn read(text: impl AsRef<[u8]>) -> (Vec<AuthorizedKey>, Vec<String>) {
    read_by(&KeyRules::new(&[], false, NOW), text)
}

#[test]
fn a_file_with_marks_blanks_and_comments_is_read() {
    let (a, b, c) = (line("a # b"), line("b"), line(""));
    let text = format!("\u{feff}# keys of bob\r\n\r\n{a}\r\n  \t{b}\t\r\n   # more\n{c}");
    let (keys, found) = read(text);
    assert_eq!(found, [""; 0]);
    let comments: Vec<_> = keys.iter().map(|key| key.comment.as_str()).collect();
    assert_eq!(comments, ["a # b", "b", ""]);
    assert!(keys.iter().all(|key| key.added == NOW && key.expires.is_none()));
}

#[test]
fn restrictions_that_can_not_be_held_refuse_the_key_with_file_and_line() {
    let key = line("x");
    for (options, said) in [
        ("from=\"10.0.0.0/8\"", "\"from\""),
        ("no-pty,command=\"backup\"", "\"command\""),
        ("cert-authority", "\"cert-authority\""),
        ("Verify-Required", "\"verify-required\""),
        ("unheard-of", "\"unheard-of\""),
    ] {
        let (keys, found) = read(format!("# first\n{options} {key}\n"));
        assert_eq!(keys, [], "{options}");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("error: keys:2: bob: ") && found[0].contains(said), "{found:?}");
    }
    let (keys, found) = read(format!("restrict,no-pty,command=\"internal-sftp\" {key}"));
    assert_eq!((keys.len(), found.len()), (1, 0), "what Tidegate never grants needs no word");
}

#[test]
fn what_is_ignored_is_named_and_told_and_nothing_else_is_ignored() {
    let rules = KeyRules::new(&["From".to_owned(), "cert-authority".to_owned()], false, NOW);
    let key = line("x");
    let (keys, found) = read_by(&rules, format!("from=\"10.0.0.0/8\" {key}"));
    assert_eq!(keys.len(), 1);
    assert!(found[0].starts_with("warning: keys:1: bob: \"from\" of the key SHA256:"), "{found:?}");
    let (keys, found) = read_by(&rules, format!("from=\"10.0.0.0/8\",command=\"x\" {key}"));
    assert!(keys.is_empty() && found.iter().any(|text| text.contains("error") && text.contains("\"command\"")));
    // The key of an authority never becomes a key to log in with.
    let (keys, found) = read_by(&rules, format!("cert-authority {key}"));
    assert!(keys.is_empty() && found[0].starts_with("error"), "{found:?}");
}

#[test]
fn keys_that_can_not_be_taken_are_left_out_when_asked_and_told() {
    let rules = KeyRules::new(&[], true, NOW);
    let text = format!("ssh-dss AAAAB3NzaC1kc3MAAACB old\n{}\nfrom=\"::1\" {}\nbroken\n", line("good"), line("from"));
    let (keys, found) = read_by(&rules, text);
    assert_eq!(keys.len(), 1);
    assert_eq!(found.len(), 3);
    for (text, place) in found.iter().zip(["keys:1", "keys:3", "keys:4"]) {
        assert!(text.starts_with(&format!("warning: {place}: bob: ")) && text.ends_with("left out"), "{text}");
    }
}

#[test]
fn keys_end_when_they_did() {
    let (soon, late, gone) = (line("soon"), line("late"), line("gone"));
    let text = format!(
        "expiry-time=\"20270201Z\" {soon}\nexpiry-time=\"20280101\",expiry-time=\"20290101\" {late}\n\
         expiry-time=\"20200101Z\" {gone}\n"
    );
    let (keys, found) = read(text);
    let ends: Vec<_> = keys.iter().map(|key| key.expires.map(rfc3339).unwrap()).collect();
    assert_eq!(ends, ["2027-02-01T00:00:00Z", "2028-01-01T00:00:00Z"], "the earlier of two ends");
    assert!(found.iter().any(|text| text.contains("keys:2") && text.contains("read as UTC")), "{found:?}");
    assert!(found.iter().any(|text| text.contains("keys:3") && text.contains("has expired")), "{found:?}");
}

#[test]
fn a_key_that_comes_twice_is_taken_once_with_what_one_of_the_lines_allows() {
    let key = line("x");
    let (keys, found) = read(format!("expiry-time=\"20270201Z\" {key}\n{key}\n"));
    assert_eq!((keys.len(), keys[0].expires), (1, None));
    assert!(found[0].contains("keys:2") && found[0].contains("is there already"), "{found:?}");
}

#[test]
fn keys_on_devices_are_counted() {
    let sk = "sk-ssh-ed25519@openssh.com \
              AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9eUO2170QduohPURkQnbLa/dczAAAABHNzaDo= fido";
    let (keys, found) = read(sk);
    assert_eq!(keys.len(), 1, "{found:?}");
    assert!(found[0].starts_with("warning: keys of the kinds sk-"), "{found:?}");
}

#[test]
fn other_files_are_told_once_and_never_quoted() {
    let (private, _) = generate_client_key("").unwrap();
    let (_, found) = read(private.as_bytes());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("private key"), "{found:?}");
    let (_, found) = read("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n");
    assert!(found.len() == 1 && found[0].contains("RFC 4716"), "{found:?}");
    // Whose link this may be: the reader is root.
    let (_, found) = read("root:$6$secret$hash:19000:0:99999:7:::\n");
    assert!(found.len() == 1 && !found[0].contains("secret"), "{found:?}");
}

#[test]
fn comments_are_no_reason_to_refuse() {
    let key = line("");
    let key = key.trim_end();
    let long = format!("{key} {}\u{fc}\n{key}", "x".repeat(600));
    let (keys, _) = read(long);
    assert_eq!(keys[0].comment.len(), 512);
    let (keys, found) = read([key.as_bytes(), b" caf\xe9\ttab\x07"].concat());
    assert_eq!(found, [""; 0]);
    assert_eq!(keys[0].comment, "caf\u{fffd} tab");
}

proptest! {
    #[test]
    fn no_text_panics_and_nothing_is_dropped_in_silence(
        lines in proptest::collection::vec(
            prop_oneof![
                Just(String::new()),
                Just("# x".to_owned()),
                Just("ssh-dss AAAA".to_owned()),
                "[a-z\",= #\\\\-]{0,30}",
                Just("from=\"x\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti".to_owned()),
                Just("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti".to_owned()),
            ],
            0..12,
        ),
    ) {
        let (keys, found) = read(lines.join("\n"));
        let said = lines.iter().filter(|line| !matches!(line.trim().chars().next(), None | Some('#'))).count();
        prop_assert_eq!(keys.len() + found.len(), said, "{:?}: {:?}", lines, found);
    }
}
