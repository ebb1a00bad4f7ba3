//! From the first signal to the end: tell the balancer, drain, and at last cut.

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tidegate_sftp::Shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use crate::readiness::Readiness;

/// How long sessions that were cut may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(10);
/// How long after the cut the node waits until it is told that somebody knows of it. Less than the goodbye, behind
/// which a service manager may kill the process.
const TOLD: Duration = Duration::from_secs(9);

/// The `[drain]` section. A service manager must wait longer than `delay` + `deadline` + 10 s
/// before it kills the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long new connections are still taken after `/readyz` turned 503, so that the balancer
    /// has noticed before any is refused. Default: `5s`.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    /// How long transfers may go on after that before they are cut. Default: `5m`.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every session ended by itself after the signal.
    Drained,
    /// Sessions were cut, at the deadline or by a second signal.
    Cut,
    /// Serving stopped without being told to.
    Unasked,
}

impl Default for Config {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), deadline: Duration::from_secs(300) }
    }
}

/// The names of the signals that end the process, as they arrive. From the first call on they no
/// longer kill it.
///
/// # Errors
/// If the system refuses a handler.
pub fn signals() -> io::Result<BoxStream<'static, &'static str>> {
    let arrivals = |kind, name| {
        signal(kind).map(|signal| {
            stream::unfold(signal, move |mut signal| async move { signal.recv().await.map(|()| (name, signal)) })
        })
    };
    let terminate = arrivals(SignalKind::terminate(), "SIGTERM")?;
    let interrupt = arrivals(SignalKind::interrupt(), "SIGINT")?;
    Ok(stream::select(terminate.boxed(), interrupt.boxed()).boxed())
}

/// Waits for the next signal; forever if there are no more.
pub async fn next_signal(signals: &mut (impl Stream<Item = &'static str> + Unpin)) -> &'static str {
    match signals.next().await {
        Some(name) => name,
        None => std::future::pending().await,
    }
}

/// Runs `serving` until it ends: at the first signal it drains, at the deadline or the second
/// signal it cuts. What the deadline cut is in this process' metrics and ends with it, so it waits,
/// for 9 seconds at most, for `told`: somebody has read them. Its first poll is after the cut.
pub async fn supervise(
    serving: impl Future<Output = ()>,
    told: impl Future<Output = ()>,
    signals: &mut (impl Stream<Item = &'static str> + Unpin),
    readiness: &Readiness,
    shutdown: &Shutdown,
    config: &Config,
) -> Ending {
    let mut serving = pin!(serving);
    let first = tokio::select! {
        () = &mut serving => return Ending::Unasked,
        name = next_signal(signals) => name,
    };
    readiness.draining();
    info!(signal = first, delay = ?config.delay, deadline = ?config.deadline, "draining");

    let second = tokio::select! {
        () = &mut serving => return Ending::Drained,
        () = sleep(config.delay) => None,
        name = next_signal(signals) => Some(name),
    };
    shutdown.drain.cancel();
    let second = match second {
        Some(_) => second,
        None => tokio::select! {
            () = &mut serving => return Ending::Drained,
            () = sleep(config.deadline) => None,
            name = next_signal(signals) => Some(name),
        },
    };
    match second {
        Some(name) => warn!(signal = name, "a second signal: sessions are cut"),
        None => warn!("the drain deadline has passed: sessions are cut"),
    }

    shutdown.deadline.cancel();
    let cut = Instant::now();
    if timeout_at(cut + GOODBYE, serving).await.is_err() {
        warn!("sessions did not end in time and are dropped");
    } else if second.is_none() {
        tokio::select! {
            _ = timeout_at(cut + TOLD, told) => {}
            _ = next_signal(signals) => {}
        }
    }
    Ending::Cut
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::channel::mpsc;

    use super::*;

    fn shutdown() -> Shutdown {
        Shutdown { drain: Default::default(), deadline: Default::default() }
    }

    const CONFIG: Config = Config { delay: Duration::from_secs(5), deadline: Duration::from_secs(60) };

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_unreadies_at_once_and_drains_after_the_delay() {
        let (readiness, shutdown, start) = (Readiness::default(), shutdown(), Instant::now());
        let tokens = shutdown.clone();
        let seen = readiness.clone();
        let serving = async move {
            tokens.drain.cancelled().await;
            assert!(seen.reasons().contains(&"the node is draining"));
            assert_eq!(start.elapsed(), CONFIG.delay);
            sleep(Duration::from_secs(1)).await;
        };
        let mut signals = stream::iter(["SIGTERM"]).chain(stream::pending());
        assert_eq!(supervise(serving, ready(()), &mut signals, &readiness, &shutdown, &CONFIG).await, Ending::Drained);
        assert!(!shutdown.deadline.is_cancelled());
        assert_eq!(start.elapsed(), CONFIG.delay + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_cuts_what_is_still_running() {
        let (shutdown, start) = (shutdown(), Instant::now());
        let cut = shutdown.deadline.clone();
        let mut signals = stream::iter(["SIGTERM"]).chain(stream::pending());
        let serving = cut.cancelled_owned();
        assert_eq!(
            supervise(serving, ready(()), &mut signals, &Readiness::default(), &shutdown, &CONFIG).await,
            Ending::Cut
        );
        assert_eq!(start.elapsed(), CONFIG.delay + CONFIG.deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_deadline_cut_is_shown_until_somebody_has_read_it() {
        for (asked, told) in [(3, 3), (60, 9)] {
            let (shutdown, start) = (shutdown(), Instant::now());
            let serving = shutdown.deadline.clone().cancelled_owned();
            let cut = shutdown.deadline.clone();
            let read = async move {
                assert!(cut.is_cancelled());
                sleep(Duration::from_secs(asked)).await;
            };
            let mut signals = stream::iter(["SIGTERM"]).chain(stream::pending());
            let ending = supervise(serving, read, &mut signals, &Readiness::default(), &shutdown, &CONFIG).await;
            assert_eq!(ending, Ending::Cut);
            assert_eq!(start.elapsed(), CONFIG.delay + CONFIG.deadline + Duration::from_secs(told));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_cuts_at_once() {
        let (shutdown, start) = (shutdown(), Instant::now());
        let cut = shutdown.deadline.clone();
        let (mut send, mut signals) = mpsc::channel(2);
        send.try_send("SIGTERM").unwrap();
        send.try_send("SIGINT").unwrap();
        let serving = cut.cancelled_owned();
        assert_eq!(
            supervise(serving, pending(), &mut signals, &Readiness::default(), &shutdown, &CONFIG).await,
            Ending::Cut
        );
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(shutdown.drain.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_that_never_end_do_not_hold_the_process() {
        let (shutdown, start) = (shutdown(), Instant::now());
        let mut signals = stream::iter(["SIGTERM", "SIGTERM"]).chain(stream::pending());
        let serving = pending();
        supervise(serving, ready(()), &mut signals, &Readiness::default(), &shutdown, &CONFIG).await;
        assert_eq!(start.elapsed(), GOODBYE);
    }

    #[tokio::test]
    async fn serving_that_ends_unasked_is_told_apart() {
        let ending =
            supervise(async {}, pending(), &mut stream::pending(), &Readiness::default(), &shutdown(), &CONFIG).await;
        assert_eq!(ending, Ending::Unasked);
    }
}
