//! What an operator sets about SSH.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::lock_outs::LockOutConfig;
use crate::proxy_protocol::ProxyProtocol;

/// Settings of the SSH front (`[ssh]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen, as `address:port`; port 0 picks a free one. Default `0.0.0.0:10022`.
    pub listen: SocketAddr,
    /// Whether the ECDSA P-256 host key is offered besides Ed25519 and RSA. Auditors of SSH servers
    /// object to the NIST curves; switch it on for clients that know nothing else. Default false.
    pub ecdsa_host_key: bool,
    /// Whether key exchange over the NIST curves is offered behind Curve25519. As for
    /// `ecdsa_host_key`; clients that need one mostly need both. Default false.
    pub nist_key_exchange: bool,
    /// Whether connections begin with a header of the PROXY protocol (version 1 or 2): `off`, `trusted`
    /// (those from `proxy_networks` do), or `required` (those from `proxy_networks` do, and no others are
    /// let in). Default `off`.
    pub proxy_protocol: ProxyProtocol,
    /// Networks of balancers, as `address/bits`, whose headers are believed. Default none.
    pub proxy_networks: Vec<IpNet>,
    /// How long a header may take to arrive. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub proxy_timeout: Duration,
    /// Whether the commands `scp` (its remote end), `md5sum`, `sha1sum` and `sha256sum` are answered
    /// besides SFTP. Nothing is executed for them; off, clients get SFTP alone. Default true.
    pub commands: bool,
    /// Connections at once on this node. More are closed at once. Default 4,096.
    pub max_connections: u32,
    /// Connections at once from one source: one IPv4 address, or one /64 of IPv6. Behind a load
    /// balancer that hides client addresses, set it to `max_connections`. Default 256.
    pub max_connections_per_source: u32,
    /// Connections at once that have not logged in yet. Default 256.
    pub max_unauthenticated: u32,
    /// Of these, how many from one source, so that one silent host does not keep all others from
    /// logging in. Behind a load balancer that hides client addresses, set it to
    /// `max_unauthenticated`. Default 32.
    pub max_unauthenticated_per_source: u32,
    /// From the accepted connection to the end of a successful login, key exchange included.
    /// Default 30 s.
    #[serde(with = "humantime_serde")]
    pub login_grace: Duration,
    /// Refused login attempts (keys offered, mostly) after which a connection ends. It also ends
    /// after four times as many offers, refused or not. Default 6.
    pub max_auth_attempts: u32,
    /// How long a refused attempt takes at least; slower ones are rounded up to a multiple of it,
    /// so that time does not tell an unknown user from a wrong key. Default 500 ms.
    #[serde(with = "humantime_serde")]
    pub auth_rejection_delay: Duration,
    /// How long looking up an account may take before the attempt is refused. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub account_lookup_timeout: Duration,
    /// When those who fail to log in are locked out.
    pub lock_out: LockOutConfig,
    /// How long a node that shows no life still counts, where sessions are limited over the whole cluster:
    /// the sessions of a node that died do so for at most twice as long. The same on all nodes; 3 s to
    /// 5 min, default 30 s.
    #[serde(with = "humantime_serde")]
    pub session_lease: Duration,
    /// SFTP channels at once on one connection. Default 8.
    pub max_channels: u32,
    /// Channels that one connection may ask for in its whole life, open or not; then it ends. The
    /// transport keeps about 3 KiB of each until then. At least `max_channels`, default 1,000.
    pub max_channel_opens: u32,
    /// A connection without SFTP traffic for this long ends. Keep-alives are no traffic; while a
    /// session waits for its bandwidth the time stands still. Default 15 min.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// A client from which nothing came for this long is asked whether it lives. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// Questions without an answer after which the connection ends. Default 3.
    pub keepalive_max: u32,
    /// Bytes that a client may send on a channel before it hears from the node: bandwidth times
    /// round trip. It is granted again as data arrives, so it bounds no memory (see
    /// `channel_buffer`). 64 KiB to 1 GiB, default 4 MiB.
    pub window: ByteSize,
    /// Bytes received on one channel that may wait for the SFTP session; a session that pauses
    /// (its WRITEs wait for memory) then pauses the whole connection. At least 128 KiB, default
    /// 1 MiB.
    pub channel_buffer: ByteSize,
}

/// A setting that can't work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("ssh.{field} {rule}")]
pub struct ConfigError {
    field: &'static str,
    rule: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 10022)),
            ecdsa_host_key: false,
            nist_key_exchange: false,
            proxy_protocol: ProxyProtocol::Off,
            proxy_networks: Vec::new(),
            proxy_timeout: Duration::from_secs(5),
            commands: true,
            max_connections: 4096,
            max_connections_per_source: 256,
            max_unauthenticated: 256,
            max_unauthenticated_per_source: 32,
            login_grace: Duration::from_secs(30),
            max_auth_attempts: 6,
            auth_rejection_delay: Duration::from_millis(500),
            account_lookup_timeout: Duration::from_secs(10),
            lock_out: LockOutConfig::default(),
            session_lease: Duration::from_secs(30),
            max_channels: 8,
            max_channel_opens: 1000,
            idle_timeout: Duration::from_secs(15 * 60),
            keepalive_interval: Duration::from_secs(60),
            keepalive_max: 3,
            window: ByteSize::mib(4),
            channel_buffer: ByteSize::mib(1),
        }
    }
}

impl Config {
    /// The largest SSH packet we ask clients to send, in bytes of payload. The transport lets
    /// larger ones pass, so the handler ends connections that send them.
    pub(crate) const MAX_PACKET: u32 = 65_535;

    /// Checks that every setting can work.
    ///
    /// # Errors
    /// Names the first setting that can't.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |field, rule| Err(ConfigError { field, rule });
        for (field, count) in [
            ("max_connections", self.max_connections),
            ("max_connections_per_source", self.max_connections_per_source),
            ("max_unauthenticated", self.max_unauthenticated),
            ("max_unauthenticated_per_source", self.max_unauthenticated_per_source),
            ("max_auth_attempts", self.max_auth_attempts),
            ("max_channels", self.max_channels),
            ("keepalive_max", self.keepalive_max),
        ] {
            if count == 0 {
                return refuse(field, "must be at least 1");
            }
        }
        for (field, duration) in [
            ("login_grace", self.login_grace),
            ("account_lookup_timeout", self.account_lookup_timeout),
            ("idle_timeout", self.idle_timeout),
            ("proxy_timeout", self.proxy_timeout),
            ("keepalive_interval", self.keepalive_interval),
        ] {
            if duration < Duration::from_secs(1) {
                return refuse(field, "must be at least 1 s");
            }
        }
        if !(Duration::from_secs(3)..=Duration::from_secs(300)).contains(&self.session_lease) {
            return refuse("session_lease", "must be between 3 s and 5 min");
        }
        let lock_out = &self.lock_out;
        if !(Duration::from_secs(60)..=Duration::from_secs(24 * 3600)).contains(&lock_out.window) {
            return refuse("lock_out.window", "must be between 1 min and 24 h");
        }
        if lock_out.first < Duration::from_secs(1) {
            return refuse("lock_out.first", "must be at least 1 s");
        }
        if !(lock_out.first..=lock_out.window).contains(&lock_out.longest) {
            return refuse("lock_out.longest", "must be between lock_out.first and lock_out.window");
        }
        if self.proxy_protocol != ProxyProtocol::Off && self.proxy_networks.is_empty() {
            return refuse("proxy_networks", "must name the balancers' networks when proxy_protocol is on");
        }
        if self.max_channel_opens < self.max_channels {
            return refuse("max_channel_opens", "must be at least max_channels");
        }
        if self.auth_rejection_delay < Duration::from_millis(50) {
            return refuse("auth_rejection_delay", "must be at least 50 ms");
        }
        if self.auth_rejection_delay >= self.login_grace {
            return refuse("auth_rejection_delay", "must be shorter than login_grace");
        }
        if !(ByteSize::kib(64)..=ByteSize::gib(1)).contains(&self.window) {
            return refuse("window", "must be between 64 KiB and 1 GiB");
        }
        if self.channel_buffer < ByteSize::kib(128) {
            return refuse("channel_buffer", "must be at least 128 KiB");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn an_invalid_setting_is_named() {
        let config = Config { max_channels: 0, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().to_string(), "ssh.max_channels must be at least 1");
        let config = Config { proxy_protocol: ProxyProtocol::Required, ..Config::default() };
        assert!(config.validate().unwrap_err().to_string().starts_with("ssh.proxy_networks must name"));
        let config = Config { max_channel_opens: 7, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().to_string(), "ssh.max_channel_opens must be at least max_channels");
        let lock_out = LockOutConfig { longest: Duration::from_secs(29), ..LockOutConfig::default() };
        let config = Config { lock_out, ..Config::default() };
        assert!(config.validate().unwrap_err().to_string().starts_with("ssh.lock_out.longest must be between"));
        let config = Config { window: ByteSize::kib(1), ..Config::default() };
        assert_eq!(config.validate().unwrap_err().to_string(), "ssh.window must be between 64 KiB and 1 GiB");
    }
}
