//! Passing requests on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::body::{Harm, Passing};
use super::fault::Fault;
use super::kind::Kind;
use super::record::Record;
use super::socket::{Reset, Socket};

/// What S3 says when it throttles, and what no client of a node may ever see of it.
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>Please \
                         reduce your request rate to arn:aws:s3:::the-bucket.</Message><RequestId>4442587FB7D0A2F9\
                         </RequestId><HostId>host-of-aws</HostId></Error>";

/// What DynamoDB says when it throttles.
const THROUGHPUT_EXCEEDED: &str = "{\"__type\":\"com.amazonaws.dynamodb.v20120810#\
                                   ProvisionedThroughputExceededException\",\"message\":\"The level of configured \
                                   provisioned throughput for the table the-table was exceeded.\"}";

/// The greatest chunk read from a socket at once, in bytes.
const READ_MAX: usize = 512 << 10;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

type Upstream = Option<SendRequest<Passing>>;

/// Serves until its runtime ends. The node bounds how many connections there are.
pub(super) async fn serve(listener: std::net::TcpListener, upstream: SocketAddr, record: Arc<Record>) {
    let listener = TcpListener::from_std(listener).expect("it does not block");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if record.refuses() {
            let _ = stream.set_zero_linger();
            continue;
        }
        let record = Arc::clone(&record);
        tokio::spawn(async move {
            // A connection that its client cuts, or that is to be cut here, is no news.
            let _ = connection(stream, upstream, record).await;
        });
    }
}

/// One connection of a client, with one of its own to the store.
async fn connection(stream: TcpStream, upstream: SocketAddr, record: Arc<Record>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let reset = Reset::default();
    let kept = Arc::new(Mutex::new(None));
    let service = service_fn({
        let reset = reset.clone();
        move |request| {
            let (record, kept, reset) = (Arc::clone(&record), Arc::clone(&kept), reset.clone());
            // Requests of a connection come one after the other, so nothing waits for this lock.
            async move { answer(request, &record, upstream, &mut *kept.lock().await, &reset).await }
        }
    });
    let mut builder = server::Builder::new();
    builder.max_buf_size(READ_MAX);
    builder.serve_connection(TokioIo::new(Socket::new(stream, reset)), service).await.map_err(io::Error::other)
}

async fn answer(
    request: Request<Incoming>,
    record: &Record,
    address: SocketAddr,
    kept: &mut Upstream,
    reset: &Reset,
) -> io::Result<Response<Passing>> {
    let kind = Kind::of(request.method(), request.uri(), request.headers());
    let verdict = record.judge(kind, &name(&request));
    match verdict.fault {
        Some(Fault::ResetBeforeBody) => {
            reset.order();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Fault::SlowDown) => {
            return throttle(request, StatusCode::SERVICE_UNAVAILABLE, "application/xml", SLOW_DOWN).await;
        }
        Some(Fault::ThroughputExceeded) => {
            let json = "application/x-amz-json-1.0";
            return throttle(request, StatusCode::BAD_REQUEST, json, THROUGHPUT_EXCEEDED).await;
        }
        // Until the node gives its connection up.
        Some(Fault::Unanswered) => return std::future::pending().await,
        Some(Fault::DelayRequest(delay)) => tokio::time::sleep(delay).await,
        _ => {}
    }
    let to_request =
        if let Some(Fault::CorruptRequest { at }) = verdict.fault { Some(Harm::Corrupt(at)) } else { None };
    let mut response = pass_on(request.map(|body| Passing::new(body, to_request)), address, kept).await?;
    tokio::time::sleep(verdict.delay).await;
    let harm = match verdict.fault {
        Some(Fault::CorruptAnswer { at }) => Some(Harm::Corrupt(at)),
        Some(Fault::CutAnswer { after }) => Some(Harm::Cut(after)),
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            None
        }
        Some(Fault::ResetBeforeAnswer) => {
            // To its end, so that the store has surely done what it was asked for.
            let _ = response.into_body().collect().await.map_err(io::Error::other)?;
            reset.order();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Fault::StallAnswer { after }) => Some(Harm::Stall(after)),
        _ => None,
    };
    remove_hop_by_hop(response.headers_mut());
    Ok(response.map(|body| Passing::new(body, harm)))
}

/// Takes a request to its end, and answers it with words of the proxy's own.
async fn throttle(
    request: Request<Incoming>,
    status: StatusCode,
    content_type: &'static str,
    text: &'static str,
) -> io::Result<Response<Passing>> {
    let _ = request.into_body().collect().await.map_err(io::Error::other)?;
    let mut response = Response::new(Passing::own(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// What is the same for each try of one request, and differs between requests.
fn name(request: &Request<Incoming>) -> String {
    let range = request.headers().get(RANGE).map(|range| String::from_utf8_lossy(range.as_bytes()));
    format!("{} {} {}", request.method(), request.uri(), range.unwrap_or_default())
}

async fn pass_on(
    mut request: Request<Passing>,
    address: SocketAddr,
    kept: &mut Upstream,
) -> io::Result<Response<Incoming>> {
    remove_hop_by_hop(request.headers_mut());
    let mut sender = match still_open(kept.take()).await {
        Some(sender) => sender,
        None => connect(address).await?,
    };
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    *kept = Some(sender);
    Ok(response)
}

/// The connection of the last request, unless the store has closed it since.
async fn still_open(kept: Upstream) -> Upstream {
    let mut sender = kept?;
    sender.ready().await.ok()?;
    Some(sender)
}

async fn connect(address: SocketAddr) -> io::Result<SendRequest<Passing>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let handshake = client::Builder::new().max_buf_size(READ_MAX).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
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
