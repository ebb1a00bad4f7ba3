//! Copies inside the store.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::deviation::Deviation;
use super::outcome::{done, refusal, refused};
use super::suite::{Suite, pattern};
use crate::error::{StoreErrorKind, StoreResult};
use crate::object::{Body, Condition, CopySource, ETag, ObjectAttributes, ObjectKey, Receipt, SystemHeaders};

pub(super) async fn check(suite: &Suite<'_>) {
    let key = suite.key("copies/source");
    let bytes = pattern(9, 10_000);
    let attributes = attributes("text/plain", "mtime", "1");
    let body = Body::from(bytes.clone());
    let checksum = body.checksum();
    done("put", suite.store.put(&key, body, checksum, &attributes, &Condition::Always).await);

    whole(suite, &key, &bytes, &attributes).await;
    onto_itself(suite, &key, &bytes).await;
    of_nothing(suite).await;
    from_a_version(suite).await;
    under_a_condition(suite).await;
}

fn attributes(content_type: &str, name: &str, value: &str) -> ObjectAttributes {
    ObjectAttributes {
        content_type: Some(content_type.to_owned()),
        metadata: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        headers: super::objects::headers(),
        ..ObjectAttributes::default()
    }
}

fn any_version(key: &ObjectKey) -> CopySource {
    CopySource { key: key.clone(), if_match: None }
}

async fn copy(
    suite: &Suite<'_>,
    source: &CopySource,
    target: &ObjectKey,
    condition: &Condition,
) -> StoreResult<Receipt> {
    suite.store.copy(source, target, None, condition).await
}

async fn whole(suite: &Suite<'_>, key: &ObjectKey, bytes: &Bytes, kept: &ObjectAttributes) {
    let target = suite.key("copies/target");
    let receipt = done("copy", copy(suite, &any_version(key), &target, &Condition::Always).await);
    let (object, found) = suite.get(&target).await;
    Suite::assert_bytes("a copy has the bytes of its source", &found, bytes);
    let mut kept_by_copy = kept.clone();
    // S3 does not copy a website redirect. Callers say it, so that it does not matter where one does.
    let website_redirect = object.meta.attributes.headers.website_redirect.clone();
    assert!(website_redirect.is_none() || website_redirect == kept.headers.website_redirect, "{website_redirect:?}");
    kept_by_copy.headers = SystemHeaders { storage_class: None, website_redirect, ..kept_by_copy.headers };
    assert_eq!(object.meta.attributes, kept_by_copy, "a copy keeps the attributes, but for the storage class");
    assert_eq!(object.meta.etag, receipt.etag, "copy gives the tag of the new version");

    let new = attributes("text/html", "mode", "33188");
    let result = suite.store.copy(&any_version(key), &target, Some(&new), &Condition::Always).await;
    done("copy onto an object, with new attributes", result);
    let (object, found) = suite.get(&target).await;
    Suite::assert_bytes("a copy with new attributes has the bytes of its source", &found, bytes);
    assert_eq!(object.meta.attributes, new, "new attributes replace all of the old ones");
    let (object, found) = suite.get(key).await;
    Suite::assert_bytes("copying leaves the source", &found, bytes);
    assert_eq!(object.meta.attributes, *kept, "copying leaves the attributes of the source");
}

async fn onto_itself(suite: &Suite<'_>, key: &ObjectKey, bytes: &Bytes) {
    let result = copy(suite, &any_version(key), key, &Condition::Always).await;
    refused("a copy onto itself that changes nothing", StoreErrorKind::InvalidRequest, result);
    let new = attributes("text/css", "mtime", "2");
    let etag = done("head", suite.store.head(key).await).etag;
    let source = CopySource { key: key.clone(), if_match: Some(etag) };
    let result = suite.store.copy(&source, key, Some(&new), &Condition::Always).await;
    let receipt = done("a copy onto itself with new attributes", result);
    let (object, found) = suite.get(key).await;
    Suite::assert_bytes("a copy onto itself keeps the bytes", &found, bytes);
    assert_eq!(object.meta.attributes, new, "a copy onto itself replaces the attributes");
    assert_eq!(object.meta.etag, receipt.etag, "copy gives the tag of the new version");
}

async fn of_nothing(suite: &Suite<'_>) {
    let target = suite.key("copies/of-nothing");
    let result = copy(suite, &any_version(&suite.key("copies/missing")), &target, &Condition::Always).await;
    refused("a copy of a missing object", StoreErrorKind::NotFound, result);
    refused("a copy that failed makes no object", StoreErrorKind::NotFound, suite.store.head(&target).await);

    let empty = suite.key("copies/empty/");
    suite.put(&empty, Bytes::new()).await;
    done("copy of an empty object", copy(suite, &any_version(&empty), &target, &Condition::Always).await);
    assert_eq!(suite.get(&target).await.1, b"", "a copy of an empty object is empty");
}

async fn from_a_version(suite: &Suite<'_>) {
    let (key, target) = (suite.key("copies/versions"), suite.key("copies/from-version"));
    let old = suite.put(&key, "old").await;
    let source = |etag: &ETag| CopySource { key: key.clone(), if_match: Some(etag.clone()) };
    done("copy of that version", copy(suite, &source(&old), &target, &Condition::Always).await);
    suite.put(&key, "new").await;
    suite.rule(
        "a copy of a version that was replaced is refused",
        Deviation::CopySourceIfMatchIgnored,
        refusal(StoreErrorKind::PreconditionFailed, copy(suite, &source(&old), &target, &Condition::Always).await),
    );
    if !suite.deviates(Deviation::CopySourceIfMatchIgnored) {
        assert_eq!(suite.get(&target).await.1, b"old", "a copy that was refused leaves its target");
    }
}

/// A store may say that it can't check conditions on a copy, but not ignore them.
async fn under_a_condition(suite: &Suite<'_>) {
    let (key, target) = (suite.key("copies/condition-source"), suite.key("copies/condition"));
    suite.put(&key, "copied").await;
    let source = any_version(&key);
    let supported = match copy(suite, &source, &target, &Condition::IfAbsent).await {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => false,
        result => {
            done("copy with If-None-Match on no object", result);
            assert_eq!(suite.get(&target).await.1, b"copied", "a copy under a condition that holds takes place");
            true
        }
    };
    let etag = suite.put(&target, "target").await;
    let other = suite.put(&suite.key("copies/condition-other"), "other").await;
    for condition in [Condition::IfAbsent, Condition::IfMatch(other)] {
        let result = copy(suite, &source, &target, &condition).await;
        if !supported {
            refused("a condition on a copy, once unsupported", StoreErrorKind::Unsupported, result);
            assert_eq!(suite.get(&target).await.1, b"target", "a copy that was refused leaves its target");
            continue;
        }
        suite.rule(
            "a copy under a condition that does not hold is refused",
            Deviation::CopyConditionIgnored,
            refusal(StoreErrorKind::PreconditionFailed, result),
        );
        if !suite.deviates(Deviation::CopyConditionIgnored) {
            assert_eq!(suite.get(&target).await.1, b"target", "a copy that was refused leaves its target");
        }
    }
    if supported && !suite.deviates(Deviation::CopyConditionIgnored) {
        let result = copy(suite, &source, &target, &Condition::IfMatch(etag)).await;
        done("copy with the right If-Match on its target", result);
        assert_eq!(suite.get(&target).await.1, b"copied", "a copy under a condition that holds takes place");
    }
}
