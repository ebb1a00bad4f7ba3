//! What an operation costs besides time.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::error::BenchError;
use crate::procfs::{self, Tree};
use crate::proxy::Counts;
use crate::server::Server;
use crate::testbed::Testbed;

/// How long a server's processes for a session may take to end behind the session.
const SETTLE_LIMIT: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(10);

/// What an operation has cost.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// CPU seconds of the server, with all its processes.
    pub(crate) server_cpu: f64,
    /// CPU seconds of the object store.
    pub(crate) store_cpu: f64,
    /// CPU seconds of the proxy.
    pub(crate) proxy_cpu: f64,
    /// CPU seconds of the clients.
    pub(crate) client_cpu: f64,
    /// From the first client's start to the last one's end.
    pub(crate) seconds: f64,
    /// Requests that came to the store.
    pub(crate) requests: Counts,
}

impl Usage {
    /// How much of the machine's CPU time all parts together have used, in percent. Near 100 the
    /// machine is the limit, not the server.
    pub(crate) fn share_of_machine(&self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (self.server_cpu + self.store_cpu + self.proxy_cpu + self.client_cpu) / (self.seconds * cores as f64) * 100.0
    }
}

/// Runs an operation and tells what it has cost.
pub(crate) async fn measured<T>(
    testbed: &mut Testbed,
    server: &Server,
    operation: impl Future<Output = Result<T, BenchError>>,
) -> Result<(T, Usage), BenchError> {
    let (roots, store, proxy) = (server.pids(), [testbed.store_pid()], [testbed.proxy.pid()]);
    let server_before = Tree::of(&roots)?;
    let (store_before, proxy_before) = (Tree::of(&store)?.cpu_seconds(), Tree::of(&proxy)?.cpu_seconds());
    let requests_before = testbed.proxy.counts().await?;
    let (clients_before, start) = (procfs::cpu_of_ended_children()?, Instant::now());

    let result = operation.await?;

    let seconds = start.elapsed().as_secs_f64();
    let client_cpu = procfs::cpu_of_ended_children()? - clients_before;
    let server_cpu = settled(&roots, server_before.len()).await?.cpu_seconds() - server_before.cpu_seconds();
    let store_cpu = Tree::of(&store)?.cpu_seconds() - store_before;
    let proxy_cpu = Tree::of(&proxy)?.cpu_seconds() - proxy_before;
    let requests = testbed.proxy.counts().await?.since(&requests_before);
    Ok((result, Usage { server_cpu, store_cpu, proxy_cpu, client_cpu, seconds, requests }))
}

/// Waits until the processes of ended sessions have gone: their parents count their time then.
async fn settled(roots: &[u32], before: usize) -> Result<Tree, BenchError> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let tree = Tree::of(roots)?;
        if tree.len() <= before || Instant::now() > deadline {
            return Ok(tree);
        }
        sleep(PAUSE).await;
    }
}
