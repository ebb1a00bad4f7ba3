//! Cost.

use super::{count, dollars, picture, table};
use crate::charts::Chart;
use crate::results::Results;

pub(super) fn section(results: &Results, charts: &[Chart]) -> String {
    let (prices, transfer) = (&results.inputs.prices, &results.inputs.parameters.transfer);
    let mut text = format!(
        "## Cost\n\n\
         US dollars a month in {}, on demand, before tax; prices of {}. **Check them** in \
         [prices.toml](../benches/scaling/prices.toml), where each has its source, before you rely on a sum. Half of the \
         bytes go up. {} of the files have {} MB, the others {} MB, {} files a session. Nodes are {}, as many all month as \
         the busiest hour needs ({} times the mean), and {} at least. No login finds its account remembered.\n\n\
         Left out, since it is the same or more with AWS Transfer Family: storage, traffic to the internet, its requests \
         to S3, its logs, its endpoint in a VPC. Left out on the other side: your work.\n\n",
        prices.region,
        prices.noted,
        super::percent(transfer.small.0),
        transfer.small.1,
        transfer.large_mb,
        transfer.files_per_session,
        prices.instance.r#type,
        transfer.peak,
        transfer.min_nodes,
    );
    text.push_str(&picture(charts, "cost.svg"));
    let lines = results.cost.iter().map(|cost| {
        let mut line = vec![count(cost.gb), count(cost.nodes as f64)];
        line.extend(cost.parts().map(|part| dollars(part.1)));
        line.extend([dollars(cost.sum()), dollars(cost.transfer_family)]);
        line
    });
    let parts = results.cost.first().map(|cost| cost.parts().map(|part| part.0)).unwrap_or_default();
    let head: Vec<&str> =
        ["GB", "nodes"].into_iter().chain(parts).chain(["**Tidegate**", "**AWS Transfer Family**"]).collect();
    text.push('\n');
    text.push_str(&table(&head, lines));
    text.push_str(&format!("\n{}", picture(charts, "cost-parts.svg")));
    text.push_str(&verdict(results));
    text
}

fn verdict(results: &Results) -> String {
    let prices = &results.inputs.prices;
    let from = results.break_even_gb.map_or_else(
        || "At no volume that was looked at does Tidegate cost less.".to_owned(),
        |gb| format!("Tidegate costs less from about {} GB a month on.", count((gb / 10.0).round() * 10.0)),
    );
    let per_gb = results.cost.last().map_or(0.0, |cost| cost.sum() / cost.gb);
    format!(
        "\n{from} Below, its fixed parts are dearer than one endpoint of Transfer Family: the interface endpoints above all, \
         which a VPC that has its own does not need (`interface_endpoints`), then two nodes where one would do. Far above, \
         a GB costs {:.3} against {:.2} dollars, and most of that is traffic between zones and the balancer's own charge. \
         `cross_zone = false` takes the first away.\n",
        per_gb, prices.transfer_family.per_gb,
    )
}
