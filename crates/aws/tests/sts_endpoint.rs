//! Tenants' credentials that end within seconds, by an STS of the test's own on loopback. It stands
//! on one port with an S3 that lets nobody in whose credentials have ended.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use prometheus::Registry;
use tidegate_aws::{Aws, Config, Endpoints};
use tidegate_store::{Metrics, ObjectKey, ObjectStore, Status, StoreErrorKind, StoreResult, Tenant, TenantLimits};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long credentials hold.
const LIFE: Duration = Duration::from_secs(3);
/// Longer than any of the tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Services {
    connections: AtomicU64,
    assumed: AtomicU64,
    down: AtomicBool,
}

impl Services {
    async fn start() -> (Arc<Self>, Aws) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Some(format!("http://{}", listener.local_addr().unwrap()));
        let services = Arc::new(Self::default());
        let serving = Arc::clone(&services);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        let mut config = Config {
            region: Some("us-east-1".to_owned()),
            endpoints: Endpoints { s3: url.clone(), sts: url, ..Endpoints::default() },
            path_style: true,
            access_key_id: Some("testing".to_owned()),
            secret_access_key: Some("testing".into()),
            max_attempts: 1,
            ..Config::default()
        };
        config.tenant_role.arn = Some("arn:aws:iam::123456789012:role/tidegate-tenant".to_owned());
        (services, Aws::connect(&config).await.unwrap())
    }

    /// Answers requests until the client goes.
    async fn serve(self: Arc<Self>, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut len, mut token, mut line) = (0, None, String::new());
            while stream.read_line(&mut line).await.ok()? > 2 {
                let header = line.trim_end().split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value));
                match header {
                    Some((name, value)) if name == "content-length" => len = value.parse().ok()?,
                    Some((name, value)) if name == "x-amz-security-token" => token = Some(value.to_owned()),
                    _ => {}
                }
                line.clear();
            }
            let mut body = vec![0; len];
            stream.read_exact(&mut body).await.ok()?;
            let answer = match token {
                Some(token) => Self::s3(&token),
                None => self.sts(),
            };
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    fn sts(&self) -> String {
        let (status, body) = if self.down.load(Ordering::SeqCst) {
            (
                "503 Service Unavailable",
                "<ErrorResponse><Error><Code>ServiceUnavailable</Code></Error></ErrorResponse>".into(),
            )
        } else {
            self.assumed.fetch_add(1, Ordering::SeqCst);
            let end = SystemTime::now() + LIFE;
            let millis = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
            let shown =
                aws_smithy_types::DateTime::from(end).fmt(aws_smithy_types::date_time::Format::DateTime).unwrap();
            // The token is the end itself.
            (
                "200 OK",
                format!(
                    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
                 <AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>{millis}\
                 </SessionToken><Expiration>{shown}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
                ),
            )
        };
        format!("HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// The answer to a HEAD.
    fn s3(token: &str) -> String {
        let end = SystemTime::UNIX_EPOCH + Duration::from_millis(token.parse().unwrap());
        if end < SystemTime::now() {
            return "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned();
        }
        "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 1\r\nLast-Modified: Sun, 22 Nov 2026 11:00:00 GMT\r\n\r\n"
            .to_owned()
    }
}

async fn open(aws: &Aws, name: &str) -> Arc<dyn ObjectStore> {
    let tenant = Tenant {
        name: name.parse().unwrap(),
        status: Status::Active,
        bucket: "files".to_owned(),
        prefix: format!("{name}/").parse().unwrap(),
        limits: TenantLimits::default(),
        created: 0,
    };
    let stores = aws.tenant_object_stores(Metrics::register(&Registry::new()).unwrap()).unwrap();
    stores.open(&tenant).await.unwrap()
}

async fn head(store: &Arc<dyn ObjectStore>) -> StoreResult<()> {
    store.head(&ObjectKey::new("f").unwrap()).await.map(drop)
}

#[tokio::test]
async fn credentials_are_renewed_before_they_end_over_the_one_pool_of_connections() {
    let (services, aws) = Services::start().await;
    let stores = [open(&aws, "acme").await, open(&aws, "globex").await];
    let begun = Instant::now();
    while services.assumed.load(Ordering::SeqCst) < 6 {
        for store in &stores {
            head(store).await.expect("no request carries credentials that have ended");
        }
        assert!(begun.elapsed() < PATIENCE, "STS was asked {} times", services.assumed.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One for the requests, and one for each renewal that may run beside them.
    let connections = services.connections.load(Ordering::SeqCst);
    assert!(connections <= 3, "{connections} connections");
}

#[tokio::test]
async fn sessions_outlive_an_sts_that_is_away_for_less_than_their_credentials_hold() {
    let (services, aws) = Services::start().await;
    let store = open(&aws, "acme").await;
    services.down.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let error = loop {
        match head(&store).await {
            Ok(()) => assert!(begun.elapsed() < PATIENCE, "they never end"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // A tenth of their life is kept back.
    assert!(begun.elapsed() > LIFE / 2, "they were not used up: {:?}", begun.elapsed());
    assert_eq!(error.kind(), StoreErrorKind::Throttled, "{}", error.report());
    assert!(error.report().contains("assume role failed"), "{}", error.report());

    services.down.store(false, Ordering::SeqCst);
    while let Err(error) = head(&store).await {
        assert!(begun.elapsed() < PATIENCE, "{}", error.report());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
