//! The session policy: what of the role's rights is left for one tenant.

use std::fmt::Write as _;

use serde_json::{Value, json};
use thiserror::Error;
use tidegate_store::Tenant;

/// The most characters of a session policy that STS takes.
/// Source: AWS STS API Reference, AssumeRole, `Policy`.
pub(super) const CHARS_MAX: usize = 2048;

/// What crates/aws calls on a tenant's objects: every right of [`super::super::s3`] and no more.
///
/// `GetObject` is HEAD too, and conditional writes ask for it; `PutObject` begins, fills and
/// completes uploads; copies of an object with tags, which other tools set, need the two for tags.
/// Sources: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3";
/// Amazon S3 API Reference, "Required permissions" of each operation.
pub(super) const OBJECT_ACTIONS: [&str; 7] = [
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
    "s3:PutObjectTagging",
];

/// Why a tenant can't have one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PolicyError {
    /// Its bucket is not named by a name.
    #[error("the bucket is named by an ARN, and aws.tenant_role takes a bucket's own name only")]
    BucketArn,
    /// STS would refuse it.
    #[error(
        "the session policy would have {0} characters, and STS takes {CHARS_MAX}: the tenant's prefix must be shorter \
         (characters other than ASCII, and * ? $, take several each), or aws.tenant_role.kms_key_arns"
    )]
    TooLong(usize),
}

/// The policy that leaves `tenant`'s files alone.
///
/// Listings are limited by `s3:prefix`, which nodes always send: the tenant's prefix, or a path
/// below it. S3 takes an object's key for that prefix when it decides whether to admit that there
/// is no such object (404 in place of 403). ListMultipartUploads can't be limited by a prefix, so
/// it is not there; nodes do not ask for it on a tenant's behalf.
pub(crate) fn session_policy(partition: &str, kms_key_arns: &[String], tenant: &Tenant) -> Result<String, PolicyError> {
    if tenant.bucket.contains(':') {
        return Err(PolicyError::BucketArn);
    }
    let bucket = format!("arn:{partition}:s3:::{}", literal(&tenant.bucket));
    // Ends in "/" or is empty, so that no other tenant's keys begin with it.
    let below = format!("{}*", literal(tenant.prefix.as_str()));
    let list = if tenant.prefix.as_str().is_empty() {
        json!({ "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket })
    } else {
        let condition = json!({ "StringLike": { "s3:prefix": below } });
        json!({ "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket, "Condition": condition })
    };
    let objects = json!({ "Effect": "Allow", "Action": OBJECT_ACTIONS, "Resource": format!("{bucket}/{below}") });
    let mut statements = vec![objects, list];
    if !kms_key_arns.is_empty() {
        // By way of S3 only, which uses the key for objects that the session may read or write.
        statements.push(json!({
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": kms_key_arns,
            "Condition": { "StringLike": { "kms:ViaService": "s3.*" } },
        }));
    }
    // Without this version, ${*} would be three characters.
    let policy = ascii(&json!({ "Version": "2012-10-17", "Statement": statements }));
    if policy.len() > CHARS_MAX { Err(PolicyError::TooLong(policy.len())) } else { Ok(policy) }
}

/// A text that stands for itself in an ARN or a pattern.
/// Source: AWS IAM User Guide, "IAM policy elements: Variables and tags", special characters.
fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '*' | '?' | '$' => escaped.extend(['$', '{', char, '}']),
            _ => escaped.push(char),
        }
    }
    escaped
}

/// The JSON text in ASCII: STS takes characters up to U+00FF only, and JSON has a way to write the
/// others. They only occur within strings.
fn ascii(value: &Value) -> String {
    let text = value.to_string();
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, ' '..='~') {
            escaped.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            // Writing to a String does not fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}
