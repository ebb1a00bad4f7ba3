//! One tenant's credentials: taken when they are first needed, and renewed in time.
//!
//! Why not the SDK's own: its identity cache throws credentials away before it asks for new ones,
//! so that a failing STS would end sessions whose credentials still hold; one cache that clients
//! share has room for 64 sets; and its provider of assumed roles brings an STS client each
//! (aws-smithy-runtime, `LazyCache`; aws-config, `AssumeRoleProvider`). Here all tenants share the
//! one client of STS, and no request waits for a renewal while the old credentials hold.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use tidegate_store::{Metrics, StoreError, StoreErrorKind, StoreResult};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tracing::warn;

use crate::error::{own_error, store_error};

/// How long before their end credentials are renewed, less a part that chance takes so that tenants
/// whose sessions began together do not renew together. With short ones it is a quarter of their
/// life.
const RENEW_AHEAD: Duration = Duration::from_secs(10 * 60);
/// How long before their end credentials are used no more: a request takes time to arrive.
const LAST_USE: Duration = Duration::from_secs(10);
/// How long a renewal that failed is left alone, with credentials that still hold.
const RENEWAL_PAUSE: Duration = Duration::from_secs(15);
/// The same once they have ended: every request would ask.
const PAUSE: Duration = Duration::from_secs(1);

const OPERATION: &str = "assume role";

/// What is asked of STS for one tenant.
#[derive(Clone, Debug)]
pub(super) struct RoleSession {
    pub(super) role_arn: String,
    pub(super) external_id: Option<String>,
    pub(super) duration: Duration,
    /// The tenant's name, `[\w+=,.@-]{2,64}` as STS asks for: it shows in CloudTrail.
    pub(super) name: String,
    pub(super) policy: String,
}

/// The credentials. Clones share them.
#[derive(Clone)]
pub(super) struct TenantCredentials(Arc<Shared>);

struct Shared {
    sts: aws_sdk_sts::Client,
    session: RoleSession,
    metrics: Option<Metrics>,
    state: Mutex<State>,
    /// Held by the one that asks STS.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failure: Option<Failure>,
}

struct Held {
    credentials: Credentials,
    renew_at: Instant,
    end: Instant,
}

/// The last answer, if it was none.
struct Failure {
    error: StoreError,
    ask_again_at: Instant,
}

/// What there is without asking.
enum Known {
    /// Good credentials; `true` if it is time to renew them.
    Held(Credentials, bool),
    /// None, and STS was asked just now.
    Failed(StoreError),
    Nothing,
}

impl TenantCredentials {
    pub(super) fn new(sts: aws_sdk_sts::Client, session: RoleSession, metrics: Option<Metrics>) -> Self {
        Self(Arc::new(Shared { sts, session, metrics, state: Mutex::default(), asking: Arc::default() }))
    }

    /// Credentials that hold.
    ///
    /// # Errors
    /// There are none, and STS gives none: what it said.
    pub(super) async fn get(&self) -> StoreResult<Credentials> {
        match self.0.known() {
            Known::Held(credentials, due) => {
                if due {
                    self.renew();
                }
                return Ok(credentials);
            }
            Known::Failed(error) => return Err(error),
            Known::Nothing => {}
        }
        // Those who come meanwhile wait for the one answer, also if it is a refusal.
        let _asking = self.0.asking.lock().await;
        match self.0.known() {
            Known::Held(credentials, _) => Ok(credentials),
            Known::Failed(error) => Err(error),
            Known::Nothing => self.0.ask().await,
        }
    }

    /// Asks in a task of its own, unless that is going on already.
    fn renew(&self) {
        let Ok(asking) = Arc::clone(&self.0.asking).try_lock_owned() else { return };
        let shared = Arc::clone(&self.0);
        // Ends by itself: the client's time-outs and attempts are bounded.
        tokio::spawn(async move {
            let _asking: OwnedMutexGuard<()> = asking;
            // Whoever held the lock before may have renewed them.
            if matches!(shared.known(), Known::Held(_, false)) {
                return;
            }
            if let Err(error) = shared.ask().await {
                let left = shared.left();
                warn!(
                    tenant = shared.session.name,
                    error = error.report(),
                    "left-seconds" = left.as_secs(),
                    "the tenant's credentials can't be renewed; its sessions go on with those they have, as long as \
                     they hold"
                );
            }
        });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> Known {
        let (now, state) = (Instant::now(), self.state());
        let paused = state.failure.as_ref().filter(|failure| now < failure.ask_again_at);
        match (&state.held, paused) {
            (Some(held), paused) if now < held.end => {
                Known::Held(held.credentials.clone(), now >= held.renew_at && paused.is_none())
            }
            (_, Some(failure)) => Known::Failed(failure.error.clone()),
            _ => Known::Nothing,
        }
    }

    /// How long the credentials still hold.
    fn left(&self) -> Duration {
        self.state().held.as_ref().map_or(Duration::ZERO, |held| held.end.saturating_duration_since(Instant::now()))
    }

    /// Asks STS, and keeps the answer.
    async fn ask(&self) -> StoreResult<Credentials> {
        let answer = match &self.metrics {
            Some(metrics) => metrics.measure("sts", "assume_role", self.assume_role()).await,
            None => self.assume_role().await,
        };
        let mut state = self.state();
        match answer {
            Ok(held) => {
                let credentials = held.credentials.clone();
                *state = State { held: Some(held), failure: None };
                Ok(credentials)
            }
            Err(error) => {
                let now = Instant::now();
                let holds = state.held.as_ref().is_some_and(|held| now < held.end);
                let pause = if holds { RENEWAL_PAUSE } else { PAUSE };
                state.failure = Some(Failure { error: error.clone(), ask_again_at: now + pause });
                Err(error)
            }
        }
    }

    async fn assume_role(&self) -> StoreResult<Held> {
        let session = &self.session;
        let at = format!("{} for the tenant {}", session.role_arn, session.name);
        let output = self
            .sts
            .assume_role()
            .role_arn(&session.role_arn)
            .role_session_name(&session.name)
            .policy(&session.policy)
            .set_external_id(session.external_id.clone())
            .duration_seconds(i32::try_from(session.duration.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| store_error(OPERATION, &at, error))?;
        let bad = |what| own_error(StoreErrorKind::Unavailable, OPERATION, &at, what);
        let given = output.credentials.ok_or_else(|| bad("the answer has no credentials"))?;
        let end = SystemTime::try_from(given.expiration).map_err(|_| bad("the credentials have no end"))?;
        let life = end.duration_since(SystemTime::now()).unwrap_or_default();
        if life.is_zero() {
            return Err(bad("the credentials have ended already: is this machine's clock right?"));
        }
        let credentials = Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(end),
            "tidegate-tenant-role",
        );
        // Never longer than was asked for, should this machine's clock lag.
        let life = life.min(session.duration);
        let now = Instant::now();
        let (last_use, ahead) = (LAST_USE.min(life / 10), RENEW_AHEAD.min(life / 4));
        Ok(Held {
            credentials,
            renew_at: now + (life - ahead.mul_f64(1.0 - 0.5 * rand::random::<f64>())),
            end: now + (life - last_use),
        })
    }
}

impl fmt::Debug for TenantCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantCredentials").field("session", &self.0.session).finish_non_exhaustive()
    }
}

impl ProvideCredentials for TenantCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.get().await.map_err(CredentialsError::provider_error) })
    }
}
