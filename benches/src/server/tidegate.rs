//! A Tidegate node.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::Started;
use crate::error::{BenchError, during};
use crate::process::{self, Process, command};
use crate::testbed::{PREFIX, START_LIMIT, Testbed};

/// The node's memory budget in bytes. Half of it is for uploads: enough for 50 at once, each of
/// which reserves a part of 8 MiB.
pub(crate) const MEMORY_BUDGET: u64 = 1 << 30;

const USER: &str = "bench";

pub(super) async fn start(testbed: &Testbed, folder: &Path) -> Result<Started, BenchError> {
    let file = folder.join("node.toml");
    std::fs::write(&file, config(testbed)).map_err(during(file.display().to_string()))?;
    let registered = testbed.folder().join("registered");
    if !registered.exists() {
        register(testbed, &file).await?;
        std::fs::write(&registered, "").map_err(during(registered.display().to_string()))?;
    }
    let mut command = command(&testbed.tidegate, folder);
    command.arg("serve").arg("--config").arg(&file);
    let mut process = Process::start("tidegate", folder, command)?;
    let address = process.until("it serves", START_LIMIT, async |log| log.lines().find_map(serving_line)).await?;
    Ok(Started { port: address.port(), user: USER.to_owned(), processes: vec![process], mount: None })
}

/// The defaults of a node, but for where things are and the limits that protect a node from a
/// single client address.
fn config(testbed: &Testbed) -> String {
    let ready = &testbed.ready;
    format!(
        r#"
        cluster = "bench"
        [admin]
        listen = "127.0.0.1:0"
        [aws]
        region = "us-east-1"
        path_style = true
        table = "{table}"
        access_key_id = "{access_key}"
        secret_access_key = "{secret_key}"
        [aws.endpoints]
        s3 = "{s3}"
        dynamodb = "{dynamodb}"
        [drain]
        delay = "0s"
        deadline = "2s"
        [host_keys]
        auto_init = true
        bucket = "{bucket}"
        local_file = "{root_key}"
        seal = "local-file"
        [ssh]
        listen = "127.0.0.1:0"
        max_connections_per_source = 4096
        max_unauthenticated_per_source = 256
        [vfs]
        memory_budget = {MEMORY_BUDGET}
        "#,
        table = ready.table,
        access_key = ready.access_key,
        secret_key = ready.secret_key,
        s3 = testbed.s3_url(),
        dynamodb = ready.dynamodb,
        bucket = ready.bucket,
        root_key = testbed.folder().join("root.key").display(),
    )
}

/// The tenant and its user, once for all nodes.
async fn register(testbed: &Testbed, config: &Path) -> Result<(), BenchError> {
    let public_key = testbed.client_key().with_extension("pub").display().to_string();
    let prefix = format!("{PREFIX}/");
    let tenant = ["tenant", "add", USER, "--bucket", &testbed.ready.bucket, "--prefix", &prefix];
    let user = ["user", "add", USER, "--tenant", USER, "--key", &public_key];
    for arguments in [&tenant[..], &user[..]] {
        let mut command = command(&testbed.tidegate, testbed.folder());
        command.args(arguments).arg("--config").arg(config);
        process::run(command, START_LIMIT).await?;
    }
    Ok(())
}

/// The address in the log line of a node that serves.
fn serving_line(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line.get("message")?.as_str()? == "the node serves").then_some(())?;
    line.get("sftp")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_log() {
        let line = r#"{"level":"INFO","message":"the node serves","sftp":"127.0.0.1:4022","admin":"127.0.0.1:1"}"#;
        assert_eq!(serving_line(line), Some(SocketAddr::from(([127, 0, 0, 1], 4022))));
        assert_eq!(serving_line(r#"{"message":"other","sftp":"127.0.0.1:4022"}"#), None);
        assert_eq!(serving_line("text"), None);
    }
}
