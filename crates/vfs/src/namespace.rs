//! Names, directories and attributes: STAT, MKDIR, RMDIR, REMOVE, SETSTAT.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use futures::future::join_all;
use tidegate_store::{
    Body, Checksum, Condition, CopySource, ListPage, ListRequest, ObjectAttributes, ObjectKey, ObjectMeta,
    StoreErrorKind, limits,
};

use crate::attribute_cache::Version;
use crate::attributes::{FileAttributes, FileKind, SetAttributes, implied_directory, unix_now};
use crate::error::{FsError, FsErrorKind};
use crate::key::name_of;
use crate::known_directories::Child;
use crate::links::{Found, is_link, may_be_link};
use crate::open_files::{Draft, SharedFile};
use crate::path::VirtualPath;
use crate::tags::with_tags;
use crate::vfs::Files;

/// How often attributes are set anew when the file is replaced at the same moment.
const ATTRIBUTE_TRIES: u32 = 4;

impl Files {
    pub(crate) async fn stat(&self, path: &VirtualPath) -> Result<FileAttributes, FsError> {
        if self.keys.mounted().is_fixed(path) {
            return Ok(FileAttributes::directory());
        }
        let key = self.keys.object(path)?;
        // Whatever name it was opened by.
        if let Some(file) = self.open_files.find(&key) {
            return Ok(file.attributes());
        }
        if let Some(attributes) = self.prefetch.attributes(path).await {
            return Ok(attributes);
        }
        let (published, entry) = futures::join!(self.stat_published(path), self.uploads.read(&key));
        // Where the journal does not answer, what is published is what can be told.
        let Some(entry) = entry.ok().flatten() else { return self.or_being_uploaded(published, &key) };
        if matches!(&published, Ok(attributes) if attributes.kind == FileKind::Directory) {
            return published;
        }
        match self.uploads.shown(entry, self.head(&key).await?.as_ref()).await? {
            Some((record, size)) if size > 0 || is_missing(&published) => {
                let changed = UNIX_EPOCH + Duration::from_secs(record.begun);
                Ok(FileAttributes::of_upload(size, &record.attributes, changed))
            }
            _ => self.or_being_uploaded(published, &key),
        }
    }

    /// Where nothing is published and nothing durable: what another session of this node is uploading there, without
    /// a byte, for who went on behind bytes that are lost yet would leave a hole.
    fn or_being_uploaded(
        &self,
        published: Result<FileAttributes, FsError>,
        key: &ObjectKey,
    ) -> Result<FileAttributes, FsError> {
        match published {
            Err(error) if error.kind() == FsErrorKind::NotFound => {
                let other = self.vfs.open_everywhere.new_file(&self.bucket, key);
                other.map(|file| file.attributes_for_others()).ok_or(error)
            }
            published => published,
        }
    }

    async fn stat_published(&self, path: &VirtualPath) -> Result<FileAttributes, FsError> {
        let (key, marker) = (self.keys.object(path)?, self.keys.marker(path));
        if let Ok(marker) = &marker
            && self.vfs.boundaries.had_marker(&self.bucket, marker.as_str())
        {
            // A HEAD is cheaper than a LIST, and as good where there is a marker.
            let (file, directory) = futures::try_join!(self.head(&key), self.head(marker))?;
            match (file, directory) {
                (Some(meta), _) => return Ok(FileAttributes::of_file(&meta)),
                (None, Some(meta)) => {
                    self.known.seen(path);
                    self.known.marked(path);
                    return Ok(FileAttributes::of_marker(&meta));
                }
                (None, None) => self.vfs.boundaries.without_marker(&self.bucket, marker.as_str()),
            }
        }
        let ask_for_directory = async || {
            let Ok(marker) = &marker else { return Ok(ListPage::default()) };
            self.list(marker.as_str().to_owned(), false, 1).await
        };
        // Where most likely both will be asked, it is done at once.
        let (file, page) = if self.known.is_known(path) {
            let (file, page) = futures::try_join!(self.head(&key), ask_for_directory())?;
            (file, Some(page))
        } else {
            (self.head(&key).await?, None)
        };
        if let Some(meta) = file {
            return Ok(FileAttributes::of_file(&meta));
        }
        let page = match page {
            Some(page) => page,
            None => ask_for_directory().await?,
        };
        let Ok(marker) = &marker else { return Err(FsError::not_found()) };
        match page.objects.first() {
            None => {
                self.known.missed(path);
                Err(FsError::not_found())
            }
            Some(first) if first.key == *marker => {
                self.known.marked(path);
                let version = Version { key: marker, etag: &first.etag, last_modified: first.last_modified };
                match self.vfs.attributes.file(&self.bucket, version) {
                    Some(attributes) => Ok(attributes),
                    None => self.marker_attributes(marker).await,
                }
            }
            Some(_) => {
                self.known.seen(path);
                Ok(FileAttributes::directory())
            }
        }
    }

    /// A directory's attributes from its marker, which may be missing.
    pub(crate) async fn marker_attributes(&self, marker: &ObjectKey) -> Result<FileAttributes, FsError> {
        let asked = self.store.now();
        let attributes = match self.head(marker).await? {
            Some(meta) => {
                let attributes = FileAttributes::of_marker(&meta);
                let version = Version { key: marker, etag: &meta.etag, last_modified: meta.last_modified };
                self.vfs.attributes.put_file(&self.bucket, version, asked, attributes);
                attributes
            }
            None => FileAttributes::directory(),
        };
        self.vfs.attributes.put_directory(&self.bucket, marker, attributes);
        Ok(attributes)
    }

    pub(crate) async fn make_directory(&self, path: &VirtualPath, set: SetAttributes) -> Result<(), FsError> {
        if self.keys.mounted().is_fixed(path) {
            return Err(FsError::already_exists());
        }
        let (key, marker) = (self.keys.object(path)?, self.keys.marker(path)?);
        let (is_directory, file) = futures::try_join!(self.is_directory_in_its_parent(path), self.head(&key))?;
        if is_directory || file.is_some() {
            return Err(FsError::already_exists());
        }
        // What s3fs writes of every directory, so that it shows the same as we do.
        let now = u32::try_from(unix_now()).unwrap_or(u32::MAX);
        let set = SetAttributes {
            size: None,
            owner: set.owner.or(Some((0, 0))),
            mode: set.mode.or(Some(0o755)),
            times: set.times.or(Some((now, now))),
        };
        let mut attributes = ObjectAttributes::default();
        set.apply_to_directory(&mut attributes);
        self.put_marker(&marker, &attributes, &Condition::IfAbsent).await.map_err(|error| {
            self.known.unsure(path);
            if error.kind() == FsErrorKind::Conflict { FsError::already_exists() } else { error }
        })?;
        self.known.made(path);
        Ok(())
    }

    pub(crate) async fn remove_directory(&self, path: &VirtualPath) -> Result<(), FsError> {
        let marker = self.keys.marker(path)?;
        let page = self.list(marker.as_str().to_owned(), false, 2).await?;
        if page.objects.iter().any(|object| object.key != marker) {
            return Err(FsError::new(
                FsErrorKind::DirectoryNotEmpty,
                "the directory is not empty; remove what is in it first",
            ));
        }
        if page.objects.is_empty() {
            return Err(if self.head(&self.keys.object(path)?).await?.is_some() {
                FsError::not_a_directory()
            } else {
                FsError::not_found()
            });
        }
        self.keep_parent(path, &marker).await?;
        for entry in self.uploads.below(&marker).await? {
            self.uploads.drop_entry(&entry).await;
        }
        self.store.delete(&marker).await.inspect_err(|_| self.known.unsure(path))?;
        self.known.forget(path);
        self.vfs.attributes.forget_directory(&self.bucket, &marker);
        Ok(())
    }

    pub(crate) async fn remove(&self, path: &VirtualPath) -> Result<(), FsError> {
        let key = self.keys.object(path)?;
        let (found, entry) = futures::join!(self.head(&key), self.uploads.read(&key));
        let found = found?;
        let was_dropped = match &entry {
            Ok(Some(entry)) => self.uploads.drop_entry(entry).await,
            Ok(None) => false,
            Err(_) => {
                self.uploads.owe_unseen(&key);
                false
            }
        };
        if found.is_none() {
            // What sessions of this node upload STAT has shown too, though the journal may not know of it yet.
            let uploaded = self.vfs.open_everywhere.new_files(&self.bucket, &key);
            join_all(uploaded.iter().map(|file| file.remove())).await;
            return if was_dropped || !uploaded.is_empty() { Ok(()) } else { Err(self.missing_file(path).await?) };
        }
        self.keep_parent(path, &key).await?;
        self.open_files.forget(&key);
        Ok(self.store.delete(&key).await?)
    }

    /// Where `follow`, a symbolic link's attributes are not its own to set.
    pub(crate) async fn set_attributes(
        &self,
        path: &VirtualPath,
        set: SetAttributes,
        follow: bool,
    ) -> Result<Found<()>, FsError> {
        if path.is_root() {
            self.keys.marker(path)?;
        }
        let key = self.keys.object(path)?;
        if let Some(file) = self.open_files.find(&key) {
            return file.set_attributes(set).await.map(Found::Here);
        }
        // Whoever replaces the file meanwhile wins, and the attributes go to the new one.
        let mut known = self.vfs.written.get(&self.bucket, &key);
        for _ in 1..ATTRIBUTE_TRIES {
            match self.try_set_attributes(path, &key, known.take(), set, follow).await {
                Err(error) if error.kind() == FsErrorKind::Conflict => {}
                other => return other,
            }
        }
        self.try_set_attributes(path, &key, None, set, follow).await
    }

    /// `known` is the file as it was just stored, where that is known.
    async fn try_set_attributes(
        &self,
        path: &VirtualPath,
        key: &ObjectKey,
        known: Option<ObjectMeta>,
        set: SetAttributes,
        follow: bool,
    ) -> Result<Found<()>, FsError> {
        let found = if known.is_some() { known } else { self.head(key).await? };
        let Some(meta) = found else { return self.set_directory_attributes(path, set).await.map(Found::Here) };
        if follow && is_link(&meta) {
            return Ok(Found::Link);
        }
        let mut attributes = meta.attributes.clone();
        set.apply_to_file(&mut attributes);
        if let Some(size) = set.size.filter(|size| *size != meta.size) {
            return self.change_size(key, &meta, size, set).await.map(Found::Here);
        }
        if attributes == meta.attributes {
            return Ok(Found::Here(()));
        }
        let source = CopySource { key: key.clone(), if_match: Some(meta.etag) };
        self.copier().copy_onto_itself(&source, meta.size, &attributes).await?;
        Ok(Found::Here(()))
    }

    /// Changes the size of a file, and its attributes with it.
    async fn change_size(
        &self,
        key: &ObjectKey,
        meta: &ObjectMeta,
        size: u64,
        set: SetAttributes,
    ) -> Result<(), FsError> {
        let place = self.place(key.clone());
        let meta = with_tags(&*self.store, key, meta.clone()).await?;
        let base = place.base(key.clone(), meta.etag.clone(), meta.size);
        // Read access, so that nothing is begun before it is known what is to be done.
        let (draft, condition) = (Draft::of_version(&meta, base, set), Condition::IfMatch(meta.etag.clone()));
        let file = SharedFile::open(place, draft, condition, (0, true), None)?;
        file.set_attributes(SetAttributes { size: Some(size), ..set }).await?;
        file.publish().await.map(|_| ())
    }

    async fn set_directory_attributes(&self, path: &VirtualPath, set: SetAttributes) -> Result<(), FsError> {
        if !self.has_entries(path).await? {
            return Err(FsError::not_found());
        }
        if set.size.is_some() {
            return Err(FsError::is_a_directory());
        }
        let marker = self.keys.marker(path)?;
        let mut attributes = self.head_with_tags(&marker).await?.map(|meta| meta.attributes).unwrap_or_default();
        let before = attributes.clone();
        set.apply_to_directory(&mut attributes);
        if attributes != before {
            self.put_marker(&marker, &attributes, &Condition::Always).await?;
            self.known.marked(path);
        }
        Ok(())
    }

    /// Whether `path` is a directory.
    ///
    /// # Errors
    /// `NotFound` if its parent is none: nothing can be made there.
    pub(crate) async fn is_directory_in_its_parent(&self, path: &VirtualPath) -> Result<bool, FsError> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(true) };
        if self.keys.mounted().is_fixed(path) {
            return Ok(true);
        }
        match self.known.child(&parent, name, path) {
            Child::Directory => return Ok(true),
            Child::NoDirectory => return Ok(false),
            Child::Unknown => return self.has_entries(path).await,
            Child::ParentUnknown => {}
        }
        // One page tells all subdirectories of most directories: the next files into this one need
        // no request at all.
        let below = self.keys.below(&parent)?;
        let page = self.list(below.clone(), true, limits::LIST_MAX).await?;
        let is_complete = page.next.is_none();
        if is_complete
            && page.objects.is_empty()
            && page.common_prefixes.is_empty()
            && !self.keys.mounted().is_fixed(&parent)
        {
            return Err(FsError::parent_not_found());
        }
        let has_marker = page.objects.first().is_some_and(|first| first.key.as_str() == below);
        let names: BTreeSet<Box<str>> =
            page.common_prefixes.iter().filter_map(|prefix| name_of(&below, prefix)).map(Into::into).collect();
        let is_listed = names.contains(name);
        let suspects = page.objects.iter().filter(|object| {
            let version = Version { key: &object.key, etag: &object.etag, last_modified: object.last_modified };
            let is_file = |shown: FileAttributes| shown.kind != FileKind::Symlink;
            may_be_link(object.size)
                && !self.vfs.links.is_file(&self.bucket, &object.key, &object.etag)
                && !self.vfs.attributes.known_file(&self.bucket, version).is_some_and(is_file)
        });
        let suspects: BTreeSet<Box<str>> =
            suspects.filter_map(|object| name_of(&below, object.key.as_str())).map(Into::into).collect();
        self.known.learn_names(parent, has_marker, is_complete.then_some(names), is_complete.then_some(suspects));
        if is_complete || is_listed { Ok(is_listed) } else { self.has_entries(path).await }
    }

    /// Whether there is a marker or anything below `path`.
    pub(crate) async fn has_entries(&self, path: &VirtualPath) -> Result<bool, FsError> {
        if self.keys.mounted().is_fixed(path) {
            return Ok(true);
        }
        // A path too long for a marker can't have anything below it.
        let Ok(below) = self.keys.below(path) else { return Ok(false) };
        Ok(!self.list(below, false, 1).await?.objects.is_empty())
    }

    /// Before the object `key` under `path` goes: gives its directory a marker if it would vanish
    /// with its last entry. A directory that exists only by what is in it (made by another tool) is
    /// one to its users all the same, and stays.
    pub(crate) async fn keep_parent(&self, path: &VirtualPath, key: &ObjectKey) -> Result<(), FsError> {
        let Some((parent, marker)) = self.unmarked_parent(path) else { return Ok(()) };
        let page = self.list(marker.as_str().to_owned(), false, 2).await?;
        let has_marker = page.objects.first().is_some_and(|first| first.key == marker);
        if has_marker {
            self.known.marked(&parent);
        } else if page.objects.iter().all(|object| object.key == *key) {
            self.mark(&parent, &marker).await?;
        }
        Ok(())
    }

    /// Before everything below the directory `path` goes: gives the directory above a marker if it has
    /// none, as [`Files::keep_parent`] does.
    pub(crate) async fn mark_parent(&self, path: &VirtualPath) -> Result<(), FsError> {
        match self.unmarked_parent(path) {
            Some((parent, marker)) => self.mark(&parent, &marker).await,
            None => Ok(()),
        }
    }

    /// The directory above `path` with the key of its marker, unless it has one or needs none.
    fn unmarked_parent(&self, path: &VirtualPath) -> Option<(VirtualPath, ObjectKey)> {
        let parent = path.parent()?;
        let marker = self.keys.kept(&parent)?;
        (!self.known.has_marker(&parent)).then_some((parent, marker))
    }

    /// Writes the marker of a directory if it has none.
    async fn mark(&self, directory: &VirtualPath, marker: &ObjectKey) -> Result<(), FsError> {
        match self.put_marker(marker, &implied_directory(), &Condition::IfAbsent).await {
            Err(error) if error.kind() == FsErrorKind::Conflict => {}
            put => put?,
        }
        self.known.marked(directory);
        Ok(())
    }

    /// What a missing file is to the client: `IsADirectory` or `NotFound`.
    pub(crate) async fn missing_file(&self, path: &VirtualPath) -> Result<FsError, FsError> {
        Ok(if self.has_entries(path).await? { FsError::is_a_directory() } else { FsError::not_found() })
    }

    /// HEAD, a missing object being `None`.
    pub(crate) async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, FsError> {
        match self.store.head(key).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The first page of a listing.
    pub(crate) async fn list(&self, prefix: String, delimited: bool, limit: u16) -> Result<ListPage, FsError> {
        Ok(self.store.list(&ListRequest { prefix, delimited, limit, continuation: None, start_after: None }).await?)
    }

    pub(crate) async fn put_marker(
        &self,
        marker: &ObjectKey,
        attributes: &ObjectAttributes,
        condition: &Condition,
    ) -> Result<(), FsError> {
        self.store.put(marker, Body::new(), Checksum::EMPTY, attributes, condition).await?;
        self.vfs.attributes.forget_directory(&self.bucket, marker);
        Ok(())
    }
}

fn is_missing(published: &Result<FileAttributes, FsError>) -> bool {
    published.as_ref().is_err_and(|error| error.kind() == FsErrorKind::NotFound)
}
