//! The folder that everything lies in: private, and used by one process at a time.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

/// Why a folder can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataFolderError {
    /// Creating or locking it failed.
    #[error("the data folder {path} can't be used")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the data folder {path} is in use by another process; stop that one, or name another folder")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// The folder, locked until this is dropped. All who write into it share it.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
    _in_use: mpsc::Sender<()>,
}

/// Ends when the folder is free again.
#[derive(Debug)]
pub(crate) struct InUse(mpsc::Receiver<()>);

impl InUse {
    pub(crate) async fn ended(&mut self) {
        // Nothing is ever sent.
        while self.0.recv().await.is_some() {}
    }
}

impl DataFolder {
    /// Creates the folder with mode 0700 if it is not there, and locks it.
    pub(crate) fn open(path: &Path) -> Result<(Arc<Self>, InUse), DataFolderError> {
        let io = |source| DataFolderError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {
                let (sender, receiver) = mpsc::channel(1);
                let folder = Self { path: fs::canonicalize(path).map_err(io)?, _lock: lock, _in_use: sender };
                Ok((Arc::new(folder), InUse(receiver)))
            }
            Err(TryLockError::WouldBlock) => Err(DataFolderError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
