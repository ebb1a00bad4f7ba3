//! The listening socket: accepts without spinning and refuses without flooding the log.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::accounting::Outcome;
use crate::admission::HeaderPlace;
use crate::connection;
use crate::proxy_protocol::{Expectation, read_proxy_header};
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
                match node.config.proxy_protocol.expects(peer.ip(), &node.config.proxy_networks) {
                    Expectation::NoHeader => match node.admit(peer.ip()) {
                        Ok(places) => drop(connections.spawn(connection::run(Arc::clone(&node), stream, peer, places))),
                        Err(outcome) => refuse(&node, stream, peer, outcome),
                    },
                    Expectation::Header => match node.admission.expect_header() {
                        Some(turn) => drop(connections.spawn(introduce(Arc::clone(&node), stream, peer, turn))),
                        None => refuse(&node, stream, peer, Outcome::OverUnauthenticatedLimit),
                    },
                    Expectation::Nothing => refuse(&node, stream, peer, Outcome::NotFromProxy),
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

/// Lets a balancer say whose connection it brings, then serves it.
async fn introduce(node: Arc<Node>, mut stream: TcpStream, balancer: SocketAddr, turn: HeaderPlace) {
    let header = tokio::select! {
        header = timeout(node.config.proxy_timeout, read_proxy_header(&mut stream)) => header,
        () = node.shutdown.drain.cancelled() => return node.metrics.ended(Outcome::Drained),
    };
    drop(turn);
    let client = match header {
        Ok(Ok(client)) => client.unwrap_or(balancer),
        // Closed without a byte, as a health check does that knows nothing of headers.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return node.metrics.ended(Outcome::Probe),
        Ok(Err(_)) | Err(_) => return refuse(&node, stream, balancer, Outcome::NoProxyHeader),
    };
    match node.admit(client.ip()) {
        Ok(places) => connection::run(node, stream, client, places).await,
        Err(outcome) => refuse(&node, stream, client, outcome),
    }
}

/// Closes a connection at once and leaves no state of it in the kernel.
fn refuse(node: &Node, stream: TcpStream, source: SocketAddr, outcome: Outcome) {
    // With SO_LINGER 0 the close is a reset. If that fails an ordinary close does as well.
    let _ = stream.set_zero_linger();
    node.metrics.ended(outcome);
    node.refusals.log(source, outcome);
}

/// Logs refused connections, many of them as one line.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Unlogged>);

#[derive(Debug, Default)]
struct Unlogged {
    last: Option<Instant>,
    unlogged: u64,
}

impl Refusals {
    fn log(&self, source: SocketAddr, outcome: Outcome) {
        let now = Instant::now();
        let others = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.last.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
                state.unlogged += 1;
                return;
            }
            state.last = Some(now);
            std::mem::take(&mut state.unlogged)
        };
        warn!(
            "activity-type" = "ERROR",
            operation = "accept",
            "source-ip" = %source.ip().to_canonical(),
            message = outcome.as_str(),
            "others-since-last-line" = others,
        );
    }
}
