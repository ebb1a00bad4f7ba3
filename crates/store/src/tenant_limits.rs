//! What a tenant may use, and how that is changed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a tenant may use at most, on each node unless it says otherwise. `None` leaves it to the
/// node's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantLimits {
    /// File content that all its sessions together may send to the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bandwidth_in: Option<Bandwidth>,
    /// File content that all its sessions together may take from the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bandwidth_out: Option<Bandwidth>,
    /// Files and directories that all its sessions together may have open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open_handles: Option<u32>,
    /// Bytes of file content that all its sessions together may have in the node's memory at once, on
    /// their way to the store or from it; what each open file needs to go on at all comes on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u64>,
    /// Sessions at once, over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Bytes that its files may take, over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// Objects that its files and directories may be, over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_objects: Option<u64>,
}

impl TenantLimits {
    /// Whether what the tenant's files take has to be counted.
    pub fn has_quota(&self) -> bool {
        self.quota_bytes.is_some() || self.quota_objects.is_some()
    }
}

/// A change of [`TenantLimits`], one limit at a time: two administrators who change different
/// limits at once both have their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantLimitsChange {
    /// See [`TenantLimits::max_bandwidth_in`].
    pub max_bandwidth_in: LimitChange<Bandwidth>,
    /// See [`TenantLimits::max_bandwidth_out`].
    pub max_bandwidth_out: LimitChange<Bandwidth>,
    /// See [`TenantLimits::max_open_handles`].
    pub max_open_handles: LimitChange<u32>,
    /// See [`TenantLimits::max_in_flight`].
    pub max_in_flight: LimitChange<u64>,
    /// See [`TenantLimits::max_sessions`].
    pub max_sessions: LimitChange<u32>,
    /// See [`TenantLimits::quota_bytes`].
    pub quota_bytes: LimitChange<u64>,
    /// See [`TenantLimits::quota_objects`].
    pub quota_objects: LimitChange<u64>,
}

/// What becomes of one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitChange<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is gone: the node's configuration holds.
    Lift,
    /// It is this.
    Set(T),
}

impl TenantLimitsChange {
    /// The limits after this change.
    #[must_use]
    pub fn apply(&self, limits: &TenantLimits) -> TenantLimits {
        TenantLimits {
            max_bandwidth_in: self.max_bandwidth_in.apply(limits.max_bandwidth_in),
            max_bandwidth_out: self.max_bandwidth_out.apply(limits.max_bandwidth_out),
            max_open_handles: self.max_open_handles.apply(limits.max_open_handles),
            max_in_flight: self.max_in_flight.apply(limits.max_in_flight),
            max_sessions: self.max_sessions.apply(limits.max_sessions),
            quota_bytes: self.quota_bytes.apply(limits.quota_bytes),
            quota_objects: self.quota_objects.apply(limits.quota_objects),
        }
    }
}

impl<T: Copy> LimitChange<T> {
    /// The limit after this change.
    #[must_use]
    pub fn apply(self, limit: Option<T>) -> Option<T> {
        match self {
            Self::Keep => limit,
            Self::Lift => None,
            Self::Set(limit) => Some(limit),
        }
    }
}

/// Bytes per second, at least [`Bandwidth::MIN`]: with less, one request would take so long that
/// clients give up, and a limit must never fail a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Bandwidth(u64);

/// Why a number is no [`Bandwidth`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a bandwidth is a number of bytes per second, at least {}", Bandwidth::MIN.0)]
pub struct InvalidBandwidth;

impl Bandwidth {
    /// 64 KiB per second: the largest request of SFTP takes four seconds.
    pub const MIN: Self = Self(64 << 10);

    /// In bytes per second.
    pub fn bytes_per_second(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Bandwidth {
    type Error = InvalidBandwidth;

    fn try_from(bytes: u64) -> Result<Self, InvalidBandwidth> {
        if bytes < Self::MIN.0 { Err(InvalidBandwidth) } else { Ok(Self(bytes)) }
    }
}

impl From<Bandwidth> for u64 {
    fn from(bandwidth: Bandwidth) -> Self {
        bandwidth.0
    }
}

impl FromStr for Bandwidth {
    type Err = InvalidBandwidth;

    fn from_str(text: &str) -> Result<Self, InvalidBandwidth> {
        text.parse::<u64>().map_err(|_| InvalidBandwidth)?.try_into()
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_touches_what_it_names_and_no_more() {
        let limits = TenantLimits {
            max_bandwidth_in: Some(Bandwidth::MIN),
            max_open_handles: Some(3),
            max_sessions: Some(1),
            ..TenantLimits::default()
        };
        assert_eq!(TenantLimitsChange::default().apply(&limits), limits);
        let change = TenantLimitsChange {
            max_bandwidth_in: LimitChange::Lift,
            max_bandwidth_out: LimitChange::Set(Bandwidth(1 << 20)),
            max_sessions: LimitChange::Set(2),
            quota_bytes: LimitChange::Set(0),
            ..TenantLimitsChange::default()
        };
        let expected = TenantLimits {
            max_bandwidth_in: None,
            max_bandwidth_out: Some(Bandwidth(1 << 20)),
            max_open_handles: Some(3),
            max_in_flight: None,
            max_sessions: Some(2),
            quota_bytes: Some(0),
            quota_objects: None,
        };
        assert_eq!(change.apply(&limits), expected);
    }

    #[test]
    fn a_bandwidth_lets_transfers_go_on() {
        assert_eq!("65536".parse(), Ok(Bandwidth::MIN));
        assert_eq!(Bandwidth::try_from(u64::MAX).map(u64::from), Ok(u64::MAX));
        for bad in ["0", "65535", "-1", "1.5", "1MiB", "", "18446744073709551616"] {
            assert_eq!(bad.parse::<Bandwidth>(), Err(InvalidBandwidth), "{bad}");
        }
        let message = InvalidBandwidth.to_string();
        assert_eq!(message, "a bandwidth is a number of bytes per second, at least 65536");
    }
}
