//! The files that all sessions of a node have open for writing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::join_all;
use tidegate_store::ObjectKey;

use super::file::SharedFile;
use crate::hashed_names::{HashedName, NameHasher};
use crate::key::name_of;

/// Files that were closed are swept out once there are so many, and twice as many as were left the last time.
const SWEEP_MIN: usize = 1_024;

/// How often the node looks for uploads that other nodes are to know of.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);

/// How many of them the journal is told of at once.
const ANNOUNCED_AT_ONCE: usize = 64;

/// A node's open files by bucket and key: no more than twice as many as there are, and a few.
#[derive(Debug, Default)]
pub(crate) struct OpenEverywhere {
    names: NameHasher,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<HashedName, Vec<Open>>,
    sweep_at: usize,
    /// Whether a task [announces](OpenEverywhere::announce) them.
    is_announced: bool,
}

#[derive(Clone, Debug)]
struct Open {
    bucket: Arc<str>,
    file: Weak<SharedFile>,
}

impl OpenEverywhere {
    /// A file that nothing is published of yet, and that a session is uploading under this key.
    pub(crate) fn new_file(&self, bucket: &str, key: &ObjectKey) -> Option<Arc<SharedFile>> {
        self.at(bucket, key).find(|file| file.is_new())
    }

    /// All such files under a key: sessions know nothing of one another before that is known to the journal.
    pub(crate) fn new_files(&self, bucket: &str, key: &ObjectKey) -> Vec<Arc<SharedFile>> {
        self.at(bucket, key).filter(|file| file.is_new()).collect()
    }

    /// Has other nodes know of uploads that take long to fill their first part, for as long as files are open. One
    /// task does it for all files of the node.
    pub(super) fn announce(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.state().is_announced, true) {
            tokio::spawn(Arc::clone(self).announce_until_none_is_open());
        }
    }

    async fn announce_until_none_is_open(self: Arc<Self>) {
        loop {
            tokio::time::sleep(ANNOUNCE_INTERVAL).await;
            let open: Vec<_> = {
                let mut state = self.state();
                let open: Vec<_> = state.files.values().flatten().filter_map(|open| open.file.upgrade()).collect();
                if open.is_empty() {
                    state.is_announced = false;
                    return;
                }
                open
            };
            let new: Vec<_> = open.iter().filter(|file| file.is_usable() && file.is_new()).collect();
            for some in new.chunks(ANNOUNCED_AT_ONCE) {
                join_all(some.iter().filter_map(|file| file.announce())).await;
            }
        }
    }

    /// The files under a key that sessions are changing, as opposed to replacing.
    pub(crate) fn changed_at(&self, bucket: &str, key: &ObjectKey) -> Vec<Arc<SharedFile>> {
        self.at(bucket, key).filter(|file| !file.is_new()).collect()
    }

    /// The names of those right in a directory, whose keys begin with `below`, that nothing is published of yet.
    /// Looks at all that are open on the node.
    pub(crate) fn new_in(&self, bucket: &str, below: &str) -> BTreeSet<String> {
        let keys = self.all(bucket).into_iter().filter(|file| file.is_new()).map(|file| file.key());
        keys.filter_map(|key| name_of(below, key.as_str()).map(str::to_owned)).collect()
    }

    /// Those below a directory's marker. Looks at all that are open on the node.
    pub(crate) fn changed_below(&self, bucket: &str, marker: &ObjectKey) -> Vec<(ObjectKey, Arc<SharedFile>)> {
        let changed = self.all(bucket).into_iter().filter(|file| !file.is_new());
        let named = changed.map(|file| (file.key(), file));
        named.filter(|(key, _)| key.as_str().starts_with(marker.as_str())).collect()
    }

    /// RENAME: a file of any session has another name from now on.
    pub(crate) fn rename(&self, bucket: &Arc<str>, from: &ObjectKey, to: &ObjectKey, file: Weak<SharedFile>) {
        self.remove(bucket, from, &file);
        self.insert(bucket, to, file);
    }

    /// All that have not failed.
    fn all(&self, bucket: &str) -> Vec<Arc<SharedFile>> {
        let open: Vec<_> = {
            let state = self.state();
            let open = state.files.values().flatten().filter(|open| *open.bucket == *bucket);
            open.filter_map(|open| open.file.upgrade()).collect()
        };
        open.into_iter().filter(|file| file.is_usable()).collect()
    }

    fn at(&self, bucket: &str, key: &ObjectKey) -> impl Iterator<Item = Arc<SharedFile>> {
        let open = self.state().files.get(&self.names.name(&(bucket, key))).cloned().unwrap_or_default();
        let files = open.into_iter().filter_map(|open| open.file.upgrade());
        files.filter(move |file| file.is_usable() && file.is_named(key))
    }

    pub(super) fn insert(&self, bucket: &Arc<str>, key: &ObjectKey, file: Weak<SharedFile>) {
        let name = self.names.name(&(&**bucket, key));
        let mut state = self.state();
        if state.files.len() >= state.sweep_at.max(SWEEP_MIN) {
            state.files.retain(|_, files| files.iter().any(|open| open.file.strong_count() > 0));
            state.sweep_at = 2 * state.files.len();
        }
        let files = state.files.entry(name).or_default();
        files.retain(|open| open.file.strong_count() > 0);
        files.push(Open { bucket: Arc::clone(bucket), file });
    }

    pub(super) fn remove(&self, bucket: &str, key: &ObjectKey, file: &Weak<SharedFile>) {
        let name = self.names.name(&(bucket, key));
        let mut state = self.state();
        if let Some(files) = state.files.get_mut(&name) {
            files.retain(|open| !open.file.ptr_eq(file));
            if files.is_empty() {
                state.files.remove(&name);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_is_swept_out() {
        let open = OpenEverywhere::default();
        for n in 0..10 * SWEEP_MIN {
            open.insert(&"bucket".into(), &ObjectKey::new(n.to_string()).unwrap(), Weak::new());
        }
        let left = open.state().files.len();
        assert!(left <= SWEEP_MIN + 1, "{left}");
    }
}
