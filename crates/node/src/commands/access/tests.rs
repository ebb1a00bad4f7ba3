//! `user set` on the directory in memory, and what is refused before.

use serde_json::{Value, json};
use tidegate_store::memory::MemoryDirectory;
use tidegate_store::{Permission, Permissions, Status, Tenant, TenantLimits};

use super::*;
use crate::cli::Output;
use crate::commands::Failure;

fn bob() -> UserName {
    "bob".parse().unwrap()
}

fn args(rules: &[&str], mappings: Option<&str>) -> AccessArgs {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    AccessArgs { rules, mappings: mappings.map(str::to_owned), ..AccessArgs::default() }
}

fn read(args: &AccessArgs, stdin: &str) -> Result<UserChange, String> {
    super::read(args, &bob(), &mut stdin.as_bytes()).map_err(|error| Failure(&error).to_string())
}

fn mapped(stdin: &str) -> Result<Vec<(String, String, bool)>, String> {
    let mappings = read(&args(&[], Some("-")), stdin)?.mappings.unwrap();
    let shown = |mapping: &Mapping| (mapping.entry.to_string(), mapping.target.to_string(), mapping.read_only);
    Ok(mappings.as_slice().iter().map(shown).collect())
}

/// The tenant acme with its user bob, who may do all.
async fn with_bob() -> MemoryDirectory {
    let directory = MemoryDirectory::new();
    let tenant = Tenant {
        name: "acme".parse().unwrap(),
        status: Status::Active,
        bucket: "files".to_owned(),
        prefix: "acme/".parse().unwrap(),
        limits: TenantLimits::default(),
        created: 1,
    };
    directory.create_tenant(&tenant).await.unwrap();
    let user = users::new(&bob(), &tenant.name, &UserChange::default(), Vec::new()).unwrap();
    directory.create_user(&user).await.unwrap();
    directory
}

async fn set(directory: &MemoryDirectory, change: &UserChange, output: Output) -> Result<String, String> {
    let mut out = Vec::new();
    super::set(directory, &bob(), change, &mut Printer::new(output, &mut out))
        .await
        .map_err(|error| Failure(&error).to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn mappings_are_read_as_aws_transfer_family_writes_them() {
    let json = r#"[
        {"Entry": "/", "Target": "/home/${transfer:UserName}"},
        {"Entry": "/shared/", "Target": "/shared", "Type": "DIRECTORY", "ReadOnly": true}
    ]"#;
    let expected =
        [("/".to_owned(), "/home/bob".to_owned(), false), ("/shared".to_owned(), "/shared".to_owned(), true)];
    assert_eq!(mapped(json).unwrap(), expected);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mappings.json");
    std::fs::write(&file, json).unwrap();
    let change = read(&args(&[], file.to_str()), "").unwrap();
    assert_eq!(change.mappings.unwrap().as_slice().len(), 2);
    assert_eq!(read(&args(&[], Some("none")), "").unwrap().mappings, Some(Mappings::default()));
}

#[test]
fn mappings_that_can_not_be_are_refused_with_the_reason() {
    for (json, reason) in [
        ("", "no JSON list"),
        ("[]", "\"none\""),
        (r#"{"Entry": "/", "Target": "/a"}"#, "no JSON list"),
        (r#"[{"Entry": "/"}]"#, "missing field `Target`"),
        (r#"[{"Entry": "/", "Target": "/a", "Readonly": true}]"#, "unknown field `Readonly`"),
        (r#"[{"Entry": "/f", "Target": "/a", "Type": "FILE"}]"#, "only directories"),
        (r#"[{"Entry": "a", "Target": "/a"}]"#, "begin with"),
        (r#"[{"Entry": "/a", "Target": "/../b"}]"#, "\"..\""),
        (r#"[{"Entry": "/a", "Target": "/${transfer:HomeFolder}"}]"#, "only ${transfer:UserName}"),
        (r#"[{"Entry": "/${transfer:UserName}", "Target": "/a"}]"#, "only ${transfer:UserName}"),
        (r#"[{"Entry": "/a", "Target": "/x"}, {"Entry": "/a/", "Target": "/y"}]"#, "given twice"),
        (r#"[{"Entry": "/a", "Target": "/bob"}, {"Entry": "/b", "Target": "/${transfer:UserName}"}]"#, "same files"),
    ] {
        let message = mapped(json).unwrap_err();
        assert!(message.contains("standard input") && message.contains(reason), "{json}: {message}");
    }
    let message = read(&args(&[], Some("/nowhere/mappings.json")), "").unwrap_err();
    assert!(message.contains("/nowhere/mappings.json"), "{message}");
}

#[test]
fn rules_replace_those_that_were_there_and_the_root_has_none() {
    let change = read(&args(&["/in=list,write", "/=list"], None), "").unwrap();
    assert_eq!(change.permissions, Some(Permissions::from([Permission::List])));
    assert_eq!(change.rules.unwrap().as_slice().len(), 1);
    assert_eq!(read(&args(&["/=list"], None), "").unwrap().rules, None, "the others stay");
    assert_eq!(read(&args(&["none"], None), "").unwrap().rules, Some(PermissionRules::default()));
    assert_eq!(read(&args(&[], None), "").unwrap(), UserChange::default());
    for twice in [&["/in=list", "/in/=read"][..], &["/=list", "/=read"]] {
        let message = read(&args(twice, None), "").unwrap_err();
        assert!(message.contains("given twice"), "{message}");
    }
    let both = AccessArgs { permissions: Some("all".parse().unwrap()), ..args(&["/=list"], None) };
    assert!(read(&both, "").unwrap_err().contains("given twice"));
}

#[test]
fn homes_are_absolute_paths_and_a_new_user_may_do_all() {
    let new = |home: Option<&str>| {
        let access = read(&AccessArgs { home: home.map(str::to_owned), ..AccessArgs::default() }, "")?;
        users::new(&bob(), &"acme".parse().unwrap(), &access, Vec::new()).map_err(|error| error.to_string())
    };
    let user = new(None).unwrap();
    assert_eq!((user.home.as_str(), user.permissions.len()), ("/", Permission::ALL.len()));
    assert_eq!(new(Some("/a/../b/")).unwrap().home, "/b");
    for bad in ["incoming", ""] {
        assert!(new(Some(bad)).unwrap_err().contains("absolute path"), "{bad}");
    }
}

#[tokio::test]
async fn what_was_set_is_shown_and_can_be_given_again() {
    let directory = with_bob().await;
    let json = r#"[{"Entry": "/", "Target": "/home"}, {"Entry": "/pub", "Target": "/pub", "ReadOnly": true}]"#;
    let change = read(&args(&["/in=list,write", "/in/done=none"], Some("-")), json).unwrap();
    let text = set(&directory, &change, Output::Text).await.unwrap();
    for line in [
        "permissions:  all",
        "permission:   /in=list,write",
        "permission:   /in/done=none",
        "mapping:      / shows /home",
        "mapping:      /pub shows /pub (read-only)",
        "max sessions: no limit",
        "list uploads: false",
        "accounts.ttl",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let shown = set(&directory, &UserChange::default(), Output::Json).await.unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["rules"][0], json!({ "path": "/in", "permissions": ["list", "write"] }));
    assert_eq!(shown["mappings"], serde_json::from_str::<Value>(json).unwrap());
    let none = read(&args(&["none"], Some("none")), "").unwrap();
    let shown: Value = serde_json::from_str(&set(&directory, &none, Output::Json).await.unwrap()).unwrap();
    assert_eq!((&shown["rules"], &shown["mappings"]), (&json!([]), &json!([])));
    for (given, expected) in [("3", json!(3)), ("none", Value::Null)] {
        let args = AccessArgs { max_sessions: Some(given.parse().unwrap()), ..AccessArgs::default() };
        let shown = set(&directory, &read(&args, "").unwrap(), Output::Json).await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["max_sessions"], expected, "{given}");
    }
    for given in [true, false] {
        let args = AccessArgs { list_uploads: Some(given), ..AccessArgs::default() };
        let shown = set(&directory, &read(&args, "").unwrap(), Output::Json).await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["lists_uploads"], given);
    }
}

#[tokio::test]
async fn a_home_that_is_not_seen_is_refused_before_anything_changes() {
    let directory = with_bob().await;
    let home = |home: &str| AccessArgs { home: Some(home.to_owned()), ..AccessArgs::default() };
    set(&directory, &read(&home("/start/here"), "").unwrap(), Output::Text).await.unwrap();
    let mappings = r#"[{"Entry": "/a/b", "Target": "/x"}]"#;
    let message = set(&directory, &read(&args(&[], Some("-")), mappings).unwrap(), Output::Text).await.unwrap_err();
    assert!(message.contains("/start/here") && message.contains("--home"), "{message}");
    assert_eq!(directory.user(&bob()).await.unwrap().unwrap().mappings, Mappings::default());
    for seen in ["/", "/a", "/a/b/c"] {
        let args = AccessArgs { mappings: Some("-".to_owned()), ..home(seen) };
        set(&directory, &read(&args, mappings).unwrap(), Output::Text).await.unwrap();
    }
    assert!(set(&directory, &read(&home("/x"), "").unwrap(), Output::Text).await.is_err());
}

#[tokio::test]
async fn a_target_that_begins_with_the_bucket_is_pointed_out() {
    let directory = with_bob().await;
    let change = read(&args(&[], Some("-")), r#"[{"Entry": "/", "Target": "/files/acme"}]"#).unwrap();
    let text = set(&directory, &change, Output::Text).await.unwrap();
    assert!(text.contains("begins with the bucket's name"), "{text}");
}

#[tokio::test]
async fn a_missing_user_is_named() {
    let message = set(&MemoryDirectory::new(), &UserChange::default(), Output::Text).await.unwrap_err();
    assert_eq!(message, "there is no user \"bob\"; see: tidegate user list");
}
