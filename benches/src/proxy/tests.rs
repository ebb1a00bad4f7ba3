//! The proxy in front of a small server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::forward::{State, serve};
use super::{Kind, control};

/// A server that answers each request with what it has seen of it: the head's first line and Host,
/// and the length of the body. It closes no connection.
async fn mirror() -> SocketAddr {
    use http_body_util::{BodyExt, Full};
    use hyper::service::service_fn;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| async move {
                let (head, mut body) = request.into_parts();
                let mut length = 0;
                while let Some(frame) = body.frame().await {
                    length += frame.unwrap().into_data().map_or(0, |data| data.len());
                }
                let host = head.headers["host"].to_str().unwrap();
                let seen = format!("{} {} host={host} body={length} from={peer}", head.method, head.uri);
                Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::<bytes::Bytes>::from(seen)))
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
        }
    });
    address
}

async fn proxy(upstream: SocketAddr) -> (SocketAddr, Arc<State>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(State::new(upstream));
    tokio::spawn(serve(listener, Arc::clone(&state)));
    (address, state)
}

/// Sends a request on an open connection and reads head and body of the answer.
async fn exchange(stream: &mut BufReader<TcpStream>, request: &str, body: &[u8]) -> (String, String) {
    let head = format!("{request} HTTP/1.1\r\nHost: signed.example:9\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn requests_pass_unchanged_and_are_counted() {
    let (address, state) = proxy(mirror().await).await;
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());

    let (head, put) = exchange(&mut stream, "PUT /b/a%20b?x-id=PutObject", &[7; 300_000]).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(put.starts_with("PUT /b/a%20b?x-id=PutObject host=signed.example:9 body=300000 "), "{put}");
    let (_, get) = exchange(&mut stream, "GET /b/k", b"").await;
    assert!(get.starts_with("GET /b/k host=signed.example:9 body=0 "), "{get}");

    let source = |text: &str| text.split("from=").nth(1).unwrap().to_owned();
    assert_eq!(source(&put), source(&get), "the connection to the store is kept");
    let counts = state.counts();
    assert_eq!((counts.of(Kind::Put), counts.of(Kind::Get), counts.total(), counts.failed), (1, 1, 2, 0));
}

#[tokio::test]
async fn answers_are_delayed_when_told() {
    let (address, state) = proxy(mirror().await).await;
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    state.set_delay(150);
    let start = Instant::now();
    exchange(&mut stream, "GET /b/k", b"").await;
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_store_that_is_gone_is_a_bad_gateway() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let (address, state) = proxy(nobody).await;
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let (head, _) = exchange(&mut stream, "GET /b/k", b"").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert_eq!(state.counts().failed, 1);
}

#[test]
fn the_control_channel_sets_the_delay_and_tells_counts() {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let state = State::new(address);
    let mut answers = Vec::new();
    control::serve(address, &state, &b"delay 20\ncounts\n"[..], &mut answers).unwrap();
    assert_eq!(String::from_utf8(answers).unwrap(), "127.0.0.1:9\nok\n{\"requests\":{},\"failed\":0}\n");
    let error = control::serve(address, &state, &b"dance\n"[..], Vec::new()).unwrap_err();
    assert!(error.to_string().contains("dance"), "{error}");
}
