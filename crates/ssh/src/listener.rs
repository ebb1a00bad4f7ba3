//! The listening socket: accepts without spinning and refuses without flooding the log.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::accounting::Outcome;
use crate::connection;
use crate::server::Node;

/// Connections that the kernel may hold for us.
const BACKLOG: u32 = 1024;

/// How long the listener rests after an error such as "too many open files": doubled from the
/// first to the second while errors go on.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// One log line about refused connections per this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Opens the listening socket.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A node that starts again must not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the node drains, then closes the listener.
pub(crate) async fn accept(node: Arc<Node>, listener: TcpListener, connections: &TaskTracker) {
    let mut back_off = BACK_OFF.0;
    let mut refusals = Refusals::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.shutdown.drain.cancelled() => return,
            () = node.shutdown.deadline.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                back_off = BACK_OFF.0;
                match node.admission.admit(peer.ip()) {
                    Ok((place, login_place)) => {
                        connections.spawn(connection::run(Arc::clone(&node), stream, place, login_place));
                    }
                    Err(outcome) => {
                        refuse(stream);
                        node.metrics.ended(outcome);
                        refusals.log(peer, outcome);
                    }
                }
            }
            // The client was gone before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                node.metrics.accept_errors.inc();
                warn!("activity-type" = "ERROR", message = "no connection could be accepted", %error, "retry-in-ms" = back_off.as_millis());
                tokio::select! {
                    () = node.shutdown.drain.cancelled() => return,
                    () = tokio::time::sleep(back_off) => {}
                }
                back_off = (back_off * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Closes a connection at once and leaves no state of it in the kernel.
fn refuse(stream: TcpStream) {
    // With SO_LINGER 0 the close is a reset. If that fails an ordinary close does as well.
    let _ = stream.set_zero_linger();
}

/// Logs refused connections, many of them as one line.
#[derive(Default)]
struct Refusals {
    last: Option<Instant>,
    unlogged: u64,
}

impl Refusals {
    fn log(&mut self, peer: SocketAddr, outcome: Outcome) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            self.unlogged += 1;
            return;
        }
        warn!(
            "activity-type" = "ERROR",
            operation = "accept",
            "source-ip" = %peer.ip().to_canonical(),
            message = outcome.as_str(),
            "others-since-last-line" = self.unlogged,
        );
        self.last = Some(now);
        self.unlogged = 0;
    }
}
