//! What one SFTP session may use.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_store::Bandwidth;

use crate::codec::MAX_PACKET;

/// Settings of SFTP sessions (`[sftp]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Files and directories that one session may have open at once. Announced to clients by
    /// `limits@openssh.com`. Default 256.
    pub max_open_handles: u32,
    /// How many of these may be directories: each holds up to two pages of its listing. Default 16.
    pub max_open_directories: u32,
    /// Bytes of answers that may wait for the client at once, read data included. READs beyond it
    /// wait in the queue of requests. Beyond the memory budget of the file system. Default 512 KiB.
    pub output_buffer: ByteSize,
    /// What the READs and READDIRs of a session that wait may take. One READ that follows another in
    /// the file takes 4 bytes, any other 100; a client that sends more is cut off. Default 8 MiB:
    /// two million READs, or a file of 64 GiB asked for in 32 KiB requests before an answer is read.
    pub request_queue: ByteSize,
    /// What they, and answers beyond `output_buffer`, may take in all sessions of the node. Beyond it, a
    /// session that has more than 64 KiB of them is cut off as soon as it is looked at. Default 32 MiB.
    pub request_queue_total: ByteSize,
    /// Requests on paths (STAT, OPEN, RENAME…) that may run or wait at once. Default 128.
    pub max_path_requests: u32,
    /// File content that one session may send, in bytes per second, at least 64 KiB. Its WRITEs
    /// wait, and nothing behind them is read meanwhile; none fails. Default: no limit.
    pub max_bandwidth_in: Option<ByteSize>,
    /// File content that one session may take, in bytes per second, at least 64 KiB. Its READs wait;
    /// none fails. Default: no limit.
    pub max_bandwidth_out: Option<ByteSize>,
}

/// A setting that can't work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("sftp.{field} {rule}")]
pub struct ConfigError {
    field: &'static str,
    rule: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_open_handles: 256,
            max_open_directories: 16,
            output_buffer: ByteSize::kib(512),
            request_queue: ByteSize::mib(8),
            request_queue_total: ByteSize::mib(32),
            max_path_requests: 128,
            max_bandwidth_in: None,
            max_bandwidth_out: None,
        }
    }
}

impl Config {
    /// Checks that every setting can work.
    ///
    /// # Errors
    /// Names the first setting that can't.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |field, rule| Err(ConfigError { field, rule });
        if self.max_open_handles == 0 {
            return refuse("max_open_handles", "must be at least 1");
        }
        if self.max_open_directories == 0 {
            return refuse("max_open_directories", "must be at least 1");
        }
        if self.output_buffer.as_u64() < MAX_PACKET as u64 {
            return refuse("output_buffer", "must be at least 256 KiB, the size of one answer");
        }
        if self.request_queue.as_u64() < 4096 {
            return refuse("request_queue", "must be at least 4 KiB");
        }
        if self.request_queue_total < self.request_queue {
            return refuse("request_queue_total", "must be at least request_queue");
        }
        if self.max_path_requests == 0 {
            return refuse("max_path_requests", "must be at least 1");
        }
        let is_bandwidth = |size: ByteSize| Bandwidth::try_from(size.as_u64()).is_ok();
        if !self.max_bandwidth_in.is_none_or(is_bandwidth) {
            return refuse("max_bandwidth_in", "must be at least 64 KiB (per second)");
        }
        if !self.max_bandwidth_out.is_none_or(is_bandwidth) {
            return refuse("max_bandwidth_out", "must be at least 64 KiB (per second)");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_too_small_to_work_with_is_refused() {
        assert_eq!(Config::default().validate(), Ok(()));
        let least = Config { max_bandwidth_in: Some(ByteSize::kib(64)), ..Config::default() };
        assert_eq!(least.validate(), Ok(()));
        let config = Config { max_bandwidth_out: Some(ByteSize::kib(63)), ..Config::default() };
        let message = "sftp.max_bandwidth_out must be at least 64 KiB (per second)";
        assert_eq!(config.validate().unwrap_err().to_string(), message);
    }
}
