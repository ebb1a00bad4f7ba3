//! The side port: health for the balancer, metrics for Prometheus, the version for people.
//!
//! Every connection carries one request and has a limit in time; the number of connections and the
//! size of a request's head are limited too, so that nothing on this port can hurt the SFTP side.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use tidegate_ssh::{is_proxy_header, read_proxy_header};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::build_info::BuildInfo;
use crate::config::InvalidSetting;
use crate::readiness::Readiness;

const METRICS: &str = "/metrics";
/// The greatest size of a request's head, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long to wait after the system refused us a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The `[admin]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port of the side port. Keep it from the internet. Default: `0.0.0.0:8022`.
    pub listen: SocketAddr,
    /// Connections served at once; more wait in the listener's backlog. Default: 64.
    pub max_connections: u32,
    /// How long a connection may take from accept to the end of the answer. Default: `10s`.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
}

/// The side port could not be opened.
#[derive(Debug, Error)]
#[error("the side port can't listen on {address} (admin.listen)")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// The open side port.
#[derive(Debug)]
pub struct SidePort {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
    state: Shared,
    scraped: watch::Sender<u64>,
}

/// Tells of reads of the metrics.
#[derive(Debug)]
pub struct Scrapes(watch::Receiver<u64>);

#[derive(Clone, Debug)]
struct Shared {
    registry: Registry,
    readiness: Readiness,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8022)),
            max_connections: 64,
            request_timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Checks the limits.
    ///
    /// # Errors
    /// Names the first setting that makes no sense.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        if self.max_connections == 0 {
            return Err(InvalidSetting::new("admin.max_connections", "it must be at least 1"));
        }
        if self.request_timeout.is_zero() {
            return Err(InvalidSetting::new("admin.request_timeout", "it must be more than 0s"));
        }
        Ok(())
    }
}

impl SidePort {
    /// Opens the port; [`SidePort::serve`] answers on it.
    ///
    /// # Errors
    /// If the address can't be had.
    pub async fn bind(config: &Config, registry: Registry, readiness: Readiness) -> Result<Self, BindError> {
        let failed = |source| BindError { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let state = Shared { registry, readiness };
        Ok(Self { listener, address, config: config.clone(), state, scraped: watch::Sender::new(0) })
    }

    /// Tells of reads of the metrics on this port.
    pub fn scrapes(&self) -> Scrapes {
        Scrapes(self.scraped.subscribe())
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`. Requests that are running then are cut.
    pub async fn serve(self, stop: CancellationToken) {
        let router = router(self.state);
        let slots = Arc::new(Semaphore::new(self.config.max_connections as usize));
        let limit = self.config.request_timeout;
        let accept = async {
            loop {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                let stream = match self.listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        warn!(%error, "the side port can't accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let router = router.clone();
                let scraped = self.scraped.clone();
                let stop = stop.clone();
                tokio::spawn(async move {
                    let _slot = slot;
                    let answered = tokio::time::timeout(limit, answer(stream, router, scraped));
                    tokio::select! {
                        () = stop.cancelled() => {}
                        done = answered => {
                            if done.is_err() {
                                debug!("a request on the side port took longer than admin.request_timeout");
                            }
                        }
                    }
                });
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept => {}
        }
    }
}

impl Scrapes {
    /// Waits for the next whole read of the metrics; not at all if nobody has ever read them.
    pub async fn next(&mut self) {
        let seen = *self.0.borrow_and_update();
        if seen > 0 {
            // An error says that the port is gone, and with it its readers.
            let _ = self.0.changed().await;
        }
    }
}

/// Serves the one request of a connection. A balancer that sends PROXY headers sends them with its
/// health checks, too; whose request it is makes no difference here.
async fn answer(mut stream: TcpStream, router: Router, scraped: watch::Sender<u64>) {
    let mut beginning = [0; 5];
    let peeked = stream.peek(&mut beginning).await.unwrap_or(0);
    if beginning.get(..peeked).is_some_and(is_proxy_header)
        && let Err(error) = read_proxy_header(&mut stream).await
    {
        debug!(%error, "a PROXY header on the side port can't be read");
        return;
    }
    let is_scrape = AtomicBool::new(false);
    let router = TowerToHyperService::new(router);
    let noting = service_fn(|request: Request<Incoming>| {
        is_scrape.store(request.uri().path() == METRICS, Ordering::Relaxed);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), noting);
    match connection.await {
        // Only now: an answer on its way ends with the port.
        Ok(()) if is_scrape.into_inner() => scraped.send_modify(|count| *count += 1),
        Ok(()) => {}
        Err(error) => debug!(%error, "a connection to the side port broke"),
    }
}

fn router(state: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route(METRICS, get(metrics))
        .route("/version", get(version))
        .with_state(state)
}

/// Alive: the process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready for connections, or 503 with the reasons.
async fn readyz(State(state): State<Shared>) -> Response {
    let reasons = state.readiness.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

/// Prometheus' text format, version 0.0.4.
async fn metrics(State(state): State<Shared>) -> Response {
    match TextEncoder::new().encode_to_string(&state.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            error!(%error, "the metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn version() -> Json<BuildInfo> {
    Json(BuildInfo::CURRENT)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;

    struct Running {
        address: SocketAddr,
        readiness: Readiness,
        scrapes: Scrapes,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    async fn start(config: Config) -> Running {
        let registry = Registry::new();
        BuildInfo::CURRENT.register(&registry).unwrap();
        let readiness = Readiness::register(&registry).unwrap();
        let config = Config { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..config };
        let port = SidePort::bind(&config, registry, readiness.clone()).await.unwrap();
        let (address, scrapes) = (port.local_addr(), port.scrapes());
        let stop = CancellationToken::new();
        let task = tokio::spawn(port.serve(stop.clone()));
        Running { address, readiness, scrapes, stop, task }
    }

    async fn send(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // The server may reset what it did not read; what came before counts.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    async fn fetch(address: SocketAddr, path: &str) -> (u16, String) {
        let answer = send(address, &format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn requests_with_and_without_a_proxy_header_are_answered() {
        let node = start(Config::default()).await;
        let local = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        for header in ["", "PROXY UNKNOWN\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 12345 8022\r\n", local] {
            let answer = send(node.address, &format!("{header}GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{header:?}: {answer}");
        }
        assert_eq!(send(node.address, "PROXY nonsense\r\nGET / HTTP/1.1\r\n\r\n").await, "");
    }

    #[tokio::test]
    async fn readiness_names_its_reasons_until_the_node_serves_and_again_when_it_drains() {
        let node = start(Config::default()).await;
        let (status, body) = fetch(node.address, "/readyz").await;
        assert_eq!(status, 503);
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["reasons"], json!(["the host keys are not loaded", "the SFTP listener is not up"]));
        node.readiness.host_keys_loaded();
        assert_eq!(fetch(node.address, "/readyz").await.0, 503);
        node.readiness.listening();
        assert_eq!(fetch(node.address, "/readyz").await, (200, r#"{"ready":true,"reasons":[]}"#.to_owned()));
        node.readiness.draining();
        let (status, body) = fetch(node.address, "/readyz").await;
        assert_eq!((status, body.as_str()), (503, r#"{"ready":false,"reasons":["the node is draining"]}"#));
        assert_eq!(fetch(node.address, "/healthz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_and_version_tell_the_build_and_other_paths_are_not_found() {
        let node = start(Config::default()).await;
        let (status, body) = fetch(node.address, "/metrics").await;
        assert_eq!(status, 200);
        assert!(body.contains(&format!("version=\"{}\"", BuildInfo::CURRENT.version)), "{body}");
        let (status, body) = fetch(node.address, "/version").await;
        assert_eq!(status, 200);
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["rustc"], BuildInfo::CURRENT.rustc);
        assert_eq!(fetch(node.address, "/").await.0, 404);
        assert_eq!(fetch(node.address, "/metrics/").await.0, 404);
    }

    #[tokio::test]
    async fn the_drain_is_in_the_metrics_and_a_read_of_them_is_told() {
        let mut node = start(Config::default()).await;
        node.scrapes.next().await;
        assert!(fetch(node.address, "/metrics").await.1.contains("\ntidegate_node_draining 0\n"));
        node.scrapes.0.wait_for(|count| *count == 1).await.unwrap();
        node.readiness.draining();
        let ((_, text), ()) = tokio::join!(fetch(node.address, "/metrics"), node.scrapes.next());
        assert!(text.contains("\ntidegate_node_draining 1\n"), "{text}");
        assert_eq!(*node.scrapes.0.borrow(), 2);
        fetch(node.address, "/healthz").await;
        assert!(!node.scrapes.0.has_changed().unwrap(), "other paths do not count");
    }

    #[tokio::test]
    async fn a_request_has_a_limit_in_size_and_in_time() {
        let node = start(Config { request_timeout: Duration::from_millis(200), ..Config::default() }).await;
        let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD));
        let answer = send(node.address, &head).await;
        assert!(!answer.contains(" 404 "), "an oversize head was taken: {answer}");
        // The read returns at all only because the server hangs up on a head that never ends.
        let answer = send(node.address, "GET / HTTP/1.1\r\n").await;
        assert!(!answer.contains(" 404 "), "{answer}");
    }

    #[tokio::test]
    async fn idle_connections_hold_their_slot_for_the_time_limit_only() {
        let config = Config { max_connections: 1, request_timeout: Duration::from_millis(200), ..Config::default() };
        let node = start(config).await;
        let _idle = TcpStream::connect(node.address).await.unwrap();
        assert_eq!(fetch(node.address, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn it_ends_when_told_to() {
        let node = start(Config::default()).await;
        node.stop.cancel();
        node.task.await.unwrap();
        assert!(TcpStream::connect(node.address).await.is_err());
    }
}
