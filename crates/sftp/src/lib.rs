//! SFTP version 3 over any byte stream: a codec without I/O and a session loop that one task owns.
//!
//! Protocol: draft-ietf-secsh-filexfer-02, as OpenSSH's `sftp-server` speaks it, with the
//! extensions of OpenSSH's PROTOCOL document, and of draft-ietf-secsh-filexfer-extensions-00 (`check-file`,
//! `copy-data`, `home-directory`), that [`serve`] announces. `scp` and checksums as commands. This crate knows no SSH
//! and no S3: a stream comes from one side, a [`tidegate_vfs::Mount`] from the other.

mod bucket;
pub mod codec;
pub mod commands;
mod config;
mod digest;
mod longname;
mod meter;
mod metrics;
pub mod scp;
mod session;
mod status;
mod tenants;

pub use commands::{Command, CommandReport, Refusal, run_command};
pub use config::{Config, ConfigError};
pub use metrics::Metrics;
pub use session::{SessionContext, SessionEnd, SessionReport, Shutdown, ThrottledSessions, serve};
pub use tenants::{TenantSession, Tenants};
