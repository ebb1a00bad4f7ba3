//! Tags that other tools give objects: whoever stores one anew has to say them.

use tidegate_store::{ObjectKey, ObjectMeta, ObjectStore, StoreResult};

use crate::error::FsError;
use crate::vfs::Files;

impl Files {
    /// HEAD of an object that is to be stored anew, with its tags; a missing one is `None`.
    pub(crate) async fn head_with_tags(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, FsError> {
        match self.head(key).await? {
            Some(meta) => Ok(Some(with_tags(&*self.store, key, meta).await?)),
            None => Ok(None),
        }
    }
}

/// What HEAD tells of an object, with the tags that it has.
///
/// # Errors
/// As [`ObjectStore::tags`].
pub(crate) async fn with_tags(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    mut meta: ObjectMeta,
) -> StoreResult<ObjectMeta> {
    if meta.tag_count > 0 {
        meta.attributes.tags = store.tags(key).await?;
    }
    Ok(meta)
}
