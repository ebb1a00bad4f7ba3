//! What the transport asks of us, for one connection.

mod bounds;

use std::collections::HashMap;
use std::sync::Arc;

use russh::server::{Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty, Sig};
use tidegate_store::UserName;
use tracing::{Instrument, debug};

use self::bounds::over_limit;
use crate::authentication::{Accepted, Identity, Rejection};
use crate::channel::{self, STDERR};
use crate::connection::{Connection, Login};
use crate::exec;
use crate::server::Node;
use crate::subsystem;

/// RFC 4254, section 5.1: SSH_OPEN_RESOURCE_SHORTAGE.
const RESOURCE_SHORTAGE: u32 = 4;

/// Keys that one connection may offer, as a multiple of the refused attempts it has. The transport
/// does not count offers of keys that are good but never sign anything.
const OFFERS_PER_ATTEMPT: u32 = 4;

pub(crate) struct Handler {
    node: Arc<Node>,
    connection: Arc<Connection>,
    /// The key that was found good last; counts once the transport says so.
    accepted: Option<Accepted>,
    identity: Option<Arc<Identity>>,
    offers: u32,
    /// Whether an account was looked up before a key was offered.
    looked_ahead: bool,
    /// Channels that the client asked for.
    opens: u32,
    /// Those of them that were refused.
    refused_opens: u32,
    /// Every channel, and whether something was started or refused on it already.
    channels: HashMap<ChannelId, bool>,
}

impl Handler {
    pub(crate) fn new(node: Arc<Node>, connection: Arc<Connection>) -> Self {
        Self {
            node,
            connection,
            accepted: None,
            identity: None,
            offers: 0,
            looked_ahead: false,
            opens: 0,
            refused_opens: 0,
            channels: HashMap::new(),
        }
    }

    async fn check(&mut self, user: &str, key: &russh::keys::PublicKey, algorithm: &russh::keys::Algorithm) -> Auth {
        self.accepted = None;
        self.connection.tried(user);
        self.offers = self.offers.saturating_add(1);
        if self.offers > self.node.config.max_auth_attempts.saturating_mul(OFFERS_PER_ATTEMPT) {
            self.connection.end(over_limit("disconnected: too many keys were offered"));
            return Auth::reject();
        }
        if self.is_locked_out(user, "publickey") {
            return Auth::reject();
        }
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

    /// Whether the user is refused from here before anybody is asked.
    fn is_locked_out(&self, user: &str, method: &'static str) -> bool {
        let is = self.node.lock_outs.refuses_user(self.connection.client(), user);
        if is {
            self.connection.rejected(user, method, Rejection::LockedOut);
        }
        is
    }

    /// Begins to look up the account of a user who has not offered a key yet, once per connection:
    /// most clients ask first which methods there are, and need a round trip to read the answer.
    fn look_ahead(&mut self, user: &str) {
        let Ok(user) = user.parse::<UserName>() else { return };
        let is_locked_out = self.node.lock_outs.refuses_user(self.connection.client(), user.as_str());
        if is_locked_out || std::mem::replace(&mut self.looked_ahead, true) {
            return;
        }
        let (node, cut) = (Arc::clone(&self.node), self.connection.cut().clone());
        self.connection.spawn(async move {
            // The connection's end does not wait for it.
            let _ = cut.run_until_cancelled(node.authenticator.look_ahead(&user)).await;
        });
    }

    /// Whether this is the first request on the channel that would start something.
    fn is_first_start(&mut self, channel: ChannelId) -> bool {
        self.channels.insert(channel, true) == Some(false)
    }

    /// Answers as `sshd` does where only SFTP is allowed: the command "runs", says so on standard
    /// error and fails. On a plain refusal OpenSSH's client would drop the text.
    fn refuse_command(&mut self, channel: ChannelId, text: Vec<u8>, session: &mut Session) -> Result<(), russh::Error> {
        if !self.is_first_start(channel) {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        session.extended_data(channel, STDERR, text)
    }
}

impl russh::server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        self.connection.tried(user);
        self.look_ahead(user);
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
        self.node.lock_outs.succeeded(self.connection.client(), &accepted.account.user.name);
        let places = self.node.sessions.admit(&accepted.account).await;
        self.identity = Some(Arc::new(Identity::new(&accepted)));
        match self.connection.logged_in(accepted, places) {
            Login::Admitted => Ok(()),
            Login::OverLimit => session.disconnect(
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
        let Some(identity) = self.identity.clone() else {
            return Err(russh::Error::Inconsistent);
        };
        if !self.may_ask_for_channel(session)? {
            return Ok(());
        }
        if self.node.shutdown.drain.is_cancelled() {
            reply.reject(refusal("the node is going down, please reconnect")).await;
            return self.channel_refused(session);
        }
        let place = self.connection.open_channel(self.node.config.max_channels);
        let Some(place) = place else {
            debug!(parent: self.connection.span(), message = "a channel was refused: the connection has all it may have");
            reply.reject(refusal("this connection has all the channels it may have")).await;
            return self.channel_refused(session);
        };
        self.channels.insert(channel.id(), false);
        let task = channel::run(
            Arc::clone(&self.node),
            Arc::clone(&self.connection),
            identity,
            channel,
            session.handle(),
            place,
        );
        self.connection.spawn(task.instrument(self.connection.span().clone()));
        self.connection.activity().touch();
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse_channel(reply, session).await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse_channel(reply, session).await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse_channel(reply, session).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse_channel(reply, session).await
    }

    // The transport has queued the data by now: one packet beyond the size, and no second.
    async fn data(&mut self, _: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        self.fits(data.len(), session).map(drop)
    }

    async fn extended_data(
        &mut self,
        _: ChannelId,
        _: u32,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.fits(data.len(), session).map(drop)
    }

    async fn signal(&mut self, _: ChannelId, signal: Sig, session: &mut Session) -> Result<(), russh::Error> {
        match signal {
            Sig::Custom(name) => self.fits(name.len(), session).map(drop),
            _ => Ok(()),
        }
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.fits(name.len(), session)? {
            return Ok(());
        }
        if self.is_first_start(channel) && name == subsystem::NAME {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.refuse_command(channel, exec::SFTP_ONLY.to_vec(), session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.fits(command.len(), session)? {
            return Ok(());
        }
        match exec::command(command, self.node.config.commands) {
            Ok(_) if self.is_first_start(channel) => session.channel_success(channel),
            Ok(_) => session.channel_failure(channel),
            Err(text) => self.refuse_command(channel, text, session),
        }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.fits(term.len(), session)? {
            return Ok(());
        }
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        protocol: &str,
        cookie: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.fits(protocol.len() + cookie.len(), session)? {
            return Ok(());
        }
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.fits(name.len() + value.len(), session)? {
            return Ok(());
        }
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

    // Everything else keeps the transport's default, which refuses: agent requests and the
    // forwarding of ports and sockets to the client.
}
