//! The life of uploads: completion's rules and races, abort, and the listings of what runs.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::conditions::{RACERS, only_winner};
use super::deviation::Deviation;
use super::outcome::{done, refusal, refused};
use super::suite::{Suite, part_number};
use crate::error::StoreErrorKind;
use crate::object::{ByteRange, Condition, CopySource, ETag};
use crate::object_store::{PartNumber, StoredPart, Upload};

pub(super) async fn check(suite: &Suite<'_>) {
    bad_part_lists(suite).await;
    conditions(suite).await;
    race(suite).await;
    abort(suite).await;
    sparse_parts(suite).await;
    listing(suite).await;
}

async fn bad_part_lists(suite: &Suite<'_>) {
    let upload = suite.begin(&suite.key("uploads/bad-lists")).await;
    let first = suite.put_part(&upload, 1, "too small to be followed by another").await;
    let second = suite.put_part(&upload, 2, "small, but may be the last").await;
    let absent = StoredPart { number: part_number(3), ..second.clone() };
    let altered = StoredPart { etag: ETag::new("\"00000000000000000000000000000000\""), ..first.clone() };
    for (rule, parts) in [
        ("completion of no parts", vec![]),
        ("completion with a part that is too small", vec![first.clone(), second.clone()]),
        ("completion with parts out of order", vec![second, first.clone()]),
        ("completion with a part that was never sent", vec![absent]),
        ("completion with a tag that is not the part's", vec![altered]),
    ] {
        let result = suite.store.complete_upload(&upload, &parts, None, &Condition::Always).await;
        refused(rule, StoreErrorKind::InvalidRequest, result);
    }
    let result = suite.store.complete_upload(&upload, &[first], None, &Condition::Always).await;
    done("completion after ones that were refused, leaving a part out", result);
    let found = suite.get(&upload.key).await.1;
    assert_eq!(found, b"too small to be followed by another", "parts that are not named are left out");
}

async fn conditions(suite: &Suite<'_>) {
    let key = suite.key("uploads/conditions");
    let (upload, part) = suite.small_upload(&key, "first").await;
    let result = suite.store.complete_upload(&upload, &[part], None, &Condition::IfAbsent).await;
    let first = done("completion with If-None-Match on no object", result).etag;

    let (upload, part) = suite.small_upload(&key, "second").await;
    let parts = [part];
    let result = suite.store.complete_upload(&upload, &parts, None, &Condition::IfAbsent).await;
    refused("completion with If-None-Match on an object", StoreErrorKind::PreconditionFailed, result);
    assert_eq!(suite.get(&key).await.1, b"first", "a completion that lost leaves the object as it was");
    assert_eq!(suite.parts_behind(&upload, None).await.len(), 1, "an upload whose completion lost keeps its parts");
    let result = suite.store.complete_upload(&upload, &parts, None, &Condition::IfMatch(first.clone())).await;
    done("completion with the right If-Match", result);
    assert_eq!(suite.get(&key).await.1, b"second", "a completion replaces the object");

    let (upload, part) = suite.small_upload(&key, "late").await;
    let result = suite.store.complete_upload(&upload, &[part], None, &Condition::IfMatch(first.clone())).await;
    suite.rule(
        "completion with If-Match on a version that was replaced is refused",
        Deviation::CompletionIfMatchIgnored,
        refusal(StoreErrorKind::PreconditionFailed, result),
    );
    done("abort_upload", suite.store.abort_upload(&upload).await);

    done("delete", suite.store.delete(&key).await);
    let (upload, part) = suite.small_upload(&key, "none").await;
    let result = suite.store.complete_upload(&upload, &[part], None, &Condition::IfMatch(first)).await;
    suite.rule(
        "completion with If-Match on no object is refused",
        Deviation::CompletionIfMatchIgnored,
        refusal(StoreErrorKind::PreconditionFailed, result),
    );
    done("abort_upload", suite.store.abort_upload(&upload).await);
}

/// Uploads of one key that complete at once, each if there is no object: one wins.
async fn race(suite: &Suite<'_>) {
    let key = suite.key("uploads/race");
    let mut uploads = Vec::new();
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let (upload, part) = suite.small_upload(&key, Bytes::from(vec![racer; 64])).await;
        uploads.push(upload.clone());
        let store = Arc::clone(&suite.store);
        racers.spawn(async move { (racer, store.complete_upload(&upload, &[part], None, &Condition::IfAbsent).await) });
    }
    let winner = only_winner(racers.join_all().await, &Condition::IfAbsent);
    assert_eq!(suite.get(&key).await.1, [winner; 64], "the object is the winner's");
    for upload in uploads {
        done("abort of a winner's or a loser's upload", suite.store.abort_upload(&upload).await);
    }
    assert_eq!(suite.get(&key).await.1, [winner; 64], "aborting after completion takes nothing away");
}

async fn abort(suite: &Suite<'_>) {
    let key = suite.key("uploads/aborted");
    let (upload, part) = suite.small_upload(&key, "aborted").await;
    done("abort_upload", suite.store.abort_upload(&upload).await);
    done("a second abort succeeds", suite.store.abort_upload(&upload).await);
    refused("an aborted upload publishes nothing", StoreErrorKind::NotFound, suite.store.head(&key).await);

    let result = suite.store.list_parts(&upload, None).await;
    refused("list_parts of an aborted upload", StoreErrorKind::NotFound, result);
    let gone = Deviation::GoneUploadUnnamed;
    let result = suite.try_put_part(&upload, 2, "late").await;
    suite.rule("put_part to an aborted upload is refused", gone, refusal(StoreErrorKind::NotFound, result));
    let result = suite.store.complete_upload(&upload, &[part], None, &Condition::Always).await;
    suite.rule("completion of an aborted upload is refused", gone, refusal(StoreErrorKind::NotFound, result));
    let source = suite.key("uploads/source");
    suite.put(&source, "source").await;
    let source = CopySource { key: source, if_match: None };
    let result = suite.store.copy_part(&upload, part_number(2), &source, ByteRange::new(0, 6)).await;
    suite.rule("copy_part to an aborted upload is refused", gone, refusal(StoreErrorKind::NotFound, result));
}

/// Part numbers need not be neighbours, and reach from 1 to 10,000.
async fn sparse_parts(suite: &Suite<'_>) {
    let upload = suite.begin(&suite.key("uploads/sparse")).await;
    for number in [PartNumber::LAST.number(), 2, 700] {
        suite.put_part(&upload, number, format!("part {number}")).await;
    }
    let numbers = |parts: &[StoredPart]| parts.iter().map(|part| part.number.number()).collect::<Vec<_>>();
    let all = suite.parts_behind(&upload, None).await;
    assert_eq!(numbers(&all), [2, 700, 10_000], "parts are listed by number");
    for (after, expected) in [(1, &[2, 700, 10_000][..]), (2, &[700, 10_000]), (699, &[700, 10_000]), (700, &[10_000])]
    {
        let found = numbers(&suite.parts_behind(&upload, Some(part_number(after))).await);
        let outcome = if found == expected { Ok(()) } else { Err(format!("behind {after} are {found:?}")) };
        suite.rule("list_parts gives the parts behind a number", Deviation::PartMarkerIsIndex, outcome);
    }
    assert_eq!(suite.parts_behind(&upload, Some(PartNumber::LAST)).await, [], "there is nothing behind the last part");
    done("abort_upload", suite.store.abort_upload(&upload).await);
}

async fn listing(suite: &Suite<'_>) {
    let prefix = suite.path("uploads-listed/");
    assert_eq!(suite.uploads(&prefix).await, [], "no upload runs where none was begun");
    let outside = suite.begin(&suite.key("uploads-other")).await;
    let mut begun = Vec::new();
    for name in ["b", "a/1", "b", "c", "a"] {
        begun.push(suite.begin(&suite.key(&format!("uploads-listed/{name}"))).await);
    }
    let listed = suite.uploads(&prefix).await;
    let sorted = |uploads: &[Upload]| {
        let mut uploads = uploads.to_vec();
        uploads.sort_by(|left, right| (&left.key, &left.id).cmp(&(&right.key, &right.id)));
        uploads
    };
    assert_eq!(sorted(&listed), sorted(&begun), "all uploads under the prefix are listed, once each");
    let outcome = upload_pages(suite, &prefix, &listed).await;
    suite.rule("uploads are listed by key, behind a given one", Deviation::UploadMarkersIgnored, outcome);
    for upload in begun.iter().chain([&outside]) {
        done("abort_upload", suite.store.abort_upload(upload).await);
    }
    assert_eq!(suite.uploads(&prefix).await, [], "aborted uploads are listed no more");
}

/// Whether uploads are in order, and each of them can be a page's end. Between uploads of one key
/// S3 states no order that could be checked.
async fn upload_pages(suite: &Suite<'_>, prefix: &str, listed: &[Upload]) -> Result<(), String> {
    if !listed.is_sorted_by_key(|upload| &upload.key) {
        return Err(format!("the uploads are not in the order of their keys: {listed:?}"));
    }
    for after in listed {
        let found = suite.uploads_behind(prefix, Some(after)).await;
        let greater = |upload: &&Upload| upload.key > after.key;
        if !found.iter().filter(greater).eq(listed.iter().filter(greater))
            || found.iter().any(|upload| upload.key < after.key || upload == after)
        {
            return Err(format!("behind {after:?} are {found:?}"));
        }
    }
    Ok(())
}
