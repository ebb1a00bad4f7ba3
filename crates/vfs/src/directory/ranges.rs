//! The pages of a directory's listing in their order, as many asked for at once as boundaries are
//! known.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_store::{ListPage, ListRequest, StoreResult, limits};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::boundaries::Survey;
use super::interrupted;
use crate::error::FsError;
use crate::vfs::Files;

/// Pages that one listing has ahead of the one being read.
const AHEAD_MAX: usize = 16;

/// A listing under way. Dropping it stops what is being fetched.
#[derive(Debug)]
pub(super) struct Ranges {
    files: Arc<Files>,
    below: String,
    /// Places in the order of keys that divide the listing.
    boundaries: Arc<[Box<str>]>,
    /// How many ranges were begun, of one more than there are boundaries.
    begun: usize,
    fetching: VecDeque<Fetching>,
    survey: Survey,
}

/// What lies behind one place in the order of keys, up to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Range {
    /// Entries from here on are left out.
    behind: Option<Box<str>>,
    /// The last entry, if it is there.
    until: Option<Box<str>>,
}

#[derive(Debug)]
struct Fetching {
    range: Range,
    task: JoinHandle<StoreResult<ListPage>>,
    /// None for the one whose turn it is.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Ranges {
    /// Begins to list what begins with `below`.
    pub(super) fn new(files: Arc<Files>, below: String) -> Self {
        let boundaries = files.vfs.boundaries.get(&files.bucket, &below);
        Self { files, below, boundaries, begun: 0, fetching: VecDeque::new(), survey: Survey::default() }
    }

    /// Of a directory that holds nothing in the store.
    pub(super) fn none(files: Arc<Files>) -> Self {
        let survey = Survey::default();
        Self { files, below: String::new(), boundaries: Arc::default(), begun: 1, fetching: VecDeque::new(), survey }
    }

    /// Whether the listing was begun as if its directory were there: behind its marker, and at the
    /// places that an earlier listing showed.
    pub(super) fn is_presumed(&self) -> bool {
        !self.boundaries.is_empty()
    }

    /// Begins again, as if nothing were known.
    pub(super) fn restart(&mut self) {
        self.boundaries = Arc::default();
        (self.begun, self.survey) = (0, Survey::default());
        self.fetching.clear();
    }

    /// The next page, which may be empty; `None` at the end.
    ///
    /// # Errors
    /// Any that the store gives.
    pub(super) async fn next(&mut self) -> Result<Option<ListPage>, FsError> {
        self.go_ahead();
        let Some(fetching) = self.fetching.front_mut() else { return Ok(None) };
        // Waited for in place: a caller that gives up in between loses nothing.
        let answer = (&mut fetching.task).await;
        let Some(range) = self.fetching.pop_front().map(|mut fetched| std::mem::take(&mut fetched.range)) else {
            return Ok(None);
        };
        let mut page = answer.map_err(|_| interrupted())??;
        let continuation = range.cut(&mut page);
        if continuation.is_some() {
            let fetching = self.fetch(range, continuation, None);
            self.fetching.push_front(fetching);
        }
        self.go_ahead();
        self.survey.add(&self.below, &page);
        if self.fetching.is_empty() {
            let survey = std::mem::take(&mut self.survey);
            let has_marker = (!self.is_presumed()).then_some(survey.has_marker);
            self.files.vfs.boundaries.put(&self.files.bucket, &self.below, survey.boundaries(), has_marker);
        }
        Ok(Some(page))
    }

    /// Whether no page is left.
    pub(super) fn is_done(&self) -> bool {
        self.fetching.is_empty() && self.begun > self.boundaries.len()
    }

    /// Begins with further ranges, as far as the node's limit allows.
    fn go_ahead(&mut self) {
        while self.begun <= self.boundaries.len() && self.fetching.len() <= AHEAD_MAX {
            let permit = if self.fetching.is_empty() {
                None
            } else {
                let Ok(permit) = Arc::clone(&self.files.vfs.pages_ahead).try_acquire_owned() else { return };
                self.files.vfs.metrics.listing_pages_ahead.inc();
                Some(permit)
            };
            let boundary = |n: usize| self.boundaries.get(n).cloned();
            let behind = match self.begun.checked_sub(1) {
                Some(before) => boundary(before),
                None => (self.is_presumed() && !self.below.is_empty()).then(|| self.below.clone().into_boxed_str()),
            };
            let range = Range { behind, until: boundary(self.begun) };
            self.begun += 1;
            let fetching = self.fetch(range, None, permit);
            self.fetching.push_back(fetching);
        }
    }

    fn fetch(&self, range: Range, continuation: Option<String>, permit: Option<OwnedSemaphorePermit>) -> Fetching {
        let start_after = range.behind.as_deref().filter(|_| continuation.is_none()).map(str::to_owned);
        let request = ListRequest {
            prefix: self.below.clone(),
            delimited: true,
            limit: limits::LIST_MAX,
            continuation,
            start_after,
        };
        let store = Arc::clone(&self.files.store);
        let task = tokio::spawn(async move { store.list(&request).await });
        Fetching { range, task, _permit: permit }
    }
}

impl Range {
    /// Leaves out of a page what does not lie in the range, and tells how to go on in it; `None` if
    /// this was the last of its pages.
    fn cut(&self, page: &mut ListPage) -> Option<String> {
        if let Some(behind) = self.behind.as_deref() {
            page.objects.retain(|object| object.key.as_str() > behind);
            page.common_prefixes.retain(|prefix| prefix.as_str() > behind);
        }
        let next = page.next.take();
        let Some(until) = self.until.as_deref() else { return next };
        let last_object = page.objects.last().map(|object| object.key.as_str());
        let is_reached = last_object.max(page.common_prefixes.last().map(String::as_str)) >= Some(until);
        page.objects.retain(|object| object.key.as_str() <= until);
        page.common_prefixes.retain(|prefix| prefix.as_str() <= until);
        next.filter(|_| !is_reached)
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}
