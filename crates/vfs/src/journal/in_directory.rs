//! Which uploads the journal has in one directory.

use std::collections::BTreeSet;

use tidegate_store::{JournalPage, ObjectKey};

use super::Uploads;
use crate::attributes::unix_now;
use crate::key::name_of;

/// Pages of the journal that are read for one directory. What lies in directories below it costs one page each,
/// where it fills pages.
const PAGES_MAX: usize = 20;

impl Uploads {
    /// The names of files right in a directory of which the journal has uploads, `max` of them at most: the first in
    /// the order of their bytes. `below` is what the directory's keys begin with. Where the journal does not answer,
    /// there are none, or those that it has told before.
    pub(crate) async fn names_in(&self, below: &str, max: usize) -> BTreeSet<String> {
        let (mut names, mut after) = (BTreeSet::new(), None);
        let Some(journal) = &self.journal else { return names };
        for _ in 0..PAGES_MAX {
            let page = match journal.list(&self.tenant, below, after.as_ref()).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(error = %error.report(), "a listing goes without the journal of uploads");
                    break;
                }
            };
            let now = unix_now();
            let listed = page.entries.iter().filter(|entry| entry.record.expires > now && !self.is_owed(entry));
            let found = listed.filter_map(|entry| name_of(below, entry.key.as_str()));
            names.extend(found.take(max - names.len()).map(str::to_owned));
            after = next(below, page);
            if after.is_none() || names.len() >= max {
                break;
            }
        }
        names
    }
}

/// Behind which key to go on: behind all of a directory below, if a page ends in one.
fn next(below: &str, page: JournalPage) -> Option<ObjectKey> {
    let next = page.next?;
    let directory = next.as_str().strip_prefix(below).and_then(|rest| rest.split_once('/'));
    let behind = directory.and_then(|(name, _)| ObjectKey::new(format!("{below}{name}/{}", char::MAX)));
    Some(behind.into_iter().fold(next, ObjectKey::max))
}
