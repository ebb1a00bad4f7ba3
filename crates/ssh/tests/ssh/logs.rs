//! One line per event, with AWS Transfer's field names.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tidegate_store::{Directory, Status};
use tracing::subscriber::DefaultGuard;

use crate::client::{Client, assert_refused};
use crate::node::{Node, config, ed25519};

/// What was logged, as JSON lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Collects what this thread logs: with it all tasks of a test's runtime.
    fn collect() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines with this activity, with the fields of their span.
    fn lines(&self, activity: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["fields"]["activity-type"] == activity).collect()
    }
}

#[tokio::test]
async fn a_session_is_logged_from_beginning_to_end() {
    let (log, _guard) = Log::collect();
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::connect(node.address).await;
    assert_refused(&client.offer("nobody", &ed25519()).await, "nobody");
    assert!(client.offer("alice", &key).await.success());
    drop(client);
    node.until_ended("closed", 1.0).await;

    let [connected] = log.lines("CONNECTED").try_into().unwrap();
    let fields = &connected["fields"];
    let fingerprint = key.fingerprint(russh::keys::HashAlg::Sha256).to_string();
    assert_eq!(fields["ssh-public-key-fingerprint"], fingerprint.as_str());
    assert_eq!(fields["method"], "publickey");
    assert_eq!(fields["refused-attempts"], 1);
    assert_eq!(fields["kex"], "mlkem768x25519-sha256");
    assert_eq!(fields["ciphers"], "chacha20-poly1305@openssh.com");
    assert!(fields["client"].as_str().unwrap().starts_with("SSH-2.0-russh"), "{fields}");

    let [disconnected] = log.lines("DISCONNECTED").try_into().unwrap();
    for line in [&connected, &disconnected] {
        let span = &line["span"];
        assert_eq!((&span["user"], &span["tenant"]), (&"alice".into(), &"alice".into()));
        assert_eq!(span["source-ip"], "127.0.0.1");
        assert_eq!(span["session-id"].as_str().unwrap().len(), 16);
    }
    assert_eq!(connected["span"]["session-id"], disconnected["span"]["session-id"]);
    assert!(disconnected["fields"]["bytes-in"].as_u64().unwrap() > 1000);
    assert!(disconnected["fields"]["bytes-out"].as_u64().unwrap() > 1000);
    assert!(log.lines("AUTH_FAILURE").is_empty());
}

#[tokio::test]
async fn a_failed_login_is_logged_once_with_its_cause() {
    let (log, _guard) = Log::collect();
    let node = Node::start(config()).await;
    node.add_user("alice", &[]).await;
    for user in ["alice", "nobody", "line\nbreak"] {
        let mut client = Client::connect(node.address).await;
        assert_refused(&client.offer(user, &ed25519()).await, user);
        assert_refused(&client.offer(user, &ed25519()).await, user);
    }
    node.until_ended("unauthenticated", 3.0).await;
    let told: Vec<_> = log
        .lines("AUTH_FAILURE")
        .iter()
        .map(|line| {
            assert_eq!(line["fields"]["method"], "publickey");
            format!("{}: {}", line["fields"]["user"].as_str().unwrap(), line["fields"]["message"].as_str().unwrap())
        })
        .collect();
    let expected =
        ["alice: the user has no such key", "nobody: there is no such user", "line\\nbreak: there is no such user"];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_failed_login_is_logged_with_the_user_whose_key_it_was() {
    let (log, _guard) = Log::collect();
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    node.directory.set_user_status(&"alice".parse().unwrap(), Status::Disabled).await.unwrap();
    let mut client = Client::connect(node.address).await;
    for user in ["alice", "nobody"] {
        assert_refused(&client.offer(user, &key).await, user);
    }
    drop(client);
    node.until_ended("unauthenticated", 1.0).await;
    let [failure] = log.lines("AUTH_FAILURE").try_into().unwrap();
    let fields = &failure["fields"];
    assert_eq!((&fields["user"], &fields["refused-attempts"]), (&"alice".into(), &2.into()));
    assert_eq!(fields["message"], "the user or its tenant is disabled");
}
