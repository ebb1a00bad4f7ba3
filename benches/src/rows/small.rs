//! Many small files.

use std::collections::BTreeMap;

use super::{Bench, Step};
use crate::error::{BenchError, during};
use crate::figure::Figure;
use crate::files;
use crate::proxy::Kind;
use crate::server::ServerKind;

/// Bytes of each.
pub(super) const LENGTH: u64 = 4096;

const SERVERS: [ServerKind; 4] = [ServerKind::Tidegate, ServerKind::Rclone, ServerKind::S3fs, ServerKind::Tmpfs];

/// What a server is given: folders of the client's, and how many files are in each.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// For `sftp -r`.
    one_by_one: (&'static str, u64),
    /// For lftp.
    at_once: (&'static str, u64),
}

impl Share {
    /// The peers' rates need fewer files to be seen, and more would take them minutes. A directory that
    /// holds fewer is no disadvantage to any of them. lftp's logins are in its time, so that rclone
    /// has all files there.
    fn of(kind: ServerKind, count: u64) -> Self {
        let (all, some, few) = (("small", count), ("some", (count * 2 / 5).max(20)), ("few", (count / 20).max(10)));
        match kind {
            ServerKind::S3fs => Self { one_by_one: few, at_once: few },
            ServerKind::Rclone | ServerKind::RcloneWrites => Self { one_by_one: some, at_once: all },
            ServerKind::Tidegate | ServerKind::Tmpfs => Self { one_by_one: all, at_once: all },
        }
    }
}

pub(super) async fn measure(bench: &mut Bench) -> Result<(), BenchError> {
    let (count, delay) = (bench.workload.small_files, bench.workload.delay);
    let folder = bench.testbed.make_folder("client")?;
    let sources = SERVERS.map(|kind| Share::of(kind, count).one_by_one).into_iter().collect::<BTreeMap<_, _>>();
    for (name, count) in &sources {
        files::make_many(&folder.join(name), *count, LENGTH)?;
    }
    for run in 0..bench.workload.runs {
        for kind in bench.order(run, &SERVERS) {
            let (share, remote) = (Share::of(kind, count), format!("small-{kind:?}-{run}"));
            let up = async |step: &mut Step<'_>| upload(step, share, &remote, delay).await;
            bench.step("small files up", kind, run, up).await;
            // From a server that has seen none of them.
            let down = async |step: &mut Step<'_>| download(step, share, &remote, delay, run == 0).await;
            bench.step("small files down", kind, run, down).await;
        }
    }
    for name in sources.keys() {
        std::fs::remove_dir_all(folder.join(name)).map_err(during("removing the sources"))?;
    }
    Ok(())
}

/// Connections of lftp.
pub(super) const CONNECTIONS: u32 = 8;

async fn upload(step: &mut Step<'_>, share: Share, remote: &str, delay: u64) -> Result<(), BenchError> {
    step.delay(delay).await?;
    let (login, (source, count)) = (step.server.login.clone(), share.one_by_one);
    let (files, put) = (count as f64, [format!("put -r {source} {remote}")]);
    let (done, usage) = step.measured(login.sftp(&put)).await?;
    step.add(Figure::SmallUp, delay, files / done.seconds());
    if step.kind().uses_store() {
        // The one for the new directory itself, or one that was sent again, is among the others.
        let puts = usage.requests.of(Kind::Put).min(count);
        step.add(Figure::SmallUpPuts, delay, puts as f64 / files);
        step.add(Figure::SmallUpOthers, delay, (usage.requests.total() - puts) as f64 / files);
    }
    let (source, count) = share.at_once;
    let seconds = login.lftp_mirror(source, &format!("{remote}-lftp"), CONNECTIONS).await?;
    step.add(Figure::SmallUpLftp, delay, count as f64 / seconds);
    Ok(())
}

/// With `check`, what lftp has sent is looked at too.
async fn download(step: &mut Step<'_>, share: Share, remote: &str, delay: u64, check: bool) -> Result<(), BenchError> {
    step.delay(delay).await?;
    let (login, (source, count)) = (step.server.login.clone(), share.one_by_one);
    let (files, get) = (count as f64, [format!("get -r {remote} received")]);
    let (done, _) = step.measured(login.sftp(&get)).await?;
    step.add(Figure::SmallDown, delay, files / done.seconds());
    if step.kind().uses_store() {
        // The first one also looked up what a listing shows of each file.
        step.check_folder(source)?;
        let (_, usage) = step.measured(login.sftp(&get)).await?;
        step.add(Figure::SmallDownGets, delay, usage.requests.of(Kind::Get) as f64 / files);
        step.add(Figure::SmallDownOthers, delay, usage.requests.other_than(Kind::Get) as f64 / files);
    }
    step.check_folder(source)?;
    if check {
        step.delay(0).await?;
        login.sftp(&[format!("get -r {remote}-lftp received")]).await?;
        step.check_folder(share.at_once.0)?;
    }
    Ok(())
}

impl Step<'_> {
    /// The folder `received` holds what `source` does; then it is removed.
    fn check_folder(&self, source: &str) -> Result<(), BenchError> {
        files::assert_same_folders(&self.local(source), &self.local("received"))?;
        std::fs::remove_dir_all(self.local("received")).map_err(during("removing what was received"))
    }
}
