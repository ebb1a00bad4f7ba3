//! An S3 server and a DynamoDB server in-process on loopback, persistent in one folder: what
//! `tidegate dev`, `tidegate dev-store`, tests and benchmarks run on.
//!
//! Both speak the real protocols over HTTP, so that the code in front of them is that of
//! production; rclone, s3fs and the AWS tools work on the S3 server too. They keep everything when
//! the process dies at any moment. They do not wait for the disk on every write, so the last
//! seconds may be lost when the machine does.

mod credentials;
mod data_folder;
mod data_keys;
mod embedded;
mod private_file;
mod random;
mod s3;

pub use self::data_folder::DataFolderError;
pub use self::data_keys::{LocalDataKeys, RootKeyError};
pub use self::embedded::{Config, Embedded, StartError};
