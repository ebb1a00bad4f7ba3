//! [`ObjectStores`] by the role.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_config::identity::IdentityCache;
use tidegate_store::{Metrics, ObjectStore, ObjectStores, StoreErrorKind, StoreResult, Tenant};

use super::config::{TenantRole, partition};
use super::credentials::{RoleSession, TenantCredentials};
use super::policy::session_policy;
use crate::error::own_error;
use crate::s3::{S3Bucket, Settings};

const OPERATION: &str = "open";

/// The tenants' buckets, each reached with credentials that S3 lets into that tenant's files only.
#[derive(Clone)]
pub(crate) struct TenantBuckets {
    s3: aws_sdk_s3::Client,
    sts: aws_sdk_sts::Client,
    settings: Settings,
    role: TenantRole,
    role_arn: String,
    metrics: Option<Metrics>,
}

impl TenantBuckets {
    /// `None` if no role is configured.
    pub(crate) fn new(
        s3: aws_sdk_s3::Client,
        sts: aws_sdk_sts::Client,
        settings: Settings,
        role: &TenantRole,
        metrics: Option<Metrics>,
    ) -> Option<Self> {
        let role_arn = role.arn.clone()?;
        Some(Self { s3, sts, settings, role: role.clone(), role_arn, metrics })
    }

    /// What STS is to be asked for.
    ///
    /// # Errors
    /// `InvalidRequest` if there is no session policy for this tenant.
    fn session(&self, tenant: &Tenant) -> StoreResult<RoleSession> {
        let invalid = |what: Box<dyn std::error::Error + Send + Sync>| {
            own_error(StoreErrorKind::InvalidRequest, OPERATION, format!("the tenant {}", tenant.name), what)
        };
        let partition = partition(&self.role_arn).ok_or_else(|| invalid("aws.tenant_role.arn is no role's".into()))?;
        let policy =
            session_policy(partition, &self.role.kms_key_arns, tenant).map_err(|error| invalid(error.into()))?;
        Ok(RoleSession {
            role_arn: self.role_arn.clone(),
            external_id: self.role.external_id.clone(),
            duration: self.role.session_duration,
            name: tenant.name.to_string(),
            policy,
        })
    }

    /// Whether there is a session policy for this tenant. Asks nobody.
    ///
    /// # Errors
    /// `InvalidRequest` if there is none.
    pub(crate) fn check(&self, tenant: &Tenant) -> StoreResult<()> {
        self.session(tenant).map(drop)
    }

    pub(crate) fn role_arn(&self) -> &str {
        &self.role_arn
    }
}

impl fmt::Debug for TenantBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantBuckets").field("role_arn", &self.role_arn).finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStores for TenantBuckets {
    /// Takes the role, so that a refusal shows before anything is done. Every call does: put a
    /// cache in front.
    async fn open(&self, tenant: &Tenant) -> StoreResult<Arc<dyn ObjectStore>> {
        let credentials = TenantCredentials::new(self.sts.clone(), self.session(tenant)?, self.metrics.clone());
        credentials.get().await?;
        // The same HTTP client and quota of retries as the node's own: a tenant has no connections for
        // itself.
        let config = self
            .s3
            .config()
            .to_builder()
            .credentials_provider(credentials)
            // They are cached where they come from.
            .identity_cache(IdentityCache::no_cache())
            .build();
        let client = aws_sdk_s3::Client::from_conf(config);
        Ok(Arc::new(S3Bucket::new(client, &tenant.bucket, self.settings.clone())))
    }
}
