//! Builds the clients, and what the rest of the program gets to see of them.

use std::sync::Arc;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_s3::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use thiserror::Error;
use tidegate_store::{
    DataKeys, Directory, Journal, Leases, LoginFailures, Metrics, ObjectStore, ObjectStores, StoreResult, Tenant,
    UsageStore,
};

use crate::clock::StoreClock;
use crate::config::{Config, ConfigError};
use crate::dynamo::{self, DynamoDirectory, DynamoJournal, DynamoLeases, DynamoLoginFailures, DynamoUsage};
use crate::kms::KmsDataKeys;
use crate::probe::{self, Probe};
use crate::s3::{Buckets, Md5Tags, S3Bucket, Settings};
use crate::tenant_role::TenantBuckets;

/// The quota of S3 retries in tokens, of which one retry costs five to ten, and how many come back a
/// second: in an outage of S3 about ten retries a second go on.
const RETRY_QUOTA: usize = 10_000;
const RETRY_REFILL: f32 = 100.0;

/// Why there is no connection to AWS, or no way to what was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Neither the configuration nor the SDK's chain names a region.
    #[error("no AWS region is known: set aws.region or AWS_REGION, or run where the instance metadata can be reached")]
    NoRegion,
    /// No KMS key is configured.
    #[error("no KMS key is configured: set aws.kms_key_id to the key that guards the host keys")]
    NoKmsKey,
}

/// The clients of all services on one shared pool of connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Aws {
    config: Arc<Config>,
    s3: aws_sdk_s3::Client,
    s3_clock: StoreClock,
    md5_tags: Md5Tags,
    dynamodb: aws_sdk_dynamodb::Client,
    dynamodb_clock: StoreClock,
    kms: aws_sdk_kms::Client,
    sts: aws_sdk_sts::Client,
}

impl Aws {
    /// Finds region and credentials and builds the clients. No service is called; whether they
    /// answer is what [`Aws::probe`] tells.
    ///
    /// # Errors
    /// A setting is wrong, or there is no region.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        Self::connect_by(config, http_client(config)).await
    }

    /// The same by another HTTP client.
    pub(crate) async fn connect_by(config: &Config, http: SharedHttpClient) -> Result<Self, ConnectError> {
        config.validate()?;
        let sdk = sdk_config(config, http).await;
        if sdk.region().is_none() {
            return Err(ConnectError::NoRegion);
        }
        let endpoints = &config.endpoints;
        let mut s3 = aws_sdk_s3::config::Builder::from(&sdk)
            .force_path_style(config.path_style)
            // The checksum that was computed as the bytes arrived is set on each request by us. The
            // SDK leaves a body alone that has one, and with `WhenRequired` also adds none of its
            // own to other requests and does not sum up answers: who reads a file does that, over
            // all its ranges. A body so treated is no
            // `aws-chunked` one either, which some stores don't speak.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        // The SDK takes each retry from one quota for all requests, which only successes refill: one
        // tenant's throttled bucket would use it up, and then a single broken connection would fail
        // another tenant's upload for good. This one is larger and refilled by time.
        let quota = TokenBucket::builder().capacity(RETRY_QUOTA).refill_rate(RETRY_REFILL).build();
        s3 = s3.retry_partition(RetryPartition::custom("tidegate-s3").token_bucket(quota).build());
        let s3_clock = StoreClock::default();
        s3 = s3.interceptor(s3_clock.clone());
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&sdk).retry_classifier(dynamo::RetryConflicts);
        let mut kms = aws_sdk_kms::config::Builder::from(&sdk);
        let mut sts = aws_sdk_sts::config::Builder::from(&sdk);
        let control = TimeoutConfig::builder()
            .connect_timeout(config.timeouts.connect)
            .operation_attempt_timeout(config.timeouts.control)
            .build();
        let dynamodb_clock = StoreClock::default();
        dynamodb = dynamodb.interceptor(dynamodb_clock.clone());
        dynamodb.set_timeout_config(Some(control.clone()));
        kms.set_timeout_config(Some(control.clone()));
        sts.set_timeout_config(Some(control));
        // Set only where configured, so that AWS_ENDPOINT_URL_S3 and the like hold otherwise.
        if let Some(url) = &endpoints.s3 {
            s3 = s3.endpoint_url(url);
        }
        if let Some(url) = &endpoints.dynamodb {
            dynamodb = dynamodb.endpoint_url(url);
        }
        if let Some(url) = &endpoints.kms {
            kms = kms.endpoint_url(url);
        }
        if let Some(url) = &endpoints.sts {
            sts = sts.endpoint_url(url);
        }
        Ok(Self {
            config: Arc::new(config.clone()),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            s3_clock,
            md5_tags: Md5Tags::default(),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            dynamodb_clock,
            kms: aws_sdk_kms::Client::from_conf(kms.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
        })
    }

    /// One bucket, with the node's own credentials.
    pub fn bucket(&self, name: &str) -> Arc<dyn ObjectStore> {
        Arc::new(S3Bucket::new(self.s3.clone(), name, self.settings()))
    }

    /// The buckets of all tenants, with the node's own credentials.
    pub fn object_stores(&self) -> Arc<dyn ObjectStores> {
        Arc::new(Buckets::new(self.s3.clone(), self.settings()))
    }

    /// The buckets of all tenants, each with credentials of the tenant's own by the role
    /// [`Config::tenant_role`], or `None` if there is no such role. Opening one takes the role every
    /// time, so it needs a cache in front. What STS is asked for counts into `metrics` as the call
    /// `assume_role` of the service `sts`.
    pub fn tenant_object_stores(&self, metrics: Metrics) -> Option<Arc<dyn ObjectStores>> {
        Some(Arc::new(self.tenant_buckets(Some(metrics))?))
    }

    /// Checks that nodes can reach the tenant's files: with a role for each tenant, that there is a
    /// session policy for this one. Asks no service.
    ///
    /// # Errors
    /// `InvalidRequest` if there is none.
    pub fn check_tenant(&self, tenant: &Tenant) -> StoreResult<()> {
        self.tenant_buckets(None).map_or(Ok(()), |buckets| buckets.check(tenant))
    }

    /// Tenants, users and keys in the table.
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(DynamoDirectory::new(self.dynamodb.clone(), &self.config.table))
    }

    /// The journal of uploads in the table.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(DynamoJournal::new(self.dynamodb.clone(), &self.config.table))
    }

    /// The counters of usage in the table.
    pub fn usage(&self) -> Arc<dyn UsageStore> {
        Arc::new(DynamoUsage::new(self.dynamodb.clone(), &self.config.table))
    }

    /// The nodes' leases and their sessions in the table.
    pub fn leases(&self) -> Arc<dyn Leases> {
        Arc::new(DynamoLeases::new(self.dynamodb.clone(), &self.config.table))
    }

    /// The counts of failed logins in the table.
    pub fn login_failures(&self) -> Arc<dyn LoginFailures> {
        let clock = self.dynamodb_clock.clone();
        Arc::new(DynamoLoginFailures::new(self.dynamodb.clone(), &self.config.table, clock))
    }

    /// The KMS key.
    ///
    /// # Errors
    /// [`ConnectError::NoKmsKey`] if none is configured.
    pub fn data_keys(&self) -> Result<Arc<dyn DataKeys>, ConnectError> {
        let key = self.config.kms_key_id.as_deref().ok_or(ConnectError::NoKmsKey)?;
        Ok(Arc::new(KmsDataKeys::new(self.kms.clone(), key)))
    }

    /// Creates the table and waits until it can be used, at most two minutes. Fine if it exists.
    ///
    /// # Errors
    /// Any that talking to DynamoDB may give; `Unavailable` if it takes too long.
    pub async fn create_table(&self) -> StoreResult<()> {
        dynamo::create_table(&self.dynamodb, &self.config.table).await
    }

    /// Creates a bucket in the client's region. Fine if it is ours already.
    ///
    /// # Errors
    /// `PreconditionFailed` if somebody else owns it; any that talking to S3 may give.
    pub async fn create_bucket(&self, name: &str) -> StoreResult<()> {
        crate::s3::create_bucket(&self.s3, name).await
    }

    /// Checks everything a node needs, each for at most 15 seconds, all at the same time. Writes
    /// and removes small objects below `.tidegate-probe/` in the bucket.
    pub async fn probe(&self, bucket: &str) -> Vec<Probe> {
        probe::run(self, bucket).await
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn s3(&self) -> &aws_sdk_s3::Client {
        &self.s3
    }

    pub(crate) fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        &self.dynamodb
    }

    pub(crate) fn sts(&self) -> &aws_sdk_sts::Client {
        &self.sts
    }

    pub(crate) fn tenant_buckets(&self, metrics: Option<Metrics>) -> Option<TenantBuckets> {
        let (s3, sts, settings) = (self.s3.clone(), self.sts.clone(), self.settings());
        TenantBuckets::new(s3, sts, settings, &self.config.tenant_role, metrics)
    }

    fn settings(&self) -> Settings {
        let (checksums, timeouts) = (self.config.checksums, self.config.timeouts.clone());
        Settings { checksums, timeouts, clock: self.s3_clock.clone(), md5_tags: self.md5_tags.clone() }
    }
}

async fn sdk_config(config: &Config, http: SharedHttpClient) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(config.timeouts.connect)
                .operation_attempt_timeout(config.timeouts.attempt)
                .build(),
        )
        // Doubles from 100 ms, each wait drawn at random between none and the whole (full jitter).
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(config.max_attempts)
                .with_initial_backoff(Duration::from_millis(100))
                .with_max_backoff(Duration::from_secs(5)),
        )
        // Ends an attempt whose body stands still: less than one byte moved in a second, and so it
        // stayed for the grace period. It counts only the time in which the other side has the
        // turn: a download that nobody polls, because the client at the far end is slow, is not a
        // stall. The SDK's default grace of 5 s is shorter than the pauses that S3 itself makes
        // when it moves a prefix to more partitions. An upload's watch ends when its last byte is
        // handed to the socket; from there on the attempt's time-out holds.
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .upload_enabled(true)
                .download_enabled(true)
                .grace_period(config.timeouts.stall)
                .build(),
        );
    if let Ok(name) = AppName::new("tidegate") {
        loader = loader.app_name(name);
    }
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let (Some(id), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
        loader = loader.credentials_provider(Credentials::new(id, secret.expose(), None, None, "tidegate-config"));
    }
    loader.load().await
}

/// One pool for all services. HTTP/1.1, as S3 speaks nothing else: every running part and read has
/// a connection of its own, so their number is bounded by the node's budgets for those, and the
/// pool only bounds how many are kept idle. `TCP_NODELAY` is on by the connector's default.
fn http_client(config: &Config) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        // S3 closes idle connections itself somewhat later; whoever closes first avoids a request
        // that is lost to the race between the two.
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(config.max_idle_connections)
        .build_https()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn secrets_are_not_shown() {
        let config = Config {
            region: Some("us-east-1".to_owned()),
            access_key_id: Some("AKIATEST".to_owned()),
            secret_access_key: Some("hunter2".into()),
            ..Config::default()
        };
        let aws = Aws::connect(&config).await.unwrap();
        assert!(!format!("{aws:?}{:?}", aws.bucket("files")).contains("hunter2"));
    }

    #[tokio::test]
    async fn data_keys_need_a_configured_key() {
        let config = Config { region: Some("us-east-1".to_owned()), ..Config::default() };
        let aws = Aws::connect(&config).await.unwrap();
        assert!(matches!(aws.data_keys(), Err(ConnectError::NoKmsKey)));
    }
}
