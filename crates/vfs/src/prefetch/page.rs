//! The files of one stretch of a listing, packed: pure, no I/O.

/// What one page takes at most, in bytes.
pub(super) const PAGE_MAX: usize = 64 << 10;

/// A file in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListedFile<'a> {
    pub(super) name: &'a str,
    /// In bytes; 4 GiB and more are shown as 4 GiB less one.
    pub(super) size: u32,
    /// Whether a directory stands between it and the file before it: a client that takes trees in
    /// the order of the listing goes down there first.
    pub(super) behind_directory: bool,
}

/// An entry of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    Directory(&'a str),
    /// With its size in bytes.
    File(&'a str, u64),
    /// Nothing that is opened to be read.
    Other(&'a str),
}

/// Files in the order of their names' bytes, all names in one text.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    marks: Vec<Mark>,
}

#[derive(Debug)]
struct Mark {
    /// Where the name ends in the text; it begins where the one before it ends.
    end: u32,
    size: u32,
    behind_directory: bool,
}

impl Page {
    /// Packs the files among `entries` as far as [`PAGE_MAX`] allows. Where that, or the listing itself
    /// (`more`), leaves others for the next page, also tells which entry they stand behind: a file's
    /// name, or a directory's with a `/`. `None` if the entries are out of order: not every store
    /// that speaks S3 lists in order.
    pub(super) fn pack<'a>(entries: impl IntoIterator<Item = Entry<'a>>, more: bool) -> Option<(Self, Option<String>)> {
        let mut page = Self::default();
        let (mut more, mut last) = (more, None);
        let mut behind_directory = false;
        for entry in entries {
            match entry {
                Entry::Directory(_) => behind_directory = true,
                Entry::File(name, size) => {
                    if page.last().is_some_and(|last| name <= last) {
                        return None;
                    }
                    if page.bytes() + name.len() + size_of::<Mark>() > PAGE_MAX {
                        more = true;
                        break;
                    }
                    page.text.push_str(name);
                    let end = u32::try_from(page.text.len()).ok()?;
                    let size = u32::try_from(size).unwrap_or(u32::MAX);
                    page.marks.push(Mark { end, size, behind_directory });
                    behind_directory = false;
                }
                Entry::Other(_) => {}
            }
            last = Some(entry);
        }
        page.text.shrink_to_fit();
        page.marks.shrink_to_fit();
        let behind = last.filter(|_| more).map(|entry| match entry {
            Entry::Directory(name) => format!("{name}/"),
            Entry::File(name, _) | Entry::Other(name) => name.to_owned(),
        });
        Some((page, behind))
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.marks.len() * size_of::<Mark>()
    }

    pub(super) fn get(&self, index: usize) -> Option<ListedFile<'_>> {
        let mark = self.marks.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.marks.get(before)).map_or(0, |before| before.end);
        let name = self.text.get(start as usize..mark.end as usize)?;
        Some(ListedFile { name, size: mark.size, behind_directory: mark.behind_directory })
    }

    pub(super) fn first(&self) -> Option<&str> {
        self.get(0).map(|file| file.name)
    }

    pub(super) fn last(&self) -> Option<&str> {
        self.get(self.len().checked_sub(1)?).map(|file| file.name)
    }

    /// The number of the first file behind `name`.
    pub(super) fn index_behind(&self, name: &str) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(|file| file.name <= name) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keeps_names_sizes_and_where_directories_stand() {
        let entries = [
            Entry::File("a", 1),
            Entry::Other("link"),
            Entry::File("m", u64::MAX),
            Entry::Directory("n"),
            Entry::File("o", 0),
            Entry::Directory("p"),
        ];
        let (page, behind) = Page::pack(entries, true).unwrap();
        let files: Vec<_> = (0..page.len()).filter_map(|index| page.get(index)).collect();
        let file = |name, size, behind_directory| ListedFile { name, size, behind_directory };
        assert_eq!(files, [file("a", 1, false), file("m", u32::MAX, false), file("o", 0, true)]);
        assert_eq!((page.first(), page.last(), behind.as_deref()), (Some("a"), Some("o"), Some("p/")));
    }

    #[test]
    fn takes_no_more_than_it_may_and_tells_where_it_was_cut() {
        let names: Vec<String> = (0..1_000).map(|n| format!("{n:0255}")).collect();
        let (page, behind) = Page::pack(names.iter().map(|name| Entry::File(name, 1)), false).unwrap();
        assert!(page.bytes() <= PAGE_MAX && page.len() > 200, "{} files", page.len());
        assert_eq!(behind.as_deref(), page.last());
    }

    #[test]
    fn a_listing_out_of_order_is_not_relied_on() {
        assert!(Page::pack([Entry::File("b", 1), Entry::File("a", 1)], true).is_none());
        assert!(Page::pack([Entry::File("a", 1), Entry::File("a", 1)], true).is_none());
    }

    proptest! {
        #[test]
        fn finds_what_comes_next(names in prop::collection::btree_set("[a-c]{1,3}", 0..30), sought in "[a-c]{0,4}") {
            let (page, _) = Page::pack(names.iter().map(|name| Entry::File(name, 1)), false).unwrap();
            let next = page.get(page.index_behind(&sought)).map(|file| file.name.to_owned());
            let behind: BTreeSet<_> = names.iter().filter(|name| **name > sought).collect();
            prop_assert_eq!(next.as_ref(), behind.first().copied());
        }
    }
}
