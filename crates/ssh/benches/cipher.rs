//! The transport's cipher path: a client and a server of russh, joined in memory, both on one thread.
//!
//! Here and not in `benches/micro`, because no other crate may name russh (deny.toml).

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    reason = "Criterion's macros; a benchmark fails by panicking"
)]

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use russh::keys::{Algorithm, PrivateKey, PublicKeyOrCertificate};
use russh::server::{Auth, ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelMsg, Preferred, cipher, client, server};
use tokio::runtime::Builder;

const CIPHERS: [cipher::Name; 3] = [cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305];

/// As in a node: the largest packet, and the window of a channel.
const MAX_PACKET: u32 = 65_535;
const WINDOW: u32 = 4 << 20;

/// Bytes that go one way in one round.
const AMOUNT: usize = 8 << 20;
/// Bytes of one message: the data of a WRITE of OpenSSH's client.
const MESSAGE: usize = 32 << 10;

/// Whoever receives all of [`AMOUNT`] answers with one byte; whoever receives one byte answers with
/// all of it.
struct Answering;

impl server::Handler for Answering {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        tokio::spawn(answer(channel));
        Ok(())
    }
}

async fn answer(mut channel: Channel<Msg>) {
    let mut received = 0;
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } if data.len() == 1 => send(&channel).await,
            ChannelMsg::Data { data } => received += data.len(),
            _ => {}
        }
        if received == AMOUNT {
            received = 0;
            channel.data_bytes(Bytes::from_static(b"!")).await.expect("the client reads");
        }
    }
}

async fn send<S: From<(russh::ChannelId, ChannelMsg)> + Send + Sync + 'static>(channel: &Channel<S>) {
    let message = Bytes::from(vec![0x5a; MESSAGE]);
    for _ in 0..AMOUNT / MESSAGE {
        channel.data_bytes(message.clone()).await.expect("the other side reads");
    }
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A client that has logged in and opened a channel, over this cipher.
async fn connect(cipher: cipher::Name) -> (client::Handle<Trusting>, Channel<client::Msg>) {
    let preferred = Preferred { cipher: Cow::Owned(vec![cipher]), ..Preferred::default() };
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).expect("a key");
    let server = server::Config {
        keys: vec![key],
        preferred: preferred.clone(),
        window_size: WINDOW,
        maximum_packet_size: MAX_PACKET,
        ..server::Config::default()
    };
    let client =
        client::Config { preferred, window_size: WINDOW, maximum_packet_size: MAX_PACKET, ..client::Config::default() };
    let (near, far) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let session = server::run_stream(Arc::new(server), far, Answering).await.expect("both speak SSH");
        // Ends with the client.
        let _ = session.await;
    });
    let mut handle = client::connect_stream(Arc::new(client), near, Trusting).await.expect("both speak SSH");
    assert!(handle.authenticate_none("bench").await.expect("an answer").success(), "everybody may log in");
    let channel = handle.channel_open_session().await.expect("a channel");
    (handle, channel)
}

/// Waits for so many bytes.
async fn receive(channel: &mut Channel<client::Msg>, amount: usize) {
    let mut received = 0;
    while received < amount {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => received += data.len(),
            Some(_) => {}
            None => panic!("the channel ended after {received} bytes"),
        }
    }
}

fn transport(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group("cipher");
    group.sample_size(20).throughput(Throughput::Bytes(AMOUNT as u64));
    for cipher in CIPHERS {
        let (handle, mut channel) = runtime.block_on(connect(cipher));
        group.bench_function(BenchmarkId::new("up", cipher.as_ref()), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    send(&channel).await;
                    receive(&mut channel, 1).await;
                });
            });
        });
        group.bench_function(BenchmarkId::new("down", cipher.as_ref()), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    channel.data_bytes(Bytes::from_static(b"?")).await.expect("the server reads");
                    receive(&mut channel, AMOUNT).await;
                });
            });
        });
        drop(handle);
    }
}

criterion_group!(benches, transport);
criterion_main!(benches);
