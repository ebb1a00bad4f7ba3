//! Sessions that do nothing.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Bench, Step};
use crate::client::Login;
use crate::error::{BenchError, during};
use crate::figure::{Figure, mib};
use crate::procfs::Tree;
use crate::server::ServerKind;

const SERVERS: [ServerKind; 3] = [ServerKind::Tidegate, ServerKind::Rclone, ServerKind::Tmpfs];

/// Sessions that begin at once: fewer than servers let in unauthenticated.
const AT_ONCE: u64 = 16;

/// How long a session may take to stand.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

/// How long sessions are left alone before memory is looked at.
const REST: Duration = Duration::from_secs(2);

pub(super) async fn measure(bench: &mut Bench) -> Result<(), BenchError> {
    let all = bench.workload.sessions;
    for run in 0..bench.workload.runs {
        for kind in bench.order(run, &SERVERS) {
            // A session of sshd is two processes: a tenth tells as much and fits into the machine.
            let count = if kind == ServerKind::Tidegate { all } else { (all / 10).max(10) };
            let work = async |step: &mut Step<'_>| {
                let bytes = cost(step, count).await?;
                step.add(Figure::IdleMemory, 0, mib(bytes) * 1024.0 / count as f64);
                Ok(())
            };
            bench.step("idle sessions", kind, run, work).await;
        }
    }
    Ok(())
}

/// Bytes of memory that `count` idle sessions take, besides what the server takes without any.
pub(super) async fn cost(step: &Step<'_>, count: u64) -> Result<u64, BenchError> {
    // The first makes what the server makes once.
    step.server.login.sftp(&["pwd".to_owned()]).await?;
    sleep(REST).await;
    let before = memory(step)?;
    let sessions = open(&step.server.login, count).await?;
    sleep(REST).await;
    let after = memory(step)?;
    drop(sessions);
    Ok(after.saturating_sub(before))
}

fn memory(step: &Step<'_>) -> Result<u64, BenchError> {
    let unknown = || BenchError::Unexpected { what: "the server's memory".to_owned(), text: "nothing".to_owned() };
    Tree::of(&step.server.pids())?.memory().ok_or_else(unknown)
}

/// Opens sessions; they last until they are dropped.
async fn open(login: &Login, count: u64) -> Result<Vec<Child>, BenchError> {
    let mut sessions = Vec::new();
    let mut left = count;
    while left > 0 {
        let mut opening = JoinSet::new();
        for _ in 0..left.min(AT_ONCE) {
            let login = login.clone();
            opening.spawn(async move { open_one(&login).await });
        }
        left -= left.min(AT_ONCE);
        for session in opening.join_all().await {
            sessions.push(session?);
        }
    }
    Ok(sessions)
}

/// Opens a session and waits for the server's version, so that it surely stands.
async fn open_one(login: &Login) -> Result<Child, BenchError> {
    // draft-ietf-secsh-filexfer-02, section 4: length, SSH_FXP_INIT, version 3.
    const INIT: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    const VERSION: u8 = 2;
    let mut command = login.subsystem();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(during("starting ssh"))?;
    let exchange = async {
        let (Some(input), Some(output)) = (&mut child.stdin, &mut child.stdout) else { return Ok([0; 5]) };
        input.write_all(&INIT).await?;
        let mut answer = [0; 5];
        output.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let answer = timeout(OPEN_LIMIT, exchange)
        .await
        .map_err(|_| BenchError::TimedOut { what: "opening a session".to_owned(), limit: OPEN_LIMIT })?
        .map_err(during("opening a session"))?;
    match answer {
        [.., VERSION] => Ok(child),
        other => Err(BenchError::Unexpected { what: "the server's version".to_owned(), text: format!("{other:?}") }),
    }
}
