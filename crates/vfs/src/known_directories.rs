//! Directories that a session has seen lately, so that many files into one directory do not each
//! ask the store whether it is there.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::path::VirtualPath;

/// How many directories, and names in them in all, one session remembers.
const DIRECTORIES_MAX: usize = 1_024;
const NAMES_MAX: usize = 2_048;

/// What is remembered of directories that exist, each for a limited time. What other nodes do in
/// the meantime goes unseen for that long: a file may be made in a directory that was just removed,
/// which brings the directory back, or beside a directory of its name, and then both are there.
#[derive(Debug)]
pub(crate) struct KnownDirectories {
    life: Duration,
    entries: Mutex<HashMap<VirtualPath, Known>>,
    /// What was last found to be neither file nor directory: clients look before they make a file.
    absent: Mutex<Option<(VirtualPath, Instant)>>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    has_marker: bool,
    /// All of them, or `None` if they were too many.
    subdirectories: Option<BTreeSet<Box<str>>>,
    /// All names in it that may be symbolic links, or `None` if that is not known.
    suspects: Option<BTreeSet<Box<str>>>,
}

impl Known {
    fn names(&self) -> usize {
        [&self.subdirectories, &self.suspects].into_iter().flatten().map(BTreeSet::len).sum()
    }
}

/// What is known of a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    /// It is a directory.
    Directory,
    /// It is no directory; maybe a file, maybe nothing.
    NoDirectory,
    /// The directory above exists, more is not known.
    Unknown,
    /// Not even whether the directory above exists.
    ParentUnknown,
}

impl KnownDirectories {
    pub(crate) fn new(life: Duration) -> Self {
        Self { life, entries: Mutex::default(), absent: Mutex::default() }
    }

    /// What is known of `path`, which is called `name` in `parent`.
    pub(crate) fn child(&self, parent: &VirtualPath, name: &str, path: &VirtualPath) -> Child {
        let is_absent =
            self.absent().as_ref().is_some_and(|(absent, since)| absent == path && since.elapsed() < self.life);
        match self.entries().get(parent).filter(|known| known.since.elapsed() < self.life) {
            // The root is always there.
            None if is_absent && parent.is_root() => Child::NoDirectory,
            None => Child::ParentUnknown,
            Some(Known { subdirectories: None, .. }) if is_absent => Child::NoDirectory,
            Some(Known { subdirectories: None, .. }) => Child::Unknown,
            Some(Known { subdirectories: Some(names), .. }) if names.contains(name) => Child::Directory,
            Some(_) => Child::NoDirectory,
        }
    }

    /// Whether the directory is known to have a marker, and so outlives its last entry.
    pub(crate) fn has_marker(&self, path: &VirtualPath) -> bool {
        let entries = self.entries();
        entries.get(path).is_some_and(|known| known.has_marker && known.since.elapsed() < self.life)
    }

    /// Whether there may be a symbolic link at this path; `None` if that is not known.
    pub(crate) fn may_be_link(&self, path: &VirtualPath) -> Option<bool> {
        let (parent, name) = (path.parent()?, path.name()?);
        if self.absent().as_ref().is_some_and(|(absent, since)| absent == path && since.elapsed() < self.life) {
            return Some(false);
        }
        let entries = self.entries();
        let known = entries.get(&parent).filter(|known| known.since.elapsed() < self.life)?;
        known.suspects.as_ref().map(|suspects| suspects.contains(name))
    }

    /// A symbolic link was made, or put in this place, by this session.
    pub(crate) fn linked(&self, path: &VirtualPath) {
        *self.absent() = None;
        self.suspect(path, true);
    }

    /// There is a file at this path, and it is no link.
    pub(crate) fn not_linked(&self, path: &VirtualPath) {
        self.suspect(path, false);
    }

    fn suspect(&self, path: &VirtualPath, is_suspect: bool) {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return };
        let mut entries = self.entries();
        let Some(known) = entries.get_mut(&parent) else { return };
        match &mut known.suspects {
            Some(suspects) if !is_suspect => {
                suspects.remove(name);
            }
            Some(suspects) if suspects.len() < NAMES_MAX => {
                suspects.insert(name.into());
            }
            _ if is_suspect => known.suspects = None,
            _ => {}
        }
    }

    /// Whether the directory was there lately.
    pub(crate) fn is_known(&self, path: &VirtualPath) -> bool {
        self.entries().get(path).is_some_and(|known| known.since.elapsed() < self.life)
    }

    /// Remembers a directory that a listing has just shown.
    pub(crate) fn learn(&self, path: VirtualPath, has_marker: bool, subdirectories: Option<BTreeSet<Box<str>>>) {
        self.learn_names(path, has_marker, subdirectories, None);
    }

    /// The same with the names in it that may be links.
    pub(crate) fn learn_names(
        &self,
        path: VirtualPath,
        has_marker: bool,
        subdirectories: Option<BTreeSet<Box<str>>>,
        suspects: Option<BTreeSet<Box<str>>>,
    ) {
        let mut entries = self.entries();
        if entries.len() >= DIRECTORIES_MAX && !entries.contains_key(&path) {
            entries.retain(|_, known| known.since.elapsed() < self.life);
            let oldest = entries.iter().min_by_key(|(_, known)| known.since).map(|(path, _)| path.clone());
            if let Some(oldest) = oldest.filter(|_| entries.len() >= DIRECTORIES_MAX) {
                entries.remove(&oldest);
            }
        }
        entries.remove(&path);
        let held: usize = entries.values().map(Known::names).sum();
        let subdirectories = subdirectories.filter(|new| held + new.len() <= NAMES_MAX);
        let held = held + subdirectories.as_ref().map_or(0, BTreeSet::len);
        let suspects = suspects.filter(|new| held + new.len() <= NAMES_MAX);
        entries.insert(path, Known { since: Instant::now(), has_marker, subdirectories, suspects });
    }

    /// There is neither a file nor a directory at this path.
    pub(crate) fn missed(&self, path: &VirtualPath) {
        *self.absent() = Some((path.clone(), Instant::now()));
    }

    /// A directory is there; whether it has a marker is not known.
    pub(crate) fn seen(&self, path: &VirtualPath) {
        if !self.is_known(path) {
            self.learn(path.clone(), false, None);
        }
    }

    /// A directory was made by this session.
    pub(crate) fn made(&self, path: &VirtualPath) {
        *self.absent() = None;
        if let (Some(parent), Some(name)) = (path.parent(), path.name())
            && let Some(Known { subdirectories: Some(names), .. }) = self.entries().get_mut(&parent)
        {
            names.insert(name.into());
        }
        self.learn_names(path.clone(), true, Some(BTreeSet::new()), Some(BTreeSet::new()));
    }

    /// A directory, with a marker, was moved to this path by this session.
    pub(crate) fn moved_to(&self, path: &VirtualPath) {
        self.forget(path);
        self.made(path);
        self.learn(path.clone(), true, None);
    }

    /// A directory has a marker: this session has seen or made it.
    pub(crate) fn marked(&self, path: &VirtualPath) {
        if let Some(known) = self.entries().get_mut(path)
            && known.since.elapsed() < self.life
        {
            known.has_marker = true;
            return;
        }
        self.learn(path.clone(), true, None);
    }

    /// A directory was removed by this session, or looked gone.
    pub(crate) fn forget(&self, path: &VirtualPath) {
        let mut entries = self.entries();
        entries.retain(|known, _| !path.contains(known));
        if let (Some(parent), Some(name)) = (path.parent(), path.name())
            && let Some(Known { subdirectories: Some(names), .. }) = entries.get_mut(&parent)
        {
            names.remove(name);
        }
    }

    /// This session has tried to make or remove a directory, and does not know whether it has.
    pub(crate) fn unsure(&self, path: &VirtualPath) {
        *self.absent() = None;
        let mut entries = self.entries();
        entries.retain(|known, _| !path.contains(known));
        if let Some(known) = path.parent().and_then(|parent| entries.get_mut(&parent)) {
            known.subdirectories = None;
        }
    }

    fn absent(&self) -> MutexGuard<'_, Option<(VirtualPath, Instant)>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<VirtualPath, Known>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap()
    }

    fn child(known: &KnownDirectories, parent: &str, name: &str) -> Child {
        known.child(&path(parent), name, &path(&format!("{parent}/{name}")))
    }

    fn names(names: &[&str]) -> Option<BTreeSet<Box<str>>> {
        Some(names.iter().map(|name| (*name).into()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn forgets_with_time() {
        let known = KnownDirectories::new(Duration::from_secs(10));
        known.learn(path("/a"), true, names(&["sub"]));
        assert_eq!(child(&known, "/a", "sub"), Child::Directory);
        assert_eq!(child(&known, "/a", "file"), Child::NoDirectory);
        assert_eq!(child(&known, "/b", "x"), Child::ParentUnknown);
        assert!(known.has_marker(&path("/a")));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(child(&known, "/a", "sub"), Child::ParentUnknown);
        assert!(!known.has_marker(&path("/a")));
    }

    #[tokio::test]
    async fn follows_what_the_session_does() {
        let known = KnownDirectories::new(Duration::from_secs(10));
        known.learn(path("/a"), false, names(&[]));
        known.made(&path("/a/b"));
        assert_eq!(child(&known, "/a", "b"), Child::Directory);
        assert_eq!(child(&known, "/a/b", "c"), Child::NoDirectory);
        known.forget(&path("/a/b"));
        assert_eq!(child(&known, "/a", "b"), Child::NoDirectory);
        assert_eq!(child(&known, "/a/b", "c"), Child::ParentUnknown);
        known.marked(&path("/a"));
        assert!(known.has_marker(&path("/a")));
        known.unsure(&path("/a/b"));
        assert_eq!(child(&known, "/a", "b"), Child::Unknown, "its making has failed, maybe behind its effect");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_before_a_file_is_made_spares_the_second_one() {
        let known = KnownDirectories::new(Duration::from_secs(10));
        known.missed(&path("/file"));
        assert_eq!(child(&known, "", "file"), Child::NoDirectory, "the root is always there");
        assert_eq!(child(&known, "", "other"), Child::ParentUnknown);
        known.missed(&path("/a/file"));
        assert_eq!(child(&known, "/a", "file"), Child::ParentUnknown, "nobody has seen /a");
        known.seen(&path("/a"));
        assert_eq!(child(&known, "/a", "file"), Child::NoDirectory);
        assert_eq!(child(&known, "/a", "other"), Child::Unknown);
        tokio::time::advance(Duration::from_secs(10)).await;
        known.seen(&path("/a"));
        assert_eq!(child(&known, "/a", "file"), Child::Unknown, "too long ago");
        known.missed(&path("/a/file"));
        known.made(&path("/a/file"));
        assert_eq!(child(&known, "/a", "file"), Child::Unknown, "made by this session");
    }

    #[tokio::test]
    async fn stays_small() {
        let known = KnownDirectories::new(Duration::from_secs(10));
        for n in 0..DIRECTORIES_MAX + 10 {
            known.learn(path(&format!("/{n}")), false, names(&["a", "b", "c"]));
        }
        let entries = known.entries();
        assert_eq!(entries.len(), DIRECTORIES_MAX);
        let held: usize = entries.values().map(Known::names).sum();
        assert!(held <= NAMES_MAX);
    }
}
