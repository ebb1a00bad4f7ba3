//! What one SFTP session may use.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::MAX_PACKET;

/// Settings of SFTP sessions (`[sftp]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Files and directories that one session may have open at once. Announced to clients by
    /// `limits@openssh.com`. Default 256.
    pub max_open_handles: u32,
    /// Bytes of answers that may wait for the client at once, read data included. READs beyond it
    /// wait in the queue of requests. Default 2 MiB.
    pub output_buffer: ByteSize,
    /// READ and READDIR requests that may wait at once. A client that sends more is not read from
    /// until some are answered. Default 32,768, enough for one that asks for a whole GiB in
    /// 32 KiB requests before it reads an answer.
    pub max_queued_reads: u32,
    /// Requests on paths (STAT, OPEN, RENAME…) that may run or wait at once. Default 128.
    pub max_path_requests: u32,
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
            output_buffer: ByteSize::mib(2),
            max_queued_reads: 32_768,
            max_path_requests: 128,
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
        if self.output_buffer.as_u64() < MAX_PACKET as u64 {
            return refuse("output_buffer", "must be at least 256 KiB, the size of one answer");
        }
        if self.max_queued_reads == 0 {
            return refuse("max_queued_reads", "must be at least 1");
        }
        if self.max_path_requests == 0 {
            return refuse("max_path_requests", "must be at least 1");
        }
        Ok(())
    }
}
