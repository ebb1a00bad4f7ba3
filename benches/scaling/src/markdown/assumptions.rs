//! What was not simulated, and which settings went in.

use super::table;
use crate::results::Results;

pub(super) fn section(results: &Results) -> String {
    let lines = results.inputs.settings.iter().map(|(name, value)| vec![format!("`{name}`"), value.clone()]);
    format!(
        "## What this does not tell\n\n\
         - **Measured logins** are those of a machine that ran clients and store as well: a node alone makes more. Its CPU \
         alone would allow the other figure. Both are shown; the truth lies between.\n\
         - **S3 splits prefixes** that stay busy, in minutes, and nobody outside knows when. Here each tenant has one \
         partitioned prefix for ever.\n\
         - **DynamoDB lends unused throughput** of the last minutes to short peaks. Here each second stands alone.\n\
         - **Limits per source** (`ssh.max_connections_per_source`, `ssh.max_unauthenticated_per_source`) do not bite: each \
         client has its own address. Clients behind one NAT meet them first.\n\
         - **The balancer** picks a node for each connection by chance, as a hash of addresses and ports does for many \
         clients.\n\
         - **The journal, the counters of sessions and the leases** are counted as their parameters say, in one place \
         (`Coordination` in [parameters.rs](../benches/scaling/src/parameters.rs)).\n\
         - **Network, disk and memory** of nodes are not simulated: [OPERATIONS](OPERATIONS.md#scale) says what to watch.\n\n\
         Settings of nodes, which are the program's defaults:\n\n{}",
        table(&["setting", "value"], lines)
    )
}
