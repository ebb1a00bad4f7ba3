//! One session channel, from its opening to its close.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg};
use tracing::warn;

use crate::accounting::Outcome;
use crate::authentication::Identity;
use crate::channel_stream::ChannelStream;
use crate::connection::{ChannelPlace, Connection, Ending};
use crate::exec;
use crate::server::Node;
use crate::subsystem::{self, Finish, Wanted};

/// Extended data of this type is standard error (RFC 4254, section 5.2).
pub(crate) const STDERR: u32 = 1;

/// The account was disabled or removed, or has lost the key, since the client logged in.
const REVOKED: Ending =
    Ending { outcome: Outcome::Revoked, text: "disconnected: the key no longer opens this account" };

/// Waits for the client to ask for SFTP or a command, runs it, and closes the channel.
///
/// The requests themselves are answered where they arrive, by the same rule: the first request
/// that would start something decides.
pub(crate) async fn run(
    node: Arc<Node>,
    connection: Arc<Connection>,
    identity: Arc<Identity>,
    mut channel: Channel<Msg>,
    handle: Handle,
    _place: ChannelPlace,
) {
    let id = channel.id();
    let wanted = tokio::select! {
        wanted = wanted(&mut channel, node.config.commands) => wanted,
        () = node.shutdown.drain.cancelled() => return,
        () = node.shutdown.deadline.cancelled() => return,
    };
    let finish = if let Some(wanted) = wanted {
        // A connection may be open for days: who logged in then may have no right to anything now.
        let account = match node.authenticator.check_again(&identity).await {
            Ok(account) => account,
            Err(rejection) => {
                warn!("activity-type" = "ERROR", operation = "open-session", message = rejection.to_string());
                connection.end(REVOKED);
                return;
            }
        };
        let stream = ChannelStream::new(channel, connection.activity().clone());
        let session = AssertUnwindSafe(node.subsystem.run(
            wanted,
            &account,
            stream,
            &node.shutdown,
            connection.activity().throttled(),
            connection.cut(),
        ));
        // A bug in one session must not leave its client waiting on an open channel.
        session
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Finish::Failed("the session failed, please reconnect".to_owned()))
    } else {
        Finish::Exit(1)
    };
    // Each fails only if the connection is gone, and then nothing is left to say.
    match finish {
        Finish::Exit(status) => {
            let _ = handle.exit_status_request(id, status).await;
        }
        Finish::Told(status, text) => {
            if !text.is_empty() {
                let _ = handle.extended_data(id, STDERR, text).await;
            }
            let _ = handle.exit_status_request(id, status).await;
        }
        Finish::Failed(message) => {
            let _ = handle.extended_data(id, STDERR, format!("{message}\r\n")).await;
            let _ = handle.exit_status_request(id, 1).await;
        }
        // The connection's own end follows, with a message that says why.
        Finish::Shutdown => return,
    }
    let _ = handle.eof(id).await;
    let _ = handle.close(id).await;
}

/// What the client asks for, if it is something that runs here. Also takes in what comes before, so
/// that a flood of requests never fills the channel's buffer and stops the connection.
async fn wanted(channel: &mut Channel<Msg>, commands: bool) -> Option<Wanted> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::RequestSubsystem { name, .. }) => {
                return (name == subsystem::NAME).then_some(Wanted::Sftp);
            }
            Some(ChannelMsg::Exec { command, .. }) => {
                return exec::command(&command, commands).ok().map(Wanted::Command);
            }
            Some(ChannelMsg::RequestShell { .. } | ChannelMsg::Eof | ChannelMsg::Close) | None => return None,
            Some(_) => {}
        }
    }
}
