//! The node at 1, 4 and 16 times the work: the largest is that of the other rows.

use super::stream::NOWHERE;
use super::{Bench, Step, idle, listing, logins, many, small};
use crate::error::{BenchError, during};
use crate::figure::{Operation, mib};
use crate::files;
use crate::measure::Usage;
use crate::server::ServerKind;

/// Times the work.
pub(crate) const FACTORS: [u64; 3] = [1, 4, 16];

/// What the greatest factor stands for.
const WHOLE: u64 = 16;

pub(super) async fn measure(bench: &mut Bench) -> Result<(), BenchError> {
    if !bench.servers.contains(&ServerKind::Tidegate) {
        return Ok(());
    }
    let (work, folder) = (bench.workload, bench.testbed.make_folder("client")?);
    for factor in FACTORS {
        files::make(&folder.join(format!("grown-{factor}")), work.stream / WHOLE * factor, 4)?;
        files::make_many(
            &folder.join(format!("grown-small-{factor}")),
            work.small_files * factor / WHOLE,
            small::LENGTH,
        )?;
        // Eight at once move as much as the one.
        files::make(&folder.join(format!("grown-eighth-{factor}")), work.stream / WHOLE * factor / 8, 5)?;
        listing::seed(bench, work.entries * factor / WHOLE).await?;
    }
    for run in 0..work.runs {
        let factors = if run % 2 == 0 { FACTORS } else { [16, 4, 1] };
        for factor in factors {
            let files = async |step: &mut Step<'_>| transfers(step, factor, work.delay).await;
            bench.step(&format!("growth {factor}x, files"), ServerKind::Tidegate, run, files).await;
            let small = async |step: &mut Step<'_>| small_files(step, factor, run, work.delay).await;
            bench.step(&format!("growth {factor}x, small files"), ServerKind::Tidegate, run, small).await;
            let sessions = async |step: &mut Step<'_>| {
                step.delay(work.delay).await?;
                let login = step.server.login.clone();
                let logins = logins::log_in(&login, work.logins * factor / WHOLE);
                let (seconds, usage) = step.measured(logins).await?;
                step.add_growth(Operation::Logins, factor, seconds);
                step.add_growth(Operation::LoginCpu, factor, usage.server_cpu);
                Ok(())
            };
            bench.step(&format!("growth {factor}x, logins"), ServerKind::Tidegate, run, sessions).await;
            let idle = async |step: &mut Step<'_>| {
                let bytes = idle::cost(step, work.sessions * factor / WHOLE).await?;
                step.add_growth(Operation::Sessions, factor, mib(bytes));
                Ok(())
            };
            bench.step(&format!("growth {factor}x, sessions"), ServerKind::Tidegate, run, idle).await;
            let entries = work.entries * factor / WHOLE;
            let list = async |step: &mut Step<'_>| {
                step.delay(work.delay).await?;
                for operation in [Operation::LsCold, Operation::LsWarm] {
                    let done = step.server.login.sftp(&[format!("ls -l listing-{entries}")]).await?;
                    listing::assert_complete(&done.output, entries)?;
                    step.add_growth(operation, factor, done.seconds());
                }
                Ok(())
            };
            bench.step(&format!("growth {factor}x, listing"), ServerKind::Tidegate, run, list).await;
        }
    }
    for factor in FACTORS {
        for name in [format!("grown-{factor}"), format!("grown-eighth-{factor}")] {
            std::fs::remove_file(folder.join(name)).map_err(during("removing a source"))?;
        }
        std::fs::remove_dir_all(folder.join(format!("grown-small-{factor}"))).map_err(during("removing a source"))?;
    }
    Ok(())
}

async fn transfers(step: &mut Step<'_>, factor: u64, delay: u64) -> Result<(), BenchError> {
    step.delay(delay).await?;
    let file = format!("grown-{factor}");
    let (seconds, usage) = measured(step, format!("put {file} {file}")).await?;
    step.add_growth(Operation::Upload, factor, seconds);
    step.add_growth(Operation::UploadCpu, factor, usage.server_cpu);
    step.add_growth(Operation::UploadRequests, factor, usage.requests.total() as f64);
    let (seconds, usage) = measured(step, format!("get {file} {NOWHERE}")).await?;
    step.add_growth(Operation::Download, factor, seconds);
    step.add_growth(Operation::DownloadCpu, factor, usage.server_cpu);
    step.add_growth(Operation::DownloadRequests, factor, usage.requests.total() as f64);
    step.sftp(format!("rm {file}")).await?;
    let (up, down) = many::cost_of_eight(step, &format!("grown-eighth-{factor}"), delay).await?;
    step.add_growth(Operation::EightUp, factor, up);
    step.add_growth(Operation::EightDown, factor, down);
    if let Some(peak) = many::peak(step) {
        step.add_growth(Operation::EightPeak, factor, peak);
    }
    Ok(())
}

/// One command of one client: its seconds, and what it has cost.
async fn measured(step: &mut Step<'_>, command: String) -> Result<(f64, Usage), BenchError> {
    let (login, command) = (step.server.login.clone(), [command]);
    let (done, usage) = step.measured(login.sftp(&command)).await?;
    Ok((done.seconds(), usage))
}

async fn small_files(step: &mut Step<'_>, factor: u64, run: u32, delay: u64) -> Result<(), BenchError> {
    step.delay(delay).await?;
    let folder = format!("grown-small-{factor}");
    let remote = format!("{folder}-{run}");
    let (seconds, usage) = measured(step, format!("put -r {folder} {remote}")).await?;
    step.add_growth(Operation::SmallUp, factor, seconds);
    step.add_growth(Operation::SmallUpRequests, factor, usage.requests.total() as f64);
    let seconds = step.server.login.lftp_mirror(&folder, &format!("{remote}-lftp"), small::CONNECTIONS).await?;
    step.add_growth(Operation::SmallUpLftp, factor, seconds);
    let seconds = step.sftp(format!("get -r {remote} received")).await?;
    step.add_growth(Operation::SmallDown, factor, seconds);
    files::assert_same_folders(&step.local(&folder), &step.local("received"))?;
    std::fs::remove_dir_all(step.local("received")).map_err(during("removing what was received"))
}
