//! `tidegate dev` and `tidegate serve` as processes: started, asked, administered, started again
//! and ended by a signal.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// RSA keys take their time in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_remove("TIDEGATE_CONFIG").env_remove("TIDEGATE_LOG").kill_on_drop(true);
    command
}

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The first line of standard output that `wanted` accepts.
    async fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let search = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it ended before the line came");
                if wanted(&line) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, search).await.expect("the line did not come in time")
    }

    /// Sends SIGTERM, and reads to the end so that the process never waits for us.
    async fn end(mut self) -> ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let rest = async {
            while self.lines.next_line().await.unwrap().is_some() {}
            self.child.wait().await.unwrap()
        };
        timeout(PATIENCE, rest).await.expect("it did not end in time")
    }
}

async fn dev(data: &Path) -> (Running, Value) {
    let ready = data.with_extension("ready");
    let mut command = tidegate();
    command.arg("dev").arg("--data").arg(data).args(["--sftp-port", "0", "--admin-port", "0"]);
    let mut running = Running::start(command.arg("--ready-file").arg(&ready));
    let sftp = running.line(|line| line.starts_with("sftp=")).await;
    let admin = running.line(|line| line.starts_with("admin=")).await;
    assert_eq!(fs::metadata(&ready).unwrap().permissions().mode() & 0o777, 0o600);
    let ready: Value = serde_json::from_slice(&fs::read(&ready).unwrap()).unwrap();
    assert_eq!(sftp, format!("sftp={}", ready["sftp"].as_str().unwrap()));
    assert_eq!(admin, format!("admin={}", ready["admin"].as_str().unwrap()));
    (running, ready)
}

async fn admin(data: &Path, line: &[&str]) -> Output {
    let config = data.join("dev.toml");
    tidegate().args(line).arg("--config").arg(config).args(["--output", "json"]).output().await.unwrap()
}

async fn admin_json(data: &Path, line: &[&str]) -> Value {
    let output = admin(data, line).await;
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn fetch(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn ssh_banner(address: &str) -> String {
    let mut lines = BufReader::new(TcpStream::connect(address).await.unwrap()).lines();
    timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn dev_serves_and_finds_everything_as_it_was_when_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (node, ready) = dev(&data).await;

    let mut fields: Vec<_> = ready.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = [
        "access_key",
        "admin",
        "bucket",
        "dynamodb",
        "identity_file",
        "pid",
        "s3",
        "secret_key",
        "sftp",
        "table",
        "user",
    ];
    assert_eq!(fields, expected);
    assert_eq!(ready["pid"], node.child.id().unwrap());
    assert!(ssh_banner(ready["sftp"].as_str().unwrap()).await.starts_with("SSH-2.0-"));
    let side_port = ready["admin"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert!(fetch(side_port, "/readyz").await.starts_with("HTTP/1.1 200 "));
    let metrics = fetch(side_port, "/metrics").await;
    for name in ["tidegate_build_info", "process_resident_memory_bytes", "tidegate_store_requests_total"] {
        assert!(metrics.contains(name), "{name} is missing");
    }

    for secret in ["demo_ed25519", "dev.toml", "root.key"] {
        assert_eq!(fs::metadata(data.join(secret)).unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
    }
    let user = admin_json(&data, &["user", "show", "demo"]).await;
    assert_eq!(user["keys"].as_array().unwrap().len(), 1);
    admin_json(&data, &["user", "add", "alice", "--tenant", "demo"]).await;
    admin_json(&data, &["user", "disable", "demo"]).await;
    let host_keys = admin_json(&data, &["hostkey", "show"]).await;
    let identity = fs::read(data.join("demo_ed25519")).unwrap();
    assert_eq!(node.end().await.code(), Some(0));

    let (node, _) = dev(&data).await;
    assert_eq!(admin_json(&data, &["hostkey", "show"]).await, host_keys);
    assert_eq!(fs::read(data.join("demo_ed25519")).unwrap(), identity);
    assert_eq!(admin_json(&data, &["user", "show", "alice"]).await["name"], "alice");
    let demo = admin_json(&data, &["user", "show", "demo"]).await;
    assert_eq!((&demo["keys"], &demo["status"]), (&user["keys"], &Value::from("disabled")));
    assert_eq!(node.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_node_without_host_keys_does_not_serve_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (stores, _) = dev(&data).await;
    let config = folder.path().join("node.toml");
    let text = fs::read_to_string(data.join("dev.toml")).unwrap();
    let elsewhere = text.replace("key = \"tidegate/host-keys\"", "key = \"elsewhere/host-keys\"");
    assert_ne!(elsewhere, text);
    fs::write(&config, elsewhere).unwrap();

    let refused = tidegate().arg("serve").arg("--config").arg(&config).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("has no host keys") && message.contains("run: tidegate hostkey init"), "{message}");

    let init = async |variable: &str, value: &str| {
        let mut command = tidegate();
        let output = command.args(["hostkey", "init", "--config"]).arg(&config).env(variable, value).output();
        let Output { status, stderr, .. } = output.await.unwrap();
        (status.success(), String::from_utf8(stderr).unwrap())
    };
    let (made, said) = init("TIDEGATE_HOST_KEYS__KEY", "tenants/demo/host-keys").await;
    assert!(!made && said.contains("lies among the files of the tenant \"demo\""), "{said}");
    let (made, said) = init("TIDEGATE_AWS__TABLE", "not-there-yet").await;
    assert!(made && said.contains("WARN") && said.contains("the tenants can't be listed"), "{said}");
    let (made, said) = init("TIDEGATE_LOG", "warn").await;
    assert!(made && said.is_empty(), "{said}");
    let mut command = tidegate();
    let mut node = Running::start(command.arg("serve").arg("--config").arg(&config).env("TIDEGATE_DRAIN__DELAY", "0s"));
    let files: Value = serde_json::from_str(&node.line(|line| line.contains("the limit of open files")).await).unwrap();
    assert_eq!(files["open-files-needed"], 4096 + 1024);
    let line = node.line(|line| line.contains("the node serves")).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert!(ssh_banner(line["sftp"].as_str().unwrap()).await.starts_with("SSH-2.0-"));
    assert!(fetch(line["admin"].as_str().unwrap(), "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(node.end().await.code(), Some(0));
    assert_eq!(stores.end().await.code(), Some(0));
}

#[tokio::test]
async fn dev_store_serves_the_stores_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready.json");
    let mut command = tidegate();
    command.arg("dev-store").arg("--data").arg(folder.path().join("data")).arg("--ready-file").arg(&ready);
    let mut stores = Running::start(&mut command);
    let line = stores.line(|line| line.starts_with("s3=")).await;
    let ready: Value = serde_json::from_slice(&fs::read(&ready).unwrap()).unwrap();
    assert_eq!(line, format!("s3={}", ready["s3"].as_str().unwrap()));
    let mut fields: Vec<_> = ready.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["access_key", "bucket", "dynamodb", "pid", "s3", "secret_key", "table"]);
    assert_eq!(stores.end().await.code(), Some(0));
}

#[tokio::test]
async fn wrong_use_ends_with_2_and_a_failure_with_1() {
    let no_config = tidegate().args(["user", "list"]).output().await.unwrap();
    assert_eq!(no_config.status.code(), Some(2));
    let unknown = tidegate().arg("frob").output().await.unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let missing = tidegate().args(["check-config", "--config", "/nonexistent"]).output().await.unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let help = tidegate().arg("--help").output().await.unwrap();
    assert_eq!(help.status.code(), Some(0));
}
