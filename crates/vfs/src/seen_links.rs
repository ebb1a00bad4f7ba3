//! Symbolic links that were seen lately, and names that were seen to be none, so that a path that
//! leads through links is not walked anew with every request; and versions of objects that are plain
//! files, so that a file of a few bytes, as a link is one, is replaced without a look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_store::{ETag, ObjectKey};
use tokio::time::Instant;

use crate::attribute_cache::Generations;
use crate::hashed_names::{HashedName, NameHasher};

/// How many names are remembered on a node, each for how long. With targets of the usual length they take
/// half a MiB, at most 17.
const NAMES_MAX: usize = 4_096;
const LIFE: Duration = Duration::from_secs(5);

/// How many plain files are remembered, about 30 bytes each.
const FILES_MAX: usize = 32_768;

/// Changes are counted by this many groups of keys.
const GROUPS: usize = 64;

/// One cache for the node. What changes through the node is forgotten at once; what other nodes do
/// goes unseen for [`LIFE`].
#[derive(Debug)]
pub(crate) struct SeenLinks {
    hasher: NameHasher,
    state: Mutex<State>,
    /// A tag names the bytes that a file was stored with, and no other tool makes a link of those.
    files: Mutex<Generations<()>>,
}

#[derive(Debug)]
struct State {
    /// By bucket and key; `None` for what is no link.
    names: HashMap<HashedName, (Instant, Option<Arc<str>>)>,
    /// How often something in a group was changed.
    changes: Vec<u64>,
}

/// When a look was begun: what it shows is worth nothing if there was a change since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    name: HashedName,
    changes: u64,
}

impl Default for SeenLinks {
    fn default() -> Self {
        let state = State { names: HashMap::new(), changes: vec![0; GROUPS] };
        let files = Mutex::new(Generations::new(FILES_MAX));
        Self { hasher: NameHasher::default(), state: Mutex::new(state), files }
    }
}

impl SeenLinks {
    /// What is known of a name: a link's target, or that it is none.
    pub(crate) fn get(&self, bucket: &str, key: &ObjectKey) -> Option<Option<Arc<str>>> {
        let name = self.hasher.name(&(bucket, key));
        let state = self.state();
        let (since, target) = state.names.get(&name)?;
        (since.elapsed() < LIFE).then(|| target.clone())
    }

    /// Before a look at a name.
    pub(crate) fn ask(&self, bucket: &str, key: &ObjectKey) -> Asked {
        let name = self.hasher.name(&(bucket, key));
        Asked { name, changes: self.state().changes.get(name.group(GROUPS)).copied().unwrap_or_default() }
    }

    /// Behind it.
    pub(crate) fn note(&self, asked: Asked, target: Option<Arc<str>>) {
        let mut state = self.state();
        if state.changes.get(asked.name.group(GROUPS)) != Some(&asked.changes) {
            return;
        }
        if state.names.len() >= NAMES_MAX {
            state.names.retain(|_, (since, _)| since.elapsed() < LIFE);
        }
        if state.names.len() >= NAMES_MAX {
            state.names.clear();
        }
        state.names.insert(asked.name, (Instant::now(), target));
    }

    /// The key was changed, or may have been.
    pub(crate) fn forget(&self, bucket: &str, key: &ObjectKey) {
        let name = self.hasher.name(&(bucket, key));
        let mut state = self.state();
        if let Some(changes) = state.changes.get_mut(name.group(GROUPS)) {
            *changes += 1;
        }
        state.names.remove(&name);
    }

    /// A version of an object is a plain file.
    pub(crate) fn note_file(&self, bucket: &str, key: &ObjectKey, etag: &ETag) {
        let name = self.hasher.name(&(bucket, key, etag));
        self.files.lock().unwrap_or_else(PoisonError::into_inner).put(name, ());
    }

    /// Whether a version of an object is known to be a plain file.
    pub(crate) fn is_file(&self, bucket: &str, key: &ObjectKey, etag: &ETag) -> bool {
        let name = self.hasher.name(&(bucket, key, etag));
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(name).is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> ObjectKey {
        ObjectKey::new(n.to_string()).unwrap()
    }

    fn note(links: &SeenLinks, n: usize, target: Option<&str>) {
        links.note(links.ask("b", &key(n)), target.map(Arc::from));
    }

    #[tokio::test(start_paused = true)]
    async fn remembers_for_a_while_and_forgets_what_changes() {
        let links = SeenLinks::default();
        note(&links, 1, Some("to"));
        note(&links, 2, None);
        assert_eq!(links.get("b", &key(1)), Some(Some("to".into())));
        assert_eq!(links.get("b", &key(2)), Some(None));
        assert_eq!((links.get("b", &key(3)), links.get("c", &key(1))), (None, None));
        links.forget("b", &key(1));
        assert_eq!(links.get("b", &key(1)), None);
        tokio::time::advance(LIFE).await;
        assert_eq!(links.get("b", &key(2)), None);
    }

    #[tokio::test]
    async fn a_look_that_was_overtaken_by_a_change_is_not_remembered() {
        let links = SeenLinks::default();
        let asked = links.ask("b", &key(1));
        links.forget("b", &key(1));
        links.note(asked, Some("old".into()));
        assert_eq!(links.get("b", &key(1)), None);
    }

    #[test]
    fn knows_versions_that_are_plain_files() {
        let links = SeenLinks::default();
        let (one, two) = (ETag::new("\"1\""), ETag::new("\"2\""));
        links.note_file("b", &key(1), &one);
        assert!(links.is_file("b", &key(1), &one));
        assert!(
            !links.is_file("b", &key(1), &two)
                && !links.is_file("b", &key(2), &one)
                && !links.is_file("c", &key(1), &one)
        );
    }

    #[tokio::test]
    async fn stays_small() {
        let links = SeenLinks::default();
        for n in 0..3 * NAMES_MAX {
            note(&links, n, None);
            assert!(links.state().names.len() <= NAMES_MAX);
        }
    }
}
