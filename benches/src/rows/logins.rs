//! Connect, log in, `pwd`, disconnect.

use std::time::Instant;

use tokio::task::JoinSet;

use super::{Bench, Step};
use crate::client::Login;
use crate::error::BenchError;
use crate::figure::Figure;
use crate::server::ServerKind;

const SERVERS: [ServerKind; 3] = [ServerKind::Tidegate, ServerKind::Rclone, ServerKind::Tmpfs];

const AT_ONCE: u64 = 16;

pub(super) async fn measure(bench: &mut Bench) -> Result<(), BenchError> {
    let (count, delay) = (bench.workload.logins, bench.workload.delay);
    for run in 0..bench.workload.runs {
        for kind in bench.order(run, &SERVERS) {
            let work = async |step: &mut Step<'_>| {
                step.delay(delay).await?;
                let (login, logins) = (step.server.login.clone(), count as f64);
                let (seconds, usage) = step.measured(log_in(&login, count)).await?;
                step.add(Figure::Logins, delay, logins / seconds);
                step.add(Figure::LoginCpu, delay, usage.server_cpu * 1000.0 / logins);
                Ok(())
            };
            bench.step("logins", kind, run, work).await;
        }
    }
    Ok(())
}

/// Logs in `count` times, 16 at once, and gives the seconds for all.
pub(super) async fn log_in(login: &Login, count: u64) -> Result<f64, BenchError> {
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..AT_ONCE {
        let login = login.clone();
        clients.spawn(async move {
            for _ in (client..count).step_by(AT_ONCE as usize) {
                login.sftp(&["pwd".to_owned()]).await?;
            }
            Ok::<_, BenchError>(())
        });
    }
    clients.join_all().await.into_iter().collect::<Result<(), _>>()?;
    Ok(start.elapsed().as_secs_f64())
}
