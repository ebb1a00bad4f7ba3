//! The one place where a client's path becomes an object key, and a key becomes a name again.

use tidegate_store::{KeyPrefix, ObjectKey};

use crate::error::{FsError, FsErrorKind};
use crate::path::VirtualPath;

/// The keys that one tenant's paths can reach: all below its prefix.
///
/// A file's key is the prefix and the path without its leading `/`, byte for byte. A directory's
/// marker has a `/` behind that, as s3fs and SFTPGo write it, and so has the prefix of the keys
/// below it.
#[derive(Clone, Debug)]
pub(crate) struct KeySpace {
    prefix: KeyPrefix,
}

impl KeySpace {
    pub(crate) fn new(prefix: KeyPrefix) -> Self {
        Self { prefix }
    }

    /// The key of a file. The root has none.
    pub(crate) fn object(&self, path: &VirtualPath) -> Result<ObjectKey, FsError> {
        if path.is_root() {
            return Err(FsError::is_a_directory());
        }
        ObjectKey::new(join(&self.prefix, path, "")).ok_or_else(too_long)
    }

    /// The key of a directory's marker. The root has none: it always exists.
    pub(crate) fn marker(&self, path: &VirtualPath) -> Result<ObjectKey, FsError> {
        if path.is_root() {
            return Err(FsError::new(FsErrorKind::PermissionDenied, "the root directory can't be changed"));
        }
        ObjectKey::new(join(&self.prefix, path, "/")).ok_or_else(too_long)
    }

    /// What the keys of everything below a directory begin with; empty for the root of a tenant
    /// that has a whole bucket.
    pub(crate) fn below(&self, path: &VirtualPath) -> Result<String, FsError> {
        if path.is_root() {
            return Ok(self.prefix.as_str().to_owned());
        }
        self.marker(path).map(|marker| marker.as_str().to_owned())
    }
}

/// The key of the file that `path` names, as a client sent it, from the root of a tenant whose
/// files lie under `prefix`: what every request does first. Public for the fuzz target.
///
/// # Errors
/// `InvalidName` as [`VirtualPath::resolve`] and if the key would be longer than S3's 1,024 bytes;
/// `IsADirectory` for the root.
pub fn key_of_client_path(prefix: &KeyPrefix, path: &[u8]) -> Result<ObjectKey, FsError> {
    KeySpace::new(prefix.clone()).object(&VirtualPath::resolve(&VirtualPath::root(), path)?)
}

/// The only function that puts a path into a key. Stays below the prefix because a
/// [`VirtualPath`] holds no `.` and no `..`, and because the prefix is empty or ends in `/`.
fn join(prefix: &KeyPrefix, path: &VirtualPath, end: &str) -> String {
    [prefix.as_str(), path.relative(), end].concat()
}

fn too_long() -> FsError {
    FsError::new(
        FsErrorKind::InvalidName,
        "the path is too long: about 1,000 bytes of UTF-8 at most, directories included",
    )
}

/// The name right below a directory that a listed key or common prefix stands for, `below` being
/// the directory's [`KeySpace::below`]. `None` for keys that no path can name: another tool wrote
/// them, and showing them would only make requests fail.
pub(crate) fn name_of<'a>(below: &str, key: &'a str) -> Option<&'a str> {
    let rest = key.strip_prefix(below)?;
    let name = rest.strip_suffix('/').unwrap_or(rest);
    let nameable = !matches!(name, "" | "." | "..")
        && name.len() <= VirtualPath::NAME_MAX
        && !name.bytes().any(|byte| byte == b'/' || byte == 0);
    nameable.then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> KeyPrefix {
        text.parse().unwrap()
    }

    fn path(text: &str) -> VirtualPath {
        VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_follow_the_path() {
        let keys = KeySpace::new(prefix("tenants/a/"));
        assert_eq!(keys.object(&path("/x/y z")).unwrap().as_str(), "tenants/a/x/y z");
        assert_eq!(keys.marker(&path("/x")).unwrap().as_str(), "tenants/a/x/");
        assert_eq!(keys.below(&path("/x")).unwrap(), "tenants/a/x/");
        assert_eq!(keys.below(&path("/")).unwrap(), "tenants/a/");
        assert_eq!(KeySpace::new(prefix("")).below(&path("/")).unwrap(), "");
        assert_eq!(keys.object(&path("/")).unwrap_err().kind(), FsErrorKind::IsADirectory);
        assert_eq!(keys.marker(&path("/")).unwrap_err().kind(), FsErrorKind::PermissionDenied);
    }

    #[test]
    fn keys_take_1024_bytes_at_most() {
        let name = "x".repeat(255);
        let fits = format!("/{name}/{name}/{name}/{name}");
        let keys = KeySpace::new(prefix(""));
        assert_eq!(keys.object(&path(&fits)).unwrap().as_str().len(), 1023);
        assert!(keys.marker(&path(&fits)).is_ok());
        for error in [
            keys.object(&path(&format!("{fits}/x"))).unwrap_err(),
            KeySpace::new(prefix("a/")).object(&path(&fits)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), FsErrorKind::InvalidName);
        }
    }

    #[test]
    fn skips_keys_that_no_path_can_name() {
        let long = format!("d/{}", "x".repeat(256));
        for key in ["d/", "d//", "d/.", "d/..", "d/../", "d/./", "d/a\0b", "e/x", "d/a/b", &long] {
            assert_eq!(name_of("d/", key), None, "{key:?}");
        }
        for (key, name) in [("d/x", "x"), ("d/x/", "x"), ("d/...", "..."), ("d/ \n", " \n")] {
            assert_eq!(name_of("d/", key), Some(name));
        }
    }

    fn any_prefix() -> impl Strategy<Value = KeyPrefix> {
        prop_oneof![Just(prefix("")), Just(prefix("t/")), Just(prefix("tenants/ü b/"))]
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_prefix(prefix in any_prefix(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            check_stays_below(&prefix, &bytes)?;
        }

        #[test]
        fn no_path_of_dots_and_slashes_leaves_the_prefix(prefix in any_prefix(), text in "[./a\\x00]{0,40}") {
            check_stays_below(&prefix, text.as_bytes())?;
        }

        #[test]
        fn keys_are_injective_and_keep_every_byte(prefix in any_prefix(), a in "(/[^/\\x00]{1,20}){1,4}", b in "(/[^/\\x00]{1,20}){1,4}") {
            let (a, b) = (path(&a), path(&b));
            prop_assume!(!a.is_root() && !b.is_root());
            let keys = KeySpace::new(prefix.clone());
            let (key_a, key_b) = (keys.object(&a).unwrap(), keys.object(&b).unwrap());
            prop_assert_eq!(a == b, key_a == key_b);
            let (marker_a, marker_b) = (keys.marker(&a).unwrap(), keys.marker(&b).unwrap());
            prop_assert_ne!(&key_a, &marker_b);
            let back = format!("/{}", key_a.as_str().strip_prefix(prefix.as_str()).unwrap());
            prop_assert_eq!(&back, a.as_str());
            let below = keys.below(&a.parent().unwrap()).unwrap();
            prop_assert_eq!(name_of(&below, key_a.as_str()), a.name());
            prop_assert_eq!(name_of(&below, marker_a.as_str()), a.name());
        }
    }

    fn check_stays_below(prefix: &KeyPrefix, bytes: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(key) = key_of_client_path(prefix, bytes) {
            let rest = key.as_str().strip_prefix(prefix.as_str());
            prop_assert!(rest.is_some_and(|rest| rest.split('/').all(|name| !matches!(name, "" | "." | ".."))));
        }
        Ok(())
    }
}
