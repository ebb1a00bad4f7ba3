//! Where an upload is published: under the name that its file has at its CLOSE, as RENAME moves a file
//! that is open.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_store::{Condition, CopySource, ObjectKey};
use tokio::sync::watch;

/// The key of one upload, and what must hold there when it is published.
#[derive(Debug)]
pub(crate) struct Destination {
    place: Mutex<(ObjectKey, Condition)>,
    /// How many RENAMEs are moving what lies there.
    relocations: watch::Sender<usize>,
}

/// A RENAME that moves what lies at a destination, until it is dropped.
#[derive(Debug)]
pub(crate) struct Relocation(Arc<Destination>);

impl Destination {
    pub(crate) fn new(key: ObjectKey, condition: Condition) -> Arc<Self> {
        Arc::new(Self { place: Mutex::new((key, condition)), relocations: watch::channel(0).0 })
    }

    /// As of now.
    pub(crate) fn now(&self) -> (ObjectKey, Condition) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A RENAME gives the file another name. One that is not to be replaced was looked for by the RENAME:
    /// what it moved itself is the upload's to replace.
    pub(crate) fn set(&self, key: ObjectKey, condition: Condition) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = (key, condition);
    }

    /// A RENAME is about to move what lies there: whoever needs that waits until it is told where it is.
    pub(crate) fn relocate(self: &Arc<Self>) -> Relocation {
        self.relocations.send_modify(|count| *count += 1);
        Relocation(Arc::clone(self))
    }

    /// The version that is to be replaced, where no RENAME is moving it any more; `None` where it need not
    /// be a certain one.
    pub(crate) async fn settled(&self) -> Option<CopySource> {
        let mut relocations = self.relocations.subscribe();
        // The other end lives as long as this.
        let _ = relocations.wait_for(|count| *count == 0).await;
        match self.now() {
            (key, Condition::IfMatch(etag)) => Some(CopySource { key, if_match: Some(etag) }),
            _ => None,
        }
    }
}

impl Drop for Relocation {
    fn drop(&mut self) {
        self.0.relocations.send_modify(|count| *count -= 1);
    }
}
