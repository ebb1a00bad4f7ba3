//! A moto server of this test's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tidegate_aws::{Config, Endpoints};
use tidegate_store::conformance::Deviation;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long the server may take until it listens: Python imports all of moto first.
const START_MAX: Duration = Duration::from_secs(120);

/// What moto does not do as S3 does.
pub(crate) const DEVIATIONS: &[Deviation] = &[
    Deviation::ChecksumNotKept,
    Deviation::CompletionChecksumIgnored,
    Deviation::CompletionIfMatchIgnored,
    Deviation::ContinuationUnchecked,
    Deviation::CopyConditionIgnored,
    Deviation::CopyPartRangeUnchecked,
    Deviation::CopyPartSourceIfMatchIgnored,
    Deviation::CopySourceIfMatchIgnored,
    Deviation::GoneUploadUnnamed,
    Deviation::PartChecksumIgnored,
    Deviation::PartMarkerIsIndex,
    Deviation::PutChecksumIgnored,
    Deviation::PutIfMatchRaces,
    Deviation::UploadMarkersIgnored,
];

/// A running server, ended on drop.
pub(crate) struct Moto {
    address: SocketAddr,
    _process: Child,
}

impl Moto {
    /// Starts a server on a free port and waits until it listens.
    pub(crate) async fn start() -> Self {
        Self::start_with("enforced").await
    }

    /// The same without a thought for the session policies of roles.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) async fn start_plain() -> Self {
        Self::start_with("ignored").await
    }

    async fn start_with(session_policies: &str) -> Self {
        let python = virtual_environment().join("bin/python");
        assert!(python.exists(), "{} is missing: run tests/setup, which makes it", python.display());
        let mut process = Command::new(&python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/moto_server.py"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("SESSION_POLICIES", session_policies)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", python.display()));
        let mut lines = BufReader::new(process.stderr.take().expect("stderr is a pipe")).lines();
        let listens = async {
            let mut said = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                // " * Running on http://127.0.0.1:12345"
                if let Some((_, address)) = line.split_once("Running on http://") {
                    return address.parse().expect("moto prints its address");
                }
                said.push_str(&line);
                said.push('\n');
            }
            panic!("moto ended before it listened (if it is not installed, run tests/setup):\n{said}");
        };
        let address = tokio::time::timeout(START_MAX, listens).await.expect("moto listens within two minutes");
        // It logs every request; a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { address, _process: process }
    }

    /// The settings by which it is reached.
    pub(crate) fn config(&self) -> Config {
        let url = Some(format!("http://{}", self.address));
        Config {
            region: Some("us-east-1".to_owned()),
            endpoints: Endpoints { s3: url.clone(), dynamodb: url.clone(), kms: url.clone(), sts: url },
            path_style: true,
            access_key_id: Some("testing".to_owned()),
            secret_access_key: Some("testing".into()),
            ..Config::default()
        }
    }

    /// Makes a KMS key and gives its id.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) async fn create_kms_key(&self) -> String {
        let head = "POST / HTTP/1.0\r\nX-Amz-Target: TrentService.CreateKey\r\n\
                    Content-Type: application/x-amz-json-1.1\r\n\
                    Authorization: AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/kms/aws4_request\r\n\
                    Content-Length: 2\r\n\r\n{}";
        let answer = request(self.address, head).await.expect("moto answers CreateKey");
        let id = answer.split("\"KeyId\": \"").nth(1).and_then(|rest| rest.split('"').next());
        id.unwrap_or_else(|| panic!("the answer to CreateKey names no key: {answer}")).to_owned()
    }
}

/// `TIDEGATE_TEST_VENV`, or where tests/setup puts it.
fn virtual_environment() -> PathBuf {
    std::env::var_os("TIDEGATE_TEST_VENV")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-venv"), PathBuf::from)
}

/// The answer to one HTTP request, if there is a successful one.
async fn request(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.lines().next()?.contains(" 200 ").then_some(answer)
}
