//! A tenant's limits, as given on the command line.

use std::str::FromStr;

use bytesize::ByteSize;
use clap::Args;
use thiserror::Error;
use tidegate_store::{Bandwidth, InvalidBandwidth, LimitChange, TenantLimits, TenantLimitsChange};

/// The limits of a new tenant.
#[derive(Args, Clone, Debug, Default)]
pub struct LimitArgs {
    /// File content that the tenant's sessions together may send to each node, per second, at least
    /// 64KiB; without it, there is no such limit
    #[arg(long, value_name = "SIZE")]
    pub max_bandwidth_in: Option<BandwidthArg>,
    /// File content that they may take from each node, per second, at least 64KiB; without it,
    /// there is no such limit
    #[arg(long, value_name = "SIZE")]
    pub max_bandwidth_out: Option<BandwidthArg>,
    /// Files and directories that they may have open at once on each node; without it, the node's
    /// limit for each session holds
    #[arg(long, value_name = "N")]
    pub max_open_handles: Option<u32>,
    /// File content that they may have in each node's memory at once, on its way to the store or from it;
    /// one part or one read per open file comes on top; without it, there is no such limit
    #[arg(long, value_name = "SIZE")]
    pub max_in_flight: Option<SizeArg>,
    /// Sessions at once, over all nodes; without it, the nodes' own limits hold
    #[arg(long, value_name = "N")]
    pub max_sessions: Option<u32>,
    /// What its files may take in all, over all nodes; without it, there is no such limit
    #[arg(long, value_name = "SIZE")]
    pub quota_bytes: Option<SizeArg>,
    /// Files and directories that there may be, over all nodes; without it, there is no such limit
    #[arg(long, value_name = "N")]
    pub quota_objects: Option<u64>,
}

/// What is to change about a tenant's limits.
#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = true)]
pub struct LimitChangeArgs {
    /// File content that the tenant's sessions together may send to each node, per second, at least
    /// 64KiB; "none" lifts the limit
    #[arg(long, value_name = "SIZE|none")]
    pub max_bandwidth_in: Option<Lifted<BandwidthArg>>,
    /// File content that they may take from each node, per second, at least 64KiB; "none" lifts
    /// the limit
    #[arg(long, value_name = "SIZE|none")]
    pub max_bandwidth_out: Option<Lifted<BandwidthArg>>,
    /// Files and directories that they may have open at once on each node; "none" lifts the limit
    #[arg(long, value_name = "N|none")]
    pub max_open_handles: Option<Lifted<u32>>,
    /// File content that they may have in each node's memory at once, on its way to the store or from it;
    /// "none" lifts the limit
    #[arg(long, value_name = "SIZE|none")]
    pub max_in_flight: Option<Lifted<SizeArg>>,
    /// Sessions at once, over all nodes; "none" lifts the limit
    #[arg(long, value_name = "N|none")]
    pub max_sessions: Option<Lifted<u32>>,
    /// What its files may take in all, over all nodes; "none" lifts the limit
    #[arg(long, value_name = "SIZE|none")]
    pub quota_bytes: Option<Lifted<SizeArg>>,
    /// Files and directories that there may be, over all nodes; "none" lifts the limit
    #[arg(long, value_name = "N|none")]
    pub quota_objects: Option<Lifted<u64>>,
}

/// Bytes as a size: `10GiB`, `500MB`, `1000000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeArg(pub u64);

/// The text is no size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("it takes a size, such as 10GiB")]
pub struct SizeError;

/// Bytes per second as a size: `10MiB`, `500KB`, `1000000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandwidthArg(pub Bandwidth);

/// A limit, or the word `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifted<T> {
    /// `none`
    None,
    /// The limit.
    Limit(T),
}

/// The text is no bandwidth.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BandwidthError {
    /// It is no size.
    #[error("it takes a size per second, such as 10MiB")]
    NoSize,
    /// It is too small.
    #[error(transparent)]
    TooSmall(#[from] InvalidBandwidth),
}

impl LimitArgs {
    /// As the directory keeps them.
    pub fn limits(&self) -> TenantLimits {
        TenantLimits {
            max_bandwidth_in: self.max_bandwidth_in.map(|limit| limit.0),
            max_bandwidth_out: self.max_bandwidth_out.map(|limit| limit.0),
            max_open_handles: self.max_open_handles,
            max_in_flight: self.max_in_flight.map(|limit| limit.0),
            max_sessions: self.max_sessions,
            quota_bytes: self.quota_bytes.map(|limit| limit.0),
            quota_objects: self.quota_objects,
        }
    }
}

impl LimitChangeArgs {
    /// As the directory takes it.
    pub fn change(&self) -> TenantLimitsChange {
        TenantLimitsChange {
            max_bandwidth_in: change(self.max_bandwidth_in, |limit| limit.0),
            max_bandwidth_out: change(self.max_bandwidth_out, |limit| limit.0),
            max_open_handles: change(self.max_open_handles, |limit| limit),
            max_in_flight: change(self.max_in_flight, |limit| limit.0),
            max_sessions: change(self.max_sessions, |limit| limit),
            quota_bytes: change(self.quota_bytes, |limit| limit.0),
            quota_objects: change(self.quota_objects, |limit| limit),
        }
    }
}

/// What becomes of a limit that an argument names.
pub(crate) fn change<T, U>(argument: Option<Lifted<T>>, limit_of: impl FnOnce(T) -> U) -> LimitChange<U> {
    match argument {
        None => LimitChange::Keep,
        Some(Lifted::None) => LimitChange::Lift,
        Some(Lifted::Limit(limit)) => LimitChange::Set(limit_of(limit)),
    }
}

impl FromStr for BandwidthArg {
    type Err = BandwidthError;

    fn from_str(text: &str) -> Result<Self, BandwidthError> {
        let size: ByteSize = text.parse().map_err(|_| BandwidthError::NoSize)?;
        Ok(Self(Bandwidth::try_from(size.as_u64())?))
    }
}

impl FromStr for SizeArg {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        text.parse().map(|size: ByteSize| Self(size.as_u64())).map_err(|_| SizeError)
    }
}

impl<T: FromStr> FromStr for Lifted<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Limit) }
    }
}

/// A size for people: `10.0 GiB`.
pub(crate) fn shown_size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// A bandwidth for people: `10 MiB/s`.
pub(crate) fn shown_bandwidth(limit: Option<Bandwidth>) -> String {
    limit.map_or_else(
        || "no limit".to_owned(),
        |limit| format!("{}/s", ByteSize::b(limit.bytes_per_second()).display().iec()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths_are_sizes() {
        let bytes = |text: &str| text.parse::<BandwidthArg>().map(|limit| limit.0.bytes_per_second());
        assert_eq!(bytes("10MiB"), Ok(10 << 20));
        assert_eq!(bytes("1000000"), Ok(1_000_000));
        assert_eq!(bytes("1KiB"), Err(BandwidthError::TooSmall(InvalidBandwidth)));
        assert_eq!(bytes("fast"), Err(BandwidthError::NoSize));
        assert_eq!(shown_bandwidth("10MiB".parse::<BandwidthArg>().ok().map(|limit| limit.0)), "10.0 MiB/s");
        assert_eq!(shown_bandwidth(None), "no limit");
    }

    #[test]
    fn quotas_are_sizes() {
        assert_eq!("10GiB".parse(), Ok(SizeArg(10 << 30)));
        assert_eq!("0".parse(), Ok(SizeArg(0)));
        assert_eq!("much".parse::<SizeArg>(), Err(SizeError));
        assert_eq!(shown_size(10 << 30), "10.0 GiB");
    }

    #[test]
    fn none_lifts_a_limit_and_what_is_not_named_stays() {
        let arguments = LimitChangeArgs {
            max_bandwidth_in: Some("none".parse().unwrap()),
            max_open_handles: Some("0".parse().unwrap()),
            max_in_flight: Some("8MiB".parse().unwrap()),
            quota_bytes: Some("1MiB".parse().unwrap()),
            quota_objects: Some("none".parse().unwrap()),
            ..LimitChangeArgs::default()
        };
        let expected = TenantLimitsChange {
            max_bandwidth_in: LimitChange::Lift,
            max_open_handles: LimitChange::Set(0),
            max_in_flight: LimitChange::Set(8 << 20),
            quota_bytes: LimitChange::Set(1 << 20),
            quota_objects: LimitChange::Lift,
            ..TenantLimitsChange::default()
        };
        assert_eq!(arguments.change(), expected);
        assert!("many".parse::<Lifted<u32>>().is_err());
    }
}
