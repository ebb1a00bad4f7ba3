//! The server's own objects, which lie beside a tenant's files and are none of them.

use tidegate_store::{Generation, KeyPrefix, ObjectKey, StoreError, StoreErrorKind, StoreResult};

/// Where those of one tenant lie: below a name at the top of its files that no file can have.
#[derive(Clone, Debug)]
pub(crate) struct Hidden {
    prefix: String,
}

impl Hidden {
    /// Beside the files under a prefix.
    pub(crate) fn beside(files: &KeyPrefix) -> Self {
        Self { prefix: files.reserved() }
    }

    /// What all their keys begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether an object is one of them.
    pub(crate) fn has(&self, key: &ObjectKey) -> bool {
        key.as_str().starts_with(&self.prefix)
    }

    /// For the end of an upload.
    ///
    /// # Errors
    /// `InvalidRequest` if the tenant's prefix leaves no room for a key.
    pub(crate) fn new_tail(&self) -> StoreResult<ObjectKey> {
        self.key(&format!("tails/{}", Generation::fresh()))
    }

    /// For bytes that become a part of an upload.
    ///
    /// # Errors
    /// As [`Hidden::new_tail`].
    pub(crate) fn new_group(&self) -> StoreResult<ObjectKey> {
        self.key(&format!("groups/{}", Generation::fresh()))
    }

    /// Of so many zeros.
    ///
    /// # Errors
    /// As [`Hidden::new_tail`].
    pub(crate) fn zeros(&self, len: u64) -> StoreResult<ObjectKey> {
        self.key(&format!("{ZEROS}{len}"))
    }

    /// Whether an object is of use for as long as there is the tenant.
    pub(crate) fn is_lasting(&self, key: &ObjectKey) -> bool {
        key.as_str().strip_prefix(&self.prefix).is_some_and(|name| name.starts_with(ZEROS))
    }

    fn key(&self, name: &str) -> StoreResult<ObjectKey> {
        let key = ObjectKey::new(format!("{}{name}", self.prefix));
        key.ok_or_else(|| StoreError::new(StoreErrorKind::InvalidRequest, "name"))
    }
}

const ZEROS: &str = "zeros/";
