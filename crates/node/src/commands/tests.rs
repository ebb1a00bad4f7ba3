//! The administrative commands on the directory in memory.

use serde_json::Value;
use tidegate_ssh::generate_client_key;
use tidegate_store::memory::{MemoryDirectory, MemoryObjectStores, MemoryUsage};
use tidegate_store::{
    AuthorizedKey, Directory, KeyPrefix, LimitChange, ObjectStores, Recount, StoreError, StoreErrorKind, TenantLimits,
    TenantLimitsChange, TenantName, UsageDelta, UsageStore, User, UserChange, UserName,
};

use super::print::Printer;
use super::{CommandError, Failure, host_keys, keys, quotas, tenants, users};
use crate::cli::{KeyArgs, Output};
use crate::expiry::{Expiry, now};

/// Runs one command with a printer of this kind and gives what it printed.
macro_rules! printed {
    ($output:expr, |$printer:ident| $command:expr) => {{
        let mut out = Vec::new();
        let $printer = &mut Printer::new($output, &mut out);
        $command.await.map(|()| String::from_utf8(out).unwrap())
    }};
}

fn tenant_name(name: &str) -> TenantName {
    name.parse().unwrap()
}

fn user_name(name: &str) -> UserName {
    name.parse().unwrap()
}

async fn add_tenant(directory: &MemoryDirectory, name: &str, bucket: &str, prefix: &str) -> Result<String, String> {
    let prefix: KeyPrefix = prefix.parse().unwrap();
    let tenant = tenants::new(&tenant_name(name), bucket, &prefix, TenantLimits::default());
    let host_keys = host_keys_in("main");
    printed!(Output::Text, |printer| tenants::add(directory, &tenant, &host_keys, printer)).map_err(told)
}

/// At the usual key in this bucket.
fn host_keys_in(bucket: &str) -> crate::host_keys::Config {
    crate::host_keys::Config { bucket: Some(bucket.to_owned()), ..Default::default() }
}

fn told(error: CommandError) -> String {
    Failure(&error).to_string()
}

/// A fresh key as a line and as the directory keeps it.
fn key(comment: &str) -> (String, AuthorizedKey) {
    let (_, line) = generate_client_key(comment).unwrap();
    let args = KeyArgs { sources: vec![line.clone()], expires: None };
    let mut keys = keys::read(&args, &mut std::io::empty()).unwrap();
    (line, keys.remove(0))
}

fn user(name: &str, tenant: &str, keys: Vec<AuthorizedKey>) -> User {
    users::new(&user_name(name), &tenant_name(tenant), &UserChange::default(), keys).unwrap()
}

/// A directory with the tenant acme and its user bob, who has one key.
async fn with_bob() -> (MemoryDirectory, AuthorizedKey) {
    let directory = MemoryDirectory::new();
    add_tenant(&directory, "acme", "main", "acme/").await.unwrap();
    let (_, key) = key("bob@home");
    let bob = user("bob", "acme", vec![key.clone()]);
    printed!(Output::Text, |printer| users::add(&directory, &bob, printer)).unwrap();
    (directory, key)
}

#[tokio::test]
async fn no_tenant_may_lie_among_anothers_files_or_the_host_keys() {
    // Pages of one, so that the search has to turn them.
    let directory = MemoryDirectory::new().with_page_max(1);
    add_tenant(&directory, "first", "main", "x/").await.unwrap();
    add_tenant(&directory, "second", "main", "tenants/b/").await.unwrap();
    for (bucket, prefix, other) in [
        ("main", "tenants/b/", "the tenant \"second\""),
        ("main", "tenants/b/c/", "the tenant \"second\""),
        ("main", "tenants/", "the tenant \"second\""),
        ("main", "tidegate/", "the host keys"),
        ("main", "", "the host keys"),
    ] {
        let message = add_tenant(&directory, "third", bucket, prefix).await.unwrap_err();
        assert!(message.contains(other), "{prefix}: {message}");
    }
    add_tenant(&directory, "fourth", "main", "tenants/bb/").await.unwrap();
    add_tenant(&directory, "fifth", "other", "").await.unwrap();
    let message = add_tenant(&directory, "first", "another", "").await.unwrap_err();
    assert_eq!(message, "the tenant \"first\" exists already");
}

#[tokio::test]
async fn host_keys_are_not_made_among_a_tenants_files() {
    // Pages of one, so that the search has to turn them.
    let directory = MemoryDirectory::new().with_page_max(1);
    add_tenant(&directory, "first", "main", "first/").await.unwrap();
    add_tenant(&directory, "second", "other", "").await.unwrap();
    printed!(Output::Text, |printer| tenants::disable(&directory, &tenant_name("second"), printer)).unwrap();
    let check = async |config: &crate::host_keys::Config| {
        host_keys::refuse_exposed(config, host_keys::exposed_to(&directory, config).await).map_err(told)
    };
    check(&host_keys_in("main")).await.unwrap();
    let message = check(&host_keys_in("other")).await.unwrap_err();
    assert!(message.contains("s3://other/tidegate/host-keys") && message.contains("\"second\""), "{message}");
    let message = check(&crate::host_keys::Config { key: "first/keys".to_owned(), ..host_keys_in("main") }).await;
    assert!(message.unwrap_err().contains("\"first\""));
}

#[test]
fn host_keys_are_made_where_the_tenants_cant_be_listed() {
    let missing = StoreError::new(StoreErrorKind::InvalidRequest, "tenants");
    assert!(host_keys::refuse_exposed(&host_keys_in("main"), Err(missing)).is_ok());
}

#[tokio::test]
async fn lists_go_over_all_pages_and_tenants() {
    let directory = MemoryDirectory::new().with_page_max(1);
    for tenant in ["aa", "bb"] {
        add_tenant(&directory, tenant, "main", &format!("{tenant}/")).await.unwrap();
        for n in 0..3 {
            let user = user(&format!("{tenant}-{n}"), tenant, Vec::new());
            printed!(Output::Text, |printer| users::add(&directory, &user, printer)).unwrap();
        }
    }
    let names = |json: String| -> Vec<String> {
        let list: Vec<Value> = serde_json::from_str(&json).unwrap();
        list.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = printed!(Output::Json, |printer| users::list(&directory, None, printer)).unwrap();
    assert_eq!(names(all), ["aa-0", "aa-1", "aa-2", "bb-0", "bb-1", "bb-2"]);
    let bb = tenant_name("bb");
    let of_one = printed!(Output::Json, |printer| users::list(&directory, Some(&bb), printer)).unwrap();
    assert_eq!(names(of_one), ["bb-0", "bb-1", "bb-2"]);
    let tenants = printed!(Output::Json, |printer| tenants::list(&directory, printer)).unwrap();
    assert_eq!(names(tenants), ["aa", "bb"]);
}

#[tokio::test]
async fn limits_are_set_and_lifted_and_shown() {
    let directory = MemoryDirectory::new();
    add_tenant(&directory, "acme", "main", "acme/").await.unwrap();
    let acme = tenant_name("acme");
    let change = TenantLimitsChange {
        max_bandwidth_in: LimitChange::Set((10 << 20).try_into().unwrap()),
        max_open_handles: LimitChange::Set(100),
        max_in_flight: LimitChange::Set(64 << 20),
        ..TenantLimitsChange::default()
    };
    let text = printed!(Output::Text, |printer| tenants::set(&directory, &MemoryUsage::new(), &acme, &change, printer))
        .unwrap();
    for line in [
        "max bandwidth in:  10.0 MiB/s",
        "max bandwidth out: no limit",
        "max open handles:  100",
        "max in flight:     64.0 MiB",
        "max sessions:      no limit",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(text.contains("accounts.ttl"), "it says from when on: {text}");
    let change = TenantLimitsChange { max_open_handles: LimitChange::Lift, ..TenantLimitsChange::default() };
    let json = printed!(Output::Json, |printer| tenants::set(&directory, &MemoryUsage::new(), &acme, &change, printer))
        .unwrap();
    let tenant: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&tenant["max_bandwidth_in"], &tenant["max_open_handles"]), (&Value::from(10 << 20), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn quotas_are_set_and_shown_with_what_is_used() {
    let (directory, usage, stores) = (MemoryDirectory::new(), MemoryUsage::new(), MemoryObjectStores::new());
    add_tenant(&directory, "acme", "files", "acme/").await.unwrap();
    let acme = tenant_name("acme");
    let stale = Recount { token: "old".to_owned(), now: 1, until: 2 };
    usage.begin_recount(&acme, &stale).await.unwrap();
    usage.finish_recount(&acme, &stale, UsageDelta::new(77, 7)).await.unwrap();
    let set = async |change: &TenantLimitsChange| {
        printed!(Output::Text, |printer| tenants::set(&directory, &usage, &acme, change, printer)).unwrap()
    };
    let show = async || printed!(Output::Text, |printer| tenants::show(&directory, &usage, &acme, printer)).unwrap();
    assert!(!show().await.contains("used"), "nobody counts without a quota");
    let change = TenantLimitsChange { quota_bytes: LimitChange::Set(10 << 30), ..TenantLimitsChange::default() };
    let text = set(&change).await;
    assert!(text.contains("quota bytes:       10.0 GiB") && text.contains("quota objects:     no limit"), "{text}");
    assert!(show().await.contains("used:              not counted yet"), "what was counted before is forgotten");

    let tenant = directory.tenant(&acme).await.unwrap().unwrap();
    let store = stores.open(&tenant).await.unwrap();
    for key in ["acme/a", "acme/d/", "other/b"] {
        let body = tidegate_store::Body::from(&b"1234"[..]);
        let (checksum, attributes) = (body.checksum(), tidegate_store::ObjectAttributes::default());
        let key = tidegate_store::ObjectKey::new(key).unwrap();
        store.put(&key, body, checksum, &attributes, &tidegate_store::Condition::Always).await.unwrap();
    }
    let recount =
        async || printed!(Output::Json, |printer| quotas::recount(&directory, &stores, &usage, &acme, printer));
    let counted: Value = serde_json::from_str(&recount().await.unwrap()).unwrap();
    assert_eq!((&counted["bytes"], &counted["objects"]), (&Value::from(8), &Value::from(2)));
    assert!(show().await.contains("used:              8 B in 2 objects (last counted 20"), "{}", show().await);
    set(&TenantLimitsChange { quota_objects: LimitChange::Set(5), ..TenantLimitsChange::default() }).await;
    assert!(show().await.contains("8 B in 2 objects"), "a quota that changes leaves what is counted");

    let held = Recount { token: "a node".to_owned(), now: u64::MAX - 1, until: u64::MAX };
    assert!(usage.begin_recount(&acme, &held).await.unwrap());
    let message = recount().await.map_err(told).unwrap_err();
    assert!(message.contains("being counted already"), "{message}");
}

#[tokio::test]
async fn users_are_disabled_enabled_and_removed() {
    let (directory, _) = with_bob().await;
    let bob = user_name("bob");
    let status = async || {
        let json = printed!(Output::Json, |printer| users::show(&directory, &bob, printer)).unwrap();
        serde_json::from_str::<Value>(&json).unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status().await, "active");
    printed!(Output::Text, |printer| users::disable(&directory, &bob, printer)).unwrap();
    assert_eq!(status().await, "disabled");
    printed!(Output::Text, |printer| users::enable(&directory, &bob, printer)).unwrap();
    assert_eq!(status().await, "active");
    printed!(Output::Text, |printer| users::remove(&directory, &bob, printer)).unwrap();
    let gone = printed!(Output::Text, |printer| users::show(&directory, &bob, printer)).map_err(told);
    assert_eq!(gone, Err("there is no user \"bob\"; see: tidegate user list".to_owned()));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let directory = MemoryDirectory::new();
    let (acme, bob) = (tenant_name("acme"), user_name("bob"));
    let no_tenant = Err("there is no tenant \"acme\"; see: tidegate tenant list".to_owned());
    let no_user = Err("there is no user \"bob\"; see: tidegate user list".to_owned());
    assert_eq!(
        printed!(Output::Text, |printer| tenants::show(&directory, &MemoryUsage::new(), &acme, printer)).map_err(told),
        no_tenant
    );
    assert_eq!(printed!(Output::Text, |printer| tenants::disable(&directory, &acme, printer)).map_err(told), no_tenant);
    let change = TenantLimitsChange { max_sessions: LimitChange::Set(1), ..TenantLimitsChange::default() };
    let set = printed!(Output::Text, |printer| tenants::set(&directory, &MemoryUsage::new(), &acme, &change, printer))
        .map_err(told);
    assert_eq!(set, no_tenant);
    let new = user("bob", "acme", Vec::new());
    assert_eq!(printed!(Output::Text, |printer| users::add(&directory, &new, printer)).map_err(told), no_tenant);
    let listed = printed!(Output::Text, |printer| users::list(&directory, Some(&acme), printer)).map_err(told);
    assert_eq!(listed, no_tenant);
    assert_eq!(printed!(Output::Text, |printer| users::enable(&directory, &bob, printer)).map_err(told), no_user);
    assert_eq!(printed!(Output::Text, |printer| users::remove(&directory, &bob, printer)).map_err(told), no_user);
    assert_eq!(printed!(Output::Text, |printer| keys::list(&directory, &bob, printer)).map_err(told), no_user);
    let (_, key) = key("");
    let added = printed!(Output::Text, |printer| keys::add(&directory, &bob, vec![key], printer)).map_err(told);
    assert_eq!(added, no_user);
}

#[tokio::test]
async fn keys_are_added_listed_and_removed_and_the_reason_is_told() {
    let (directory, first) = with_bob().await;
    let bob = user_name("bob");
    let (_, second) = key("bob@work");
    let add = async |key: &AuthorizedKey| {
        printed!(Output::Text, |printer| keys::add(&directory, &bob, vec![key.clone()], printer)).map_err(told)
    };
    add(&second).await.unwrap();
    assert_eq!(add(&second).await, Err(format!("the key \"{}\" exists already", second.id)));

    let json = printed!(Output::Json, |printer| keys::list(&directory, &bob, printer)).unwrap();
    let list: Vec<Value> = serde_json::from_str(&json).unwrap();
    let ids: Vec<_> = list.iter().map(|key| key["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&first.id.as_str()) && ids.contains(&second.id.as_str()) && ids.len() == 2, "{ids:?}");

    let remove =
        async |id: &str| printed!(Output::Text, |printer| keys::remove(&directory, &bob, id, printer)).map_err(told);
    remove(&first.id).await.unwrap();
    let expected = format!("there is no key \"{}\"; see: tidegate user key list bob", first.id);
    assert_eq!(remove(&first.id).await, Err(expected));

    for n in 1..User::MAX_KEYS {
        let filler = AuthorizedKey { id: format!("SHA256:{n}"), ..second.clone() };
        add(&filler).await.unwrap();
    }
    let message = add(&first).await.unwrap_err();
    assert!(message.contains("more than 50 keys"), "{message}");
}

#[test]
fn keys_are_read_from_files_standard_input_and_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let ((a, key_a), (b, key_b), (c, key_c)) = (key("a"), key("b"), key("c"));
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("# two keys\n\n{a}\n{b}\n")).unwrap();
    let sources = vec![file.to_string_lossy().into_owned(), "-".to_owned(), a.clone()];
    let args = KeyArgs { sources, expires: Some(Expiry::Days(1)) };
    let keys = keys::read(&args, &mut c.as_bytes()).unwrap();
    let ids: Vec<_> = keys.iter().map(|key| &key.id).collect();
    assert_eq!(ids, [&key_a.id, &key_b.id, &key_c.id]);
    assert!(keys.iter().all(|key| key.expires.is_some_and(|expires| expires > now())));
    assert_eq!(keys[0].comment, "a");
}

#[test]
fn what_is_no_key_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (private, line) = generate_client_key("").unwrap();
    let cases = [
        (file("private", &private), "is a private key"),
        (file("second", &format!("{line}\nssh-dss AAAA\n")), "line 2 of"),
        (file("empty", "\n# nothing\n"), "there is no public key in"),
        (folder.path().join("missing").to_string_lossy().into_owned(), "missing can't be read"),
        (file("large", &"#".repeat((1 << 20) + 1)), "more than 1048576 bytes"),
    ];
    for (source, expected) in cases {
        let args = KeyArgs { sources: vec![source], expires: None };
        let message = told(keys::read(&args, &mut std::io::empty()).unwrap_err());
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("PRIVATE KEY"), "{message}");
    }
}
