//! Files that appear whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// For files with secrets: their owner alone may read them.
pub(crate) const PRIVATE: u32 = 0o600;
/// For files that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Puts `bytes` at `path`, replacing what is there.
///
/// # Errors
/// What the system says; the message names the file.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other(format!("{} is no file name", path.display())))?;
    let draft = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        // A draft that a killed process of the same id left behind would keep its mode.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(bytes)?;
        fs::rename(&draft, path)
    })();
    written.map_err(|error| {
        // The draft is worth nothing, and the first error is the one to tell.
        let _ = fs::remove_file(&draft);
        io::Error::new(error.kind(), format!("{} can't be written: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        fs::write(&path, "a longer text than the new one").unwrap();
        write(&path, b"new", PRIVATE).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_file() {
        let error = write(Path::new("/nonexistent/ready.json"), b"", PRIVATE).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/ready.json"), "{error}");
    }
}
