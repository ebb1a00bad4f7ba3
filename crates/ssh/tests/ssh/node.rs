//! A node's SSH server on loopback, on stores in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use tidegate_sftp::Shutdown;
use tidegate_ssh::{ClusterState, Config, HostKeySet, Metrics, OfferedHostKeys, Server};
use tidegate_store::memory::{MemoryDirectory, MemoryLeases, MemoryLoginFailures, MemoryObjectStores};
use tidegate_store::{
    Accounts, AuthorizedKey, Directory, KeyPrefix, Mappings, Permission, PermissionRules, Status, Tenant, TenantLimits,
    User, UserName,
};
use tidegate_vfs::Vfs;
use tokio::task::JoinHandle;

/// Settings with short times, so that tests of them are quick.
pub(crate) fn config() -> Config {
    Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        auth_rejection_delay: Duration::from_millis(200),
        ..Config::default()
    }
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) directory: MemoryDirectory,
    pub(crate) shutdown: Shutdown,
    pub(crate) keys: HostKeySet,
    pub(crate) offered: OfferedHostKeys,
    registry: Registry,
    task: JoinHandle<()>,
}

/// What a node that is alone shares with nobody.
fn alone(accounts: Arc<dyn Accounts>) -> ClusterState {
    ClusterState {
        accounts,
        leases: Arc::new(MemoryLeases::new()),
        login_failures: Arc::new(MemoryLoginFailures::new()),
    }
}

impl Node {
    pub(crate) async fn start(config: Config) -> Self {
        let directory = MemoryDirectory::new();
        Self::start_with(config, directory.clone(), Arc::new(directory)).await
    }

    /// A node whose lookups go to `accounts`; `directory` is what tests administer.
    pub(crate) async fn start_with(config: Config, directory: MemoryDirectory, accounts: Arc<dyn Accounts>) -> Self {
        Self::start_in(config, directory, alone(accounts)).await
    }

    /// A node of a cluster.
    pub(crate) async fn start_in(config: Config, directory: MemoryDirectory, shared: ClusterState) -> Self {
        Self::start_on(MemoryObjectStores::new(), config, directory, shared).await
    }

    /// A node on a store whose buckets tell the MD5 of what came in one request.
    pub(crate) async fn start_with_md5s(config: Config) -> Self {
        let (stores, directory) = (MemoryObjectStores::new(), MemoryDirectory::new());
        drop(stores.bucket("bucket").with_md5s());
        Self::start_on(stores, config, directory.clone(), alone(Arc::new(directory))).await
    }

    async fn start_on(
        stores: MemoryObjectStores,
        config: Config,
        directory: MemoryDirectory,
        shared: ClusterState,
    ) -> Self {
        let registry = Registry::new();
        drop(stores.bucket("bucket"));
        let vfs = Vfs::new(
            Arc::new(stores),
            tidegate_vfs::Config::default(),
            tidegate_vfs::Metrics::register(&registry).unwrap(),
        );
        let sftp = (tidegate_sftp::Config::default(), tidegate_sftp::Metrics::register(&registry).unwrap());
        let keys = HostKeySet::generate().await.unwrap();
        let metrics = Metrics::register(&registry).unwrap();
        let server = Server::bind(config, &keys, shared, vfs, sftp, metrics).await.unwrap();
        let shutdown = Shutdown::default();
        let (address, offered) = (server.local_addr(), server.host_keys());
        let task = tokio::spawn(server.serve(shutdown.clone()));
        Self { address, directory, shutdown, keys, offered, registry, task }
    }

    /// Adds a tenant with one user of the same name, who has these keys.
    pub(crate) async fn add_user(&self, name: &str, keys: &[&PublicKey]) {
        self.add_tenant(name, TenantLimits::default()).await;
        self.directory.create_user(&user(name, keys)).await.unwrap();
    }

    pub(crate) async fn add_tenant(&self, name: &str, limits: TenantLimits) {
        let tenant = Tenant {
            name: name.parse().unwrap(),
            status: Status::Active,
            bucket: "bucket".to_owned(),
            prefix: format!("{name}/").parse::<KeyPrefix>().unwrap(),
            limits,
            created: 0,
        };
        self.directory.create_tenant(&tenant).await.unwrap();
    }

    /// A counter's or gauge's value, by its name and the value of its one label.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("no metric {name}"));
        let metric = family
            .get_metric()
            .iter()
            .find(|metric| label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label))
            .unwrap_or_else(|| panic!("no label {label} of {name}"));
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until_metric(&self, name: &str, label: &str, value: f64) {
        let reached = async {
            while self.metric(name, label) < value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
        assert!(reached.is_ok(), "{name}{{{label}}} is {}, not {value}", self.metric(name, label));
    }

    /// Waits until a counter has begun to count and stands still.
    pub(crate) async fn until_still(&self, name: &str, label: &str) {
        let (mut last, mut unchanged) = (0.0, 0);
        while unchanged < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = self.metric(name, label);
            unchanged = if now > 0.0 && now == last { unchanged + 1 } else { 0 };
            last = now;
        }
    }

    pub(crate) fn logins(&self, result: &str) -> f64 {
        self.metric("tidegate_ssh_authentications_total", result)
    }

    pub(crate) async fn until_ended(&self, outcome: &str, count: f64) {
        self.until_metric("tidegate_ssh_connections_total", outcome, count).await;
    }

    /// Waits for `serve` to return.
    pub(crate) async fn stopped(self, within: Duration) {
        tokio::time::timeout(within, self.task).await.expect("the server did not stop in time").unwrap();
    }
}

pub(crate) fn user(name: &str, keys: &[&PublicKey]) -> User {
    User {
        name: name.parse::<UserName>().unwrap(),
        tenant: name.parse().unwrap(),
        status: Status::Active,
        home: "/".to_owned(),
        permissions: Permission::ALL.into_iter().collect(),
        rules: PermissionRules::default(),
        mappings: Mappings::default(),
        max_sessions: None,
        lists_uploads: false,
        keys: keys.iter().map(|key| authorized(key)).collect(),
        created: 0,
    }
}

pub(crate) fn authorized(key: &PublicKey) -> AuthorizedKey {
    AuthorizedKey {
        id: key.fingerprint(HashAlg::Sha256).to_string(),
        key: PublicKey::new(key.key_data().clone(), "").to_openssh().unwrap(),
        comment: String::new(),
        added: 0,
        expires: None,
    }
}

pub(crate) fn ed25519() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}
