//! rclone with two remotes: `sftp:` is a node, `s3:` is an object store.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Output, run};
use crate::emulator::S3Access;
use crate::node::Login;

/// rclone, configured by its environment alone.
#[derive(Debug)]
pub struct Rclone {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Rclone {
    /// rclone with the remote `sftp:`, its options left as they are.
    ///
    /// # Panics
    /// If no temporary folder can be made.
    pub fn on_node(login: &Login) -> Self {
        Self::new(&[
            ("SFTP_TYPE", "sftp"),
            ("SFTP_HOST", &login.address.ip().to_string()),
            ("SFTP_PORT", &login.port().to_string()),
            ("SFTP_USER", &login.user),
            ("SFTP_KEY_FILE", &login.identity_file.display().to_string()),
        ])
    }

    /// rclone with the remote `s3:`.
    ///
    /// # Panics
    /// If no temporary folder can be made.
    pub fn on_s3(access: &S3Access) -> Self {
        Self::new(&[
            ("S3_TYPE", "s3"),
            ("S3_PROVIDER", "Other"),
            ("S3_ENDPOINT", &access.url),
            ("S3_ACCESS_KEY_ID", &access.access_key),
            ("S3_SECRET_ACCESS_KEY", &access.secret_key),
            ("S3_REGION", "us-east-1"),
            ("S3_FORCE_PATH_STYLE", "true"),
        ])
    }

    fn new(remote: &[(&str, &str)]) -> Self {
        let variables = remote.iter().map(|(name, value)| (format!("RCLONE_CONFIG_{name}"), (*value).to_owned()));
        Self { home: tempfile::tempdir().expect("a temporary folder"), variables: variables.collect() }
    }

    /// Runs rclone with these arguments.
    pub fn run<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Output {
        run(self.command().args(arguments), "", Duration::from_secs(120))
    }

    /// How many multipart uploads a bucket of `s3:` has that were neither completed nor aborted.
    ///
    /// # Panics
    /// If they can't be listed.
    pub fn unpublished_uploads(&self, bucket: &str) -> usize {
        self.run(["backend", "list-multipart-uploads", &format!("s3:{bucket}")]).ok().stdout.matches("UploadId").count()
    }

    /// The keys of all objects of a bucket of `s3:` that match a pattern of rclone's.
    ///
    /// # Panics
    /// If they can't be listed.
    pub fn objects_like(&self, bucket: &str, pattern: &str) -> Vec<String> {
        let listed = self.run(["lsf", "--recursive", "--files-only", "--include", pattern, &format!("s3:{bucket}")]);
        listed.ok().stdout.lines().map(str::to_owned).collect()
    }

    /// rclone with its remotes, but without what it is to do.
    pub fn command(&self) -> Command {
        let mut command = Command::new("rclone");
        // The certificates of the developer's shell make rclone 1.60 fail on plain HTTP, too.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder())
            .env("RCLONE_CONFIG", "/dev/null")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder())
            .args(["--retries", "1", "--low-level-retries", "3", "--contimeout", "20s", "--timeout", "60s"]);
        command
    }

    /// A folder for the client's files.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }
}
