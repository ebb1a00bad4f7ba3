//! What a month costs, against AWS Transfer Family. No chance in it: prices times counts.

use serde::{Deserialize, Serialize};

use crate::measured::Measured;
use crate::parameters::Parameters;
use crate::settings::{Prices, Settings};
use crate::traffic::{Moved, Requests};

/// Services with an interface endpoint in each zone, unless the VPC is there already
/// (`deploy/terraform/network.tf`, `default_endpoints`).
const INTERFACE_ENDPOINTS: f64 = 6.0;
/// KMS keys of the module.
const KMS_KEYS: f64 = 2.0;
/// CPU that scaling aims at, of 1 (`target_cpu_percent`).
const CPU_TARGET: f64 = 0.6;

/// A month, in US dollars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// GB moved, up and down.
    pub(crate) gb: f64,
    /// Nodes all month, enough for the busiest hour.
    pub(crate) nodes: u64,
    /// Their hours and disks.
    pub(crate) instances: f64,
    /// The balancer's hours.
    pub(crate) balancer: f64,
    /// What passes it.
    pub(crate) balancer_units: f64,
    /// Between zones.
    pub(crate) between_zones: f64,
    /// Interface endpoints.
    pub(crate) endpoints: f64,
    /// Requests to DynamoDB.
    pub(crate) dynamodb: f64,
    /// Requests to S3.
    pub(crate) s3: f64,
    /// Keys and requests to KMS.
    pub(crate) kms: f64,
    /// Logs.
    pub(crate) logs: f64,
    /// AWS Transfer Family, one protocol; its own requests to S3, its logs and endpoints left out.
    pub(crate) transfer_family: f64,
}

impl Cost {
    /// A month of Tidegate.
    pub(crate) fn sum(&self) -> f64 {
        self.parts().iter().map(|part| part.1).sum()
    }

    /// What it is made of.
    pub(crate) fn parts(&self) -> [(&'static str, f64); 9] {
        [
            ("instances", self.instances),
            ("balancer, hours", self.balancer),
            ("balancer, NLCUs", self.balancer_units),
            ("between zones", self.between_zones),
            ("interface endpoints", self.endpoints),
            ("S3 requests", self.s3),
            ("DynamoDB", self.dynamodb),
            ("KMS", self.kms),
            ("logs", self.logs),
        ]
    }
}

/// What a month with so many GB costs.
pub(crate) fn month(gb: f64, parameters: &Parameters, settings: &Settings, measured: &Measured) -> Cost {
    let (prices, transfer) = (&settings.prices, &parameters.transfer);
    let hours = prices.hours_per_month;
    let (small_share, small_mb) = transfer.small;
    let mean_mb = small_share * small_mb + (1.0 - small_share) * transfer.large_mb;
    let files = gb * 1_000.0 / mean_mb;
    let sessions = files / transfer.files_per_session;

    // The busiest hour by the network, of which each byte is sent once, and by CPU.
    let busiest = transfer.peak * gb * 1e9 / (hours * 3_600.0);
    let by_network = busiest * 8.0 / (settings.module.network_mbps * 1e6);
    let cpu_per_byte = f64::midpoint(measured.upload_cpu_s, measured.download_cpu_s) / f64::from(1 << 30);
    let by_cpu = busiest * cpu_per_byte / (prices.instance.vcpus * CPU_TARGET);
    let nodes = (by_network.max(by_cpu).ceil() as u64).max(transfer.min_nodes);

    let part_size = settings.vfs.part_size.as_u64();
    let parts = ((transfer.large_mb * 1e6) as u64).div_ceil(part_size.max(1));
    let requests = mean_requests(small_share, parts, part_size, measured);
    let large_uploads = files * 0.5 * (1.0 - small_share);

    let coordination = &parameters.coordination;
    let renewals = nodes as f64 * hours * 3_600.0 / coordination.lease_renewal_seconds;
    let counters = (coordination.counter_writes_per_login + coordination.counter_writes_per_logout)
        * coordination.counter_units(nodes) as f64;
    let writes = large_uploads * coordination.journal_writes_per_upload + sessions * counters + renewals;
    let journal: f64 = kinds_of_files(small_share, parts)
        .map(|(file, share)| files * share * coordination.journal_reads(file, file.stats(measured)))
        .iter()
        .sum();
    let reads = 2.0 * sessions + journal + renewals * coordination.leases_units(nodes) as f64;

    let crossing = 1.0 - 1.0 / settings.module.zones;
    let units = balancer_units(gb, sessions, prices);
    Cost {
        gb,
        nodes,
        instances: nodes as f64
            * (hours * prices.instance.per_hour + prices.instance.disk_gb * prices.instance.disk_per_gb_month),
        balancer: hours * prices.balancer.per_hour,
        balancer_units: units * prices.balancer.per_nlcu_hour,
        // Charged on both sides.
        between_zones: gb * crossing * 2.0 * prices.network.between_zones_per_gb,
        endpoints: INTERFACE_ENDPOINTS * settings.module.zones * hours * prices.network.interface_endpoint_per_hour,
        dynamodb: reads / 1e6 * prices.dynamodb.per_million_reads + writes / 1e6 * prices.dynamodb.per_million_writes,
        s3: files / 1_000.0
            * (requests.writes * prices.s3.per_thousand_puts + requests.reads * prices.s3.per_thousand_gets),
        kms: KMS_KEYS * prices.kms.per_key_month
            + nodes as f64 * transfer.kms_requests_per_node / 10_000.0 * prices.kms.per_ten_thousand_requests,
        logs: (sessions + files) * transfer.log_bytes / 1e9 * prices.logs.per_gb,
        transfer_family: hours * prices.transfer_family.per_protocol_hour + gb * prices.transfer_family.per_gb,
    }
}

/// Requests to S3 for a file in the mean. Other requests than PUTs and GETs are counted as if all were LISTs,
/// which are charged as PUTs.
fn mean_requests(small_share: f64, parts: u64, part_size: u64, measured: &Measured) -> Requests {
    let mut sum = Requests::default();
    for (file, share) in kinds_of_files(small_share, parts) {
        let requests = file.requests(measured, part_size);
        let lists = match (file.up, file.parts) {
            (true, _) => requests.reads,
            (false, None) => measured.small_down.1,
            (false, Some(_)) => 0.0,
        };
        sum.writes += share * (requests.writes + lists);
        sum.reads += share * (requests.reads - lists);
    }
    sum
}

/// Up and down, of one part and of several, and how many of all files they are.
fn kinds_of_files(small_share: f64, parts: u64) -> [(Moved, f64); 4] {
    let kind = |up, parts, share| (Moved { up, parts }, 0.5 * share);
    [
        kind(true, None, small_share),
        kind(true, Some(parts), 1.0 - small_share),
        kind(false, None, small_share),
        kind(false, Some(parts), 1.0 - small_share),
    ]
}

/// NLCU-hours a month, by what needs most of them in the mean.
fn balancer_units(gb: f64, sessions: f64, prices: &Prices) -> f64 {
    let balancer = &prices.balancer;
    let connections = sessions / 3_600.0 / balancer.nlcu_new_connections_per_second;
    (gb / balancer.nlcu_gb_per_hour).max(connections)
}

/// From how many GB a month on Tidegate costs less, if it does from some on.
pub(crate) fn break_even(parameters: &Parameters, settings: &Settings, measured: &Measured) -> Option<f64> {
    let cheaper = |gb: f64| {
        let cost = month(gb, parameters, settings, measured);
        cost.sum() < cost.transfer_family
    };
    let (mut low, mut high) = (1.0, 1e7);
    if cheaper(low) || !cheaper(high) {
        return None;
    }
    while high - low > 1.0 {
        let middle = f64::midpoint(low, high);
        *(if cheaper(middle) { &mut high } else { &mut low }) = middle;
    }
    Some(high.round())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> (Parameters, Settings, Measured) {
        (Parameters::default(), Settings::load().unwrap(), Measured::load().unwrap())
    }

    #[test]
    fn transfer_family_is_charged_by_hour_and_by_gb() {
        let (parameters, settings, measured) = inputs();
        let prices = &settings.prices;
        let cost = month(1_000.0, &parameters, &settings, &measured);
        let expected =
            prices.hours_per_month * prices.transfer_family.per_protocol_hour + 1_000.0 * prices.transfer_family.per_gb;
        assert!((cost.transfer_family - expected).abs() < 1e-9);
    }

    #[test]
    fn nothing_moved_costs_the_fixed_parts() {
        let (parameters, settings, measured) = inputs();
        let cost = month(0.0, &parameters, &settings, &measured);
        assert_eq!(cost.nodes, parameters.transfer.min_nodes);
        assert_eq!((cost.balancer_units, cost.between_zones, cost.s3, cost.logs), (0.0, 0.0, 0.0, 0.0));
        assert!((cost.parts().iter().map(|part| part.1).sum::<f64>() - cost.sum()).abs() < 1e-9);
    }

    #[test]
    fn more_nodes_come_with_the_busiest_hour() {
        let (parameters, settings, measured) = inputs();
        let nodes = |gb| month(gb, &parameters, &settings, &measured).nodes;
        // Five times the mean of 1 PB a month, at 8 bits a byte.
        let expected = 5.0 * 8.0 * 1e15 / (730.0 * 3_600.0) / (settings.module.network_mbps * 1e6);
        assert_eq!(nodes(1_000_000.0), expected.ceil() as u64);
    }

    #[test]
    fn the_break_even_lies_between_dearer_and_cheaper() {
        let (parameters, settings, measured) = inputs();
        let at = break_even(&parameters, &settings, &measured).unwrap();
        let difference = |gb| {
            let cost = month(gb, &parameters, &settings, &measured);
            cost.sum() - cost.transfer_family
        };
        assert!(difference(at * 0.99) > 0.0 && difference(at * 1.01) < 0.0, "{at}");
    }
}
