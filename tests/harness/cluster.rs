//! A cluster: durable services, a configuration that all nodes share, and the command line that
//! administers it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::binary::tidegate;
use crate::client::{Output, run};
use crate::emulator::{CREDENTIALS, DevStore, Moto, S3Access};
use crate::node::{Login, Node};
use crate::openssh::keygen;
use crate::rclone::Rclone;

/// Durable services with one tenant, `acme`, and no user yet. Nodes come and go.
#[derive(Debug)]
pub struct Cluster {
    // Fields drop in this order: the services end before their folder goes.
    moto: Moto,
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
        Self::in_folder(tempfile::tempdir().expect("a temporary folder"), Moto::start(), None)
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
        let cluster = Self::in_folder(folder, Moto::start(), Some(store));
        Rclone::on_s3(&cluster.s3()).run(["mkdir", &format!("s3:{}", Self::BUCKET)]).ok();
        cluster
    }

    fn in_folder(folder: TempDir, moto: Moto, store: Option<DevStore>) -> Self {
        let cluster = Self { moto, store, folder };
        std::fs::write(cluster.config_file(), cluster.config()).expect("the configuration can be written");
        cluster
    }

    /// What an operator does once: table, host keys, the first tenant.
    fn initialise(&self) {
        self.cli(&["init"]).ok();
        self.cli(&["hostkey", "init"]).ok();
        self.cli(&["tenant", "add", "acme", "--bucket", Self::BUCKET, "--prefix", Self::PREFIX]).ok();
    }

    /// The configuration of every node.
    fn config(&self) -> String {
        let s3 = self.s3();
        let dynamodb = self.store.as_ref().map_or(self.moto.url(), DevStore::dynamodb);
        let kms = self.moto.url();
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
            kms_key_id = "{key}"
            [aws.endpoints]
            s3 = "{s3}"
            dynamodb = "{dynamodb}"
            kms = "{kms}"
            sts = "{kms}"
            [drain]
            delay = "1s"
            deadline = "{drain}s"
            [host_keys]
            bucket = "{bucket}"
            [ssh]
            ecdsa_host_key = true
            listen = "127.0.0.1:0"
            [vfs]
            memory_budget = "256MiB"
            "#,
            ttl = Self::ACCOUNTS_TTL.as_secs(),
            key = self.moto.key_id(),
            s3 = s3.url,
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
        self.store.as_ref().map_or_else(|| self.moto.s3(), DevStore::s3)
    }

    /// Runs `tidegate ARGUMENTS… --config FILE`.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments).arg("--config").arg(self.config_file());
        run(&mut command, "", Duration::from_secs(60))
    }

    /// Adds a user of the tenant with a new Ed25519 key, and gives the file of its private half.
    ///
    /// # Panics
    /// If the command line refuses.
    pub fn add_user(&self, name: &str) -> PathBuf {
        let key = self.folder.path().join(format!("{name}.key"));
        keygen(&key, &["-t", "ed25519"]);
        let public = key.with_extension("key.pub");
        self.cli(&["user", "add", name, "--tenant", "acme", "--key", &public.display().to_string()]).ok();
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

    /// How `user` logs in to `node` with the key that [`Cluster::add_user`] made.
    pub fn login(&self, node: &Node, user: &str) -> Login {
        Login {
            address: node.ready().sftp,
            user: user.to_owned(),
            identity_file: self.folder.path().join(format!("{user}.key")),
        }
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
