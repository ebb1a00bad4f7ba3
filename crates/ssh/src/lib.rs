//! SSH in front of SFTP: transport, authentication by public key, limits and host keys.
//!
//! The transport is `russh`; nothing of it shows in this crate's interface. A connection runs
//! the `sftp` subsystem, whose channel becomes a byte stream that [`tidegate_sftp::serve`] owns until
//! it ends, the few commands of [`tidegate_sftp::Command`] in the same way, and nothing else.

mod accounting;
mod admission;
mod algorithms;
mod authentication;
mod authorized_keys;
mod channel;
mod channel_stream;
mod config;
mod connection;
mod exec;
mod handler;
mod host_keys;
mod listener;
mod lock_outs;
mod metrics;
mod negotiated;
mod prompt_ack;
mod proxy_protocol;
mod public_key;
mod server;
mod sessions;
mod socket;
mod subsystem;
mod transport;

pub use authorized_keys::{AuthorizedKeyError, KeyOption, split_authorized_key};
pub use config::{Config, ConfigError};
pub use host_keys::{
    Change, HostKey, HostKeyAlgorithm, HostKeyError, HostKeyFileError, HostKeySet, ImportedHostKey, KeyState,
    RotationError, Rules, change_host_keys, import_host_keys, init_host_keys, load_host_keys, rotate_host_keys,
};
pub use lock_outs::LockOutConfig;
pub use metrics::Metrics;
pub use proxy_protocol::{ProxyProtocol, is_proxy_header, read_proxy_header};
pub use public_key::{KeyGenerationError, ParsedKey, PublicKeyError, check_public_key, generate_client_key};
pub use server::{BindError, ClusterState, Server};
pub use transport::OfferedHostKeys;
