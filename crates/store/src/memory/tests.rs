//! Rules that the conformance suite leaves to each store, or that only real S3 keeps.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;

use super::*;
use crate::object::{Body, ByteRange, Condition, CopySource, ListRequest, ObjectAttributes, ObjectKey, Receipt};
use crate::object_store::{ObjectStore, PartNumber};
use crate::{StoreErrorKind, StoreResult, limits};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

async fn put(store: &MemoryObjectStore, name: &str, len: usize, attributes: &ObjectAttributes) -> StoreResult<Receipt> {
    let body = Body::from(Bytes::from(vec![1; len]));
    let checksum = body.checksum();
    store.put(&key(name), body, checksum, attributes, &Condition::Always).await
}

fn metadata(name: &str, value: impl Into<String>) -> ObjectAttributes {
    ObjectAttributes { metadata: BTreeMap::from([(name.to_owned(), value.into())]), ..ObjectAttributes::default() }
}

#[tokio::test]
async fn bodies_arrive_in_several_chunks() {
    let store = MemoryObjectStore::new();
    put(&store, "a", 200_000, &ObjectAttributes::default()).await.unwrap();
    let body = store.get(&key("a"), None, None).await.unwrap().body;
    let lens: Vec<usize> = body.map_ok(|chunk| chunk.len()).try_collect().await.unwrap();
    assert_eq!(lens, [65_536, 65_536, 65_536, 3_392]);
}

#[tokio::test]
async fn versions_of_the_same_bytes_have_different_tags() {
    let store = MemoryObjectStore::new();
    let first = put(&store, "a", 1, &ObjectAttributes::default()).await.unwrap();
    let second = put(&store, "a", 1, &ObjectAttributes::default()).await.unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn attributes_come_back_as_s3_gives_them() {
    let store = MemoryObjectStore::new();
    put(&store, "a", 1, &metadata("MTime", " 1 ")).await.unwrap();
    let kept = store.head(&key("a")).await.unwrap().attributes;
    let expected = metadata("mtime", "1");
    assert_eq!(kept, ObjectAttributes { content_type: Some("binary/octet-stream".to_owned()), ..expected });
    for refused in [metadata("a b", "x"), metadata("", "x"), metadata("a", "\u{fc}"), metadata("a", "line\nbreak")] {
        let error = put(&store, "b", 1, &refused).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidRequest, "{refused:?}");
    }
    put(&store, "b", 1, &metadata("a", "v".repeat(2_047))).await.unwrap();
    let error = put(&store, "b", 1, &metadata("a", "v".repeat(2_048))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidRequest);
}

#[tokio::test]
async fn requests_out_of_range_are_refused() {
    let store = MemoryObjectStore::new();
    put(&store, "a", 1, &ObjectAttributes::default()).await.unwrap();
    let error = store.get(&key("a"), Some(ByteRange::new(0, 0)), None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidRequest);
    for limit in [0, 1_001] {
        let request =
            ListRequest { prefix: String::new(), delimited: false, limit, continuation: None, start_after: None };
        assert_eq!(store.list(&request).await.unwrap_err().kind(), StoreErrorKind::InvalidRequest);
    }
}

#[tokio::test]
async fn the_least_size_of_parts_can_be_lowered() {
    for (min, completes) in [(limits::PART_MIN, false), (101, false), (100, true)] {
        let store = MemoryObjectStore::new().with_part_min(min);
        let upload = store.begin_upload(&key("a"), &ObjectAttributes::default()).await.unwrap();
        let mut parts = Vec::new();
        for number in [1, 2] {
            let body = Body::from(Bytes::from(vec![1; 100]));
            let checksum = body.checksum();
            parts.push(store.put_part(&upload, PartNumber::new(number).unwrap(), body, checksum).await.unwrap());
        }
        let result = store.complete_upload(&upload, &parts, None, &Condition::Always).await;
        assert_eq!(result.is_ok(), completes, "at least {min}");
    }
}

#[tokio::test]
async fn a_range_of_a_small_source_is_not_copied() {
    let store = MemoryObjectStore::new().with_part_min(100);
    let upload = store.begin_upload(&key("target"), &ObjectAttributes::default()).await.unwrap();
    for (size, len, copies) in [(100, 50, false), (100, 100, true), (101, 50, true)] {
        put(&store, "source", size, &ObjectAttributes::default()).await.unwrap();
        let source = CopySource { key: key("source"), if_match: None };
        let result = store.copy_part(&upload, PartNumber::FIRST, &source, ByteRange::new(0, len)).await;
        assert_eq!(result.is_ok(), copies, "{len} of {size} bytes");
    }
}

#[tokio::test]
async fn buckets_are_apart_and_opened_again() {
    let stores = MemoryObjectStores::new();
    put(&stores.bucket("one"), "a", 1, &ObjectAttributes::default()).await.unwrap();
    assert!(stores.bucket("one").head(&key("a")).await.is_ok());
    assert!(stores.bucket("two").head(&key("a")).await.is_err());
}

#[tokio::test]
async fn parts_are_numbered_from_one_without_gaps() {
    for (numbers, completes) in [([1, 2], true), ([1, 3], false), ([2, 3], false)] {
        let store = MemoryObjectStore::new().with_part_min(0);
        let upload = store.begin_upload(&key("a"), &ObjectAttributes::default()).await.unwrap();
        let mut parts = Vec::new();
        for number in numbers {
            let body = Body::from(Bytes::from(vec![1; 100]));
            let checksum = body.checksum();
            parts.push(store.put_part(&upload, PartNumber::new(number).unwrap(), body, checksum).await.unwrap());
        }
        let result = store.complete_upload(&upload, &parts, None, &Condition::Always).await;
        assert_eq!(result.is_ok(), completes, "{numbers:?}");
    }
}
