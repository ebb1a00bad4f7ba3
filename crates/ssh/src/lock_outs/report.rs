//! Tells the cluster of failed logins, behind the backs of those who log in.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tidegate_store::{LoginFailures, StoreError, StoreErrorKind, StoreResult, UserName};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::LockOuts;

/// What the cluster is told.
#[derive(Debug)]
pub(super) enum Report {
    Failed { source: IpAddr, user: Option<UserName> },
    Succeeded { source: IpAddr, user: UserName },
}

/// Requests under way at once.
const MAX_REQUESTS: usize = 8;

/// How long one may take, and how long nobody is told after one that failed.
const REQUEST_MAX: Duration = Duration::from_secs(5);
const SUSPENSION: Duration = Duration::from_secs(5);

pub(super) async fn run(
    lock_outs: Weak<LockOuts>,
    failures: Arc<dyn LoginFailures>,
    mut queue: mpsc::Receiver<Report>,
    closed: CancellationToken,
) {
    let turns = Arc::new(Semaphore::new(MAX_REQUESTS));
    let suspended = Arc::new(std::sync::Mutex::new(None::<Instant>));
    loop {
        let report = tokio::select! {
            () = closed.cancelled() => return,
            report = queue.recv() => report,
        };
        let Some((report, lock_outs)) = report.zip(lock_outs.upgrade()) else { return };
        if lock(&suspended).is_some_and(|until| until > Instant::now()) {
            lock_outs.metrics.untold_login_failures.inc();
            continue;
        }
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let (failures, suspended) = (Arc::clone(&failures), Arc::clone(&suspended));
        tokio::spawn(async move {
            let late =
                || StoreError::new(StoreErrorKind::Unavailable, "login failures").with_source("it took too long");
            let told = timeout(REQUEST_MAX, tell(&lock_outs, &*failures, report)).await;
            if let Err(error) = told.unwrap_or_else(|_| Err(late())) {
                lock_outs.metrics.untold_login_failures.inc();
                if lock(&suspended).replace(Instant::now() + SUSPENSION).is_none() {
                    warn!(
                        "activity-type" = "ERROR",
                        operation = "lock-out",
                        message = "failed logins can't be told to the other nodes: each counts its own",
                        error = error.report(),
                    );
                }
            } else {
                *lock(&suspended) = None;
            }
            drop(turn);
        });
    }
}

fn lock(suspended: &std::sync::Mutex<Option<Instant>>) -> std::sync::MutexGuard<'_, Option<Instant>> {
    suspended.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn tell(lock_outs: &LockOuts, failures: &dyn LoginFailures, report: Report) -> StoreResult<()> {
    let window = lock_outs.config.window;
    match report {
        Report::Failed { source, user } => {
            let counts = failures.add(source, user.as_ref(), window).await?;
            lock_outs.learned(source, user.as_ref(), counts);
            Ok(())
        }
        Report::Succeeded { source, user } => failures.forget(source, &user, window).await,
    }
}
