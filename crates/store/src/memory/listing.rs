//! Listings: pages, common prefixes and continuations.

use std::ops::Bound;

use super::bucket::Bucket;
use super::refuse;
use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{ListPage, ListRequest, ListedObject, ObjectKey};
use crate::object_store::limits;

/// Behind which entry a page begins.
enum Behind {
    Key(String),
    CommonPrefix(String),
}

impl Behind {
    fn parse(token: &str) -> Option<Self> {
        match token.split_once(':')? {
            ("key", key) => Some(Self::Key(key.to_owned())),
            ("common-prefix", prefix) if prefix.ends_with('/') => Some(Self::CommonPrefix(prefix.to_owned())),
            _ => None,
        }
    }

    fn token(&self) -> String {
        match self {
            Self::Key(key) => format!("key:{key}"),
            Self::CommonPrefix(prefix) => format!("common-prefix:{prefix}"),
        }
    }

    /// Where the next key lies at the earliest.
    fn bound(&self) -> Bound<String> {
        match self {
            Self::Key(key) => Bound::Excluded(key.clone()),
            Self::CommonPrefix(prefix) => Bound::Included(past(prefix)),
        }
    }
}

impl Bucket {
    pub(super) fn list(&self, request: &ListRequest) -> StoreResult<ListPage> {
        if !(1..=limits::LIST_MAX).contains(&request.limit) {
            return Err(refuse(StoreErrorKind::InvalidRequest, "list", "the limit is not 1 to 1,000"));
        }
        let mut from = match (&request.continuation, &request.start_after) {
            (None, Some(after)) if *after >= request.prefix => Behind::Key(after.clone()).bound(),
            (None, _) => Bound::Included(request.prefix.clone()),
            (Some(token), _) => Behind::parse(token)
                .ok_or_else(|| refuse(StoreErrorKind::InvalidRequest, "list", "not a continuation of this store"))?
                .bound(),
        };
        let mut page = ListPage::default();
        let mut last = None;
        while let Some((key, object)) =
            self.next_key(&from).filter(|(key, _)| key.as_str().starts_with(&request.prefix))
        {
            if page.objects.len() + page.common_prefixes.len() == usize::from(request.limit) {
                page.next = last.as_ref().map(Behind::token);
                break;
            }
            let behind = match common_prefix(key.as_str(), request) {
                Some(prefix) => {
                    page.common_prefixes.push(prefix.to_owned());
                    Behind::CommonPrefix(prefix.to_owned())
                }
                None => {
                    page.objects.push(ListedObject {
                        key: key.clone(),
                        size: object.meta.size,
                        etag: object.meta.etag.clone(),
                        last_modified: object.meta.last_modified,
                        storage_class: object.meta.attributes.headers.storage_class.clone(),
                    });
                    Behind::Key(key.as_str().to_owned())
                }
            };
            from = behind.bound();
            last = Some(behind);
        }
        Ok(page)
    }

    fn next_key(&self, from: &Bound<String>) -> Option<(&ObjectKey, &super::bucket::Object)> {
        let bound = match from {
            Bound::Included(text) => ObjectKey::new(text.as_str()).map(Bound::Included),
            Bound::Excluded(text) => ObjectKey::new(text.as_str()).map(Bound::Excluded),
            Bound::Unbounded => None,
        };
        self.objects.range((bound.unwrap_or(Bound::Unbounded), Bound::Unbounded)).next()
    }
}

/// What the key is rolled up into, if the listing does that.
fn common_prefix<'a>(key: &'a str, request: &ListRequest) -> Option<&'a str> {
    let rest = key.strip_prefix(request.prefix.as_str()).filter(|_| request.delimited)?;
    let slash = rest.find('/')?;
    key.get(..=request.prefix.len() + slash)
}

/// The least text greater than all that begin with `prefix`, which ends in `/`.
fn past(prefix: &str) -> String {
    const BEHIND_SLASH: char = '0';
    let mut text = prefix.strip_suffix('/').unwrap_or(prefix).to_owned();
    text.push(BEHIND_SLASH);
    text
}
