//! GET: ranges at every edge, conditions, and bodies that outlive their version.

use bytes::Bytes;
use futures::StreamExt;

use super::outcome::{done, refused};
use super::suite::{Suite, drain, pattern};
use crate::error::StoreErrorKind;
use crate::object::ByteRange;
use crate::object_store::limits;

pub(super) async fn check(suite: &Suite<'_>) {
    ranges(suite).await;
    ranges_of_nothing(suite).await;
    if_match(suite).await;
    one_version(suite).await;
}

async fn ranges(suite: &Suite<'_>) {
    const SIZE: u64 = 200_000;
    let key = suite.key("reads/ranges");
    let bytes = pattern(3, SIZE as usize);
    let etag = suite.put(&key, bytes.clone()).await;
    let open = |offset| ByteRange { offset, len: None };
    for range in [
        ByteRange::new(0, 1),
        ByteRange::new(0, SIZE - 1),
        ByteRange::new(0, SIZE),
        ByteRange::new(0, SIZE + 1),
        ByteRange::new(0, limits::OBJECT_MAX),
        ByteRange::new(1, 1),
        ByteRange::new(65_535, 2),
        ByteRange::new(70_000, 100_000),
        ByteRange::new(SIZE - 1, 1),
        ByteRange::new(SIZE - 1, 2),
        open(0),
        open(1),
        open(SIZE - 1),
    ] {
        let (object, found) = suite.get_range(&key, Some(range)).await;
        let end = range.len.map_or(SIZE, |len| SIZE.min(range.offset + len));
        Suite::assert_bytes(&format!("{range:?}"), &found, &bytes[range.offset as usize..end as usize]);
        assert_eq!(object.meta.size, SIZE, "the size is that of the whole object, not of {range:?}");
        assert_eq!(object.meta.etag, etag, "the tag is that of the whole object, for {range:?} too");
    }
    for range in [ByteRange::new(SIZE, 1), ByteRange::new(SIZE + 1, 1), open(SIZE), open(SIZE + 70_000)] {
        let result = suite.store.get(&key, Some(range), None).await;
        refused(&format!("{range:?} of {SIZE} bytes"), StoreErrorKind::RangeNotSatisfiable, result);
    }
}

async fn ranges_of_nothing(suite: &Suite<'_>) {
    let key = suite.key("reads/empty");
    suite.put(&key, Bytes::new()).await;
    for range in [ByteRange::new(0, 1), ByteRange { offset: 0, len: None }, ByteRange::new(1, 1)] {
        let result = suite.store.get(&key, Some(range), None).await;
        refused(&format!("{range:?} of an empty object"), StoreErrorKind::RangeNotSatisfiable, result);
    }
    let missing = suite.key("reads/missing");
    let result = suite.store.get(&missing, Some(ByteRange::new(0, 1)), None).await;
    refused("a range of a missing object", StoreErrorKind::NotFound, result);
}

async fn if_match(suite: &Suite<'_>) {
    let key = suite.key("reads/if-match");
    let old = suite.put(&key, Bytes::from_static(b"old")).await;
    let object = done("get with the right If-Match", suite.store.get(&key, None, Some(&old)).await);
    assert_eq!(done("body", drain(object.body).await), b"old", "If-Match that holds gives the version");
    let range = Some(ByteRange::new(1, 1));
    let object = done("ranged get with the right If-Match", suite.store.get(&key, range, Some(&old)).await);
    assert_eq!(done("body", drain(object.body).await), b"l", "If-Match that holds gives the version's range");

    suite.put(&key, Bytes::from_static(b"new")).await;
    for range in [None, range] {
        let result = suite.store.get(&key, range, Some(&old)).await;
        refused("get of a version that was replaced", StoreErrorKind::PreconditionFailed, result);
    }
    done("delete", suite.store.delete(&key).await);
    let result = suite.store.get(&key, None, Some(&old)).await;
    refused("get of a version that was deleted", StoreErrorKind::NotFound, result);
}

/// A body that is being read when its object is replaced or deleted goes on as the version it
/// began as, or breaks with a transient error; it never mixes.
async fn one_version(suite: &Suite<'_>) {
    const SIZE: usize = 1 << 20;
    let key = suite.key("reads/replaced");
    let old = pattern(4, SIZE);
    for replacement in [Some(pattern(5, SIZE)), None] {
        suite.put(&key, old.clone()).await;
        let mut body = done("get", suite.store.get(&key, None, None).await).body;
        let Some(Ok(first)) = body.next().await else { panic!("a body of {SIZE} bytes has a first chunk") };
        match replacement {
            Some(new) => drop(suite.put(&key, new).await),
            None => done("delete", suite.store.delete(&key).await),
        }
        match drain(body).await {
            Ok(rest) => {
                Suite::assert_bytes("a running get stays at its version", &[&first[..], &rest].concat(), &old);
            }
            Err(error) => assert!(error.kind().is_transient(), "a running get broke: {}", error.report()),
        }
    }
}
