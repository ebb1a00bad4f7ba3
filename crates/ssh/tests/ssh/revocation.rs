//! Who loses access while connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use russh::keys::PrivateKey;
use tidegate_store::memory::MemoryDirectory;
use tidegate_store::{Account, Accounts, Directory, Status, StoreError, StoreErrorKind, StoreResult, User, UserName};

use crate::client::Client;
use crate::files::Sftp;
use crate::node::{Node, config, ed25519, user};

const SOON: Duration = Duration::from_secs(5);

fn alice() -> UserName {
    "alice".parse().unwrap()
}

async fn logged_in(node: &Node) -> (PrivateKey, Client) {
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    let mut client = Client::login(node.address, "alice", &key).await;
    Sftp::open(&mut client).await;
    (key, client)
}

/// Asks for one more SFTP session, which has to end the connection.
async fn assert_shut_out(node: &Node, client: &mut Client) {
    let channel = client.handle.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    assert_eq!(client.farewell(SOON).await, "disconnected: the key no longer opens this account");
    node.until_ended("revoked", 1.0).await;
}

#[tokio::test]
async fn a_key_that_was_removed_opens_no_session_on_an_old_connection() {
    let node = Node::start(config()).await;
    let (key, mut client) = logged_in(&node).await;
    let id = user("alice", &[key.public_key()]).keys[0].id.clone();
    node.directory.remove_key(&alice(), &id).await.unwrap();
    assert_shut_out(&node, &mut client).await;
}

#[tokio::test]
async fn a_disabled_user_opens_no_session_on_an_old_connection() {
    let node = Node::start(config()).await;
    let (_, mut client) = logged_in(&node).await;
    node.directory.set_user_status(&alice(), Status::Disabled).await.unwrap();
    assert_shut_out(&node, &mut client).await;
}

#[tokio::test]
async fn a_disabled_tenants_user_opens_no_session_on_a_channel_that_waited() {
    let node = Node::start(config()).await;
    let (_, mut client) = logged_in(&node).await;
    let channel = client.handle.channel_open_session().await.unwrap();
    node.directory.set_tenant_status(&"alice".parse().unwrap(), Status::Disabled).await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    assert_eq!(client.farewell(SOON).await, "disconnected: the key no longer opens this account");
    node.until_ended("revoked", 1.0).await;
}

#[tokio::test]
async fn a_new_session_on_an_old_connection_has_the_account_as_it_is_now() {
    let node = Node::start(config()).await;
    let (key, mut client) = logged_in(&node).await;
    node.directory.remove_user(&alice()).await.unwrap();
    let moved = User { home: "/moved".to_owned(), ..user("alice", &[key.public_key()]) };
    node.directory.create_user(&moved).await.unwrap();
    let mut sftp = Sftp::open(&mut client).await;
    // SSH_FXP_REALPATH of ".", answered by SSH_FXP_NAME.
    sftp.send(&[16, 0, 0, 0, 1, 0, 0, 0, 1, b'.']).await;
    let name = sftp.receive().await;
    assert_eq!((name[0], &name[9..19]), (104, &b"\0\0\0\x06/moved"[..]));
}

/// A directory that can go down.
#[derive(Debug)]
struct Fragile {
    directory: MemoryDirectory,
    is_down: Arc<AtomicBool>,
}

#[async_trait]
impl Accounts for Fragile {
    async fn lookup(&self, user: &UserName) -> StoreResult<Option<Arc<Account>>> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "lookup"));
        }
        self.directory.lookup(user).await
    }
}

#[tokio::test]
async fn a_failing_directory_shuts_nobody_out_of_an_open_connection() {
    let (directory, is_down) = (MemoryDirectory::new(), Arc::<AtomicBool>::default());
    let accounts = Fragile { directory: directory.clone(), is_down: Arc::clone(&is_down) };
    let node = Node::start_with(config(), directory, Arc::new(accounts)).await;
    let (_, mut client) = logged_in(&node).await;
    is_down.store(true, Ordering::Relaxed);
    Sftp::open(&mut client).await;
}
