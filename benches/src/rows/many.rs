//! Many files at once, up and down again.

use super::stream::NOWHERE;
use super::{Bench, Step};
use crate::client::Finished;
use crate::error::{BenchError, during};
use crate::figure::{Figure, mib};
use crate::files;
use crate::procfs::peak_memory;
use crate::server::ServerKind;

const SOURCE: &str = "many";

const EIGHT_AT_ONCE: usize = 8;

const EIGHT: [ServerKind; 4] = [ServerKind::Tidegate, ServerKind::Rclone, ServerKind::S3fs, ServerKind::Tmpfs];

/// Eight streams of an eighth of the size each.
pub(super) async fn measure_eight(bench: &mut Bench) -> Result<(), BenchError> {
    let (size, delay) = (bench.workload.stream / EIGHT_AT_ONCE as u64, bench.workload.delay);
    let source = bench.testbed.make_folder("client")?.join(SOURCE);
    files::make(&source, size, 2)?;
    for run in 0..bench.workload.runs {
        let delays = if run % 2 == 0 { [0, delay] } else { [delay, 0] };
        for kind in bench.order(run, &EIGHT) {
            for delay in delays {
                let work = async |step: &mut Step<'_>| eight(step, size, delay, run == 0).await;
                bench.step("eight streams", kind, run, work).await;
            }
        }
    }
    std::fs::remove_file(&source).map_err(during("removing the source"))
}

async fn eight(step: &mut Step<'_>, size: u64, delay: u64, check: bool) -> Result<(), BenchError> {
    const STREAMS: usize = EIGHT_AT_ONCE;
    step.delay(delay).await?;
    let total = mib(size) * STREAMS as f64;
    let (up, down) = (step.uploads(STREAMS), step.downloads(STREAMS, |_| NOWHERE.to_owned()));
    let login = step.server.login.clone();
    files::warm_memory(step.testbed.folder(), 2 * size * STREAMS as u64)?;
    let (done, usage) = step.measured(login.sftp_at_once(up)).await?;
    step.add(Figure::EightUp, delay, total / seconds(&done));
    step.add(Figure::EightUpBusy, delay, usage.share_of_machine());
    let (done, usage) = step.measured(login.sftp_at_once(down)).await?;
    step.add(Figure::EightDown, delay, total / seconds(&done));
    step.add(Figure::EightDownBusy, delay, usage.share_of_machine());
    if let Some(peak) = peak(step) {
        step.add(Figure::EightPeak, delay, peak);
    }
    if check {
        login.sftp_at_once(step.downloads(STREAMS, received)).await?;
        step.check_downloads(STREAMS)?;
    }
    remove(step, STREAMS).await
}

/// Eight streams of the file `source` each: seconds up, and seconds down.
pub(super) async fn cost_of_eight(step: &mut Step<'_>, source: &str, delay: u64) -> Result<(f64, f64), BenchError> {
    step.delay(delay).await?;
    let (login, name) = (step.server.login.clone(), remote(step.kind()));
    let each = |command: fn(&str, &str, usize) -> String| {
        (0..EIGHT_AT_ONCE).map(|n| vec![command(source, &name, n)]).collect()
    };
    let up = login.sftp_at_once(each(|source, name, n| format!("put {source} {name}-{n}"))).await?;
    let down = login.sftp_at_once(each(|_, name, n| format!("get {name}-{n} {NOWHERE}"))).await?;
    remove(step, EIGHT_AT_ONCE).await?;
    Ok((seconds(&up), seconds(&down)))
}

/// The node, and once sshd on tmpfs, to see how fair the machine itself is. s3fs takes minutes for
/// it. rclone, with so many at once, refuses writes that come to it out of order ("can't seek in
/// file without --vfs-cache-mode >= writes"), and uploads fail.
const FIFTY_ON: [ServerKind; 2] = [ServerKind::Tidegate, ServerKind::Tmpfs];

/// Fifty streams of an eighth of the size each. All clients begin within 50 ms; of smaller files the
/// first would have sent half by then, and its head start would be all that is measured.
pub(super) async fn measure_fifty(bench: &mut Bench) -> Result<(), BenchError> {
    let (size, delay) = (bench.workload.stream / 8, bench.workload.delay);
    let source = bench.testbed.make_folder("client")?.join(SOURCE);
    files::make(&source, size, 3)?;
    for run in 0..bench.workload.runs {
        for kind in bench.order(run, &FIFTY_ON) {
            if kind == ServerKind::Tmpfs && run > 0 {
                continue;
            }
            // Uploads and downloads on servers of their own: a peak is never taken back.
            bench.step("fifty uploads", kind, run, async |step| fifty_up(step, delay).await).await;
            bench.step("fifty downloads", kind, run, async |step| fifty_down(step, delay, run == 0).await).await;
        }
    }
    std::fs::remove_file(&source).map_err(during("removing the source"))
}

const FIFTY: usize = 50;

async fn fifty_up(step: &mut Step<'_>, delay: u64) -> Result<(), BenchError> {
    step.delay(delay).await?;
    let done = step.server.login.sftp_at_once(step.uploads(FIFTY)).await?;
    step.add(Figure::FairUp, delay, unfairness(&done));
    if step.kind().uses_store()
        && let Some(peak) = peak(step)
    {
        step.add(Figure::PeakUp, delay, peak);
    }
    Ok(())
}

async fn fifty_down(step: &mut Step<'_>, delay: u64, check: bool) -> Result<(), BenchError> {
    step.delay(delay).await?;
    let login = step.server.login.clone();
    let done = login.sftp_at_once(step.downloads(FIFTY, |_| NOWHERE.to_owned())).await?;
    step.add(Figure::FairDown, delay, unfairness(&done));
    if step.kind().uses_store()
        && let Some(peak) = peak(step)
    {
        step.add(Figure::PeakDown, delay, peak);
    }
    if check {
        login.sftp_at_once(step.downloads(FIFTY, received)).await?;
        step.check_downloads(FIFTY)?;
    }
    remove(step, FIFTY).await
}

impl Step<'_> {
    fn uploads(&self, streams: usize) -> Vec<Vec<String>> {
        let name = remote(self.kind());
        (0..streams).map(|n| vec![format!("put {SOURCE} {name}-{n}")]).collect()
    }

    fn downloads(&self, streams: usize, local: fn(usize) -> String) -> Vec<Vec<String>> {
        let name = remote(self.kind());
        (0..streams).map(|n| vec![format!("get {name}-{n} {}", local(n))]).collect()
    }

    /// Each is what was sent; then it is removed.
    fn check_downloads(&self, streams: usize) -> Result<(), BenchError> {
        for n in 0..streams {
            let received = self.local(&received(n));
            files::assert_same(&self.local(SOURCE), &received)?;
            std::fs::remove_file(received).map_err(during("removing what was received"))?;
        }
        Ok(())
    }
}

async fn remove(step: &mut Step<'_>, streams: usize) -> Result<(), BenchError> {
    step.delay(0).await?;
    let name = remote(step.kind());
    let commands: Vec<_> = (0..streams).map(|n| format!("rm {name}-{n}")).collect();
    step.server.login.sftp(&commands).await.map(drop)
}

fn remote(kind: ServerKind) -> String {
    format!("many-{kind:?}")
}

fn received(stream: usize) -> String {
    format!("received-{stream}")
}

/// The most memory of the processes that were started; sshd's for single sessions are gone.
pub(super) fn peak(step: &Step<'_>) -> Option<f64> {
    let peaks = step.server.pids().into_iter().map(peak_memory).collect::<Option<Vec<u64>>>()?;
    Some(mib(peaks.iter().sum()))
}

/// From the first beginning to the last end.
fn seconds(done: &[Finished]) -> f64 {
    let begin = done.iter().map(|one| one.begin).fold(f64::MAX, f64::min);
    done.iter().map(|one| one.end).fold(f64::MIN, f64::max) - begin
}

/// The longest of all by the shortest.
fn unfairness(done: &[Finished]) -> f64 {
    let shortest = done.iter().map(Finished::seconds).fold(f64::MAX, f64::min);
    done.iter().map(Finished::seconds).fold(f64::MIN, f64::max) / shortest
}
