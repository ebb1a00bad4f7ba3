//! One file up and down again.

use super::{Bench, Step};
use crate::error::{BenchError, during};
use crate::figure::{Figure, gib, mib};
use crate::files;
use crate::proxy::Kind;
use crate::server::ServerKind;

const SOURCE: &str = "stream";

/// Where measured downloads go: new memory for what is received can cost the client more than all
/// the rest, and differs from run to run. Another download shows that all of it came.
pub(super) const NOWHERE: &str = "/dev/null";

pub(super) async fn measure(bench: &mut Bench) -> Result<(), BenchError> {
    let (size, delay) = (bench.workload.stream, bench.workload.delay);
    let source = bench.testbed.make_folder("client")?.join(SOURCE);
    files::make(&source, size, 1)?;
    for run in 0..bench.workload.runs {
        let delays = if run % 2 == 0 { [0, delay] } else { [delay, 0] };
        for kind in bench.order(run, &ServerKind::ALL) {
            let both = async |step: &mut Step<'_>| {
                for delay in delays {
                    there_and_back(step, size, delay, run == 0).await?;
                }
                Ok(())
            };
            bench.step("stream", kind, run, both).await;
        }
    }
    std::fs::remove_file(&source).map_err(during("removing the source"))
}

/// With `check`, what comes down is compared with what went up: another download, not measured.
async fn there_and_back(step: &mut Step<'_>, size: u64, delay: u64, check: bool) -> Result<(), BenchError> {
    step.delay(delay).await?;
    let (login, remote) = (step.server.login.clone(), format!("stream-{:?}", step.kind()));

    // For the store, and for what s3fs and rclone keep before they upload.
    files::warm_memory(step.testbed.folder(), 2 * size)?;
    let up = [format!("put {SOURCE} {remote}")];
    let (done, usage) = step.measured(login.sftp(&up)).await?;
    step.add(Figure::StreamUp, delay, mib(size) / done.seconds());
    step.add(Figure::StreamUpCpu, delay, usage.server_cpu / gib(size));
    step.add(Figure::StreamUpClientCpu, delay, usage.client_cpu / gib(size));
    // rclone with a cache uploads later.
    if ![ServerKind::RcloneWrites, ServerKind::Tmpfs].contains(&step.kind()) {
        step.add(Figure::StreamUpStoreCpu, delay, usage.store_cpu / gib(size));
        step.add(Figure::StreamUpProxyCpu, delay, usage.proxy_cpu / gib(size));
        step.add(Figure::StreamUpRequests, delay, usage.requests.other_than(Kind::UploadPart) as f64);
    }
    // What rclone still keeps on disk would come from there, and be uploaded in the midst of the
    // next measurement: it is removed at once.
    if step.kind() != ServerKind::RcloneWrites {
        let down = [format!("get {remote} {NOWHERE}")];
        let (done, usage) = step.measured(login.sftp(&down)).await?;
        step.add(Figure::StreamDown, delay, mib(size) / done.seconds());
        step.add(Figure::StreamDownCpu, delay, usage.server_cpu / gib(size));
        step.add(Figure::StreamDownClientCpu, delay, usage.client_cpu / gib(size));
        if step.kind().uses_store() {
            step.add(Figure::StreamDownStoreCpu, delay, usage.store_cpu / gib(size));
            step.add(Figure::StreamDownProxyCpu, delay, usage.proxy_cpu / gib(size));
        }
        if check {
            step.sftp(format!("get {remote} received")).await?;
            files::assert_same(&step.local(SOURCE), &step.local("received"))?;
            std::fs::remove_file(step.local("received")).map_err(during("removing what was received"))?;
        }
    }
    step.sftp(format!("rm {remote}")).await.map(drop)
}
