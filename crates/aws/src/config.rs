//! Settings of this crate.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::tenant_role::TenantRole;

/// How to reach AWS, or services that speak its protocols.
///
/// Whatever is not set here comes from the AWS SDK's default chain: environment, shared
/// configuration files, container or instance metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The region, such as `eu-central-1`. Default: the SDK's chain.
    pub region: Option<String>,
    /// Addresses of services. Default: AWS's own.
    pub endpoints: Endpoints,
    /// Whether S3 is asked for `endpoint/bucket/key` in place of `bucket.endpoint/key`, as most
    /// other stores want it. Default: false.
    pub path_style: bool,
    /// The DynamoDB table. Default: `tidegate`.
    pub table: String,
    /// The KMS key that guards the host keys: an id, ARN or alias (`alias/…`). Default: none.
    pub kms_key_id: Option<String>,
    /// A static access key, for stores other than AWS. Default: the SDK's chain.
    pub access_key_id: Option<String>,
    /// The secret of `access_key_id`.
    pub secret_access_key: Option<Secret>,
    /// The role that nodes take for each tenant apart. Default: none.
    pub tenant_role: TenantRole,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How often a request is tried, the first time included: 1 to 10. Default: 5.
    pub max_attempts: u32,
    /// Connections per service that are kept open while nothing uses them, for 30 seconds. As
    /// many parts and reads as run at once should fit. Default: 512.
    pub max_idle_connections: usize,
    /// The checksum that goes with every object and part. Default: `crc64nvme`.
    pub checksums: Checksums,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: None,
            endpoints: Endpoints::default(),
            path_style: false,
            table: "tidegate".to_owned(),
            kms_key_id: None,
            access_key_id: None,
            secret_access_key: None,
            tenant_role: TenantRole::default(),
            timeouts: Timeouts::default(),
            max_attempts: 5,
            max_idle_connections: 512,
            checksums: Checksums::default(),
        }
    }
}

impl Config {
    /// Checks what the types alone can't.
    ///
    /// # Errors
    /// Names the first field that is wrong and what it takes.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |field, rule| Err(ConfigError { field, rule });
        // AWS API Reference, CreateTable, TableName.
        let table_char = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if !(3..=255).contains(&self.table.len()) || !self.table.bytes().all(table_char) {
            return refuse("table", "it takes 3 to 255 characters of a-z, A-Z, 0-9, _, - and .");
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return refuse("access_key_id", "it and secret_access_key are set together or not at all");
        }
        if !(1..=10).contains(&self.max_attempts) {
            return refuse("max_attempts", "it is 1 to 10");
        }
        if self.max_idle_connections == 0 {
            return refuse("max_idle_connections", "it is at least 1");
        }
        for (field, endpoint) in self.endpoints.all() {
            let http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
            if !endpoint.is_none_or(http) {
                return refuse(field, "it is a URL that begins with http:// or https://");
            }
        }
        for (field, time) in [
            ("timeouts.connect", self.timeouts.connect),
            ("timeouts.attempt", self.timeouts.attempt),
            ("timeouts.control", self.timeouts.control),
            ("timeouts.server_work", self.timeouts.server_work),
            ("timeouts.stall", self.timeouts.stall),
        ] {
            if time < Duration::from_millis(100) || time > Duration::from_secs(3600) {
                return refuse(field, "it is 100 ms to 1 h");
            }
        }
        if self.timeouts.upload_rate_min.as_u64() == 0 {
            return refuse("timeouts.upload_rate_min", "it is at least 1 byte (per second)");
        }
        self.tenant_role.validate().or_else(|(field, rule)| refuse(field, rule))
    }
}

/// A setting that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("aws.{field} is not valid: {rule}")]
pub struct ConfigError {
    field: &'static str,
    rule: &'static str,
}

impl ConfigError {
    /// The field, as a path below this crate's settings.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

/// Addresses of services as URLs; `None` is AWS's own address for the region.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    /// S3.
    pub s3: Option<String>,
    /// DynamoDB.
    pub dynamodb: Option<String>,
    /// KMS.
    pub kms: Option<String>,
    /// STS.
    pub sts: Option<String>,
}

impl Endpoints {
    fn all(&self) -> [(&'static str, Option<&String>); 4] {
        [
            ("endpoints.s3", self.s3.as_ref()),
            ("endpoints.dynamodb", self.dynamodb.as_ref()),
            ("endpoints.kms", self.kms.as_ref()),
            ("endpoints.sts", self.sts.as_ref()),
        ]
    }
}

/// How long requests may take. All hold for one attempt; [`Config::max_attempts`] bounds the whole.
///
/// There is no read time-out on the socket: the SDK's counts from the beginning of the request, so
/// that it would cut a slow upload, and every value of it gets connections of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Until a connection stands, TLS included. Default: 3 s.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// From the beginning of an attempt to the head of its answer. Requests that carry a body get
    /// the time on top that the body takes at `upload_rate_min`. Default: 15 s.
    #[serde(with = "humantime_serde")]
    pub attempt: Duration,
    /// The same for requests to DynamoDB, KMS and STS, which logins wait for. Default: 5 s.
    #[serde(with = "humantime_serde")]
    pub control: Duration,
    /// The same for requests that make S3 move data by itself: copies, and the completion of
    /// multipart uploads, which S3 says may take minutes. Default: 5 min.
    #[serde(with = "humantime_serde")]
    pub server_work: Duration,
    /// How long a body may stand still on the wire, in either direction, before the attempt ends.
    /// A reader that does not ask for more is no standstill. Default: 20 s.
    #[serde(with = "humantime_serde")]
    pub stall: Duration,
    /// The slowest upload that is let live, in bytes per second and connection. Default: 64 KiB.
    pub upload_rate_min: ByteSize,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(15),
            control: Duration::from_secs(5),
            server_work: Duration::from_secs(300),
            stall: Duration::from_secs(20),
            upload_rate_min: ByteSize::kib(64),
        }
    }
}

impl Timeouts {
    /// How long an attempt that sends `len` bytes may take. A standstill ends it far earlier.
    pub(crate) fn upload_attempt(&self, len: u64) -> Duration {
        self.attempt + Duration::from_secs(len.div_ceil(self.upload_rate_min.as_u64().max(1)))
    }
}

/// The checksum that is sent with objects and parts, and checked by the store.
///
/// Bodies are not hashed for the signature (`UNSIGNED-PAYLOAD`): SHA-256 over every byte costs
/// more CPU than everything else an upload does, and over https it adds nothing to TLS and the
/// checksum. Over plain http, which only stores on the own host should get, nobody proves that
/// the body was not replaced on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksums {
    /// CRC-64/NVME, of each part and of the whole object.
    #[default]
    Crc64nvme,
    /// None, for stores that refuse the header. Damage on the way goes unnoticed.
    Off,
}

/// A secret text, wiped on drop and never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn an_invalid_setting_is_named() {
        type Spoil = fn(&mut Config);
        let cases: [(&str, Spoil); 6] = [
            ("table", |config| config.table = "a/b".to_owned()),
            ("access_key_id", |config| config.access_key_id = Some("AKIA".to_owned())),
            ("max_attempts", |config| config.max_attempts = 0),
            ("endpoints.s3", |config| config.endpoints.s3 = Some("localhost:9000".to_owned())),
            ("timeouts.stall", |config| config.timeouts.stall = Duration::ZERO),
            ("timeouts.upload_rate_min", |config| config.timeouts.upload_rate_min = ByteSize::b(0)),
        ];
        for (field, spoil) in cases {
            let mut config = Config::default();
            spoil(&mut config);
            assert_eq!(config.validate().map_err(|error| error.field()), Err(field));
        }
    }

    #[test]
    fn settings_are_read_as_an_operator_writes_them() {
        let config: Config = toml::from_str(
            r#"
            region = "eu-central-1"
            path_style = true
            checksums = "off"
            secret_access_key = "hunter2"
            endpoints = { s3 = "http://localhost:9000" }
            timeouts = { connect = "500ms", server_work = "2m", upload_rate_min = "1MiB" }
            "#,
        )
        .unwrap();
        assert_eq!(config.checksums, Checksums::Off);
        assert_eq!(config.secret_access_key.as_ref().map(Secret::expose), Some("hunter2"));
        assert_eq!(config.timeouts.server_work, Duration::from_secs(120));
        assert_eq!(config.timeouts.upload_rate_min, ByteSize::mib(1));
        assert_eq!(config.timeouts.attempt, Timeouts::default().attempt);
        assert!(toml::from_str::<Config>("regoin = \"eu-central-1\"").is_err());
    }

    #[test]
    fn the_secret_is_not_shown() {
        let config = Config { secret_access_key: Some("hunter2".into()), ..Config::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_large_part_gets_the_time_it_takes_on_a_slow_line() {
        let timeouts = Timeouts::default();
        assert_eq!(timeouts.upload_attempt(0), timeouts.attempt);
        assert!(timeouts.upload_attempt(64 << 20) >= Duration::from_secs(1024));
    }
}
