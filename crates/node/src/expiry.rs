//! When a key stops opening an account, as given on the command line.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime_serde::re::humantime;
use thiserror::Error;

const DAY: u64 = 24 * 60 * 60;

/// A time, or days from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Seconds since the Unix epoch.
    At(u64),
    /// Days from now.
    Days(u32),
}

/// The text is neither.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("it takes a time by RFC 3339 in UTC (2027-01-31T12:00:00Z), a date (2027-01-31) or days from now (90d)")]
pub struct InvalidExpiry;

/// The time is not in the future.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the keys would have expired at {} already", rfc3339(*.0))]
pub struct Expired(u64);

impl FromStr for Expiry {
    type Err = InvalidExpiry;

    fn from_str(text: &str) -> Result<Self, InvalidExpiry> {
        let days = text.strip_suffix('d').unwrap_or(text);
        if let Ok(days) = days.parse() {
            return Ok(Self::Days(days));
        }
        let time = match text.len() {
            10 => humantime::parse_rfc3339(&format!("{text}T00:00:00Z")),
            _ => humantime::parse_rfc3339(text),
        };
        let since = time.map_err(|_| InvalidExpiry)?.duration_since(UNIX_EPOCH).map_err(|_| InvalidExpiry)?;
        Ok(Self::At(since.as_secs()))
    }
}

impl Expiry {
    /// The time in seconds since the Unix epoch, given what `now` is.
    ///
    /// # Errors
    /// If it is not in the future.
    pub fn resolve(self, now: u64) -> Result<u64, Expired> {
        let time = match self {
            Self::At(time) => time,
            Self::Days(days) => now.saturating_add(u64::from(days) * DAY),
        };
        if time > now { Ok(time) } else { Err(Expired(time)) }
    }
}

/// Seconds since the Unix epoch; 0 if the clock stands before it.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time in seconds since the Unix epoch, by RFC 3339 in UTC. Times behind the year 9999 are
/// written as its end.
pub fn rfc3339(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_days_are_taken() {
        assert_eq!("2027-01-31T12:00:00Z".parse(), Ok(Expiry::At(1_801_396_800)));
        assert_eq!("2027-01-31".parse(), Ok(Expiry::At(1_801_353_600)));
        assert_eq!("90d".parse(), Ok(Expiry::Days(90)));
        assert_eq!("90".parse(), Ok(Expiry::Days(90)));
        for bad in ["", "soon", "-1d", "2027-13-01", "2027-01-31T12:00:00+01:00", "90h"] {
            assert_eq!(bad.parse::<Expiry>(), Err(InvalidExpiry), "{bad}");
        }
    }

    #[test]
    fn only_the_future_is_taken() {
        assert_eq!(Expiry::Days(1).resolve(1000), Ok(1000 + DAY));
        assert_eq!(Expiry::At(1001).resolve(1000), Ok(1001));
        assert!(Expiry::At(1000).resolve(1000).is_err());
        assert!(Expiry::Days(0).resolve(1000).is_err());
    }

    #[test]
    fn times_are_written_by_rfc_3339() {
        assert_eq!(rfc3339(1_801_396_800), "2027-01-31T12:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
