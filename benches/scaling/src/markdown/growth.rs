//! Growing and shrinking.

use super::{count, picture, table};
use crate::charts::Chart;
use crate::results::Results;

pub(super) fn section(results: &Results, charts: &[Chart]) -> String {
    let (growth, module) = (&results.inputs.parameters.growth, &results.inputs.module);
    let mut text = format!(
        "## Growing and shrinking\n\n\
         {} sessions become {} and go again, evenly within so many minutes each; a session lasts {} minutes in the mean, and \
         none ends before its time. The \
         group aims at {} sessions a node. It grows after {} minutes above, a new node takes connections {} s later, and it \
         shrinks after {} minutes below 90 %. `max_size` is out of the way.\n\n",
        count(growth.sessions.0 as f64),
        count(growth.sessions.1 as f64),
        growth.session_minutes,
        count(module.sessions_per_node as f64),
        growth.alarm_minutes,
        growth.launch_seconds,
        growth.calm_minutes,
    );
    text.push_str(&picture(charts, "growth-fullest.svg"));
    text.push('\n');
    text.push_str(&picture(charts, "growth-nodes.svg"));
    let lines = results.growth.iter().map(|grown| {
        vec![
            count(grown.ramp_minutes),
            count(grown.most_nodes as f64),
            count(grown.fullest as f64),
            count(grown.refused as f64),
            count(grown.minutes_behind as f64),
            count(grown.moved as f64),
            count(grown.cut as f64),
        ]
    });
    let head = [
        "minutes",
        "nodes at most",
        "fullest node",
        "refused",
        "minutes far above the target",
        "moved by drains",
        "cut at the deadline",
    ];
    text.push('\n');
    text.push_str(&table(&head, lines));
    text.push_str(&format!(
        "\nSessions stay where they are, so that new nodes fill only as fast as new sessions come: right after growing, old \
         nodes are fuller than new ones. A rise within {} minutes is too fast for any group that measures by the minute, \
         and full nodes hide it: the metric counts those who are in, not those who are refused (each of them again every \
         5 s). Before a rise that is known (the full hour, the first of the month), raise `min_size`.\n\n\
         Shrinking moves sessions: a draining node ends idle ones, and their clients log in again; transfers go on until \
         `drain.deadline`. Uploads that take longer than that are cut.\n",
        count(results.growth.first().map_or(0.0, |grown| grown.ramp_minutes)),
    ));
    text
}
