//! Storms of logins.

use super::{count, picture, table, time};
use crate::charts::Chart;
use crate::results::Results;
use crate::storm::{Capacity, Cause, Owners, Storm};

pub(super) fn section(results: &Results, charts: &[Chart]) -> String {
    let parameters = &results.inputs.parameters;
    let mut text =
        "## After a death\n\nA session lives on one node. When that dies, its clients have to notice, log in \
        again on another node and go on; of uploads they send again what was not durable, or all if they don't resume. They come back as their programs do:\n\n"
            .to_owned();
    text.push_str(&table(
        &["clients", "of all", "first try after", "then after", "at most", "less by chance"],
        parameters.clients.iter().map(|kind| {
            vec![
                kind.name.clone(),
                super::percent(kind.share),
                format!("{} s", kind.first_seconds),
                format!("{} s, × {}", kind.base_seconds, kind.factor),
                format!("{} s", kind.max_seconds),
                super::percent(kind.jitter),
            ]
        }),
    ));
    let death = &parameters.death;
    text.push_str(&format!(
        "\nUntil {} s have passed (the module's health checks), the balancer sends connections to the dead as well. If a \
         process dies, its clients know at once; if a machine is gone, after {} to {} s. {} s later the group has replaced \
         it. Caches are cold, and nobody else logs in.\n\n",
        results.inputs.module.health_check_seconds * results.inputs.module.unhealthy_threshold,
        death.silent_notice_seconds.0,
        death.silent_notice_seconds.1,
        death.replacement_seconds,
    ));
    text.push_str(&picture(charts, "storm-times.svg"));
    text.push('\n');
    text.push_str(&picture(charts, "storm-curves.svg"));
    text.push_str(&cases(results));
    text.push_str(&format!("\n{}", picture(charts, "storm-reads.svg")));
    text.push_str(&lessons(results));
    text
}

fn title(storm: &Storm) -> String {
    let cause = match storm.case.cause {
        Cause::NodeKilled => "a process dies",
        Cause::MachineGone => "a machine is gone",
        Cause::ZoneGone => "a zone is gone",
        Cause::AllCut => "all sessions are cut",
    };
    let speed = if storm.case.capacity == Capacity::Cpu { ", logins by CPU" } else { "" };
    let owners = if storm.case.owners == Owners::One { ", one tenant" } else { "" };
    format!("{cause}{speed}{owners}")
}

fn cases(results: &Results) -> String {
    let shown = results.storms.iter().filter(|storm| matches!(storm.case.nodes, 1 | 2 | 10 | 50 | 1000));
    let lines = shown.map(|storm| {
        vec![
            count(storm.case.nodes as f64),
            title(storm),
            count(storm.cut as f64),
            time(storm.half),
            time(storm.most),
            time(storm.all),
            count(storm.node_logins_peak as f64),
            count(storm.refused as f64),
            count(storm.reads_peak),
            count(storm.throttled as f64),
            count(storm.roles_peak as f64),
            count(storm.fullest as f64),
        ]
    });
    let head = [
        "nodes",
        "what happens",
        "cut",
        "half are back",
        "99 of 100",
        "all",
        "logins of the busiest node, a second",
        "refused",
        "reads a second at most",
        "throttled",
        "roles a second at most",
        "fullest node",
    ];
    format!("\n{}", table(&head, lines))
}

fn lessons(results: &Results) -> String {
    let measured = &results.inputs.measured;
    format!(
        "\n*Refused* are connections that a node closed since `ssh.max_unauthenticated` were logging in; those clients come \
         again, and that is what takes time, not the logins. *Roles* are what nodes would ask STS for if each took a role \
         for each tenant.\n\n\
         - **One node of many is not felt.** Its sessions spread over all others, a few for each. How long it takes is how \
         long clients take to notice and to try again.\n\
         - **The only node is down until it is replaced.** Two survive each other: {} sessions fit on one.\n\
         - **All at once is the worst case.** A node takes {} logins a second at least ({} by its CPU); beyond, clients \
         are refused early and cheaply, and their own waits decide: an lftp that was refused twice has waited 37.5 s. If all \
         users are one tenant's, its item in DynamoDB decides instead: {} reads a second, whatever the number of nodes.\n\
         - **Set clients to try for ever, with waits that grow to a minute and vary by chance.** A client that gives up \
         after two tries is lost here.\n",
        count(crate::charts::max_connections(results)),
        count(measured.logins_per_second),
        count(measured.logins_by_cpu(results.inputs.prices.instance.vcpus)),
        count(results.inputs.quotas.dynamodb.partition_reads_per_second as f64),
    )
}
