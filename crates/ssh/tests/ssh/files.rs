//! SFTP through SSH: packets put together by hand, so that their order is the test's.

use std::time::Duration;

use russh::ChannelMsg;
use russh::client::Msg;

use crate::client::{Client, answer};
use crate::node::{Node, config, ed25519};

const INIT: u8 = 1;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;

/// One SFTP session, one request at a time.
pub(crate) struct Sftp {
    pub(crate) channel: russh::Channel<Msg>,
    received: Vec<u8>,
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

impl Sftp {
    pub(crate) async fn open(client: &mut Client) -> Self {
        let mut channel = client.handle.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        assert!(answer(&mut channel).await, "the sftp subsystem was refused");
        let mut sftp = Self { channel, received: Vec::new() };
        sftp.send(&[INIT, 0, 0, 0, 3]).await;
        assert_eq!(sftp.receive().await[..5], [2, 0, 0, 0, 3]);
        sftp
    }

    pub(crate) async fn send(&self, packet: &[u8]) {
        self.channel.data_bytes(string(packet)).await.unwrap();
    }

    /// The next packet, without its length.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        loop {
            if let Some((length, rest)) = self.received.split_first_chunk::<4>()
                && let Some(packet) = rest.get(..u32::from_be_bytes(*length) as usize)
            {
                let packet = packet.to_vec();
                self.received.drain(..4 + packet.len());
                return packet;
            }
            let message = tokio::time::timeout(Duration::from_secs(30), self.channel.wait()).await;
            match message.expect("no answer came") {
                Some(ChannelMsg::Data { data }) => self.received.extend_from_slice(&data),
                Some(_) => {}
                None => panic!("the channel closed in the middle of a session"),
            }
        }
    }

    async fn ask(&mut self, packet: &[u8]) -> Vec<u8> {
        self.send(packet).await;
        self.receive().await
    }

    pub(crate) async fn open_file(&mut self, path: &str, flags: u32) -> Vec<u8> {
        let request = [&[OPEN, 0, 0, 0, 1], &*string(path.as_bytes()), &flags.to_be_bytes(), &[0; 4]].concat();
        let answer = self.ask(&request).await;
        assert_eq!(answer[0], HANDLE, "{}", String::from_utf8_lossy(&answer));
        answer[9..].to_vec()
    }

    /// A handle of a new file.
    pub(crate) async fn create(&mut self, path: &str) -> Vec<u8> {
        self.open_file(path, 0x2 | 0x8 | 0x10).await
    }

    pub(crate) async fn write(&mut self, handle: &[u8], offset: u64, data: &[u8]) {
        let request = [&[WRITE, 0, 0, 0, 2], &*string(handle), &offset.to_be_bytes(), &string(data)].concat();
        assert_ok(&self.ask(&request).await);
    }

    pub(crate) async fn close(&mut self, handle: &[u8]) {
        assert_ok(&self.ask(&[&[CLOSE, 0, 0, 0, 3], &*string(handle)].concat()).await);
    }

    /// Asks for a file from its beginning, in one packet of the channel, and waits for nothing.
    /// The requests carry their place in the file as id, in units of their length.
    pub(crate) async fn request_reads(&self, handle: &[u8], count: u32, length: u32) {
        let requests = (0..count).flat_map(|at| {
            let offset = (u64::from(at) * u64::from(length)).to_be_bytes();
            string(&[&[READ], at.to_be_bytes().as_slice(), &string(handle), &offset, &length.to_be_bytes()].concat())
        });
        self.channel.data_bytes(requests.collect::<Vec<u8>>()).await.unwrap();
    }

    pub(crate) async fn content(&mut self, path: &str, length: u32) -> Vec<u8> {
        let handle = self.open_file(path, 0x1).await;
        let mut content = Vec::new();
        while content.len() < length as usize {
            let offset = content.len() as u64;
            let request =
                [&[READ, 0, 0, 0, 4], &*string(&handle), &offset.to_be_bytes(), &length.to_be_bytes()].concat();
            let answer = self.ask(&request).await;
            assert_eq!(answer[0], DATA, "{}", String::from_utf8_lossy(&answer));
            content.extend_from_slice(&answer[9..]);
        }
        self.close(&handle).await;
        content
    }
}

fn assert_ok(answer: &[u8]) {
    assert_eq!(answer[0], STATUS);
    assert_eq!(answer[5..9], [0; 4], "{}", String::from_utf8_lossy(answer));
}

async fn logged_in() -> (Node, Client) {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let client = Client::login(node.address, "alice", &key).await;
    (node, client)
}

#[tokio::test]
async fn two_channels_of_one_connection_work_at_once() {
    let (_node, mut client) = logged_in().await;
    let mut one = Sftp::open(&mut client).await;
    let mut two = Sftp::open(&mut client).await;
    let data: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    let first = one.create("/one").await;
    let second = two.create("/two").await;
    for (at, chunk) in data.chunks(100_000).enumerate() {
        one.write(&first, at as u64 * 100_000, chunk).await;
        two.write(&second, at as u64 * 100_000, chunk).await;
    }
    one.close(&first).await;
    two.close(&second).await;
    assert!(one.content("/two", 200_000).await == data);
    assert!(two.content("/one", 200_000).await == data);
}

#[tokio::test]
async fn a_client_that_half_closes_gets_its_answers_and_a_clean_end() {
    let (node, mut client) = logged_in().await;
    let mut sftp = Sftp::open(&mut client).await;
    let handle = sftp.create("/file").await;
    sftp.send(&[&[WRITE, 0, 0, 0, 7], &*string(&handle), &[0; 8], &string(b"content")].concat()).await;
    sftp.send(&[&[CLOSE, 0, 0, 0, 8], &*string(&handle)].concat()).await;
    sftp.channel.eof().await.unwrap();
    assert_ok(&sftp.receive().await);
    assert_ok(&sftp.receive().await);
    let mut end = Vec::new();
    while let Some(message) = sftp.channel.wait().await {
        match message {
            ChannelMsg::ExitStatus { exit_status } => end.push(format!("exit {exit_status}")),
            ChannelMsg::Eof => end.push("eof".to_owned()),
            ChannelMsg::Close => end.push("close".to_owned()),
            _ => {}
        }
    }
    assert_eq!(end, ["exit 0", "eof", "close"]);
    drop(sftp);
    drop(client);
    node.until_ended("closed", 1.0).await;
    assert_eq!(node.metric("tidegate_ssh_connections_open", ""), 0.0);
}

#[tokio::test]
async fn data_of_another_kind_is_ignored() {
    let (_node, mut client) = logged_in().await;
    let mut sftp = Sftp::open(&mut client).await;
    sftp.channel.extended_data_bytes(1, "ignored").await.unwrap();
    let handle = sftp.create("/file").await;
    sftp.close(&handle).await;
}

#[tokio::test]
async fn garbage_ends_its_own_session_only() {
    let (_node, mut client) = logged_in().await;
    let mut good = Sftp::open(&mut client).await;
    let mut bad = Sftp::open(&mut client).await;
    bad.channel.data_bytes(vec![0xff; 64]).await.unwrap();
    let mut status = None;
    while let Some(message) = bad.channel.wait().await {
        if let ChannelMsg::ExitStatus { exit_status } = message {
            status = Some(exit_status);
        }
    }
    assert_eq!(status, Some(1));
    let handle = good.create("/file").await;
    good.close(&handle).await;
}

#[tokio::test]
async fn a_connection_that_breaks_off_leaves_nothing_behind() {
    let (node, mut client) = logged_in().await;
    let mut sftp = Sftp::open(&mut client).await;
    let handle = sftp.create("/cut").await;
    sftp.write(&handle, 0, b"half a file").await;
    drop(sftp);
    drop(client);
    node.until_ended("closed", 1.0).await;
    assert_eq!(node.metric("tidegate_ssh_connections_open", ""), 0.0);
}

// The transport wakes nobody who waits for window on a channel that is gone.
#[tokio::test]
async fn a_client_that_leaves_with_its_window_used_up_leaves_nothing_behind() {
    const WINDOW: usize = 128 << 10;
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut writer = Client::login(node.address, "alice", &key).await;
    let mut sftp = Sftp::open(&mut writer).await;
    let handle = sftp.create("/big").await;
    for n in 0..32_u64 {
        sftp.write(&handle, n * 32_768, &[7; 32_768]).await;
    }
    sftp.close(&handle).await;
    let mut client = Client::connect_frozen(node.address, WINDOW as u32).await;
    assert!(client.offer("alice", &key).await.success());
    let mut sftp = Sftp::open(&mut client).await;
    sftp.send(&[&[OPEN, 0, 0, 0, 1], &*string(b"/big"), &[0, 0, 0, 1, 0, 0, 0, 0]].concat()).await;
    let answer = sftp.receive().await;
    assert_eq!(answer[0], HANDLE);
    let handle = answer[9..].to_vec();
    for n in 0..32_u64 {
        let offset = (n * 32_768).to_be_bytes();
        sftp.send(&[&[READ, 0, 0, 0, 2], &*string(&handle), &offset, &[0, 0, 128, 0]].concat()).await;
    }
    let mut received = 0;
    while received < WINDOW - 32_768 - 1024 {
        received += sftp.receive().await.len();
    }
    drop(sftp);
    drop(client);
    node.until_ended("closed", 1.0).await;
    assert_eq!(node.metric("tidegate_ssh_connections_open", ""), 1.0, "the writer's");
}

#[tokio::test]
async fn many_requests_may_come_before_the_first_answer_is_read() {
    const SIZE: u32 = 24 << 20;
    const CHUNK: u32 = 32 << 10;
    let (_node, mut client) = logged_in().await;
    let mut sftp = Sftp::open(&mut client).await;
    let data: Vec<u8> = (0..SIZE).map(|i| (i % 253) as u8).collect();
    let handle = sftp.create("/large").await;
    for (at, chunk) in data.chunks(128 << 10).enumerate() {
        sftp.write(&handle, (at as u64) << 17, chunk).await;
    }
    sftp.close(&handle).await;

    let handle = sftp.open_file("/large", 0x1).await;
    sftp.request_reads(&handle, SIZE / CHUNK, CHUNK).await;
    for _ in 0..SIZE / CHUNK {
        let answer = sftp.receive().await;
        assert_eq!(answer[0], DATA);
        let at = u32::from_be_bytes(answer[1..5].try_into().unwrap()) * CHUNK;
        assert!(answer[9..] == data[at as usize..(at + CHUNK) as usize], "wrong bytes at {at}");
    }
}
