//! Where an upload is published: under the name that its file has at its CLOSE, as RENAME moves a file
//! that is open.

use std::sync::{Arc, Mutex, PoisonError};

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
