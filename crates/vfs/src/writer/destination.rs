//! Where an upload is published: under the name that its file has at its CLOSE, as RENAME moves a file
//! that is open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tidegate_store::{Condition, ObjectKey};

/// The key of one upload, and what must hold there when it is published.
#[derive(Debug)]
pub(crate) struct Destination(Mutex<(ObjectKey, Condition)>);

impl Destination {
    pub(crate) fn new(key: ObjectKey, condition: Condition) -> Arc<Self> {
        Arc::new(Self(Mutex::new((key, condition))))
    }

    /// As of now.
    pub(crate) fn now(&self) -> (ObjectKey, Condition) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A RENAME gives the file another name. One that is not to be replaced was looked for by the RENAME:
    /// what it moved itself is the upload's to replace.
    pub(crate) fn set(&self, key: ObjectKey, condition: Condition) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (key, condition);
    }
}

/// The uploads that one session has open.
#[derive(Debug, Default)]
pub(crate) struct Destinations(Mutex<Vec<Weak<Destination>>>);

impl Destinations {
    pub(crate) fn add(&self, destination: &Arc<Destination>) {
        let mut all = self.all();
        all.retain(|destination| destination.strong_count() > 0);
        all.push(Arc::downgrade(destination));
    }

    /// Those at this very key.
    pub(crate) fn at(&self, key: &ObjectKey) -> Vec<Arc<Destination>> {
        self.find(|found| found == key)
    }

    /// Those below a directory's marker.
    pub(crate) fn below(&self, marker: &ObjectKey) -> Vec<Arc<Destination>> {
        self.find(|found| found.as_str().starts_with(marker.as_str()))
    }

    fn find(&self, is_meant: impl Fn(&ObjectKey) -> bool) -> Vec<Arc<Destination>> {
        let all = self.all();
        all.iter().filter_map(Weak::upgrade).filter(|destination| is_meant(&destination.now().0)).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Weak<Destination>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
