//! Passing requests on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::header::{CONNECTION, HeaderMap};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};

use super::counts::Counts;
use super::kind::Kind;

/// Connections at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 4096;

/// The greatest chunk read from a socket at once, in bytes.
const READ_MAX: usize = 512 << 10;

/// How long to wait when no connection can be accepted (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the connections share.
#[derive(Debug)]
pub(super) struct State {
    upstream: SocketAddr,
    delay_ms: AtomicU64,
    counts: [AtomicU64; Kind::ALL.len()],
    failed: AtomicU64,
}

impl State {
    pub(super) fn new(upstream: SocketAddr) -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Self { upstream, delay_ms: AtomicU64::new(0), counts, failed: AtomicU64::new(0) }
    }

    /// From now on answers wait for this long.
    pub(super) fn set_delay(&self, milliseconds: u64) {
        self.delay_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// What has come so far.
    pub(super) fn counts(&self) -> Counts {
        let requests = Kind::ALL.iter().zip(&self.counts).map(|(kind, count)| (*kind, count.load(Ordering::Relaxed)));
        Counts::new(requests.filter(|(_, count)| *count > 0).collect(), self.failed.load(Ordering::Relaxed))
    }

    fn count(&self, kind: Kind) {
        if let Some((_, count)) = Kind::ALL.iter().zip(&self.counts).find(|(this, _)| **this == kind) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Why a request could not be passed on.
#[derive(Debug, Error)]
enum UpstreamError {
    #[error("the store can't be reached: {0}")]
    Connect(#[from] io::Error),
    #[error("the store did not answer: {0}")]
    Http(#[from] hyper::Error),
}

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A connection that its client cuts is no news.
            let _ = connection(stream, state).await;
            drop(slot);
        });
    }
}

/// One connection of a client, with one of its own to the store.
async fn connection(stream: TcpStream, state: Arc<State>) -> Result<(), UpstreamError> {
    stream.set_nodelay(true)?;
    let upstream = Arc::new(Mutex::new(None));
    let service = service_fn(move |request| {
        let (state, upstream) = (Arc::clone(&state), Arc::clone(&upstream));
        // Requests of a connection come one after the other, so nothing waits for this lock.
        async move { Ok::<_, std::convert::Infallible>(answer(request, &state, &mut *upstream.lock().await).await) }
    });
    let mut builder = server::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_MAX);
    Ok(builder.serve_connection(TokioIo::new(stream), service).await?)
}

type Upstream = Option<SendRequest<Incoming>>;

async fn answer(
    request: Request<Incoming>,
    state: &State,
    upstream: &mut Upstream,
) -> Response<Either<Incoming, Full<Bytes>>> {
    state.count(Kind::of(request.method(), request.uri(), request.headers()));
    let answer = pass_on(request, state.upstream, upstream).await;
    let delay = state.delay_ms.load(Ordering::Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    match answer {
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            response.map(Either::Left)
        }
        Err(error) => {
            state.failed.fetch_add(1, Ordering::Relaxed);
            eprintln!("{error}");
            *upstream = None;
            let mut response = Response::new(Either::Right(Full::from(error.to_string())));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

async fn pass_on(
    mut request: Request<Incoming>,
    address: SocketAddr,
    upstream: &mut Upstream,
) -> Result<Response<Incoming>, UpstreamError> {
    remove_hop_by_hop(request.headers_mut());
    let mut sender = match kept(upstream.take()).await {
        Some(sender) => sender,
        None => connect(address).await?,
    };
    let response = sender.send_request(request).await?;
    *upstream = Some(sender);
    Ok(response)
}

/// The connection of the last request, unless the store has closed it since.
async fn kept(upstream: Upstream) -> Upstream {
    let mut sender = upstream?;
    sender.ready().await.ok()?;
    Some(sender)
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Incoming>, UpstreamError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::Builder::new().max_buf_size(READ_MAX).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Ends when the sender is dropped, or with the error that the sender reports.
        let _ = connection.await;
    });
    Ok(sender)
}

/// What concerns one connection alone (RFC 9110, section 7.6.1). hyper frames bodies itself.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove("keep-alive");
}
