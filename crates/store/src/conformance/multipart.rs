//! Multipart uploads: large objects from parts and from copied parts.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::deviation::Deviation;
use super::outcome::{done, refusal, refused};
use super::suite::{Suite, part_number, pattern, wrong_checksum};
use crate::checksum::Checksum;
use crate::error::StoreErrorKind;
use crate::object::{Body, ByteRange, Condition, CopySource, ETag, ObjectAttributes, ObjectKey};
use crate::object_store::limits;

const PART: usize = limits::PART_MIN as usize;

pub(super) async fn check(suite: &Suite<'_>) {
    let key = suite.key("multipart/large");
    let bytes = pattern(6, 2 * PART + 1_000);
    let etag = parts_in_any_order(suite, &key, &bytes).await;
    copied_parts(suite, &key, &bytes, &etag).await;
    part_checksum(suite).await;
    whole_checksum(suite).await;
    empty_part(suite).await;
}

/// Parts may come in any order and replace one another; only the last may be small.
async fn parts_in_any_order(suite: &Suite<'_>, key: &ObjectKey, bytes: &Bytes) -> ETag {
    suite.put(key, "the version before").await;
    let attributes = ObjectAttributes {
        content_type: Some("text/x-conformance".to_owned()),
        metadata: BTreeMap::from([("mtime".to_owned(), "1700000000".to_owned())]),
        headers: super::objects::headers(),
        ..ObjectAttributes::default()
    };
    let upload = done("begin_upload", suite.store.begin_upload(key, &attributes).await);
    assert_eq!(upload.key, *key, "an upload knows its key");
    let tail = suite.put_part(&upload, 3, bytes.slice(2 * PART..)).await;
    let replaced = suite.put_part(&upload, 2, "a part that is replaced").await;
    let middle = suite.put_part(&upload, 2, bytes.slice(PART..2 * PART)).await;
    // A part of several chunks.
    let body: Body = [bytes.slice(..1_000_000), bytes.slice(1_000_000..PART)].into_iter().collect();
    let checksum = body.checksum();
    let head = done("put_part", suite.store.put_part(&upload, part_number(1), body, checksum).await);
    assert_ne!(replaced.etag, middle.etag, "a replaced part has another tag");
    assert_eq!((head.size, tail.size), (PART as u64, 1_000), "a part knows its size");
    assert_eq!(head.checksum, Some(checksum), "a part keeps the checksum that was sent with it");

    let listed = suite.parts_behind(&upload, None).await;
    let sketch = |part: &crate::object_store::StoredPart| (part.number, part.etag.clone(), part.size);
    let expected: Vec<_> = [&head, &middle, &tail].map(sketch).into();
    assert_eq!(listed.iter().map(sketch).collect::<Vec<_>>(), expected, "the parts are listed by number");
    for (listed, part) in listed.iter().zip([&head, &middle, &tail]) {
        let told = listed.checksum.unwrap_or(part.checksum.unwrap_or_default());
        assert_eq!(Some(told), part.checksum, "a checksum that a listing tells is that of the part");
    }

    assert_eq!(suite.get(key).await.1, b"the version before", "an upload shows nothing before its completion");
    let parts = [head, middle, tail];
    let condition = Condition::Always;
    let stale = [parts[0].clone(), replaced, parts[2].clone()];
    let result = suite.store.complete_upload(&upload, &stale, None, &condition).await;
    refused("completion with the tag of a replaced part", StoreErrorKind::InvalidRequest, result);

    let result = suite.store.complete_upload(&upload, &parts, Some(Checksum::of(bytes)), &condition).await;
    let etag = done("completion with the checksum of the whole", result).etag;
    let (object, found) = suite.get(key).await;
    Suite::assert_bytes("a multipart object", &found, bytes);
    assert_eq!(object.meta.etag, etag, "completion gives the tag of the version");
    assert_eq!(object.meta.attributes, attributes, "completion publishes the attributes of the beginning");
    let seam = ByteRange::new(PART as u64 - 3, 6);
    Suite::assert_bytes("a range across parts", &suite.get_range(key, Some(seam)).await.1, &bytes[PART - 3..PART + 3]);
    assert_eq!(suite.uploads(&suite.path("multipart/")).await, [], "a completed upload is listed no more");
    etag
}

async fn copied_parts(suite: &Suite<'_>, large: &ObjectKey, bytes: &Bytes, etag: &ETag) {
    let key = suite.key("multipart/copied");
    let source = CopySource { key: large.clone(), if_match: Some(etag.clone()) };
    let upload = suite.begin(&key).await;
    let (start, len) = (1_000_usize, PART + 17);
    let range = ByteRange::new(start as u64, len as u64);
    let first = done("copy_part", suite.store.copy_part(&upload, part_number(1), &source, range).await);
    assert_eq!(first.size, len as u64, "a copied part knows its size");
    let told = first.checksum.is_none_or(|told| told == Checksum::of(&bytes[start..start + len]));
    assert!(told, "the checksum of a copied part, where the store tells it, is that of its bytes");
    let range = ByteRange { offset: 2 * PART as u64, len: None };
    let last = done("copy_part to the end", suite.store.copy_part(&upload, part_number(2), &source, range).await);
    assert_eq!(last.size, 1_000, "a range without end goes to the end of the source");
    copy_part_refusals(suite, large, etag).await;

    let expected = [&bytes[start..start + len], &bytes[2 * PART..]].concat();
    let checksum = Some(Checksum::of(&expected));
    let result = suite.store.complete_upload(&upload, &[first, last], checksum, &Condition::Always).await;
    done("completion of copied parts", result);
    Suite::assert_bytes("an object of copied parts", &suite.get(&key).await.1, &expected);
    onto_its_source(suite, large, bytes, etag).await;
}

/// How a file is changed in place: parts copied from the version that is replaced, and one that is sent,
/// under the condition that this version is still there.
async fn onto_its_source(suite: &Suite<'_>, large: &ObjectKey, bytes: &Bytes, etag: &ETag) {
    let source = CopySource { key: large.clone(), if_match: Some(etag.clone()) };
    let changed = Bytes::from_static(b"appended");
    let expected = [&bytes[..], &changed].concat();
    for (condition, holds) in [(Condition::IfAbsent, false), (Condition::IfMatch(etag.clone()), true)] {
        let upload = suite.begin(large).await;
        let range = ByteRange::new(0, bytes.len() as u64);
        let first = done("copy_part", suite.store.copy_part(&upload, part_number(1), &source, range).await);
        let last = suite.put_part(&upload, 2, changed.clone()).await;
        // The checksum of a part may be unknown, and so that of the whole.
        let whole = first.checksum.zip(last.checksum).map(|(first, last)| first.then(last));
        let result = suite.store.complete_upload(&upload, &[first, last], whole, &condition).await;
        if holds {
            done("completion in the place of the version that was copied", result);
            Suite::assert_bytes("an object with its old parts", &suite.get(large).await.1, &expected);
        } else {
            refused("completion where there is an object", StoreErrorKind::PreconditionFailed, result);
            done("abort_upload", suite.store.abort_upload(&upload).await);
        }
    }
}

async fn copy_part_refusals(suite: &Suite<'_>, large: &ObjectKey, etag: &ETag) {
    let upload = suite.begin(&suite.key("multipart/refused")).await;
    let range = ByteRange::new(0, 1_000);
    let number = part_number(1);
    let missing = CopySource { key: suite.key("multipart/missing"), if_match: None };
    let result = suite.store.copy_part(&upload, number, &missing, range).await;
    refused("a part copied from a missing object", StoreErrorKind::NotFound, result);

    let other = suite.put(&suite.key("multipart/other"), "another version").await;
    assert_ne!(other, *etag, "different bytes have different tags");
    let stale = CopySource { key: large.clone(), if_match: Some(other) };
    suite.rule(
        "a part copied from a version that is gone is refused",
        Deviation::CopyPartSourceIfMatchIgnored,
        refusal(StoreErrorKind::PreconditionFailed, suite.store.copy_part(&upload, number, &stale, range).await),
    );

    let source = CopySource { key: large.clone(), if_match: None };
    let beyond = ByteRange::new(2 * PART as u64, 1_001);
    suite.rule(
        "a part copied from beyond the end of its source is refused",
        Deviation::CopyPartRangeUnchecked,
        refusal(StoreErrorKind::InvalidRequest, suite.store.copy_part(&upload, number, &source, beyond).await),
    );
    done("abort_upload", suite.store.abort_upload(&upload).await);
}

async fn part_checksum(suite: &Suite<'_>) {
    let upload = suite.begin(&suite.key("multipart/part-checksum")).await;
    let bytes = pattern(7, 1_000);
    let wrong = wrong_checksum(&bytes);
    let result = suite.store.put_part(&upload, part_number(1), Body::from(bytes), wrong).await;
    suite.rule(
        "a part whose bytes do not match their checksum is refused",
        Deviation::PartChecksumIgnored,
        refusal(StoreErrorKind::Corrupt, result),
    );
    done("abort_upload", suite.store.abort_upload(&upload).await);
}

async fn whole_checksum(suite: &Suite<'_>) {
    let key = suite.key("multipart/whole-checksum");
    let bytes = pattern(8, 1_000);
    let (upload, part) = suite.small_upload(&key, bytes.clone()).await;
    let wrong = Some(wrong_checksum(&bytes));
    let result = suite.store.complete_upload(&upload, &[part], wrong, &Condition::Always).await;
    let published = result.is_ok();
    suite.rule(
        "completion whose whole does not match its checksum is refused",
        Deviation::CompletionChecksumIgnored,
        refusal(StoreErrorKind::Corrupt, result),
    );
    if !published {
        let head = suite.store.head(&key).await;
        refused("a completion that was refused publishes nothing", StoreErrorKind::NotFound, head);
    }
    done("abort_upload", suite.store.abort_upload(&upload).await);
}

async fn empty_part(suite: &Suite<'_>) {
    let key = suite.key("multipart/empty");
    let (upload, part) = suite.small_upload(&key, Bytes::new()).await;
    let result = suite.store.complete_upload(&upload, &[part], Some(Checksum::EMPTY), &Condition::Always).await;
    done("completion of a single empty part", result);
    assert_eq!(suite.get(&key).await.1, b"", "an upload of an empty part makes an empty object");
}
