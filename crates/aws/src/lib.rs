//! The ports of `tidegate-store` on S3, DynamoDB, KMS and STS. The only crate that names an AWS SDK.
//!
//! # Retries
//! Passing faults are retried in exactly one place: the SDK's standard retry strategy, inside each
//! client that [`Aws::connect`] builds. It makes [`Config::max_attempts`] attempts with
//! exponential back-off and full jitter, honours the service's wish to wait, and stops early when
//! its token bucket is empty, so that a failing service is not flooded. What this crate adds is
//! one classification of errors that the SDK doesn't know (see `dynamo::client`), never a loop
//! around a request. Callers get a transient kind only when the attempts are used up, and don't
//! retry single requests either.
//!
//! # Time
//! Every request is bounded; see [`Timeouts`].
//!
//! # Integrity
//! The CRC-64/NVME that was computed as the bytes arrived travels with them in
//! `x-amz-checksum-crc64nvme`; the SDK computes no checksum of its own and bodies are not hashed
//! for the signature (see [`Checksums`]).

mod attempts;
mod clock;
mod config;
mod connect;
mod dynamo;
mod error;
mod kms;
mod probe;
mod s3;
mod tenant_role;
#[cfg(test)]
mod wire;

pub use config::{Checksums, Config, ConfigError, Endpoints, Secret, Timeouts};
pub use connect::{Aws, ConnectError};
pub use probe::Probe;
pub use tenant_role::TenantRole;
