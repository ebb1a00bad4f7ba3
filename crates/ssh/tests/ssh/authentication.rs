//! Who gets in, and what those who don't can learn.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, PrivateKeyWithHashAlg};
use tidegate_store::memory::MemoryDirectory;
use tidegate_store::{Account, Accounts, Directory, Status, StoreError, StoreErrorKind, StoreResult, UserName};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{Client, assert_refused};
use crate::node::{Node, authorized, config, ed25519, user};

fn rsa(bits: usize) -> PrivateKey {
    PrivateKey::new(KeypairData::from(RsaKeypair::random(&mut rand::rng(), bits).unwrap()), "").unwrap()
}

fn ecdsa(curve: EcdsaCurve) -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ecdsa { curve }).unwrap()
}

#[tokio::test]
async fn each_type_of_key_opens_an_account() {
    let node = Node::start(config()).await;
    let keys =
        [ed25519(), ecdsa(EcdsaCurve::NistP256), ecdsa(EcdsaCurve::NistP384), ecdsa(EcdsaCurve::NistP521), rsa(2048)];
    let public: Vec<_> = keys.iter().map(PrivateKey::public_key).collect();
    node.add_user("alice", &public).await;
    for key in &keys {
        let client = Client::login(node.address, "alice", key).await;
        let known = node.keys.fingerprints();
        assert!(known.iter().any(|(_, fingerprint)| *fingerprint == client.host_key));
    }
    assert_eq!(node.logins("accepted"), 5.0);
}

#[tokio::test]
async fn refusals_look_alike_in_answer_and_time() {
    let node = Node::start(config()).await;
    let (good, expired, wrong) = (ed25519(), ed25519(), ed25519());
    node.add_user("alice", &[good.public_key()]).await;
    let mut key = authorized(expired.public_key());
    key.expires = Some(1);
    node.directory.add_key(&"alice".parse().unwrap(), &key).await.unwrap();
    node.add_user("disabled", &[good.public_key()]).await;
    node.directory.set_user_status(&"disabled".parse().unwrap(), Status::Disabled).await.unwrap();
    node.add_user("closed", &[good.public_key()]).await;
    node.directory.set_tenant_status(&"closed".parse().unwrap(), Status::Disabled).await.unwrap();

    let cases = [
        ("nobody", &good, "rejected"),
        ("alice", &wrong, "rejected"),
        ("alice", &expired, "expired"),
        ("disabled", &good, "disabled"),
        ("disabled", &wrong, "rejected"),
        ("closed", &good, "disabled"),
        ("../etc", &good, "rejected"),
        ("", &good, "rejected"),
    ];
    for (user, key, result) in cases {
        let what = format!("{user:?} {result}");
        let before = node.logins(result);
        let mut client = Client::connect(node.address).await;
        let started = Instant::now();
        assert_refused(&client.offer(user, key).await, &what);
        let took = started.elapsed();
        assert!(took >= config().auth_rejection_delay, "{what} took only {took:?}");
        drop(client);
        node.until_metric("tidegate_ssh_authentications_total", result, before + 1.0).await;
    }
    assert_eq!(node.logins("accepted"), 0.0);
}

#[tokio::test]
async fn a_wrong_key_before_the_right_one_does_no_harm() {
    let node = Node::start(config()).await;
    let good = ed25519();
    node.add_user("alice", &[good.public_key()]).await;
    let mut client = Client::connect(node.address).await;
    assert_refused(&client.offer("alice", &ed25519()).await, "wrong key");
    assert!(client.offer("alice", &good).await.success());
    assert_eq!((node.logins("accepted"), node.logins("rejected")), (1.0, 0.0));
}

#[tokio::test]
async fn rsa_signatures_with_sha1_and_short_rsa_keys_are_refused() {
    let node = Node::start(config()).await;
    let (good, short) = (rsa(2048), rsa(1024));
    node.add_user("alice", &[good.public_key(), short.public_key()]).await;
    let mut client = Client::connect(node.address).await;
    let sha1 = PrivateKeyWithHashAlg::new(Arc::new(good.clone()), None);
    assert_refused(&client.handle.authenticate_publickey("alice", sha1).await.unwrap(), "SHA-1");
    assert_refused(&client.offer("alice", &short).await, "1024 bits");
    assert!(client.offer("alice", &good).await.success());
}

#[tokio::test]
async fn clients_learn_that_rsa_signs_with_sha2() {
    let node = Node::start(config()).await;
    let client = Client::connect(node.address).await;
    let hash = client.handle.best_supported_rsa_hash().await.unwrap();
    assert_eq!(hash, Some(Some(russh::keys::HashAlg::Sha512)));
}

#[tokio::test]
async fn only_keys_are_offered_as_a_way_to_log_in() {
    let node = Node::start(config()).await;
    node.add_user("alice", &[]).await;
    let mut client = Client::connect(node.address).await;
    assert_refused(&client.handle.authenticate_none("alice").await.unwrap(), "none");
    assert_refused(&client.handle.authenticate_password("alice", "secret").await.unwrap(), "password");
    drop(client);
    node.until_metric("tidegate_ssh_authentications_total", "rejected", 1.0).await;
}

#[tokio::test]
async fn a_connection_ends_after_too_many_wrong_keys() {
    let node = Node::start(tidegate_ssh::Config { max_auth_attempts: 2, ..config() }).await;
    node.add_user("alice", &[]).await;
    let mut client = Client::connect(node.address).await;
    // The transport counts the question for methods; a client that does not ask has one more.
    for _ in 0..3 {
        assert_refused(&client.offer("alice", &ed25519()).await, "wrong key");
    }
    let key = PrivateKeyWithHashAlg::new(Arc::new(ed25519()), None);
    let _ = client.handle.authenticate_publickey("alice", key).await;
    assert_eq!(client.farewell(Duration::from_secs(5)).await, "Too many authentication attempts");
}

/// Fails, or takes its time and finds nobody.
#[derive(Debug)]
enum Broken {
    Down,
    Slow(Duration),
}

#[async_trait]
impl Accounts for Broken {
    async fn lookup(&self, _: &UserName) -> StoreResult<Option<Arc<Account>>> {
        match self {
            Self::Down => Err(StoreError::new(StoreErrorKind::Unavailable, "lookup")),
            Self::Slow(time) => {
                tokio::time::sleep(*time).await;
                Ok(None)
            }
        }
    }
}

async fn with_accounts(settings: tidegate_ssh::Config, accounts: Broken) -> Node {
    Node::start_with(settings, MemoryDirectory::new(), Arc::new(accounts)).await
}

#[tokio::test]
async fn a_slow_lookup_is_rounded_up_to_the_next_multiple() {
    let delay = config().auth_rejection_delay;
    let node = with_accounts(config(), Broken::Slow(delay + delay / 4)).await;
    let mut client = Client::connect(node.address).await;
    let started = Instant::now();
    assert_refused(&client.offer("alice", &ed25519()).await, "slow");
    assert!(started.elapsed() >= delay * 2, "took only {:?}", started.elapsed());
}

#[tokio::test]
async fn a_failing_directory_refuses_and_is_no_wrong_key() {
    let node = with_accounts(config(), Broken::Down).await;
    let mut client = Client::connect(node.address).await;
    assert_refused(&client.offer("alice", &ed25519()).await, "unavailable");
    drop(client);
    node.until_metric("tidegate_ssh_authentications_total", "unavailable", 1.0).await;
    assert_eq!(node.logins("rejected"), 0.0);
}

#[tokio::test]
async fn a_directory_that_does_not_answer_refuses_in_time() {
    let settings = tidegate_ssh::Config { account_lookup_timeout: Duration::from_secs(1), ..config() };
    let node = with_accounts(settings, Broken::Slow(Duration::from_secs(60))).await;
    let mut client = Client::connect(node.address).await;
    assert_refused(&client.offer("alice", &ed25519()).await, "no answer");
    drop(client);
    node.until_metric("tidegate_ssh_authentications_total", "unavailable", 1.0).await;
}

#[tokio::test]
async fn a_key_that_was_removed_opens_nothing_any_more() {
    let node = Node::start(config()).await;
    let key = ed25519();
    node.add_user("alice", &[key.public_key()]).await;
    Client::login(node.address, "alice", &key).await;
    let id = user("alice", &[key.public_key()]).keys[0].id.clone();
    node.directory.remove_key(&"alice".parse().unwrap(), &id).await.unwrap();
    let mut client = Client::connect(node.address).await;
    assert_refused(&client.offer("alice", &key).await, "removed key");
}

/// Counts the lookups that begin; answers none of them.
#[derive(Debug, Default)]
struct Silent(watch::Sender<usize>);

#[async_trait]
impl Accounts for Silent {
    async fn lookup(&self, _: &UserName) -> StoreResult<Option<Arc<Account>>> {
        self.0.send_modify(|count| *count += 1);
        std::future::pending().await
    }
}

#[tokio::test]
async fn an_account_is_looked_up_once_before_a_key_is_offered() {
    let accounts = Arc::new(Silent::default());
    let mut lookups = accounts.0.subscribe();
    let node = Node::start_with(config(), MemoryDirectory::new(), accounts).await;
    let mut client = Client::connect(node.address).await;
    for user in ["no name", "alice", "alice", "bobby"] {
        assert_refused(&client.handle.authenticate_none(user).await.unwrap(), user);
    }
    let began = tokio::time::timeout(Duration::from_secs(10), lookups.wait_for(|count| *count > 0)).await;
    assert_eq!(*began.expect("no lookup began").unwrap(), 1);
    // Nobody waits for it when the client leaves.
    drop(client);
    node.until_ended("unauthenticated", 1.0).await;
    assert_eq!(*lookups.borrow(), 1);
}
