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
use tracing::{Span, debug, field, info, info_span, warn};

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
struct Attempts {
    /// Held until the login.
    place: Option<LoginPlace>,
    /// The user named last.
    user: Option<String>,
    /// The rejection that says most.
    rejection: Option<Refused>,
    /// How often the client was refused.
    refused: u32,
    /// Held from the login on.
    session: Option<SessionPlaces>,
    /// The key was good, but there are all the sessions that there may be.
    over_limit: Option<OverLimit>,
}

/// An attempt that failed.
#[derive(Debug)]
struct Refused {
    user: String,
    method: &'static str,
    rejection: Rejection,
}

/// One connection, as all of its tasks see it.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: SocketAddr,
    span: Span,
    metrics: Metrics,
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

    /// How a connection ended that ended by itself.
    pub(crate) fn classify(&self, result: Result<(), russh::Error>) -> Outcome {
        use russh::Error;

        let phase = *self.phase.borrow();
        if let Some(ending) = phase.ending {
            return ending.outcome;
        }
        if self.traffic.is_over_limit() {
            return Outcome::OverConnectionLimit;
        }
        if !phase.logged_in {
            return self.before_login(Outcome::Unauthenticated);
        }
        match result {
            Ok(()) | Err(Error::Disconnect | Error::HUP) => Outcome::Closed,
            Err(Error::IO(error)) => {
                debug!(message = "the connection broke off", %error);
                Outcome::Closed
            }
            Err(Error::InactivityTimeout | Error::KeepaliveTimeout) => Outcome::Lost,
            Err(error) => {
                warn!("activity-type" = "ERROR", message = "the transport failed", %error);
                Outcome::Error
            }
        }
    }

    /// Tells apart the connections that ended before their login.
    pub(crate) fn before_login(&self, outcome: Outcome) -> Outcome {
        if self.phase.borrow().logged_in {
            outcome
        } else if let Some(over_limit) = self.attempts().over_limit {
            match over_limit {
                OverLimit::Tenant => Outcome::OverTenantLimit,
                OverLimit::User => Outcome::OverUserLimit,
            }
        } else if self.traffic.received() == 0 {
            Outcome::Probe
        } else {
            outcome
        }
    }

    /// Says once, in the log and in the metrics, how the connection went.
    pub(crate) fn log_end(&self, outcome: Outcome) {
        self.metrics.ended(outcome);
        let duration = millis(self.started().elapsed());
        let (received, sent) = (self.traffic.received(), self.traffic.sent());
        if self.phase.borrow().logged_in {
            info!(
                "activity-type" = "DISCONNECTED",
                "bytes-in" = received,
                "bytes-out" = sent,
                "duration-ms" = duration,
                message = outcome.as_str(),
            );
            return;
        }
        if outcome == Outcome::Probe {
            debug!("activity-type" = "DISCONNECTED", "duration-ms" = duration, message = outcome.as_str());
            return;
        }
        let attempts = self.attempts();
        let last_user = attempts.user.as_deref().unwrap_or_default();
        let negotiated = self.hello.negotiated();
        let (user, method, message) = match (&attempts.rejection, outcome) {
            (_, Outcome::OverTenantLimit) => {
                (last_user, "publickey", "the tenant has all the sessions it may have".to_owned())
            }
            (_, Outcome::OverUserLimit) => {
                (last_user, "publickey", "the user has all the sessions it may have".to_owned())
            }
            (Some(Refused { user, method, rejection }), _) => {
                self.metrics.authenticated(rejection.result());
                (user.as_str(), *method, rejection.to_string())
            }
            (None, Outcome::Timeout) => {
                self.metrics.authenticated(LoginResult::Timeout);
                (last_user, "none", "the login took too long".to_owned())
            }
            (None, Outcome::OverConnectionLimit) => {
                (last_user, "none", "the client sent more than it may before its login".to_owned())
            }
            (None, _) => (last_user, "none", "the client left before it offered a key".to_owned()),
        };
        warn!(
            "activity-type" = "AUTH_FAILURE",
            user,
            method,
            message,
            "refused-attempts" = attempts.refused,
            client = negotiated.client,
            kex = negotiated.kex,
            ciphers = negotiated.cipher,
            "duration-ms" = duration,
        );
    }

    /// The user whose login failed, if it counts as a failure.
    pub(crate) fn failed_login(&self, outcome: Outcome) -> Option<String> {
        let is_over = matches!(outcome, Outcome::OverTenantLimit | Outcome::OverUserLimit);
        if is_over || self.phase.borrow().logged_in {
            return None;
        }
        let attempts = self.attempts();
        let refused = attempts.rejection.as_ref().filter(|refused| refused.rejection.is_failure())?;
        Some(refused.user.clone())
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
