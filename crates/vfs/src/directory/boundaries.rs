//! Where the pages of large directories begin, so that their next listing asks for them side by side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_store::ListPage;

use crate::hashed_names::{HashedName, NameHasher};

/// Entries between two boundaries: a page of S3's ListObjectsV2 is not longer.
const STRIDE: usize = tidegate_store::limits::LIST_MAX as usize;

/// How many boundaries of one directory are kept, which is a quarter of a million entries. What
/// follows is listed page by page.
const BOUNDARIES_MAX: usize = 256;

/// What all directories together may take, in bytes.
const BYTES_MAX: usize = 4 << 20;

/// What a directory takes besides its names.
const OVERHEAD: usize = 128;

/// The boundaries in directories that this node has listed, those used last.
///
/// They are places in the order of keys and nothing else: a listing between them is complete whatever
/// has been made or removed since, only its pages are no longer of equal length.
#[derive(Debug, Default)]
pub(crate) struct Boundaries {
    names: NameHasher,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By bucket and beginning of the keys.
    directories: HashMap<HashedName, Known>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Known {
    boundaries: Arc<[Box<str>]>,
    has_marker: bool,
    bytes: usize,
    used: u64,
}

impl Boundaries {
    /// The keys or common prefixes, in their order, at which to divide the listing of what begins with
    /// `below`; none if nothing is known.
    pub(crate) fn get(&self, bucket: &str, below: &str) -> Arc<[Box<str>]> {
        let name = self.names.name(&(bucket, below));
        let mut state = self.state();
        state.clock += 1;
        let used = state.clock;
        let known = state.directories.get_mut(&name);
        known.map_or_else(Arc::default, |known| {
            known.used = used;
            Arc::clone(&known.boundaries)
        })
    }

    /// Whether a large directory was seen to have a marker. It may have lost it since.
    pub(crate) fn had_marker(&self, bucket: &str, below: &str) -> bool {
        let name = self.names.name(&(bucket, below));
        self.state().directories.get(&name).is_some_and(|known| known.has_marker)
    }

    /// Notes that a directory has no marker.
    pub(crate) fn without_marker(&self, bucket: &str, below: &str) {
        let name = self.names.name(&(bucket, below));
        if let Some(known) = self.state().directories.get_mut(&name) {
            known.has_marker = false;
        }
    }

    /// Notes what a whole listing has shown; whether there is a marker only if it was listed, too.
    pub(crate) fn put(&self, bucket: &str, below: &str, boundaries: Vec<Box<str>>, has_marker: Option<bool>) {
        let name = self.names.name(&(bucket, below));
        let mut state = self.state();
        let before = state.directories.remove(&name);
        let has_marker = has_marker.unwrap_or(before.as_ref().is_some_and(|before| before.has_marker));
        state.bytes -= before.map_or(0, |before| before.bytes);
        let names: usize = boundaries.iter().map(|boundary| boundary.len() + size_of::<Box<str>>()).sum();
        let bytes = OVERHEAD + names;
        if boundaries.is_empty() || bytes > BYTES_MAX {
            return;
        }
        while state.bytes + bytes > BYTES_MAX {
            let oldest = state.directories.iter().min_by_key(|(_, known)| known.used).map(|(name, _)| *name);
            let Some(oldest) = oldest.and_then(|oldest| state.directories.remove(&oldest)) else { break };
            state.bytes -= oldest.bytes;
        }
        state.clock += 1;
        state.bytes += bytes;
        let known = Known { boundaries: boundaries.into(), has_marker, bytes, used: state.clock };
        state.directories.insert(name, known);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds the boundaries of a listing as its pages go by.
#[derive(Debug, Default)]
pub(super) struct Survey {
    found: Vec<Box<str>>,
    /// The entry before which [`STRIDE`] entries lie since the last boundary: it becomes the next one as
    /// soon as there is an entry behind it.
    last: Option<Box<str>>,
    since: usize,
    /// Whether the listing shows the directory's own marker.
    pub(super) has_marker: bool,
}

impl Survey {
    /// Takes in the next entries of the listing of what begins with `below`, whose own marker is none.
    pub(super) fn add(&mut self, below: &str, page: &ListPage) {
        let entries = page.objects.len() + page.common_prefixes.len();
        let has_marker = page.objects.first().is_some_and(|first| first.key.as_str() == below);
        self.has_marker |= has_marker;
        // Nothing to find in most directories, nor behind the limit.
        if self.found.len() >= BOUNDARIES_MAX {
            return;
        }
        if self.since + entries < STRIDE && self.last.is_none() {
            self.since += entries - usize::from(has_marker);
            return;
        }
        for (entry, is_prefix) in in_order(page).filter(|(entry, _)| *entry != below) {
            if let Some(last) = self.last.take()
                && self.found.len() < BOUNDARIES_MAX
            {
                self.found.push(last);
            }
            self.since += 1;
            if self.since == STRIDE {
                self.last = Some(entry.into());
                // S3 lists a common prefix again behind itself.
                self.since = usize::from(is_prefix);
            }
        }
    }

    pub(super) fn boundaries(self) -> Vec<Box<str>> {
        self.found
    }
}

/// The keys and common prefixes of a page in their common order, and which are prefixes.
fn in_order(page: &ListPage) -> impl Iterator<Item = (&str, bool)> {
    let mut objects = page.objects.iter().map(|object| object.key.as_str()).peekable();
    let mut prefixes = page.common_prefixes.iter().map(String::as_str).peekable();
    std::iter::from_fn(move || match (objects.peek(), prefixes.peek()) {
        (Some(object), Some(prefix)) if prefix < object => prefixes.next().map(|prefix| (prefix, true)),
        (Some(_), _) => objects.next().map(|object| (object, false)),
        (None, _) => prefixes.next().map(|prefix| (prefix, true)),
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tidegate_store::{ETag, ListedObject, ObjectKey};

    use super::*;

    fn page(objects: impl IntoIterator<Item = String>, prefixes: impl IntoIterator<Item = String>) -> ListPage {
        let (size, etag, last_modified) = (0, ETag::new("\"e\""), SystemTime::UNIX_EPOCH);
        let object = |key| ListedObject {
            key: ObjectKey::new(key).unwrap(),
            size,
            etag: etag.clone(),
            last_modified,
            storage_class: None,
        };
        ListPage {
            objects: objects.into_iter().map(object).collect(),
            common_prefixes: prefixes.into_iter().collect(),
            next: None,
        }
    }

    fn boundaries(pages: &[ListPage]) -> Vec<String> {
        let mut survey = Survey::default();
        for page in pages {
            survey.add("d/", page);
        }
        survey.boundaries().into_iter().map(String::from).collect()
    }

    #[test]
    fn a_boundary_lies_behind_every_thousand_entries_that_others_follow() {
        let names = |range: std::ops::Range<usize>| range.map(|n| format!("d/{n:05}"));
        let marker = ["d/".to_owned()].into_iter();
        assert!(boundaries(&[page(names(0..1_000), [])]).is_empty(), "one page");
        assert_eq!(boundaries(&[page(names(0..1_000), []), page(names(1_000..1_001), [])]), ["d/00999"]);
        let with_marker =
            [page(marker.chain(names(0..999)), []), page(names(999..1_999), []), page(names(1_999..2_000), [])];
        assert_eq!(boundaries(&with_marker), ["d/00999"], "the marker is no entry");
        // However the pages were cut.
        let short: Vec<_> = (0..30).map(|n| page(names(n * 100..n * 100 + 100), [])).collect();
        assert_eq!(boundaries(&short), ["d/00999", "d/01999"]);
    }

    #[test]
    fn a_page_behind_a_subdirectory_shows_it_again() {
        let name = |n: usize| format!("d/{n:05}");
        let folder = |n: usize| format!("d/{n:05}/");
        let pages = [page((0..500).map(name), (500..1_000).map(folder)), page((1_000..3_000).map(name), [])];
        assert_eq!(boundaries(&pages), ["d/00999/", "d/01998", "d/02998"]);
    }

    #[test]
    fn a_directory_s_boundaries_are_bounded_and_so_are_all_together() {
        let mut survey = Survey::default();
        for n in 0..1_000 {
            survey.add("d/", &page((0..1_000).map(|m| format!("d/{n:05}-{m:05}")), []));
        }
        assert_eq!(survey.boundaries().len(), BOUNDARIES_MAX);

        let all = Boundaries::default();
        let long = || vec!["x".repeat(1_000).into_boxed_str(); BOUNDARIES_MAX];
        for n in 0..100 {
            all.put("bucket", &format!("{n}/"), long(), None);
            assert_eq!(all.get("bucket", "0/").len(), BOUNDARIES_MAX, "used all the time");
            assert!(all.state().bytes <= BYTES_MAX);
        }
        assert!(all.get("bucket", "50/").is_empty());
        assert!(all.get("another", "0/").is_empty());
        for n in 0..100 {
            all.put("bucket", &format!("{n}/"), Vec::new(), None);
        }
        let state = all.state();
        assert_eq!((state.bytes, state.directories.len()), (0, 0));
    }
}
