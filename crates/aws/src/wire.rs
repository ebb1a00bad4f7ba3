//! For tests: a service whose answers are written down, at the place of the HTTP client. All of
//! the SDK is in use: signing, checksums, retries, and the reading of answers.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use http_body::Body as _;

use crate::config::{Config, Endpoints};
use crate::connect::Aws;

/// One request as it went out.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) uri: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What the service does with a request; `None` breaks the connection.
pub(crate) type Answer = Option<HttpResponse>;

pub(crate) fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    for (name, value) in headers {
        response.headers_mut().insert(*name, (*value).to_owned());
    }
    Some(response)
}

/// An error as S3 writes it.
pub(crate) fn s3_error(status: u16, code: &str) -> Answer {
    answer(status, &[], &format!("<Error><Code>{code}</Code><Message>said so</Message></Error>"))
}

type Script = dyn Fn(usize, &[Sent]) -> Answer + Send + Sync;

/// A service that answers by `script`, which is given the place of the request and all that were
/// sent, the one to answer last.
#[derive(Clone)]
pub(crate) struct Service {
    sent: Arc<Mutex<Vec<Sent>>>,
    script: Arc<Script>,
}

impl Service {
    pub(crate) fn new(script: impl Fn(usize, &[Sent]) -> Answer + Send + Sync + 'static) -> Self {
        Self { sent: Arc::default(), script: Arc::new(script) }
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// Clients of it, with three attempts.
    pub(crate) async fn connect(&self, change: impl FnOnce(&mut Config)) -> Aws {
        let url = Some("http://localhost".to_owned());
        let mut config = Config {
            region: Some("eu-central-1".to_owned()),
            endpoints: Endpoints { s3: url.clone(), dynamodb: url.clone(), kms: url.clone(), sts: url },
            path_style: true,
            access_key_id: Some("testing".to_owned()),
            secret_access_key: Some("testing".into()),
            max_attempts: 3,
            ..Config::default()
        };
        change(&mut config);
        let connector = SharedHttpConnector::new(self.clone());
        let http: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        Aws::connect_by(&config, http).await.unwrap()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl HttpConnector for Service {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let service = self.clone();
        HttpConnectorFuture::new(async move {
            let mut body = std::mem::replace(request.body_mut(), SdkBody::taken());
            let mut bytes = Vec::new();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            let headers = request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let method = request.method().to_owned();
            let mut sent = service.sent.lock().unwrap();
            sent.push(Sent { method, uri: request.uri().to_owned(), headers, body: bytes });
            (service.script)(sent.len() - 1, &sent).ok_or_else(|| ConnectorError::io("connection reset".into()))
        })
    }
}
