//! One connection: its time limits, its state, its end.

mod outcome;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::server::{Handle, RunningSession, run_stream};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{Instrument, debug};

use crate::accounting::Outcome;
use crate::admission::{LoginPlace, Place};
use crate::handler::Handler;
use crate::negotiated::ClientHello;
use crate::server::Node;
use crate::socket::{Socket, Traffic};

pub(crate) use state::{Activity, ChannelPlace, Connection, Ending, Login};

/// How long a client has to take our goodbye and close its side, before the stream is cut.
const FAREWELL: Duration = Duration::from_secs(2);

/// What clients are told when the node drains or its deadline has passed.
const GOING_DOWN: &str = "the node is going down, please reconnect";

/// How long a connection's SFTP sessions may take to wind up after the shutdown's deadline.
const WIND_UP: Duration = Duration::from_secs(3);

/// Serves one accepted TCP connection of `client` until it is gone, with everything that ran on it.
pub(crate) async fn run(
    node: Arc<Node>,
    stream: TcpStream,
    client: SocketAddr,
    (place, login_place): (Place, LoginPlace),
) {
    let windows = node.config.window.as_u64().saturating_mul(u64::from(node.config.max_channels));
    let hello = ClientHello::new(node.config.nist_key_exchange);
    let connection = Arc::new(Connection::new(client, login_place, Traffic::new(windows), hello, node.metrics.clone()));
    node.metrics.open.inc();
    let span = connection.span().clone();
    async {
        let outcome = serve(&node, &connection, stream).await;
        wind_up(&node, &connection).await;
        if let Some(user) = connection.failed_login(outcome) {
            node.lock_outs.failed(client.ip(), &user);
        }
        connection.log_end(outcome);
    }
    .instrument(span)
    .await;
    node.metrics.open.dec();
    drop(place);
}

/// Runs the SSH connection to its end and says how it came.
async fn serve(node: &Arc<Node>, connection: &Arc<Connection>, stream: TcpStream) -> Outcome {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(message = "TCP_NODELAY could not be set", %error);
    }
    let grace = connection.started() + node.config.login_grace;
    let socket =
        Socket::new(stream, connection.cut().clone(), Arc::clone(connection.traffic()), Arc::clone(connection.hello()));
    let handler = Handler::new(Arc::clone(node), Arc::clone(connection));
    let starting = timeout_at(grace, run_stream(node.host_keys.transport(), socket, handler));
    let mut session = tokio::select! {
        started = starting => match started {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return connection.classify(Err(error)),
            Err(_) => return connection.before_login(Outcome::Timeout),
        },
        () = node.shutdown.drain.cancelled() => return connection.before_login(Outcome::Drained),
        () = node.shutdown.deadline.cancelled() => return connection.before_login(Outcome::Deadline),
    };
    let handle = session.handle();
    let ending = tokio::select! {
        result = &mut session => return connection.classify(result),
        ending = time_to_go(node, connection, grace) => ending,
    };
    part(&handle, &mut session, connection, ending).await;
    connection.before_login(ending.outcome)
}

/// Waits until one of our own reasons ends the connection.
async fn time_to_go(node: &Node, connection: &Connection, grace: Instant) -> Ending {
    let (drain, deadline) = (&node.shutdown.drain, &node.shutdown.deadline);
    let mut phases = connection.phases();
    loop {
        let phase = *phases.borrow_and_update();
        if let Some(ending) = phase.ending {
            return ending;
        }
        if deadline.is_cancelled() {
            return Ending { outcome: Outcome::Deadline, text: GOING_DOWN };
        }
        if drain.is_cancelled() && phase.channels == 0 {
            return Ending { outcome: Outcome::Drained, text: GOING_DOWN };
        }
        let (limit, ending) = if phase.logged_in {
            let idle = Ending { outcome: Outcome::Idle, text: "disconnected: no SFTP request for too long" };
            (connection.activity().last() + node.config.idle_timeout, idle)
        } else {
            (grace, Ending { outcome: Outcome::Timeout, text: "disconnected: the login took too long" })
        };
        if limit <= Instant::now() {
            return ending;
        }
        tokio::select! {
            changed = phases.changed() => {
                if changed.is_err() {
                    return Ending { outcome: Outcome::Error, text: "disconnected: the connection failed" };
                }
            }
            () = drain.cancelled(), if !drain.is_cancelled() => {}
            () = deadline.cancelled() => {}
            () = sleep_until(limit) => {}
        }
    }
}

/// Says goodbye, and cuts the stream if the client does not go.
async fn part(handle: &Handle, session: &mut RunningSession<Handler>, connection: &Connection, ending: Ending) {
    let reason = match ending.outcome {
        Outcome::Deadline | Outcome::Drained => Disconnect::ServiceNotAvailable,
        _ => Disconnect::ByApplication,
    };
    let goodbye = async {
        // Fails only if the session has ended already.
        let _ = handle.disconnect(reason, ending.text.to_owned(), "en".to_owned()).await;
        let _ = (&mut *session).await;
    };
    if timeout(FAREWELL, goodbye).await.is_err() {
        connection.cut().cancel();
        // The stream fails now at whatever the session does next; what it may be waiting for
        // besides, an account's lookup, has a limit of its own.
        let _ = session.await;
    }
}

/// Waits for the SFTP sessions to end: they answer what they have, and give up cut uploads.
async fn wind_up(node: &Node, connection: &Connection) {
    connection.cut().cancel();
    let late = async {
        node.shutdown.deadline.cancelled().await;
        tokio::time::sleep(WIND_UP).await;
    };
    tokio::select! {
        () = connection.channels_ended() => {}
        () = late => debug!(message = "SFTP sessions were still busy after the deadline"),
    }
}
