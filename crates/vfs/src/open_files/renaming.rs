//! RENAME of a file that is open.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::ready;
use tidegate_store::{Condition, ETag, ObjectKey};

use super::file::{Content, SharedFile};
use crate::writer::Relocation;

impl SharedFile {
    /// A RENAME is about to move what of the file is there, until this is dropped.
    pub(crate) fn relocate(&self) -> Relocation {
        self.destination.relocate()
    }

    /// RENAME: the file has another name from now on. `moved` is what of it was there and is now under that
    /// name: the version that it was and its tag there.
    pub(crate) fn rename(&self, key: ObjectKey, moved: Option<(ETag, ETag)>, condition: Condition) {
        let mut state = self.state();
        let base = state.draft.base.clone();
        let (condition, base) = match (moved, base) {
            (Some((before, after)), Some(base)) if base.etag == before => {
                (Condition::IfMatch(after.clone()), Some(self.place.base(key.clone(), after, base.size)))
            }
            // What the changes began with is not there any more.
            (_, Some(base)) => (Condition::IfMatch(base.etag.clone()), None),
            (_, None) => (condition, None),
        };
        if let Some(base) = base {
            state.draft.base = Some(Arc::clone(&base));
            if let Content::Edit(edit) = &mut state.content {
                edit.move_base(base);
            }
        }
        drop(state);
        self.destination.set(key, condition);
    }

    /// Behind [`SharedFile::rename`]: its entry in the journal goes with it, so that nothing shows under the
    /// old name. Where the journal does not answer, it goes when the upload is cut or published.
    pub(crate) async fn rename_entry(&self) {
        let keeper = match &self.state().content {
            Content::Interrupted(interrupted) => ready(Some(Arc::clone(&interrupted.keeper))).boxed(),
            Content::Upload(upload) => upload.keeper(),
            Content::Edit(_) | Content::Failed(..) | Content::Moving(_) => return,
        };
        let Some(keeper) = keeper.await else { return };
        let (key, condition) = self.destination.now();
        if let Err(error) = keeper.rename(&key, condition).await {
            tracing::warn!(%key, error = %error.report(), "a file that is being uploaded shows under its old name");
        }
    }

    /// What must hold when it is published.
    pub(crate) fn condition(&self) -> Condition {
        self.destination.now().1
    }

    /// The version that changes began with: its tag and size; `None` if there was none.
    pub(crate) fn version(&self) -> Option<(ETag, u64)> {
        self.state().draft.base.as_ref().map(|base| (base.etag.clone(), base.size))
    }
}
