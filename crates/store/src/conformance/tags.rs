//! Tags: kept with objects of one piece and of parts, and taken along by copies.

use bytes::Bytes;

use super::outcome::{done, refused};
use super::suite::Suite;
use crate::error::StoreErrorKind;
use crate::object::{Body, Condition, CopySource, ObjectAttributes, ObjectKey, SystemHeaders, Tags};

pub(super) async fn check(suite: &Suite<'_>) {
    let (key, tags) = (suite.key("tags/object"), tags());
    let attributes = ObjectAttributes { tags: tags.clone(), ..ObjectAttributes::default() };
    let body = Body::from(Bytes::from_static(b"tagged"));
    let checksum = body.checksum();
    done("put", suite.store.put(&key, body, checksum, &attributes, &Condition::Always).await);
    has(suite, &key, &tags, "a put").await;

    let upload = done("begin_upload", suite.store.begin_upload(&suite.key("tags/upload"), &attributes).await);
    let part = suite.put_part(&upload, 1, "tagged").await;
    done("complete", suite.store.complete_upload(&upload, &[part], None, &Condition::Always).await);
    has(suite, &upload.key, &tags, "an upload in parts").await;

    let target = suite.key("tags/copy");
    let headers = SystemHeaders { cache_control: Some("no-cache".to_owned()), ..SystemHeaders::default() };
    let new = ObjectAttributes { headers, ..ObjectAttributes::default() };
    for attributes in [None, Some(&new)] {
        let source = CopySource { key: key.clone(), if_match: None };
        done("copy", suite.store.copy(&source, &target, attributes, &Condition::Always).await);
        has(suite, &target, &tags, "a copy, with attributes of its own or without,").await;
    }
    suite.put(&target, "without").await;
    has(suite, &target, &Tags::new(), "a put that says nothing of tags").await;
    refused("tags of a missing object", StoreErrorKind::NotFound, suite.store.tags(&suite.key("tags/missing")).await);
}

/// What S3 takes in names and values.
fn tags() -> Tags {
    let tags =
        [("plain", "x"), ("Case and space", "a b"), ("+-=._:/@", "+-=._:/@"), ("\u{fc}", "\u{540d}"), ("none", "")];
    tags.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

async fn has(suite: &Suite<'_>, key: &ObjectKey, tags: &Tags, what: &str) {
    assert_eq!(done("tags", suite.store.tags(key).await), *tags, "{what} gives the object its tags");
    let meta = done("head", suite.store.head(key).await);
    assert_eq!((meta.tag_count as usize, meta.attributes.tags.len()), (tags.len(), 0), "head tells their number");
}
