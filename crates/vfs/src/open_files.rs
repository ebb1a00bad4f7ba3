//! The files that one session has open for writing: all its handles of a file share one state.

mod copy;
mod draft;
mod everywhere;
mod file;
mod interrupted;
mod moving;
mod place;
mod publish;
mod renaming;
mod streaming;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tidegate_store::ObjectKey;

use crate::key::name_of;

pub use self::copy::Begun;
pub(crate) use self::draft::Draft;
pub(crate) use self::everywhere::OpenEverywhere;
pub(crate) use self::file::SharedFile;
pub(crate) use self::place::Place;

/// A session's files by their keys.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    files: Mutex<HashMap<ObjectKey, Weak<SharedFile>>>,
    everywhere: Arc<OpenEverywhere>,
    bucket: Arc<str>,
}

impl OpenFiles {
    /// None yet; those that come are among the node's.
    pub(crate) fn among(everywhere: Arc<OpenEverywhere>, bucket: String) -> Self {
        Self { files: Mutex::default(), everywhere, bucket: bucket.into() }
    }

    /// The file under a key, if it is open and was not given up.
    pub(crate) fn find(&self, key: &ObjectKey) -> Option<Arc<SharedFile>> {
        // Another session may have renamed it.
        self.files().get(key)?.upgrade().filter(|file| file.is_usable() && file.is_named(key))
    }

    /// Makes it the file that further OPENs of its key find.
    pub(crate) fn insert(&self, key: ObjectKey, file: &Arc<SharedFile>) {
        let mut files = self.files();
        files.retain(|_, file| file.strong_count() > 0);
        if file.place.uploads.are_kept() {
            self.everywhere.announce();
        }
        let file = Arc::downgrade(file);
        self.everywhere.insert(&self.bucket, &key, file.clone());
        files.insert(key, file);
    }

    /// RENAME: the file under one key is that under another from now on.
    pub(crate) fn rename(&self, from: &ObjectKey, to: &ObjectKey) {
        let mut files = self.files();
        match files.remove(from) {
            Some(file) => {
                self.everywhere.rename(&self.bucket, from, to, file.clone());
                files.insert(to.clone(), file)
            }
            None => files.remove(to),
        };
    }

    /// Those below a directory's marker.
    pub(crate) fn below(&self, marker: &ObjectKey) -> Vec<(ObjectKey, Arc<SharedFile>)> {
        let files = self.files();
        let below = files.iter().filter(|(key, _)| key.as_str().starts_with(marker.as_str()));
        below.filter_map(|(key, file)| Some((key.clone(), file.upgrade().filter(|file| file.is_usable())?))).collect()
    }

    /// The names of those right in a directory whose keys begin with `below`.
    pub(crate) fn names_in(&self, below: &str) -> BTreeSet<String> {
        let files = self.files();
        let open = files.iter().filter(|(_, file)| file.strong_count() > 0);
        open.filter_map(|(key, _)| name_of(below, key.as_str())).map(str::to_owned).collect()
    }

    /// The key names another file from now on, or none: who has the old one open goes on with that.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        if let Some(file) = self.files().remove(key) {
            self.everywhere.remove(&self.bucket, key, &file);
        }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<ObjectKey, Weak<SharedFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
