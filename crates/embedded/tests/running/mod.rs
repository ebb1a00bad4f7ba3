//! The embedded servers in a temporary folder, and the node's own clients to them.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tidegate_aws::{Aws, Config as AwsConfig, Endpoints};
use tidegate_embedded::{Config, Embedded};
use tidegate_store::ObjectStore;

pub(crate) struct Running {
    pub(crate) servers: Embedded,
    pub(crate) folder: TempDir,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap()).await
    }

    pub(crate) async fn start_in(folder: TempDir) -> Self {
        let servers = Embedded::start(config(folder.path())).await.unwrap();
        Self { servers, folder }
    }

    pub(crate) async fn restart(self) -> Self {
        let folder = self.stop().await;
        Self::start_in(folder).await
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.servers.shutdown().await;
        self.folder
    }

    pub(crate) async fn aws(&self) -> Aws {
        self.aws_with_secret(self.servers.secret_key()).await
    }

    pub(crate) async fn aws_with_secret(&self, secret: &str) -> Aws {
        let endpoints = Endpoints {
            s3: Some(self.servers.s3_url()),
            dynamodb: Some(self.servers.dynamodb_url()),
            ..Endpoints::default()
        };
        let config = AwsConfig {
            region: Some(self.servers.region().to_owned()),
            endpoints,
            path_style: true,
            access_key_id: Some(self.servers.access_key().to_owned()),
            secret_access_key: Some(secret.into()),
            ..AwsConfig::default()
        };
        Aws::connect(&config).await.unwrap()
    }

    /// A bucket, created.
    pub(crate) async fn bucket(&self, name: &str) -> Arc<dyn ObjectStore> {
        let aws = self.aws().await;
        aws.create_bucket(name).await.unwrap();
        aws.bucket(name)
    }

    /// The sizes of the body files, ascending.
    pub(crate) fn bodies(&self) -> Vec<u64> {
        bodies_in(self.folder.path())
    }
}

pub(crate) fn config(folder: &Path) -> Config {
    Config { data_dir: folder.join("data"), s3_port: 0, dynamodb_port: 0 }
}

/// The sizes of the body files, ascending.
pub(crate) fn bodies_in(folder: &Path) -> Vec<u64> {
    let shards = std::fs::read_dir(folder.join("data/s3/bodies")).unwrap();
    let bodies = shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    let mut sizes: Vec<_> = bodies.map(|body| body.unwrap().metadata().unwrap().len()).collect();
    sizes.sort_unstable();
    sizes
}
