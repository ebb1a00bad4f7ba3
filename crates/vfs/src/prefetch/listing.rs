//! Whether a session opens a directory's files in order, and what comes next: pure, no I/O.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::page::{ListedFile, Page};
use crate::path::VirtualPath;
use crate::reader::FIRST;

/// How many pages of one directory are kept: the one in use, and the one behind it.
const PAGES_MAX: usize = 2;

/// How many files must be opened in rising order before the listing is asked for a directory that
/// this session has not listed, or not lately.
const RUN_MIN: u32 = 4;

/// How much a client reads at most, in bytes, before it comes to a file opened ahead: what lies
/// farther away would probably not be used in time.
const DISTANCE_MAX: u64 = 8 << 20;

/// What a session knows of one directory's files.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) directory: VirtualPath,
    pub(super) used: Instant,
    /// Stretches of the listing, without a gap between them; none if it is not known.
    pages: VecDeque<Page>,
    /// Behind which entry the listing goes on; `None` if it ends with the pages.
    behind: Option<String>,
    /// Behind which entry a page is being asked for.
    asking: Option<String>,
    /// The file that was opened last in order.
    opened: Option<Box<str>>,
    /// The last file that was opened ahead, in a row without gaps.
    reached: Option<Box<str>>,
    /// How many files in a row were opened in rising order.
    run: u32,
}

/// What an OPEN is to the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The next file in order.
    Next,
    /// Any other.
    Other,
}

/// A page to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The entry that it begins behind.
    pub(super) behind: String,
    /// Whether nothing but rising names speaks for it.
    pub(super) on_trust: bool,
}

impl Listing {
    /// A directory whose listing begins with `page` and goes on behind `behind`.
    pub(super) fn new(directory: VirtualPath, page: Page, behind: Option<String>, now: Instant) -> Self {
        let pages = VecDeque::from([page]);
        Self { directory, used: now, pages, behind, asking: None, opened: None, reached: None, run: 0 }
    }

    /// A directory that was not listed.
    pub(super) fn unknown(directory: VirtualPath, now: Instant) -> Self {
        let pages = VecDeque::new();
        Self { directory, used: now, pages, behind: None, asking: None, opened: None, reached: None, run: 0 }
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.pages.iter().map(Page::bytes).sum()
    }

    /// Notes that a file was opened which had been opened ahead.
    pub(super) fn open_expected(&mut self, name: &str, now: Instant) {
        self.used = now;
        if self.opened.as_deref().is_none_or(|opened| opened < name) {
            self.advance(name);
        }
    }

    /// Notes that any other file was opened. `is_trusted` says that the session took another
    /// directory in order just before: then the first file is as good as the next.
    pub(super) fn open(&mut self, name: &str, is_trusted: bool, now: Instant) -> Place {
        self.used = now;
        let next = self.next_files().next().map(|file| file.name);
        let is_next = next == Some(name) && (self.opened.is_some() || is_trusted);
        let is_rising = self.opened.as_deref().is_some_and(|opened| opened < name);
        self.run = if is_rising { self.run.saturating_add(1) } else { 1 };
        self.reached = None;
        if !self.covers(name) {
            self.pages.clear();
            self.behind = Some(name.to_owned());
        }
        self.advance(name);
        if is_next { Place::Next } else { Place::Other }
    }

    /// The files to open ahead, at most `depth` behind the one that was opened last, with their
    /// sizes in bytes.
    pub(super) fn due(&self, depth: usize) -> Vec<(Box<str>, u64)> {
        let mut distance = self.opened_size().map_or(0, u64::from);
        let mut due = Vec::new();
        for file in self.next_files().take(depth) {
            if file.behind_directory || distance > DISTANCE_MAX {
                break;
            }
            let size = u64::from(file.size);
            distance += size;
            if size <= FIRST && self.reached.as_deref().is_none_or(|reached| reached < file.name) {
                due.push((file.name.into(), size));
            }
        }
        due
    }

    /// Notes that a file that was due is being opened.
    pub(super) fn reach(&mut self, name: Box<str>) {
        self.reached = Some(name);
    }

    /// The size of the file that was opened last, if it is known.
    fn opened_size(&self) -> Option<u32> {
        let opened = self.opened.as_deref()?;
        let files = self.pages.iter().filter_map(|page| page.get(page.index_behind(opened).checked_sub(1)?));
        files.filter(|file| file.name == opened).map(|file| file.size).next()
    }

    /// The files behind the one that was opened last.
    fn next_files(&self) -> impl Iterator<Item = ListedFile<'_>> {
        self.pages.iter().flat_map(|page| {
            let from = self.opened.as_deref().map_or(0, |opened| page.index_behind(opened));
            (from..page.len()).filter_map(|index| page.get(index))
        })
    }

    /// The page to ask for now: for a session that opens this directory's files in order, if fewer
    /// than `near` of them are left of what is known; for any other, if the names rose for a while
    /// and nothing is known. It counts as asked for until [`Listing::arrive`].
    pub(super) fn want(&mut self, near: usize, is_in_order: bool) -> Option<Wanted> {
        let on_trust = self.pages.is_empty();
        let is_due = if on_trust {
            self.run >= RUN_MIN
        } else {
            is_in_order && self.pages.len() < PAGES_MAX && self.next_files().take(near).count() < near
        };
        if self.asking.is_some() || !is_due {
            return None;
        }
        let behind = self.behind.clone()?;
        self.asking = Some(behind.clone());
        Some(Wanted { behind, on_trust })
    }

    /// Gives up a page that was wanted.
    pub(super) fn give_up(&mut self) {
        self.asking = None;
        self.run = 0;
    }

    /// Takes the page that was asked for, behind `behind`; `None` if it could not be had.
    pub(super) fn arrive(&mut self, behind: &str, page: Option<(Page, Option<String>)>) {
        if self.asking.as_deref() != Some(behind) {
            // The directory was listed anew meanwhile.
            return;
        }
        self.asking = None;
        let last = self.pages.back().and_then(Page::last).map(str::to_owned);
        let Some((page, behind)) = page.filter(|(page, _)| page.len() == 0 || page.first() > last.as_deref()) else {
            self.behind = None;
            return;
        };
        self.behind = behind;
        if page.len() > 0 {
            self.pages.push_back(page);
        }
        self.trim();
    }

    /// Whether nothing comes any more.
    pub(super) fn is_done(&self) -> bool {
        self.asking.is_none() && self.behind.is_none() && self.next_files().next().is_none()
    }

    fn advance(&mut self, name: &str) {
        self.opened = Some(name.into());
        self.trim();
    }

    fn trim(&mut self) {
        let Some(opened) = self.opened.as_deref() else { return };
        while self.pages.len() > 1 && self.pages.front().and_then(Page::last).is_some_and(|last| last <= opened) {
            self.pages.pop_front();
        }
    }

    /// Whether the pages, or the one that is coming, tell what comes behind `name`.
    fn covers(&self, name: &str) -> bool {
        let is_behind_first = self.pages.front().and_then(Page::first).is_some_and(|first| first <= name);
        let is_before_end = self.pages.back().and_then(Page::last).is_some_and(|last| name <= last);
        self.asking.is_some() || (is_behind_first && (is_before_end || self.behind.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::Entry;
    use super::*;

    fn page(names: &[&str]) -> Page {
        Page::pack(names.iter().map(|name| Entry::File(name, 1)), false).unwrap().0
    }

    fn listing(names: &[&str], behind: Option<&str>) -> Listing {
        Listing::new(VirtualPath::root(), page(names), behind.map(str::to_owned), Instant::now())
    }

    fn open(listing: &mut Listing, name: &str) -> Place {
        listing.open(name, false, Instant::now())
    }

    fn next(listing: &Listing) -> Vec<&str> {
        listing.next_files().map(|file| file.name).collect()
    }

    #[test]
    fn the_second_of_two_neighbours_is_the_next() {
        let mut listing = listing(&["a", "b", "c", "d"], None);
        assert_eq!(open(&mut listing, "b"), Place::Other);
        assert_eq!(open(&mut listing, "c"), Place::Next);
        assert_eq!(next(&listing), ["d"]);
        assert_eq!(open(&mut listing, "a"), Place::Other);
        assert_eq!(open(&mut listing, "c"), Place::Other, "one was left out");
        assert!(!listing.is_done());
        assert_eq!(open(&mut listing, "d"), Place::Next);
        assert!(listing.is_done());
    }

    #[test]
    fn the_first_is_the_next_for_a_session_that_keeps_order() {
        let mut fresh = listing(&["a", "b"], None);
        assert_eq!(open(&mut fresh, "a"), Place::Other);
        let mut trusted = listing(&["a", "b"], None);
        assert_eq!(trusted.open("a", true, Instant::now()), Place::Next);
        let mut elsewhere = listing(&["a", "b"], None);
        assert_eq!(elsewhere.open("b", true, Instant::now()), Place::Other);
    }

    #[test]
    fn what_is_opened_late_moves_nothing_back() {
        let mut listing = listing(&["a", "b", "c", "d"], None);
        open(&mut listing, "a");
        listing.open_expected("c", Instant::now());
        listing.open_expected("b", Instant::now());
        assert_eq!(next(&listing), ["d"]);
    }

    #[test]
    fn asks_for_the_next_page_once_and_before_the_end() {
        let mut listing = listing(&["a", "b", "c", "d"], Some("d"));
        open(&mut listing, "a");
        assert_eq!(listing.want(3, true), None);
        open(&mut listing, "b");
        assert_eq!(listing.want(3, false), None, "in no order");
        let wanted = Wanted { behind: "d".to_owned(), on_trust: false };
        assert_eq!(listing.want(3, true), Some(wanted));
        assert_eq!(listing.want(3, true), None, "it is coming");
        open(&mut listing, "e");
        assert_eq!(next(&listing), Vec::<&str>::new(), "opened before its page came");
        listing.arrive("d", Some((page(&["e", "f"]), None)));
        assert_eq!(next(&listing), ["f"]);
        assert_eq!(listing.pages.len(), 1, "what was passed is forgotten");
        assert_eq!(open(&mut listing, "f"), Place::Next);
        assert!(listing.is_done());
    }

    #[test]
    fn a_page_that_fails_or_goes_back_ends_the_listing() {
        for arriving in [None, Some((page(&["d"]), Some("d".to_owned())))] {
            let mut listing = listing(&["a", "d"], Some("d"));
            open(&mut listing, "a");
            assert!(listing.want(10, true).is_some());
            listing.arrive("d", arriving);
            assert_eq!(next(&listing), ["d"]);
            assert_eq!(listing.want(10, true), None);
        }
    }

    #[test]
    fn a_directory_that_was_not_listed_is_asked_for_after_some_files_in_rising_order() {
        let mut listing = Listing::unknown(VirtualPath::root(), Instant::now());
        for name in ["b", "a", "c", "d"] {
            assert_eq!(open(&mut listing, name), Place::Other);
            assert_eq!(listing.want(10, true), None, "{name}");
        }
        open(&mut listing, "e");
        assert_eq!(listing.want(10, true), Some(Wanted { behind: "e".to_owned(), on_trust: true }));
        open(&mut listing, "f");
        listing.arrive("e", Some((page(&["f", "g", "h"]), None)));
        assert_eq!(open(&mut listing, "g"), Place::Next);
    }

    #[test]
    fn a_jump_out_of_what_is_known_begins_anew_there() {
        let mut listing = listing(&["a", "b"], Some("b"));
        open(&mut listing, "a");
        open(&mut listing, "m");
        assert_eq!(next(&listing), [] as [&str; 0]);
        assert_eq!(listing.want(10, true), None);
        for name in ["n", "o"] {
            open(&mut listing, name);
        }
        assert_eq!(listing.want(10, true).unwrap().behind, "o");
    }

    #[test]
    fn goes_ahead_over_small_files_up_to_a_directory_or_far_away() {
        let pack = |entries: &[Entry<'_>]| Page::pack(entries.iter().copied(), false).unwrap().0;
        let names = |listing: &Listing, depth| -> Vec<String> {
            listing.due(depth).into_iter().map(|(name, _)| name.into()).collect()
        };
        let file = Entry::File;
        let entries = [file("a", 1), file("b", 2), file("c", FIRST + 1), file("d", FIRST), file("f", 3)];
        let mut listing = Listing::new(VirtualPath::root(), pack(&entries), None, Instant::now());
        open(&mut listing, "a");
        assert_eq!(names(&listing, 4), ["b", "d", "f"], "large files are left to their OPEN");
        assert_eq!(names(&listing, 2), ["b"]);
        assert_eq!(names(&listing, 0), [] as [&str; 0]);
        listing.reach("b".into());
        assert_eq!(names(&listing, 4), ["d", "f"], "each once");

        let entries = [
            file("a", 1),
            file("b", 2),
            Entry::Directory("c"),
            file("d", 3),
            file("e", DISTANCE_MAX + 1),
            file("f", 1),
        ];
        let mut listing = Listing::new(VirtualPath::root(), pack(&entries), None, Instant::now());
        open(&mut listing, "a");
        assert_eq!(names(&listing, 9), ["b"], "the client goes down there first");
        open(&mut listing, "b");
        assert_eq!(open(&mut listing, "d"), Place::Next, "and comes back");
        assert_eq!(names(&listing, 9), [] as [&str; 0], "it takes long to get there");
        assert_eq!(open(&mut listing, "e"), Place::Next);
        assert_eq!(names(&listing, 9), [] as [&str; 0]);
    }
}
