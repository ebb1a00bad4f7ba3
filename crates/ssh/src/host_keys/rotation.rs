//! The steps of a rotation: what may follow what, so that no client meets a key that it had no time
//! to learn. Nothing here talks to anybody.
//!
//! ```text
//! add ──► announced ──► active ──► retired ──► removed
//!             │            ▲          │
//!             │            └──────────┘ with force
//!             └──────────────────────────────► removed
//! ```
//!
//! A key that becomes active retires the active one of its algorithm in the same step, since key
//! exchange shows one of each.

use std::time::{Duration, UNIX_EPOCH};

use humantime_serde::re::humantime::format_rfc3339_seconds;
use thiserror::Error;

use super::{HostKey, HostKeySet, KeyState};

/// Under which conditions a step is taken.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The time, in seconds since the Unix epoch.
    pub now: u64,
    /// Whether to take the step although clients may refuse to connect after it.
    pub force: bool,
    /// Whether the nodes offer keys on NIST curves (`ssh.ecdsa_host_key`).
    pub ecdsa_offered: bool,
}

/// What a step has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key is in the state that was asked for.
    Made {
        /// The fingerprint of the key that was retired in its favour.
        retired: Option<String>,
    },
    /// Nothing: the key was in that state.
    None,
}

/// Why a step is refused. What may be forced says so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RotationError {
    /// It is the last key that nodes show: not even by force.
    #[error("the key {0} is the last one that nodes offer: without it nobody could connect")]
    LastKey(String),
    /// No other key of its algorithm would be shown.
    #[error(
        "the key {0} is the only active one of its algorithm: clients that know the cluster by it alone would refuse to \
         connect. Activate another in its place, which retires it, or say --force"
    )]
    LastOfAlgorithm(String),
    /// There is none of that fingerprint.
    #[error("there is no host key {0}; see: tidegate hostkey list")]
    NoSuchKey(String),
    /// Only active keys retire.
    #[error("the key {0} is announced and not active: it can be activated or removed")]
    NotActive(String),
    /// Clients that came after it was retired know only the key that follows it.
    #[error(
        "the key {0} is retired: clients that came since then don't know it and would refuse to connect; --force \
         activates it all the same"
    )]
    Retired(String),
    /// Nodes show it.
    #[error("the key {0} is active: it can be removed when it is retired")]
    StillActive(String),
    /// It is not announced for long enough.
    #[error(
        "the key {key} is announced until {}, so that clients learn it; --force activates it now, and clients that \
         don't know it yet refuse to connect", rfc3339(*.ready)
    )]
    TooEarly {
        /// Its fingerprint.
        key: String,
        /// From when on it may become active, in seconds since the Unix epoch.
        ready: u64,
    },
    /// The set is full.
    #[error("there are {max} host keys, which is the most: remove one that is retired first", max = HostKeySet::MAX_KEYS)]
    TooMany,
    /// Some nodes may still show it.
    #[error(
        "the key {key} was retired so lately that a node may still show it; it can be removed from {} on, or with \
         --force", rfc3339(*.until)
    )]
    TooSoon {
        /// Its fingerprint.
        key: String,
        /// From when on it may be removed, in seconds since the Unix epoch.
        until: u64,
    },
}

impl HostKeySet {
    /// How long a retired key stays at least: the longest time that a node may take to read a change
    /// of the set. A client that forgets the key and then meets a node that shows it is lost.
    pub const RETIRED_MIN: Duration = Duration::from_secs(60 * 60);

    /// Adds a key and announces it for this long. Nothing is changed if the set has the key.
    ///
    /// # Errors
    /// [`RotationError::TooMany`].
    pub fn add(&mut self, mut key: HostKey, announce_for: Duration, rules: &Rules) -> Result<Change, RotationError> {
        if self.key(&key.fingerprint()).is_some() {
            return Ok(Change::None);
        }
        if self.keys.len() >= Self::MAX_KEYS {
            return Err(RotationError::TooMany);
        }
        key.announce_at(rules.now, rules.now.saturating_add(announce_for.as_secs()));
        self.keys.push(key);
        Ok(Change::Made { retired: None })
    }

    /// Shows a key in key exchange from now on, in place of the active one of its algorithm.
    ///
    /// # Errors
    /// [`RotationError::TooEarly`] or [`RotationError::Retired`] unless forced;
    /// [`RotationError::NoSuchKey`].
    pub fn activate(&mut self, fingerprint: &str, rules: &Rules) -> Result<Change, RotationError> {
        let key = self.find(fingerprint)?;
        match key.state() {
            KeyState::Active => return Ok(Change::None),
            _ if rules.force => {}
            KeyState::Retired => return Err(RotationError::Retired(fingerprint.to_owned())),
            KeyState::Announced => {
                let ready = key.times().ready;
                if rules.now < ready {
                    return Err(RotationError::TooEarly { key: fingerprint.to_owned(), ready });
                }
            }
        }
        let followed = self.keys.iter().find(|other| other.is_active() && other.replaces(key));
        let retired = followed.map(HostKey::fingerprint);
        if let Some(retired) = &retired {
            self.set_state(retired, KeyState::Retired, rules.now);
        }
        self.set_state(fingerprint, KeyState::Active, rules.now);
        Ok(Change::Made { retired })
    }

    /// Shows a key in key exchange no longer, and none of its algorithm in its place.
    ///
    /// # Errors
    /// [`RotationError::LastOfAlgorithm`] unless forced or not offered anyway;
    /// [`RotationError::LastKey`], [`RotationError::NotActive`], [`RotationError::NoSuchKey`].
    pub fn retire(&mut self, fingerprint: &str, rules: &Rules) -> Result<Change, RotationError> {
        let key = self.find(fingerprint)?;
        match key.state() {
            KeyState::Active => {}
            KeyState::Announced => return Err(RotationError::NotActive(fingerprint.to_owned())),
            KeyState::Retired => return Ok(Change::None),
        }
        // An ECDSA key that nodes don't offer is no last one, and stands for no other either.
        let others = self.keys.iter().filter(|other| other.fingerprint() != fingerprint);
        if !others.clone().any(|other| other.is_offered(rules.ecdsa_offered)) {
            return Err(RotationError::LastKey(fingerprint.to_owned()));
        }
        if key.is_offered(rules.ecdsa_offered) && !rules.force {
            return Err(RotationError::LastOfAlgorithm(fingerprint.to_owned()));
        }
        self.set_state(fingerprint, KeyState::Retired, rules.now);
        Ok(Change::Made { retired: None })
    }

    /// Forgets a key that is announced or retired.
    ///
    /// # Errors
    /// [`RotationError::TooSoon`] unless forced; [`RotationError::StillActive`],
    /// [`RotationError::NoSuchKey`].
    pub fn remove(&mut self, fingerprint: &str, rules: &Rules) -> Result<Change, RotationError> {
        let key = self.find(fingerprint)?;
        match key.state() {
            KeyState::Active => return Err(RotationError::StillActive(fingerprint.to_owned())),
            KeyState::Announced => {}
            KeyState::Retired => {
                let until = key.since().saturating_add(Self::RETIRED_MIN.as_secs());
                if rules.now < until && !rules.force {
                    return Err(RotationError::TooSoon { key: fingerprint.to_owned(), until });
                }
            }
        }
        self.keys.retain(|key| key.fingerprint() != fingerprint);
        Ok(Change::Made { retired: None })
    }

    fn find(&self, fingerprint: &str) -> Result<&HostKey, RotationError> {
        self.key(fingerprint).ok_or_else(|| RotationError::NoSuchKey(fingerprint.to_owned()))
    }

    fn set_state(&mut self, fingerprint: &str, state: KeyState, now: u64) {
        for key in self.keys.iter_mut().filter(|key| key.fingerprint() == fingerprint) {
            key.become_at(state, now);
        }
    }
}

/// A time in seconds since the Unix epoch, by RFC 3339 in UTC. Times behind the year 9999 are written
/// as its end.
fn rfc3339(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))).to_string()
}

#[cfg(test)]
mod tests;
