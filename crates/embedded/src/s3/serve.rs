//! HTTP/1.1 in front of the protocol.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections served at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 1024;

/// How long requests that are running at the shutdown may take to end.
const DRAIN: Duration = Duration::from_secs(5);

/// How long to wait before trying again when no connection can be accepted (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection may be idle between requests, or take to send a request's head. Longer
/// than clients keep idle connections, so that they do not pick one that is just being closed.
const IDLE_MAX: Duration = Duration::from_secs(90);

/// The greatest chunk that hyper reads from a socket at once, in bytes.
const READ_MAX: usize = 512 << 10;

/// Serves until `shutdown`, then lets running requests end.
pub(crate) async fn serve(listener: TcpListener, service: S3Service, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &slots) => {
                let Some((stream, slot)) = accepted else { continue };
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(IDLE_MAX)
                    .max_buf_size(READ_MAX)
                    .serve_connection(TokioIo::new(stream), service.clone());
                let connection = graceful.watch(connection);
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection to the embedded S3 server broke");
                    }
                    drop(slot);
                });
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests to the embedded S3 server were cut off by its shutdown");
    }
    connections.shutdown().await;
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY can't be set");
            }
            Some((stream, slot))
        }
        Err(error) => {
            tracing::warn!(%error, "the embedded S3 server can't accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
