//! What the program and its Terraform module say themselves: the settings of a node, AWS's quotas and prices.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_store::cached;

use crate::error::ScalingError;

/// The settings of a node, held against the code by a test of the node's.
const DEFAULTS: &str = include_str!("../../../crates/node/src/config/defaults.toml");
/// The variables of the Terraform module.
const VARIABLES: &str = include_str!("../../../deploy/terraform/variables.tf");
const PRICES: &str = include_str!("../prices.toml");
const QUOTAS: &str = include_str!("../quotas.toml");

/// What is set, and what AWS charges and allows.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `[accounts]`.
    pub(crate) accounts: cached::Config,
    /// `[ssh]`.
    pub(crate) ssh: tidegate_ssh::Config,
    /// `[vfs]`.
    pub(crate) vfs: tidegate_vfs::Config,
    /// `aws.max_attempts`.
    pub(crate) max_attempts: u32,
    /// The module's.
    pub(crate) module: Module,
    /// What AWS charges.
    pub(crate) prices: Prices,
    /// What AWS allows.
    pub(crate) quotas: Quotas,
}

/// The part of a node's settings that lies in a crate with an AWS SDK, which is not needed here.
#[derive(Debug, Deserialize)]
struct Rest {
    aws: Aws,
}

#[derive(Debug, Deserialize)]
struct Aws {
    max_attempts: u32,
}

/// What the Terraform module sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Module {
    /// The nodes' type.
    pub(crate) instance_type: String,
    /// Nodes at most, unless set higher.
    pub(crate) max_size: usize,
    /// What scaling by sessions aims at.
    pub(crate) sessions_per_node: usize,
    /// What scaling by network aims at, in Mbit/s sent.
    pub(crate) network_mbps: f64,
    /// Between two questions of the balancer to a node, in seconds.
    pub(crate) health_check_seconds: f64,
    /// Failed ones after which a node gets no new connection.
    pub(crate) unhealthy_threshold: f64,
    /// How long a draining node still takes connections, in seconds.
    pub(crate) drain_delay_seconds: f64,
    /// How long its transfers may go on behind that.
    pub(crate) drain_deadline_seconds: f64,
    /// Zones.
    pub(crate) zones: f64,
}

impl Settings {
    /// # Errors
    /// Says which file can't be read and why.
    pub(crate) fn load() -> Result<Self, ScalingError> {
        let Rest { aws } = toml("crates/node/src/config/defaults.toml", DEFAULTS)?;
        Ok(Self {
            accounts: cached::Config::default(),
            ssh: tidegate_ssh::Config::default(),
            vfs: tidegate_vfs::Config::default(),
            max_attempts: aws.max_attempts,
            module: Module::load()?,
            prices: toml("prices.toml", PRICES)?,
            quotas: toml("quotas.toml", QUOTAS)?,
        })
    }

    /// What of a node's settings the results depend on, by name.
    pub(crate) fn noted(&self) -> BTreeMap<String, String> {
        let seconds = |duration: Duration| format!("{} s", duration.as_secs_f64());
        BTreeMap::from([
            ("accounts.capacity".to_owned(), self.accounts.capacity.to_string()),
            ("accounts.negative_ttl".to_owned(), seconds(self.accounts.negative_ttl)),
            ("accounts.ttl".to_owned(), seconds(self.accounts.ttl)),
            ("aws.max_attempts".to_owned(), self.max_attempts.to_string()),
            ("ssh.account_lookup_timeout".to_owned(), seconds(self.ssh.account_lookup_timeout)),
            ("ssh.login_grace".to_owned(), seconds(self.ssh.login_grace)),
            ("ssh.max_connections".to_owned(), self.ssh.max_connections.to_string()),
            ("ssh.max_unauthenticated".to_owned(), self.ssh.max_unauthenticated.to_string()),
            ("vfs.listing_concurrency".to_owned(), self.vfs.listing_concurrency.to_string()),
            ("vfs.part_size".to_owned(), self.vfs.part_size.to_string()),
        ])
    }
}

impl Module {
    fn load() -> Result<Self, ScalingError> {
        let number = |name: &'static str| {
            let text = default_of(VARIABLES, name).ok_or(ScalingError::NoVariable { name })?;
            text.parse::<f64>().map_err(|_| ScalingError::NoVariable { name })
        };
        Ok(Self {
            instance_type: default_of(VARIABLES, "instance_type")
                .ok_or(ScalingError::NoVariable { name: "instance_type" })?
                .trim_matches('"')
                .to_owned(),
            max_size: number("max_size")? as usize,
            sessions_per_node: number("target_sessions_per_node")? as usize,
            network_mbps: number("target_network_mbps")?,
            health_check_seconds: number("health_check_interval_seconds")?,
            unhealthy_threshold: number("health_check_unhealthy_threshold")?,
            drain_delay_seconds: number("drain_delay_seconds")?,
            drain_deadline_seconds: number("drain_deadline_seconds")?,
            zones: number("zone_count")?,
        })
    }

    /// How long the balancer sends connections to a node that is dead, in seconds.
    pub(crate) fn unhealthy_seconds(&self) -> f64 {
        self.health_check_seconds * self.unhealthy_threshold
    }
}

/// The default of a variable of a Terraform module, as written.
fn default_of<'a>(text: &'a str, variable: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("\nvariable \"{variable}\" {{\n"))?;
    let (body, _) = rest.split_once("\n}\n")?;
    body.lines().find_map(|line| line.strip_prefix("  default")?.trim_start().strip_prefix("= "))
}

fn toml<T: for<'a> Deserialize<'a>>(file: &'static str, text: &str) -> Result<T, ScalingError> {
    toml::from_str(text).map_err(|source| ScalingError::Table { file, source: Box::new(source) })
}

/// `prices.toml`, in US dollars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    pub(crate) region: String,
    pub(crate) noted: String,
    pub(crate) hours_per_month: f64,
    pub(crate) instance: InstancePrices,
    pub(crate) balancer: BalancerPrices,
    pub(crate) network: NetworkPrices,
    pub(crate) dynamodb: DynamoPrices,
    pub(crate) s3: S3Prices,
    pub(crate) kms: KmsPrices,
    pub(crate) logs: LogPrices,
    pub(crate) transfer_family: TransferFamilyPrices,
    /// For docs/cost.py.
    #[serde(default, skip_serializing)]
    pub(crate) cost_alone: Unread,
}

/// A table that is another program's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }
    };
}

table!(
    /// EC2 and EBS.
    InstancePrices { r#type: String, per_hour: f64, vcpus: f64, disk_gb: f64, disk_per_gb_month: f64 }
);
table!(
    /// The Network Load Balancer.
    BalancerPrices {
        per_hour: f64,
        per_nlcu_hour: f64,
        nlcu_new_connections_per_second: f64,
        nlcu_active_connections: f64,
        nlcu_gb_per_hour: f64,
    }
);
table!(
    /// Between zones, and endpoints.
    NetworkPrices { between_zones_per_gb: f64, interface_endpoint_per_hour: f64 }
);
table!(
    /// DynamoDB, on demand.
    DynamoPrices { per_million_reads: f64, per_million_writes: f64 }
);
table!(
    /// Requests to S3.
    S3Prices { per_thousand_puts: f64, per_thousand_gets: f64 }
);
table!(
    /// KMS.
    KmsPrices { per_key_month: f64, per_ten_thousand_requests: f64 }
);
table!(
    /// CloudWatch Logs.
    LogPrices { per_gb: f64 }
);
table!(
    /// AWS Transfer Family.
    TransferFamilyPrices { per_protocol_hour: f64, per_gb: f64 }
);
table!(
    /// `quotas.toml`.
    Quotas { noted: String, dynamodb: DynamoQuotas, s3: S3Quotas, balancer: BalancerQuotas, sts: RateQuota, kms: RateQuota }
);
table!(
    /// DynamoDB's, in requests a second.
    DynamoQuotas {
        partition_reads_per_second: u64,
        partition_writes_per_second: u64,
        new_table_reads_per_second: u64,
        new_table_writes_per_second: u64,
        table_reads_per_second: u64,
        table_writes_per_second: u64,
    }
);
table!(
    /// S3's.
    S3Quotas { prefix_writes_per_second: u64, prefix_reads_per_second: u64 }
);
table!(
    /// The balancer's.
    BalancerQuotas { targets: u64, targets_per_group: u64 }
);
table!(
    /// STS's and KMS's.
    RateQuota { requests_per_second: u64 }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_understood() {
        let settings = Settings::load().unwrap();
        assert!(settings.module.sessions_per_node > 0 && settings.module.unhealthy_seconds() > 0.0);
        assert_eq!(settings.accounts.validate(), Ok(()));
    }

    #[test]
    fn the_priced_instance_is_the_one_that_the_module_starts() {
        let settings = Settings::load().unwrap();
        assert_eq!(settings.prices.instance.r#type, settings.module.instance_type);
        assert_eq!(default_of(VARIABLES, "root_volume_gib"), Some(&*settings.prices.instance.disk_gb.to_string()));
    }

    #[test]
    fn a_variable_without_a_default_is_found_out() {
        let text = "\nvariable \"a\" {\n  type = number\n}\n\nvariable \"b\" {\n  default     = 5\n}\n";
        assert_eq!((default_of(text, "a"), default_of(text, "b"), default_of(text, "c")), (None, Some("5"), None));
    }
}
