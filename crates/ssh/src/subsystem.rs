//! What runs on a channel: SFTP on the user's files, or one of the few commands.

use std::error::Error;

use tidegate_sftp::{Command, SessionContext, SessionEnd, Shutdown, Tenants, ThrottledSessions};
use tidegate_store::Account;
use tidegate_vfs::Vfs;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::channel_stream::ChannelStream;

/// The name by which clients ask for it (draft-ietf-secsh-filexfer-02, section 2).
pub(crate) const NAME: &str = "sftp";

/// Starts SFTP sessions.
pub(crate) struct Subsystem {
    vfs: Vfs,
    config: tidegate_sftp::Config,
    metrics: tidegate_sftp::Metrics,
    tenants: Tenants,
}

/// What a client asks for on a channel.
pub(crate) enum Wanted {
    Command(Command),
    Sftp,
}

/// How a session ended, as far as the channel is concerned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It is over: the channel ends with this exit status.
    Exit(u32),
    /// The node goes down: the whole connection ends.
    Shutdown,
    /// It is over, with this exit status and these lines on standard error.
    Told(u32, String),
    /// It never began; the text is for the client.
    Failed(String),
}

impl Subsystem {
    pub(crate) fn new(vfs: Vfs, config: tidegate_sftp::Config, metrics: tidegate_sftp::Metrics) -> Self {
        Self { vfs, config, metrics, tenants: Tenants::default() }
    }

    /// Serves the user's files until the client or the node has had enough. While the session waits
    /// for bandwidth it counts in `throttled`; `gone` ends what needs no byte of a client that is not
    /// there any more.
    pub(crate) async fn run(
        &self,
        wanted: Wanted,
        account: &Account,
        stream: ChannelStream,
        shutdown: &Shutdown,
        throttled: &ThrottledSessions,
        gone: &CancellationToken,
    ) -> Finish {
        let mount = match self.vfs.mount(account).await {
            Ok(mount) => mount,
            Err(error) => {
                error!("activity-type" = "ERROR", operation = "mount", message = error.report());
                return Finish::Failed(error.to_string());
            }
        };
        let context = SessionContext {
            mount,
            config: self.config.clone(),
            metrics: self.metrics.clone(),
            shutdown: shutdown.clone(),
            tenant: self.tenants.enter(&account.tenant.name, &account.tenant.limits),
            throttled: throttled.clone(),
            gone: gone.clone(),
        };
        if let Wanted::Command(command) = wanted {
            return run_command(command, stream, context).await;
        }
        let report = tidegate_sftp::serve(stream, context).await;
        info!(
            "activity-type" = "EXIT_REASON",
            "bytes-in" = report.bytes_in,
            "bytes-out" = report.bytes_out,
            message = chain(&report.end),
        );
        match report.end {
            SessionEnd::Drained | SessionEnd::DeadlineReached => Finish::Shutdown,
            SessionEnd::ClientClosed => Finish::Exit(0),
            _ => Finish::Exit(1),
        }
    }
}

async fn run_command(command: Command, stream: ChannelStream, context: SessionContext) -> Finish {
    let report = tidegate_sftp::run_command(stream, command, context).await;
    info!(
        "activity-type" = "EXIT_REASON",
        "bytes-in" = report.bytes_in,
        "bytes-out" = report.bytes_out,
        message = report.message,
    );
    match report.status {
        Some(status) => Finish::Told(status, report.stderr),
        None => Finish::Shutdown,
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
