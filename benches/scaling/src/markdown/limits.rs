//! What breaks first, and what an operator does about it.

use super::{count, rate, table};
use crate::charts::max_connections;
use crate::measured::Measured;
use crate::results::Results;
use crate::storm::{Capacity, Case, Cause, Owners, Storm};

/// How long S3 takes to answer, as the benchmark delays it.
const ANSWER_SECONDS: f64 = 0.02;

pub(super) fn section(results: &Results) -> String {
    let head = ["limit", "of", "reached with", "what to do"];
    let mut text =
        "## What breaks first\n\nRoughly in the order in which a cluster that grows meets it.\n\n".to_owned();
    text.push_str(&table(&head, one_prefix(results).into_iter().chain(nodes(results)).chain(services(results))));
    text.push_str(&sessions_against_a_prefix(results));
    text
}

fn line(limit: &str, of: String, reached: String, cure: &str) -> Vec<String> {
    vec![limit.to_owned(), of, reached, cure.to_owned()]
}

fn one_prefix(results: &Results) -> [Vec<String>; 1] {
    let (quotas, measured) = (&results.inputs.quotas.s3, &results.inputs.measured);
    [line(
        "S3: one tenant's prefix",
        format!(
            "{} writes, {} reads a second",
            count(quotas.prefix_writes_per_second as f64),
            count(quotas.prefix_reads_per_second as f64)
        ),
        format!(
            "{} clients that send small files as fast as they can, or {} that fetch them",
            count(
                (quotas.prefix_writes_per_second as f64 / measured.sftp_files_per_second.0 / measured.small_up.0)
                    .floor()
            ),
            count((quotas.prefix_reads_per_second as f64 / down_per_second(measured)).floor()),
        ),
        "Nothing breaks: S3 answers 503, nodes try again, transfers slow down, and S3 splits a prefix that stays busy. \
         Spread a tenant's load over directories whose names differ early; `listing_attributes = \"fast\"`; fewer sessions \
         (`--max-sessions`)",
    )]
}

fn nodes(results: &Results) -> [Vec<String>; 4] {
    let (inputs, measured) = (&results.inputs, &results.inputs.measured);
    let connections = max_connections(results);
    let unauthenticated = inputs.settings.get("ssh.max_unauthenticated").cloned().unwrap_or_default();
    let most = inputs.parameters.cluster.max_sessions as f64;
    let target = inputs.module.sessions_per_node as f64;
    let cores = inputs.prices.instance.vcpus;
    let login = &inputs.parameters.login;
    let login_seconds = login.round_trips * f64::midpoint(login.round_trip_ms.0, login.round_trip_ms.1) / 1_000.0;
    let places: f64 = unauthenticated.parse().unwrap_or_default();
    [
        line(
            "The group's `max_size`",
            format!("{} nodes", inputs.module.max_size),
            format!("{} sessions at the target", count(inputs.module.max_size as f64 * target)),
            "Raise it. It is there to bound the bill",
        ),
        line(
            "A node's connections (`ssh.max_connections`)",
            count(connections),
            format!("{} sessions need {} nodes at least", count(most), count((most / connections).ceil())),
            &format!("Add nodes; or raise it, as an idle session takes {} KiB", count(measured.idle_session_kib)),
        ),
        line(
            "A node's logins",
            format!(
                "{} a second measured, {} by its CPU",
                count(measured.logins_per_second),
                count(measured.logins_by_cpu(cores))
            ),
            format!(
                "{unauthenticated} at once (`ssh.max_unauthenticated`), which at {} s each for clients far away is {} a \
                 second; further ones are closed and come again",
                rate(login_seconds),
                count(places / login_seconds)
            ),
            "Clients that wait longer, and by chance, before they come again; more nodes; a higher `ssh.max_unauthenticated`",
        ),
        line(
            "The balancer's targets",
            format!("{} with balancing across zones", count(inputs.quotas.balancer.targets as f64)),
            format!(
                "{} nodes; without it, {} in each zone and {} in the group",
                count(inputs.quotas.balancer.targets as f64),
                count(inputs.quotas.balancer.targets as f64),
                count(inputs.quotas.balancer.targets_per_group as f64)
            ),
            "Larger instances; `cross_zone = false`; a quota raised by AWS; a second cluster beyond",
        ),
    ]
}

fn services(results: &Results) -> Vec<Vec<String>> {
    let (inputs, measured) = (&results.inputs, &results.inputs.measured);
    let (quotas, coordination) = (&inputs.quotas, &inputs.parameters.coordination);
    let partition =
        (quotas.dynamodb.partition_reads_per_second as f64, quotas.dynamodb.partition_writes_per_second as f64);
    let table = quotas.dynamodb.new_table_reads_per_second as f64;
    let by_rate = |logins: f64| count((logins / measured.logins_per_second).ceil());
    let roles = quotas.sts.requests_per_second as f64;
    let tenants = inputs.parameters.cluster.tenants as f64;
    let most_nodes = inputs.parameters.cluster.nodes.iter().copied().max().unwrap_or(1) as f64;
    let counter_writes = coordination.counter_writes_per_login + coordination.counter_writes_per_logout;
    // Where each session that begins is one that ends.
    let counted = |nodes: u64| partition.1 / counter_writes / coordination.counter_units(nodes) as f64;
    let small = (1..).take_while(|nodes| coordination.counter_units(*nodes) == 1).last().unwrap_or(1);
    let lease_reads =
        |nodes: u64| (nodes * coordination.leases_units(nodes)) as f64 / coordination.lease_renewal_seconds;
    let lease_nodes = (1..).take_while(|nodes| lease_reads(*nodes) <= partition.0).last().unwrap_or(1);
    vec![
        line(
            "DynamoDB: the counter of a tenant with a limit of sessions",
            format!("{} writes of 1 KB a second on one key", count(partition.1)),
            format!(
                "{} logins a second of one tenant on up to {} nodes, which the logins of {} nodes come to; {} on {}, as \
                 the counter grows with the nodes",
                count(counted(1)),
                count(small as f64),
                by_rate(counted(1)),
                count(counted(most_nodes as u64)),
                count(most_nodes),
            ),
            "Leave the limit of such a tenant off, or make several tenants of it; fewer, larger nodes. Logins that wait on one node share a write",
        ),
        line(
            "DynamoDB: the journal of a tenant's uploads",
            format!("{} reads a second on one key", count(partition.0)),
            format!(
                "{0} STATs, files or parts a second of one tenant, or {0} of its uploads at once that are slower than a part a second",
                count(partition.0)
            ),
            "Uploads go on without the journal while it throttles, but can't be resumed, and OPEN without TRUNC fails. DynamoDB splits a key that stays busy by its paths",
        ),
        line(
            "DynamoDB: the nodes' leases",
            format!("{} reads a second on one key", count(partition.0)),
            format!("{} nodes, as each of them reads all", count(lease_nodes as f64)),
            "A longer `ssh.session_lease`; fewer, larger nodes",
        ),
        line(
            "DynamoDB: a tenant's item, read at every login that is not remembered",
            format!("{} reads a second on one key", count(partition.0)),
            format!(
                "{} such logins a second of one tenant: {} nodes that do nothing else",
                count(partition.0),
                by_rate(partition.0)
            ),
            "Only in storms. A longer `accounts.ttl`; several tenants. The user's own item is read as often as that user logs in, which is far less",
        ),
        line(
            "DynamoDB: a tenant's usage (quotas)",
            format!("{} writes a second on one key", count(partition.1)),
            format!(
                "{} nodes on which one tenant uploads at once",
                count(partition.1 * coordination.usage_flush_seconds)
            ),
            "Fewer, larger nodes",
        ),
        line(
            "DynamoDB: the table",
            format!(
                "{} reads a second when it is new, {} by quota; on demand, twice its last peak at once",
                count(table),
                count(quotas.dynamodb.table_reads_per_second as f64)
            ),
            format!("{} logins a second that are not remembered", count(table / 2.0)),
            "Set its warm throughput before a day that matters; ask for the quota",
        ),
        line(
            "STS, if nodes take a role for each tenant",
            format!("{} requests a second and account", count(roles)),
            format!(
                "{} nodes × {} tenants: {} s until all have their roles; more than {} can't be kept renewed",
                count(most_nodes),
                count(tenants),
                count(most_nodes * tenants / roles),
                count(roles * coordination.role_seconds)
            ),
            "Replace nodes slowly; fewer nodes; roles only for the tenants that need their own",
        ),
        line(
            "KMS",
            format!("{} requests a second, more in large regions", count(quotas.kms.requests_per_second as f64)),
            format!(
                "not: a node asks once, at its start, and {} start at once in a refresh of {}",
                count(most_nodes / 2.0),
                count(most_nodes)
            ),
            "Keep S3 bucket keys on, as the module does; without them each request to S3 would be one to KMS",
        ),
    ]
}

/// Requests a second of one session that fetches small files.
fn down_per_second(measured: &Measured) -> f64 {
    measured.sftp_files_per_second.1 * (measured.small_down.0 + measured.small_down.1)
}

/// What few sessions can do to a prefix.
fn sessions_against_a_prefix(results: &Results) -> String {
    let (quotas, measured) = (&results.inputs.quotas.s3, &results.inputs.measured);
    let listing: f64 =
        results.inputs.settings.get("vfs.listing_concurrency").and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let (writes, reads) = (quotas.prefix_writes_per_second as f64, quotas.prefix_reads_per_second as f64);
    let entry = |what: &str, per_second: f64, limit: f64| {
        vec![what.to_owned(), count(per_second), format!("{} of {}", rate(limit / per_second), count(limit))]
    };
    let up = measured.sftp_files_per_second.0 * measured.small_up.0;
    let lines = [
        entry("`sftp`: `put -r` of small files", up, writes),
        entry("lftp: `mirror -R` with eight connections", measured.lftp_files_per_second * measured.small_up.0, writes),
        entry("`sftp`: `get -r` of small files, which nodes open ahead", down_per_second(measured), reads),
        entry("the first `ls -l` of a large directory on a node", listing / ANSWER_SECONDS, reads),
    ];
    let all = |capacity| {
        let case = Case { cause: Cause::AllCut, capacity, owners: Owners::One, nodes: 0 };
        let throttled = |storm: &&Storm| storm.throttled > 0;
        results.storms_of(case).find(throttled).map(|storm| storm.case.nodes)
    };
    let from =
        |nodes: Option<usize>| nodes.map_or_else(|| "no number of nodes".to_owned(), |nodes| format!("{nodes} nodes"));
    format!(
        "\nIn the storms below, the tenant's item is throttled from {} on if one tenant has all sessions and nodes log in \
         as fast as measured, and from {} on if they are as fast as their CPU.\n\n\
         S3's limit is the one that few users can reach. One session, as fast as the benchmark's clients are \
         ([BENCHMARKS](BENCHMARKS.md), S3 at 20 ms):\n\n{}",
        from(all(Capacity::Measured)),
        from(all(Capacity::Cpu)),
        table(&["one session", "requests a second", "so many of them reach the limit"], lines)
    )
}
