//! Settings of the role.

use std::time::Duration;

use serde::Deserialize;

/// What is wrong: the field below `aws.tenant_role`, and what it takes.
pub(crate) type Refusal = (&'static str, &'static str);

/// The role that nodes take for each tenant apart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantRole {
    /// Its ARN. Default: none, and nodes reach every tenant's files by their own credentials.
    pub arn: Option<String>,
    /// What the role's trust policy may ask for as `sts:ExternalId`. No secret. Default: none.
    pub external_id: Option<String>,
    /// How long a tenant's credentials hold, 15 min to 12 h, and no longer than the role lets them.
    /// Default: 1 h, the most that a role may take another role for.
    #[serde(with = "humantime_serde")]
    pub session_duration: Duration,
    /// The ARNs of the KMS keys that encrypt tenants' buckets (SSE-KMS), at most 8: S3 uses them in
    /// the tenant's name. Default: none.
    pub kms_key_arns: Vec<String>,
    /// Of how many tenants credentials are kept at most while no session uses them, 1 to 100,000.
    /// Default: 1,000.
    pub max_tenants: u64,
    /// After how long without a new session a tenant's credentials are dropped, 1 s to 12 h.
    /// Sessions that are open keep theirs. Default: 30 min.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
}

impl Default for TenantRole {
    fn default() -> Self {
        Self {
            arn: None,
            external_id: None,
            session_duration: Duration::from_secs(3600),
            kms_key_arns: Vec::new(),
            max_tenants: 1_000,
            idle_timeout: Duration::from_secs(30 * 60),
        }
    }
}

impl TenantRole {
    const SESSION_MIN: Duration = Duration::from_secs(15 * 60);
    const SESSION_MAX: Duration = Duration::from_secs(12 * 3600);
    const KMS_KEYS_MAX: usize = 8;

    /// Checks what the types alone can't. Bounds from AWS STS API Reference, AssumeRole.
    pub(crate) fn validate(&self) -> Result<(), Refusal> {
        if self.arn.as_deref().is_some_and(|arn| partition(arn).is_none()) {
            return Err((
                "tenant_role.arn",
                "it is a role's ARN, such as arn:aws:iam::123456789012:role/tidegate-tenant",
            ));
        }
        let id_char = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
        let is_id = |id: &String| (2..=1224).contains(&id.len()) && id.bytes().all(id_char);
        if !self.external_id.as_ref().is_none_or(is_id) {
            return Err(("tenant_role.external_id", "it takes 2 to 1,224 characters of a-z, A-Z, 0-9 and _+=,.@:/-"));
        }
        if !(Self::SESSION_MIN..=Self::SESSION_MAX).contains(&self.session_duration) {
            return Err(("tenant_role.session_duration", "it is 15 min to 12 h"));
        }
        if self.kms_key_arns.len() > Self::KMS_KEYS_MAX || !self.kms_key_arns.iter().all(|arn| is_kms_key(arn)) {
            return Err((
                "tenant_role.kms_key_arns",
                "it takes at most 8 ARNs of keys, such as arn:aws:kms:eu-central-1:123456789012:key/ID, and no alias",
            ));
        }
        if !(1..=100_000).contains(&self.max_tenants) {
            return Err(("tenant_role.max_tenants", "it is 1 to 100,000"));
        }
        if !(Duration::from_secs(1)..=Self::SESSION_MAX).contains(&self.idle_timeout) {
            return Err(("tenant_role.idle_timeout", "it is 1 s to 12 h"));
        }
        Ok(())
    }
}

/// The partition, such as `aws` or `aws-cn`, that a role's ARN names; `None` if it is no such ARN.
pub(super) fn partition(arn: &str) -> Option<&str> {
    let mut fields = arn.splitn(6, ':');
    let ("arn", partition, "iam", "", account, role) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?)
    else {
        return None;
    };
    let is_role = role.strip_prefix("role/").is_some_and(|name| !name.is_empty() && !name.ends_with('/'));
    let printable = arn.len() <= 2048 && arn.bytes().all(|b| b.is_ascii_graphic());
    (is_partition(partition) && is_account(account) && is_role && printable).then_some(partition)
}

fn is_kms_key(arn: &str) -> bool {
    let fields: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "kms", region, account, key] = fields.as_slice() else { return false };
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_partition(partition) && word(region) && is_account(account) && key.strip_prefix("key/").is_some_and(word)
}

fn is_partition(name: &str) -> bool {
    name.starts_with("aws") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

fn is_account(id: &str) -> bool {
    id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit())
}
