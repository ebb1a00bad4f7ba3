//! The proxy in front of a small server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Fault, FaultProxy, Kind, When};

const LIMIT: Duration = Duration::from_secs(10);

/// A server that answers each request with its body, or with 64 KiB of `g` if that is empty; and
/// how many it has had.
async fn echo() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&served);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            let service = service_fn(move |request: Request<Incoming>| {
                let counter = Arc::clone(&counter);
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    counter.fetch_add(1, Ordering::Relaxed);
                    let body = if body.is_empty() { Bytes::from(vec![b'g'; 64 << 10]) } else { body };
                    Ok::<_, hyper::Error>(Response::new(Full::new(body)))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, served)
}

/// Sends one request on a connection of its own, and reads all of the answer that comes: its status
/// and body.
async fn ask(proxy: &FaultProxy, line: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(proxy.address).await?;
    let head = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    Ok((status, answer[end + 4..].to_vec()))
}

#[tokio::test]
async fn what_is_not_to_be_harmed_passes_unchanged_and_is_counted() {
    let (upstream, _) = echo().await;
    let proxy = FaultProxy::start(upstream);
    let data = vec![7; 300_000];
    assert_eq!(ask(&proxy, "PUT /b/k", &data).await.unwrap(), (200, data));
    assert_eq!(ask(&proxy, "GET /b/k", b"").await.unwrap(), (200, vec![b'g'; 64 << 10]));
    let seen = proxy.seen();
    assert_eq!((seen.of(Kind::Put), seen.of(Kind::Get), seen.total(), seen.harmed()), (1, 1, 2, 0));
    assert_eq!(seen.since(&seen).total(), 0);
}

#[tokio::test]
async fn bodies_suffer_what_was_ordered() {
    let (upstream, _) = echo().await;
    let proxy = FaultProxy::start(upstream);
    let whole = vec![b'g'; 64 << 10];

    proxy.inject(&[Kind::Get], When::First(1), Fault::CorruptAnswer { at: 1000 });
    let (_, corrupt) = ask(&proxy, "GET /b/k", b"").await.unwrap();
    let wrong: Vec<_> = (0..whole.len()).filter(|at| corrupt[*at] != whole[*at]).collect();
    assert_eq!((corrupt.len(), wrong), (whole.len(), vec![1000]));
    assert_eq!(ask(&proxy, "GET /b/k", b"").await.unwrap().1, whole, "only the first");

    proxy.inject(&[Kind::Put], When::Always, Fault::CorruptRequest { at: u64::MAX });
    assert_eq!(ask(&proxy, "PUT /b/k", b"abc").await.unwrap().1, b"abC");

    proxy.heal();
    proxy.inject(&[Kind::Get], When::Always, Fault::CutAnswer { after: 10_000 });
    let cut = ask(&proxy, "GET /b/k", b"").await.map_or(0, |(_, body)| body.len());
    assert!(cut <= 10_000, "{cut} bytes came");
    assert_eq!(proxy.seen().harmed(), 3);
}

#[tokio::test]
async fn a_stalled_answer_stays_where_it_is() {
    let (upstream, _) = echo().await;
    let proxy = FaultProxy::start(upstream);
    proxy.inject(&[Kind::Get], When::Always, Fault::StallAnswer { after: 10_000 });
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"g") || answer.iter().filter(|byte| **byte == b'g').count() < 10_000 {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "the connection stays open");
    }
    let more = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn resets_come_before_the_store_hears_or_behind() {
    let (upstream, served) = echo().await;
    let proxy = FaultProxy::start(upstream);
    for (fault, reaches) in [(Fault::ResetBeforeBody, 0), (Fault::ResetBeforeAnswer, 1)] {
        proxy.inject(&[Kind::Put], When::Always, fault);
        let error = ask(&proxy, "PUT /b/k", &[1; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{fault:?}: {error}");
        assert_eq!(served.swap(0, Ordering::Relaxed), reaches, "{fault:?}");
        proxy.heal();
    }
}

#[tokio::test]
async fn what_is_not_answered_keeps_its_connection_and_does_not_reach_the_store() {
    let (upstream, served) = echo().await;
    let proxy = FaultProxy::start(upstream);
    proxy.inject(&[Kind::Put], When::Always, Fault::Unanswered);
    let asked = tokio::time::timeout(Duration::from_millis(200), ask(&proxy, "PUT /b/k", &[1; 100])).await;
    assert!(asked.is_err(), "{asked:?}");
    assert_eq!((served.load(Ordering::Relaxed), proxy.seen().harmed()), (0, 1));
}

#[tokio::test]
async fn a_delayed_request_does_not_reach_the_store_if_its_connection_ends_before() {
    let (upstream, served) = echo().await;
    let proxy = FaultProxy::start(upstream);
    let delay = Duration::from_millis(300);
    proxy.inject(&[Kind::Put], When::Always, Fault::DelayRequest(delay));
    // More than the sockets hold.
    let body = vec![1; 32 << 20];
    let asked = tokio::time::timeout(delay / 3, ask(&proxy, "PUT /b/k", &body)).await;
    assert!(asked.is_err(), "{asked:?}");
    assert_eq!(ask(&proxy, "PUT /b/k", &body).await.unwrap().0, 200);
    assert_eq!(served.load(Ordering::Relaxed), 1, "of two");
}

#[tokio::test]
async fn a_proxy_that_refuses_lets_nothing_through_until_it_is_healed() {
    let (upstream, served) = echo().await;
    let proxy = FaultProxy::start(upstream);
    let mut standing = TcpStream::connect(proxy.address).await.unwrap();
    let request = b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n";
    standing.write_all(request).await.unwrap();
    assert_ne!(standing.read_u8().await.unwrap(), 0);
    proxy.refuse();
    assert!(ask(&proxy, "GET /b/k", b"").await.is_err());
    standing.write_all(request).await.unwrap();
    assert!(standing.read_to_end(&mut Vec::new()).await.is_err(), "a connection that stood before");
    assert_eq!(served.load(Ordering::Relaxed), 1);
    proxy.heal();
    assert_eq!(ask(&proxy, "GET /b/k", b"").await.unwrap().0, 200);
}

#[tokio::test]
async fn throttled_requests_do_not_reach_the_store() {
    let (upstream, served) = echo().await;
    let proxy = FaultProxy::start(upstream);
    proxy.inject(&[Kind::Put], When::FirstTries(2), Fault::SlowDown);
    let mut statuses = Vec::new();
    for line in ["PUT /b/one", "PUT /b/two", "PUT /b/one", "PUT /b/one", "PUT /b/two", "PUT /b/two"] {
        statuses.push(ask(&proxy, line, &[1; 100_000]).await.unwrap().0);
    }
    assert_eq!(statuses, [503, 503, 503, 200, 503, 200], "each of them twice");
    assert_eq!(served.load(Ordering::Relaxed), 2);

    proxy.heal();
    proxy.inject(&[Kind::Other], When::First(1), Fault::ThroughputExceeded);
    let (status, body) = ask(&proxy, "POST /", b"{}").await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let code = answer["__type"].as_str().and_then(|code| code.rsplit('#').next());
    assert_eq!((status, code), (400, Some("ProvisionedThroughputExceededException")));
    assert_eq!(ask(&proxy, "POST /", b"{}").await.unwrap(), (200, b"{}".to_vec()));
    assert_eq!(served.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn the_seed_and_the_number_say_whom_it_hits() {
    let (upstream, _) = echo().await;
    let mut rounds = Vec::new();
    for seed in [1, 1, 2] {
        let proxy = FaultProxy::start(upstream);
        proxy.inject(&[Kind::Get], When::Nth(3), Fault::SlowDown);
        proxy.inject(&[Kind::Put], When::Percent { of_100: 50, seed }, Fault::SlowDown);
        let mut statuses = Vec::new();
        for _ in 0..32 {
            statuses.push(ask(&proxy, "PUT /b/k", b"x").await.unwrap().0);
        }
        let mut gets = Vec::new();
        for _ in 0..4 {
            gets.push(ask(&proxy, "GET /b/k", b"").await.unwrap().0);
        }
        assert_eq!(gets, [200, 200, 503, 200]);
        rounds.push(statuses);
    }
    assert_eq!(rounds[0], rounds[1]);
    assert_ne!(rounds[0], rounds[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_delayed_and_waiters_hear_of_requests_before() {
    let (upstream, _) = echo().await;
    let proxy = Arc::new(FaultProxy::start(upstream));
    proxy.delay_answers(Duration::from_millis(150));
    let start = std::time::Instant::now();
    let asked = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { ask(&proxy, "GET /b/k", b"").await.unwrap() }
    });
    tokio::task::block_in_place(|| proxy.wait("a GET has come", LIMIT, |seen| seen.of(Kind::Get) == 1));
    assert_eq!(asked.await.unwrap().0, 200);
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
}
