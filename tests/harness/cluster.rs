//! A cluster: durable services, a configuration that all nodes share, and the command line that
//! administers it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::binary::tidegate;
use crate::client::{Output, run};
use crate::emulator::{CREDENTIALS, DevStore, Moto, S3Access};
use crate::node::{Login, Node};
use crate::openssh::keygen;
use crate::proxy::FaultProxy;
use crate::rclone::Rclone;

/// The library for programs with threads, in the folder of this machine's architecture.
fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a system has libraries");
    let mut places = folders.filter_map(|folder| Some(folder.ok()?.path().join("faketime/libfaketimeMT.so.1")));
    places.find(|place| place.exists()).expect("libfaketime is missing: run tests/setup")
}

/// Durable services with one tenant, `acme`, and no user yet. Nodes come and go.
#[derive(Debug)]
pub struct Cluster {
    // Fields drop in this order: the services end before their folder goes.
    moto: Option<Moto>,
    proxy: Option<FaultProxy>,
    dynamodb_proxy: Option<FaultProxy>,
    store: Option<DevStore>,
    folder: TempDir,
}

impl Cluster {
    /// The bucket of the tenant and of the host keys.
    pub const BUCKET: &str = Moto::BUCKET;
    /// Where the tenant's files lie in it.
    pub const PREFIX: &str = "tenants/acme/";
    /// How long nodes remember an account.
    pub const ACCOUNTS_TTL: Duration = Duration::from_secs(2);
    /// How long a node goes on with transfers after SIGTERM.
    pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

    /// Everything on moto.
    ///
    /// # Panics
    /// If it can't be set up.
    pub fn on_moto() -> Self {
        let cluster = Self::on_bare_moto();
        cluster.initialise();
        cluster
    }

    /// Everything on moto, before an operator has done anything: no table, no host keys.
    ///
    /// # Panics
    /// If it can't be set up.
    pub fn on_bare_moto() -> Self {
        Self::assemble(tempfile::tempdir().expect("a temporary folder"), Some(Moto::start()), None, None)
    }

    /// S3 and DynamoDB on `tidegate dev-store`, KMS on moto.
    ///
    /// # Panics
    /// If it can't be set up.
    pub fn on_dev_store() -> Self {
        let cluster = Self::on_bare_dev_store();
        cluster.initialise();
        cluster
    }

    /// The same before an operator has done anything.
    ///
    /// # Panics
    /// If it can't be set up.
    pub fn on_bare_dev_store() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = DevStore::start(&folder.path().join("store"));
        Self::assemble(folder, Some(Moto::start()), None, Some(store)).with_bucket()
    }

    /// S3 and DynamoDB on `tidegate dev-store`, the root key in a file; nodes and command line
    /// reach each of them through a proxy that the test gives orders to.
    ///
    /// # Panics
    /// If it can't be set up.
    pub fn behind_proxy() -> Self {
        Self::on_dev_store_alone(|store| {
            Some((FaultProxy::start(store.s3_address()), FaultProxy::start(store.dynamodb_address())))
        })
    }

    /// The same without proxies.
    ///
    /// # Panics
    /// If it can't be set up.
    pub fn without_moto() -> Self {
        Self::on_dev_store_alone(|_| None)
    }

    fn on_dev_store_alone(proxies: impl FnOnce(&DevStore) -> Option<(FaultProxy, FaultProxy)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = DevStore::start(&folder.path().join("store"));
        let proxies = proxies(&store);
        let cluster = Self::assemble(folder, None, proxies, Some(store)).with_bucket();
        cluster.initialise();
        cluster
    }

    fn with_bucket(self) -> Self {
        Rclone::on_s3(&self.s3()).run(["mkdir", &format!("s3:{}", Self::BUCKET)]).ok();
        self
    }

    fn assemble(
        folder: TempDir,
        moto: Option<Moto>,
        proxies: Option<(FaultProxy, FaultProxy)>,
        store: Option<DevStore>,
    ) -> Self {
        let (proxy, dynamodb_proxy) = proxies.unzip();
        let cluster = Self { moto, proxy, dynamodb_proxy, store, folder };
        std::fs::write(cluster.config_file(), cluster.config()).expect("the configuration can be written");
        cluster
    }

    /// What an operator does once: table, host keys, the first tenant.
    fn initialise(&self) {
        self.cli(&["init"]).ok();
        self.cli(&["hostkey", "init"]).ok();
        self.add_tenant("acme");
    }

    /// The configuration of every node.
    fn config(&self) -> String {
        let s3 = self.proxy.as_ref().map_or_else(|| self.s3().url, FaultProxy::url);
        let direct = || self.store.as_ref().map(DevStore::dynamodb).or(self.moto.as_ref().map(Moto::url));
        let dynamodb = self
            .dynamodb_proxy
            .as_ref()
            .map_or_else(|| direct().expect("moto or dev-store has one").to_owned(), FaultProxy::url);
        let (kms, seal) = match &self.moto {
            Some(moto) => (
                format!("kms_key_id = \"{}\"\nendpoints.kms = \"{}\"", moto.key_id(), moto.url()),
                "seal = \"kms\"".to_owned(),
            ),
            None => {
                let file = self.folder.path().join("root.key");
                (String::new(), format!("seal = \"local-file\"\nlocal_file = \"{}\"", file.display()))
            }
        };
        format!(
            r#"
            cluster = "test"
            [accounts]
            ttl = "{ttl}s"
            negative_ttl = "1s"
            [admin]
            listen = "127.0.0.1:0"
            [aws]
            region = "us-east-1"
            path_style = true
            endpoints.s3 = "{s3}"
            endpoints.dynamodb = "{dynamodb}"
            endpoints.sts = "{sts}"
            {kms}
            [drain]
            delay = "1s"
            deadline = "{drain}s"
            [host_keys]
            bucket = "{bucket}"
            {seal}
            [ssh]
            ecdsa_host_key = true
            listen = "127.0.0.1:0"
            [vfs]
            memory_budget = "256MiB"
            "#,
            ttl = Self::ACCOUNTS_TTL.as_secs(),
            sts = self.moto.as_ref().map_or("http://127.0.0.1:9", Moto::url),
            drain = Self::DRAIN_DEADLINE.as_secs(),
            bucket = Self::BUCKET,
        )
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("node.toml")
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How other tools reach the S3 server.
    pub fn s3(&self) -> S3Access {
        let of_moto = || self.moto.as_ref().map(Moto::s3).expect("moto or dev-store has one");
        self.store.as_ref().map_or_else(of_moto, DevStore::s3)
    }

    /// The services on `tidegate dev-store`.
    ///
    /// # Panics
    /// If this cluster is on moto alone.
    pub fn store(&self) -> &DevStore {
        self.store.as_ref().expect("the cluster is on a dev-store")
    }

    /// The proxy between nodes and S3.
    ///
    /// # Panics
    /// If this is no cluster of [`Cluster::behind_proxy`].
    pub fn proxy(&self) -> &FaultProxy {
        self.proxy.as_ref().expect("the cluster lies behind a proxy")
    }

    /// The proxy between nodes and DynamoDB, all of whose requests are [`crate::Kind::Other`].
    ///
    /// # Panics
    /// If this is no cluster of [`Cluster::behind_proxy`].
    pub fn dynamodb_proxy(&self) -> &FaultProxy {
        self.dynamodb_proxy.as_ref().expect("the cluster lies behind a proxy")
    }

    /// The moto server of a cluster that has one.
    ///
    /// # Panics
    /// If it has none.
    pub fn moto(&mut self) -> &mut Moto {
        self.moto.as_mut().expect("the cluster uses moto")
    }

    /// Runs `tidegate ARGUMENTS… --config FILE`.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments).arg("--config").arg(self.config_file());
        run(&mut command, "", Duration::from_secs(60))
    }

    /// Adds a tenant, whose files lie below `tenants/NAME/` in the bucket.
    ///
    /// # Panics
    /// If the command line refuses.
    pub fn add_tenant(&self, name: &str) {
        let prefix = format!("tenants/{name}/");
        self.cli(&["tenant", "add", name, "--bucket", Self::BUCKET, "--prefix", &prefix]).ok();
    }

    /// Adds a user of the tenant `acme` with a new Ed25519 key, and gives the file of its private
    /// half.
    ///
    /// # Panics
    /// If the command line refuses.
    pub fn add_user(&self, name: &str) -> PathBuf {
        self.add_user_of("acme", name)
    }

    /// The same for another tenant.
    ///
    /// # Panics
    /// If the command line refuses.
    pub fn add_user_of(&self, tenant: &str, name: &str) -> PathBuf {
        let key = self.folder.path().join(format!("{name}.key"));
        keygen(&key, &["-t", "ed25519"]);
        let public = key.with_extension("key.pub");
        self.cli(&["user", "add", name, "--tenant", tenant, "--key", &public.display().to_string()]).ok();
        key
    }

    /// Adds a key for a user that clients of 2016 read, which take part in no newer key exchange than
    /// `ssh.nist_key_exchange` allows, and gives the file of its private half.
    ///
    /// # Panics
    /// If the command line refuses.
    pub fn add_old_key(&self, user: &str) -> PathBuf {
        let key = self.folder.path().join(format!("{user}.old.key"));
        keygen(&key, &["-t", "ecdsa", "-m", "PEM"]);
        let public = key.with_extension("key.pub").display().to_string();
        self.cli(&["user", "key", "add", user, "--key", &public]).ok();
        key
    }

    /// Starts a node and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_node(&self, name: &str) -> Node {
        self.start_node_with(name, &[])
    }

    /// The same with variables in its environment.
    ///
    /// # Panics
    /// If it does not serve.
    pub fn start_node_with(&self, name: &str, variables: &[(&str, &str)]) -> Node {
        let mut command = self.command();
        command.envs(variables.iter().copied());
        command.arg("serve").arg("--config").arg(self.config_file());
        Node::serve(name, self.folder.path(), command)
    }

    /// Starts a node whose clock is ahead by so many seconds (or behind), by libfaketime. Time goes on as
    /// fast as it does, and what measures time alone is untouched.
    ///
    /// # Panics
    /// If it does not serve.
    pub fn start_node_with_clock(&self, name: &str, ahead: i64, variables: &[(&str, &str)]) -> Node {
        let (library, offset) = (libfaketime().display().to_string(), format!("{ahead:+}s"));
        let clock = [
            ("LD_PRELOAD", &*library),
            ("FAKETIME", &*offset),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            // The older name of the same setting.
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        self.start_node_with(name, &[&clock[..], variables].concat())
    }

    /// How `user` logs in to `node` with the key that [`Cluster::add_user`] made.
    pub fn login(&self, node: &Node, user: &str) -> Login {
        self.login_at(node.ready().sftp, user)
    }

    /// The same at an address of its own: a balancer's, or one node's behind it.
    pub fn login_at(&self, address: SocketAddr, user: &str) -> Login {
        Login { address, user: user.to_owned(), identity_file: self.folder.path().join(format!("{user}.key")) }
    }

    /// `tidegate` with credentials for the services, from the environment as on a real node.
    pub fn command(&self) -> Command {
        let mut command = tidegate(self.folder.path());
        let s3 = self.s3();
        command.envs(CREDENTIALS);
        command.env("AWS_ACCESS_KEY_ID", s3.access_key).env("AWS_SECRET_ACCESS_KEY", s3.secret_key);
        command
    }
}
