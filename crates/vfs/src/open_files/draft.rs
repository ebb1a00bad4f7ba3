//! What a file is to be published with, besides its bytes.

use std::sync::Arc;
use std::time::SystemTime;

use tidegate_store::{ObjectAttributes, ObjectMeta, UploadRecord};

use crate::attributes::{FileAttributes, SetAttributes};
use crate::edit::Base;

/// Where rclone keeps the MD5 of what it stores in several parts.
/// Source: rclone documentation, "Amazon S3", "Hashes".
const RCLONE_MD5: &str = "md5chksum";

/// Attributes of the file to be, and the version that it comes from.
#[derive(Debug)]
pub(crate) struct Draft {
    attributes: ObjectAttributes,
    /// As they are in the store; `None` if the file is to be published whatever it holds.
    published: Option<ObjectAttributes>,
    times_were_set: bool,
    /// When the content changed last, as far as it is shown before it is published.
    changed: SystemTime,
    /// The version that changes begin with.
    pub(super) base: Option<Arc<Base>>,
}

impl Draft {
    /// Of a file that is new or emptied: it is published at its CLOSE, whether bytes come or not.
    pub(crate) fn of_new(set: SetAttributes) -> Self {
        let mut attributes = ObjectAttributes::default();
        set.apply_to_new_file(&mut attributes);
        let times_were_set = set.times.is_some();
        Self { attributes, published: None, times_were_set, changed: SystemTime::now(), base: None }
    }

    /// Of a file that is there. `set` says what its client asks for.
    pub(crate) fn of_version(meta: &ObjectMeta, base: Arc<Base>, set: SetAttributes) -> Self {
        let mut draft = Self {
            attributes: meta.attributes.clone(),
            published: Some(meta.attributes.clone()),
            times_were_set: false,
            changed: meta.last_modified,
            base: Some(base),
        };
        draft.set(set);
        draft
    }

    /// Of an upload that was cut and is gone on with. It is not published before something is written to it.
    pub(crate) fn of_interrupted(record: &UploadRecord) -> Self {
        Self {
            attributes: record.attributes.clone(),
            published: Some(record.attributes.clone()),
            times_were_set: false,
            changed: SystemTime::now(),
            base: None,
        }
    }

    /// Sets attributes, but for the size.
    pub(super) fn set(&mut self, set: SetAttributes) {
        set.apply_to_file(&mut self.attributes);
        self.times_were_set |= set.times.is_some();
    }

    /// The content changes: a time that was set before is not that of the new one, and a checksum that
    /// another tool keeps is that of the old one. Tells whether there was either.
    pub(super) fn touch(&mut self) -> bool {
        self.changed = SystemTime::now();
        let metadata = &mut self.attributes.metadata;
        let had_sum = metadata.remove(RCLONE_MD5).is_some();
        had_sum | (!self.times_were_set && metadata.remove("mtime").is_some())
    }

    /// Whether it has to be published though no byte has changed.
    pub(crate) fn is_dirty(&self) -> bool {
        self.published.as_ref() != Some(&self.attributes)
    }

    pub(super) fn attributes(&self) -> &ObjectAttributes {
        &self.attributes
    }

    /// What STAT shows of it.
    pub(super) fn shown(&self, size: u64) -> FileAttributes {
        FileAttributes::of_upload(size, &self.attributes, self.changed)
    }

    /// Notes what is in the store now.
    pub(super) fn note_published(&mut self, attributes: ObjectAttributes, base: Arc<Base>) {
        self.published = Some(attributes);
        self.times_were_set = false;
        self.base = Some(base);
    }
}
