//! Small secret files: readable by their owner alone, made once, as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::random;

/// No file of ours is larger, in bytes.
const SIZE_MAX: u64 = 64 << 10;

/// Reads the file, which `make` fills if it is not there. Of several processes that make it at
/// once, all read what one of them made.
///
/// # Errors
/// Those of the file system; `PermissionDenied` if others than the owner may read it.
pub(crate) fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> io::Result<Zeroizing<Vec<u8>>>,
) -> io::Result<Zeroizing<Vec<u8>>> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let unfinished = unfinished(path)?;
    let contents = make()?;
    let made = write(&unfinished, &contents).and_then(|()| match fs::hard_link(&unfinished, path) {
        // Another process was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    fs::remove_file(&unfinished)?;
    made?;
    read(path)
}

/// A name beside `path` that nobody else uses.
fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let random = u64::from_be_bytes(random::bytes::<8>().map_err(io::Error::other)?);
    Ok(path.with_extension(format!("{random:016x}.new")))
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!("others may read it (mode {:03o}): chmod 600 it", mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let mut contents = Zeroizing::new(Vec::new());
    file.take(SIZE_MAX).read_to_end(&mut contents)?;
    Ok(contents)
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}
