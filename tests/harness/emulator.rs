//! The services a node needs: moto (S3, DynamoDB, KMS and STS on one port, written by others), and
//! our own `tidegate dev-store`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::binary::{python, repository_root, tidegate};
use crate::client::run;
use crate::process::Process;
use crate::wait::until;

/// How to reach an S3 server, for tools other than the node.
#[derive(Clone, Debug)]
pub struct S3Access {
    /// The endpoint's URL.
    pub url: String,
    /// The access key's id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

/// A moto server with a bucket, a table and a KMS key.
#[derive(Debug)]
pub struct Moto {
    url: String,
    key_id: String,
    process: Process,
    _folder: TempDir,
}

impl Moto {
    /// The bucket that is there.
    pub const BUCKET: &str = "tidegate-test";

    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // moto with repairs, and with the session policies of assumed roles enforced.
        let mut command = python("python");
        command.arg(repository_root().join("crates/aws/tests/server/moto_server.py"));
        command.args(["-H", "127.0.0.1", "-p", "0"]).current_dir(folder.path());
        let mut process = Process::start("moto", folder.path(), &mut command);
        let url = until("moto says where it listens", Duration::from_secs(60), || {
            process.assert_running();
            let log = process.log();
            let line = log.lines().find_map(|line| line.split_once("Running on "))?.1.trim().to_owned();
            Some(line)
        });
        let script = repository_root().join("tests/harness/moto_setup.py");
        let mut command = python("python");
        command.arg(script).args([&url, Self::BUCKET]);
        for (name, value) in CREDENTIALS {
            command.env(name, value);
        }
        let output = run(&mut command, "", Duration::from_secs(60)).ok();
        Self { url, key_id: output.stdout.trim().to_owned(), process, _folder: folder }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The KMS key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its S3.
    pub fn s3(&self) -> S3Access {
        S3Access { url: self.url.clone(), access_key: CREDENTIALS[0].1.into(), secret_key: CREDENTIALS[1].1.into() }
    }
}

/// What moto accepts: anything.
pub(crate) const CREDENTIALS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing"), ("AWS_DEFAULT_REGION", "us-east-1")];

/// A running `tidegate dev-store`.
#[derive(Debug)]
pub struct DevStore {
    process: Process,
    ready: DevStoreReady,
}

#[derive(Debug, Deserialize)]
struct DevStoreReady {
    s3: String,
    dynamodb: String,
    access_key: String,
    secret_key: String,
}

impl DevStore {
    /// Starts one on the folder `data` and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(data: &Path) -> Self {
        let ready = data.with_extension("store-ready");
        let _ = std::fs::remove_file(&ready);
        let mut command = tidegate(data.parent().expect("the folder lies in one of the test's own"));
        command.arg("dev-store").arg("--data").arg(data).args(["--s3-port", "0", "--dynamodb-port", "0"]);
        command.arg("--ready-file").arg(&ready);
        let folder = data.parent().expect("the folder lies in one of the test's own");
        let mut process = Process::start("dev-store", folder, &mut command);
        let ready = until("the dev-store serves", Duration::from_secs(60), || {
            process.assert_running();
            serde_json::from_slice(&std::fs::read(&ready).ok()?).ok()
        });
        Self { process, ready }
    }

    /// Its S3.
    pub fn s3(&self) -> S3Access {
        S3Access {
            url: self.ready.s3.clone(),
            access_key: self.ready.access_key.clone(),
            secret_key: self.ready.secret_key.clone(),
        }
    }

    /// The address of its S3.
    ///
    /// # Panics
    /// If it has named none.
    pub fn s3_address(&self) -> SocketAddr {
        address(&self.ready.s3)
    }

    /// The address of its DynamoDB.
    ///
    /// # Panics
    /// If it has named none.
    pub fn dynamodb_address(&self) -> SocketAddr {
        address(&self.ready.dynamodb)
    }

    /// The URL of its DynamoDB.
    pub fn dynamodb(&self) -> &str {
        &self.ready.dynamodb
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn address(url: &str) -> SocketAddr {
    let address = url.strip_prefix("http://").and_then(|address| address.trim_end_matches('/').parse().ok());
    address.unwrap_or_else(|| panic!("{url} is no address on plain HTTP"))
}
