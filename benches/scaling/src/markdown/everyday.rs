//! Everyday life: requests to DynamoDB and S3.

use super::{count, dollars, percent, picture, rate, table};
use crate::charts::Chart;
use crate::results::Results;
use crate::steady::Steady;

pub(super) fn section(results: &Results, charts: &[Chart]) -> String {
    let parameters = &results.inputs.parameters;
    let mut text = "## Everyday life\n\nThree kinds of users, each alone on the cluster:\n\n".to_owned();
    text.push_str(&table(
        &["", "sessions per user", "a session lasts", "files an hour and session", "up", "larger than a part"],
        parameters.profiles.iter().map(|profile| {
            vec![
                profile.name.clone(),
                rate(profile.sessions_per_user),
                format!("{} s", count(profile.session_seconds)),
                count(profile.files_per_hour),
                percent(profile.upload_share),
                format!("{} ({} MiB)", percent(profile.large_share), profile.large_mib),
            ]
        }),
    ));
    text.push_str(&format!(
        "\nNodes have {} sessions each, up to {} in all: beyond {} nodes, the same sessions spread thinner. Of the {} \
         tenants, the n-th has 1/n of the users of the first; every second one has a limit of sessions, and a quota.\n",
        count(results.inputs.module.sessions_per_node as f64),
        count(parameters.cluster.max_sessions as f64),
        parameters.cluster.max_sessions / results.inputs.module.sessions_per_node.max(1),
        parameters.cluster.tenants,
    ));
    text.push_str("\n### DynamoDB\n\n");
    text.push_str(&picture(charts, "dynamodb.svg"));
    text.push_str(&reads(results));
    text.push_str(&format!("\n{}", picture(charts, "account-cache.svg")));
    text.push_str(CACHE);
    text.push_str(&format!("\n{}", picture(charts, "dynamodb-writes.svg")));
    text.push_str(&writes(results));
    text.push_str("\n### S3\n\n");
    text.push_str(&picture(charts, "s3-prefix.svg"));
    text.push_str(&objects(results));
    text
}

fn shown(steady: &&Steady) -> bool {
    matches!(steady.nodes, 1 | 10 | 50 | 200 | 1000)
}

fn reads(results: &Results) -> String {
    let prices = &results.inputs.prices;
    let month = prices.hours_per_month * 3_600.0 / 1e6;
    let lines = results.steady.iter().filter(shown).map(|steady| {
        let cost = steady.table.reads * month * prices.dynamodb.per_million_reads
            + steady.table.writes * month * prices.dynamodb.per_million_writes;
        vec![
            steady.profile.clone(),
            count(steady.nodes as f64),
            count(steady.sessions as f64),
            rate(steady.logins_per_second),
            percent(steady.logins_from_cache),
            rate(steady.table.reads),
            rate(steady.table.writes),
            format!("{} / {}", rate(steady.hottest_key.reads), rate(steady.hottest_key.writes)),
            dollars(cost),
        ]
    });
    let head = [
        "",
        "nodes",
        "sessions",
        "logins a second",
        "from the cache",
        "reads a second",
        "writes a second",
        "busiest key, reads / writes at most",
        "US dollars a month",
    ];
    let coordination = &results.inputs.parameters.coordination;
    let most = results.steady_of("partners").last();
    let mut causes = most.map_or_else(Vec::new, |steady| {
        vec![
            (steady.reads.journal, "journal of uploads"),
            (steady.reads.leases, "leases of nodes"),
            (steady.reads.logins, "accounts"),
            (steady.reads.usage, "usage of tenants with a quota"),
        ]
    });
    causes.sort_by(|one, other| other.0.total_cmp(&one.0));
    let causes: Vec<_> = causes.iter().map(|(reads, cause)| format!("{} for the {cause}", rate(*reads))).collect();
    format!(
        "\n{}\nWhat counts as a read: two for a login that is not remembered; of the journal {} for each file that is opened \
         for writing, {} before each part and before the completion of an upload in parts, and {} for each STAT (the \
         read a second of uploads slower than a part a second is left out, as are the two reads and two writes of a \
         small file that is open for more than a second); one for \
         each node and tenant with a quota in {} s while files go up; and for each node every {} s one for each {} leases. \
         All are strongly consistent. Of partners on {} nodes, these are a second: {}.\n",
        table(&head, lines),
        coordination.journal_reads_per_open,
        coordination.journal_reads_per_part,
        rate(coordination.journal_reads_per_stat),
        rate(coordination.usage_flush_seconds + coordination.usage_refresh_seconds),
        rate(coordination.lease_renewal_seconds),
        4_096 / coordination.lease_item_bytes.max(1),
        most.map_or_else(String::new, |steady| count(steady.nodes as f64)),
        causes.join(", "),
    )
}

const CACHE: &str = "\nA login asks the cache four times, so that the metrics of a node show three hits of four even if each login \
goes to DynamoDB (dashed). What the table gets is the full line. It falls with the number of nodes, as the same user's \
logins meet on fewer nodes within `accounts.ttl`. So reads grow with logins, not with the cache's size: with many nodes \
count on two reads a login. The cache earns its place with robots, and when DynamoDB fails. A longer `accounts.ttl` helps \
in proportion, and so much longer a removed key opens new sessions.\n";

fn writes(results: &Results) -> String {
    let (coordination, prices) = (&results.inputs.parameters.coordination, &results.inputs.prices.dynamodb);
    let most = results.steady_of("partners").last();
    let mut causes = most.map_or_else(Vec::new, |steady| {
        vec![
            (steady.writes.counters, "counters of sessions"),
            (steady.writes.usage, "usage of tenants with a quota"),
            (steady.writes.journal, "journal of uploads"),
            (steady.writes.leases, "leases of nodes"),
        ]
    });
    causes.sort_by(|one, other| other.0.total_cmp(&one.0));
    format!(
        "\nWhat counts as a write: {} for a login to a tenant with a limit and at most {} for its end, each as often as the \
         counter has KB, of which every node that has had such a session takes {} bytes; {} for an upload in parts, one for each lease every {} s, and \
         one for each node and tenant with a quota in {} s while files change: a busy tenant is busy on all nodes, and all \
         of them write to its one item. On {} nodes, most writes are for the {}. Writes are {} of what partners' requests \
         to DynamoDB cost there.\n",
        rate(coordination.counter_writes_per_login),
        rate(coordination.counter_writes_per_logout),
        coordination.counter_item_bytes.1,
        rate(coordination.journal_writes_per_upload),
        rate(coordination.lease_renewal_seconds),
        rate(coordination.usage_flush_seconds),
        most.map_or_else(String::new, |steady| count(steady.nodes as f64)),
        causes.first().map_or("", |cause| cause.1),
        most.map_or_else(String::new, |steady| {
            let (reads, writes) =
                (steady.table.reads * prices.per_million_reads, steady.table.writes * prices.per_million_writes);
            percent(writes / (reads + writes))
        }),
    )
}

fn objects(results: &Results) -> String {
    let lines = results.steady.iter().filter(shown).map(|steady| {
        vec![
            steady.profile.clone(),
            count(steady.nodes as f64),
            format!("{} / {}", rate(steady.objects.writes), rate(steady.objects.reads)),
            format!("{} / {}", rate(steady.busiest_prefix.writes), rate(steady.busiest_prefix.reads)),
        ]
    });
    let head = ["", "nodes", "writes / reads a second", "busiest prefix, at most"];
    format!(
        "\n{}\nHow many nodes there are makes no difference to S3: requests follow files. The parts of a large file are \
         counted in one second here, which is worse than they come.\n",
        table(&head, lines)
    )
}
