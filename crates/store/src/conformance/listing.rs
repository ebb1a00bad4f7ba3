//! Listings: order, pages, common prefixes.

use super::deviation::Deviation;
use super::outcome::refusal;
use super::suite::{Page, Suite};
use crate::error::StoreErrorKind;
use crate::object::ListRequest;

/// Keys around the place of `/` (0x2f) in the order of bytes: `-` and `.` come before, `0` after.
const NAMES: &[&str] =
    &["a", "a-b", "a.txt", "a/", "a/1", "a/2", "a0", "b/x/y", "b/x/z", "b/z", "c//d", "m", "z/only", "\u{e9}/\u{e9}"];

/// What a delimited listing of them gives, in one order.
const ROLLED_UP: &[&str] = &["a", "a-b", "a.txt", "a/", "a0", "b/", "c/", "m", "z/", "\u{e9}/"];

pub(super) async fn check(suite: &Suite<'_>) {
    for name in NAMES {
        suite.put(&suite.key(&format!("listing/{name}")), *name).await;
    }
    for limit in [1, 2, 3, 5, 10, 14, 1_000] {
        pages(suite, "listing/", false, limit, NAMES).await;
        pages(suite, "listing/", true, limit, ROLLED_UP).await;
    }
    for limit in [1, 1_000] {
        pages(suite, "listing/a/", true, limit, &["", "1", "2"]).await;
        pages(suite, "listing/b/", true, limit, &["x/", "z"]).await;
        pages(suite, "listing/c/", true, limit, &["/"]).await;
        pages(suite, "listing/c//", true, limit, &["d"]).await;
        // A prefix need not end at a directory.
        pages(suite, "listing/a", false, limit, &["", "-b", ".txt", "/", "/1", "/2", "0"]).await;
        pages(suite, "listing/a", true, limit, &["", "-b", ".txt", "/", "0"]).await;
        pages(suite, "listing/none/", true, limit, &[]).await;
        pages(suite, "listing/none/", false, limit, &[]).await;
    }
    for limit in [2, 1_000] {
        start_after(suite, limit).await;
    }
    continuation(suite).await;
}

/// Every place to start behind: keys, what lies between two, and what lies outside of the listing.
async fn start_after(suite: &Suite<'_>, limit: u16) {
    let outside = ["listing", "listing/", "listing/~"];
    let inside =
        NAMES.iter().map(|name| format!("listing/{name}")).chain(NAMES.iter().map(|name| format!("listing/{name}!")));
    for after in outside.into_iter().map(str::to_owned).chain(inside) {
        for (delimited, names) in [(false, NAMES), (true, ROLLED_UP)] {
            // Inside of what is rolled up stores differ.
            let is_inside = |name: &str| name.ends_with('/') && after.starts_with(&format!("listing/{name}"));
            if delimited && names.iter().any(|name| is_inside(name)) {
                continue;
            }
            let expected: Vec<&str> = names.iter().filter(|name| format!("listing/{name}") > after).copied().collect();
            pages_behind(suite, "listing/", &after, delimited, limit, &expected).await;
        }
    }
}

/// Walks the listing and compares what it finds behind the prefix.
async fn pages(suite: &Suite<'_>, prefix: &str, delimited: bool, limit: u16, expected: &[&str]) {
    let rule = format!("listing {prefix:?}, delimited: {delimited}, limit: {limit}");
    let pages = suite.walk(&suite.path(prefix), delimited, limit).await;
    compare(&rule, &suite.path(prefix), delimited, limit, pages, expected);
}

/// The same behind a place in it.
async fn pages_behind(suite: &Suite<'_>, prefix: &str, after: &str, delimited: bool, limit: u16, expected: &[&str]) {
    let rule = format!("listing {prefix:?} behind {after:?}, delimited: {delimited}, limit: {limit}");
    let pages = suite.walk_behind(&suite.path(prefix), Some(suite.path(after)), delimited, limit).await;
    compare(&rule, &suite.path(prefix), delimited, limit, pages, expected);
}

#[track_caller]
fn compare(rule: &str, prefix: &str, delimited: bool, limit: u16, pages: Vec<Page>, expected: &[&str]) {
    let mut found = Vec::new();
    for page in pages {
        let mut keys: Vec<String> = page.objects.iter().map(|object| object.key.to_string()).collect();
        assert!(keys.is_sorted(), "{rule}: the keys of a page are in order: {keys:?}");
        assert!(page.common_prefixes.is_sorted(), "{rule}: so are its prefixes: {:?}", page.common_prefixes);
        assert!(delimited || page.common_prefixes.is_empty(), "{rule}: only a delimited listing has common prefixes");
        keys.extend(page.common_prefixes);
        assert!(keys.len() <= usize::from(limit), "{rule}: keys and common prefixes keep to the limit: {keys:?}");
        // The two lists of one page interleave; across pages the order is total.
        keys.sort();
        found.extend(keys);
    }
    let expected: Vec<String> = expected.iter().map(|name| format!("{prefix}{name}")).collect();
    assert_eq!(found, expected, "{rule}");
}

async fn continuation(suite: &Suite<'_>) {
    let request = ListRequest {
        prefix: suite.path("listing/"),
        delimited: false,
        limit: 10,
        continuation: Some("no store hands this out".to_owned()),
        start_after: None,
    };
    suite.rule(
        "a continuation that was never handed out is refused",
        Deviation::ContinuationUnchecked,
        refusal(StoreErrorKind::InvalidRequest, suite.store.list(&request).await),
    );
}
