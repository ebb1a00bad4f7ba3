//! Who may log in with which key.
//!
//! The transport has verified the signature by then. For FIDO keys (`sk-…`) that includes the
//! application, the flags and the counter as signed data, but it neither checks the user-presence
//! flag nor hands it on: a signature that its device made without a touch is accepted.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, PublicKey};
use tidegate_store::{Account, Accounts, StoreError, UserName};
use tokio::time::Instant;
use tracing::warn;

use crate::accounting::LoginResult;
use crate::algorithms::{MAX_RSA_BITS, MIN_RSA_BITS, may_sign_logins};
use crate::public_key::{parse, rsa_bits};

/// How long a client that is in already waits for its account to be looked up again.
const MAX_RECHECK: Duration = Duration::from_secs(2);

/// Checks keys against accounts.
#[derive(Debug)]
pub(crate) struct Authenticator {
    accounts: Arc<dyn Accounts>,
    lookup_timeout: Duration,
    rejection_delay: Duration,
}

/// A user whose key was found good.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) account: Arc<Account>,
    /// `SHA256:…`
    pub(crate) fingerprint: String,
    pub(crate) key: KeyData,
}

/// Who has logged in on a connection, and with which key.
#[derive(Debug)]
pub(crate) struct Identity {
    key: KeyData,
    /// As the directory told it last.
    account: Mutex<Arc<Account>>,
}

impl Identity {
    pub(crate) fn new(accepted: &Accepted) -> Self {
        Self { key: accepted.key.clone(), account: Mutex::new(Arc::clone(&accepted.account)) }
    }

    fn account(&self) -> MutexGuard<'_, Arc<Account>> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a key does not open an account. For the log; the client is told nothing of it.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The key is the user's and has expired.
    Expired,
    /// The user or the tenant is disabled.
    Disabled,
    /// The account could not be looked up.
    Unavailable(StoreError),
    /// Too many logins of the user from this source have failed.
    LockedOut,
    /// The lookup took too long.
    LookupTimeout(Duration),
    /// A way to log in that nobody may use.
    Method,
    /// No key of this user.
    UnknownKey,
    /// No such user, or no possible user name.
    UnknownUser,
    /// A signature algorithm or key size that is not accepted.
    WeakKey(String),
}

impl Rejection {
    pub(crate) fn result(&self) -> LoginResult {
        match self {
            Self::Disabled => LoginResult::Disabled,
            Self::Expired => LoginResult::Expired,
            Self::LockedOut => LoginResult::LockedOut,
            Self::LookupTimeout(_) | Self::Unavailable(_) => LoginResult::Unavailable,
            Self::Method | Self::UnknownKey | Self::UnknownUser | Self::WeakKey(_) => LoginResult::Rejected,
        }
    }

    /// Whether it counts as a failed login. What is wrong on our side does not, nor what a user's own key
    /// meets, nor what is refused because of earlier failures.
    pub(crate) fn is_failure(&self) -> bool {
        self.result() == LoginResult::Rejected
    }

    /// Of several rejections on one connection, the log and the metric tell the greatest: a client
    /// tries all the keys it has, and what matters is what became of the right one.
    pub(crate) fn weight(&self) -> u8 {
        match self {
            Self::Method => 0,
            Self::UnknownKey | Self::UnknownUser => 1,
            Self::WeakKey(_) => 2,
            Self::Disabled | Self::Expired | Self::LockedOut => 3,
            Self::LookupTimeout(_) | Self::Unavailable(_) => 4,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("the user or its tenant is disabled"),
            Self::Expired => f.write_str("the key has expired"),
            Self::LockedOut => f.write_str("too many logins of this user from this address have failed"),
            Self::LookupTimeout(after) => write!(f, "the account could not be looked up within {after:?}"),
            Self::Method => f.write_str("this way to log in is not accepted"),
            Self::Unavailable(error) => write!(f, "the account could not be looked up: {}", error.report()),
            Self::UnknownKey => f.write_str("the user has no such key"),
            Self::UnknownUser => f.write_str("there is no such user"),
            Self::WeakKey(algorithm) => write!(f, "{algorithm} is not accepted"),
        }
    }
}

impl Authenticator {
    pub(crate) fn new(accounts: Arc<dyn Accounts>, lookup_timeout: Duration, rejection_delay: Duration) -> Self {
        Self { accounts, lookup_timeout, rejection_delay }
    }

    /// Whether `key`, used with `algorithm`, opens the account `user`.
    ///
    /// A rejection is rounded up to a multiple of the rejection delay, so that its time tells
    /// neither how far the check came nor whether the directory had to be asked.
    pub(crate) async fn check(
        &self,
        user: &str,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Accepted, Rejection> {
        let started = Instant::now();
        let result = self.check_now(user, key, algorithm, unix_time()).await;
        if result.is_err() {
            let delay = self.rejection_delay.as_nanos().max(1);
            let rounds = started.elapsed().as_nanos().div_ceil(delay).max(1);
            let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
            tokio::time::sleep_until(started + self.rejection_delay.saturating_mul(rounds)).await;
        }
        result
    }

    /// Has an account looked up ahead of the keys that its user will offer. What came of it is told
    /// to nobody: it is remembered by then, or the lookup for a key joins the one that runs
    /// ([`tidegate_store::cached`]).
    pub(crate) async fn look_ahead(&self, user: &UserName) {
        // A failure is met again, and told, when a key is offered.
        let _ = tokio::time::timeout(self.lookup_timeout, self.accounts.lookup(user)).await;
    }

    /// The account of someone who has logged in, as it is now, if the key still opens it.
    ///
    /// If the directory doesn't tell in time, what it told last still counts: a failing directory
    /// must not end the sessions that run.
    pub(crate) async fn check_again(&self, identity: &Identity) -> Result<Arc<Account>, Rejection> {
        let known = Arc::clone(&identity.account());
        let wait = self.lookup_timeout.min(MAX_RECHECK);
        let fresh = match self.lookup(known.user.name.as_str(), wait).await {
            Ok(fresh) => fresh.ok_or(Rejection::UnknownUser)?,
            Err(error) => {
                warn!("activity-type" = "ERROR", operation = "check-account", message = error.to_string());
                // Time goes on without the directory.
                opens(&known, &identity.key, unix_time())?;
                return Ok(known);
            }
        };
        opens(&fresh, &identity.key, unix_time())?;
        // The session is counted and logged as the old tenant's.
        if fresh.tenant.name != known.tenant.name {
            return Err(Rejection::UnknownUser);
        }
        *identity.account() = Arc::clone(&fresh);
        Ok(fresh)
    }

    async fn check_now(
        &self,
        user: &str,
        key: &PublicKey,
        algorithm: &Algorithm,
        now: u64,
    ) -> Result<Accepted, Rejection> {
        let account = self.lookup(user, self.lookup_timeout).await?;
        if !may_sign_logins(algorithm) {
            return Err(Rejection::WeakKey(algorithm.to_string()));
        }
        if let Some(bits) = rsa_bits(key.key_data())
            && !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits)
        {
            return Err(Rejection::WeakKey(format!("an RSA key of {bits} bits")));
        }
        let Some(account) = account else {
            return Err(Rejection::UnknownUser);
        };
        opens(&account, key.key_data(), now)?;
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        Ok(Accepted { account, fingerprint, key: key.key_data().clone() })
    }

    async fn lookup(&self, user: &str, wait: Duration) -> Result<Option<Arc<Account>>, Rejection> {
        let Ok(name) = user.parse::<UserName>() else {
            return Ok(None);
        };
        match tokio::time::timeout(wait, self.accounts.lookup(&name)).await {
            Ok(Ok(account)) => Ok(account),
            Ok(Err(error)) => Err(Rejection::Unavailable(error)),
            Err(_) => Err(Rejection::LookupTimeout(wait)),
        }
    }
}

/// Whether the account lets this key in at this time (Unix seconds).
fn opens(account: &Account, key: &KeyData, now: u64) -> Result<(), Rejection> {
    // By key data alone: comments don't count. A stored line that does not parse opens nothing.
    let authorized =
        account.user.keys.iter().find(|authorized| parse(&authorized.key).is_ok_and(|parsed| parsed.key_data() == key));
    let Some(authorized) = authorized else {
        return Err(Rejection::UnknownKey);
    };
    if !account.is_active() {
        return Err(Rejection::Disabled);
    }
    if authorized.expires.is_some_and(|expires| expires <= now) {
        return Err(Rejection::Expired);
    }
    Ok(())
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}
