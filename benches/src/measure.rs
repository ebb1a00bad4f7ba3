//! What an operation costs besides time.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::error::BenchError;
use crate::procfs::Tree;
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
    /// CPU seconds of object store and proxy.
    pub(crate) store_cpu: f64,
    /// Requests that came to the store.
    pub(crate) requests: Counts,
}

/// Runs an operation and tells what it has cost.
pub(crate) async fn measured<T>(
    testbed: &mut Testbed,
    server: &Server,
    operation: impl Future<Output = Result<T, BenchError>>,
) -> Result<(T, Usage), BenchError> {
    let (roots, around) = (server.pids(), [testbed.store_pid(), testbed.proxy.pid()]);
    let server_before = Tree::of(&roots)?;
    let store_before = Tree::of(&around)?.cpu_seconds();
    let requests_before = testbed.proxy.counts().await?;

    let result = operation.await?;

    let server_cpu = settled(&roots, server_before.len()).await?.cpu_seconds() - server_before.cpu_seconds();
    let store_cpu = Tree::of(&around)?.cpu_seconds() - store_before;
    let requests = testbed.proxy.counts().await?.since(&requests_before);
    Ok((result, Usage { server_cpu, store_cpu, requests }))
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
