//! Which of a tenant's directories a user sees, and where: the logical directories of an account.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_store::{KeyPrefix, Mappings};

use crate::error::{FsError, FsErrorKind};
use crate::path::VirtualPath;

/// The directories that are mounted for a user; without mappings one, the tenant's root at `/`.
///
/// A path that has a mount at or below it is fixed: it is a directory whatever the store holds, and
/// can't be changed. What lies in no mount and has none below it does not exist.
#[derive(Clone, Debug)]
pub(crate) struct Mounted {
    /// What the keys of all the tenant's files begin with.
    prefix: KeyPrefix,
    /// The longest entry first.
    mounts: Arc<[MountPoint]>,
}

#[derive(Debug)]
struct MountPoint {
    entry: VirtualPath,
    /// What the keys of all that is below begin with: empty or ending in `/`.
    below: String,
    read_only: bool,
}

/// Where a path lies in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location<'a> {
    /// What the keys of all that its mount holds begin with: empty or ending in `/`.
    pub(crate) below: &'a str,
    /// The rest of the path, without a leading `/`; empty for the mount point itself.
    pub(crate) rest: &'a str,
}

impl Mounted {
    /// # Errors
    /// `InvalidName` if an entry is no path.
    pub(crate) fn new(prefix: &KeyPrefix, mappings: &Mappings) -> Result<Self, FsError> {
        let mut mounts = Vec::with_capacity(mappings.as_slice().len().max(1));
        for mapping in mappings.as_slice() {
            let end = if mapping.target.relative().is_empty() { "" } else { "/" };
            mounts.push(MountPoint {
                entry: VirtualPath::resolve(&VirtualPath::root(), mapping.entry.as_str().as_bytes())?,
                below: [prefix.as_str(), mapping.target.relative(), end].concat(),
                read_only: mapping.read_only,
            });
        }
        if mounts.is_empty() {
            let (entry, below) = (VirtualPath::root(), prefix.as_str().to_owned());
            mounts.push(MountPoint { entry, below, read_only: false });
        }
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.entry.relative().len()));
        Ok(Self { prefix: prefix.clone(), mounts: mounts.into() })
    }

    /// What the keys of all the tenant's files begin with.
    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_str()
    }

    /// Where a path lies; `None` if it lies in no mount.
    pub(crate) fn locate<'a>(&'a self, path: &'a VirtualPath) -> Option<Location<'a>> {
        let mount = self.mount(path)?;
        let rest = path.as_str().strip_prefix(mount.entry.as_str()).unwrap_or_default();
        Some(Location { below: &mount.below, rest: rest.strip_prefix('/').unwrap_or(rest) })
    }

    /// Whether a path is a directory in any case: `/`, a mount point, or one above it.
    pub(crate) fn is_fixed(&self, path: &VirtualPath) -> bool {
        path.is_root() || self.mounts.iter().any(|mount| path.contains(&mount.entry))
    }

    /// The names in a directory that are fixed.
    pub(crate) fn names_in(&self, directory: &VirtualPath) -> BTreeSet<String> {
        let below = self.mounts.iter().filter(|mount| directory.contains(&mount.entry));
        let rests = below.filter_map(|mount| mount.entry.as_str().strip_prefix(directory.as_str()));
        let names = rests.filter_map(|rest| rest.trim_start_matches('/').split('/').next());
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Fails where what a path names may not be changed, removed or renamed.
    pub(crate) fn may_change(&self, path: &VirtualPath) -> Result<(), FsError> {
        if !path.is_root() && self.is_fixed(path) {
            return Err(is_fixed());
        }
        match self.mount(path) {
            Some(mount) if mount.read_only => Err(denied("this directory is read-only for this account")),
            _ => Ok(()),
        }
    }

    /// Fails where no file or directory may be made. What is there already is another matter.
    pub(crate) fn may_create(&self, path: &VirtualPath) -> Result<(), FsError> {
        if self.is_fixed(path) {
            return Ok(());
        }
        match self.mount(path) {
            Some(_) => self.may_change(path),
            None if path.parent().is_some_and(|parent| self.is_fixed(&parent)) => Err(denied(
                "nothing can be made here: this directory only holds others, which are set up by the operator",
            )),
            None => Err(FsError::parent_not_found()),
        }
    }

    fn mount(&self, path: &VirtualPath) -> Option<&MountPoint> {
        self.mounts.iter().find(|mount| mount.entry.contains(path))
    }
}

/// Why a mount point, or what is above one, can't be changed.
pub(crate) fn is_fixed() -> FsError {
    denied("this directory is part of how the account is set up; it can't be changed, renamed or removed")
}

fn denied(message: &'static str) -> FsError {
    FsError::new(FsErrorKind::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use tidegate_store::Mapping;

    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap()
    }

    fn mounted(mappings: &[(&str, &str, bool)]) -> Mounted {
        let mapping = |(entry, target, read_only): &(&str, &str, bool)| Mapping {
            entry: entry.parse().unwrap(),
            target: target.parse().unwrap(),
            read_only: *read_only,
        };
        let mappings = Mappings::new(mappings.iter().map(mapping).collect()).unwrap();
        Mounted::new(&"t/".parse().unwrap(), &mappings).unwrap()
    }

    #[test]
    fn the_longest_entry_decides_where_a_path_lies() {
        let mounted = mounted(&[("/", "/home", false), ("/a/b", "/x/y", true), ("/a/b/c", "/z", false)]);
        let key = |text: &str| {
            let path = path(text);
            let Location { below, rest } = mounted.locate(&path).unwrap();
            [below, rest].concat()
        };
        for (path, expected) in [
            ("/", "t/home/"),
            ("/f", "t/home/f"),
            ("/a", "t/home/a"),
            ("/a/bc", "t/home/a/bc"),
            ("/a/b", "t/x/y/"),
            ("/a/b/f", "t/x/y/f"),
            ("/a/b/c/d/e", "t/z/d/e"),
        ] {
            assert_eq!(key(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_at_or_above_a_mount_is_fixed_and_what_is_in_none_is_nowhere() {
        let mounted = mounted(&[("/a/b", "/x", false), ("/a/c", "/y", true), ("/a/b/d/e", "/z", false)]);
        let names = |text: &str| mounted.names_in(&path(text)).into_iter().collect::<Vec<_>>().join(" ");
        for (directory, expected) in
            [("/", "a"), ("/a", "b c"), ("/a/b", "d"), ("/a/b/d", "e"), ("/a/b/d/e", ""), ("/x", ""), ("/a/bc", "")]
        {
            assert_eq!(names(directory), expected, "{directory}");
        }
        for (name, is_fixed, is_somewhere) in [
            ("/", true, false),
            ("/a", true, false),
            ("/a/b", true, true),
            ("/a/b/d", true, true),
            ("/a/b/f", false, true),
            ("/a/x", false, false),
            ("/ab", false, false),
        ] {
            let path = path(name);
            assert_eq!((mounted.is_fixed(&path), mounted.locate(&path).is_some()), (is_fixed, is_somewhere), "{name}");
        }
        let kinds = |check: Result<(), FsError>| check.err().map(|error| error.kind());
        let denied = Some(FsErrorKind::PermissionDenied);
        for (name, change, create) in [
            ("/", None, None),
            ("/a", denied, None),
            ("/a/b", denied, None),
            ("/a/b/f", None, None),
            ("/a/c/f", denied, denied),
            ("/a/x", None, denied),
            ("/a/x/y", None, Some(FsErrorKind::NotFound)),
        ] {
            let path = path(name);
            assert_eq!(
                (kinds(mounted.may_change(&path)), kinds(mounted.may_create(&path))),
                (change, create),
                "{name}"
            );
        }
    }
}
