//! The names in a page of a listing, each once.

use tidegate_store::{ListPage, ListedObject, RESERVED};

use crate::key::name_of;

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Directory(String),
    File(String, ListedObject),
}

impl Named {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Directory(name) | Self::File(name, _) => name,
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
}

impl Names {
    pub(crate) fn new(below: String, is_top: bool) -> Self {
        Self { below, is_top, open: Vec::new() }
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
                if object.key.as_str() == self.below {
                    continue;
                }
                match name_of(&self.below, object.key.as_str()).map(str::to_owned) {
                    Some(name) => {
                        self.close(&name);
                        self.open.push(name.clone());
                        named.push(Named::File(name, object));
                    }
                    None => unnameable += 1,
                }
            } else {
                let Some(prefix) = prefixes.next() else { break };
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
            Named::File(name, _) => name.clone(),
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
            page_size in 1..5_usize,
        ) {
            // A delimited listing: what holds a `/` is rolled up to its first one.
            let keys: std::collections::BTreeSet<String> = entries
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
            let mut names = Names::new("d/".to_owned(), false);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let mut listed = BTreeMap::new();
            for chunk in keys.chunks(page_size) {
                for named in names.of_page(page(chunk)).0 {
                    let (name, is_file) = match named {
                        Named::Directory(name) => (name, false),
                        Named::File(name, _) => (name, true),
                    };
                    prop_assert!(listed.insert(name, is_file).is_none(), "listed twice");
                }
            }
            prop_assert_eq!(listed, expected);
        }
    }
}
