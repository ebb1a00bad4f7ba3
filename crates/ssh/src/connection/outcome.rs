//! How a connection went, for those who count it and for the log.

use tracing::{debug, info, warn};

use super::state::{Connection, Refused, millis};
use crate::accounting::{LoginResult, Outcome};
use crate::sessions::OverLimit;

impl Connection {
    /// How a connection ended that ended by itself.
    pub(crate) fn classify(&self, result: Result<(), russh::Error>) -> Outcome {
        use russh::Error;

        let phase = self.phase();
        if let Some(ending) = phase.ending {
            return ending.outcome;
        }
        if self.traffic().is_over_limit() {
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
        if self.phase().logged_in {
            outcome
        } else if let Some(over_limit) = self.attempts().over_limit {
            match over_limit {
                OverLimit::Tenant => Outcome::OverTenantLimit,
                OverLimit::User => Outcome::OverUserLimit,
            }
        } else if self.traffic().received() == 0 {
            Outcome::Probe
        } else {
            outcome
        }
    }

    /// Says once, in the log and in the metrics, how the connection went.
    pub(crate) fn log_end(&self, outcome: Outcome) {
        self.metrics.ended(outcome);
        let duration = millis(self.started().elapsed());
        let (received, sent) = (self.traffic().received(), self.traffic().sent());
        if self.phase().logged_in {
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
        let negotiated = self.hello().negotiated();
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
        if is_over || self.phase().logged_in {
            return None;
        }
        let attempts = self.attempts();
        let refused = attempts.rejection.as_ref().filter(|refused| refused.rejection.is_failure())?;
        Some(refused.user.clone())
    }
}
