//! An open directory: listed page by page, the next page being fetched while one is read.

pub(crate) mod boundaries;
pub(crate) mod names;
mod ranges;
mod unfinished;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tidegate_store::{ListPage, ListedObject, StoreErrorKind};
use tokio::task::JoinHandle;

use self::names::{Named, Names};
use self::ranges::Ranges;
use crate::attribute_cache::Version;
use crate::attributes::FileAttributes;
use crate::config::ListingAttributes;
use crate::error::{FsError, FsErrorKind};
use crate::links::{Found, is_link};
use crate::path::VirtualPath;
use crate::vfs::Files;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name, 1 to 255 bytes without `/`; never `.` or `..`.
    pub name: String,
    /// What STAT shows of it.
    pub attributes: FileAttributes,
}

/// An open directory. Holds two pages of entries at most, some pages of names, and those of unfinished
/// uploads; dropping it stops what is being fetched.
#[derive(Debug)]
pub struct Directory {
    files: Arc<Files>,
    path: VirtualPath,
    coming: Option<Coming>,
}

/// Where a listing stands.
#[derive(Debug)]
struct Listing {
    ranges: Ranges,
    names: Names,
    is_begun: bool,
}

/// A page's entries, and how to go on behind it.
#[derive(Debug)]
struct Page {
    entries: Vec<DirectoryEntry>,
    rest: Option<Listing>,
}

impl Directory {
    /// Opens a directory with the request that lists its first page, behind one for the uploads in it where
    /// those are to be listed too.
    pub(crate) async fn open(
        files: Arc<Files>,
        path: &VirtualPath,
        lists_uploads: bool,
    ) -> Result<Found<Self>, FsError> {
        let is_fixed = files.keys.mounted().is_fixed(path);
        let mut unfinished = BTreeSet::new();
        let (mut ranges, below) = match files.keys.below(path) {
            // A directory by the mounts below it alone.
            Err(error) if error.kind() == FsErrorKind::NotFound && is_fixed => {
                (Ranges::none(Arc::clone(&files)), String::new())
            }
            below => {
                let below = below?;
                if lists_uploads {
                    unfinished = files.unfinished_in(&below).await;
                }
                (Ranges::new(Arc::clone(&files), below.clone()), below)
            }
        };
        let mut page = ranges.next().await?.unwrap_or_default();
        if is_empty(&page) && ranges.is_presumed() {
            // Its first entries are gone, maybe all of them and the marker too.
            ranges.restart();
            page = ranges.next().await?.unwrap_or_default();
        }
        if is_empty(&page) && ranges.is_done() && !is_fixed {
            return match files.head(&files.keys.object(path)?).await? {
                Some(meta) if is_link(&meta) => Ok(Found::Link),
                Some(_) => Err(FsError::not_a_directory()),
                None => Err(FsError::not_found()),
            };
        }
        files.known.seen(path);
        let is_top = files.keys.is_top(&below);
        let listing = Listing { ranges, names: Names::new(below, is_top).with(unfinished), is_begun: false };
        let coming = Coming::fetch(Arc::clone(&files), path.clone(), listing, Some(page));
        Ok(Found::Here(Self { files, path: path.clone(), coming: Some(coming) }))
    }

    /// The next entries, about 1,000 and unfinished uploads between them, in the order of their keys, behind
    /// those of what is mounted here; `None` at the end.
    ///
    /// # Errors
    /// Any that the store gives. The listing ends with it.
    pub async fn next_page(&mut self) -> Result<Option<Vec<DirectoryEntry>>, FsError> {
        while let Some(coming) = &mut self.coming {
            // Waited for in place: a caller that gives up in between loses nothing.
            let page = coming.wait().await;
            self.coming = None;
            let Page { entries, rest } = page?;
            self.coming = rest.map(|rest| Coming::fetch(Arc::clone(&self.files), self.path.clone(), rest, None));
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
        }
        Ok(None)
    }
}

fn is_empty(page: &ListPage) -> bool {
    page.objects.is_empty() && page.common_prefixes.is_empty()
}

/// A page being fetched in a task of its own.
#[derive(Debug)]
struct Coming(JoinHandle<Result<Page, FsError>>);

impl Coming {
    fn fetch(files: Arc<Files>, path: VirtualPath, mut listing: Listing, page: Option<ListPage>) -> Self {
        Self(tokio::spawn(async move {
            let page = match page {
                Some(page) => page,
                None => listing.ranges.next().await?.unwrap_or_default(),
            };
            let (mut named, unnameable) = listing.names.of_page(page);
            files.vfs.metrics.unnameable_keys.inc_by(unnameable);
            let is_last = listing.ranges.is_done();
            if is_last {
                named.extend(listing.names.rest());
            }
            // What is mounted in a directory hides what the store has there under the same name.
            let mounted = files.keys.mounted().names_in(&path);
            named.retain(|named| !mounted.contains(named.name()));
            // They can't be opened to be read, or not as what they are listed as.
            let unfinished: BTreeSet<String> = named.iter().filter_map(Named::unfinished).map(str::to_owned).collect();
            let mut entries = files.entries(&path, named).await?;
            if std::mem::replace(&mut listing.is_begun, true) {
                files.prefetch.touch(&path);
            } else {
                let readable = entries.iter().filter(|entry| !unfinished.contains(&entry.name));
                files.prefetch.learn(&path, readable, !is_last);
                let attributes = FileAttributes::directory();
                entries.splice(..0, mounted.into_iter().map(|name| DirectoryEntry { name, attributes }));
            }
            Ok(Page { entries, rest: (!is_last).then_some(listing) })
        }))
    }

    async fn wait(&mut self) -> Result<Page, FsError> {
        (&mut self.0).await.unwrap_or_else(|_| Err(interrupted()))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Files {
    /// Gives names their attributes, in the same order; files that have vanished since are left out.
    async fn entries(&self, path: &VirtualPath, named: Vec<Named>) -> Result<Vec<DirectoryEntry>, FsError> {
        let lookups = named.into_iter().map(|named| async move {
            let (name, attributes) = match named {
                Named::Directory(name) => {
                    let attributes = self.subdirectory_attributes(path, &name).await?;
                    (name, Some(attributes))
                }
                Named::File(name, object) => (name, self.listed_attributes(&object).await?),
                Named::Unfinished(name, object) => {
                    let attributes = self.unfinished_attributes(path, &name, object.as_ref()).await?;
                    (name, attributes)
                }
            };
            Ok::<_, FsError>(attributes.map(|attributes| DirectoryEntry { name, attributes }))
        });
        let lookups = futures::stream::iter(lookups).buffered(self.vfs.config.listing_concurrency.max(1));
        lookups.try_filter_map(|entry| async move { Ok(entry) }).try_collect().await
    }

    async fn listed_attributes(&self, object: &ListedObject) -> Result<Option<FileAttributes>, FsError> {
        let listed = FileAttributes::listed(object.size, object.last_modified);
        if self.vfs.config.listing_attributes == ListingAttributes::Fast {
            return Ok(Some(listed));
        }
        let version = Version { key: &object.key, etag: &object.etag, last_modified: object.last_modified };
        if let Some(attributes) = self.vfs.attributes.file(&self.bucket, version) {
            return Ok(Some(attributes));
        }
        let lookup = self.lookups.acquire().await;
        // Before it is sent: the answer tells of no earlier moment.
        let asked = self.store.now();
        let head = self.store.head(&object.key).await;
        drop(lookup);
        let meta = match head {
            Ok(meta) => meta,
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
            // One object under a key that we may not use must not hide all others.
            Err(error) if error.kind() == StoreErrorKind::AccessDenied => return Ok(Some(listed)),
            Err(error) => return Err(error.into()),
        };
        let attributes = FileAttributes::of_file(&meta);
        let version = Version { key: &object.key, etag: &meta.etag, last_modified: meta.last_modified };
        self.vfs.attributes.put_file(&self.bucket, version, asked, attributes);
        Ok(Some(attributes))
    }

    async fn subdirectory_attributes(&self, parent: &VirtualPath, name: &str) -> Result<FileAttributes, FsError> {
        if self.vfs.config.listing_attributes == ListingAttributes::Fast {
            return Ok(FileAttributes::directory());
        }
        // A key that is too long for a marker: the directory is there by longer keys of its own kind.
        let path = VirtualPath::resolve(parent, name.as_bytes())?;
        let Ok(marker) = self.keys.marker(&path) else { return Ok(FileAttributes::directory()) };
        match self.vfs.attributes.directory(&self.bucket, &marker) {
            Some(attributes) => Ok(attributes),
            None => self.marker_attributes(&marker).await,
        }
    }
}

/// A task of the listing has ended without a result.
fn interrupted() -> FsError {
    FsError::new(FsErrorKind::Unavailable, "the listing was interrupted inside the server; try again")
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("keys", &self.keys).field("rights", &self.rights).finish_non_exhaustive()
    }
}
