//! Which charts docs/SCALING.md has.

use tidegate_chart::{Axis, Bars, Limit, Line, Lines, Scale, Series, Summary};

use crate::cost::Cost;
use crate::growth::Minute;
use crate::results::Results;
use crate::steady::Steady;
use crate::storm::{Capacity, Case, Cause, Owners, Storm};

/// A chart: its file's name, its title and the document.
#[derive(Debug)]
pub(crate) struct Chart {
    /// Ends in `.svg`.
    pub(crate) file: &'static str,
    /// What it shows.
    pub(crate) title: &'static str,
    /// The SVG document.
    pub(crate) svg: String,
}

const NODES: Axis<'_> = Axis { name: "nodes (2,000 sessions on each, 100,000 at most)", scale: Scale::Logarithmic };
/// Of the cases, in the order of the storms' table.
const STORMS: [(&str, usize, Case); 4] = [
    ("a node's process dies", 0, case(Cause::NodeKilled, Capacity::Measured, Owners::Many)),
    ("a zone's machines are gone", 3, case(Cause::ZoneGone, Capacity::Measured, Owners::Many)),
    ("all sessions are cut", 1, case(Cause::AllCut, Capacity::Measured, Owners::Many)),
    ("all sessions are cut, of one tenant", 6, case(Cause::AllCut, Capacity::Measured, Owners::One)),
];

const fn case(cause: Cause, capacity: Capacity, owners: Owners) -> Case {
    Case { cause, capacity, owners, nodes: 0 }
}

/// All of them.
pub(crate) fn charts(results: &Results) -> Vec<Chart> {
    vec![
        table_requests(results),
        cache(results),
        writes(results),
        prefix(results),
        storm_times(results),
        storm_curves(results),
        storm_reads(results),
        growth(results),
        growth_nodes(results),
        cost(results),
        cost_parts(results),
    ]
}

fn line(name: impl Into<String>, colour: usize, points: impl IntoIterator<Item = (f64, f64)>) -> Line {
    Line { name: name.into(), colour, dashed: false, points: points.into_iter().collect() }
}

fn dashed(name: impl Into<String>, colour: usize, points: impl IntoIterator<Item = (f64, f64)>) -> Line {
    Line { dashed: true, ..line(name, colour, points) }
}

fn limit(name: &str, at: u64) -> Limit {
    Limit { name: name.to_owned(), at: at as f64 }
}

fn chart(
    file: &'static str,
    title: &'static str,
    x: Axis<'_>,
    y: Axis<'_>,
    lines: Vec<Line>,
    limits: Vec<Limit>,
) -> Chart {
    Chart { file, title, svg: Lines { title, x, y, lines, limits }.draw() }
}

/// What is drawn of a result, by its name and the number of its colour.
type Figures<T, const N: usize> = [(&'static str, usize, fn(&T) -> f64); N];

/// A figure of everyday life and its name.
type Figure = (&'static str, fn(&Steady) -> f64);

/// A figure of everyday life by nodes.
fn by_nodes(results: &Results, profile: &str, figure: fn(&Steady) -> f64) -> Vec<(f64, f64)> {
    results.steady_of(profile).map(|steady| (steady.nodes as f64, figure(steady))).collect()
}

/// For each profile one figure, and then another in dashes.
fn of_profiles(results: &Results, full: Figure, broken: Figure) -> Vec<Line> {
    const COLOURS: [usize; 3] = [0, 1, 3];
    let mut lines = Vec::new();
    for ((name, figure), dashed) in [(full, false), (broken, true)] {
        for (profile, colour) in results.inputs.parameters.profiles.iter().zip(COLOURS) {
            let points = by_nodes(results, &profile.name, figure);
            lines.push(Line { name: format!("{}: {name}", profile.name), colour, dashed, points });
        }
    }
    lines
}

/// The time of [`of_growth`].
const MINUTES: Axis<'_> = Axis { name: "minutes; the rise begins after 30", scale: Scale::Linear };

/// A figure of each growth, minute by minute.
fn of_growth(results: &Results, figure: fn(&Minute) -> usize) -> Vec<Line> {
    let runs = results.growth.iter().zip([6, 1, 3, 0]);
    runs.map(|(grown, colour)| {
        let minutes = grown.minutes.iter().enumerate().map(|(n, minute)| ((n + 1) as f64, figure(minute) as f64));
        line(format!("within {} minutes", grown.ramp_minutes), colour, minutes)
    })
    .collect()
}

fn table_requests(results: &Results) -> Chart {
    let lines = of_profiles(
        results,
        ("reads", |steady| steady.table_peak.reads),
        ("writes", |steady| steady.table_peak.writes),
    );
    let quotas = &results.inputs.quotas.dynamodb;
    let limits = vec![
        limit("reads of a new table on demand", quotas.new_table_reads_per_second),
        limit("writes of a new table on demand", quotas.new_table_writes_per_second),
    ];
    let y = Axis { name: "requests in the busiest second", scale: Scale::Logarithmic };
    chart("dynamodb.svg", "DynamoDB: the whole table in everyday life", NODES, y, lines, limits)
}

fn cache(results: &Results) -> Chart {
    let lines = of_profiles(
        results,
        ("logins", |steady| steady.logins_from_cache * 100.0),
        ("lookups", |steady| steady.lookups_from_cache * 100.0),
    );
    let y = Axis { name: "% answered without a request to DynamoDB", scale: Scale::Linear };
    chart("account-cache.svg", "The account cache", NODES, y, lines, Vec::new())
}

fn writes(results: &Results) -> Chart {
    let mut lines = Vec::new();
    let causes: Figures<Steady, 4> = [
        ("counters of sessions", 0, |steady| steady.writes.counters),
        ("usage of tenants with a quota", 1, |steady| steady.writes.usage),
        ("journal of uploads", 3, |steady| steady.writes.journal),
        ("leases of nodes", 5, |steady| steady.writes.leases),
    ];
    for (name, colour, figure) in causes {
        lines.push(line(name, colour, by_nodes(results, "partners", figure)));
    }
    let hottest = by_nodes(results, "partners", |steady| steady.hottest_key.writes);
    lines.push(dashed("busiest key, busiest second", 6, hottest));
    let limits = vec![limit("writes of one partition key", results.inputs.quotas.dynamodb.partition_writes_per_second)];
    let y = Axis { name: "writes a second", scale: Scale::Logarithmic };
    chart("dynamodb-writes.svg", "DynamoDB: what is written, and why (partners)", NODES, y, lines, limits)
}

fn prefix(results: &Results) -> Chart {
    let lines = of_profiles(
        results,
        ("writes", |steady| steady.busiest_prefix.writes),
        ("reads", |steady| steady.busiest_prefix.reads),
    );
    let quotas = &results.inputs.quotas.s3;
    let limits = vec![
        limit("writes of a partitioned prefix", quotas.prefix_writes_per_second),
        limit("reads of a partitioned prefix", quotas.prefix_reads_per_second),
    ];
    let y = Axis { name: "requests in the busiest second", scale: Scale::Logarithmic };
    chart("s3-prefix.svg", "S3: the busiest tenant's prefix", NODES, y, lines, limits)
}

fn storm_times(results: &Results) -> Chart {
    let time = |storm: &Storm| Some((storm.case.nodes as f64, storm.most?));
    let lines =
        STORMS.iter().map(|(name, colour, case)| line(*name, *colour, results.storms_of(*case).filter_map(time)));
    let y = Axis { name: "seconds until 99 of 100 sessions are back", scale: Scale::Logarithmic };
    chart("storm-times.svg", "After a death: until sessions are back", NODES, y, lines.collect(), Vec::new())
}

fn storm_curves(results: &Results) -> Chart {
    let percent = |(at, share): &(f64, f64)| (*at, share * 100.0);
    let lines = STORMS.iter().filter_map(|(name, colour, case)| {
        let storm = results.storms_of(*case).find(|storm| storm.case.nodes == 50)?;
        Some(line(*name, *colour, storm.curve.iter().map(percent)))
    });
    let x = Axis { name: "seconds after it", scale: Scale::Logarithmic };
    let y = Axis { name: "% of the cut sessions that are back", scale: Scale::Linear };
    chart("storm-curves.svg", "50 nodes, 100,000 sessions: who is back when", x, y, lines.collect(), Vec::new())
}

fn storm_reads(results: &Results) -> Chart {
    let of = |capacity, owners| results.storms_of(case(Cause::AllCut, capacity, owners));
    let all = |storm: &Storm| (storm.case.nodes as f64, storm.reads_peak);
    let key = |storm: &Storm| (storm.case.nodes as f64, storm.key_reads_peak);
    let lines = vec![
        line("table, nodes as measured", 0, of(Capacity::Measured, Owners::Many).map(all)),
        line("table, nodes as fast as their CPU", 1, of(Capacity::Cpu, Owners::Many).map(all)),
        dashed("busiest key of 200 tenants, by CPU", 1, of(Capacity::Cpu, Owners::Many).map(key)),
        dashed("busiest key of one tenant, measured", 5, of(Capacity::Measured, Owners::One).map(key)),
        dashed("busiest key of one tenant, by CPU", 6, of(Capacity::Cpu, Owners::One).map(key)),
    ];
    let quotas = &results.inputs.quotas.dynamodb;
    let limits = vec![
        limit("reads of a new table on demand", quotas.new_table_reads_per_second),
        limit("reads of one partition key", quotas.partition_reads_per_second),
    ];
    let y = Axis { name: "reads in the busiest second", scale: Scale::Logarithmic };
    chart("storm-reads.svg", "All sessions are cut: reads of DynamoDB", NODES, y, lines, limits)
}

fn growth(results: &Results) -> Chart {
    let lines = of_growth(results, |minute| minute.fullest);
    let limits = vec![
        Limit { name: "target_sessions_per_node".to_owned(), at: results.inputs.module.sessions_per_node as f64 },
        Limit { name: "ssh.max_connections".to_owned(), at: max_connections(results) },
    ];
    let y = Axis { name: "sessions of the fullest node", scale: Scale::Linear };
    let title = "From 10,000 to 100,000 sessions and back: the fullest node";
    chart("growth-fullest.svg", title, MINUTES, y, lines, limits)
}

/// A node's limit, as the results note it.
pub(crate) fn max_connections(results: &Results) -> f64 {
    results.inputs.settings.get("ssh.max_connections").and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn growth_nodes(results: &Results) -> Chart {
    let lines = of_growth(results, |minute| minute.nodes);
    let y = Axis { name: "nodes in service", scale: Scale::Linear };
    chart("growth-nodes.svg", "From 10,000 to 100,000 sessions and back: nodes", MINUTES, y, lines, Vec::new())
}

fn cost(results: &Results) -> Chart {
    let transfer_family = results.cost.iter().map(|cost| (cost.gb, cost.transfer_family));
    let tidegate = results.cost.iter().map(|cost| (cost.gb, cost.sum()));
    let without = results.cost.iter().map(|cost| (cost.gb, cost.sum() - cost.endpoints - cost.between_zones));
    let lines = vec![
        line("AWS Transfer Family, SFTP", 1, transfer_family),
        line("Tidegate", 0, tidegate),
        dashed("Tidegate without interface endpoints and traffic between zones", 0, without),
    ];
    let x = Axis { name: "GB moved in a month, up and down", scale: Scale::Logarithmic };
    let y = Axis { name: "US dollars a month", scale: Scale::Logarithmic };
    chart("cost.svg", "What a month costs, without storage and internet traffic", x, y, lines, Vec::new())
}

/// What a month of Tidegate is made of, beside AWS Transfer Family, where both are of a size.
fn cost_parts(results: &Results) -> Chart {
    const VOLUMES: [f64; 3] = [1_000.0, 10_000.0, 100_000.0];
    let title = "What a month is made of";
    let months: Vec<_> = VOLUMES.iter().filter_map(|gb| results.cost.iter().find(|cost| cost.gb == *gb)).collect();
    // Each month against what Transfer Family takes for it, so that all fit on one scale.
    let parts: Figures<Cost, 6> = [
        ("instances", 0, |month| month.instances),
        ("balancer", 1, |month| month.balancer + month.balancer_units),
        ("between zones", 3, |month| month.between_zones),
        ("interface endpoints", 4, |month| month.endpoints),
        ("S3 requests", 5, |month| month.s3),
        ("rest", 6, |month| month.dynamodb + month.kms + month.logs),
    ];
    let series = parts.iter().map(|(name, colour, part)| {
        let share = |month: &&Cost| Summary::of(&[part(month) / month.transfer_family * 100.0]);
        Series { name: (*name).to_owned(), colour: *colour, values: months.iter().map(share).collect() }
    });
    let series = series.collect();
    let groups = months.iter().map(|month| format!("{:.0} TB", month.gb / 1_000.0)).collect();
    let unit = "% of AWS Transfer Family's price";
    Chart { file: "cost-parts.svg", title, svg: Bars { title, unit, groups, series }.draw() }
}
