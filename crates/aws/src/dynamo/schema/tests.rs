//! Items come back as they were written, and what is not understood is refused.

use tidegate_store::{Bandwidth, Mapping, Mappings, Permission, PermissionRule, PermissionRules, Permissions};

use super::*;

fn user() -> User {
    let key = |id: &str, added, expires| AuthorizedKey {
        id: id.to_owned(),
        key: format!("ssh-ed25519 {id}"),
        comment: String::new(),
        added,
        expires,
    };
    User {
        name: "alice".parse().unwrap(),
        tenant: "demo".parse().unwrap(),
        status: Status::Disabled,
        home: "/inbox".to_owned(),
        permissions: Permissions::from([Permission::Read, Permission::SetAttributes]),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: Some(3),
        lists_uploads: true,
        keys: vec![key("SHA256:b", 1, Some(u64::MAX)), key("SHA256:a", 2, None), key("SHA256:c", 2, None)],
        created: 1_800_000_000,
    }
}

fn with_rules() -> User {
    let rule = |path: &str, permissions| PermissionRule { path: path.parse().unwrap(), permissions };
    let rules = vec![rule("/in", Permission::ALL.into()), rule("/a b/\u{fc}", Permissions::new())];
    User { rules: PermissionRules::new(rules).unwrap(), ..user() }
}

fn with_mappings() -> User {
    let mapping = |entry: &str, target: &str, read_only| Mapping {
        entry: entry.parse().unwrap(),
        target: target.parse().unwrap(),
        read_only,
    };
    let mappings = vec![mapping("/", "/home", false), mapping("/x/y", "/pub", true)];
    User { mappings: Mappings::new(mappings).unwrap(), ..user() }
}

fn tenant() -> Tenant {
    Tenant {
        name: "demo".parse().unwrap(),
        status: Status::Active,
        bucket: "files".to_owned(),
        prefix: "demo/".parse().unwrap(),
        limits: TenantLimits {
            max_bandwidth_in: Some(Bandwidth::MIN),
            max_bandwidth_out: u64::MAX.try_into().ok(),
            max_open_handles: Some(0),
            max_in_flight: Some(64 << 20),
            max_sessions: Some(7),
            quota_bytes: Some(1 << 40),
            quota_objects: Some(0),
        },
        created: 0,
    }
}

#[test]
fn records_come_back_from_their_items() {
    let plain =
        User { permissions: Permissions::new(), keys: Vec::new(), max_sessions: None, lists_uploads: false, ..user() };
    for user in [user(), plain] {
        assert_eq!(user_item(&user).get(VERSION), Some(&number(1)), "earlier releases know it");
        assert_eq!(user_of(&user_item(&user), "user").unwrap(), user);
    }
    for user in [with_rules(), with_mappings(), User { rules: with_rules().rules, ..with_mappings() }] {
        assert_eq!(user_item(&user).get(VERSION), Some(&number(2)), "earlier releases refuse it");
        assert_eq!(user_of(&user_item(&user), "user").unwrap(), user);
    }
    let unlimited = Tenant { limits: TenantLimits::default(), prefix: "".parse().unwrap(), ..tenant() };
    for tenant in [tenant(), unlimited] {
        assert_eq!(tenant_of(&tenant_item(&tenant), "tenant").unwrap(), tenant);
    }
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    let spoiled: [(&str, AttributeValue); 10] = [
        ("v", number(3)),
        ("status", text("suspended")),
        ("permissions", AttributeValue::Ss(vec!["read".to_owned(), "sudo".to_owned()])),
        ("permissions", text("read")),
        ("lists_uploads", text("true")),
        ("created", number(-1)),
        ("created", text("1")),
        ("name", text("a/b")),
        ("keys", AttributeValue::L(Vec::new())),
        ("keys", AttributeValue::M(Item::from([("SHA256:x".to_owned(), text("ssh-rsa"))]))),
    ];
    for (attribute, value) in spoiled {
        let mut item = user_item(&user());
        item.insert(attribute.to_owned(), value);
        let error = user_of(&item, "user").unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        assert!(error.report().contains("USER#alice/USER"), "{}", error.report());
    }
    for attribute in ["v", "name", "tenant", "status", "home", "created", "keys"] {
        let mut item = user_item(&user());
        item.remove(attribute);
        let report = user_of(&item, "user").unwrap_err().report();
        assert!(report.contains(attribute), "{report}");
    }
}

#[test]
fn rules_and_mappings_that_are_not_understood_are_refused() {
    let list = |item: Item| AttributeValue::L(vec![AttributeValue::M(item)]);
    let path = || ("path".to_owned(), text("/a"));
    let (entry, target) = (("entry".to_owned(), text("/a")), ("target".to_owned(), text("/b")));
    let spoiled = [
        ("rules", text("/a")),
        ("rules", AttributeValue::L(vec![text("/a")])),
        ("rules", list(Item::new())),
        ("rules", list(Item::from([("path".to_owned(), text("/a/"))]))),
        ("rules", list(Item::from([path(), ("permissions".to_owned(), AttributeValue::Ss(vec!["sudo".into()]))]))),
        ("rules", AttributeValue::L(vec![AttributeValue::M(Item::from([path()])); 2])),
        ("mappings", list(Item::from([entry.clone()]))),
        ("mappings", list(Item::from([entry.clone(), ("target".to_owned(), text("/b/.."))]))),
        ("mappings", list(Item::from([entry, target, ("read_only".to_owned(), number(1))]))),
    ];
    for (attribute, value) in spoiled {
        let mut item = user_item(&user());
        item.insert(attribute.to_owned(), value);
        let error = user_of(&item, "user").unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        assert!(error.report().contains("USER#alice/USER"), "{}", error.report());
    }
    let mut tenant = tenant_item(&tenant());
    tenant.insert(VERSION.to_owned(), number(WITH_ACCESS));
    assert!(tenant_of(&tenant, "tenant").is_err(), "tenants have no such version");
}

#[test]
fn a_limit_that_can_not_be_kept_is_refused_and_a_missing_one_is_none() {
    for (attribute, value) in [
        ("max_bandwidth_in", number(0)),
        ("max_bandwidth_out", number(Bandwidth::MIN.bytes_per_second() - 1)),
        ("max_open_handles", number(-1)),
        ("max_sessions", text("7")),
        ("quota_bytes", number(-1)),
        ("quota_objects", text("7")),
    ] {
        let mut item = tenant_item(&tenant());
        item.insert(attribute.to_owned(), value);
        let error = tenant_of(&item, "tenant").unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        assert!(error.report().contains(attribute), "{}", error.report());
        // As an earlier release wrote it.
        item.remove(attribute);
        assert!(tenant_of(&item, "tenant").is_ok());
    }
}

#[test]
fn one_update_changes_all_limits_that_are_named() {
    assert!(limits_update(&TenantLimitsChange::default()).is_none());
    let change = TenantLimitsChange {
        max_bandwidth_in: LimitChange::Set(Bandwidth::MIN),
        max_bandwidth_out: LimitChange::Lift,
        max_open_handles: LimitChange::Set(3),
        max_in_flight: LimitChange::Set(4),
        max_sessions: LimitChange::Lift,
        quota_bytes: LimitChange::Keep,
        quota_objects: LimitChange::Keep,
    };
    let update = limits_update(&change).unwrap();
    assert_eq!(
        update.expression,
        "SET max_bandwidth_in = :in, max_open_handles = :handles, max_in_flight = :flight REMOVE max_bandwidth_out, max_sessions"
    );
    let values = [(":in", number(65_536)), (":handles", number(3)), (":flight", number(4))];
    assert_eq!(update.values, HashMap::from(values));
    let lifted = TenantLimitsChange { max_sessions: LimitChange::Lift, ..TenantLimitsChange::default() };
    assert_eq!(limits_update(&lifted).unwrap().expression, "REMOVE max_sessions");
}

#[test]
fn the_kinds_of_items_have_different_keys() {
    let (tenant, user) = ("users".parse().unwrap(), "tenant".parse().unwrap());
    let keys = [
        ItemKey::tenant(&tenant),
        ItemKey::usage(&tenant),
        ItemKey::tenant_entry(&tenant),
        ItemKey::user(&user),
        ItemKey::user_entry(&tenant, &user),
    ];
    for (n, key) in keys.iter().enumerate() {
        assert!(!keys[..n].contains(key), "{key:?}");
    }
}

/// Policies tell items by their partitions (`dynamodb:LeadingKeys`).
#[test]
fn what_nodes_write_and_what_administrators_write_share_no_partition() {
    let (tenant, user) = ("acme".parse().unwrap(), "alice".parse().unwrap());
    let administrators = [
        ItemKey::tenant(&tenant),
        ItemKey::tenant_entry(&tenant),
        ItemKey::user(&user),
        ItemKey::user_entry(&tenant, &user),
    ];
    let nodes = [
        ItemKey::failures("192.0.2.7".parse().unwrap(), Duration::from_secs(60), 1),
        ItemKey::lease(&"0123456789abcdef".parse().unwrap()),
        ItemKey::reaping(),
        ItemKey::sessions(&SessionScope::Tenant(tenant.clone())),
        ItemKey::sessions(&SessionScope::User(user.clone())),
        ItemKey::upload(&tenant, &ObjectKey::new("a").unwrap()),
        ItemKey::usage(&tenant),
    ];
    let kind = |key: &ItemKey| key.pk.split('#').next().unwrap().to_owned();
    for (node, administrator) in nodes.iter().flat_map(|node| administrators.iter().map(move |key| (node, key))) {
        assert_ne!(kind(node), kind(administrator), "{node} and {administrator}");
    }
    assert_eq!(ItemKey::usage(&tenant).to_string(), "USAGE#acme/USAGE");
}
