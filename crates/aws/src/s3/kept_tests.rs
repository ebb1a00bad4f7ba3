//! Which checksums the answers of a store tell.

use base64::Engine as _;
use tidegate_store::{Body, Condition, KeptChecksums, ObjectAttributes, ObjectKey, ObjectStore, md5};

use super::BASE64;
use crate::wire::{Sent, Service, answer};

const DATE: &str = "Sun, 22 Nov 2026 11:00:00 GMT";
const BYTES: &[u8] = b"some bytes";
const ENCRYPTION: &str = "x-amz-server-side-encryption";
/// A tag of 32 digits that is no MD5.
const OTHER: &str = "\"0123456789abcdef0123456789abcdef\"";

type Headers = Vec<(&'static str, String)>;

fn key() -> ObjectKey {
    ObjectKey::new("dir/file").unwrap()
}

/// The MD5 of the bytes, as a tag.
fn tag() -> String {
    format!("\"{:032x}\"", u128::from_be_bytes(md5([BYTES])))
}

/// A store that answers each PUT with the next of these headers, and each HEAD with the last ones.
fn service(puts: Vec<Headers>, heads: Vec<Headers>) -> Service {
    Service::new(move |_, sent: &[Sent]| {
        let method = &sent.last()?.method;
        let nth = sent.iter().filter(|request| request.method == *method).count() - 1;
        let headers = if method == "PUT" { puts.get(nth)? } else { heads.get(nth)? };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        answer(200, &[&headers[..], &[("last-modified", DATE), ("content-length", "10")]].concat(), "")
    })
}

async fn put(bucket: &dyn ObjectStore) {
    let body = Body::from(BYTES);
    let checksum = body.checksum();
    bucket.put(&key(), body, checksum, &ObjectAttributes::default(), &Condition::Always).await.unwrap();
}

async fn kept(bucket: &dyn ObjectStore) -> KeptChecksums {
    bucket.kept_checksums(&key(), None).await.unwrap()
}

#[tokio::test]
async fn a_tag_is_told_as_an_md5_once_the_bucket_has_given_one_and_where_nothing_speaks_against_it() {
    let plain = || vec![("etag", tag())];
    let with = |name, value: &str| [plain(), vec![(name, value.to_owned())]].concat();
    let heads = [
        (plain(), false),
        (plain(), true),
        (with(ENCRYPTION, "AES256"), true),
        (with(ENCRYPTION, "aws:kms"), false),
        (with(ENCRYPTION, "aws:kms:dsse"), false),
        (with(ENCRYPTION, "something new"), false),
        (with("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:::key/1"), false),
        (with("x-amz-server-side-encryption-customer-algorithm", "AES256"), false),
        (vec![("etag", tag().replace('"', "") + "-1")], false),
        (plain(), false),
    ];
    let service = service(vec![plain()], heads.iter().map(|(headers, _)| headers.clone()).collect());
    let aws = service.connect(|_| {}).await;
    for (n, (headers, is_told)) in heads.iter().enumerate() {
        if n == 1 {
            put(&*aws.bucket("files")).await;
        }
        // Nothing is known of another bucket.
        let bucket = if n == heads.len() - 1 { "others" } else { "files" };
        let told = kept(&*aws.bucket(bucket)).await.md5;
        assert_eq!(told, is_told.then(|| md5([BYTES])), "{n}: {headers:?}");
    }
}

#[tokio::test]
async fn what_a_key_of_kms_encrypts_teaches_nothing_and_a_tag_that_is_no_md5_teaches_for_good() {
    let plain = || vec![("etag", tag())];
    let encrypted = vec![("etag", OTHER.to_owned()), (ENCRYPTION, "aws:kms".to_owned())];
    for (first, is_believed) in [(encrypted, true), (vec![("etag", OTHER.to_owned())], false)] {
        let service = service(vec![first, plain()], vec![plain(), plain()]);
        let bucket = service.connect(|_| {}).await.bucket("files");
        put(&*bucket).await;
        assert_eq!(kept(&*bucket).await.md5, None);
        put(&*bucket).await;
        assert_eq!(kept(&*bucket).await.md5.is_some(), is_believed);
    }
}

#[tokio::test]
async fn a_sha_is_told_where_it_is_of_the_whole_object() {
    let (sha1, sha256) = ([1; 20], [2; 32]);
    let sums = |kind: Option<&str>| {
        let mut headers = vec![
            ("etag", OTHER.to_owned()),
            ("x-amz-checksum-sha1", BASE64.encode(sha1)),
            ("x-amz-checksum-sha256", BASE64.encode(sha256)),
        ];
        headers.extend(kind.map(|kind| ("x-amz-checksum-type", kind.to_owned())));
        headers
    };
    let other_len = [sums(Some("FULL_OBJECT")), vec![("x-amz-checksum-sha256", BASE64.encode(sha1))]].concat();
    let service = service(vec![], vec![sums(Some("FULL_OBJECT")), sums(Some("COMPOSITE")), sums(None), other_len]);
    let bucket = service.connect(|_| {}).await.bucket("files");
    let told = kept(&*bucket).await;
    assert_eq!((told.sha1, told.sha256), (Some(sha1), Some(sha256)));
    assert_eq!(kept(&*bucket).await, KeptChecksums::default());
    assert_eq!(kept(&*bucket).await, KeptChecksums::default());
    assert_eq!(kept(&*bucket).await.sha256, None);
    assert!(service.sent().iter().all(|sent| sent.header("x-amz-checksum-mode") == Some("ENABLED")));
}
