//! A large directory.

use std::time::Duration;

use super::{Bench, Step};
use crate::error::{BenchError, during};
use crate::figure::Figure;
use crate::files;
use crate::proxy::Kind;
use crate::server::ServerKind;

/// How long a directory lies untouched before it is listed. S3 tells when an object was stored to the
/// second, so a node does not rely on what it remembers of files that are younger than two: what is measured is
/// a directory that was there before, not one that was made a moment ago.
const SETTLED: Duration = Duration::from_secs(3);

/// Without rclone: it asks for one entry after the other, minutes for what is no target.
const SERVERS: [ServerKind; 3] = [ServerKind::Tidegate, ServerKind::S3fs, ServerKind::Tmpfs];

pub(super) async fn measure(bench: &mut Bench) -> Result<(), BenchError> {
    let (entries, delay) = (bench.workload.entries, bench.workload.delay);
    let remote = seed(bench, entries).await?;
    for run in 0..bench.workload.runs {
        for kind in bench.order(run, &SERVERS) {
            let both = async |step: &mut Step<'_>| {
                step.delay(delay).await?;
                step_list(step, &remote, entries, delay).await
            };
            bench.step("listing", kind, run, both).await;
        }
    }
    Ok(())
}

/// Makes a directory where all servers see it, unless it is there, and gives its name. A node writes
/// it, with no delay; it ends behind that and knows nothing of it any more.
pub(super) async fn seed(bench: &mut Bench, entries: u64) -> Result<String, BenchError> {
    let remote = format!("listing-{entries}");
    if bench.seeded.contains(&entries) {
        return Ok(remote);
    }
    eprintln!("making a directory of {entries} entries");
    let local = bench.testbed.make_folder("client")?.join(&remote);
    files::make_many(&local, entries, 16)?;
    let put = async |step: &mut Step<'_>| {
        step.sftp(format!("mkdir {remote}")).await?;
        // Ten clients, each with the names that end in its digit.
        let tenths: Vec<_> =
            (0..entries.min(10)).map(|digit| vec![format!("put {remote}/file-*{digit} {remote}")]).collect();
        step.server.login.sftp_at_once(tenths).await.map(drop)
    };
    bench.try_step("seeding".to_owned(), ServerKind::Tidegate, put).await?;
    let on_tmpfs = bench.testbed.make_folder("tmpfs")?.join(&remote);
    std::fs::rename(&local, &on_tmpfs).map_err(during("making a directory on tmpfs"))?;
    tokio::time::sleep(SETTLED).await;
    bench.seeded.insert(entries);
    Ok(remote)
}

async fn step_list(step: &mut Step<'_>, remote: &str, entries: u64, delay: u64) -> Result<(), BenchError> {
    list(step, remote, entries, Figure::LsCold, delay).await?;
    let requests = list(step, remote, entries, Figure::LsWarm, delay).await?;
    if step.kind().uses_store() {
        step.add(Figure::LsLists, delay, requests.of(Kind::List) as f64 / (entries as f64 / 1000.0));
        step.add(Figure::LsOthers, delay, requests.other_than(Kind::List) as f64);
    }
    // A node relies on what it remembers of young files only when it has seen it twice.
    list(step, remote, entries, Figure::LsThird, delay).await.map(drop)
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
