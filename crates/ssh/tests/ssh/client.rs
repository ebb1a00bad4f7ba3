//! russh as the client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, AuthResult, DisconnectReason, Handle};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelId, ChannelMsg, MethodKind};
use tokio::sync::watch;

/// What the server said when it ended the connection: `None` while it is open.
pub(crate) type Goodbye = watch::Receiver<Option<String>>;

pub(crate) struct Events {
    goodbye: watch::Sender<Option<String>>,
    host_key: Arc<Mutex<Option<String>>>,
    /// Whether channels keep the window they began with, however much was received.
    frozen: bool,
}

impl client::Handler for Events {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = key {
            *self.host_key.lock().unwrap() = Some(key.fingerprint(HashAlg::Sha256).to_string());
        }
        Ok(true)
    }

    fn adjust_window(&mut self, _: ChannelId, window: u32) -> u32 {
        if self.frozen { 0 } else { window }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.goodbye.send_replace(Some(info.message));
                Ok(())
            }
            DisconnectReason::Error(error) => {
                self.goodbye.send_replace(Some(format!("error: {error}")));
                Err(error)
            }
        }
    }
}

pub(crate) struct Client {
    pub(crate) handle: Handle<Events>,
    pub(crate) goodbye: Goodbye,
    pub(crate) host_key: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.unwrap()
    }

    pub(crate) async fn try_connect(address: SocketAddr) -> Result<Self, russh::Error> {
        // Room for all that a test leaves unread: the library stops its whole connection otherwise.
        Self::connect_with(address, 4096).await
    }

    /// A client that stops reading once this many packets of a channel are unread.
    pub(crate) async fn connect_with(address: SocketAddr, unread: usize) -> Result<Self, russh::Error> {
        // What ends the flow then is TCP's window and not the channel's.
        Self::connect_with_window(address, unread, 64 << 20, false).await
    }

    /// A client that takes this many bytes of a channel and no more.
    pub(crate) async fn connect_frozen(address: SocketAddr, window: u32) -> Self {
        Self::connect_with_window(address, 4096, window, true).await.unwrap()
    }

    async fn connect_with_window(
        address: SocketAddr,
        unread: usize,
        window_size: u32,
        frozen: bool,
    ) -> Result<Self, russh::Error> {
        let goodbye = watch::Sender::new(None);
        let receiver = goodbye.subscribe();
        let host_key = Arc::new(Mutex::new(None));
        let config = client::Config { channel_buffer_size: unread, window_size, ..client::Config::default() };
        let events = Events { goodbye, host_key: Arc::clone(&host_key), frozen };
        let handle = client::connect(Arc::new(config), address, events).await?;
        let host_key = host_key.lock().unwrap().take().unwrap();
        Ok(Self { handle, goodbye: receiver, host_key })
    }

    /// Connects and logs in.
    pub(crate) async fn login(address: SocketAddr, user: &str, key: &PrivateKey) -> Self {
        let mut client = Self::connect(address).await;
        assert!(client.offer(user, key).await.success(), "{user} could not log in");
        client
    }

    /// Tries a key; RSA with SHA-512.
    pub(crate) async fn offer(&mut self, user: &str, key: &PrivateKey) -> AuthResult {
        let hash = key.algorithm().is_rsa().then_some(HashAlg::Sha512);
        let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), hash);
        self.handle.authenticate_publickey(user, key).await.unwrap()
    }

    /// What the server says when it ends the connection.
    pub(crate) async fn farewell(&mut self, within: Duration) -> String {
        let said = tokio::time::timeout(within, self.goodbye.wait_for(Option::is_some)).await;
        said.expect("the server did not end the connection").unwrap().clone().unwrap()
    }
}

/// Checks that a login was refused and only keys may be tried again.
pub(crate) fn assert_refused(result: &AuthResult, what: &str) {
    match result {
        AuthResult::Failure { remaining_methods, partial_success: false } => {
            assert_eq!(&**remaining_methods, &[MethodKind::PublicKey], "{what}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

/// The answer to a channel request: whether it was granted.
pub(crate) async fn answer<S>(channel: &mut russh::Channel<S>) -> bool
where
    S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static,
{
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return true,
            Some(ChannelMsg::Failure) => return false,
            Some(_) => {}
            None => panic!("the channel closed without an answer"),
        }
    }
}
