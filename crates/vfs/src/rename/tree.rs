//! RENAME of a directory: everything below it is moved, object by object.
//!
//! The store has no directories, so this is no single step, and it must survive its end half-way. In
//! the order of time:
//!
//! 1. the target's marker is written, with the attributes of the directory and a record of the rename;
//! 2. each object below is copied, and deleted once its copy is there;
//! 3. the source's marker is deleted;
//! 4. the target's marker is written without the record.
//!
//! Asked for again, a rename whose target bears its record goes on: the target does not count as
//! existing then. No object is deleted whose copy is not there, and no object of the target's is
//! replaced that is not such a copy.

use std::sync::Arc;

use futures::{Stream, TryStreamExt, stream};
use tidegate_store::{
    Checksum, Condition, ETag, ListPage, ListRequest, ListedObject, ObjectAttributes, ObjectKey, Permission,
    UploadState, limits,
};

use super::moved_key;
use super::progress::Progress;
use crate::attributes::{implied_directory, unix_now};
use crate::error::{FsError, FsErrorKind};
use crate::mount::Replace;
use crate::open_files::SharedFile;
use crate::path::VirtualPath;
use crate::vfs::Files;

/// The metadata of the record: when the rename began, in seconds since the Unix epoch, and the CRC-64/NVME
/// of its source's path in hexadecimal digits.
const RECORD: &str = "tidegate-rename";

/// How long a record is good for. Who comes back to the two directories later does not expect a rename
/// of one onto the other to go through.
const RECORD_LIFE: u64 = 7 * 24 * 60 * 60;

/// How often the directory is gone through anew because files were made in it meanwhile.
const PASSES_MAX: u32 = 16;

/// A file that is open, and its key.
type OpenFile = (ObjectKey, Arc<SharedFile>);

impl Files {
    /// Renames what is no file. The target's parent directory exists.
    pub(super) async fn rename_directory(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replace: Replace,
    ) -> Result<(), FsError> {
        let (source, target) = (self.keys.marker(from)?, self.keys.marker(to)?);
        let file = self.keys.object(to)?;
        let (below, found, file) = futures::try_join!(
            self.list(source.as_str().to_owned(), false, 1),
            self.list(target.as_str().to_owned(), false, 2),
            self.head(&file)
        )?;
        let record = self.record(&found, &target, from).await?;
        if below.objects.is_empty() {
            // Only the last steps may be left of a rename that was interrupted.
            let Some(attributes) = record else { return Err(FsError::not_found()) };
            return self.finish(from, to, (&source, &target), attributes).await;
        }
        if from.contains(to) {
            return Err(FsError::new(FsErrorKind::InvalidName, "a directory can't be moved into itself"));
        }
        let attributes = match record {
            Some(attributes) => attributes,
            None => {
                self.may_take(to, &found, &target, file.is_some(), replace)?;
                self.begin(from, to, (&source, &target), !found.objects.is_empty()).await?
            }
        };
        self.known.forget(from);
        self.known.forget(to);
        let open = self.open_files.below(&source);
        let mut others = self.vfs.open_everywhere.changed_below(&self.bucket, &source);
        others.retain(|(_, other)| !open.iter().any(|(_, file)| Arc::ptr_eq(file, other)));
        let relocations: Vec<_> = open.iter().chain(&others).map(|(_, file)| file.relocate()).collect();
        self.move_all(from, to, (&source, &target)).await?;
        self.move_open_files((open, others), &source, &target).await?;
        drop(relocations);
        self.finish(from, to, (&source, &target), attributes).await
    }

    /// Files in the directory that the session is writing go on under their new names, and so do those that
    /// other sessions of the node are changing.
    async fn move_open_files(
        &self,
        (open, others): (Vec<OpenFile>, Vec<OpenFile>),
        source: &ObjectKey,
        target: &ObjectKey,
    ) -> Result<(), FsError> {
        for (key, file) in open {
            let to = moved_key(&key, source, target)?;
            let moved = self.moved_version(&file, &to).await?;
            let condition = file.condition();
            file.rename(to.clone(), moved, condition);
            file.rename_entry().await;
            self.open_files.rename(&key, &to);
        }
        for (key, file) in others {
            let to = moved_key(&key, source, target)?;
            let moved = self.moved_version(&file, &to).await?;
            self.take_along(&file, (&key, &to), moved).await;
        }
        for entry in self.uploads.below(source).await? {
            // Those that run have an owner, which publishes them where it opened them.
            if entry.record.state == UploadState::Cut {
                self.uploads.rename(&entry, &moved_key(&entry.key, source, target)?, |_| {}).await?;
            }
        }
        Ok(())
    }

    /// The version that the changes of an open file began with, and its tag where it was moved to.
    async fn moved_version(&self, file: &SharedFile, to: &ObjectKey) -> Result<Option<(ETag, ETag)>, FsError> {
        let Some((before, size)) = file.version() else { return Ok(None) };
        let found = self.head(to).await?.filter(|meta| meta.size == size);
        Ok(found.map(|meta| (before, meta.etag)))
    }

    /// Whether the directory may take the target's name.
    fn may_take(
        &self,
        to: &VirtualPath,
        found: &ListPage,
        target: &ObjectKey,
        is_file: bool,
        replace: Replace,
    ) -> Result<(), FsError> {
        if !is_file && found.objects.is_empty() {
            return Ok(());
        }
        match replace {
            Replace::Never => Err(FsError::already_exists()),
            Replace::Existing if is_file => {
                Err(FsError::new(FsErrorKind::NotADirectory, "a directory can't take the place of a file"))
            }
            Replace::Existing if found.objects.iter().any(|object| object.key != *target) => Err(FsError::new(
                FsErrorKind::DirectoryNotEmpty,
                "the target directory is not empty; remove what is in it first",
            )),
            Replace::Existing => self.rights.of(to).require(Permission::Overwrite),
        }
    }

    /// Checks what can be checked, and writes the record. Gives the attributes of the directory.
    async fn begin(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        (source, target): (&ObjectKey, &ObjectKey),
        is_there: bool,
    ) -> Result<ObjectAttributes, FsError> {
        if target.as_str().len() > source.as_str().len() {
            let mut objects = Box::pin(self.objects_below(source.as_str().to_owned()));
            while let Some(object) = objects.try_next().await? {
                moved_key(&object.key, source, target)?;
            }
        }
        let attributes = self.head_with_tags(source).await?.map(|meta| meta.attributes);
        let attributes = attributes.unwrap_or_else(implied_directory);
        if from.parent() != to.parent() {
            self.mark_parent(from).await?;
        }
        let mut recorded = attributes.clone();
        let record = format!("{} {:016x}", unix_now(), name_of_source(from));
        recorded.metadata.insert(RECORD.to_owned(), record);
        let condition = if is_there { Condition::Always } else { Condition::IfAbsent };
        self.put_marker(target, &recorded, &condition).await.map_err(|error| match error.kind() {
            FsErrorKind::Conflict => FsError::already_exists(),
            _ => error,
        })?;
        Ok(attributes)
    }

    /// The attributes that the target is to have in the end, if it bears the record of this rename.
    async fn record(
        &self,
        found: &ListPage,
        target: &ObjectKey,
        from: &VirtualPath,
    ) -> Result<Option<ObjectAttributes>, FsError> {
        if found.objects.first().is_none_or(|first| first.key != *target) {
            return Ok(None);
        }
        let Some(meta) = self.head_with_tags(target).await? else { return Ok(None) };
        let mut attributes = meta.attributes;
        let record = attributes.metadata.remove(RECORD).and_then(|record| {
            let (seconds, name) = record.split_once(' ')?;
            Some((seconds.parse::<u64>().ok()?, u64::from_str_radix(name, 16).ok()?))
        });
        let is_ours = record.is_some_and(|(seconds, name)| {
            name == name_of_source(from) && unix_now().saturating_sub(seconds) <= RECORD_LIFE
        });
        Ok(is_ours.then_some(attributes))
    }

    /// Moves everything below, until nothing is left but the directory's marker.
    async fn move_all(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        (source, target): (&ObjectKey, &ObjectKey),
    ) -> Result<(), FsError> {
        let copier = self.copier();
        let progress = Progress::begin(from, to, &self.vfs.metrics);
        for _ in 0..PASSES_MAX {
            let before = progress.count();
            let (copier, progress) = (&copier, &progress);
            self.objects_below(source.as_str().to_owned())
                .try_filter(|object| futures::future::ready(object.key != *source))
                // Twice as many as are copied at once: what comes next is looked at meanwhile.
                .try_for_each_concurrent(2 * copier.lanes(), |object| async move {
                    self.move_object(copier, &object.key, source, target).await?;
                    if object.key.as_str().ends_with('/') {
                        let moved = moved_key(&object.key, source, target)?;
                        self.vfs.attributes.forget_directory(&self.bucket, &object.key);
                        self.vfs.attributes.forget_directory(&self.bucket, &moved);
                    }
                    progress.moved();
                    Ok(())
                })
                .await?;
            if progress.count() == before {
                return Ok(());
            }
        }
        Err(FsError::new(
            FsErrorKind::Conflict,
            "new files keep being made in this directory; ask for the rename again to finish it",
        ))
    }

    /// The last steps. Only they may be repeated once nothing is left of the source.
    async fn finish(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        (source, target): (&ObjectKey, &ObjectKey),
        attributes: ObjectAttributes,
    ) -> Result<(), FsError> {
        self.store.delete(source).await?;
        self.vfs.attributes.forget_directory(&self.bucket, source);
        self.put_marker(target, &attributes, &Condition::Always).await?;
        self.known.forget(from);
        self.known.moved_to(to);
        Ok(())
    }

    /// All objects whose keys begin with `prefix`, a page at a time. What is deleted meanwhile disturbs
    /// nothing: a page begins behind the last key of the one before.
    fn objects_below(&self, prefix: String) -> impl Stream<Item = Result<ListedObject, FsError>> + Send + '_ {
        stream::try_unfold(Some(None), move |start_after: Option<Option<String>>| {
            let prefix = prefix.clone();
            async move {
                let Some(start_after) = start_after else { return Ok(None) };
                let request =
                    ListRequest { prefix, delimited: false, limit: limits::LIST_MAX, continuation: None, start_after };
                let page = self.store.list(&request).await?;
                let last = page.objects.last().filter(|_| page.next.is_some());
                let next = last.map(|last| Some(last.key.as_str().to_owned()));
                Ok::<_, FsError>(Some((stream::iter(page.objects.into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
    }
}

/// What stands for the source in the record: its path, by any node's reckoning the same.
fn name_of_source(from: &VirtualPath) -> u64 {
    Checksum::of(from.as_str().as_bytes()).crc()
}
