//! Files of a directory that are being uploaded or were cut, for users whose listings show them.

use std::collections::BTreeSet;

use tidegate_store::ListedObject;

use crate::attributes::FileAttributes;
use crate::error::{FsError, FsErrorKind};
use crate::path::VirtualPath;
use crate::vfs::Files;

/// How many of them one listing shows besides the session's own: each is looked at as by STAT.
const UNFINISHED_MAX: usize = 1_000;

impl Files {
    /// The names of such files, where a directory's keys begin with `below`: all that the session has open for writing,
    /// and the first others. Asked for before the listing begins: what is published meanwhile is in one or the other.
    pub(super) async fn unfinished_in(&self, below: &str) -> BTreeSet<String> {
        let mut others = self.vfs.open_everywhere.new_in(&self.bucket, below);
        others.extend(self.uploads.names_in(below, UNFINISHED_MAX).await);
        let mut names = self.open_files.names_in(below);
        names.extend(others.into_iter().take(UNFINISHED_MAX));
        names
    }

    /// What STAT shows of such a file, whatever has become of it; `None` if there is none. `published` is the object
    /// that was listed under its name.
    pub(super) async fn unfinished_attributes(
        &self,
        directory: &VirtualPath,
        name: &str,
        published: Option<&ListedObject>,
    ) -> Result<Option<FileAttributes>, FsError> {
        let path = VirtualPath::resolve(directory, name.as_bytes())?;
        let lookup = self.lookups.acquire().await;
        let found = self.stat(&path).await;
        drop(lookup);
        match found {
            Ok(attributes) => Ok(Some(attributes)),
            Err(error) if error.kind() == FsErrorKind::NotFound => Ok(None),
            // As for any other object under a key that we may not use.
            Err(error) if error.kind() == FsErrorKind::PermissionDenied => {
                Ok(published.map(|object| FileAttributes::listed(object.size, object.last_modified)))
            }
            Err(error) => Err(error),
        }
    }
}
