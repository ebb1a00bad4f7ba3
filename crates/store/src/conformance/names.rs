//! Keys with every odd name: stored, read, listed, copied and uploaded byte for byte.

use super::outcome::done;
use super::suite::{Suite, part_number};
use crate::object::{Condition, CopySource, ObjectKey};

/// Names that trip up encoders of URLs, of XML and of the copy source, and orders that are not
/// that of UTF-8 bytes.
const NAMES: &[&str] = &[
    " ",
    " leading and trailing ",
    "!exclamation",
    "\"quotes\" and 'apostrophes'",
    "#fragment",
    "$dollar",
    "%",
    "%2F",
    "%41%zz",
    "&amp;",
    "(parentheses)",
    "*",
    "+plus+ +",
    ",;:@=",
    "...",
    ".hidden",
    "<tag/>",
    "?query=1&x=2",
    "UPPER",
    "[brackets]{braces}",
    "a//b",
    "a///",
    "back\\slash",
    "carriage\rreturn",
    "d/",
    "d/e/",
    "f",
    "f/child",
    "f/child/deeper",
    "line\nbreak",
    "nfc-\u{e9}",
    "nfd-e\u{301}",
    "tab\ttab",
    "tilde~",
    "upper",
    "wide-\u{ff5e}",
    "wide-\u{1f600}",
    "\u{65e5}\u{672c}\u{8a9e}",
];

pub(super) async fn check(suite: &Suite<'_>) {
    let mut keys: Vec<ObjectKey> = NAMES.iter().map(|name| suite.key(&format!("names/{name}"))).collect();
    keys.push(longest(suite, "names/"));

    for (index, key) in keys.iter().enumerate() {
        suite.put(key, content(index)).await;
    }
    keys_are_apart(suite, &keys).await;
    copies_find_their_source(suite, &keys).await;
    uploads_keep_the_key(suite).await;

    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(suite.keys(&suite.path("names/")).await, sorted, "every key is listed as it was given, by UTF-8 bytes");

    for key in &keys {
        done("delete", suite.store.delete(key).await);
    }
    assert_eq!(suite.keys(&suite.path("names/")).await, [], "delete finds every key");
}

async fn keys_are_apart(suite: &Suite<'_>, keys: &[ObjectKey]) {
    for (index, key) in keys.iter().enumerate() {
        let (object, found) = suite.get(key).await;
        assert_eq!(found, content(index).as_bytes(), "{key:?} keeps its own bytes");
        let meta = done("head", suite.store.head(key).await);
        assert_eq!(meta.etag, object.meta.etag, "head and get of {key:?} agree");
    }
}

async fn copies_find_their_source(suite: &Suite<'_>, keys: &[ObjectKey]) {
    let target = suite.key("names-copied/+ %?&=");
    for (index, key) in keys.iter().enumerate() {
        let source = CopySource { key: key.clone(), if_match: None };
        let copied = suite.store.copy(&source, &target, None, &Condition::Always).await;
        done(&format!("a copy of {key:?}"), copied);
        assert_eq!(suite.get(&target).await.1, content(index).as_bytes(), "a copy of {key:?} has its bytes");
    }
}

async fn uploads_keep_the_key(suite: &Suite<'_>) {
    let prefix = suite.path("names-uploaded/");
    for name in ["names-uploaded/+ %20#?&*\"<>'\n/.e\u{301}\u{1f600}".to_owned()]
        .into_iter()
        .map(|name| suite.key(&name))
        .chain([longest(suite, "names-uploaded/")])
    {
        let (upload, part) = suite.small_upload(&name, "x").await;
        assert_eq!(suite.uploads(&prefix).await, std::slice::from_ref(&upload), "an upload is listed with its key");
        let parts = suite.parts_behind(&upload, None).await;
        assert_eq!(parts.len(), 1, "the parts of {name:?} are found");
        assert_eq!(parts[0].number, part_number(1), "the parts of {name:?} are found");
        done("complete_upload", suite.store.complete_upload(&upload, &[part], None, &Condition::Always).await);
        assert_eq!(suite.keys(&prefix).await, std::slice::from_ref(&name), "completion publishes the key");
        done("delete", suite.store.delete(&name).await);
    }
}

fn content(index: usize) -> String {
    format!("object {index}")
}

/// A key of 1,024 bytes.
fn longest(suite: &Suite<'_>, name: &str) -> ObjectKey {
    let pad = ObjectKey::MAX_LEN - suite.path(name).len();
    let name = format!("{name}{}", "\u{e9}".repeat(pad / 2) + &"z".repeat(pad % 2));
    let key = suite.key(&name);
    assert_eq!(key.as_str().len(), ObjectKey::MAX_LEN, "the suite's longest key");
    key
}
