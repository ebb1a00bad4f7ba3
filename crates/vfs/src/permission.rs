//! What a user may do: every request of [`crate::Mount`] asks here, and nowhere else.

use std::sync::Arc;

use tidegate_store::{DirectoryPath, Permission, PermissionRules, Permissions};

use crate::error::{FsError, FsErrorKind};
use crate::path::VirtualPath;

/// A user's permissions. The longest rule decides that is for the directory in question; without
/// one, what holds for all.
///
/// As in POSIX, that a name is made, replaced, renamed or removed is a matter of the directory that
/// holds it; that a directory is listed, of that directory itself.
///
/// | request | permission |
/// |---|---|
/// | STAT, LSTAT, READLINK | list, read or write: whoever may upload may see whether it arrived. For a directory, what is allowed in it counts too |
/// | OPENDIR | list, in the directory itself |
/// | OPEN for reading | read |
/// | OPEN for writing, also to make or empty a file for reading it | write for a new file, overwrite for an existing one |
/// | MKDIR | mkdir |
/// | REMOVE, RMDIR | delete |
/// | RENAME | rename, at both ends; overwrite too where it replaces a file |
/// | SETSTAT, FSETSTAT | set-attributes; overwrite for a size. Through a handle whose OPEN made or replaced the file, what that asked for is enough |
/// | SYMLINK | symlink |
///
/// Where a request follows a symbolic link, it is asked for anew at what the link leads to.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    everywhere: Permissions,
    /// The longest path first.
    rules: Arc<[(DirectoryPath, Permissions)]>,
}

/// What a user may do in one directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed<'a>(&'a Permissions);

impl Rights {
    pub(crate) fn new(everywhere: Permissions, rules: &PermissionRules) -> Self {
        let mut rules: Vec<_> =
            rules.as_slice().iter().map(|rule| (rule.path.clone(), rule.permissions.clone())).collect();
        rules.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_str().len()));
        Self { everywhere, rules: rules.into() }
    }

    /// What may be done to a name: with the rights in the directory that holds it.
    pub(crate) fn of(&self, path: &VirtualPath) -> Allowed<'_> {
        // The root has no name in any directory.
        self.inside(&path.parent().unwrap_or_else(VirtualPath::root))
    }

    /// What may be done in a directory.
    pub(crate) fn inside(&self, directory: &VirtualPath) -> Allowed<'_> {
        let rule = self.rules.iter().find(|(path, _)| lies_in(path, directory));
        Allowed(rule.map_or(&self.everywhere, |(_, permissions)| permissions))
    }

    /// Whether the user has the permission in any directory.
    pub(crate) fn has_anywhere(&self, permission: Permission) -> bool {
        self.everywhere.contains(&permission)
            || self.rules.iter().any(|(_, permissions)| permissions.contains(&permission))
    }

    /// Fails if other permissions hold in a directory, or in one below it, than where it lies: under
    /// another name it would come to have others.
    pub(crate) fn require_uniform(&self, path: &VirtualPath) -> Result<(), FsError> {
        let has_rule = |rule: &DirectoryPath| {
            rule.as_str().strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if self.rules.iter().any(|(rule, _)| has_rule(rule)) {
            let message = "this path has permissions of its own for this account, and can't be renamed";
            return Err(FsError::new(FsErrorKind::PermissionDenied, message));
        }
        Ok(())
    }
}

fn lies_in(rule: &DirectoryPath, directory: &VirtualPath) -> bool {
    directory.as_str().strip_prefix(rule.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Allowed<'_> {
    pub(crate) fn has(self, permission: Permission) -> bool {
        self.0.contains(&permission)
    }

    /// Whether the user has one of the permissions.
    pub(crate) fn has_any(self, permissions: &[Permission]) -> bool {
        permissions.iter().any(|permission| self.has(*permission))
    }

    /// Fails unless the user has the permission.
    pub(crate) fn require(self, permission: Permission) -> Result<(), FsError> {
        self.require_any(&[permission])
    }

    /// Fails unless the user has one of the permissions.
    pub(crate) fn require_any(self, permissions: &[Permission]) -> Result<(), FsError> {
        if self.has_any(permissions) {
            return Ok(());
        }
        Err(denied(permissions.first().copied().unwrap_or(Permission::Write)))
    }
}

/// What is said to a user who lacks a permission.
pub(crate) fn denied(permission: Permission) -> FsError {
    let message = match permission {
        Permission::Delete => "this account may not delete here",
        Permission::List => "this account may not list directories here",
        Permission::Mkdir => "this account may not make directories here",
        Permission::Overwrite => "this account may not change or replace files that exist here",
        Permission::Read => "this account may not read files here",
        Permission::Rename => "this account may not rename here",
        Permission::SetAttributes => "this account may not change modes, owners or times here",
        Permission::Symlink => "this account may not make symbolic links here",
        Permission::Write => "this account may not upload files here",
    };
    FsError::new(FsErrorKind::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use tidegate_store::PermissionRule;

    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap()
    }

    fn rights(rules: &[(&str, &[Permission])]) -> Rights {
        let rule = |(path, permissions): &(&str, &[Permission])| PermissionRule {
            path: path.parse().unwrap(),
            permissions: permissions.iter().copied().collect(),
        };
        let rules = PermissionRules::new(rules.iter().map(rule).collect()).unwrap();
        Rights::new(Permissions::from([Permission::List]), &rules)
    }

    #[test]
    fn the_longest_directory_decides_and_names_belong_to_what_holds_them() {
        let rights = rights(&[("/in", &[Permission::Write]), ("/in/done", &[Permission::Read]), ("/none", &[])]);
        for (name, allowed) in [
            ("/", Permission::List),
            ("/f", Permission::List),
            ("/in", Permission::List),
            ("/inbox/f", Permission::List),
            ("/in/f", Permission::Write),
            ("/in/done", Permission::Write),
            ("/in/d/e/f", Permission::Write),
            ("/in/done/f", Permission::Read),
        ] {
            for permission in Permission::ALL {
                assert_eq!(rights.of(&path(name)).has(permission), permission == allowed, "{name}: {permission:?}");
            }
        }
        assert!(rights.inside(&path("/in")).has(Permission::Write));
        assert!(rights.inside(&path("/in/done")).has(Permission::Read));
        assert!(!Permission::ALL.iter().any(|permission| rights.of(&path("/none/f")).has(*permission)));
        assert!(rights.has_anywhere(Permission::Read) && !rights.has_anywhere(Permission::Delete));
    }

    #[test]
    fn what_has_rules_at_or_below_it_keeps_its_name() {
        let rights = rights(&[("/a/b", &[])]);
        for (name, is_uniform) in [("/a", false), ("/a/b", false), ("/a/b/c", true), ("/a/bc", true), ("/ab", true)] {
            assert_eq!(rights.require_uniform(&path(name)).is_ok(), is_uniform, "{name}");
        }
    }
}
