//! What is assumed, all in one place. What can be read from the program, its Terraform module or its
//! benchmark is not assumed but read: see [`crate::settings`] and [`crate::measured`].

use serde::{Deserialize, Serialize};

use crate::steady::read_units;
use crate::traffic::Moved;

/// Everything that is assumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// Of all chance.
    pub(crate) seed: u64,
    /// The cluster and who uses it.
    pub(crate) cluster: Cluster,
    /// What sessions do, one after the other.
    pub(crate) profiles: Vec<Profile>,
    /// What nodes write to DynamoDB about themselves and one another.
    pub(crate) coordination: Coordination,
    /// What a login takes besides the node's CPU.
    pub(crate) login: Login,
    /// What clients do whose session was cut or whose login failed.
    pub(crate) clients: Vec<Retry>,
    /// How a death is noticed and made good.
    pub(crate) death: Death,
    /// How the group grows.
    pub(crate) growth: Growth,
    /// What is moved, for the cost.
    pub(crate) transfer: Transfer,
}

/// The cluster and who uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// The numbers of nodes that are simulated, ascending.
    pub(crate) nodes: Vec<usize>,
    /// Sessions at most; below, the module's target per node holds.
    pub(crate) max_sessions: usize,
    /// Tenants, of which the n-th has 1/n of the users of the first.
    pub(crate) tenants: usize,
    /// How many of the tenants have a limit of sessions that holds for the whole cluster. The first always has.
    pub(crate) limited_share: f64,
    /// How many of the tenants have a quota. The first always has.
    pub(crate) quota_share: f64,
    /// Bytes of a user's item: a few keys, no long list of rules. DynamoDB counts reads by 4 KB.
    pub(crate) user_item_bytes: u64,
    /// Bytes of a tenant's item.
    pub(crate) tenant_item_bytes: u64,
}

/// What sessions do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// In tables and charts.
    pub(crate) name: String,
    /// Sessions at once of one user in the mean.
    pub(crate) sessions_per_user: f64,
    /// How long a session lasts in the mean; the client then logs in again.
    pub(crate) session_seconds: f64,
    /// Files that a session moves in an hour.
    pub(crate) files_per_hour: f64,
    /// How many of them go up.
    pub(crate) upload_share: f64,
    /// How many of them are larger than a part.
    pub(crate) large_share: f64,
    /// Size of such a file in MiB.
    pub(crate) large_mib: u64,
}

/// What nodes write to DynamoDB about themselves and one another: the journal of uploads and the counters of
/// sessions. One place, so that the figures can follow the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coordination {
    /// Journal: writes for each multipart upload, at its beginning and its end (`enter` of
    /// `crates/vfs/src/journal.rs`, `end` of `journal/keeper.rs`). A file that fits into one part
    /// (`vfs.part_size`) has none, unless it is open for more than a second: that is left out.
    pub(crate) journal_writes_per_upload: f64,
    /// Journal: strongly consistent reads for each OPEN for writing (`crates/vfs/src/open.rs`).
    pub(crate) journal_reads_per_open: u64,
    /// Journal: the same before each part of a multipart upload, and before its completion
    /// (`confirm` of `journal/keeper.rs`).
    pub(crate) journal_reads_per_part: u64,
    /// Journal: the same for each STAT, whatever the path (`stat` of `crates/vfs/src/namespace.rs`).
    pub(crate) journal_reads_per_stat: f64,
    /// Counters: writes for each login to a tenant with a limit of sessions, on the tenant's partition
    /// (`crates/ssh/src/sessions/telling.rs`).
    pub(crate) counter_writes_per_login: f64,
    /// Counters: the same for each session's end, at most.
    pub(crate) counter_writes_per_logout: f64,
    /// Counters: ends of so many seconds are told together, or with a login that comes meanwhile.
    pub(crate) counter_gather_seconds: f64,
    /// Counters: bytes of the item without nodes, and for each node that has had a session of the tenant, which
    /// in the long run all have (`hold` of `crates/aws/src/dynamo/leases.rs`). DynamoDB counts writes by 1 KB of
    /// the whole item.
    pub(crate) counter_item_bytes: (u64, u64),
    /// Leases: each node renews its own once in so many seconds, with one write, and reads those of all nodes
    /// with one strongly consistent query (`crates/ssh/src/sessions/keeper.rs`). They have one partition key.
    pub(crate) lease_renewal_seconds: f64,
    /// Leases: bytes of the item of each node.
    pub(crate) lease_item_bytes: u64,
    /// Quotas: a node tells what changed in a tenant so many seconds after the first change
    /// (`FLUSH` of `crates/vfs/src/usage.rs`): one write on the tenant's partition.
    pub(crate) usage_flush_seconds: f64,
    /// Quotas: a node reads the counters at an upload if what it knows is older than this (`REFRESH`, as above).
    pub(crate) usage_refresh_seconds: f64,
    /// Roles: where nodes take a role of STS for each tenant, each node asks again after so many seconds.
    pub(crate) role_seconds: f64,
}

/// What a login takes besides the node's CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// Round trips between client and node, from the TCP connection to the open SFTP channel.
    pub(crate) round_trips: f64,
    /// Round-trip times, from the least to the greatest, all equally frequent, in milliseconds.
    pub(crate) round_trip_ms: (f64, f64),
    /// Each GetItem, in milliseconds.
    pub(crate) get_item_ms: f64,
    /// How often a login asks the account cache: when the client asks for methods, offers its key, signs with it
    /// and opens its channel (`crates/ssh/src/handler.rs`, `channel.rs`).
    pub(crate) lookups: u64,
}

/// What a kind of clients does whose session was cut or whose login failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retry {
    /// In tables.
    pub(crate) name: String,
    /// How many of all clients are of this kind.
    pub(crate) share: f64,
    /// Until the first try, in seconds.
    pub(crate) first_seconds: f64,
    /// Between the first two tries, in seconds.
    pub(crate) base_seconds: f64,
    /// By how much each wait is longer than the one before.
    pub(crate) factor: f64,
    /// The longest wait, in seconds.
    pub(crate) max_seconds: f64,
    /// Which part of a wait chance may take away, 0 to 1.
    pub(crate) jitter: f64,
}

/// How a death is noticed and made good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Death {
    /// A client of a machine that vanished notices after so many seconds, from the least to the greatest: by its
    /// own keep-alives, or since nothing is acknowledged.
    pub(crate) silent_notice_seconds: (f64, f64),
    /// How long a client waits for a connection that nobody answers.
    pub(crate) connect_timeout_seconds: f64,
    /// Until the group has put another node in place: noticing, launching, booting, passing checks.
    pub(crate) replacement_seconds: f64,
    /// How many of all nodes a zone has.
    pub(crate) zone_share: f64,
    /// How long is looked at.
    pub(crate) horizon_seconds: f64,
}

/// How the group grows. AWS does not say when exactly target tracking acts; these are its alarms as it makes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Growth {
    /// Sessions before and after.
    pub(crate) sessions: (usize, usize),
    /// In how many minutes they become so many; one run for each.
    pub(crate) ramp_minutes: Vec<f64>,
    /// How long a session lasts in the mean, in minutes.
    pub(crate) session_minutes: f64,
    /// Minutes over the target until the group grows.
    pub(crate) alarm_minutes: usize,
    /// Minutes below 90 % of it until the group shrinks.
    pub(crate) calm_minutes: usize,
    /// From the decision to the first connection on a new node, in seconds.
    pub(crate) launch_seconds: f64,
    /// How long the metric lags behind, in minutes.
    pub(crate) metric_delay_minutes: usize,
    /// How many sessions of a draining node have a transfer that goes on.
    pub(crate) busy_share: f64,
}

/// What is moved, for the cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// Volumes in GB a month, up and down together, half of it each.
    pub(crate) gb_per_month: Vec<f64>,
    /// How many files are smaller than a part, and their size in MB.
    pub(crate) small: (f64, f64),
    /// Size of the others in MB.
    pub(crate) large_mb: f64,
    /// Files that a session moves.
    pub(crate) files_per_session: f64,
    /// The busiest hour against the mean one.
    pub(crate) peak: f64,
    /// Nodes at least.
    pub(crate) min_nodes: u64,
    /// Bytes of log for each session and for each file.
    pub(crate) log_bytes: f64,
    /// Requests to KMS of the bucket key and the table, a month for each node.
    pub(crate) kms_requests_per_node: f64,
}

impl Default for Parameters {
    fn default() -> Self {
        let profile = |name: &str, sessions_per_user, session_seconds, files_per_hour| Profile {
            name: name.to_owned(),
            sessions_per_user,
            session_seconds,
            files_per_hour,
            upload_share: 0.6,
            large_share: 0.1,
            large_mib: 64,
        };
        let retry = |name: &str, share, first_seconds, base_seconds, factor, max_seconds, jitter| Retry {
            name: name.to_owned(),
            share,
            first_seconds,
            base_seconds,
            factor,
            max_seconds,
            jitter,
        };
        Self {
            seed: 1,
            cluster: Cluster {
                nodes: vec![1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
                max_sessions: 100_000,
                tenants: 200,
                limited_share: 0.5,
                quota_share: 0.5,
                user_item_bytes: 1_000,
                tenant_item_bytes: 400,
            },
            profiles: vec![
                profile("people", 1.0, 1_800.0, 30.0),
                profile("partners", 4.0, 300.0, 60.0),
                profile("robots", 50.0, 30.0, 120.0),
            ],
            coordination: Coordination {
                journal_writes_per_upload: 2.0,
                journal_reads_per_open: 1,
                journal_reads_per_part: 1,
                journal_reads_per_stat: 1.0,
                counter_writes_per_login: 1.0,
                counter_writes_per_logout: 1.0,
                counter_gather_seconds: 0.5,
                counter_item_bytes: (60, 35),
                lease_renewal_seconds: 10.0,
                lease_item_bytes: 45,
                usage_flush_seconds: 2.0,
                usage_refresh_seconds: 5.0,
                role_seconds: 3_600.0,
            },
            login: Login { round_trips: 9.0, round_trip_ms: (5.0, 150.0), get_item_ms: 5.0, lookups: 4 },
            clients: vec![
                // FileZilla and scripts: 5 seconds, always.
                retry("every 5 s", 0.4, 1.0, 5.0, 1.0, 5.0, 0.2),
                // Libraries and pipelines: doubling, with chance.
                retry("1 s, doubling to 60 s", 0.3, 0.0, 1.0, 2.0, 60.0, 1.0),
                // lftp 4.9: net:reconnect-interval-base, -multiplier, -max.
                retry("lftp: 15 s, by 1.5 to 300 s", 0.3, 0.0, 15.0, 1.5, 300.0, 0.0),
            ],
            death: Death {
                silent_notice_seconds: (15.0, 180.0),
                connect_timeout_seconds: 15.0,
                replacement_seconds: 180.0,
                zone_share: 1.0 / 3.0,
                horizon_seconds: 3_600.0,
            },
            growth: Growth {
                sessions: (10_000, 100_000),
                ramp_minutes: vec![10.0, 30.0, 60.0, 120.0],
                session_minutes: 30.0,
                alarm_minutes: 3,
                calm_minutes: 15,
                launch_seconds: 120.0,
                metric_delay_minutes: 1,
                busy_share: 0.3,
            },
            transfer: Transfer {
                gb_per_month: vec![
                    10.0,
                    30.0,
                    100.0,
                    300.0,
                    1_000.0,
                    3_000.0,
                    10_000.0,
                    30_000.0,
                    100_000.0,
                    300_000.0,
                    1_000_000.0,
                ],
                small: (0.9, 0.5),
                large_mb: 64.0,
                files_per_session: 5.0,
                peak: 5.0,
                min_nodes: 2,
                log_bytes: 600.0,
                kms_requests_per_node: 50_000.0,
            },
        }
    }
}

impl Coordination {
    /// What DynamoDB counts for a write to a counter of sessions, with so many nodes.
    pub(crate) fn counter_units(&self, nodes: u64) -> u64 {
        let (own, of_node) = self.counter_item_bytes;
        (own + nodes * of_node).div_ceil(1_024)
    }

    /// What it counts for a look at the leases of so many nodes.
    pub(crate) fn leases_units(&self, nodes: u64) -> u64 {
        read_units(nodes * self.lease_item_bytes)
    }

    /// Reads of the journal for a file that is moved, for which the client sends so many STATs.
    pub(crate) fn journal_reads(&self, file: Moved, stats: f64) -> f64 {
        let opened = if file.up { self.journal_reads_per_open } else { 0 };
        // One more before the completion.
        let parts = file.parts.filter(|_| file.up).map_or(0, |parts| (parts + 1) * self.journal_reads_per_part);
        (opened + parts) as f64 + stats * self.journal_reads_per_stat
    }
}

impl Parameters {
    /// How many sessions so many nodes have, with `per_node` as the module aims at.
    pub(crate) fn sessions(&self, nodes: usize, per_node: usize) -> usize {
        nodes.saturating_mul(per_node).min(self.cluster.max_sessions)
    }
}

impl Retry {
    /// The wait before the try after `failed` tries in a row have failed, in seconds. `chance` is 0 to 1.
    pub(crate) fn wait(&self, failed: u32, chance: f64) -> f64 {
        let exponent = i32::try_from(failed).unwrap_or(i32::MAX);
        let wait = match exponent {
            0 => self.first_seconds,
            n => (self.base_seconds * self.factor.powi(n - 1)).min(self.max_seconds),
        };
        wait * (1.0 - self.jitter * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clients_have_a_way_to_try_again() {
        let clients = Parameters::default().clients;
        assert!((clients.iter().map(|kind| kind.share).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_journal_is_read_for_opens_parts_completions_and_stats() {
        let coordination = Parameters::default().coordination;
        let reads = |up, parts, stats| coordination.journal_reads(Moved { up, parts }, stats);
        assert_eq!(reads(true, None, 0.0), 1.0);
        assert_eq!(reads(true, Some(8), 2.0), 1.0 + 8.0 + 1.0 + 2.0);
        assert_eq!(reads(false, Some(8), 1.0), 1.0);
    }

    #[test]
    fn items_with_something_of_each_node_grow_with_the_nodes() {
        let coordination = Parameters::default().coordination;
        assert_eq!([1, 27, 28, 1000].map(|nodes| coordination.counter_units(nodes)), [1, 1, 2, 35]);
        assert_eq!([1, 91, 92, 1000].map(|nodes| coordination.leases_units(nodes)), [1, 1, 2, 11]);
    }

    #[test]
    fn waits_grow_to_their_limit() {
        let parameters = Parameters::default();
        let lftp = parameters.clients.last().unwrap();
        let waits: Vec<_> = (0..12).map(|failed| lftp.wait(failed, 0.7)).collect();
        assert_eq!(waits[..4], [0.0, 15.0, 22.5, 33.75]);
        assert_eq!(waits[11], 300.0);
        let doubling = &parameters.clients[1];
        assert_eq!((doubling.wait(3, 0.0), doubling.wait(3, 0.5), doubling.wait(u32::MAX, 0.0)), (4.0, 2.0, 60.0));
    }

    #[test]
    fn sessions_grow_with_the_nodes_up_to_the_most() {
        let parameters = Parameters::default();
        assert_eq!([1, 50, 1000].map(|nodes| parameters.sessions(nodes, 2_000)), [2_000, 100_000, 100_000]);
    }
}
