//! What is known of one connection, shared by the tasks that work on it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_sftp::ThrottledSessions;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Span, field, info, info_span, warn};

use crate::accounting::{LoginResult, Outcome};
use crate::admission::LoginPlace;
use crate::authentication::{Accepted, Rejection};
use crate::metrics::Metrics;
use crate::negotiated::ClientHello;
use crate::sessions::{OverLimit, SessionPlaces};
use crate::socket::Traffic;

/// The longest part of a user name from the network that is logged, in characters.
const MAX_LOGGED_NAME: usize = 128;

/// When a connection last did something for its client.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    started: Instant,
    last: Arc<AtomicU64>,
    throttled: ThrottledSessions,
}

impl Activity {
    fn new() -> Self {
        Self { started: Instant::now(), last: Arc::default(), throttled: ThrottledSessions::default() }
    }

    pub(crate) fn touch(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// When that was; now, while a session waits for bandwidth: then it is not the client that is
    /// silent.
    pub(crate) fn last(&self) -> Instant {
        if self.throttled.any() {
            self.touch();
        }
        self.started + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Where the connection's sessions count while they wait for bandwidth.
    pub(crate) fn throttled(&self) -> &ThrottledSessions {
        &self.throttled
    }
}

/// Why we end a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    /// For the client.
    pub(crate) text: &'static str,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phase {
    /// The connection has to end.
    pub(crate) ending: Option<Ending>,
    pub(crate) logged_in: bool,
    /// Channels that are open.
    pub(crate) channels: u32,
}

/// What became of a login whose key was good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Admitted,
    OverLimit,
}

#[derive(Debug)]
pub(super) struct Attempts {
    /// Held until the login.
    place: Option<LoginPlace>,
    /// The user named last.
    pub(super) user: Option<String>,
    /// The rejection that says most.
    pub(super) rejection: Option<Refused>,
    /// How often the client was refused.
    pub(super) refused: u32,
    /// Held from the login on.
    session: Option<SessionPlaces>,
    /// The key was good, but there are all the sessions that there may be.
    pub(super) over_limit: Option<OverLimit>,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) user: String,
    pub(super) method: &'static str,
    pub(super) rejection: Rejection,
}

/// One connection, as all of its tasks see it.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: SocketAddr,
    span: Span,
    pub(super) metrics: Metrics,
    activity: Activity,
    traffic: Arc<Traffic>,
    hello: Arc<ClientHello>,
    cut: CancellationToken,
    phase: watch::Sender<Phase>,
    attempts: Mutex<Attempts>,
    tasks: TaskTracker,
}

/// A channel's place on its connection; given back on drop.
#[derive(Debug)]
pub(crate) struct ChannelPlace(Arc<Connection>);

impl Connection {
    pub(crate) fn new(
        peer: SocketAddr,
        place: LoginPlace,
        traffic: Traffic,
        hello: ClientHello,
        metrics: Metrics,
    ) -> Self {
        let span = info_span!(
            "connection",
            "session-id" = format!("{:016x}", rand::random::<u64>()),
            user = field::Empty,
            tenant = field::Empty,
            "source-ip" = %peer.ip().to_canonical(),
        );
        Self {
            peer,
            span,
            metrics,
            activity: Activity::new(),
            traffic: Arc::new(traffic),
            hello: Arc::new(hello),
            cut: CancellationToken::new(),
            phase: watch::Sender::new(Phase::default()),
            attempts: Mutex::new(Attempts {
                place: Some(place),
                user: None,
                rejection: None,
                refused: 0,
                session: None,
                over_limit: None,
            }),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn started(&self) -> Instant {
        self.activity.started
    }

    /// Where the client is.
    pub(crate) fn client(&self) -> IpAddr {
        self.peer.ip()
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    pub(crate) fn hello(&self) -> &Arc<ClientHello> {
        &self.hello
    }

    /// Ends the TCP stream when cancelled.
    pub(crate) fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// A place for one more channel; `None` if all are taken.
    pub(crate) fn open_channel(self: &Arc<Self>, limit: u32) -> Option<ChannelPlace> {
        let opened = self.phase.send_if_modified(|phase| {
            let free = phase.channels < limit;
            phase.channels += u32::from(free);
            free
        });
        opened.then(|| ChannelPlace(Arc::clone(self)))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Returns when no channel's task runs any more, and none can begin.
    pub(crate) async fn channels_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The client named a user without proving anything.
    pub(crate) fn tried(&self, user: &str) {
        self.attempts().user = Some(loggable(user));
    }

    pub(crate) fn rejected(&self, user: &str, method: &'static str, rejection: Rejection) {
        let mut attempts = self.attempts();
        attempts.refused = attempts.refused.saturating_add(1);
        if attempts.rejection.as_ref().is_none_or(|known| known.rejection.weight() <= rejection.weight()) {
            attempts.rejection = Some(Refused { user: loggable(user), method, rejection });
        }
    }

    /// The client has proved who it is, and gets its places unless there are none.
    pub(crate) fn logged_in(&self, accepted: Accepted, places: Result<SessionPlaces, OverLimit>) -> Login {
        let (user, tenant) = (&accepted.account.user.name, &accepted.account.tenant.name);
        self.span.record("user", user.as_str());
        self.span.record("tenant", tenant.as_str());
        self.metrics.authenticated(LoginResult::Accepted);
        let mut attempts = self.attempts();
        match places {
            Ok(places) => attempts.session = Some(places),
            Err(over_limit) => {
                attempts.over_limit = Some(over_limit);
                attempts.user = Some(user.as_str().to_owned());
                return Login::OverLimit;
            }
        }
        attempts.place = None;
        let refused = attempts.refused;
        drop(attempts);
        self.traffic.logged_in();
        let took = self.started().elapsed();
        self.metrics.handshake_took(took);
        self.activity.touch();
        let negotiated = self.hello.negotiated();
        self.span.in_scope(|| {
            info!(
                "activity-type" = "CONNECTED",
                "source-port" = self.peer.port(),
                method = "publickey",
                "ssh-public-key-fingerprint" = accepted.fingerprint,
                client = negotiated.client,
                kex = negotiated.kex,
                ciphers = negotiated.cipher,
                "refused-attempts" = refused,
                "home-dir" = accepted.account.user.home,
                "duration-ms" = millis(took),
            );
        });
        self.phase.send_modify(|phase| phase.logged_in = true);
        Login::Admitted
    }

    /// Makes the connection end; the first reason counts.
    pub(crate) fn end(&self, ending: Ending) {
        let is_first = self.phase.send_if_modified(|phase| {
            let is_first = phase.ending.is_none();
            phase.ending.get_or_insert(ending);
            is_first
        });
        if is_first {
            self.span.in_scope(|| {
                warn!("activity-type" = "ERROR", operation = ending.outcome.as_str(), message = ending.text);
            });
        }
    }

    pub(super) fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ChannelPlace {
    fn drop(&mut self) {
        self.0.phase.send_modify(|phase| phase.channels = phase.channels.saturating_sub(1));
    }
}

/// A user name from the network, as the log may have it.
fn loggable(user: &str) -> String {
    user.escape_debug().take(MAX_LOGGED_NAME).collect()
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
