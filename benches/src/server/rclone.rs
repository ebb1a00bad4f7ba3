//! `rclone serve sftp`, configured by its environment alone.

use std::path::Path;

use super::{Started, free_port, greeted};
use crate::error::BenchError;
use crate::process::{Process, command};
use crate::testbed::{PREFIX, Testbed};

pub(super) async fn start(testbed: &Testbed, folder: &Path, cache_mode: &str) -> Result<Started, BenchError> {
    let port = free_port().await?;
    let mut command = command("rclone", folder);
    let remote = [
        ("TYPE", "s3"),
        ("PROVIDER", "Other"),
        ("ENDPOINT", &testbed.s3_url()),
        ("ACCESS_KEY_ID", &testbed.ready.access_key),
        ("SECRET_ACCESS_KEY", &testbed.ready.secret_key),
        ("REGION", "us-east-1"),
        ("FORCE_PATH_STYLE", "true"),
        // The bucket is there: spares rclone the request that would make it.
        ("NO_CHECK_BUCKET", "true"),
    ];
    command
        .envs(remote.map(|(name, value)| (format!("RCLONE_CONFIG_S3_{name}"), value)))
        .env("RCLONE_CONFIG", "/dev/null")
        .arg("serve")
        .arg("sftp")
        .arg(format!("s3:{}/{PREFIX}", testbed.ready.bucket))
        .args(["--addr", &format!("127.0.0.1:{port}"), "--vfs-cache-mode", cache_mode])
        .arg("--cache-dir")
        .arg(folder.join("cache"))
        .arg("--key")
        .arg(testbed.host_key())
        .arg("--authorized-keys")
        .arg(testbed.client_key().with_extension("pub"));
    let mut process = Process::start("rclone", folder, command)?;
    greeted(&mut process, port).await?;
    Ok(Started { port, user: "bench".to_owned(), processes: vec![process], mount: None })
}
