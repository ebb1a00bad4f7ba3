//! A large directory.

use super::{Bench, Step};
use crate::error::{BenchError, during};
use crate::figure::Figure;
use crate::files;
use crate::proxy::Kind;
use crate::server::ServerKind;

const SERVERS: [ServerKind; 4] = [ServerKind::Tidegate, ServerKind::Rclone, ServerKind::S3fs, ServerKind::Tmpfs];

const REMOTE: &str = "listing";

pub(super) async fn measure(bench: &mut Bench) -> Result<(), BenchError> {
    let (entries, delay) = (bench.workload.entries, bench.workload.delay);
    seed(bench, REMOTE, entries).await?;
    for run in 0..bench.workload.runs {
        for kind in bench.order(run, &SERVERS) {
            // It asks for one entry after the other: minutes for what is no target.
            if kind == ServerKind::Rclone && run > 0 {
                continue;
            }
            let both = async |step: &mut Step<'_>| {
                step.delay(delay).await?;
                step_list(step, entries, delay).await
            };
            bench.step("listing", kind, run, both).await;
        }
    }
    Ok(())
}

/// Makes the directory `remote` where all servers see it. A node writes it, with no delay; it ends
/// behind that and knows nothing of it any more.
pub(super) async fn seed(bench: &mut Bench, remote: &str, entries: u64) -> Result<(), BenchError> {
    eprintln!("making a directory of {entries} entries");
    let local = bench.testbed.make_folder("client")?.join(remote);
    files::make_many(&local, entries, 16)?;
    let put = async |step: &mut Step<'_>| step.sftp(format!("put -r {remote} {remote}")).await.map(drop);
    bench.try_step("seeding".to_owned(), ServerKind::Tidegate, put).await?;
    let on_tmpfs = bench.testbed.make_folder("tmpfs")?.join(remote);
    std::fs::rename(&local, &on_tmpfs).map_err(during("making a directory on tmpfs"))
}

async fn step_list(step: &mut Step<'_>, entries: u64, delay: u64) -> Result<(), BenchError> {
    list(step, REMOTE, entries, Figure::LsCold, delay).await?;
    let requests = list(step, REMOTE, entries, Figure::LsWarm, delay).await?;
    if step.kind().uses_store() {
        step.add(Figure::LsLists, delay, requests.of(Kind::List) as f64 / (entries as f64 / 1000.0));
        step.add(Figure::LsOthers, delay, requests.other_than(Kind::List) as f64);
    }
    // A node relies on what it remembers of young files only when it has seen it twice.
    list(step, REMOTE, entries, Figure::LsThird, delay).await.map(drop)
}

async fn list(
    step: &mut Step<'_>,
    remote: &str,
    entries: u64,
    figure: Figure,
    delay: u64,
) -> Result<crate::proxy::Counts, BenchError> {
    let (login, ls) = (step.server.login.clone(), [format!("ls -l {remote}")]);
    let (done, usage) = step.measured(login.sftp(&ls)).await?;
    assert_complete(&done.output, entries)?;
    step.add(figure, delay, done.seconds());
    Ok(usage.requests)
}

/// Every entry was listed, and once.
pub(super) fn assert_complete(output: &str, entries: u64) -> Result<(), BenchError> {
    let listed = output.lines().filter(|line| line.contains("file-")).count() as u64;
    if listed == entries {
        return Ok(());
    }
    Err(BenchError::Corrupt { what: format!("a listing with {listed} of {entries} entries") })
}
