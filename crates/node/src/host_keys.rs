//! Where the cluster's host keys lie, what seals them, and how a node follows their changes.

mod metrics;
mod refresh;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_aws::{Aws, ConnectError};
use tidegate_embedded::LocalDataKeys;
use tidegate_ssh::HostKeySet;
use tidegate_store::{DataKeys, HostKeyStore, ObjectKey, Tenant};

use crate::config::InvalidSetting;

pub(crate) use metrics::Metrics;
pub(crate) use refresh::{Refresh, Sealed, tell};

/// The `[host_keys]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The bucket that holds the sealed host keys. Needed by `serve` and `hostkey`. Default: none.
    pub bucket: Option<String>,
    /// The object that holds them. No tenant's prefix may cover it. Default:
    /// `tidegate/host-keys`.
    pub key: String,
    /// Whether a node that finds none makes them. Default: false: `tidegate hostkey init` does.
    pub auto_init: bool,
    /// How long a change of the host keys takes at most to reach a node; it looks a little more often,
    /// at random, so that nodes don't ask at once. 1 s to 1 h, default 1 min.
    #[serde(with = "humantime_serde")]
    pub refresh_interval: Duration,
    /// What seals them. Default: `kms`, the key `aws.kms_key_id`.
    pub seal: Seal,
    /// The file with the root key, for `seal = "local-file"`. Made if it is missing; every node
    /// needs the same one. Default: none.
    pub local_file: Option<PathBuf>,
}

/// What seals the host keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seal {
    /// AWS KMS.
    Kms,
    /// A root key in a local file, for clusters without KMS.
    LocalFile,
}

/// Why the host keys can't be reached.
#[derive(Debug, Error)]
pub enum LocationError {
    /// No KMS key.
    #[error(transparent)]
    Kms(#[from] ConnectError),
    /// The file with the root key.
    #[error("the root key file (host_keys.local_file) can't be used")]
    LocalFile(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A setting is missing.
    #[error("{0} is not set: it is needed to find the cluster's host keys")]
    Unset(&'static str),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bucket: None,
            key: "tidegate/host-keys".to_owned(),
            auto_init: false,
            refresh_interval: Duration::from_secs(60),
            seal: Seal::Kms,
            local_file: None,
        }
    }
}

impl Config {
    /// Checks what the types alone can't.
    ///
    /// # Errors
    /// Names the first setting that can't work.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        if ObjectKey::new(self.key.as_str()).is_none() || self.key.ends_with('/') {
            return Err(InvalidSetting::new("host_keys.key", "it takes 1 to 1024 bytes and does not end in \"/\""));
        }
        if self.bucket.as_deref() == Some("") {
            return Err(InvalidSetting::new("host_keys.bucket", "it is empty"));
        }
        if !(Duration::from_secs(1)..=HostKeySet::RETIRED_MIN).contains(&self.refresh_interval) {
            return Err(InvalidSetting::new("host_keys.refresh_interval", "it takes 1 s to 1 h"));
        }
        if self.seal == Seal::LocalFile && self.local_file.is_none() {
            return Err(InvalidSetting::new(
                "host_keys.local_file",
                "it is needed with host_keys.seal = \"local-file\"",
            ));
        }
        Ok(())
    }

    /// Whether the object that holds them lies among this tenant's files. A bucket that is named
    /// in two ways, such as by an access point, is not recognised.
    pub fn lie_within(&self, tenant: &Tenant) -> bool {
        self.bucket.as_deref() == Some(tenant.bucket.as_str()) && self.key.starts_with(tenant.prefix.as_str())
    }

    /// The bucket's name.
    ///
    /// # Errors
    /// [`LocationError::Unset`].
    pub fn bucket(&self) -> Result<&str, LocationError> {
        self.bucket.as_deref().ok_or(LocationError::Unset("host_keys.bucket"))
    }

    /// The object that holds the keys.
    ///
    /// # Errors
    /// [`LocationError::Unset`] without a bucket.
    pub fn store(&self, aws: &Aws) -> Result<HostKeyStore, LocationError> {
        let key = ObjectKey::new(self.key.as_str()).ok_or(LocationError::Unset("host_keys.key"))?;
        Ok(HostKeyStore::new(aws.bucket(self.bucket()?), key))
    }

    /// What seals them.
    ///
    /// # Errors
    /// Without a KMS key or a usable file, as `seal` asks for.
    pub fn data_keys(&self, aws: &Aws) -> Result<Arc<dyn DataKeys>, LocationError> {
        match self.seal {
            Seal::Kms => Ok(aws.data_keys()?),
            Seal::LocalFile => {
                let path = self.local_file.as_ref().ok_or(LocationError::Unset("host_keys.local_file"))?;
                let keys = LocalDataKeys::open(path).map_err(|error| LocationError::LocalFile(error.into()))?;
                Ok(Arc::new(keys))
            }
        }
    }
}
