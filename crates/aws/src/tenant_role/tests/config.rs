use std::time::Duration;

use super::super::config::{TenantRole, partition};
use super::ROLE;

#[test]
fn the_partition_comes_from_the_roles_arn() {
    for (arn, expected) in [
        (ROLE, Some("aws")),
        ("arn:aws-cn:iam::123456789012:role/path/name", Some("aws-cn")),
        ("arn:aws-us-gov:iam::123456789012:role/name", Some("aws-us-gov")),
        ("arn:aws:iam::123456789012:user/name", None),
        ("arn:aws:iam::123456789012:role/", None),
        ("arn:aws:iam::12345:role/name", None),
        ("arn:aws:sts::123456789012:assumed-role/name/session", None),
        ("tidegate-tenant", None),
        ("", None),
    ] {
        assert_eq!(partition(arn), expected, "{arn}");
    }
}

#[test]
fn an_invalid_setting_is_named() {
    type Spoil = fn(&mut TenantRole);
    let cases: [(&str, Spoil); 8] = [
        ("tenant_role.arn", |role| role.arn = Some("tidegate-tenant".to_owned())),
        ("tenant_role.external_id", |role| role.external_id = Some("x".to_owned())),
        ("tenant_role.external_id", |role| role.external_id = Some("a b".to_owned())),
        ("tenant_role.session_duration", |role| role.session_duration = Duration::from_secs(60)),
        ("tenant_role.kms_key_arns", |role| role.kms_key_arns = vec!["alias/files".to_owned()]),
        ("tenant_role.kms_key_arns", |role| role.kms_key_arns = vec!["arn:aws:kms:r:123456789012:alias/f".to_owned()]),
        ("tenant_role.max_tenants", |role| role.max_tenants = 0),
        ("tenant_role.idle_timeout", |role| role.idle_timeout = Duration::ZERO),
    ];
    for (field, spoil) in cases {
        let mut role = TenantRole::default();
        spoil(&mut role);
        assert_eq!(role.validate().map_err(|(field, _)| field), Err(field));
    }
    assert_eq!(TenantRole::default().validate(), Ok(()));
}

#[test]
fn settings_are_read_as_an_operator_writes_them() {
    let role: TenantRole = toml::from_str(
        r#"
        arn = "arn:aws:iam::123456789012:role/tidegate-tenant"
        external_id = "prod:blue"
        session_duration = "45m"
        kms_key_arns = ["arn:aws:kms:eu-central-1:123456789012:key/0b8a43f4-5d2f-4d4f-8f2b-0a8d8f4a9d11"]
        "#,
    )
    .unwrap();
    assert_eq!(role.validate(), Ok(()));
    assert_eq!(role.session_duration, Duration::from_secs(45 * 60));
    assert!(toml::from_str::<TenantRole>("role_arn = \"x\"").is_err());
}
