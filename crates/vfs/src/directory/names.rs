//! The names in a page of a listing, each once.

use std::collections::BTreeSet;

use tidegate_store::{ListPage, ListedObject, RESERVED};

use crate::key::name_of;

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Directory(String),
    File(String, ListedObject),
    /// Maybe a file that is being uploaded or was cut, and the object that it is to replace.
    Unfinished(String, Option<ListedObject>),
}

impl Named {
    /// The name of one that may be unfinished.
    pub(crate) fn unfinished(&self) -> Option<&str> {
        if let Self::Unfinished(name, _) = self { Some(name) } else { None }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Directory(name) | Self::File(name, _) | Self::Unfinished(name, _) => name,
        }
    }
}

/// Goes through the pages of one directory's listing, in order.
///
/// A name can be both an object `a` and a prefix `a/`, and is listed once, as STAT shows it: as the
/// file. The two are not neighbours in the listing (`a`, `a-b`, `a/`), maybe not even on one page,
/// but all keys between them begin with `a`. So it is enough to remember the objects that the
/// newest key begins with; each begins with the one before, which bounds them by a name's length.
#[derive(Debug)]
pub(crate) struct Names {
    below: String,
    /// Whether it is the top of a tenant's files, where one name is no file's.
    is_top: bool,
    /// Names of objects, each the beginning of the next and of the newest key.
    open: Vec<String>,
    /// Names that come besides those of the pages, each at its place, or in place of an object's.
    unfinished: BTreeSet<String>,
}

impl Names {
    pub(crate) fn new(below: String, is_top: bool) -> Self {
        Self { below, is_top, open: Vec::new(), unfinished: BTreeSet::new() }
    }

    /// The same with names that are listed besides those of the pages.
    pub(crate) fn with(self, unfinished: BTreeSet<String>) -> Self {
        Self { unfinished, ..self }
    }

    /// The names that are left where no page comes any more.
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = Named> {
        std::mem::take(&mut self.unfinished).into_iter().map(|name| Named::Unfinished(name, None))
    }

    /// The names in a page, and how many keys were left out because no path can name them.
    pub(crate) fn of_page(&mut self, page: ListPage) -> (Vec<Named>, u64) {
        let mut named = Vec::with_capacity(page.objects.len() + page.common_prefixes.len());
        let mut unnameable = 0;
        let mut objects = page.objects.into_iter().peekable();
        let mut prefixes = page.common_prefixes.into_iter().peekable();
        loop {
            let is_object = match (objects.peek(), prefixes.peek()) {
                (Some(object), Some(prefix)) => object.key.as_str() < prefix.as_str(),
                (object, _) => object.is_some(),
            };
            if is_object {
                let Some(object) = objects.next() else { break };
                self.unfinished_before(object.key.as_str(), &mut named);
                if object.key.as_str() == self.below {
                    continue;
                }
                match name_of(&self.below, object.key.as_str()).map(str::to_owned) {
                    Some(name) => {
                        self.open(&name);
                        named.push(match self.unfinished.take(&name) {
                            Some(name) => Named::Unfinished(name, Some(object)),
                            None => Named::File(name, object),
                        });
                    }
                    None => unnameable += 1,
                }
            } else {
                let Some(prefix) = prefixes.next() else { break };
                self.unfinished_before(&prefix, &mut named);
                match name_of(&self.below, &prefix).map(str::to_owned) {
                    Some(name) if self.is_top && name == RESERVED => {}
                    Some(name) => {
                        self.close(&name);
                        if self.open.last() != Some(&name) {
                            named.push(Named::Directory(name));
                        }
                    }
                    None => unnameable += 1,
                }
            }
        }
        (named, unnameable)
    }

    /// Adds those of the other names whose keys come before this one.
    fn unfinished_before(&mut self, key: &str, named: &mut Vec<Named>) {
        let Some(end) = key.strip_prefix(self.below.as_str()) else { return };
        while self.unfinished.first().is_some_and(|name| name.as_str() < end)
            && let Some(name) = self.unfinished.pop_first()
        {
            self.open(&name);
            named.push(Named::Unfinished(name, None));
        }
    }

    /// Notes that an object, or what stands for one, has this name.
    fn open(&mut self, name: &str) {
        self.close(name);
        self.open.push(name.to_owned());
    }

    /// Forgets the names that no later key can begin with.
    fn close(&mut self, key: &str) {
        while self.open.last().is_some_and(|name| !key.starts_with(name.as_str())) {
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use proptest::prelude::*;
    use tidegate_store::{ETag, ObjectKey};

    use super::*;

    fn object(key: &str) -> ListedObject {
        let (size, etag) = (0, ETag::new("\"e\""));
        ListedObject {
            key: ObjectKey::new(key).unwrap(),
            size,
            etag,
            last_modified: SystemTime::UNIX_EPOCH,
            storage_class: None,
        }
    }

    fn page(keys: &[&str]) -> ListPage {
        let (prefixes, objects): (Vec<&str>, Vec<&str>) =
            keys.iter().partition(|key| key.strip_prefix("d/").is_some_and(|rest| rest.ends_with('/')));
        ListPage {
            objects: objects.into_iter().map(object).collect(),
            common_prefixes: prefixes.into_iter().map(str::to_owned).collect(),
            next: None,
        }
    }

    fn shown(named: &[Named]) -> Vec<String> {
        let show = |named: &Named| match named {
            Named::Directory(name) => format!("{name}/"),
            Named::File(name, _) | Named::Unfinished(name, _) => name.clone(),
        };
        named.iter().map(show).collect()
    }

    #[test]
    fn the_marker_of_the_directory_itself_is_no_entry() {
        assert_eq!(shown(&Names::new("d/".to_owned(), false).of_page(page(&["d/", "d/x"])).0), ["x"]);
    }

    #[test]
    fn a_file_and_a_directory_of_one_name_are_listed_as_the_file_across_pages() {
        let mut names = Names::new("d/".to_owned(), false);
        assert_eq!(shown(&names.of_page(page(&["d/a", "d/a!"])).0), ["a", "a!"]);
        assert_eq!(shown(&names.of_page(page(&["d/a-b", "d/a/", "d/a0/", "d/b/"])).0), ["a-b", "a0/", "b/"]);
    }

    #[test]
    fn keys_that_no_path_can_name_are_counted() {
        let (named, unnameable) = Names::new("d/".to_owned(), false).of_page(page(&["d//", "d/.", "d/../", "d/x"]));
        assert_eq!((shown(&named), unnameable), (vec!["x".to_owned()], 3));
    }

    proptest! {
        #[test]
        fn every_name_once_and_files_first(
            entries in prop::collection::btree_set("[a-b!/0-]{1,4}/?", 0..40),
            unfinished in prop::collection::btree_set("[a-b!0-]{1,4}", 0..10),
            page_size in 1..5_usize,
        ) {
            // A delimited listing: what holds a `/` is rolled up to its first one.
            let keys: BTreeSet<String> = entries
                .iter()
                .map(|key| key.split_once('/').map_or(key.clone(), |(name, _)| format!("{name}/")))
                .filter(|key| key != "/")
                .map(|key| format!("d/{key}"))
                .collect();
            let mut expected: BTreeMap<String, bool> = BTreeMap::new();
            for key in &keys {
                let name = key.strip_prefix("d/").unwrap();
                let is_file = !name.ends_with('/');
                *expected.entry(name.trim_end_matches('/').to_owned()).or_default() |= is_file;
            }
            expected.extend(unfinished.iter().map(|name| (name.clone(), true)));
            let mut names = Names::new("d/".to_owned(), false).with(unfinished.clone());
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let mut listed = BTreeMap::new();
            let mut pages: Vec<Vec<Named>> =
                keys.chunks(page_size).map(|chunk| names.of_page(page(chunk)).0).collect();
            pages.push(names.rest().collect());
            let mut places = Vec::new();
            for named in pages.into_iter().flatten() {
                places.push(named.name().to_owned() + if matches!(named, Named::Directory(_)) { "/" } else { "" });
                prop_assert_eq!(named.unfinished().is_some(), unfinished.contains(named.name()));
                let is_file = !matches!(named, Named::Directory(_));
                prop_assert!(listed.insert(named.name().to_owned(), is_file).is_none(), "listed twice");
            }
            prop_assert!(places.is_sorted(), "out of order: {places:?}");
            prop_assert_eq!(listed, expected);
        }
    }
}
