//! The ready file: where everything is, for scripts.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use tidegate_embedded::Embedded;

use super::files::DataFiles;
use super::{BUCKET, TABLE, demo};

/// What `dev-store --ready-file` writes.
#[derive(Debug, Serialize)]
pub(super) struct StoreReady {
    /// URL of the S3 store.
    pub(super) s3: String,
    /// URL of the DynamoDB store.
    pub(super) dynamodb: String,
    access_key: String,
    secret_key: String,
    bucket: &'static str,
    table: &'static str,
    pid: u32,
}

/// What `dev --ready-file` writes.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    sftp: String,
    admin: String,
    #[serde(flatten)]
    stores: StoreReady,
    user: &'static str,
    identity_file: PathBuf,
}

impl StoreReady {
    pub(super) fn new(embedded: &Embedded) -> Self {
        Self {
            s3: embedded.s3_url(),
            dynamodb: embedded.dynamodb_url(),
            access_key: embedded.access_key().to_owned(),
            secret_key: embedded.secret_key().to_owned(),
            bucket: BUCKET,
            table: TABLE,
            pid: std::process::id(),
        }
    }
}

impl Ready {
    pub(super) fn new(
        sftp: SocketAddr,
        admin: SocketAddr,
        stores: StoreReady,
        files: &DataFiles<'_>,
    ) -> io::Result<Self> {
        Ok(Self {
            sftp: sftp.to_string(),
            admin: format!("http://{admin}"),
            stores,
            user: demo::USER,
            identity_file: files.identity_file()?,
        })
    }
}
