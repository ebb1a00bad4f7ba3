mod config;
mod credentials;
mod iam;
mod policy;

use tidegate_store::{Status, Tenant, TenantLimits};

/// The role of the tests.
const ROLE: &str = "arn:aws:iam::123456789012:role/tidegate-tenant";

fn tenant(name: &str, prefix: &str) -> Tenant {
    Tenant {
        name: name.parse().unwrap(),
        status: Status::Active,
        bucket: "files".to_owned(),
        prefix: prefix.parse().unwrap(),
        limits: TenantLimits::default(),
        created: 0,
    }
}
