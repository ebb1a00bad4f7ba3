//! What the transport asks of us, for one connection.

use std::collections::HashMap;
use std::sync::Arc;

use russh::server::{Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty};
use tidegate_store::Account;
use tracing::{Instrument, debug};

use crate::authentication::{Accepted, Rejection};
use crate::channel::{self, STDERR};
use crate::connection::{Connection, Login};
use crate::server::Node;
use crate::subsystem;

/// What a client that wants a shell is told.
const SFTP_ONLY: &[u8] = b"This service allows SFTP connections only.\r\n";

/// RFC 4254, section 5.1: SSH_OPEN_RESOURCE_SHORTAGE.
const RESOURCE_SHORTAGE: u32 = 4;

/// Channels that one connection may open in its whole life. The transport keeps a little memory
/// for each channel that we closed first, until the connection ends.
const MAX_CHANNELS_EVER: usize = 10_000;

pub(crate) struct Handler {
    node: Arc<Node>,
    connection: Arc<Connection>,
    /// The key that was found good last; counts once the transport says so.
    accepted: Option<Accepted>,
    account: Option<Arc<Account>>,
    /// Every channel, and whether something was started or refused on it already.
    channels: HashMap<ChannelId, bool>,
}

impl Handler {
    pub(crate) fn new(node: Arc<Node>, connection: Arc<Connection>) -> Self {
        Self { node, connection, accepted: None, account: None, channels: HashMap::new() }
    }

    async fn check(&mut self, user: &str, key: &russh::keys::PublicKey, algorithm: &russh::keys::Algorithm) -> Auth {
        self.accepted = None;
        match self.node.authenticator.check(user, key, algorithm).await {
            Ok(accepted) => {
                self.accepted = Some(accepted);
                Auth::Accept
            }
            Err(rejection) => {
                self.connection.rejected(user, "publickey", rejection);
                Auth::reject()
            }
        }
    }

    /// Whether this is the first request on the channel that would start something.
    fn is_first_start(&mut self, channel: ChannelId) -> bool {
        self.channels.insert(channel, true) == Some(false)
    }

    /// Answers as `sshd` does where only SFTP is allowed: the command "runs", says so on standard
    /// error and fails. On a plain refusal OpenSSH's client would drop the text.
    fn refuse_command(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        if !self.is_first_start(channel) {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        session.extended_data(channel, STDERR, SFTP_ONLY)
    }
}

impl russh::server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        self.connection.tried(user);
        Ok(Auth::reject())
    }

    async fn auth_password(&mut self, user: &str, _: &str) -> Result<Auth, russh::Error> {
        self.connection.rejected(user, "password", Rejection::Method);
        Ok(Auth::reject())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        _: Option<russh::server::Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        self.connection.rejected(user, "keyboard-interactive", Rejection::Method);
        Ok(Auth::reject())
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        _: &russh::keys::Certificate,
    ) -> Result<Auth, russh::Error> {
        self.connection.rejected(user, "publickey", Rejection::WeakKey("a certificate".to_owned()));
        Ok(Auth::reject())
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        Ok(self.check(user, offer.public_key, offer.algorithm).await)
    }

    // Checked again: the account may have changed while the client signed.
    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.check(user, key.public_key, key.algorithm).await)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        let Some(accepted) = self.accepted.take() else {
            return Err(russh::Error::Inconsistent);
        };
        let tenant = &accepted.account.tenant;
        let place = self.node.admission.admit_tenant(&tenant.name, tenant.limits.max_sessions);
        self.account = Some(Arc::clone(&accepted.account));
        match self.connection.logged_in(accepted, place) {
            Login::Admitted => Ok(()),
            Login::OverTenantLimit => session.disconnect(
                Disconnect::TooManyConnections,
                "too many sessions are open for this account; close one or try again later",
                "en",
            ),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let refusal = |reason: &str| ChannelOpenFailure::Other { code: RESOURCE_SHORTAGE, reason: reason.to_owned() };
        let Some(account) = self.account.clone() else {
            return Err(russh::Error::Inconsistent);
        };
        if self.node.shutdown.drain.is_cancelled() {
            reply.reject(refusal("the node is going down, please reconnect")).await;
            return Ok(());
        }
        let place = self.connection.open_channel(self.node.config.max_channels);
        let (Some(place), true) = (place, self.channels.len() < MAX_CHANNELS_EVER) else {
            debug!(parent: self.connection.span(), message = "a channel was refused: the connection has all it may have");
            reply.reject(refusal("this connection has all the channels it may have")).await;
            return Ok(());
        };
        self.channels.insert(channel.id(), false);
        let task = channel::run(
            Arc::clone(&self.node),
            Arc::clone(&self.connection),
            account,
            channel,
            session.handle(),
            place,
        );
        self.connection.spawn(task.instrument(self.connection.span().clone()));
        self.connection.activity().touch();
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.is_first_start(channel) && name == subsystem::NAME {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.refuse_command(channel, session)
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        self.refuse_command(channel, session)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    // Everything else keeps the transport's default, which refuses: agent requests, the
    // forwarding of ports and sockets in both directions, X11 channels.
}
