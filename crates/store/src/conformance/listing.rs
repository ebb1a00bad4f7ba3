//! Listings: order, pages, common prefixes.

use super::deviation::Deviation;
use super::outcome::refusal;
use super::suite::Suite;
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
    continuation(suite).await;
}

/// Walks the listing and compares what it finds behind the prefix.
async fn pages(suite: &Suite<'_>, prefix: &str, delimited: bool, limit: u16, expected: &[&str]) {
    let rule = format!("listing {prefix:?}, delimited: {delimited}, limit: {limit}");
    let prefix = suite.path(prefix);
    let mut found = Vec::new();
    for page in suite.walk(&prefix, delimited, limit).await {
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
    };
    suite.rule(
        "a continuation that was never handed out is refused",
        Deviation::ContinuationUnchecked,
        refusal(StoreErrorKind::InvalidRequest, suite.store.list(&request).await),
    );
}
