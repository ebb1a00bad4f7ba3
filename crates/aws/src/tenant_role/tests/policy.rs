use proptest::prelude::*;
use tidegate_store::{KeyPrefix, Tenant};

use super::super::policy::{CHARS_MAX, OBJECT_ACTIONS, PolicyError, session_policy};
use super::iam::{Request, allows};
use super::tenant;

const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/0b8a43f4-5d2f-4d4f-8f2b-0a8d8f4a9d11";

/// What nobody needs who only uses files, and what leads out of a prefix.
const OTHER_ACTIONS: [&str; 14] = [
    "s3:BypassGovernanceRetention",
    "s3:DeleteBucket",
    "s3:DeleteObjectVersion",
    "s3:GetBucketPolicy",
    "s3:GetObjectAcl",
    "s3:GetObjectVersion",
    "s3:ListAllMyBuckets",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
    "s3:PutBucketPolicy",
    "s3:PutObjectAcl",
    "s3:RestoreObject",
    "dynamodb:GetItem",
    "sts:AssumeRole",
];

fn policy(tenant: &Tenant) -> String {
    session_policy("aws", &[], tenant).unwrap()
}

fn on_object(policy: &str, action: &str, bucket: &str, key: &str) -> bool {
    allows(policy, &Request { action, resource: format!("arn:aws:s3:::{bucket}/{key}"), context: Vec::new() })
}

fn may_list(policy: &str, bucket: &str, prefix: Option<&str>) -> bool {
    let context = prefix.map(|prefix| ("s3:prefix", prefix.to_owned())).into_iter().collect();
    allows(policy, &Request { action: "s3:ListBucket", resource: format!("arn:aws:s3:::{bucket}"), context })
}

#[test]
fn it_reads_as_documented() {
    let text = session_policy("aws", &[KEY.to_owned()], &tenant("acme", "tenants/acme/")).unwrap();
    let expected = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:GetObjectTagging",
                    "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectTagging",
                ],
                "Resource": "arn:aws:s3:::files/tenants/acme/*",
            },
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::files",
                "Condition": { "StringLike": { "s3:prefix": "tenants/acme/*" } },
            },
            {
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": [KEY],
                "Condition": { "StringLike": { "kms:ViaService": "s3.*" } },
            },
        ],
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
}

#[test]
fn the_key_can_be_used_by_way_of_s3_only() {
    let text = session_policy("aws", &[KEY.to_owned()], &tenant("acme", "a/")).unwrap();
    let by = |action, key: &str, service: Option<&str>| {
        let context = service.map(|service| ("kms:ViaService", service.to_owned())).into_iter().collect();
        allows(&text, &Request { action, resource: key.to_owned(), context })
    };
    assert!(by("kms:Decrypt", KEY, Some("s3.eu-central-1.amazonaws.com")));
    assert!(by("kms:GenerateDataKey", KEY, Some("s3.cn-north-1.amazonaws.com.cn")));
    assert!(!by("kms:Decrypt", KEY, None));
    assert!(!by("kms:Decrypt", KEY, Some("dynamodb.eu-central-1.amazonaws.com")));
    assert!(!by("kms:Encrypt", KEY, Some("s3.eu-central-1.amazonaws.com")));
    assert!(!by("kms:Decrypt", &KEY.replace("0b8a", "0b8b"), Some("s3.eu-central-1.amazonaws.com")));
}

#[test]
fn a_prefix_does_not_reach_its_longer_neighbour() {
    let text = policy(&tenant("short", "logs/a/"));
    assert!(on_object(&text, "s3:GetObject", "files", "logs/a/x"));
    for key in ["logs/ab/x", "logs/a", "logs/", "logs/A/x", "other"] {
        assert!(!on_object(&text, "s3:GetObject", "files", key), "{key}");
    }
    assert!(may_list(&text, "files", Some("logs/a/")) && may_list(&text, "files", Some("logs/a/b")));
    for prefix in [None, Some(""), Some("logs/"), Some("logs/a"), Some("logs/ab/")] {
        assert!(!may_list(&text, "files", prefix), "{prefix:?}");
    }
}

#[test]
fn a_tenant_with_a_whole_bucket_has_that_bucket() {
    let text = policy(&tenant("acme", ""));
    for action in OBJECT_ACTIONS {
        assert!(on_object(&text, action, "files", "any/key"));
        assert!(!on_object(&text, action, "files2", "any/key") && !on_object(&text, action, "file", "any/key"));
    }
    for prefix in [None, Some(""), Some("any/")] {
        assert!(may_list(&text, "files", prefix) && !may_list(&text, "files2", prefix));
    }
}

#[test]
fn a_bucket_named_by_a_pattern_is_that_bucket_only() {
    let text = policy(&Tenant { bucket: "f*s".to_owned(), ..tenant("acme", "") });
    assert!(!on_object(&text, "s3:GetObject", "files", "x"));
    let arn = Tenant { bucket: "arn:aws:s3:eu-central-1:123456789012:accesspoint/ap".to_owned(), ..tenant("acme", "") };
    assert_eq!(session_policy("aws", &[], &arn), Err(PolicyError::BucketArn));
}

#[test]
fn the_longest_ascii_prefix_fits_and_what_does_not_is_refused() {
    let longest = format!("{}/", "p".repeat(511));
    let bucket = "b".repeat(63);
    let tenant = |prefix: &str| Tenant { bucket: bucket.clone(), ..tenant("acme", prefix) };
    let keys = vec![KEY.to_owned(); 4];
    let text = session_policy("aws-us-gov", &keys, &tenant(&longest)).unwrap();
    assert!(text.len() <= CHARS_MAX, "{}", text.len());
    for prefix in [format!("{}/", "*".repeat(511)), format!("{}/", "日".repeat(170))] {
        assert!(
            matches!(session_policy("aws", &[], &tenant(&prefix)), Err(PolicyError::TooLong(len)) if len > CHARS_MAX)
        );
    }
}

/// Texts that are as near to patterns, variables, JSON and each other as texts can be.
fn name() -> impl Strategy<Value = String> {
    let char = prop_oneof![
        4 => proptest::sample::select(vec!['a', 'b', 'A', '0']),
        3 => proptest::sample::select(vec!['*', '?', '$', '{', '}', '\\', '"', '\'', ':', '.', ' ', '%', '+']),
        1 => proptest::sample::select(vec!['é', '\u{e9}', '日', '😀', '\n', '\u{1}', '\u{7f}']),
    ];
    prop_oneof![
        4 => proptest::collection::vec(char, 1..5).prop_map(String::from_iter),
        1 => proptest::sample::select(vec!["${*}", "${?}", "${$}", "${aws:username}", "$", "*", "..."]).prop_map(str::to_owned),
    ]
}

fn prefix() -> impl Strategy<Value = KeyPrefix> {
    proptest::collection::vec(name(), 1..4)
        .prop_map(|names| names.join("/") + "/")
        .prop_filter_map("no prefix", |text| text.parse().ok())
}

/// Two prefixes that can be two tenants', often with much in common.
fn neighbours() -> impl Strategy<Value = (KeyPrefix, KeyPrefix)> {
    let derived = (prefix(), name(), any::<proptest::sample::Index>(), 0..4).prop_map(|(own, text, at, how)| {
        let chars: Vec<char> = own.as_str().chars().collect();
        let at = at.index(chars.len());
        let other = match how {
            // One character is another: what a pattern would take for the same.
            0 => chars[..at].iter().collect::<String>() + &text + &chars[at + 1..].iter().collect::<String>(),
            1 => own.as_str().trim_end_matches('/').to_owned() + &text + "/",
            2 => chars[..at].iter().collect::<String>() + "/",
            _ => own.as_str().to_uppercase(),
        };
        (own, other)
    });
    prop_oneof![
        3 => derived.prop_filter_map("no prefix", |(own, other)| Some((own, other.parse::<KeyPrefix>().ok()?))),
        1 => (prefix(), prefix()),
    ]
    .prop_filter("one lies in the other", |(one, other)| {
        !one.as_str().starts_with(other.as_str()) && !other.as_str().starts_with(one.as_str())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever two tenants' prefixes are: everything on one's own keys, nothing on the other's.
    #[test]
    fn a_session_reaches_its_own_prefix_and_no_others((own, other) in neighbours(), rest in name(), cut in any::<proptest::sample::Index>()) {
        let text = policy(&tenant("acme", own.as_str()));
        prop_assert!(text.is_ascii() && text.len() <= CHARS_MAX);
        let (own_key, other_key) = (format!("{own}{rest}"), format!("{other}{rest}"));
        for action in OBJECT_ACTIONS {
            prop_assert!(on_object(&text, action, "files", &own_key), "{} {}", action, own_key);
            prop_assert!(!on_object(&text, action, "files", &other_key), "{} {}", action, other_key);
            prop_assert!(!on_object(&text, action, "other", &own_key));
        }
        for action in OTHER_ACTIONS {
            prop_assert!(!on_object(&text, action, "files", &own_key), "{}", action);
            let context = vec![("s3:prefix", own_key.clone())];
            let on_bucket = Request { action, resource: "arn:aws:s3:::files".to_owned(), context };
            prop_assert!(!allows(&text, &on_bucket), "{}", action);
        }
        prop_assert!(may_list(&text, "files", Some(own.as_str())) && may_list(&text, "files", Some(&own_key)));
        prop_assert!(!may_list(&text, "other", Some(own.as_str())));
        for prefix in [other.as_str(), &other_key, ""] {
            prop_assert!(!may_list(&text, "files", Some(prefix)), "{}", prefix);
        }
        // A listing of what is around the prefix would name the other's files.
        let shorter: String = own.as_str().chars().take(cut.index(own.as_str().chars().count())).collect();
        prop_assert!(!may_list(&text, "files", Some(&shorter)) && !may_list(&text, "files", None));
    }
}
