//! Many small files.

use super::{Bench, Step};
use crate::error::{BenchError, during};
use crate::figure::Figure;
use crate::files;
use crate::proxy::Kind;
use crate::server::ServerKind;

/// Bytes of each.
pub(super) const LENGTH: u64 = 4096;

const SERVERS: [ServerKind; 4] = [ServerKind::Tidegate, ServerKind::Rclone, ServerKind::S3fs, ServerKind::Tmpfs];

pub(super) async fn measure(bench: &mut Bench) -> Result<(), BenchError> {
    let (count, delay) = (bench.workload.small_files, bench.workload.delay);
    let folder = bench.testbed.make_folder("client")?;
    // s3fs takes a second for four of them: it gets a tenth.
    let few = (count / 10).max(20);
    for (name, count) in [("small", count), ("few", few)] {
        files::make_many(&folder.join(name), count, LENGTH)?;
    }
    for run in 0..bench.workload.runs {
        for kind in bench.order(run, &SERVERS) {
            let (source, count) = if kind == ServerKind::S3fs { ("few", few) } else { ("small", count) };
            let remote = format!("small-{kind:?}-{run}");
            let up = async |step: &mut Step<'_>| upload(step, source, &remote, count, delay).await;
            bench.step("small files up", kind, run, up).await;
            // From a server that has seen none of them.
            let down = async |step: &mut Step<'_>| download(step, source, &remote, count, delay).await;
            bench.step("small files down", kind, run, down).await;
        }
    }
    for name in ["small", "few"] {
        std::fs::remove_dir_all(folder.join(name)).map_err(during("removing the sources"))?;
    }
    Ok(())
}

async fn upload(step: &mut Step<'_>, source: &str, remote: &str, count: u64, delay: u64) -> Result<(), BenchError> {
    const CONNECTIONS: u32 = 8;
    step.delay(delay).await?;
    let (login, files) = (step.server.login.clone(), count as f64);
    let put = [format!("put -r {source} {remote}")];
    let (done, usage) = step.measured(login.sftp(&put)).await?;
    step.add(Figure::SmallUp, delay, files / done.seconds());
    if step.kind().uses_store() {
        step.add(Figure::SmallUpPuts, delay, usage.requests.of(Kind::Put) as f64 / files);
        step.add(Figure::SmallUpOthers, delay, usage.requests.other_than(Kind::Put) as f64 / files);
    }
    let seconds = login.lftp_mirror(source, &format!("{remote}-lftp"), CONNECTIONS).await?;
    step.add(Figure::SmallUpLftp, delay, files / seconds);
    Ok(())
}

async fn download(step: &mut Step<'_>, source: &str, remote: &str, count: u64, delay: u64) -> Result<(), BenchError> {
    step.delay(delay).await?;
    let (login, files) = (step.server.login.clone(), count as f64);
    let get = [format!("get -r {remote} received")];
    let (done, usage) = step.measured(login.sftp(&get)).await?;
    step.add(Figure::SmallDown, delay, files / done.seconds());
    if step.kind().uses_store() {
        step.add(Figure::SmallDownGets, delay, usage.requests.of(Kind::Get) as f64 / files);
        step.add(Figure::SmallDownOthers, delay, usage.requests.other_than(Kind::Get) as f64 / files);
    }
    files::assert_same_folders(&step.local(source), &step.local("received"))?;
    std::fs::remove_dir_all(step.local("received")).map_err(during("removing what was received"))?;

    step.delay(0).await?;
    login.sftp(&[format!("get -r {remote}-lftp received")]).await?;
    files::assert_same_folders(&step.local(source), &step.local("received"))?;
    std::fs::remove_dir_all(step.local("received")).map_err(during("removing what was received"))
}
