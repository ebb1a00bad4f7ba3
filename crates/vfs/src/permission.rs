//! What a user may do: every request of [`crate::Mount`] asks here, and nowhere else.

use tidegate_store::{Permission, Permissions};

use crate::error::{FsError, FsErrorKind};

/// A user's permissions. They hold everywhere in the tenant's files.
///
/// | request | permission |
/// |---|---|
/// | STAT, LSTAT, READLINK | list, read or write: whoever may upload may see whether it arrived |
/// | OPENDIR | list |
/// | OPEN for reading | read |
/// | OPEN for writing | write for a new file, overwrite for an existing one; attributes are part of it |
/// | MKDIR | mkdir |
/// | REMOVE, RMDIR | delete |
/// | RENAME | rename; overwrite too where it replaces a file |
/// | SETSTAT | set-attributes; overwrite for a size |
/// | SYMLINK | write |
///
/// Where a request follows a symbolic link, it is asked for anew at what the link leads to.
#[derive(Clone, Debug)]
pub(crate) struct Rights(Permissions);

impl Rights {
    pub(crate) fn new(permissions: Permissions) -> Self {
        Self(permissions)
    }

    pub(crate) fn has(&self, permission: Permission) -> bool {
        self.0.contains(&permission)
    }

    /// Fails unless the user has the permission.
    pub(crate) fn require(&self, permission: Permission) -> Result<(), FsError> {
        self.require_any(&[permission])
    }

    /// Fails unless the user has one of the permissions.
    pub(crate) fn require_any(&self, permissions: &[Permission]) -> Result<(), FsError> {
        if permissions.iter().any(|permission| self.has(*permission)) {
            return Ok(());
        }
        let message = match permissions.first() {
            Some(Permission::Delete) => "this account may not delete",
            Some(Permission::List) => "this account may not list directories",
            Some(Permission::Mkdir) => "this account may not make directories",
            Some(Permission::Overwrite) => "this account may not change or replace files that exist",
            Some(Permission::Read) => "this account may not read files",
            Some(Permission::Rename) => "this account may not rename",
            Some(Permission::SetAttributes) => "this account may not change modes, owners or times",
            Some(Permission::Write) | None => "this account may not upload files",
        };
        Err(FsError::new(FsErrorKind::PermissionDenied, message))
    }
}
