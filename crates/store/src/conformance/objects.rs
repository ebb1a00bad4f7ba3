//! Whole objects: put, head, delete, attributes, checksums.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::deviation::Deviation;
use super::outcome::{done, refusal, refused};
use super::suite::{Suite, pattern, wrong_checksum};
use crate::error::StoreErrorKind;
use crate::object::{Body, Condition, ListRequest, ObjectAttributes, ObjectMeta, SystemHeaders};

pub(super) async fn check(suite: &Suite<'_>) {
    round_trip(suite).await;
    clock(suite).await;
    replacement(suite).await;
    empty(suite).await;
    attributes(suite).await;
    missing(suite).await;
    checksum(suite).await;
}

async fn round_trip(suite: &Suite<'_>) {
    let key = suite.key("objects/plain");
    let bytes = pattern(1, 100_001);
    // A body of several chunks, one of them a single byte.
    let body: Body = [bytes.slice(..1), bytes.slice(1..70_000), bytes.slice(70_000..)].into_iter().collect();
    let checksum = body.checksum();
    let attributes = ObjectAttributes::default();
    let receipt = done("put", suite.store.put(&key, body, checksum, &attributes, &Condition::Always).await);

    let meta = done("head", suite.store.head(&key).await);
    assert_eq!(meta.size, 100_001, "head gives the size");
    assert_eq!(meta.etag, receipt.etag, "head gives the tag of the put");
    assert!(!meta.etag.as_str().is_empty(), "a tag is not empty");
    assert_eq!(meta.attributes.metadata, BTreeMap::new(), "there is no metadata where none was given");
    let age = meta.last_modified.elapsed().unwrap_or_else(|ahead| ahead.duration());
    assert!(age < Duration::from_secs(24 * 3600), "head gives the time of the put, not {:?}", meta.last_modified);

    let (object, found) = suite.get(&key).await;
    Suite::assert_bytes("get gives the bytes of the put", &found, &bytes);
    let without = |meta: ObjectMeta| ObjectMeta { checksum: None, ..meta };
    assert_eq!(without(object.meta), without(meta.clone()), "get and head agree");

    let prefix = suite.path("objects/plain");
    let request = ListRequest { prefix, delimited: false, limit: 10, continuation: None, start_after: None };
    let page = done("list", suite.store.list(&request).await);
    assert_eq!(page.objects.len(), 1, "the object is listed once");
    assert_eq!(page.objects[0].key, key, "the listing gives the whole key");
    assert_eq!(page.objects[0].size, meta.size, "the listing gives the size");
    assert_eq!(page.objects[0].etag, meta.etag, "the listing gives the tag that head gives");
    let seconds = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs()).ok();
    assert_eq!(
        seconds(page.objects[0].last_modified),
        seconds(meta.last_modified),
        "listing and head agree on the time, to the second"
    );
}

/// The time of a new object lies between what the clock showed before and after, but for the
/// resolution of both and servers that differ.
async fn clock(suite: &Suite<'_>) {
    const MARGIN: Duration = Duration::from_secs(5);
    let key = suite.key("objects/clock");
    suite.put(&key, Bytes::from_static(b"old")).await;
    let Some(before) = suite.store.now() else { panic!("answers tell the store's clock") };
    suite.put(&key, Bytes::from_static(b"new")).await;
    let made = done("head", suite.store.head(&key).await).last_modified;
    let Some(after) = suite.store.now() else { panic!("answers tell the store's clock") };
    assert!(before <= after + MARGIN, "the clock goes forward: {before:?}, {after:?}");
    assert!(before <= made + MARGIN && made <= after + MARGIN, "{made:?} is between {before:?} and {after:?}");
}

async fn replacement(suite: &Suite<'_>) {
    let key = suite.key("objects/replaced");
    let kept = ObjectAttributes {
        content_type: Some("text/plain".to_owned()),
        metadata: BTreeMap::from([("old".to_owned(), "1".to_owned())]),
        ..ObjectAttributes::default()
    };
    let body = Body::from(Bytes::from_static(b"old"));
    let checksum = body.checksum();
    let old = done("put", suite.store.put(&key, body, checksum, &kept, &Condition::Always).await).etag;
    let new = suite.put(&key, Bytes::from_static(b"newer")).await;
    assert_ne!(old, new, "versions of different bytes have different tags");
    let (object, found) = suite.get(&key).await;
    assert_eq!(found, b"newer", "a put replaces the bytes");
    assert_eq!(object.meta.etag, new, "a put replaces the tag");
    assert_eq!(object.meta.attributes.metadata, BTreeMap::new(), "a put replaces the metadata");

    done("delete", suite.store.delete(&key).await);
    refused("head after delete", StoreErrorKind::NotFound, suite.store.head(&key).await);
}

async fn empty(suite: &Suite<'_>) {
    let key = suite.key("objects/empty");
    suite.put(&key, Bytes::new()).await;
    assert_eq!(done("head", suite.store.head(&key).await).size, 0, "an empty object has no byte");
    let (object, found) = suite.get(&key).await;
    assert_eq!((object.meta.size, found.len()), (0, 0), "a get of an empty object gives no byte");
}

async fn attributes(suite: &Suite<'_>) {
    let key = suite.key("objects/attributes");
    let text = |text: &str| text.to_owned();
    let given = ObjectAttributes {
        content_type: Some(text("application/x-directory")),
        metadata: BTreeMap::from([
            (text("mtime"), text("1700000000.123456789")),
            (text("mode"), text("33188")),
            (text("punctuation"), text("a, b; c=\"d\" 100% +1 <&>'")),
            (text("with-dash_and_line"), text("x")),
            (text("long"), "v".repeat(1_500)),
        ]),
        headers: headers(),
        ..ObjectAttributes::default()
    };
    let body = Body::from(Bytes::from_static(b"x"));
    let checksum = body.checksum();
    done("put", suite.store.put(&key, body.clone(), checksum, &given, &Condition::Always).await);
    let meta = done("head", suite.store.head(&key).await);
    assert_eq!(meta.attributes, given, "head gives back content type, metadata and headers");
    assert_eq!(suite.get(&key).await.0.meta.attributes, given, "get gives back content type, metadata and headers");
    let page = done("list", suite.store.list(&suite.page_of(&key)).await);
    let classes: Vec<_> = page.objects.iter().map(|object| object.storage_class.as_deref()).collect();
    assert_eq!(classes, [Some("STANDARD_IA")], "a listing tells the storage class");

    let shouted =
        ObjectAttributes { metadata: BTreeMap::from([(text("UpperCase"), text("Value"))]), ..Default::default() };
    done("put", suite.store.put(&key, body, checksum, &shouted, &Condition::Always).await);
    let meta = done("head", suite.store.head(&key).await);
    assert_eq!(meta.attributes.headers, SystemHeaders::default(), "a put replaces the headers");
    let page = done("list", suite.store.list(&suite.page_of(&key)).await);
    assert!(page.objects.iter().all(|object| object.storage_class.is_none()), "STANDARD is not named");
    let lower = BTreeMap::from([(text("uppercase"), text("Value"))]);
    assert_eq!(meta.attributes.metadata, lower, "metadata names come back in lower case, values as given");
}

/// Headers that a PUT may set, each with a value of its own.
pub(super) fn headers() -> SystemHeaders {
    SystemHeaders {
        cache_control: Some("max-age=60, must-revalidate".to_owned()),
        content_disposition: Some("attachment; filename=\"a b.txt\"".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        content_language: Some("de, en".to_owned()),
        expires: Some("Thu, 01 Dec 2033 16:00:00 GMT".to_owned()),
        storage_class: Some("STANDARD_IA".to_owned()),
        website_redirect: Some("https://example.com/a?b=1".to_owned()),
    }
}

async fn missing(suite: &Suite<'_>) {
    let key = suite.key("objects/missing");
    refused("head of a missing object", StoreErrorKind::NotFound, suite.store.head(&key).await);
    refused("get of a missing object", StoreErrorKind::NotFound, suite.store.get(&key, None, None).await);
    done("delete of a missing object succeeds", suite.store.delete(&key).await);
    done("a second delete succeeds", suite.store.delete(&key).await);
}

async fn checksum(suite: &Suite<'_>) {
    let key = suite.key("objects/checksum");
    let bytes = pattern(2, 1_000);
    let wrong = wrong_checksum(&bytes);
    let attributes = ObjectAttributes::default();
    let result = suite.store.put(&key, Body::from(bytes), wrong, &attributes, &Condition::Always).await;
    let stored = result.is_ok();
    suite.rule(
        "a put whose bytes do not match their checksum is refused",
        Deviation::PutChecksumIgnored,
        refusal(StoreErrorKind::Corrupt, result),
    );
    if !stored {
        refused("a refused put leaves nothing", StoreErrorKind::NotFound, suite.store.head(&key).await);
    }
}
