//! One SFTP session: one task owns all of its state and no lock guards any of it.
//!
//! [`serve`] waits for the next thing to happen (bytes from the client, room for bytes to it, a
//! request done), then acts on it without waiting. What takes time runs as futures that own what
//! they need and end in one `Event`.
//!
//! Two rules keep it free of deadlock over an SSH transport that stops sending while nobody reads
//! from it. Reading never waits for writing: answers that can't be sent yet are bounded by
//! leaving READs in their queue. Only a WRITE that waits for memory or bandwidth, or requests on
//! paths that wait for the store, pause reading, and each ends without a further byte from the
//! client.

mod attributes;
pub(crate) mod audit;
mod check;
mod copy;
mod events;
mod extensions;
mod files;
mod handles;
mod order;
mod pump;
mod queued;
mod reads;
mod requests;
mod run;
pub(crate) mod throttle;

use std::io;

use thiserror::Error;
use tidegate_vfs::Mount;
use tokio_util::sync::CancellationToken;

pub use run::serve;
pub use throttle::ThrottledSessions;

use crate::codec::Malformed;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::tenants::TenantSession;

/// How a node asks its sessions to end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Sessions without an open file end at once, the others as soon as theirs are closed.
    pub drain: CancellationToken,
    /// Every session ends now; what was not closed is not published.
    pub deadline: CancellationToken,
}

/// What a session works with.
#[derive(Debug)]
pub struct SessionContext {
    /// The user's files.
    pub mount: Mount,
    /// What the session may use.
    pub config: Config,
    /// Where it is counted.
    pub metrics: Metrics,
    /// When it has to end.
    pub shutdown: Shutdown,
    /// What it shares with the other sessions of its tenant.
    pub tenant: TenantSession,
    /// Where it is counted while it waits for bandwidth.
    pub throttled: ThrottledSessions,
    /// Cancelled when the client's connection is no more: what needs no byte of the client ends.
    pub gone: CancellationToken,
}

/// Why a session ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The client closed its side and all answers were sent.
    #[error("the client closed the session")]
    ClientClosed,
    /// The deadline of a shutdown came.
    #[error("the node's deadline for running transfers came")]
    DeadlineReached,
    /// The node drains and the session had no open file.
    #[error("the node is going down")]
    Drained,
    /// The stream broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// The client sent something that is no SFTP.
    #[error("the client broke the protocol")]
    Malformed(#[from] ProtocolError),
    /// The client sent more requests than may wait, and did not read the answers.
    #[error("the client sends requests but does not read the answers")]
    NotReading,
}

/// How a client broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A packet could not be decoded.
    #[error(transparent)]
    Packet(#[from] Malformed),
    /// The first packet was no INIT, or a later one was.
    #[error("INIT must be the first packet, once")]
    Init,
}

/// What became of a session.
#[derive(Debug)]
pub struct SessionReport {
    /// Why it ended.
    pub end: SessionEnd,
    /// File bytes taken from the client.
    pub bytes_in: u64,
    /// File bytes given to the client.
    pub bytes_out: u64,
}
