//! The one place where a client's path becomes an object key, and a key becomes a name again.

use tidegate_store::{KeyPrefix, Mappings, ObjectKey, RESERVED};

use crate::error::{FsError, FsErrorKind};
use crate::mounted::{self, Location, Mounted};
use crate::path::VirtualPath;

/// The keys that one user's paths can reach: all below the tenant's prefix, or below what of it is
/// mounted for the user.
///
/// A file's key is what its mount's keys begin with and the rest of the path, byte for byte. A
/// directory's marker has a `/` behind that, as s3fs and SFTPGo write it, and so has the prefix of
/// the keys below it.
#[derive(Clone, Debug)]
pub(crate) struct KeySpace {
    mounted: Mounted,
}

impl KeySpace {
    pub(crate) fn new(mounted: Mounted) -> Self {
        Self { mounted }
    }

    /// The directories that are mounted for the user.
    pub(crate) fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// The key of a file. `/`, mount points and what is above them have none, and neither has what
    /// lies in no mount: it does not exist.
    pub(crate) fn object(&self, path: &VirtualPath) -> Result<ObjectKey, FsError> {
        if self.mounted.is_fixed(path) {
            return Err(FsError::is_a_directory());
        }
        let location = self.mounted.locate(path).ok_or_else(FsError::not_found)?;
        self.key(join(location, ""))
    }

    /// The key of a directory's marker. `/`, mount points and what is above them have none: they
    /// always exist.
    pub(crate) fn marker(&self, path: &VirtualPath) -> Result<ObjectKey, FsError> {
        if path.is_root() {
            return Err(FsError::new(FsErrorKind::PermissionDenied, "the root directory can't be changed"));
        }
        if self.mounted.is_fixed(path) {
            return Err(mounted::is_fixed());
        }
        let location = self.mounted.locate(path).ok_or_else(FsError::not_found)?;
        self.key(join(location, "/"))
    }

    /// # Errors
    /// `InvalidName` if it is too long; `PermissionDenied` for what is kept for the server.
    fn key(&self, key: String) -> Result<ObjectKey, FsError> {
        if self.is_reserved(&key) { Err(reserved()) } else { ObjectKey::new(key).ok_or_else(too_long) }
    }

    /// Whether no user sees what lies under a key.
    fn is_reserved(&self, key: &str) -> bool {
        let rest = key.strip_prefix(self.mounted.prefix()).and_then(|rest| rest.strip_prefix(RESERVED));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether what is listed with this prefix may hold what no user sees.
    pub(crate) fn is_top(&self, below: &str) -> bool {
        below == self.mounted.prefix()
    }

    /// The marker that keeps a directory when its last entry goes; `None` where none is needed, in
    /// the tenant's root, or possible. A mount point needs one for those who see its target where
    /// it lies.
    pub(crate) fn kept(&self, path: &VirtualPath) -> Option<ObjectKey> {
        let below = below(self.mounted.locate(path)?);
        if below == self.mounted.prefix() { None } else { ObjectKey::new(below) }
    }

    /// What the keys of everything below a directory begin with; empty for the root of a tenant
    /// that has a whole bucket.
    ///
    /// # Errors
    /// `NotFound` for what lies in no mount, also if it is a directory by the mounts below it.
    pub(crate) fn below(&self, path: &VirtualPath) -> Result<String, FsError> {
        let below = below(self.mounted.locate(path).ok_or_else(FsError::not_found)?);
        if self.is_reserved(&below) {
            return Err(reserved());
        }
        if below.len() > ObjectKey::MAX_LEN { Err(too_long()) } else { Ok(below) }
    }
}

/// The key of the file that `path` names, as a client sent it, from the root of a tenant whose
/// files lie under `prefix`: what every request does first. Public for the fuzz target.
///
/// # Errors
/// `InvalidName` as [`VirtualPath::resolve`] and if the key would be longer than S3's 1,024 bytes;
/// `IsADirectory` for the root.
pub fn key_of_client_path(prefix: &KeyPrefix, path: &[u8]) -> Result<ObjectKey, FsError> {
    let mounted = Mounted::new(prefix, &Mappings::default())?;
    KeySpace::new(mounted).object(&VirtualPath::resolve(&VirtualPath::root(), path)?)
}

/// The only function that puts a path into a key. Stays below what its mount's keys begin with
/// because a [`VirtualPath`] holds no `.` and no `..`, and because that is empty or ends in `/`.
fn join(Location { below, rest }: Location<'_>, end: &str) -> String {
    [below, rest, end].concat()
}

/// What the keys of everything below a place begin with.
fn below(location: Location<'_>) -> String {
    if location.rest.is_empty() { join(location, "") } else { join(location, "/") }
}

fn reserved() -> FsError {
    FsError::new(FsErrorKind::PermissionDenied, "this name is kept for the server's own use; choose another")
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
    use tidegate_store::Mapping;

    use super::*;

    fn prefix(text: &str) -> KeyPrefix {
        text.parse().unwrap()
    }

    fn keys(prefix: &KeyPrefix, mappings: &Mappings) -> KeySpace {
        KeySpace::new(Mounted::new(prefix, mappings).unwrap())
    }

    fn whole(prefix: &KeyPrefix) -> KeySpace {
        keys(prefix, &Mappings::default())
    }

    fn path(text: &str) -> VirtualPath {
        VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_follow_the_path() {
        let keys = whole(&prefix("tenants/a/"));
        assert_eq!(keys.object(&path("/x/y z")).unwrap().as_str(), "tenants/a/x/y z");
        assert_eq!(keys.marker(&path("/x")).unwrap().as_str(), "tenants/a/x/");
        assert_eq!(keys.below(&path("/x")).unwrap(), "tenants/a/x/");
        assert_eq!(keys.below(&path("/")).unwrap(), "tenants/a/");
        assert_eq!(whole(&prefix("")).below(&path("/")).unwrap(), "");
        assert_eq!(keys.object(&path("/")).unwrap_err().kind(), FsErrorKind::IsADirectory);
        assert_eq!(keys.marker(&path("/")).unwrap_err().kind(), FsErrorKind::PermissionDenied);
    }

    #[test]
    fn keys_follow_the_mounts() {
        let mappings = vec![mapping("/in", "/x/y", false), mapping("/a/b", "/", true)];
        assert!(Mappings::new(mappings.clone()).is_err(), "/a/b would show what /in does");
        let mappings = Mappings::new(vec![mapping("/in", "/x/y", false), mapping("/a/b", "/x/z", true)]).unwrap();
        let keys = keys(&prefix("t/"), &mappings);
        assert_eq!(keys.object(&path("/in/f")).unwrap().as_str(), "t/x/y/f");
        assert_eq!(keys.marker(&path("/a/b/d")).unwrap().as_str(), "t/x/z/d/");
        assert_eq!(keys.below(&path("/a/b")).unwrap(), "t/x/z/");
        assert_eq!(keys.kept(&path("/a/b")).unwrap().as_str(), "t/x/z/");
        for fixed in ["/", "/in", "/a", "/a/b"] {
            assert_eq!(keys.object(&path(fixed)).unwrap_err().kind(), FsErrorKind::IsADirectory, "{fixed}");
            assert_eq!(keys.marker(&path(fixed)).unwrap_err().kind(), FsErrorKind::PermissionDenied, "{fixed}");
        }
        for nowhere in ["/x", "/a/x", "/x/y/f", "/inbox"] {
            for error in [
                keys.object(&path(nowhere)).unwrap_err(),
                keys.marker(&path(nowhere)).unwrap_err(),
                keys.below(&path(nowhere)).unwrap_err(),
            ] {
                assert_eq!(error.kind(), FsErrorKind::NotFound, "{nowhere}");
            }
        }
        assert_eq!((keys.kept(&path("/")), whole(&prefix("t/")).kept(&path("/"))), (None, None));
    }

    #[test]
    fn keys_take_1024_bytes_at_most() {
        let name = "x".repeat(255);
        let fits = format!("/{name}/{name}/{name}/{name}");
        let keys = whole(&prefix(""));
        assert_eq!(keys.object(&path(&fits)).unwrap().as_str().len(), 1023);
        assert!(keys.marker(&path(&fits)).is_ok());
        for error in [
            keys.object(&path(&format!("{fits}/x"))).unwrap_err(),
            whole(&prefix("a/")).object(&path(&fits)).unwrap_err(),
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

    fn mapping(entry: &str, target: &str, read_only: bool) -> Mapping {
        Mapping { entry: entry.parse().unwrap(), target: target.parse().unwrap(), read_only }
    }

    /// Few names, so that entries and targets often lie in one another.
    fn any_directory() -> impl Strategy<Value = String> {
        prop_oneof![1 => Just("/".to_owned()), 4 => "(/(a|b|\\.\\.\\.)){1,3}"]
    }

    fn any_mappings() -> impl Strategy<Value = Mappings> {
        let mapping = (any_directory(), any_directory(), any::<bool>());
        let mapping = mapping.prop_map(|(entry, target, read_only)| self::mapping(&entry, &target, read_only));
        prop::collection::vec(mapping, 1..5)
            .prop_filter_map("mappings that show a file twice", |mappings| Mappings::new(mappings).ok())
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
        fn no_path_leaves_what_is_mounted(
            prefix in any_prefix(),
            mappings in any_mappings(),
            text in "([./ab]|/a|/b|/\\.\\.){0,20}",
        ) {
            let keys = keys(&prefix, &mappings);
            let path = path(&text);
            let targets: Vec<String> = mappings
                .as_slice()
                .iter()
                .map(|mapping| format!("{prefix}{}/", mapping.target.relative()).replace("//", "/"))
                .map(|target| if target == "/" { String::new() } else { target })
                .collect();
            let reached = [
                keys.object(&path).map(|key| key.as_str().to_owned()),
                keys.marker(&path).map(|key| key.as_str().to_owned()),
                keys.below(&path),
                keys.kept(&path).map(|key| key.as_str().to_owned()).ok_or_else(FsError::not_found),
            ];
            for key in reached.into_iter().flatten() {
                prop_assert!(key.starts_with(prefix.as_str()), "{key} is outside of the tenant's prefix");
                prop_assert!(targets.iter().any(|target| key.starts_with(target)), "{key} is in none of {targets:?}");
                let rest = key.strip_suffix('/').unwrap_or(&key);
                prop_assert!(rest.is_empty() || rest.split('/').all(|name| !matches!(name, "" | "." | "..")), "{key}");
            }
        }

        #[test]
        fn no_file_has_two_paths(
            mappings in any_mappings(),
            a in "(/(a|b|\\.\\.\\.)){1,5}",
            b in "(/(a|b|\\.\\.\\.)){1,5}",
        ) {
            let keys = keys(&prefix("t/"), &mappings);
            let (a, b) = (path(&a), path(&b));
            if let (Ok(key_a), Ok(key_b)) = (keys.object(&a), keys.object(&b)) {
                prop_assert_eq!(a == b, key_a == key_b);
            }
        }

        #[test]
        fn keys_are_injective_and_keep_every_byte(prefix in any_prefix(), a in "(/[^/\\x00]{1,20}){1,4}", b in "(/[^/\\x00]{1,20}){1,4}") {
            let (a, b) = (path(&a), path(&b));
            prop_assume!(!a.is_root() && !b.is_root());
            let keys = whole(&prefix);
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
