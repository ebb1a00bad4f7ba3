//! What of a tenant's files a user sees, and what the user may do there.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::account::{DirectoryPath, Permissions, UserName};
use crate::tenant_limits::LimitChange;

/// What a user may do in one directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionRule {
    /// The directory, as the user sees it.
    pub path: DirectoryPath,
    /// All that the user may do in it and below, up to directories with rules of their own.
    pub permissions: Permissions,
}

/// What a user may do in some directories: at most [`PermissionRules::MAX`], each once, and not
/// `/`, for which [`crate::User::permissions`] hold. The longest that a path lies in decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<PermissionRule>", into = "Vec<PermissionRule>")]
pub struct PermissionRules(Vec<PermissionRule>);

/// Where one of a tenant's directories appears to a user: a logical directory as AWS Transfer
/// Family has them (`HomeDirectoryMapEntry`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The directory that the user sees.
    pub entry: DirectoryPath,
    /// What it shows: a directory in the tenant's files, `/` being all of them.
    pub target: DirectoryPath,
    /// Whether every change below it is refused.
    pub read_only: bool,
}

/// A user's logical directories: at most [`Mappings::MAX`]. With any, the user sees nothing else of
/// the tenant's files. The longest entry that a path lies in decides.
///
/// No file is seen under two paths: else what is read-only under one could be changed under the
/// other, and a file could be renamed onto itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Mapping>", into = "Vec<Mapping>")]
pub struct Mappings(Vec<Mapping>);

/// Why rules or mappings are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidAccess {
    /// Two mappings show the same files.
    #[error("the entries \"{}\" and \"{}\" show the same files: each may be seen under one path only", .0.as_str(), .1.as_str())]
    Overlap(DirectoryPath, DirectoryPath),
    /// A rule for `/`.
    #[error("\"/\" is no directory for a rule: the user's own permissions hold there")]
    Root,
    /// A path that comes twice.
    #[error("the directory \"{}\" is given twice", .0.as_str())]
    Twice(DirectoryPath),
    /// More than there may be.
    #[error("there are more than {0} of them")]
    TooMany(usize),
}

impl DirectoryPath {
    /// The path without its leading `/`: empty for `/`.
    pub fn relative(&self) -> &str {
        self.as_str().strip_prefix('/').unwrap_or(self.as_str())
    }

    /// What leads from this directory to `other`, without a leading `/`; empty if they are the same,
    /// `None` if `other` is neither this nor below it.
    pub fn rest<'a>(&self, other: &'a Self) -> Option<&'a str> {
        if self.relative().is_empty() {
            return Some(other.relative());
        }
        let rest = other.as_str().strip_prefix(self.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

impl PermissionRules {
    /// The greatest number of rules.
    pub const MAX: usize = 64;

    /// Checks the rules.
    ///
    /// # Errors
    /// If they are too many, or name a directory twice or `/`.
    pub fn new(rules: Vec<PermissionRule>) -> Result<Self, InvalidAccess> {
        if rules.len() > Self::MAX {
            return Err(InvalidAccess::TooMany(Self::MAX));
        }
        unique(rules.iter().map(|rule| &rule.path))?;
        if rules.iter().any(|rule| rule.path.relative().is_empty()) {
            return Err(InvalidAccess::Root);
        }
        Ok(Self(rules))
    }

    /// The rules, in the order in which they were given.
    pub fn as_slice(&self) -> &[PermissionRule] {
        &self.0
    }
}

impl Mappings {
    /// The greatest number of mappings: keeps the item far below DynamoDB's 400 KB with the longest
    /// paths.
    pub const MAX: usize = 64;

    /// What AWS Transfer Family puts the user's name in the place of, in a target.
    pub const USER_NAME: &str = "${transfer:UserName}";

    /// Checks the mappings.
    ///
    /// # Errors
    /// If they are too many, name an entry twice, or show a file under two paths.
    pub fn new(mappings: Vec<Mapping>) -> Result<Self, InvalidAccess> {
        if mappings.len() > Self::MAX {
            return Err(InvalidAccess::TooMany(Self::MAX));
        }
        unique(mappings.iter().map(|mapping| &mapping.entry))?;
        for outer in &mappings {
            for inner in mappings.iter().filter(|inner| inner.entry != outer.entry) {
                let Some(rest) = outer.target.rest(&inner.target) else { continue };
                // Where the outer one would show what the inner one shows, unless another is there.
                let shown = [outer.entry.as_str().trim_end_matches('/'), rest].join("/");
                let shown = if rest.is_empty() { outer.entry.as_str() } else { &shown };
                if longest(&mappings, shown) == Some(outer) {
                    return Err(InvalidAccess::Overlap(outer.entry.clone(), inner.entry.clone()));
                }
            }
        }
        Ok(Self(mappings))
    }

    /// The mappings, in the order in which they were given.
    pub fn as_slice(&self) -> &[Mapping] {
        &self.0
    }

    /// Whether a directory is there for the user in any case, or may be: it lies in one that is mapped,
    /// or has one below it. Without mappings, all may be.
    pub fn show(&self, path: &DirectoryPath) -> bool {
        let shows = |mapping: &Mapping| mapping.entry.rest(path).is_some() || path.rest(&mapping.entry).is_some();
        self.0.is_empty() || self.0.iter().any(shows)
    }

    /// A target with the user's name in the places that AWS Transfer Family puts it.
    pub fn target_for(target: &str, user: &UserName) -> String {
        target.replace(Self::USER_NAME, user.as_str())
    }
}

/// The mapping that decides about an absolute path.
fn longest<'a>(mappings: &'a [Mapping], path: &str) -> Option<&'a Mapping> {
    let holds = |mapping: &&Mapping| {
        let rest = path.strip_prefix(mapping.entry.as_str().trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mappings.iter().filter(holds).max_by_key(|mapping| mapping.entry.relative().len())
}

fn unique<'a>(paths: impl Iterator<Item = &'a DirectoryPath>) -> Result<(), InvalidAccess> {
    let mut paths: Vec<&DirectoryPath> = paths.collect();
    paths.sort_unstable();
    match paths.windows(2).find_map(|pair| pair.first().filter(|first| pair.last() == Some(first))) {
        Some(twice) => Err(InvalidAccess::Twice((*twice).clone())),
        None => Ok(()),
    }
}

/// A change of what a user sees and may do. Each part that is named replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// See [`crate::User::home`].
    pub home: Option<String>,
    /// See [`crate::User::permissions`].
    pub permissions: Option<Permissions>,
    /// See [`crate::User::rules`].
    pub rules: Option<PermissionRules>,
    /// See [`crate::User::mappings`].
    pub mappings: Option<Mappings>,
    /// See [`crate::User::max_sessions`].
    pub max_sessions: LimitChange<u32>,
    /// See [`crate::User::lists_uploads`].
    pub lists_uploads: Option<bool>,
}

impl UserChange {
    /// Changes a user so.
    pub fn apply(&self, user: &mut crate::User) {
        let Self { home, permissions, rules, mappings, max_sessions, lists_uploads } = self.clone();
        user.home = home.unwrap_or_else(|| std::mem::take(&mut user.home));
        user.permissions = permissions.unwrap_or_else(|| std::mem::take(&mut user.permissions));
        user.rules = rules.unwrap_or_else(|| std::mem::take(&mut user.rules));
        user.mappings = mappings.unwrap_or_else(|| std::mem::take(&mut user.mappings));
        user.max_sessions = max_sessions.apply(user.max_sessions);
        user.lists_uploads = lists_uploads.unwrap_or(user.lists_uploads);
    }
}

macro_rules! checked_list {
    ($list:ident, $item:ident) => {
        impl TryFrom<Vec<$item>> for $list {
            type Error = InvalidAccess;

            fn try_from(items: Vec<$item>) -> Result<Self, InvalidAccess> {
                Self::new(items)
            }
        }

        impl From<$list> for Vec<$item> {
            fn from(list: $list) -> Self {
                list.0
            }
        }
    };
}

checked_list!(Mappings, Mapping);
checked_list!(PermissionRules, PermissionRule);

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(paths: &[&str]) -> Result<PermissionRules, InvalidAccess> {
        let rule = |path: &&str| PermissionRule { path: path.parse().unwrap(), permissions: Permissions::new() };
        PermissionRules::new(paths.iter().map(rule).collect())
    }

    fn mappings(pairs: &[(&str, &str)]) -> Result<Mappings, InvalidAccess> {
        let mapping = |(entry, target): &(&str, &str)| Mapping {
            entry: entry.parse().unwrap(),
            target: target.parse().unwrap(),
            read_only: false,
        };
        Mappings::new(pairs.iter().map(mapping).collect())
    }

    #[test]
    fn directories_are_normal_absolute_paths() {
        for good in ["/", "/a", "/a b/\u{fc}", "/...", &format!("/{0}/{0}", "x".repeat(255))] {
            assert!(good.parse::<DirectoryPath>().is_ok(), "{good}");
        }
        let long = format!("/{0}/{0}/{0}/{0}/x", "x".repeat(255));
        for bad in ["", "a", "/a/", "//", "/a//b", "/.", "/a/..", "/a\0", &format!("/{}", "x".repeat(256)), &long] {
            assert!(bad.parse::<DirectoryPath>().is_err(), "{bad}");
        }
        let rest = |a: &str, b: &str| {
            let (a, b): (DirectoryPath, DirectoryPath) = (a.parse().unwrap(), b.parse().unwrap());
            a.rest(&b).map(str::to_owned)
        };
        assert_eq!(rest("/", "/a/b").as_deref(), Some("a/b"));
        assert_eq!(rest("/a", "/a/b").as_deref(), Some("b"));
        assert_eq!(rest("/a", "/a").as_deref(), Some(""));
        assert_eq!((rest("/a", "/ab"), rest("/a/b", "/a"), rest("/a", "/")), (None, None, None));
    }

    #[test]
    fn rules_name_each_directory_once_and_are_bounded() {
        assert_eq!(rules(&["/a", "/a/b", "/ab"]).unwrap().as_slice().len(), 3);
        assert_eq!(rules(&["/b", "/a", "/b"]), Err(InvalidAccess::Twice("/b".parse().unwrap())));
        assert_eq!(rules(&["/"]), Err(InvalidAccess::Root));
        let many: Vec<String> = (0..=PermissionRules::MAX).map(|n| format!("/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(rules(&many), Err(InvalidAccess::TooMany(64)));
        assert!(rules(&many[1..]).is_ok());
    }

    #[test]
    fn no_file_is_seen_under_two_paths() {
        for fine in [
            &[("/", "/")][..],
            &[("/", "/home/bob"), ("/shared", "/shared")],
            &[("/a", "/x"), ("/b", "/xy"), ("/c/d", "/z/x")],
            // Where the outer one would show it, the inner one lies.
            &[("/", "/"), ("/data", "/data")],
            &[("/", "/"), ("/home", "/home/bob")],
            &[("/a", "/x"), ("/a/b/c", "/x/b/c")],
            // Hidden by a third one.
            &[("/", "/"), ("/copy", "/data/sub"), ("/data", "/copy")],
        ] {
            assert!(mappings(fine).is_ok(), "{fine:?}");
        }
        for twice in [
            &[("/a", "/x"), ("/b", "/x")][..],
            &[("/", "/"), ("/pub", "/home/bob")],
            &[("/", "/home"), ("/bob", "/home/bo/b")],
            &[("/a", "/x/y"), ("/b", "/x")],
            &[("/a/b", "/x"), ("/a/b/c", "/x")],
            // The third one lies below, and hides only a part.
            &[("/", "/"), ("/copy", "/data"), ("/data/sub", "/other/sub"), ("/other", "/copy")],
        ] {
            assert!(matches!(mappings(twice), Err(InvalidAccess::Overlap(..))), "{twice:?}");
        }
        assert_eq!(mappings(&[("/a", "/x"), ("/a", "/y")]), Err(InvalidAccess::Twice("/a".parse().unwrap())));
    }

    #[test]
    fn what_is_mapped_and_what_leads_there_is_shown() {
        let mappings = mappings(&[("/a/b", "/x")]).unwrap();
        for (path, shown) in
            [("/", true), ("/a", true), ("/a/b", true), ("/a/b/c", true), ("/a/c", false), ("/x", false)]
        {
            assert_eq!(mappings.show(&path.parse().unwrap()), shown, "{path}");
        }
        assert!(Mappings::default().show(&"/x".parse().unwrap()));
    }

    #[test]
    fn a_change_touches_what_it_names_and_no_more() {
        let mut user: crate::User = serde_json::from_str(
            r#"{"name":"bob","tenant":"acme","status":"active","home":"/h","permissions":["read"],"keys":[],"created":1}"#,
        )
        .unwrap();
        let before = user.clone();
        UserChange::default().apply(&mut user);
        assert_eq!(user, before);
        let change = UserChange { rules: Some(rules(&["/a"]).unwrap()), ..UserChange::default() };
        change.apply(&mut user);
        assert_eq!(user, crate::User { rules: rules(&["/a"]).unwrap(), ..before });
    }

    #[test]
    fn targets_take_the_users_name_as_aws_transfer_writes_it() {
        let bob = "bob".parse().unwrap();
        assert_eq!(Mappings::target_for("/home/${transfer:UserName}/in", &bob), "/home/bob/in");
    }
}
