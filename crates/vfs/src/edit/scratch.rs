//! The node's scratch space: where the bytes of files that are changed in place wait for their CLOSE.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prometheus::IntGauge;

use crate::error::{FsError, FsErrorKind};

/// Scratch space of one folder, for all sessions of a node. Clones are the same space.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    limit: u64,
    used: AtomicU64,
    gauge: IntGauge,
}

impl Scratch {
    /// Files in `folder` that together take `limit` bytes at most; what is taken shows in `gauge`.
    pub(crate) fn new(folder: PathBuf, limit: u64, gauge: IntGauge) -> Self {
        Self { inner: Arc::new(Inner { folder, limit, used: AtomicU64::new(0), gauge }) }
    }

    /// A file that takes nothing before its first byte.
    pub(crate) fn file(&self) -> ScratchFile {
        ScratchFile { space: self.clone(), charged: AtomicU64::new(0), file: OnceLock::new() }
    }
}

impl Inner {
    fn show(&self) {
        self.gauge.set(i64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
    }
}

/// One file in scratch space. It has no name: whatever happens to the process, its bytes are gone with
/// it. Its methods that do I/O block.
#[derive(Debug)]
pub(crate) struct ScratchFile {
    space: Scratch,
    /// What it counts for, in bytes.
    charged: AtomicU64,
    file: OnceLock<File>,
}

impl ScratchFile {
    /// Another file in the same space.
    pub(crate) fn another(&self) -> Self {
        self.space.file()
    }

    /// Makes the file count for at least `bytes`, before they are there. The caller is the only one that
    /// changes what it counts for.
    ///
    /// # Errors
    /// `NoSpace` if the node's limit does not leave so much.
    pub(crate) fn charge(&self, bytes: u64) -> Result<(), FsError> {
        let charged = self.charged.load(Ordering::Relaxed);
        let Some(more) = bytes.checked_sub(charged).filter(|more| *more > 0) else { return Ok(()) };
        let inner = &self.space.inner;
        let fits = |used: u64| used.checked_add(more).filter(|used| *used <= inner.limit);
        inner.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| full())?;
        self.charged.store(bytes, Ordering::Relaxed);
        inner.show();
        Ok(())
    }

    /// Makes it count for `bytes`, less than before.
    pub(crate) fn release(&self, bytes: u64) {
        let charged = self.charged.load(Ordering::Relaxed);
        let less = charged.saturating_sub(bytes);
        self.charged.store(charged - less, Ordering::Relaxed);
        self.space.inner.used.fetch_sub(less, Ordering::Relaxed);
        self.space.inner.show();
    }

    /// Cuts the file if it is longer than that, then lays bytes at their offsets.
    ///
    /// # Errors
    /// `NoSpace` if the disk is full; `Unavailable` if it fails.
    pub(crate) fn store(&self, cut: Option<u64>, writes: &[(u64, Bytes)]) -> Result<(), FsError> {
        let stored = self.open().and_then(|file| {
            if let Some(cut) = cut
                && file.metadata()?.len() > cut
            {
                file.set_len(cut)?;
            }
            writes.iter().try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset))
        });
        stored.map_err(|error| failed(&error))
    }

    /// `len` bytes that were stored.
    ///
    /// # Errors
    /// `Unavailable` if the disk fails.
    pub(crate) fn load(&self, offset: u64, len: usize) -> Result<Bytes, FsError> {
        let mut bytes = vec![0; len];
        self.open().and_then(|file| file.read_exact_at(&mut bytes, offset)).map_err(|error| failed(&error))?;
        Ok(bytes.into())
    }

    fn open(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        // Made without a name, or unlinked at once.
        let file = tempfile::tempfile_in(&self.space.inner.folder)?;
        Ok(self.file.get_or_init(|| file))
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        self.release(0);
    }
}

fn full() -> FsError {
    FsError::new(
        FsErrorKind::NoSpace,
        "the server's scratch space is in use; try again in a while, or upload the file as a whole",
    )
}

fn failed(error: &io::Error) -> FsError {
    tracing::error!(%error, "the scratch space fails");
    match error.kind() {
        io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => full(),
        _ => FsError::new(
            FsErrorKind::Unavailable,
            "the server can't use its scratch space; upload the file as a whole, or tell the server's operator",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(limit: u64) -> (Scratch, IntGauge, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let gauge = IntGauge::new("used", "used").unwrap();
        (Scratch::new(folder.path().to_owned(), limit, gauge.clone()), gauge, folder)
    }

    #[test]
    fn its_files_have_no_names_and_keep_their_bytes() {
        let (scratch, _, folder) = scratch(1 << 20);
        let file = scratch.file();
        file.store(None, &[(1 << 40, Bytes::from_static(b"far")), (3, Bytes::from_static(b"near"))]).unwrap();
        assert_eq!(file.load(1 << 40, 3).unwrap(), "far");
        assert_eq!(file.load(3, 4).unwrap(), "near");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        file.store(Some(5), &[]).unwrap();
        assert!(file.load(1 << 40, 3).is_err());
    }

    #[test]
    fn what_files_count_for_stays_within_the_limit() {
        let (scratch, gauge, _folder) = scratch(100);
        let (one, two) = (scratch.file(), scratch.file());
        one.charge(60).unwrap();
        one.charge(50).unwrap();
        two.charge(40).unwrap();
        assert_eq!(two.charge(41).unwrap_err().kind(), FsErrorKind::NoSpace);
        assert_eq!(gauge.get(), 100);
        one.release(10);
        two.charge(41).unwrap();
        drop(one);
        assert_eq!(gauge.get(), 41);
        drop(two);
        assert_eq!(gauge.get(), 0);
    }
}
