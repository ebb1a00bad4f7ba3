//! Paths as the tenant sees them.

use std::fmt;
use std::sync::Arc;

use crate::error::{FsError, FsErrorKind};

/// An absolute, normalised path in a tenant's files: `/`, or `/` and names joined by `/`, without
/// empty, `.` or `..` components and without a trailing slash. UTF-8; each name takes 1 to
/// [`VirtualPath::NAME_MAX`] bytes, none of them NUL. No Unicode normalisation: names are told
/// apart byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualPath(Arc<str>);

impl VirtualPath {
    /// The longest name, in bytes; that of Linux file systems.
    pub const NAME_MAX: usize = 255;

    /// The longest path taken from a client, in bytes, before it is normalised; Linux's PATH_MAX.
    pub const INPUT_MAX: usize = 4096;

    /// The tenant's root.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Reads a path as a client sent it. Relative paths start at `base`; an empty one is `base`.
    /// `.` and `..` are resolved in the text alone (no symbolic link is looked at), and the root is
    /// its own parent.
    ///
    /// # Errors
    /// `InvalidName` for a NUL byte, bytes that are no UTF-8, and names or paths that are too long.
    pub fn resolve(base: &Self, path: &[u8]) -> Result<Self, FsError> {
        if path.len() > Self::INPUT_MAX {
            return Err(invalid("the path is too long: 4096 bytes at most"));
        }
        let text = std::str::from_utf8(path).map_err(|_| {
            invalid("the path is not valid UTF-8; set the client's file name encoding to UTF-8 and try again")
        })?;
        if text.contains('\0') {
            return Err(invalid("a path can't hold a NUL byte"));
        }
        let mut names: Vec<&str> = Vec::new();
        if !text.starts_with('/') {
            names.extend(base.names());
        }
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name if name.len() > Self::NAME_MAX => {
                    return Err(invalid("a file name is too long: 255 bytes of UTF-8 at most"));
                }
                name => names.push(name),
            }
        }
        let mut normal = String::with_capacity(names.iter().map(|name| name.len() + 1).sum::<usize>().max(1));
        for name in names {
            normal.push('/');
            normal.push_str(name);
        }
        if normal.is_empty() {
            return Ok(Self::root());
        }
        Ok(Self(normal.into()))
    }

    /// The path as text, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without its leading `/`: empty for the root.
    pub(crate) fn relative(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or(&self.0)
    }

    /// The last name; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.names().next_back()
    }

    /// The directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/')? {
            ("", "") => None,
            ("", _) => Some(Self::root()),
            (parent, _) => Some(Self(parent.into())),
        }
    }

    /// What lies behind `above`, which [contains](Self::contains) this path, without a leading `/`.
    pub(crate) fn below(&self, above: &Self) -> &str {
        let rest = self.relative().strip_prefix(above.relative()).unwrap_or_default();
        rest.strip_prefix('/').unwrap_or(rest)
    }

    /// This path behind a rename of `from`, which [contains](Self::contains) it, to `to`.
    ///
    /// # Errors
    /// `InvalidName` if it gets too long.
    pub fn moved(&self, from: &Self, to: &Self) -> Result<Self, FsError> {
        Self::resolve(to, self.below(from).as_bytes())
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.relative().is_empty()
    }

    /// Whether `other` is this path or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_root() || other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }
}

impl fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn invalid(message: &'static str) -> FsError {
    FsError::new(FsErrorKind::InvalidName, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap()
    }

    #[test]
    fn resolves_dots_and_slashes_in_the_text_alone() {
        for (input, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            (".", "/"),
            ("..", "/"),
            ("/../../a", "/a"),
            ("a/./b/", "/a/b"),
            ("/a/b/../../..", "/"),
            ("/a//b", "/a/b"),
            ("/...", "/..."),
            ("/ a\n/+%#?&*", "/ a\n/+%#?&*"),
        ] {
            assert_eq!(path(input).as_str(), expected, "{input:?}");
        }
    }

    #[test]
    fn relative_paths_start_at_the_base() {
        let base = path("/home/bob");
        let resolve = |text: &str| VirtualPath::resolve(&base, text.as_bytes()).unwrap();
        assert_eq!(resolve("").as_str(), "/home/bob");
        assert_eq!(resolve("x").as_str(), "/home/bob/x");
        assert_eq!(resolve("../x").as_str(), "/home/x");
        assert_eq!(resolve("/x").as_str(), "/x");
    }

    #[test]
    fn refuses_what_no_file_can_be_called() {
        let long = "x".repeat(256);
        for bad in [&b"a\0b"[..], b"\xff", b"a/\xc3", long.as_bytes(), &[b'/'; 4097]] {
            let error = VirtualPath::resolve(&VirtualPath::root(), bad).unwrap_err();
            assert_eq!(error.kind(), FsErrorKind::InvalidName);
        }
        assert!(VirtualPath::resolve(&VirtualPath::root(), &[b'x'; 255]).is_ok());
    }

    #[test]
    fn knows_names_parents_and_what_lies_below() {
        let deep = path("/a/b");
        assert_eq!(deep.name(), Some("b"));
        assert_eq!(deep.parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(VirtualPath::root()));
        assert_eq!(VirtualPath::root().parent(), None);
        assert_eq!(VirtualPath::root().name(), None);
        assert!(path("/a").contains(&deep) && deep.contains(&deep) && VirtualPath::root().contains(&deep));
        assert_eq!((deep.below(&path("/a")), deep.below(&deep), deep.below(&VirtualPath::root())), ("b", "", "a/b"));
        assert!(!path("/a").contains(&path("/ab")) && !deep.contains(&path("/a")));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_normal_path_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(path) = VirtualPath::resolve(&path("/base"), &bytes) {
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(path.is_root() || path.relative().split('/').all(|name| !matches!(name, "" | "." | "..")));
                prop_assert_eq!(VirtualPath::resolve(&VirtualPath::root(), path.as_str().as_bytes()).unwrap(), path);
            }
        }
    }
}
